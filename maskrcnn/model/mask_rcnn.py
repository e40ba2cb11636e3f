"""Mask R-CNN, the whole forward pass on one page (arXiv 1703.06870, section 3)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from maskrcnn.config import ModelConfig
from maskrcnn.model.fpn import FeaturePyramid
from maskrcnn.model.parts import make_backbone, make_pyramid
from maskrcnn.model.resnet import ResNet
from maskrcnn.model.roi_heads import RoIHeads
from maskrcnn.model.rpn import RPN
from maskrcnn.structures import Batch, Detections


class ModelOutput(NamedTuple):
    """What a forward pass gives."""

    losses: dict[str, Tensor] | None
    """rpn_objectness, rpn_box, class, box, and mask and keypoint of heads that there are: 0-dim each; None for a batch
    without targets."""
    detections: Detections | None
    """In pixels of the original pictures; None unless asked for."""
    counts: dict[str, Tensor] | None = None
    """Of how many each loss is the mean (`maskrcnn.targets.losses.Loss`): 0-dim int64 each."""


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
        with torch.no_grad():  # for the proposals; the losses look again, at the few anchors that they sample
            region_outputs = self.rpn(batch, pyramid)
        pooled_from = pyramid[: len(self.pyramid.pooled_strides)]  # P6 exists for the RPN's largest anchors only

        losses = detections = counts = None
        if batch.targets is not None:
            targets = batch.targets.with_slots(1)  # to gather from: without ground truth, too
            proposals = self.rpn.propose(region_outputs, batch.image_sizes, for_training=True)  # (B, R, 4)
            of_both = self.rpn.losses(region_outputs, targets, pyramid)
            of_both |= self.roi_heads.losses(pooled_from, proposals, targets, batch.image_sizes)
            losses = {name: loss.value for name, loss in of_both.items()}
            counts = {name: loss.count for name, loss in of_both.items()}
        if detect or batch.targets is None:
            proposals = self.rpn.propose(region_outputs, batch.image_sizes, for_training=False)
            detections = self.roi_heads.detect(pooled_from, proposals, batch)
        return ModelOutput(losses, detections, counts)
