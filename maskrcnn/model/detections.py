"""From the box head's outputs to detections (paper section 3.1, "Inference")."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from maskrcnn import boxes as box_functions
from maskrcnn import ops
from maskrcnn.config import BoxHeadConfig
from maskrcnn.model.rpn import Proposals
from maskrcnn.slots import NOT_A_CANDIDATE, gather_rows, keep_top
from maskrcnn.structures import Detections


class NetworkDetections(NamedTuple):
    """Detections, and their boxes where the features are."""

    detections: Detections
    """In pixels of the original pictures, without masks yet."""
    network_boxes: Tensor
    """(B, D, 4) in pixels of the padded batch image, for the mask head."""


def select_detections(
    logits: Tensor,
    deltas: Tensor,
    proposals: Proposals,
    image_sizes: Tensor,
    original_sizes: Tensor,
    config: BoxHeadConfig,
) -> NetworkDetections:
    """Scores, refined boxes, NMS within each class, and the best D of all classes.

    logits (B, R, K); deltas (B, R, K - 1, 4) of the foreground classes; image_sizes, original_sizes (B, 2).
    """
    batch, rois, classes = logits.shape
    foreground = classes - 1
    scores = logits.softmax(dim=-1)[..., 1:]  # (B, R, K - 1)
    references = proposals.boxes[:, :, None].expand(-1, -1, foreground, -1)
    boxes = box_functions.decode(deltas, references, config.box_weights, config.clamp_both_sides).flatten(1, 2)
    boxes = box_functions.clip(boxes, image_sizes)  # (B, R * (K - 1), 4)
    original_boxes = _scale(boxes, image_sizes, original_sizes)

    labels = torch.arange(1, classes, device=logits.device).expand(batch, rois, -1).flatten(1)
    large_enough = ((boxes[..., 2:] - boxes[..., :2]) >= config.minimum_size).all(dim=-1)
    real = proposals.valid[..., None].expand_as(scores).flatten(1)
    scores = scores.flatten(1)
    candidate = real & large_enough & (scores > config.score_threshold)
    scores = scores.masked_fill(~candidate, NOT_A_CANDIDATE)

    best = keep_top(scores, rois * _most_classes_above(config.score_threshold, foreground))
    boxes, original_boxes = gather_rows(boxes, best.index), gather_rows(original_boxes, best.index)
    labels = gather_rows(labels, best.index)
    scores = gather_rows(scores, best.index).masked_fill(~best.valid, NOT_A_CANDIDATE)
    compared = original_boxes if config.nms_in_original_pixels else boxes
    kept = ops.nms(compared, scores, labels, iou_threshold=config.nms_iou, max_keep=config.detections)
    valid = kept >= 0
    kept = kept.clamp(min=0)
    empty = ~valid[..., None]
    detections = Detections(
        gather_rows(original_boxes, kept).masked_fill(empty, 0.0),
        gather_rows(scores, kept).masked_fill(~valid, 0.0),
        gather_rows(labels, kept).masked_fill(~valid, 0),
        valid,
    )
    return NetworkDetections(detections, gather_rows(boxes, kept).masked_fill(empty, 0.0))


def _most_classes_above(threshold: float, classes: int) -> int:
    """How many of a softmax row's classes can exceed a threshold: 19 for 0.05, since 20 would sum to more than 1."""
    return classes if threshold <= 0 else min(classes, max(1, math.ceil(1 / threshold) - 1))


def _scale(boxes: Tensor, image_sizes: Tensor, original_sizes: Tensor) -> Tensor:
    """Boxes (B, N, 4) of the resized images in pixels of the originals; each axis has its own factor."""
    factor = original_sizes.to(boxes.dtype) / image_sizes.to(boxes.dtype)  # (B, 2): y, x
    return boxes * factor.flip(-1).repeat(1, 2)[:, None]
