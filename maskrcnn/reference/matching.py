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
    overlaps = box_functions.iou(boxes, ground_truths)  # (N, G)

    for box in range(len(boxes)):
        best_iou, best = overlaps[box].max(dim=0)
        if best_iou >= positive_iou:
            label[box], matched[box] = POSITIVE, best
        elif best_iou >= negative_iou:
            label[box] = IGNORED

    # "(i) the anchor/anchors with the highest Intersection-over-Union (IoU) overlap with a ground-truth box"
    for ground_truth in range(len(ground_truths)):
        best_iou = overlaps[:, ground_truth].max()
        for box in (overlaps[:, ground_truth] == best_iou).nonzero()[:, 0]:
            if low_quality == "own_best":
                label[box], matched[box] = POSITIVE, overlaps[box].argmax()
            elif low_quality == "forced" and best_iou >= low_quality_iou:
                label[box], matched[box] = POSITIVE, ground_truth
    return label, matched


def ignore_overlapping(label: Tensor, boxes: Tensor, regions: Tensor) -> Tensor:
    """Labels (N,) in which no negative of boxes (N, 4) lies by more than half in one of regions (M, 4)."""
    label = label.clone()
    for box in (label == NEGATIVE).nonzero()[:, 0]:
        for region in regions:
            shared = box_functions.intersection(boxes[box][None], region[None])[0, 0]
            if shared > 0.5 * box_functions.area(boxes[box]):
                label[box] = IGNORED
    return label
