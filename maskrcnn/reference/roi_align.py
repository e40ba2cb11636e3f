"""RoIAlign for one image, sample by sample; `maskrcnn.ops.pyramid_roi_align` does it for a batch."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor


def pyramid_roi_align(
    features: Sequence[Tensor],
    rois: Tensor,
    *,
    output_size: int,
    strides: Sequence[float],
    sampling_ratio: int,
    aligned: bool,
    finest_size: float = 56.0,
) -> Tensor:
    """Each of rois (R, 4) pooled to (R, C, S, S) from the one of L features (C, H_l, W_l) that suits its size."""
    pooled = features[0].new_zeros((len(rois), features[0].shape[0], output_size, output_size))
    for index, roi in enumerate(rois):
        if not roi.isfinite().all():
            continue
        x1, y1, x2, y2 = roi.tolist()
        size = math.sqrt(max(x2 - x1, 0.0) * max(y2 - y1, 0.0))
        level = math.floor(math.log2(size / finest_size + 1e-6))
        level = min(max(level, 0), len(features) - 1)
        scale = 1 / strides[level]
        pooled[index] = roi_align(features[level], (x1, y1, x2, y2), output_size, scale, sampling_ratio, aligned)
    return pooled


def roi_align(
    feature: Tensor,
    roi: tuple[float, float, float, float],
    output_size: int,
    scale: float,
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    """One RoI of feature (C, H, W), pooled to (C, S, S); Mask R-CNN section 3, "RoIAlign", and figure 3."""
    x1, y1, x2, y2 = roi
    offset, smallest = (0.5, 0.0) if aligned else (0.0, 1.0)
    bin_width = max((x2 - x1) * scale, smallest) / output_size
    bin_height = max((y2 - y1) * scale, smallest) / output_size
    across = sampling_ratio or math.ceil(bin_width)
    down = sampling_ratio or math.ceil(bin_height)

    pooled = feature.new_zeros((feature.shape[0], output_size, output_size))
    for row in range(output_size):
        for column in range(output_size):
            for i in range(down):
                for j in range(across):
                    y = y1 * scale - offset + row * bin_height + (i + 0.5) * bin_height / down
                    x = x1 * scale - offset + column * bin_width + (j + 0.5) * bin_width / across
                    pooled[:, row, column] += interpolate(feature, y, x) / (down * across)
    return pooled


def interpolate(feature: Tensor, y: float, x: float) -> Tensor:
    """The values (C,) of feature (C, H, W) at a point, between its four neighbours; pixel centres are at integers."""
    height, width = feature.shape[1:]
    if y < -1 or y > height or x < -1 or x > width:
        return feature.new_zeros(feature.shape[0])
    y, x = min(max(y, 0.0), height - 1.0), min(max(x, 0.0), width - 1.0)
    top, left = math.floor(y), math.floor(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    below, beside = y - top, x - left
    return (
        feature[:, top, left] * (1 - below) * (1 - beside)
        + feature[:, top, right] * (1 - below) * beside
        + feature[:, bottom, left] * below * (1 - beside)
        + feature[:, bottom, right] * below * beside
    )
