"""Names, shapes and numbers of the files that other libraries publish (spec 1.1 to 1.7 and 1.11), made from nothing.

Written from the specification, apart from the tables in maskrcnn/training/published_names.py: the tests hold the two
together, and `golden/make_golden_published.py` holds this one to torchvision itself.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator

import numpy as np
import torch

BLOCKS = {"18": (2, 2, 2, 2), "34": (3, 4, 6, 3), "50": (3, 4, 6, 3), "101": (3, 4, 23, 3)}
NORM = ("weight", "bias", "running_mean", "running_var")

Shapes = dict[str, tuple[int, ...]]


def _both(name: str, *weight: int, outputs: int | None = None) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", weight
    yield f"{name}.bias", (weight[0] if outputs is None else outputs,)


def resnet(depth: str = "50", width: int = 64, counters: bool = True) -> Shapes:
    """torchvision's ResNet without its classifier."""
    shapes: Shapes = {}

    def layer(convolution: str, norm: str, *shape: int) -> None:
        shapes[f"{convolution}.weight"] = shape
        for part in NORM:
            shapes[f"{norm}.{part}"] = (shape[0],)
        if counters:
            shapes[f"{norm}.num_batches_tracked"] = ()

    layer("conv1", "bn1", width, 3, 7, 7)
    incoming = width
    for stage, count in enumerate(BLOCKS[depth]):
        inner = width * 2**stage
        outer = 4 * inner if depth in ("50", "101") else inner
        for block in range(count):
            name = f"layer{stage + 1}.{block}"
            if depth in ("50", "101"):
                layer(f"{name}.conv1", f"{name}.bn1", inner, incoming, 1, 1)
                layer(f"{name}.conv2", f"{name}.bn2", inner, inner, 3, 3)
                layer(f"{name}.conv3", f"{name}.bn3", outer, inner, 1, 1)
            else:
                layer(f"{name}.conv1", f"{name}.bn1", inner, incoming, 3, 3)
                layer(f"{name}.conv2", f"{name}.bn2", inner, inner, 3, 3)
            if incoming != outer:
                layer(f"{name}.downsample.0", f"{name}.downsample.1", outer, incoming, 1, 1)
            incoming = outer
    return shapes


def torchvision(
    classes: int = 91, legacy: bool = False, counters: bool = False, width: int = 64, pyramid: int = 256,
    hidden: int = 1024, keypoints: int = 0,
) -> Shapes:  # fmt: skip
    """maskrcnn_resnet50_fpn, or with `keypoints` keypointrcnn_resnet50_fpn; `classes` counts the background."""
    shapes = {f"backbone.body.{name}": shape for name, shape in resnet("50", width, counters).items()}
    inner = "" if legacy else ".0"
    for level in range(4):
        name = f"backbone.fpn.inner_blocks.{level}{inner}"
        shapes |= dict(_both(name, pyramid, 4 * width * 2**level, 1, 1))
    for level in range(4):
        shapes |= dict(_both(f"backbone.fpn.layer_blocks.{level}{inner}", pyramid, pyramid, 3, 3))
    shapes |= dict(_both("rpn.head.conv" + ("" if legacy else ".0.0"), pyramid, pyramid, 3, 3))
    shapes |= dict(_both("rpn.head.cls_logits", 3, pyramid, 1, 1))
    shapes |= dict(_both("rpn.head.bbox_pred", 12, pyramid, 1, 1))
    shapes |= dict(_both("roi_heads.box_head.fc6", hidden, pyramid * 49))
    shapes |= dict(_both("roi_heads.box_head.fc7", hidden, hidden))
    shapes |= dict(_both("roi_heads.box_predictor.cls_score", classes, hidden))
    shapes |= dict(_both("roi_heads.box_predictor.bbox_pred", 4 * classes, hidden))
    if keypoints:
        for layer in range(8):
            name = f"roi_heads.keypoint_head.{2 * layer}"
            shapes |= dict(_both(name, 2 * pyramid, 2 * pyramid if layer else pyramid, 3, 3))
        name = "roi_heads.keypoint_predictor.kps_score_lowres"
        shapes |= dict(_both(name, 2 * pyramid, keypoints, 4, 4, outputs=keypoints))
    else:
        for layer in range(4):
            name = f"mask_fcn{layer + 1}" if legacy else f"{layer}.0"
            shapes |= dict(_both(f"roi_heads.mask_head.{name}", pyramid, pyramid, 3, 3))
        shapes |= dict(_both("roi_heads.mask_predictor.conv5_mask", pyramid, pyramid, 2, 2))
        shapes |= dict(_both("roi_heads.mask_predictor.mask_fcn_logits", classes, pyramid, 1, 1))
    return shapes


def mmdetection(
    classes: int = 80, anchors: int = 3, depth: str = "50", width: int = 64, pyramid: int = 256, hidden: int = 1024
) -> Shapes:
    """MMDetection's Mask R-CNN, with 5 anchors MMOCR's; `classes` leaves the background out."""
    shapes = {f"backbone.{name}": shape for name, shape in resnet(depth, width).items()}
    for level in range(4):
        shapes |= dict(_both(f"neck.lateral_convs.{level}.conv", pyramid, 4 * width * 2**level, 1, 1))
        shapes |= dict(_both(f"neck.fpn_convs.{level}.conv", pyramid, pyramid, 3, 3))
    shapes |= dict(_both("rpn_head.rpn_conv", pyramid, pyramid, 3, 3))
    shapes |= dict(_both("rpn_head.rpn_cls", anchors, pyramid, 1, 1))
    shapes |= dict(_both("rpn_head.rpn_reg", 4 * anchors, pyramid, 1, 1))
    shapes |= dict(_both("roi_head.bbox_head.fc_cls", classes + 1, hidden))
    shapes |= dict(_both("roi_head.bbox_head.fc_reg", 4 * classes, hidden))
    shapes |= dict(_both("roi_head.bbox_head.shared_fcs.0", hidden, pyramid * 49))
    shapes |= dict(_both("roi_head.bbox_head.shared_fcs.1", hidden, hidden))
    for layer in range(4):
        shapes |= dict(_both(f"roi_head.mask_head.convs.{layer}.conv", pyramid, pyramid, 3, 3))
    shapes |= dict(_both("roi_head.mask_head.upsample", pyramid, pyramid, 2, 2))
    shapes |= dict(_both("roi_head.mask_head.conv_logits", classes, pyramid, 1, 1))
    return shapes


def detectron2(
    classes: int = 80, depth: str = "50", width: int = 64, pyramid: int = 256, hidden: int = 1024
) -> Shapes:
    """Detectron2's Mask R-CNN with a pyramid; `classes` leaves the background out."""
    shapes: Shapes = {}
    for name, shape in resnet(depth, width, counters=False).items():
        name = re.sub(r"layer(\d)", lambda stage: f"res{int(stage[1]) + 1}", name)
        name = re.sub(r"bn(\d)", r"conv\1.norm", name)
        name = name.replace("downsample.0", "shortcut").replace("downsample.1", "shortcut.norm")
        shapes["backbone.bottom_up." + ("" if name.startswith("res") else "stem.") + name] = shape
    for level in range(4):
        shapes |= dict(_both(f"backbone.fpn_lateral{level + 2}", pyramid, 4 * width * 2**level, 1, 1))
        shapes |= dict(_both(f"backbone.fpn_output{level + 2}", pyramid, pyramid, 3, 3))
    shapes |= dict(_both("proposal_generator.rpn_head.conv", pyramid, pyramid, 3, 3))
    shapes |= dict(_both("proposal_generator.rpn_head.objectness_logits", 3, pyramid, 1, 1))
    shapes |= dict(_both("proposal_generator.rpn_head.anchor_deltas", 12, pyramid, 1, 1))
    shapes |= dict(_both("roi_heads.box_head.fc1", hidden, pyramid * 49))
    shapes |= dict(_both("roi_heads.box_head.fc2", hidden, hidden))
    shapes |= dict(_both("roi_heads.box_predictor.cls_score", classes + 1, hidden))
    shapes |= dict(_both("roi_heads.box_predictor.bbox_pred", 4 * classes, hidden))
    for layer in range(4):
        shapes |= dict(_both(f"roi_heads.mask_head.mask_fcn{layer + 1}", pyramid, pyramid, 3, 3))
    shapes |= dict(_both("roi_heads.mask_head.deconv", pyramid, pyramid, 2, 2))
    shapes |= dict(_both("roi_heads.mask_head.predictor", classes, pyramid, 1, 1))
    return shapes


def uniform(name: str, shape: tuple[int, ...], low: float, high: float) -> torch.Tensor:
    """float32 numbers in [low, high) that depend on nothing but these arguments (PCG64's raw words never change)."""
    words = np.random.PCG64(zlib.crc32(name.encode())).random_raw(int(np.prod(shape)))
    fraction = (words >> np.uint64(11)).astype(np.float64) / 2**53
    return torch.from_numpy((low + (high - low) * fraction).astype(np.float32).reshape(shape))


GAIN = {
    r"inner_blocks|lateral": 0.4,
    r"cls_logits|rpn_cls|objectness_logits": 3.0,
    r"rpn\.head\.bbox_pred|rpn_reg|anchor_deltas": 0.4,
    r"cls_score|fc_cls": 6.0,
    r"box_predictor\.bbox_pred|fc_reg": 2.0,
    r"mask_fcn_logits|conv_logits|mask_head\.predictor": 8.0,
}
"""How strongly outputs vary, so that scores, boxes and masks are neither all alike nor all saturated."""


def draw(shapes: Shapes, gain: dict[str, float] = GAIN) -> dict[str, torch.Tensor]:
    """Tensors of these names and shapes: layers keep the variance, residual branches add a little to it."""
    return {name: _draw_one(name, shape, gain) for name, shape in shapes.items()}


def _draw_one(name: str, shape: tuple[int, ...], gain: dict[str, float]) -> torch.Tensor:
    layer, _, kind = name.rpartition(".")
    if kind == "num_batches_tracked":
        return torch.tensor(7)
    if kind == "running_var":
        return uniform(name, shape, 0.5, 1.5)
    if kind in ("running_mean", "bias"):
        return uniform(name, shape, -0.1, 0.1)
    if len(shape) == 1:  # the scale of a norm
        largest = 0.4 if re.search(r"(bn[23]|conv[23]\.norm)$", layer) else 1.2
        return uniform(name, shape, largest / 2, largest)
    transposed = re.search(r"conv5_mask|upsample|deconv|kps_score", layer) is not None
    fan_in = shape[0] if transposed else int(np.prod(shape[1:]))
    strength = next((value for pattern, value in gain.items() if re.search(pattern, layer)), 1.4)
    bound = strength * (3.0 / fan_in) ** 0.5
    weight = uniform(name, shape, -bound, bound)
    # Behind a ReLU all inputs are positive; without this, what they have in common drowns their differences.
    return weight - weight.mean(dim=0 if transposed else tuple(range(1, len(shape))), keepdim=True)
