"""Where the time of a call goes, stage by stage, without a line about it in what is measured."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from statistics import median
from typing import Any
from unittest import mock

import torch

from maskrcnn.benchmarks.measure import wait_for

Watched = Sequence[tuple[Any, str, str]]
"""Object, name of one of its functions, stage that it is."""


class StageClock:
    """Times of functions of objects, each without what the functions inside it take that are watched, too."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.seconds: dict[str, float] = defaultdict(float)
        self._inside = ["other"]
        self._since = 0.0

    @contextmanager
    def running(self, watched: Watched) -> Iterator[None]:
        """Inside, calls of what is watched are timed; the rest is "other"."""
        patches = [
            mock.patch.object(owner, name, self._timed(getattr(owner, name), stage)) for owner, name, stage in watched
        ]
        for patch in patches:
            patch.start()
        self._since = self._now()
        try:
            yield
        finally:
            self._lap()
            for patch in reversed(patches):
                patch.stop()

    def _timed(self, function: Callable, stage: str) -> Callable:
        def run(*arguments: Any, **keywords: Any) -> Any:
            self._lap()
            self._inside.append(stage)
            try:
                return function(*arguments, **keywords)
            finally:
                self._lap()
                self._inside.pop()

        return run

    def _lap(self) -> None:
        now = self._now()
        self.seconds[self._inside[-1]] += now - self._since
        self._since = now

    def _now(self) -> float:
        wait_for(self.device)
        return time.perf_counter()


def stage_seconds(run: Callable[[], object], watched: Watched, device: str, rounds: int) -> dict[str, float]:
    """The median of each stage over some calls of `run`, in seconds, in the order in which they first came."""
    laps: dict[str, list[float]] = defaultdict(list)
    for repetition in range(1 + rounds):
        clock = StageClock(device)
        with clock.running(watched):
            run()
        if repetition > 0:
            for stage, seconds in clock.seconds.items():
                laps[stage].append(seconds)
    return {stage: median(seconds) for stage, seconds in laps.items()}


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
