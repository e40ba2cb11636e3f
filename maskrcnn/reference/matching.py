"""Matching for one image, box by box (Faster R-CNN section 3.1.2); `maskrcnn.targets.matching` does it for a batch."""

from __future__ import annotations

import torch
from torch import Tensor

from maskrcnn import boxes as box_functions

POSITIVE, NEGATIVE, IGNORED = 1, 0, -1


def match(
    ground_truths: Tensor,
    boxes: Tensor,
    positive_iou: float,
    negative_iou: float,
    low_quality: str = "none",
    low_quality_iou: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Labels (N,) of boxes (N, 4), POSITIVE, NEGATIVE or IGNORED, and their ground truths (N,), -1 where none is meant.

    For ground_truths (G, 4) and the rules of `maskrcnn.targets.matching.match`, without padding.
    """
    label = torch.full((len(boxes),), NEGATIVE)
    matched = torch.full((len(boxes),), -1)
    if len(ground_truths) == 0 or len(boxes) == 0:
        return label, matched
    floor = low_quality_iou if low_quality == "forced" else 0.0
    best_iou, best, forced = match_boxes(ground_truths, boxes, floor)
    for box in range(len(boxes)):
        if best_iou[box] >= positive_iou:
            label[box], matched[box] = POSITIVE, best[box]
        elif best_iou[box] >= negative_iou:
            label[box] = IGNORED
        # "(i) the anchor/anchors with the highest Intersection-over-Union (IoU) overlap with a ground-truth box"
        if low_quality != "none" and forced[box] >= 0:
            label[box] = POSITIVE
            matched[box] = forced[box] if low_quality == "forced" else best[box]
    return label, matched


def match_boxes(ground_truths: Tensor, boxes: Tensor, floor: float) -> tuple[Tensor, Tensor, Tensor]:
    """`maskrcnn.ops.match_boxes` for ground_truths (G, 4) and boxes (N, 4), pair by pair."""
    iou = torch.full((len(boxes),), -1.0, dtype=boxes.dtype)  # below the IoU of any pair
    ground_truth = torch.zeros(len(boxes), dtype=torch.int64)
    forced = torch.full((len(boxes),), -1)
    pairs = box_functions.iou(ground_truths, boxes)  # (G, N)
    comparable = _finite(ground_truths)[:, None] & _finite(boxes) & ~pairs.isnan()

    for g in range(len(ground_truths)):
        others = [n for n in range(len(boxes)) if comparable[g, n]]
        for n in others:
            if pairs[g, n] > iou[n]:
                iou[n], ground_truth[n] = pairs[g, n], g
        largest = max((pairs[g, n] for n in others), default=-1.0)
        for n in others:
            if pairs[g, n] == largest and largest >= floor:
                forced[n] = g
    return iou.clamp(min=0), ground_truth, forced


def _finite(boxes: Tensor) -> Tensor:
    return boxes.isfinite().all(dim=-1)


def ignore_overlapping(label: Tensor, boxes: Tensor, regions: Tensor) -> Tensor:
    """Labels (N,) in which no negative of boxes (N, 4) lies by more than half in one of regions (M, 4)."""
    label = label.clone()
    for box in (label == NEGATIVE).nonzero()[:, 0]:
        for region in regions:
            shared = box_functions.intersection(boxes[box][None], region[None])[0, 0]
            if shared > 0.5 * box_functions.area(boxes[box]):
                label[box] = IGNORED
    return label
