"""Mask R-CNN, the whole forward pass on one page (arXiv 1703.06870, section 3)."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from maskrcnn.config import ModelConfig
from maskrcnn.model.fpn import FeaturePyramid
from maskrcnn.model.parts import make_backbone, make_pyramid
from maskrcnn.model.resnet import ResNet
from maskrcnn.model.roi_heads import RoIHeads
from maskrcnn.model.rpn import RPN
from maskrcnn.structures import Batch, Detections, Targets


class ModelOutput(NamedTuple):
    """What a forward pass gives."""

    losses: dict[str, Tensor] | None
    """rpn_objectness, rpn_box, class, box, and mask and keypoint of heads that there are: 0-dim each; None for a batch
    without targets."""
    detections: Detections | None
    """In pixels of the original pictures; None unless asked for."""


class MaskRCNN(nn.Module):
    """Backbone, pyramid, region proposals, and the heads on each region."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone: ResNet = make_backbone(config)
        self.pyramid: FeaturePyramid = make_pyramid(config, self.backbone.channels)
        self.rpn = RPN(config, self.pyramid.strides)
        self.roi_heads = RoIHeads(config, self.pyramid.pooled_strides)

    def forward(self, batch: Batch, detect: bool = False) -> ModelOutput:
        """Losses of a batch with targets; detections of one without, or when `detect` asks for them.

        Both work in training and in evaluation mode, so that a validation loss exists. In training mode, though,
        norms of kind "batch" normalise by this batch: detections worth looking at want `model.eval()`.
        """
        features = self.backbone(batch.images)  # C2 .. C5: (B, C_l, H / s, W / s), s = 4, 8, 16, 32
        pyramid = self.pyramid(features)  # P2 .. P6: (B, C, H / s, W / s), s = 4, 8, 16, 32, 64
        region_outputs = self.rpn(batch, pyramid)
        pooled_from = pyramid[: len(self.pyramid.pooled_strides)]  # P6 exists for the RPN's largest anchors only

        losses = detections = None
        if batch.targets is not None:
            targets = _at_least_one_slot(batch.targets)
            proposals = self.rpn.propose(region_outputs, batch.image_sizes, for_training=True)  # (B, R, 4)
            losses = self.rpn.losses(region_outputs, targets)
            losses |= self.roi_heads.losses(pooled_from, proposals, targets, batch.image_sizes)
        if detect or batch.targets is None:
            proposals = self.rpn.propose(region_outputs, batch.image_sizes, for_training=False)
            detections = self.roi_heads.detect(pooled_from, proposals, batch)
        return ModelOutput(losses, detections)


def _at_least_one_slot(targets: Targets) -> Targets:
    """Targets with G >= 1: with a slot to gather from, a batch without ground truth needs no code of its own."""
    missing = max(0, 1 - targets.labels.shape[1])
    padded = {}
    for field in fields(targets):
        values = getattr(targets, field.name)
        if field.name != "bitmaps" and values is not None:  # (B, G, ...)
            padded[field.name] = F.pad(values, (0, 0) * (values.dim() - 2) + (0, missing))
    return replace(targets, **padded)
