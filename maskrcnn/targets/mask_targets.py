"""Mask targets: the part of each object's mask that lies in its RoI, at the resolution of the mask head.

It is RoIAlign of a one-channel image, with as many sample points per bin as the bin has pixels (paper section 3:
"the mask target is the intersection between an RoI and its associated ground-truth mask").
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from maskrcnn import boxes as box_functions


class Bitmaps(NamedTuple):
    """One box-cropped bitmap for each of (B, N) RoIs; see `structures.Targets`."""

    pixels: Tensor
    """(M,) uint8, the bitmaps of the whole batch one after another."""
    offsets: Tensor
    """(B, N) int64: where each RoI's bitmap starts."""
    boxes: Tensor
    """(B, N, 4) int64: the whole pixels x1, y1, x2, y2 that each bitmap covers; outside it the mask is 0."""


def crop_masks(bitmaps: Bitmaps, rois: Tensor, image_sizes: Tensor, size: int, convention: str, limit: int) -> Tensor:
    """Mask targets (B, N, size, size) float32 in [0, 1] for rois (B, N, 4) in images of image_sizes (B, 2).

    convention "binary": the RoI is clipped to its image, sampled with the half-pixel shift, and 1 where the average
    is at least a half (MMDetection). "soft": not clipped, not shifted, at least one pixel long, fractions kept
    (torchvision). `limit` bounds an RoI's longer side in pixels, which bounds the sample points.
    """
    shift = 0.5 if convention == "binary" else 0.0
    if convention == "binary":
        rois = box_functions.clip(rois, image_sizes)
    start = rois[..., :2] - shift
    extent = rois[..., 2:] - rois[..., :2]
    if convention == "soft":
        extent = extent.clamp(min=1.0)
    points = (extent / size).ceil().clamp(min=1)  # (B, N, 2) sample points a bin, along x and along y
    most_points = max(1, math.ceil(limit / size))
    bins = torch.arange(size, device=rois.device)

    total = rois.new_zeros(*rois.shape[:-1], size, size)
    for row in range(most_points):
        y = _sample_positions(start[..., 1], extent[..., 1], points[..., 1], bins, row, size)
        for column in range(most_points):
            x = _sample_positions(start[..., 0], extent[..., 0], points[..., 0], bins, column, size)
            real = (row < points[..., 1]) & (column < points[..., 0])
            total = total + real[..., None, None] * _interpolate(bitmaps, x, y, image_sizes)
    average = total / (points[..., 0] * points[..., 1])[..., None, None]
    return (average >= 0.5).to(average.dtype) if convention == "binary" else average


def _sample_positions(start: Tensor, extent: Tensor, points: Tensor, bins: Tensor, point: int, size: int) -> Tensor:
    """(B, N, size): where sample `point` of every bin lies along one axis."""
    bin_extent = (extent / size)[..., None]
    return start[..., None] + (bins + (point + 0.5) / points[..., None]) * bin_extent


def _interpolate(bitmaps: Bitmaps, x: Tensor, y: Tensor, image_sizes: Tensor) -> Tensor:
    """(B, N, size, size): bilinear values at columns x (B, N, size) and rows y (B, N, size)."""
    height, width = image_sizes[:, 0, None, None], image_sizes[:, 1, None, None]
    x_low, x_high, x_part, x_inside = _neighbours(x, width)
    y_low, y_high, y_part, y_inside = _neighbours(y, height)
    top = torch.lerp(_read(bitmaps, x_low, y_low), _read(bitmaps, x_high, y_low), x_part[..., None, :])
    bottom = torch.lerp(_read(bitmaps, x_low, y_high), _read(bitmaps, x_high, y_high), x_part[..., None, :])
    value = torch.lerp(top, bottom, y_part[..., :, None])
    return value * (y_inside[..., :, None] & x_inside[..., None, :])


def _neighbours(position: Tensor, extent: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    inside = (position >= -1) & (position <= extent)
    position = torch.minimum(position.clamp(min=0), (extent - 1).to(position.dtype))
    low = position.floor()
    high = torch.minimum(low + 1, (extent - 1).to(position.dtype))
    return low.long(), high.long(), position - low, inside


def _read(bitmaps: Bitmaps, columns: Tensor, rows: Tensor) -> Tensor:
    """(B, N, size, size) float32: the mask's pixels at columns (B, N, size) and rows (B, N, size)."""
    x1, y1, x2, y2 = (edge[..., None] for edge in bitmaps.boxes.unbind(-1))
    in_columns, in_rows = (columns >= x1) & (columns < x2), (rows >= y1) & (rows < y2)
    inside = in_rows[..., :, None] & in_columns[..., None, :]
    within = (rows - y1)[..., :, None] * (x2 - x1)[..., None] + (columns - x1)[..., None, :]
    address = (bitmaps.offsets[..., None, None] + within).masked_fill(~inside, 0)
    padded = torch.nn.functional.pad(bitmaps.pixels, (0, 1))  # so that an empty batch has a pixel to read
    return (padded[address] * inside).float()
