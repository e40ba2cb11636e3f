"""How many boxes lie over few others, without a number for each pair: `match_boxes` and `covered_boxes`."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from maskrcnn.ops.checks import (
    require_dtype,
    require_floating_point,
    require_number,
    require_same_device,
    shape_of,
)


def match_boxes(
    ground_truths: Tensor, ground_truths_valid: Tensor, boxes: Tensor, boxes_valid: Tensor, *, floor: float
) -> tuple[Tensor, Tensor, Tensor]:
    """How each box overlaps the ground truths: all that labelling anchors and proposals needs to know.

    Args:
        ground_truths: (..., G, 4) corners in any unit. All leading dimensions are images, treated independently.
        ground_truths_valid: (..., G) bool; the others are padding.
        boxes: (..., N, 4) in the same unit.
        boxes_valid: (..., N) bool.
        floor: in [0, 1]: a ground truth whose largest IoU is lower forces no box.

    Returns:
        iou: (..., N) float: the largest IoU of each box with a ground truth, 0 without any.
        ground_truth: (..., N) int64: the first ground truth with that IoU, 0 without any.
        forced: (..., N) int64: the last ground truth whose own largest IoU (at least `floor`) this box ties, else -1.

    Padding overlaps nothing, not even by 0, and neither does a box with a corner that is not finite. There is no
    gradient. Boxes in 16-bit floats, also under autocast, are compared in float32.

    Raises:
        TypeError: an argument of the wrong type or dtype.
        ValueError: sizes or devices that do not fit together, or a `floor` out of range.
    """
    require_floating_point("match_boxes", ground_truths=ground_truths, boxes=boxes)
    require_dtype("match_boxes", torch.bool, ground_truths_valid=ground_truths_valid, boxes_valid=boxes_valid)
    _require_corners("match_boxes", "N", ground_truths=ground_truths, boxes=boxes)
    leading, count, slots = boxes.shape[:-2], boxes.shape[-2], ground_truths.shape[-2]
    _require_fit("match_boxes", boxes, (*leading, slots, 4), ground_truths=ground_truths)
    _require_fit("match_boxes", boxes, (*leading, slots), ground_truths_valid=ground_truths_valid)
    _require_fit("match_boxes", boxes, (*leading, count), boxes_valid=boxes_valid)
    _require_share("match_boxes", floor=floor)

    batch = math.prod(leading)
    dtype = torch.promote_types(torch.promote_types(boxes.dtype, ground_truths.dtype), torch.float32)
    results = torch.ops.maskrcnn.match_boxes(
        ground_truths.detach().to(dtype).reshape(batch, slots, 4),
        ground_truths_valid.reshape(batch, slots),
        boxes.detach().to(dtype).reshape(batch, count, 4),
        boxes_valid.reshape(batch, count),
        float(floor),
    )
    iou, ground_truth, forced = (result.reshape(*leading, count) for result in results)
    return iou, ground_truth, forced


def covered_boxes(boxes: Tensor, regions: Tensor, regions_valid: Tensor, *, fraction: float) -> Tensor:
    """Which boxes lie in a region by more than a fraction of their own area.

    Args:
        boxes: (..., N, 4) corners in any unit. All leading dimensions are images, treated independently.
        regions: (..., M, 4) in the same unit.
        regions_valid: (..., M) bool; the others are padding, cover nothing and cost nothing.
        fraction: in [0, 1].

    Returns:
        (..., N) bool: whether a single region shares more than `fraction` of the box's area with it. What several
        regions share does not add up.

    A box without area, or with a NaN, is never covered, and a region with a NaN covers nothing. There is no gradient.
    Boxes in 16-bit floats, also under autocast, are compared in float32.

    Raises:
        TypeError: an argument of the wrong type or dtype.
        ValueError: sizes or devices that do not fit together, or a `fraction` out of range.
    """
    require_floating_point("covered_boxes", boxes=boxes, regions=regions)
    require_dtype("covered_boxes", torch.bool, regions_valid=regions_valid)
    _require_corners("covered_boxes", "N", boxes=boxes)
    _require_corners("covered_boxes", "M", regions=regions)
    leading, count, slots = boxes.shape[:-2], boxes.shape[-2], regions.shape[-2]
    _require_fit("covered_boxes", boxes, (*leading, slots, 4), regions=regions)
    _require_fit("covered_boxes", boxes, (*leading, slots), regions_valid=regions_valid)
    _require_share("covered_boxes", fraction=fraction)

    batch = math.prod(leading)
    dtype = torch.promote_types(torch.promote_types(boxes.dtype, regions.dtype), torch.float32)
    covered = torch.ops.maskrcnn.covered_boxes(
        boxes.detach().to(dtype).reshape(batch, count, 4),
        regions.detach().to(dtype).reshape(batch, slots, 4),
        regions_valid.reshape(batch, slots),
        float(fraction),
    )
    return covered.reshape(*leading, count)


def _require_corners(op: str, letter: str, **boxes: Tensor) -> None:
    """Raises ValueError for the first argument that is not (..., N, 4), N being called `letter`."""
    for name, corners in boxes.items():
        if corners.dim() < 2 or corners.shape[-1] != 4:
            raise ValueError(f"{op}: {name} must be (..., {letter}, 4), found {shape_of(corners)}")


def _require_fit(op: str, boxes: Tensor, expected: tuple[int, ...], **argument: Tensor) -> None:
    """Raises ValueError if the argument is of another shape, or elsewhere than the boxes."""
    ((name, tensor),) = argument.items()
    if tensor.shape != expected:
        raise ValueError(f"{op}: {name} must be {tuple(expected)} to fit the rest, found {shape_of(tensor)}")
    require_same_device(op, boxes=boxes, **argument)


def _require_share(op: str, **argument: float) -> None:
    """Raises TypeError if the argument is no number, ValueError if it is not in [0, 1]."""
    ((name, value),) = argument.items()
    require_number(op, **argument)
    if not 0 <= value <= 1:
        raise ValueError(f"{op}: {name} must be in [0, 1], found {value}")
