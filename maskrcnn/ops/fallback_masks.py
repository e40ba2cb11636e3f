"""Mask targets in vectorised PyTorch: what `crop_masks` does where no compiled kernel exists.

Bilinear sampling treats the two axes alike and apart, so averaging over the sample points of a bin is two matrix
products: rows (m, h) @ pixels (h, w) @ columns (w, m).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from maskrcnn import boxes as box_functions

_LARGEST_SIDE = 2**31 - 1
_ROWS_AT_A_TIME = 16
"""Pixels of all RoIs that are held at once: bounds the memory, without influence on the result."""


def crop_masks(
    bitmaps: Tensor, offsets: Tensor, bitmap_boxes: Tensor, rois: Tensor, image_sizes: Tensor, size: int, binary: bool
) -> Tensor:
    """`maskrcnn.ops.crop_masks` for offsets (B, N), bitmap_boxes (B, N, 4), rois (B, N, 4), image_sizes (B, 2)."""
    oversized = (image_sizes > _LARGEST_SIDE).any(dim=-1, keepdim=True)
    image_sizes = image_sizes.masked_fill(oversized, 0)  # no pixels
    # The numbers of an RoI that is not finite mean nothing; those of an empty one are at least numbers.
    finite = (rois[..., 2:] - rois[..., :2]).isfinite().all(dim=-1, keepdim=True)
    rois = rois.masked_fill(~finite, 0.0)
    shift = 0.5 if binary else 0.0
    if binary:
        rois = box_functions.clip(rois, image_sizes)
    start = rois[..., :2] - shift
    extent = (rois[..., 2:] - rois[..., :2]).clamp(min=0.0 if binary else 1.0)  # swapped corners count as no area
    sides = image_sizes.flip(-1)[..., None, :].to(extent.dtype)  # (..., 1, 2) along x and along y, like the extent
    points = torch.minimum((extent / size).ceil(), sides).clamp(min=1)  # (..., N, 2) sample points a bin
    most_points, window = 1, 1
    if extent.numel():  # no RoI reads more pixels than it or its image is long, so there is no work beyond
        longest = torch.minimum(extent.ceil(), sides).clamp(min=1).max()
        most_points, window = int(points.max()), int(longest) + 2
    x = _weigh_pixels(start[..., 0], extent[..., 0], points[..., 0], image_sizes[..., 1], size, most_points, window)
    y = _weigh_pixels(start[..., 1], extent[..., 1], points[..., 1], image_sizes[..., 0], size, most_points, window)

    readable = _readable(bitmap_boxes, offsets, image_sizes, len(bitmaps))
    offsets, bitmap_boxes = offsets.masked_fill(~readable, 0), bitmap_boxes.masked_fill(~readable[..., None], 0)
    x1, y1, x2, y2 = (edge[..., None] for edge in bitmap_boxes.unbind(-1))
    columns = x.weights * ((x.pixels >= x1) & (x.pixels < x2))[..., None, :]
    rows = y.weights * ((y.pixels >= y1) & (y.pixels < y2))[..., None, :]
    # Where the weight is 0 any pixel will do; one more at the end, so that an empty batch has one.
    pixels = torch.nn.functional.pad(bitmaps, (0, 1))
    column_address = torch.minimum(x.pixels - x1, x2 - x1 - 1).clamp(min=0)
    row_address = torch.minimum(y.pixels - y1, y2 - y1 - 1).clamp(min=0) * (x2 - x1) + offsets[..., None]
    total = rois.new_zeros(*rois.shape[:-1], size, size)
    with torch.autocast(rois.device.type, enabled=False):  # half of its digits would decide on the wrong side of a half
        for first_row in range(0, row_address.shape[-1], _ROWS_AT_A_TIME):
            part = slice(first_row, first_row + _ROWS_AT_A_TIME)
            picture = (pixels[row_address[..., part, None] + column_address[..., None, :]] != 0).to(rois.dtype)
            total += rows[..., part] @ (picture @ columns.mT)
    average = total / (points[..., 0] * points[..., 1])[..., None, None]
    return (average >= 0.5).to(average.dtype) if binary else average


def _readable(bitmap_boxes: Tensor, offsets: Tensor, image_sizes: Tensor, total: int) -> Tensor:
    """(..., N) bool: which bitmaps have pixels, all of them inside the image, and all their bytes among the `total`.

    The others count as empty. Differences of numbers from a damaged file may wrap around; what they would say is
    settled before.
    """
    x1, y1, x2, y2 = bitmap_boxes.unbind(-1)
    height, width = image_sizes[..., None, :].unbind(-1)
    in_image = (x1 >= 0) & (x1 < x2) & (x2 <= width) & (y1 >= 0) & (y1 < y2) & (y2 <= height)
    readable = in_image & (offsets >= 0) & (offsets <= total)
    columns = (x2 - x1).masked_fill(~readable, 1)
    return readable & (y2 - y1 <= (total - offsets) // columns)


class _Axis(NamedTuple):
    """What the bins along one axis read."""

    pixels: Tensor
    """(..., N, w) int64: the w pixels that an RoI may touch."""
    weights: Tensor
    """(..., N, size, w): the sum, over the sample points of each bin, of their bilinear weights for each pixel."""


def _weigh_pixels(
    start: Tensor, extent: Tensor, points: Tensor, length: Tensor, size: int, most_points: int, window: int
) -> _Axis:
    """For RoIs (..., N) with `points` sample points in each of `size` bins, along an axis of `length` (...) pixels.

    None has more than `most_points` points, none touches more than `window` pixels.
    """
    bins = torch.arange(size, device=start.device)[:, None]
    point = torch.arange(most_points, device=start.device)
    within = (bins + (point + 0.5) / points[..., None, None]) * (extent / size)[..., None, None]
    position = start[..., None, None] + within  # (..., N, size, most_points)
    last = (length[..., None] - 1).to(start.dtype)  # (..., 1)
    # RoIAlign's rules: up to one pixel outside the picture its outermost pixel counts, further out nothing does.
    real = (point < points[..., None, None]) & (position >= -1) & (position <= last[..., None, None] + 1)
    position = torch.minimum(position.clamp(min=0), last[..., None, None])
    low = position.floor()
    high = torch.minimum(low + 1, last[..., None, None])
    first = torch.minimum(start.clamp(min=0), last).floor()
    weights = start.new_zeros(*start.shape, size, window)
    for pixel, weight in ((low, 1 - (position - low)), (high, position - low)):
        index = (pixel - first[..., None, None]).long().clamp(0, window - 1)  # what lies beyond is not real
        weights.scatter_add_(-1, index, weight * real)
    return _Axis(first.long()[..., None] + torch.arange(window, device=start.device), weights)
