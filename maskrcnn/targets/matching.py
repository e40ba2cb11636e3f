"""Matching: which ground truth, if any, each anchor or proposal should find (Faster R-CNN section 3.1.2)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from maskrcnn import ops

POSITIVE, NEGATIVE, IGNORED = 1, 0, -1


class Matches(NamedTuple):
    """What each of N boxes was matched to."""

    label: Tensor
    """(..., N) int64: POSITIVE, NEGATIVE or IGNORED."""
    ground_truth: Tensor
    """(..., N) int64: the ground-truth slot of each positive; meaningless elsewhere, but always a slot."""


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
    iou, ground_truth, forced = ops.match_boxes(ground_truths, ground_truths_valid, boxes, boxes_valid, floor=floor)
    label = torch.where(iou >= positive_iou, POSITIVE, IGNORED)
    label = torch.where(iou < negative_iou, NEGATIVE, label)
    if low_quality != "none":
        label = torch.where(forced >= 0, POSITIVE, label)
    if low_quality == "forced":
        ground_truth = torch.where(forced >= 0, forced, ground_truth)
    return Matches(label.masked_fill(~boxes_valid, IGNORED), ground_truth)


def ignore_overlapping(label: Tensor, boxes: Tensor, regions: Tensor, regions_valid: Tensor) -> Tensor:
    """Labels (..., N) in which no negative lies in a don't-care region.

    A negative of which more than half lies in one of regions (..., M, 4) (where regions_valid (..., M)) is IGNORED:
    nobody knows what is there, so it must not be learned as background. The measure is intersection over the box's
    own area, as in evaluation, since a small box inside a large region is as unknown as one that fits it.
    """
    covered = ops.covered_boxes(boxes, regions, regions_valid, fraction=0.5)
    return label.masked_fill(covered & (label == NEGATIVE), IGNORED)
