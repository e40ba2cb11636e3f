"""Which class each part of the network is. The last line of each function has that of the paper's Mask R-CNN.

Only this file knows the variants (`maskrcnn/variant.py`, `maskrcnn/model/variants/`): all others are written for the
parts of the default, and work with whatever stands in for one.
"""

from __future__ import annotations

from collections.abc import Sequence

from maskrcnn.config import ModelConfig
from maskrcnn.model.box_head import BoxHead
from maskrcnn.model.fpn import FeaturePyramid
from maskrcnn.model.mask_head import MaskHead
from maskrcnn.model.pooling import PyramidRoIAlign
from maskrcnn.model.resnet import Block, ResNet
from maskrcnn.model.variants.mask_heads import (
    ClassAgnosticMaskHead,
    FullyConnectedClassAgnosticMaskHead,
    FullyConnectedMaskHead,
    FullyConnectedSoftmaxMaskHead,
    SoftmaxMaskHead,
)
from maskrcnn.model.variants.pyramid_masks import PyramidMaskHead
from maskrcnn.model.variants.res5 import Res5BoxHead, Res5Pooling
from maskrcnn.model.variants.resnext import ResNeXtBottleneck
from maskrcnn.model.variants.roi_layers import MaxRoIAlign, RoIPool, RoIWarp
from maskrcnn.model.variants.single_map import SingleMap


def make_backbone(config: ModelConfig) -> ResNet:
    """Images -> C2 .. C5."""
    stages = 3 if config.variant.features == "c4" else 4
    return ResNet(config.backbone, _block(config), stages)


def _block(config: ModelConfig) -> Block | None:
    return ResNeXtBottleneck if config.backbone.cardinality > 1 else None


def make_pyramid(config: ModelConfig, in_channels: Sequence[int]) -> FeaturePyramid:
    """C2 .. C5 with `in_channels` -> the maps that the RPN looks at, first those that RoIs are pooled from, too."""
    if config.variant.features != "pyramid":
        return SingleMap(region_strides(config))
    return FeaturePyramid(in_channels, config.backbone, config.initialisation)


def region_strides(config: ModelConfig) -> tuple[int, ...]:
    """Of the maps that the RPN looks at."""
    single = {"c4": ResNet.strides[2:3], "c5": ResNet.strides[3:]}
    return single.get(config.variant.features, FeaturePyramid.strides)


def make_pooling(config: ModelConfig, strides: Sequence[int]) -> PyramidRoIAlign:
    """Maps with `strides` and RoIs -> the features of each RoI."""
    if config.variant.features == "c4":
        return Res5Pooling(config, _make_roi_layer(config, strides), _block(config))
    return _make_roi_layer(config, strides)


def _make_roi_layer(config: ModelConfig, strides: Sequence[int]) -> PyramidRoIAlign:
    if config.variant.roi_layer == "align_max":
        return MaxRoIAlign(strides)
    if config.variant.roi_layer == "pool":
        return RoIPool(strides)
    if config.variant.roi_layer in ("warp", "warp_max"):
        return RoIWarp(strides, mode="max" if config.variant.roi_layer == "warp_max" else "average")
    return PyramidRoIAlign(strides)


def make_box_head(config: ModelConfig) -> BoxHead:
    """Features of RoIs -> classes and boxes."""
    if config.variant.features == "c4":
        return Res5BoxHead(config)
    return BoxHead(config)


def make_mask_head(config: ModelConfig) -> MaskHead:
    """Features of RoIs -> masks."""
    output = config.variant.mask_output
    if output == "softmax":
        return FullyConnectedSoftmaxMaskHead(config) if config.variant.mask_hidden else SoftmaxMaskHead(config)
    if output == "class_agnostic":
        agnostic = FullyConnectedClassAgnosticMaskHead if config.variant.mask_hidden else ClassAgnosticMaskHead
        return agnostic(config)
    if config.variant.mask_hidden:
        return FullyConnectedMaskHead(config)
    if config.mask_head.targets == "pyramid":
        return PyramidMaskHead(config)
    return MaskHead(config)
