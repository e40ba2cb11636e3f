"""Where the time of a call goes, stage by stage, without a line about it in what is measured."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from statistics import median
from typing import Any

import torch

from maskrcnn.trace import Trace, Watched, recording


def stage_seconds(run: Callable[[], object], watched: Watched, device: str, rounds: int) -> dict[str, float]:
    """The median of each stage over some calls of `run`, in seconds, in the order in which they first came."""
    laps: dict[str, list[float]] = defaultdict(list)
    for repetition in range(1 + rounds):
        with recording(watched, device, values=False) as trace:
            run()
        if repetition > 0:
            for stage, seconds in _seconds_of(trace).items():
                laps[stage].append(seconds)
    return {stage: median(seconds) for stage, seconds in laps.items()}


def _seconds_of(trace: Trace) -> dict[str, float]:
    """What each stage took, wherever it was called, without what the stages inside it took; "other" is the rest."""
    seconds = defaultdict(float, other=trace.seconds_outside)
    for call in trace.calls:
        seconds[call.name.rpartition("/")[2]] += call.seconds
    return seconds


def our_stages(model: Any, work: Any) -> Watched:
    """Of `maskrcnn.model.mask_rcnn.MaskRCNN`, and of what is before and after it."""
    heads = model.roi_heads
    watched = [
        (work, "our_images", "data"),
        (model.backbone, "forward", "backbone"),
        (model.pyramid, "forward", "pyramid"),
        (model.rpn, "forward", "RPN head"),
        (model.rpn.head, "at", "RPN head"),
        (model.rpn, "propose", "proposals"),
        (model.rpn, "losses", "matching and losses"),
        (heads, "losses", "matching and losses"),
        (heads, "detect", "detections"),
        (heads.pool, "forward", "RoIAlign"),
        (heads.box_head, "forward", "box head"),
        (work, "paste", "pasting"),
    ]
    for head in ("mask_head", "keypoint_head"):
        if getattr(heads, head) is not None:
            watched.append((getattr(heads, head), "forward", head.replace("_", " ")))
    return [*watched, *_OF_TRAINING]


def their_stages(model: Any, work: Any) -> Watched:
    """Of torchvision's Mask R-CNN."""
    heads = model.roi_heads
    return [
        (work, "their_images", "data"),
        (model.transform, "forward", "data"),
        (model.backbone.body, "forward", "backbone"),
        (model.backbone.fpn, "forward", "pyramid"),
        (model.rpn.head, "forward", "RPN head"),
        (model.rpn, "filter_proposals", "proposals"),
        (model.rpn.box_coder, "decode", "proposals"),
        (model.rpn.anchor_generator, "forward", "RPN head"),
        (model.rpn, "assign_targets_to_anchors", "matching and losses"),
        (model.rpn, "compute_loss", "matching and losses"),
        (heads, "forward", "matching and losses" if model.training else "detections"),
        (heads.box_roi_pool, "forward", "RoIAlign"),
        (heads.mask_roi_pool, "forward", "RoIAlign"),
        (heads.box_head, "forward", "box head"),
        (heads.box_predictor, "forward", "box head"),
        (heads.mask_head, "forward", "mask head"),
        (heads.mask_predictor, "forward", "mask head"),
        (model.transform, "postprocess", "pasting"),
        *_OF_TRAINING,
    ]


_OF_TRAINING = (
    (torch.Tensor, "backward", "backward"),
    (torch.optim.SGD, "step", "optimiser"),
    (torch.optim.AdamW, "step", "optimiser"),
)
