"""Matching: which ground truth, if any, each anchor or proposal should find (Faster R-CNN section 3.1.2)."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from maskrcnn import boxes as box_functions

POSITIVE, NEGATIVE, IGNORED = 1, 0, -1


class Matches(NamedTuple):
    """What each of N boxes was matched to."""

    label: Tensor
    """(..., N) int64: POSITIVE, NEGATIVE or IGNORED."""
    ground_truth: Tensor
    """(..., N) int64: the ground-truth slot of each positive; meaningless elsewhere, but always a slot."""


class BestMatches(NamedTuple):
    """How each of N boxes overlaps the ground truths."""

    iou: Tensor
    """(..., N) float: the largest IoU with a valid ground truth, 0 without any."""
    ground_truth: Tensor
    """(..., N) int64: the first ground truth with that IoU."""
    forced: Tensor
    """(..., N) int64: the last ground truth whose own largest IoU (at least `floor`) this box ties, else -1."""


def best_matches(
    ground_truths: Tensor, ground_truths_valid: Tensor, boxes: Tensor, boxes_valid: Tensor, floor: float
) -> BestMatches:
    """Compares boxes (..., N, 4) with ground truths (..., G, 4), both with their (..., N) and (..., G) bool masks."""
    # There is no largest of no overlaps: without any slot for ground truths there is an empty one.
    missing = max(0, 1 - ground_truths.shape[-2])
    ground_truths = F.pad(ground_truths, (0, 0, 0, missing))
    ground_truths_valid = F.pad(ground_truths_valid, (0, missing))
    # Ground truths as rows: a picture has few of them and a hundred thousand anchors, and long rows are fast.
    overlaps = box_functions.iou(ground_truths, boxes)  # (..., G, N)
    both = ground_truths_valid[..., :, None] & boxes_valid[..., None, :]
    overlaps = overlaps.masked_fill(~both, -1.0)  # below every real IoU
    best, ground_truth = overlaps.max(dim=-2)
    best_of_ground_truth = overlaps.amax(dim=-1, keepdim=True)  # (..., G, 1)
    ties = both & (overlaps == best_of_ground_truth) & (best_of_ground_truth >= floor)
    slots = torch.arange(ground_truths.shape[-2], device=boxes.device)[:, None]
    forced = torch.where(ties, slots, -1).amax(dim=-2)
    return BestMatches(best.clamp(min=0), ground_truth, forced)


def match(
    ground_truths: Tensor,
    ground_truths_valid: Tensor,
    boxes: Tensor,
    boxes_valid: Tensor,
    *,
    positive_iou: float,
    negative_iou: float,
    low_quality: str = "none",
    low_quality_iou: float = 0.0,
) -> Matches:
    """Labels boxes (..., N, 4) by their best IoU with ground truths (..., G, 4); masks (..., N) and (..., G).

    IoU >= positive_iou is positive, below negative_iou negative, between them ignored. A padded box is ignored, a
    padded ground truth attracts nothing. Small and odd-shaped objects may have no anchor above positive_iou at all,
    so `low_quality` also makes each object's best box positive:
    "forced"    for that object, if their IoU reaches low_quality_iou; among objects that force the same box the last
                wins (MMDetection);
    "own_best"  for whichever object the box itself overlaps most, without a floor, so that an object that touches no
                box makes every box positive (torchvision; Faster R-CNN's rule (i));
    "none"      not at all.

    Raises ValueError for any other `low_quality`.
    """
    if low_quality not in ("forced", "own_best", "none"):
        raise ValueError(f'found low_quality {low_quality!r}, expected "forced", "own_best" or "none"')
    floor = low_quality_iou if low_quality == "forced" else 0.0
    best = best_matches(ground_truths, ground_truths_valid, boxes, boxes_valid, floor)
    label = torch.where(best.iou >= positive_iou, POSITIVE, IGNORED)
    label = torch.where(best.iou < negative_iou, NEGATIVE, label)
    ground_truth = best.ground_truth
    if low_quality != "none":
        label = torch.where(best.forced >= 0, POSITIVE, label)
    if low_quality == "forced":
        ground_truth = torch.where(best.forced >= 0, best.forced, ground_truth)
    return Matches(label.masked_fill(~boxes_valid, IGNORED), ground_truth)


def ignore_overlapping(label: Tensor, boxes: Tensor, regions: Tensor, regions_valid: Tensor) -> Tensor:
    """Labels (..., N) in which no negative lies in a don't-care region.

    A negative of which more than half lies in one of regions (..., M, 4) (where regions_valid (..., M)) is IGNORED:
    nobody knows what is there, so it must not be learned as background. The measure is intersection over the box's
    own area, as in evaluation, since a small box inside a large region is as unknown as one that fits it.
    """
    shared = box_functions.intersection(regions, boxes).masked_fill(~regions_valid[..., :, None], 0.0)
    covered = (shared > 0.5 * box_functions.area(boxes)[..., None, :]).any(dim=-2)
    return label.masked_fill(covered & (label == NEGATIVE), IGNORED)
