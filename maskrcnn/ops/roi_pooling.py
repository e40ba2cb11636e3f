"""What came before RoIAlign: RoIPool and RoIWarp, for the comparison of Mask R-CNN's table 2c.

Both round the RoI to whole pixels of the feature. RoIPool rounds its bins, too, and takes the largest value in each;
RoIWarp samples the rounded RoI by interpolation. RoIAlign rounds nothing.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from maskrcnn.ops.checks import (
    require_floating_point,
    require_number,
    require_same_device,
    require_whole_number,
    shape_of,
)


def roi_pool(feature: Tensor, rois: Tensor, *, output_size: int, stride: float) -> Tensor:
    """RoIPool (Fast R-CNN, arXiv 1504.08083, section 2.1): the maximum in each bin of an RoI rounded to pixels.

    With the corners divided by the stride and rounded (halves away from 0), the pixels from x1 to x2, both included
    and at least one, are cut into S bins; each reaches from the pixel it starts in to the one it ends in.

    Args:
        feature: (B, C, H, W); float32, float64, float16 or bfloat16.
        rois: (B, R, 4) in image pixels, float32 or float64.
        output_size: S, bins along a side.
        stride: image pixels per feature cell.

    Returns:
        (B, R, C, S, S) in the dtype of the feature, and channels-last in memory if it is. A bin outside the feature
        gives 0, and so does an RoI that is not finite; a bin with a NaN gives NaN.

    The gradient flows to the pixel with the maximum, of equal ones to the first; sums are float32, for float64
    features float64, in a fixed order, so it is the same bits in every run (without the compiled kernels, on a GPU
    only under `torch.use_deterministic_algorithms`). RoIs are constants. Autocast changes nothing.

    Raises:
        TypeError: an argument of the wrong type or dtype.
        ValueError: sizes or devices that do not fit together, 2^31 pixels or more, or a setting out of range.
    """
    _require_poolable("roi_pool", feature, rois, output_size, stride)
    if feature.shape[2] * feature.shape[3] >= 2**31:  # the number of a pixel is kept in 32 bits
        raise ValueError(f"roi_pool: feature must have less than 2^31 pixels, found {shape_of(feature)}")
    pooled, _ = torch.ops.maskrcnn.roi_pool(
        feature, _constants(feature, rois), output_size, float(stride), _is_channels_last(feature)
    )
    return pooled


def roi_warp(
    feature: Tensor, rois: Tensor, *, output_size: int, stride: float, sampling_ratio: int = 2, mode: str = "average"
) -> Tensor:
    """RoIWarp as Mask R-CNN describes it (section 3; the layer is of arXiv 1512.04412): round, then interpolate.

    The RoI is rounded as by `roi_pool`; its pixels are then the box [x1, x2 + 1) x [y1, y2 + 1), which is sampled like
    RoIAlign samples one: nothing but the rounding differs from it.

    Args:
        feature, rois, output_size, stride: as for `roi_pool`.
        sampling_ratio: g; each bin has g x g samples, bilinear between four pixels.
        mode: "average" or "max" of the samples of a bin.

    Returns:
        (B, R, C, S, S) in the dtype of the feature, and channels-last in memory if it is. Samples more than one cell
        outside the feature are 0, and so is all of an RoI that is not finite.

    Gradients and autocast are those of `pyramid_roi_align`.

    Raises:
        TypeError: an argument of the wrong type or dtype.
        ValueError: sizes or devices that do not fit together, a setting out of range, or an unknown mode.
    """
    _require_poolable("roi_warp", feature, rois, output_size, stride)
    require_whole_number("roi_warp", sampling_ratio=sampling_ratio)
    if sampling_ratio < 1:
        raise ValueError(f"roi_warp: sampling_ratio must be at least 1, found {sampling_ratio}")
    if mode not in ("average", "max"):
        raise ValueError(f'roi_warp: mode must be "average" or "max", found {mode!r}')
    corners = _constants(feature, rois) * (1.0 / stride)
    # Halves away from 0, as C rounds; torch.round would take them to even numbers.
    whole = corners.trunc()
    whole = whole + torch.where((corners - whole).abs() >= 0.5, corners.sign(), 0)
    first, last = whole[..., :2], whole[..., 2:]
    last = torch.where((last < first) & last.isfinite(), first, last)
    rounded = torch.cat((first, last + 1), dim=-1)
    # The maximum of g x g samples of a bin: each a bin of its own, and the maximum of g x g bins.
    fine, per_bin = (output_size * sampling_ratio, 1) if mode == "max" else (output_size, sampling_ratio)
    warped = torch.ops.maskrcnn.pyramid_roi_align(
        [feature], rounded, fine, [1.0], per_bin, True, 1.0, _is_channels_last(feature)
    )
    if mode == "average":
        return warped
    if warped.numel() == 0:  # PyTorch pools no tensor without channels
        return warped[..., ::sampling_ratio, ::sampling_ratio]
    return F.max_pool2d(warped.flatten(0, 1), sampling_ratio).unflatten(0, rois.shape[:2])


def _require_poolable(op: str, feature: Tensor, rois: Tensor, output_size: int, stride: float) -> None:
    require_floating_point(op, feature=feature, rois=rois)
    if feature.dim() != 4 or feature.shape[2] == 0 or feature.shape[3] == 0:
        raise ValueError(f"{op}: feature must be (B, C, H, W) with pixels, found {shape_of(feature)}")
    if rois.dim() != 3 or rois.shape[0] != feature.shape[0] or rois.shape[2] != 4:
        raise ValueError(f"{op}: rois must be (B, R, 4) with {feature.shape[0]} images, found {shape_of(rois)}")
    require_same_device(op, rois=rois, feature=feature)
    require_whole_number(op, output_size=output_size)
    require_number(op, stride=stride)
    if output_size < 1:
        raise ValueError(f"{op}: output_size must be at least 1, found {output_size}")
    if not 0 < stride < math.inf:
        raise ValueError(f"{op}: stride must be positive and finite, found {stride}")


def _constants(feature: Tensor, rois: Tensor) -> Tensor:
    return rois.detach().to(torch.promote_types(feature.dtype, torch.float32))


def _is_channels_last(feature: Tensor) -> bool:
    return feature.is_contiguous(memory_format=torch.channels_last) and not feature.is_contiguous()
