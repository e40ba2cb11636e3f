"""Matching in vectorised PyTorch: what `match_boxes` and `covered_boxes` do where no compiled kernel exists.

The first forms the IoUs of all pairs, which the compiled kernels do without.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from maskrcnn import boxes as box_functions

_NO_OVERLAP = -1.0
"""Below every IoU."""
_REGIONS_AT_ONCE = 4
"""A number for each pair of 200 regions and 217,413 anchors is 174 MB, and there are several such numbers."""


def match_boxes(
    ground_truths: Tensor, ground_truths_valid: Tensor, boxes: Tensor, boxes_valid: Tensor, floor: float
) -> tuple[Tensor, Tensor, Tensor]:
    """`maskrcnn.ops.match_boxes` for ground_truths (B, G, 4), boxes (B, N, 4) and their masks (B, G) and (B, N)."""
    # There is no largest of no overlaps: without any slot for ground truths there is an empty one, and so for boxes.
    count = boxes.shape[-2]
    ground_truths, ground_truths_valid = _at_least_one(ground_truths, ground_truths_valid)
    boxes, boxes_valid = _at_least_one(boxes, boxes_valid)
    # Ground truths as rows: a picture has few of them and a hundred thousand anchors, and long rows are fast.
    overlaps = box_functions.iou(ground_truths, boxes)  # (B, G, N)
    real_ground_truths = ground_truths_valid & ground_truths.isfinite().all(dim=-1)
    real_boxes = boxes_valid & boxes.isfinite().all(dim=-1)
    comparable = real_ground_truths[..., :, None] & real_boxes[..., None, :] & ~overlaps.isnan()
    overlaps = overlaps.masked_fill(~comparable, _NO_OVERLAP)
    best, ground_truth = overlaps.max(dim=-2)
    best_of_ground_truth = overlaps.amax(dim=-1, keepdim=True)  # (B, G, 1)
    ties = comparable & (overlaps == best_of_ground_truth) & (best_of_ground_truth >= floor)
    slots = torch.arange(ground_truths.shape[-2], device=boxes.device)[:, None]
    forced = torch.where(ties, slots, -1).amax(dim=-2)
    return tuple(result[..., :count].contiguous() for result in (best.clamp(min=0), ground_truth, forced))


def _at_least_one(boxes: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    missing = max(0, 1 - boxes.shape[-2])
    return F.pad(boxes, (0, 0, 0, missing)), F.pad(valid, (0, missing))


def covered_boxes(boxes: Tensor, regions: Tensor, regions_valid: Tensor, fraction: float) -> Tensor:
    """`maskrcnn.ops.covered_boxes` for boxes (B, N, 4) and regions (B, M, 4) with their mask (B, M)."""
    enough = fraction * box_functions.area(boxes)
    covered = torch.zeros_like(enough, dtype=torch.bool)
    boxes = boxes.mT.contiguous().mT  # as `intersection` would have it each time
    for some, real in zip(
        regions.split(_REGIONS_AT_ONCE, dim=-2), regions_valid.split(_REGIONS_AT_ONCE, dim=-1), strict=True
    ):
        shared = box_functions.intersection(some, boxes)  # (B, few, N)
        covered |= ((shared > enough[..., None, :]) & real[..., :, None]).any(dim=-2)
    return covered
