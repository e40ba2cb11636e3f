"""Tells PyTorch's dispatcher about the custom ops: schemas, shapes, gradients, and which kernel runs where.

One call of `torch.ops.maskrcnn.nms` ends in the compiled kernel of the tensors' device if there is one
(`STABLE_TORCH_LIBRARY_IMPL` in `csrc/`), otherwise in the PyTorch version in `fallback.py` or `fallback_*.py`. The
environment variable `MASKRCNN_OPS=python` leaves the compiled kernels out.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from maskrcnn.ops import (
    fallback,
    fallback_convolution,
    fallback_masks,
    fallback_matching,
    fallback_pasting,
    fallback_pooling,
)

SCHEMAS = {
    "nms": "(Tensor boxes, Tensor scores, Tensor? groups, float iou_threshold, int max_keep) -> Tensor",
    "pyramid_roi_align": (
        "(Tensor[] features, Tensor rois, int output_size, float[] strides, int sampling_ratio, bool aligned, "
        "float finest_size, bool channels_last) -> Tensor"
    ),
    # The gradients are summed in the dtype of the RoIs and come in that of the gradient they are made from.
    "pyramid_roi_align_backward": (
        "(Tensor gradient, Tensor rois, SymInt[] heights, SymInt[] widths, int output_size, float[] strides, "
        "int sampling_ratio, bool aligned, float finest_size, bool channels_last) -> Tensor[]"
    ),
    # The kernel is (3, 3, I, O); lanes are floats in a register of the processor, 0 for its widest. What the first
    # makes of a kernel, only the second can read, with as many lanes. For gradients there is `convolution.convolve`.
    "transform_kernel_3x3": "(Tensor kernel, int lanes) -> Tensor",
    "convolve_3x3": "(Tensor maps, Tensor weights, Tensor? bias, SymInt out_channels, int lanes) -> Tensor",
    "crop_masks": (
        "(Tensor bitmaps, Tensor offsets, Tensor bitmap_boxes, Tensor rois, Tensor image_sizes, int size, "
        "bool binary) -> Tensor"
    ),
    "match_boxes": (
        "(Tensor ground_truths, Tensor ground_truths_valid, Tensor boxes, Tensor boxes_valid, float floor) "
        "-> (Tensor, Tensor, Tensor)"
    ),
    "covered_boxes": "(Tensor boxes, Tensor regions, Tensor regions_valid, float fraction) -> Tensor",
    "paste_masks": "(Tensor masks, Tensor boxes, SymInt height, SymInt width, bool padded_resize) -> Tensor",
    # Beside the maxima comes where they were found, for the gradient, which comes in the dtype it was summed in.
    "roi_pool": (
        "(Tensor feature, Tensor rois, int output_size, float stride, bool channels_last) -> (Tensor, Tensor)"
    ),
    "roi_pool_backward": (
        "(Tensor gradient, Tensor argmax, SymInt height, SymInt width, bool channels_last) -> Tensor"
    ),
}
_FALLBACKS = {
    "nms": fallback.nms,
    "pyramid_roi_align": fallback.pyramid_roi_align,
    "pyramid_roi_align_backward": fallback.pyramid_roi_align_backward,
    "transform_kernel_3x3": fallback_convolution.transform_kernel_3x3,
    "convolve_3x3": fallback_convolution.convolve_3x3,
    "crop_masks": fallback_masks.crop_masks,
    "match_boxes": fallback_matching.match_boxes,
    "covered_boxes": fallback_matching.covered_boxes,
    "paste_masks": fallback_pasting.paste_masks,
    "roi_pool": fallback_pooling.roi_pool,
    "roi_pool_backward": fallback_pooling.roi_pool_backward,
}


def _without_autocast(kernel: Callable) -> Callable:
    """A compiled kernel computes in the dtypes it is given; this makes one in PyTorch do so, in its products, too."""

    def run(*arguments: Any) -> Any:
        tensor = arguments[0] if isinstance(arguments[0], Tensor) else arguments[0][0]
        with torch.autocast(tensor.device.type, enabled=False):
            return kernel(*arguments)

    return run


_library = torch.library.Library("maskrcnn", "DEF")
for _name, _schema in SCHEMAS.items():
    _library.define(_name + _schema)
    # A kernel registered for one device has precedence over this one, which is for all of them.
    _library.impl(_name, _without_autocast(_FALLBACKS[_name]), "CompositeExplicitAutograd")


@torch.library.register_fake("maskrcnn::nms", lib=_library)
def _nms_shape(boxes: Tensor, scores: Tensor, groups: Tensor | None, iou_threshold: float, max_keep: int) -> Tensor:
    return boxes.new_empty((boxes.shape[0], max_keep), dtype=torch.int64)


@torch.library.register_fake("maskrcnn::pyramid_roi_align", lib=_library)
def _pooled_shape(
    features: Sequence[Tensor],
    rois: Tensor,
    output_size: int,
    strides: Sequence[float],
    sampling_ratio: int,
    aligned: bool,
    finest_size: float,
    channels_last: bool,
) -> Tensor:
    batch, count, channels, size = rois.shape[0], rois.shape[1], features[0].shape[1], output_size
    if channels_last:
        return features[0].new_empty((batch, count, size, size, channels)).permute(0, 1, 4, 2, 3)
    return features[0].new_empty((batch, count, channels, size, size))


@torch.library.register_fake("maskrcnn::pyramid_roi_align_backward", lib=_library)
def _gradient_shapes(
    gradient: Tensor,
    rois: Tensor,
    heights: Sequence[int],
    widths: Sequence[int],
    output_size: int,
    strides: Sequence[float],
    sampling_ratio: int,
    aligned: bool,
    finest_size: float,
    channels_last: bool,
) -> list[Tensor]:
    batch, channels = rois.shape[0], gradient.shape[2]
    sizes = zip(heights, widths, strict=True)
    if channels_last:
        return [gradient.new_empty((batch, h, w, channels)).permute(0, 3, 1, 2) for h, w in sizes]
    return [gradient.new_empty((batch, channels, h, w)) for h, w in sizes]


@torch.library.register_fake("maskrcnn::transform_kernel_3x3", lib=_library)
def _transformed_shape(kernel: Tensor, lanes: int) -> Tensor:
    per_place = kernel.shape[2] * kernel.shape[3] + fallback_convolution.GAP
    return kernel.new_empty((fallback_convolution.PLACES, per_place))


@torch.library.register_fake("maskrcnn::convolve_3x3", lib=_library)
def _convolved_shape(maps: Tensor, weights: Tensor, bias: Tensor | None, out_channels: int, lanes: int) -> Tensor:
    batch, _, height, width = maps.shape
    shape = (batch, out_channels, height, width)
    return torch.empty(shape, dtype=maps.dtype, device=maps.device, memory_format=torch.channels_last)


@torch.library.register_fake("maskrcnn::crop_masks", lib=_library)
def _target_shape(
    bitmaps: Tensor, offsets: Tensor, bitmap_boxes: Tensor, rois: Tensor, image_sizes: Tensor, size: int, binary: bool
) -> Tensor:
    return rois.new_empty((*rois.shape[:-1], size, size))


@torch.library.register_fake("maskrcnn::match_boxes", lib=_library)
def _match_shapes(
    ground_truths: Tensor, ground_truths_valid: Tensor, boxes: Tensor, boxes_valid: Tensor, floor: float
) -> tuple[Tensor, Tensor, Tensor]:
    shape = boxes.shape[:-1]
    return boxes.new_empty(shape), *(boxes.new_empty(shape, dtype=torch.int64) for _ in range(2))


@torch.library.register_fake("maskrcnn::covered_boxes", lib=_library)
def _cover_shape(boxes: Tensor, regions: Tensor, regions_valid: Tensor, fraction: float) -> Tensor:
    return boxes.new_empty(boxes.shape[:-1], dtype=torch.bool)


@torch.library.register_fake("maskrcnn::paste_masks", lib=_library)
def _picture_shape(masks: Tensor, boxes: Tensor, height: int, width: int, padded_resize: bool) -> Tensor:
    return masks.new_empty((len(masks), height, width), dtype=torch.bool)


@torch.library.register_fake("maskrcnn::roi_pool", lib=_library)
def _maxima_shapes(
    feature: Tensor, rois: Tensor, output_size: int, stride: float, channels_last: bool
) -> tuple[Tensor, Tensor]:
    pooled = _pooled_shape([feature], rois, output_size, [stride], 0, True, 1.0, channels_last)
    return pooled, torch.empty_like(pooled, dtype=torch.int32)


@torch.library.register_fake("maskrcnn::roi_pool_backward", lib=_library)
def _maxima_gradient_shape(gradient: Tensor, argmax: Tensor, height: int, width: int, channels_last: bool) -> Tensor:
    total = gradient.new_empty(
        (gradient.shape[0], gradient.shape[2], height, width),
        dtype=torch.promote_types(gradient.dtype, torch.float32),
    )
    return total.contiguous(memory_format=torch.channels_last) if channels_last else total


def _remember_sizes(ctx: Any, inputs: tuple, output: Tensor) -> None:
    features, rois, *settings = inputs
    ctx.save_for_backward(rois)
    ctx.heights, ctx.widths = [level.shape[2] for level in features], [level.shape[3] for level in features]
    ctx.settings = settings


def _pyramid_roi_align_gradient(ctx: Any, gradient: Tensor) -> tuple:
    (rois,) = ctx.saved_tensors
    levels = torch.ops.maskrcnn.pyramid_roi_align_backward(gradient, rois, ctx.heights, ctx.widths, *ctx.settings)
    return levels, *[None] * (1 + len(ctx.settings))


torch.library.register_autograd(
    "maskrcnn::pyramid_roi_align", _pyramid_roi_align_gradient, setup_context=_remember_sizes, lib=_library
)


# Both ops are linear, so the gradient of the gradient is pooled where the gradient was spread.
def _remember_rois(ctx: Any, inputs: tuple, output: list[Tensor]) -> None:
    _, rois, _, _, *ctx.settings = inputs
    ctx.save_for_backward(rois)


def _second_pyramid_roi_align_gradient(ctx: Any, levels: Sequence[Tensor]) -> tuple:
    (rois,) = ctx.saved_tensors
    pooled = torch.ops.maskrcnn.pyramid_roi_align(list(levels), rois, *ctx.settings)
    return pooled, *[None] * (3 + len(ctx.settings))


torch.library.register_autograd(
    "maskrcnn::pyramid_roi_align_backward",
    _second_pyramid_roi_align_gradient,
    setup_context=_remember_rois,
    lib=_library,
)


def _remember_argmax(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
    feature, *_, ctx.channels_last = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(output[1])
    ctx.height, ctx.width, ctx.dtype = feature.shape[2], feature.shape[3], feature.dtype


def _roi_pool_gradient(ctx: Any, gradient: Tensor, _: Tensor) -> tuple:
    (argmax,) = ctx.saved_tensors
    total = torch.ops.maskrcnn.roi_pool_backward(gradient, argmax, ctx.height, ctx.width, ctx.channels_last)
    return total.to(ctx.dtype), None, None, None, None


torch.library.register_autograd("maskrcnn::roi_pool", _roi_pool_gradient, setup_context=_remember_argmax, lib=_library)


def _remember_places(ctx: Any, inputs: tuple, output: Tensor) -> None:
    gradient, argmax, *_ = inputs
    ctx.save_for_backward(argmax)
    ctx.dtype = gradient.dtype


def _second_roi_pool_gradient(ctx: Any, total: Tensor) -> tuple:
    (argmax,) = ctx.saved_tensors
    pixels = argmax.transpose(1, 2).flatten(2).long()  # (B, C, R * S * S)
    outside = (pixels < 0) | (pixels >= total.shape[2] * total.shape[3])  # an empty bin has -1
    found = total.flatten(2).gather(2, pixels.masked_fill(outside, 0)).masked_fill(outside, 0)
    pooled = found.unflatten(2, (argmax.shape[1], *argmax.shape[3:])).transpose(1, 2)
    return pooled.to(ctx.dtype), None, None, None, None


torch.library.register_autograd(
    "maskrcnn::roi_pool_backward", _second_roi_pool_gradient, setup_context=_remember_places, lib=_library
)

# RoIAlign and RoIPool run in whatever dtype autocast gave the features; comparing boxes takes more digits than bfloat16
# has.
for _device_type in ("cpu", "cuda"):
    for _name in ("nms", "crop_masks", "match_boxes", "covered_boxes", "paste_masks"):
        torch.library.register_autocast(f"maskrcnn::{_name}", _device_type, torch.float32, lib=_library)


def build_report() -> dict[str, Any]:
    """What setup.py noted when it built, or failed to build, the extension; empty if it never ran."""
    path = Path(__file__).with_name("build_report.json")
    return json.loads(path.read_text()) if path.exists() else {}


def _load_extension() -> tuple[ModuleType | None, str]:
    """The extension module, whose import registers the compiled kernels, or None and the reason in one line."""
    if os.environ.get("MASKRCNN_OPS") == "python":
        return None, "MASKRCNN_OPS=python is set"
    try:
        return importlib.import_module("maskrcnn._C"), ""
    except ModuleNotFoundError:
        return None, build_report().get("failure") or "maskrcnn is not installed: pip install --no-build-isolation -e ."
    except ImportError as error:  # built for another Python or PyTorch, say
        return None, str(error).splitlines()[0]


extension, extension_missing_because = _load_extension()
