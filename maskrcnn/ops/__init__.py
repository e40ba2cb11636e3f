"""The custom ops: matching boxes, boxes inside don't-care regions, non-maximum suppression, RoIAlign over a pyramid and
what came before it, cropping masks to RoIs, and pasting them into pictures.

Each exists as a loop to read (`maskrcnn/reference/`), as vectorised PyTorch (`fallback.py`, `fallback_*.py`), as C++
and as CUDA (`csrc/`).
The functions here check what they are given and call the fastest one there is, through PyTorch's dispatcher.
Run-length codes are no tensors and have a module of their own, `maskrcnn.ops.run_length`, and so have convolutions,
which are PyTorch's in most cases, `maskrcnn.ops.convolution`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from maskrcnn.ops import register
from maskrcnn.ops.checks import (
    describe,
    kind_of,
    require_dtype,
    require_floating_point,
    require_number,
    require_same_device,
    require_whole_number,
    shape_of,
)
from maskrcnn.ops.matching import covered_boxes, match_boxes
from maskrcnn.ops.pasting import paste_masks
from maskrcnn.ops.roi_pooling import roi_pool, roi_warp

__all__ = [
    "build_information",
    "covered_boxes",
    "crop_masks",
    "match_boxes",
    "nms",
    "paste_masks",
    "pyramid_roi_align",
    "roi_pool",
    "roi_warp",
]


FINEST_SIZE = 56.0
"""Pixels along a side: RoIs of up to twice that read the finest level of a pyramid (224 / 4, FPN equation 1)."""


def nms(boxes: Tensor, scores: Tensor, groups: Tensor | None = None, *, iou_threshold: float, max_keep: int) -> Tensor:
    """Non-maximum suppression: of boxes that overlap, only the one with the best score survives.

    Greedy, as in R-CNN (arXiv 1311.2524, section 2.2): the candidates are visited best score first (equal scores:
    lower index first), and each survives unless its IoU with an earlier survivor exceeds the threshold. Faster R-CNN
    (arXiv 1506.01497, section 3.3) does this to proposals, too.

    Args:
        boxes: (..., N, 4) corners in any unit. All leading dimensions are images, treated independently in one call.
        scores: (..., N). A score of -inf or NaN marks a slot that is no candidate, such as padding.
        groups: (..., N) int64, for instance classes or pyramid levels; boxes of different groups never suppress each
            other. None puts all boxes of an image into one group.
        iou_threshold: in [0, 1]; a box is suppressed when an IoU is strictly greater.
        max_keep: how many survivors to return at most.

    Returns:
        (..., max_keep) int64: indices into N of the survivors, best score first, then -1 where fewer survive.

    A box with a NaN is no candidate; a box with swapped corners has area 0 and overlaps nothing. There is no gradient.
    Boxes in 16-bit floats, also under autocast, are compared in float32.

    Raises:
        TypeError: an argument of the wrong type or dtype.
        ValueError: sizes or devices that do not fit together, or a threshold or `max_keep` out of range.
    """
    require_floating_point("nms", boxes=boxes, scores=scores)
    if boxes.dim() < 2 or boxes.shape[-1] != 4:
        raise ValueError(f"nms: boxes must be (..., N, 4), found {shape_of(boxes)}")
    if scores.shape != boxes.shape[:-1]:
        raise ValueError(f"nms: scores must be {shape_of(boxes[..., 0])} like the boxes, found {shape_of(scores)}")
    require_same_device("nms", boxes=boxes, scores=scores)
    if groups is not None:
        if not isinstance(groups, Tensor) or groups.dtype != torch.int64:
            raise TypeError(f"nms: groups must be an int64 tensor, found {kind_of(groups)}")
        if groups.shape != scores.shape:
            raise ValueError(f"nms: groups must be {shape_of(scores)} like the scores, found {shape_of(groups)}")
        require_same_device("nms", boxes=boxes, groups=groups)
    require_number("nms", iou_threshold=iou_threshold)
    require_whole_number("nms", max_keep=max_keep)
    if not 0 <= iou_threshold <= 1:
        raise ValueError(f"nms: iou_threshold must be in [0, 1], found {iou_threshold}")
    if max_keep < 0:
        raise ValueError(f"nms: max_keep must not be negative, found {max_keep}")

    leading, count = boxes.shape[:-2], boxes.shape[-2]
    batch = math.prod(leading)
    dtype = torch.promote_types(torch.promote_types(boxes.dtype, scores.dtype), torch.float32)
    keep = torch.ops.maskrcnn.nms(
        boxes.detach().to(dtype).reshape(batch, count, 4),
        scores.detach().to(dtype).reshape(batch, count),
        None if groups is None else groups.reshape(batch, count),
        float(iou_threshold),
        max_keep,
    )
    return keep.reshape(*leading, max_keep)


def pyramid_roi_align(
    features: Sequence[Tensor],
    rois: Tensor,
    *,
    output_size: int,
    strides: Sequence[float],
    sampling_ratio: int,
    aligned: bool,
    finest_size: float = FINEST_SIZE,
) -> Tensor:
    """RoIAlign (Mask R-CNN section 3) of each RoI, from the pyramid level that suits its size (FPN equation 1).

    Level of a w x h RoI: floor(log2(sqrt(w h) / finest_size + 1e-6)), clamped to the levels there are. With the
    default, RoIs below 112 pixels go to the first level, below 224 to the second, and so on. It is one rule under
    three names: FPN and torchvision write floor(4 + log2(sqrt(w h) / 224)) for P2..P5, MMDetection uses this form.

    In the level's coordinates (pixels / stride; `aligned` subtracts half a cell, since features sit at cell centres)
    the RoI is cut into S x S bins; each bin is the average of g x g samples, and each sample is interpolated
    between its four neighbours. No coordinate is ever rounded, which is the point of RoIAlign.

    Args:
        features: L levels (B, C, H_l, W_l), finest first; float32, float64, float16 or bfloat16.
        rois: (B, R, 4) in image pixels, float32 or float64.
        output_size: S, bins along a side.
        strides: L strides, image pixels per feature cell.
        sampling_ratio: g; 0 chooses ceil(RoI size / S) for each RoI and axis.
        aligned: the half-cell shift described above. Without it, an RoI is taken as at least one cell wide and high,
            which is how the original release and torchvision's Mask R-CNN behave.
        finest_size: see above.

    Returns:
        (B, R, C, S, S) in the dtype of the features; sums are float32, for float64 features float64. If the features
        are channels-last in memory so is the result, as (B * R, C, S, S), and no copy is made on either side.

    Samples more than one cell outside the level contribute 0. An RoI with swapped corners counts as one without
    area (zeros, unless a fixed `sampling_ratio` or the minimum of one cell gives it something to read); an
    RoI that is not finite gives zeros.

    The gradient flows to the features only; RoIs are constants here (Mask R-CNN trains this way: "approximate joint
    training"). The order of its sums is fixed, so it is the same bits in every run. Autocast changes nothing:
    RoIAlign runs in the features' dtype.

    Raises:
        TypeError: an argument of the wrong type or dtype.
        ValueError: sizes, devices or lengths that do not fit together, or a setting out of range.
    """
    features = list(features)
    if not features:
        raise ValueError("pyramid_roi_align: needs at least one feature level")
    named_features = {f"features[{index}]": level for index, level in enumerate(features)}
    require_floating_point("pyramid_roi_align", rois=rois, **named_features)
    if rois.dim() != 3 or rois.shape[-1] != 4:
        raise ValueError(f"pyramid_roi_align: rois must be (B, R, 4), found {shape_of(rois)}")
    for index, level in enumerate(features):
        if level.dim() != 4 or level.shape[2] == 0 or level.shape[3] == 0:
            raise ValueError(
                f"pyramid_roi_align: features[{index}] must be (B, C, H, W) with pixels, found {shape_of(level)}"
            )
        if level.shape[0] != rois.shape[0] or level.shape[1] != features[0].shape[1]:
            raise ValueError(
                f"pyramid_roi_align: features[{index}] must have {rois.shape[0]} images like the rois and "
                f"{features[0].shape[1]} channels like features[0], found {shape_of(level)}"
            )
        if level.dtype != features[0].dtype:
            raise TypeError(
                f"pyramid_roi_align: features[{index}] is {level.dtype} but features[0] is {features[0].dtype}"
            )
        require_same_device("pyramid_roi_align", rois=rois, **{f"features[{index}]": level})
    if not isinstance(strides, Sequence):
        raise TypeError(f"pyramid_roi_align: strides must be a list of numbers, found {describe(strides)}")
    named_strides = {f"strides[{index}]": stride for index, stride in enumerate(strides)}
    require_number("pyramid_roi_align", **named_strides, finest_size=finest_size)
    require_whole_number("pyramid_roi_align", output_size=output_size, sampling_ratio=sampling_ratio)
    if not isinstance(aligned, bool):
        raise TypeError(f"pyramid_roi_align: aligned must be True or False, found {describe(aligned)}")
    if len(strides) != len(features):
        raise ValueError(f"pyramid_roi_align: {len(features)} feature levels but {len(strides)} strides")
    if not all(0 < size < math.inf for size in (*strides, finest_size)):
        raise ValueError(
            f"pyramid_roi_align: strides and finest_size must be positive and finite, "
            f"found {tuple(strides)} and {finest_size}"
        )
    if output_size < 1 or sampling_ratio < 0:
        raise ValueError(
            f"pyramid_roi_align: output_size must be at least 1 and sampling_ratio at least 0, "
            f"found {output_size} and {sampling_ratio}"
        )

    first = features[0]
    return torch.ops.maskrcnn.pyramid_roi_align(
        features,
        rois.detach().to(torch.promote_types(first.dtype, torch.float32)),
        output_size,
        [float(stride) for stride in strides],
        sampling_ratio,
        aligned,
        float(finest_size),
        first.is_contiguous(memory_format=torch.channels_last) and not first.is_contiguous(),
    )


def crop_masks(
    bitmaps: Tensor,
    offsets: Tensor,
    bitmap_boxes: Tensor,
    rois: Tensor,
    image_sizes: Tensor,
    *,
    size: int,
    convention: str,
) -> Tensor:
    """Mask targets: for each RoI, the part of its object's mask inside it (Mask R-CNN section 3).

    Args:
        bitmaps: (M,) uint8, box-cropped bitmaps, each row by row, one after another. Any number but 0 counts as 1.
        offsets: (..., N) int64: where the bitmap of each RoI's object starts.
        bitmap_boxes: (..., N, 4) int64: the whole pixels x1, y1, x2, y2 of the image that the bitmap covers; outside
            the mask is 0.
        rois: (..., N, 4) in image pixels.
        image_sizes: (..., 2) int64: height, width.
        size: m, cells along a side.
        convention: "binary" clips the RoI to its image, samples with the half-pixel shift and gives 1 where the
            average is at least a half (MMDetection); "soft" neither clips nor shifts, takes an RoI as at least one
            pixel long, and keeps fractions (torchvision).

    Returns:
        (..., N, m, m) in [0, 1], float32, for float64 RoIs float64. There is no gradient.

    Each cell is the average of ceil(RoI size / m) bilinear samples along each axis, but of no more than the image has
    pixels. An RoI with swapped corners counts as one without area, whose samples all lie on one point. An RoI that is
    not finite gives numbers that mean nothing. Nothing outside `bitmaps` is ever read: a bitmap that does not lie
    wholly in there, or whose box leaves the image, counts as empty, and so does one of an image with a side of 2^31
    pixels or more.

    Raises:
        TypeError: an argument of the wrong type or dtype.
        ValueError: sizes or devices that do not fit together, a `size` below 1, or an unknown convention.
    """
    index_tensors = {"offsets": offsets, "bitmap_boxes": bitmap_boxes, "image_sizes": image_sizes}
    require_floating_point("crop_masks", rois=rois)
    require_dtype("crop_masks", torch.uint8, bitmaps=bitmaps)
    require_dtype("crop_masks", torch.int64, **index_tensors)
    if convention not in ("binary", "soft"):
        raise ValueError(f'crop_masks: convention must be "binary" or "soft", found {convention!r}')
    require_whole_number("crop_masks", size=size)
    if size < 1:
        raise ValueError(f"crop_masks: size must be at least 1, found {size}")
    if bitmaps.dim() != 1:
        raise ValueError(f"crop_masks: bitmaps must be (M,), found {shape_of(bitmaps)}")
    for name, tensor in {"bitmaps": bitmaps, **index_tensors}.items():
        require_same_device("crop_masks", rois=rois, **{name: tensor})
    if rois.dim() < 2 or rois.shape[-1] != 4:
        raise ValueError(f"crop_masks: rois must be (..., N, 4), found {shape_of(rois)}")
    leading, count = rois.shape[:-2], rois.shape[-2]
    expected = {"offsets": (*leading, count), "bitmap_boxes": (*leading, count, 4), "image_sizes": (*leading, 2)}
    for name, tensor in index_tensors.items():
        if shape_of(tensor) != expected[name]:
            raise ValueError(f"crop_masks: {name} must be {expected[name]} like the rois, found {shape_of(tensor)}")
    batch = math.prod(leading)
    dtype = torch.promote_types(rois.dtype, torch.float32)
    targets = torch.ops.maskrcnn.crop_masks(
        bitmaps,
        offsets.reshape(batch, count),
        bitmap_boxes.reshape(batch, count, 4),
        rois.detach().to(dtype).reshape(batch, count, 4),
        image_sizes.reshape(batch, 2),
        size,
        convention == "binary",
    )
    return targets.reshape(*leading, count, size, size)


def build_information() -> dict[str, Any]:
    """How the ops were built, for `python -m maskrcnn info`.

    Returns:
        `compiled`: whether compiled ops are in use, and `reason`: why not, or "".
        `ops`: for each op the backends, of "CPU" and "CUDA", that have a compiled kernel; PyTorch serves the others.
        `cuda`: whether CUDA kernels were compiled, and `cuda_reason`: the decision of setup.py and what led to it.
        `compiler`, `flags`: of the compiled ops, or "".
    """
    information: dict[str, Any] = {"compiled": False, "cuda": False, "compiler": "", "flags": ""}
    if register.extension is not None:
        information.update(register.extension.build_information(), compiled=True)
    information["reason"] = register.extension_missing_because
    information["cuda_reason"] = register.build_report().get("cuda_because", "")
    information["ops"] = {
        name: [
            backend
            for backend in ("CPU", "CUDA")
            if torch._C._dispatch_has_kernel_for_dispatch_key(f"maskrcnn::{name}", backend)
        ]
        for name in register.SCHEMAS
    }
    return information
