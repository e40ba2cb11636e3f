"""Detections in one image, class by class (paper section 3.1, "Inference")."""

from __future__ import annotations

import torch
from torch import Tensor

from maskrcnn import boxes as box_functions
from maskrcnn.reference.nms import nms


def detect(
    logits: Tensor,
    deltas: Tensor,
    proposals: Tensor,
    image_size: Tensor,
    original_size: Tensor,
    *,
    score_threshold: float,
    nms_iou: float,
    detections: int,
    minimum_size: float = 0.0,
    box_weights: tuple[float, float, float, float] = (10.0, 10.0, 5.0, 5.0),
    clamp_both_sides: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes (D, 4) in pixels of the original picture, scores (D,) and labels (D,), best first; D at most `detections`.

    logits (R, K), background first; deltas (R, K - 1, 4); proposals (R, 4); image_size and original_size (2,) are
    height and width.
    """
    height, width = image_size.tolist()
    original_height, original_width = original_size.tolist()
    back = proposals.new_tensor([original_width / width, original_height / height] * 2)
    scores = logits.softmax(dim=-1)
    found = []
    for label in range(1, logits.shape[1]):
        boxes = box_functions.decode(deltas[:, label - 1], proposals, box_weights, clamp_both_sides)
        boxes = box_functions.clip(boxes, image_size)
        width_and_height = boxes[:, 2:] - boxes[:, :2]
        candidate = (scores[:, label] > score_threshold) & (width_and_height >= minimum_size).all(dim=1)
        chosen = candidate.nonzero()[:, 0]
        boxes, class_scores = boxes[chosen] * back, scores[chosen, label]
        survivors = nms(boxes, class_scores, iou_threshold=nms_iou, max_keep=len(boxes))
        found += [(class_scores[index], label, boxes[index]) for index in survivors if index >= 0]
    found.sort(key=lambda detection: -detection[0].item())
    found = found[:detections]
    if not found:
        return torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64)
    best_scores, labels, best_boxes = zip(*found, strict=True)
    return torch.stack(best_boxes), torch.stack(best_scores), torch.tensor(labels)
