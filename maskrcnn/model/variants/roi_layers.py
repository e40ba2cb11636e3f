"""What RoIAlign is compared with (table 2c): RoIPool, RoIWarp, and the maximum of RoIAlign's samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from maskrcnn import ops
from maskrcnn.model.pooling import HeadConfig, PyramidRoIAlign

FINEST_SIZE = 56.0
"""RoIs of less than twice this size, in pixels, belong to the finest level."""


def level_of(rois: Tensor, levels: int) -> Tensor:
    """(B, R) int64: the level of each of rois (B, R, 4), by the rule of `ops.pyramid_roi_align` (FPN equation 1)."""
    sides = (rois[..., 2:] - rois[..., :2]).clamp(min=0)
    size = sides.prod(dim=-1).sqrt() / FINEST_SIZE + 1e-6
    return sum(((size >= 2.0**level).long() for level in range(1, levels)), torch.zeros_like(size, dtype=torch.int64))


def pool_by_level(
    op: Callable[..., Tensor], features: Sequence[Tensor], rois: Tensor, strides: Sequence[int], **settings: Any
) -> Tensor:
    """(B, R, C, S, S) by an op that knows single maps only: each level pools its own RoIs, in slots for all of them."""
    level = level_of(rois, len(features))
    pooled = []
    for index, (feature, stride) in enumerate(zip(features, strides, strict=True)):
        # To the op, an RoI that is not finite is 0 and costs nothing: the levels can be added.
        own = rois.masked_fill((level != index)[..., None], torch.nan)
        pooled.append(op(feature, own, stride=stride, **settings))
    return sum(pooled[1:], pooled[0])


class RoIPool(PyramidRoIAlign):
    """The largest value of each bin, RoI and bins rounded to cells (Fast R-CNN section 2.1)."""

    def forward(self, features: Sequence[Tensor], rois: Tensor, head: HeadConfig) -> Tensor:
        return pool_by_level(ops.roi_pool, features, rois, self.strides, output_size=head.pooled_size)


class RoIWarp(PyramidRoIAlign):
    """Samples between cells, of an RoI that was rounded to them (arXiv 1512.04412)."""

    def __init__(self, strides: Sequence[int], mode: str) -> None:
        """mode: "average" or "max" of the samples of a bin."""
        super().__init__(strides)
        self.mode = mode

    def forward(self, features: Sequence[Tensor], rois: Tensor, head: HeadConfig) -> Tensor:
        settings = {"output_size": head.pooled_size, "sampling_ratio": head.sampling_ratio, "mode": self.mode}
        return pool_by_level(ops.roi_warp, features, rois, self.strides, **settings)


class MaxRoIAlign(PyramidRoIAlign):
    """RoIAlign with the maximum of a bin's samples instead of their average."""

    def forward(self, features: Sequence[Tensor], rois: Tensor, head: HeadConfig) -> Tensor:
        samples = ops.pyramid_roi_align(
            features,
            rois,
            output_size=head.pooled_size * head.sampling_ratio,
            strides=self.strides,
            sampling_ratio=1,  # each sample is a bin of its own
            aligned=head.aligned,
        )
        return F.max_pool2d(samples.flatten(0, 1), head.sampling_ratio).unflatten(0, rois.shape[:2])
