"""How the networks of other libraries want to be run, as configurations of ours.

Weights work only with the conventions they were trained with: where anchors lie, how RoIAlign samples, how a picture is
scaled. Most of them cost a point or two of AP when they are wrong, and nothing complains. Each is named in
`maskrcnn/config.py`; what is not said here is the default there.
"""

from __future__ import annotations

from dataclasses import replace

from maskrcnn.config import (
    AnchorConfig,
    BackboneConfig,
    BoxHeadConfig,
    ImageConfig,
    MaskHeadConfig,
    ModelConfig,
    RPNConfig,
)
from maskrcnn.text_recipes import ICDAR2015

TORCHVISION = ModelConfig(
    image=ImageConfig(short_side=800, long_side=1333, rounding="floor", interpolation="float"),
    backbone=BackboneConfig(norm="batch_frozen"),
    anchors=AnchorConfig(round_to_pixels=True, stride_from_feature_size=True),
    rpn=RPNConfig(low_quality="own_best", proposals_train=2000),
    box_head=BoxHeadConfig(
        aligned=False,
        clamp_both_sides=False,
        background_outputs=True,
        minimum_size=0.01,
        nms_in_original_pixels=False,
    ),
    mask_head=MaskHeadConfig(aligned=False, targets="soft", paste="padded_resize"),
    initialisation="torchvision",
)
"""maskrcnn_resnet50_fpn and keypointrcnn_resnet50_fpn."""

MMDETECTION = ModelConfig(
    image=ImageConfig(short_side=800, long_side=1333, interpolation="bytes"),
    backbone=BackboneConfig(norm="batch_eval"),
    rpn=RPNConfig(box_loss="l1", denominator="at_least_one_each"),
    box_head=BoxHeadConfig(sampling_ratio=0, low_quality=True, ground_truth_proposals="assign", box_loss="l1"),
    mask_head=MaskHeadConfig(sampling_ratio=0),
)
"""Mask R-CNN on COCO, of MMDetection 2 and 3."""

MMOCR = ICDAR2015.model
"""MMOCR 0, whose recipe ours is."""
MMOCR_1 = replace(
    MMOCR,
    image=replace(MMOCR.image, size_divisor=32),
    box_head=replace(MMOCR.box_head, sampler="random"),
)
"""MMOCR 1, which pads pictures when testing, too."""

DETECTRON2 = ModelConfig(
    image=ImageConfig(short_side=800, long_side=1333),  # scaled by Pillow, as ours are
    backbone=BackboneConfig(norm="batch_frozen", stride_in_first=True),
    rpn=RPNConfig(low_quality="own_best", box_loss="l1"),
    box_head=BoxHeadConfig(sampling_ratio=0, clamp_both_sides=False, nms_in_original_pixels=False, box_loss="l1"),
    mask_head=MaskHeadConfig(sampling_ratio=0),
)
"""Mask R-CNN with a pyramid from Detectron2's zoo, on MSRA's ResNets. One thing differs in training: there the losses
of the RPN are divided by 256 for each image, here by the anchors that were sampled, which are fewer in a picture that
has not as many."""
