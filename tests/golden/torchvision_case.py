"""One small Mask R-CNN with torchvision's conventions, two pictures, and what every stage makes of them.

Nothing here needs torchvision: `make_golden.py` builds the same network with it and stores what its stages give, and
`tests/test_golden.py` holds our stages to that. Weights and pixels are drawn, not stored, from the raw 64-bit words
of PCG64, whose stream is fixed for all time (numpy's normal numbers are not).

The sizes are awkward on purpose: 72 x 104 pixels make feature maps of 18 x 26, 9 x 13, 5 x 7, 3 x 4 and 2 x 2, so
that the pyramid must enlarge to odd sizes and torchvision's anchor strides (72 // 5 = 14) leave the network's (16);
the second picture is smaller than the batch.
"""

from __future__ import annotations

import zlib
from dataclasses import replace
from unittest import mock

import numpy as np
import torch

from maskrcnn import boxes as box_functions
from maskrcnn.config import AnchorConfig, BackboneConfig, BoxHeadConfig, MaskHeadConfig, ModelConfig, RPNConfig
from maskrcnn.model.mask_rcnn import MaskRCNN
from maskrcnn.model.roi_heads import TrainingRoIs
from maskrcnn.ops.fallback_pasting import paste_mask
from maskrcnn.slots import gather_rows
from maskrcnn.structures import Batch, Targets
from maskrcnn.targets.mask_targets import Bitmaps, crop_masks
from maskrcnn.targets.matching import POSITIVE, match

CONFIG = ModelConfig(
    class_names=("ellipse", "rectangle", "triangle"),
    backbone=BackboneConfig(depth="50", norm="batch_frozen", frozen_stages=1, pyramid_channels=32),
    anchors=AnchorConfig(sizes=(8, 16, 32, 64, 128), round_to_pixels=True, stride_from_feature_size=True),
    rpn=RPNConfig(
        low_quality="own_best",
        samples=6000,  # more than there are, half of them more than all positives: nothing is left to chance
        candidates_train=200,
        candidates_test=150,
        proposals_train=500,
        proposals_test=80,
    ),
    box_head=BoxHeadConfig(
        aligned=False,
        hidden=64,
        samples=600,
        positive_fraction=0.5,
        clamp_both_sides=False,
        background_outputs=True,
        minimum_size=0.01,
        nms_in_original_pixels=False,
        score_threshold=0.65,
        detections=20,
    ),
    mask_head=MaskHeadConfig(aligned=False, channels=32, targets="soft", paste="padded_resize"),
    initialisation="torchvision",
)

PADDED_SIZE = (72, 104)
IMAGE_SIZES = ((72, 104), (61, 90))
ORIGINAL_SIZES = ((144, 200), (90, 151))
OBJECTS = (
    (
        ("ellipse", 1, (11.3, 12.1, 45.6, 42.2)),
        ("rectangle", 2, (30.0, 20.0, 72.0, 37.0)),
        ("triangle", 3, (66.2, 37.7, 101.5, 71.2)),
    ),
    (
        ("triangle", 3, (2.0, 4.0, 13.4, 26.5)),
        ("ellipse", 1, (18.5, 3.5, 86.5, 58.5)),
        ("rectangle", 2, (3.5, 53.2, 84.0, 57.8)),
    ),
)
"""For each picture: shape, label, box in pixels of the batch image. No anchor comes near the last one's shape."""


def uniform(name: str, shape: tuple[int, ...], low: float, high: float) -> torch.Tensor:
    """float32 numbers in [low, high) that depend on nothing but these arguments."""
    words = np.random.PCG64(zlib.crc32(name.encode())).random_raw(int(np.prod(shape)))
    fraction = (words >> np.uint64(11)).astype(np.float64) / 2**53
    return torch.from_numpy((low + (high - low) * fraction).astype(np.float32).reshape(shape))


FORWARD_ROUNDING, BACKWARD_ROUNDING = 3e-5, 1e-4
"""Shares of the largest number of a stage. The roundings of fifty layers add up to about 1e-5 of it; a gradient has
gone through all of them twice, and by how much it differs depends on how the processor's convolutions sum."""

# How strongly the outputs vary, so that scores, boxes and masks are neither all alike nor all saturated.
_GAIN = {
    "pyramid.lateral": 0.4,
    "rpn.head.objectness": 3.0,
    "rpn.head.deltas": 0.4,
    "roi_heads.box_head.classes": 3.0,
    "roi_heads.box_head.deltas": 2.0,
    "roi_heads.mask_head.logits": 8.0,
    "roi_heads.keypoint_head.deconvolution": 4.0,
}


def draw_weight(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """The value of a parameter or buffer: layers keep the variance, residual branches add a little to it."""
    layer, _, kind = name.rpartition(".")
    if kind == "running_var":
        return uniform(name, shape, 0.5, 1.5)
    if kind == "running_mean" or kind == "bias":
        return uniform(name, shape, -0.1, 0.1)
    if len(shape) == 1:  # the scale of a normalisation layer
        largest = 0.4 if layer.endswith(("bn3", "bn2")) else 1.2
        return uniform(name, shape, largest / 2, largest)
    inputs = 0 if "deconvolution" in name else tuple(range(1, len(shape)))
    fan_in = shape[0] if "deconvolution" in name else int(np.prod(shape[1:]))
    bound = _GAIN.get(layer.rstrip(".0123456789"), 1.4) * (3.0 / fan_in) ** 0.5
    weight = uniform(name, shape, -bound, bound)
    # Behind a ReLU all inputs are positive; without this, what they have in common drowns their differences.
    return weight - weight.mean(dim=inputs, keepdim=True)


def build_model(config: ModelConfig = CONFIG) -> MaskRCNN:
    """Our network with the drawn weights."""
    model = MaskRCNN(config)
    model.load_state_dict({name: draw_weight(name, tuple(value.shape)) for name, value in model.state_dict().items()})
    return model


def object_mask(shape: str, box: tuple[float, ...], height: int, width: int) -> np.ndarray:
    """(height, width) uint8: the pixels whose centre lies in the shape."""
    x1, y1, x2, y2 = box
    u = ((np.arange(width) + 0.5 - x1) / (x2 - x1))[None, :]
    v = ((np.arange(height) + 0.5 - y1) / (y2 - y1))[:, None]
    inside = (u >= 0) & (u <= 1) & (v >= 0) & (v <= 1)
    if shape == "ellipse":
        inside &= (2 * u - 1) ** 2 + (2 * v - 1) ** 2 <= 1
    elif shape == "triangle":
        inside &= u <= v
    return inside.astype(np.uint8)


def build_batch() -> Batch:
    """The two pictures with their objects in three slots each."""
    images = torch.zeros(2, 3, *PADDED_SIZE)
    slots = max(len(objects) for objects in OBJECTS)
    boxes, labels = torch.zeros(2, slots, 4), torch.zeros(2, slots, dtype=torch.int64)
    bitmap_boxes, offsets = torch.zeros(2, slots, 4, dtype=torch.int64), torch.zeros(2, slots, dtype=torch.int64)
    bitmaps, pixels = [], 0
    for index, ((height, width), objects) in enumerate(zip(IMAGE_SIZES, OBJECTS, strict=True)):
        images[index, :, :height, :width] = uniform(f"picture {index}", (3, height, width), -2.0, 2.0)
        for slot, (shape, label, box) in enumerate(objects):
            x1, y1, x2, y2 = (int(np.floor(box[0])), int(np.floor(box[1])), int(np.ceil(box[2])), int(np.ceil(box[3])))
            bitmap = object_mask(shape, box, height, width)[y1:y2, x1:x2]
            boxes[index, slot], labels[index, slot] = torch.tensor(box), label
            bitmap_boxes[index, slot], offsets[index, slot] = torch.tensor((x1, y1, x2, y2)), pixels
            bitmaps.append(torch.from_numpy(bitmap.flatten()))
            pixels += bitmap.size
    targets = Targets(
        boxes, labels, labels > 0, torch.zeros_like(labels, dtype=torch.bool), torch.cat(bitmaps), bitmap_boxes, offsets
    )
    return Batch(images, torch.tensor(IMAGE_SIZES), torch.tensor(ORIGINAL_SIZES), ("first", "second"), targets)


def first_come_first_sampled(shape: tuple[int, ...], device: torch.device | None = None) -> torch.Tensor:
    """Stands in for torch.rand: falling priorities, so that a sample keeps the candidates' order."""
    return torch.linspace(1, 0, shape[-1], device=device).expand(shape)


def our_stages(model: MaskRCNN, batch: Batch) -> dict[str, np.ndarray]:
    """What every stage gives, under the names of the golden file."""
    pyramid = model.pyramid(model.backbone(batch.images))
    stages = {f"pyramid_{level}": feature[:, ::8] for level, feature in enumerate(pyramid)}
    with mock.patch("torch.rand", first_come_first_sampled):
        stages |= _region_stages(model, batch, pyramid)
        stages |= _loss_stages(model, batch)
    stages |= _detection_stages(model, batch)
    return {name: value.detach().numpy() for name, value in stages.items()}


def _region_stages(model: MaskRCNN, batch: Batch, pyramid: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    """From anchors to the RoIs that the heads learn from, and what these should learn."""
    config, targets = model.config, batch.targets
    outputs = model.rpn(batch, pyramid)
    anchors = torch.cat(outputs.anchors)
    stages = {
        "anchors": anchors,
        "rpn_objectness": torch.cat(outputs.objectness, dim=1),
        "rpn_deltas": torch.cat(outputs.deltas, dim=1)[:, ::5],
    }
    matches = match(
        targets.boxes,
        targets.valid,
        anchors.expand(batch.size, -1, -1),
        torch.ones(batch.size, len(anchors), dtype=torch.bool),
        positive_iou=config.rpn.positive_iou,
        negative_iou=config.rpn.negative_iou,
        low_quality=config.rpn.low_quality,
        low_quality_iou=config.rpn.low_quality_iou,
    )
    stages["rpn_label"] = matches.label
    stages["rpn_match"] = torch.where(matches.label == POSITIVE, matches.ground_truth, -1)

    proposals = model.rpn.propose(outputs, batch.image_sizes, for_training=False)
    stages["proposals_test"], stages["proposals_test_valid"] = proposals
    proposals = model.rpn.propose(outputs, batch.image_sizes, for_training=True)
    stages["proposals_train"], stages["proposals_train_valid"] = proposals

    rois = model.roi_heads.choose_training_rois(pyramid[:-1], proposals, targets)
    stages["rois"] = rois.boxes.masked_fill(~rois.valid[..., None], 0.0)
    stages["rois_valid"], stages["roi_labels"] = rois.valid, rois.labels
    stages["roi_match"] = torch.where(rois.positive, rois.ground_truth, -1)
    goal = box_functions.encode(gather_rows(targets.boxes, rois.ground_truth), rois.boxes, config.box_head.box_weights)
    stages["roi_delta_targets"] = goal.masked_fill(~rois.positive[..., None], 0.0)

    rois = TrainingRoIs(*(field[:, :16] for field in rois))  # positives come first
    bitmaps = Bitmaps(
        targets.bitmaps,
        gather_rows(targets.bitmap_offsets, rois.ground_truth),
        gather_rows(targets.bitmap_boxes, rois.ground_truth),
    )
    masks = crop_masks(bitmaps, rois.boxes, batch.image_sizes, 28, config.mask_head.targets)
    stages["mask_targets"] = masks.masked_fill(~rois.positive[..., None, None], 0.0)
    return stages


def _loss_stages(model: MaskRCNN, batch: Batch) -> dict[str, torch.Tensor]:
    """The five losses, and how strongly their sum pulls at every parameter that learns."""
    losses = model(batch).losses
    model.zero_grad()
    torch.stack(list(losses.values())).sum().backward()
    norms = [parameter.grad.norm() for parameter in model.parameters() if parameter.requires_grad]
    return {f"loss_{name}": loss for name, loss in losses.items()} | {"gradient_norms": torch.stack(norms)}


def _detection_stages(model: MaskRCNN, batch: Batch) -> dict[str, torch.Tensor]:
    """Detections, and the three best masks of each picture at every third pixel of it."""
    with torch.no_grad():
        found = model(replace(batch, targets=None)).detections
    stages = {
        "detection_boxes": found.boxes,
        "detection_scores": found.scores,
        "detection_labels": found.labels,
        "detection_valid": found.valid,
        "detection_masks": found.masks[:, :4],
    }
    padded_resize = model.config.mask_head.paste == "padded_resize"
    for image, (height, width) in enumerate(ORIGINAL_SIZES):
        pasted = [
            paste_mask(found.masks[image, slot], found.boxes[image, slot], height, width, padded_resize)
            for slot in range(3)
        ]
        stages[f"pasted_{image}"] = torch.stack(pasted)[:, ::3, ::3]
    return stages


def shortened(value: np.ndarray) -> np.ndarray:
    """How the golden file keeps an array: whole numbers in one byte, here all are small."""
    return value.astype(np.int8) if value.dtype == np.int64 else value


def disagreement(value: np.ndarray, expected: np.ndarray, rounding: float = FORWARD_ROUNDING) -> str:
    """What is wrong with one stage, or "": choices must be the same, numbers agree to float32 rounding.

    `rounding` is what may differ, as a share of the largest number of the stage.
    """
    if value.shape != expected.shape:
        return f"found shape {value.shape}, expected {expected.shape}"
    if not np.issubdtype(expected.dtype, np.floating):
        different = int((value != expected).sum())
        return f"{different} of {expected.size} differ" if different else ""
    difference = np.abs(value - expected).max()
    allowed = rounding * np.abs(expected).max()
    return f"differs by {difference:.3g}, allowed {allowed:.3g}" if not difference <= allowed else ""
