"""RoIPool and RoIWarp for one image, bin by bin; `maskrcnn.ops.roi_pool` and `roi_warp` do it for a batch."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from maskrcnn.reference.roi_align import interpolate


def roi_pool(feature: Tensor, rois: Tensor, *, output_size: int, stride: float) -> Tensor:
    """Each of rois (R, 4), pooled from feature (C, H, W) to (R, C, S, S): Fast R-CNN section 2.1."""
    pooled = feature.new_zeros((len(rois), feature.shape[0], output_size, output_size))
    for index, roi in enumerate(rois):
        if not roi.isfinite().all():
            continue
        x1, y1, x2, y2 = _rounded(roi, stride)
        bin_height, bin_width = (y2 - y1 + 1) / output_size, (x2 - x1 + 1) / output_size
        for row in range(output_size):
            for column in range(output_size):
                top, bottom = y1 + math.floor(row * bin_height), y1 + math.ceil((row + 1) * bin_height)
                left, right = x1 + math.floor(column * bin_width), x1 + math.ceil((column + 1) * bin_width)
                pixels = feature[:, max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
                if 0 not in pixels.shape[1:]:
                    pooled[index, :, row, column] = pixels.amax(dim=(1, 2))
    return pooled


def roi_warp(
    feature: Tensor, rois: Tensor, *, output_size: int, stride: float, sampling_ratio: int, mode: str
) -> Tensor:
    """Each of rois (R, 4), rounded as for RoIPool, then sampled from feature (C, H, W): Mask R-CNN section 3."""
    warped = feature.new_zeros((len(rois), feature.shape[0], output_size, output_size))
    for index, roi in enumerate(rois):
        if not roi.isfinite().all():
            continue
        x1, y1, x2, y2 = _rounded(roi, stride)
        bin_height, bin_width = (y2 - y1 + 1) / output_size, (x2 - x1 + 1) / output_size
        for row in range(output_size):
            for column in range(output_size):
                samples = []
                for i in range(sampling_ratio):
                    for j in range(sampling_ratio):
                        y = y1 + (row + (i + 0.5) / sampling_ratio) * bin_height - 0.5
                        x = x1 + (column + (j + 0.5) / sampling_ratio) * bin_width - 0.5
                        samples.append(interpolate(feature, y, x))
                bin_samples = torch.stack(samples)
                warped[index, :, row, column] = bin_samples.amax(dim=0) if mode == "max" else bin_samples.mean(dim=0)
    return warped


def _rounded(roi: Tensor, stride: float) -> tuple[int, int, int, int]:
    """The first and last pixels that belong to an RoI, at least one in each direction; halves go away from 0."""
    x1, y1, x2, y2 = (math.floor(abs(value) + 0.5) * (1 if value > 0 else -1) for value in (roi / stride).tolist())
    return x1, y1, max(x1, x2), max(y1, y2)
