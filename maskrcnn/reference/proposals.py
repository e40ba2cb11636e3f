"""Proposals of one image, level by level (Faster R-CNN section 3.3, FPN section 4.1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from maskrcnn import boxes as box_functions
from maskrcnn.reference.nms import nms

DELTA_WEIGHTS = (1.0, 1.0, 1.0, 1.0)


def propose(
    objectness: Sequence[Tensor],
    deltas: Sequence[Tensor],
    anchors: Sequence[Tensor],
    image_size: Tensor,
    *,
    candidates: int,
    kept: int,
    nms_iou: float,
    minimum_size: float,
    clamp_both_sides: bool = True,
) -> Tensor:
    """The proposals (R, 4) of one image, best first; R is at most `kept`.

    For each of L levels: objectness (N_l,) logits, deltas (N_l, 4), anchors (N_l, 4). image_size (2,): height, width.
    """
    all_boxes, all_scores = [], []
    for level_scores, level_deltas, level_anchors in zip(objectness, deltas, anchors, strict=True):
        boxes, scores = [], []
        for anchor in level_scores.argsort(descending=True)[:candidates]:
            box = box_functions.decode(level_deltas[anchor], level_anchors[anchor], DELTA_WEIGHTS, clamp_both_sides)
            box = box_functions.clip(box[None], image_size)[0]
            if box[2] - box[0] >= minimum_size and box[3] - box[1] >= minimum_size:
                boxes.append(box)
                scores.append(level_scores[anchor])
        if boxes:
            # Levels do not suppress each other: where two find the same object, the second stage decides.
            survivors = nms(torch.stack(boxes), torch.stack(scores), iou_threshold=nms_iou, max_keep=len(boxes))
            all_boxes += [boxes[index] for index in survivors if index >= 0]
            all_scores += [scores[index] for index in survivors if index >= 0]
    if not all_boxes:
        return torch.zeros(0, 4)
    best = torch.stack(all_scores).argsort(descending=True)[:kept]
    return torch.stack(all_boxes)[best].detach()
