"""A Mask R-CNN of full size in a file of torchvision's, pictures of real sizes, and what is compared of the results.

Nothing here needs torchvision: `make_golden_published.py` gives the same weights to torchvision's own network and
stores what that finds; `tests/test_golden_published.py` writes them as a file, imports it by the command, and compares.
Weights and pixels are drawn, not stored.
"""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import numpy as np
import torch
from published_tensors import GAIN, draw, torchvision, uniform

from maskrcnn.cli import main
from maskrcnn.config import Config, ImageConfig
from maskrcnn.data.collate import normalise
from maskrcnn.detector import Detector, load
from maskrcnn.model.mask_rcnn import MaskRCNN
from maskrcnn.person import PERSON_KEYPOINTS
from maskrcnn.structures import Batch, Targets
from maskrcnn.training.published_names import COCO_GAPS

SIZES = {"wide": (480, 640), "tall": (640, 427), "large": (1000, 1400)}
"""Height and width of each picture: two are enlarged, one is reduced."""
CALM = {"cls_score": 2.0, "mask_fcn_logits": 4.0, "rpn.head.bbox_pred": 0.15, "box_predictor.bbox_pred": 1.0}
"""Gains that do not make the rounding of fifty layers visible; some classes are likelier from the start instead."""
MASKS = 8
"""Of so many detections of each picture the masks are compared."""

KEYPOINT_SIZES = {"people": (240, 320), "person": (320, 213)}
KEYPOINT_SIDES = (320, 480)
"""Short and long side in the network: where maps are enlarged less, fewer points hang by a rounding error."""
PERSONS = (
    ((1, (30.0, 40.0, 180.0, 200.0)), (1, (200.0, 60.0, 300.0, 330.0))),
    ((1, (10.0, 100.0, 200.0, 340.0)), (1, (360.0, 20.0, 430.0, 180.0))),
)
"""What is in the training pictures of the Keypoint R-CNN."""

TRAINING_SIZE = (352, 448)
OBJECTS = (
    ((1, (30.0, 40.0, 180.0, 200.0)), (17, (200.0, 60.0, 420.0, 150.0)), (44, (250.0, 170.0, 290.0, 330.0))),
    ((3, (10.0, 200.0, 330.0, 340.0)), (90, (360.0, 20.0, 430.0, 120.0))),
)
"""For each of the two training pictures: label and box. The masks are ellipses."""


def weights() -> dict[str, torch.Tensor]:
    """A state dict as torchvision publishes it: old names, frozen norms."""
    state = draw(torchvision(legacy=True), {**CALM, **GAIN})
    name = "roi_heads.box_predictor.cls_score.bias"
    state[name] = 4 * uniform(name, (91,), -1.0, 1.0) ** 3
    state[name][list(COCO_GAPS)] = -20.0  # what no training has seen never appears
    return state


def keypoint_weights() -> dict[str, torch.Tensor]:
    """The same of a Keypoint R-CNN, which finds persons."""
    gains = {**CALM, "kps_score_lowres": 6.0, **GAIN}
    return draw(torchvision(classes=2, legacy=True, keypoints=17), {**gains, "cls_score": 1.0})


def picture(name: str, size: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) uint8: smooth colours with rectangles of other colours on them."""
    height, width = size
    image = np.empty((height, width, 3))
    y, x = np.mgrid[0:height, 0:width] / max(size)
    wave = uniform(f"{name} waves", (3, 8, 4), -1.0, 1.0).double().numpy()
    for channel in range(3):
        phase = sum(a * np.sin(9 * (1 + k) * (b * x + c * y) + 3 * d) for k, (a, b, c, d) in enumerate(wave[channel]))
        image[..., channel] = 128 + 40 * phase
    boxes = uniform(f"{name} boxes", (60, 4), 0.0, 1.0).double().numpy()
    colours = uniform(f"{name} colours", (60, 3), 0.0, 255.0).double().numpy()
    for (left, top, w, h), colour in zip(boxes, colours, strict=True):
        x1, y1 = int(left * width), int(top * height)
        image[y1 : y1 + 6 + int(h * h * height / 3), x1 : x1 + 6 + int(w * w * width / 3)] = colour
    return np.clip(np.floor(image), 0, 255).astype(np.uint8)


def object_mask(box: tuple[float, float, float, float], size: tuple[int, int]) -> np.ndarray:
    """(H, W) uint8: the pixels whose centre lies in the largest ellipse in the box."""
    x1, y1, x2, y2 = box
    u = (np.arange(size[1]) + 0.5 - x1) / (x2 - x1) * 2 - 1
    v = (np.arange(size[0]) + 0.5 - y1) / (y2 - y1) * 2 - 1
    return (u[None] ** 2 + v[:, None] ** 2 <= 1).astype(np.uint8)


COMPARED = 50
"""Of so many detections of each picture, best first: what is cut off at the hundredth may depend on the processor."""


def imported(state: dict[str, torch.Tensor], folder: Path, sides: tuple[int, int] = (800, 1333)) -> MaskRCNN:
    """The network from a file as torchvision publishes it, by the command."""
    source, out = folder / "rcnn_resnet50_fpn_coco-00000000.pth", folder / "imported.safetensors"
    torch.save(state, source, _use_new_zipfile_serialization=False)
    settings = [f"model.image.short_side={sides[0]}", f"model.image.long_side={sides[1]}"]
    assert main(["import", str(source), "--from", "torchvision", "--out", str(out), "--set", *settings]) == 0
    return load(out).model


def found_by_us(model: MaskRCNN, name: str, size: tuple[int, int]) -> dict[str, np.ndarray]:
    """What our network finds in a picture, under the names of the golden file."""
    image = picture(name, size)
    found = Detector(model, Config(model=model.config))(image, score_threshold=1.0).detections
    special = {}
    if found.masks is not None:
        special[f"{name}_masks"] = found.masks[0, :MASKS].numpy()
    if found.keypoints is not None:
        special[f"{name}_keypoints"] = found.keypoints[0, :MASKS, :, :2].numpy()
        special[f"{name}_peaks"] = found.keypoints[0, :MASKS, :, 2].numpy()
    return special | {
        f"{name}_boxes": found.boxes[0, :COMPARED].numpy(),
        f"{name}_scores": found.scores[0, :COMPARED].numpy(),
        f"{name}_labels": found.labels[0, :COMPARED].numpy().astype(np.int16),
    }


def training_batch(image: ImageConfig, size: tuple[int, int], objects: tuple) -> Batch:
    """Training pictures of one size and the objects of each."""
    pixels = [normalise(picture(f"training {index}", size), image) for index in range(len(objects))]
    slots = max(map(len, objects))
    boxes, labels = torch.zeros(len(objects), slots, 4), torch.zeros(len(objects), slots, dtype=torch.int64)
    bitmap_boxes, offsets = boxes.long(), torch.zeros_like(labels)
    bitmaps, length = [], 0
    for index, listed in enumerate(objects):
        for slot, (label, box) in enumerate(listed):
            x1, y1, x2, y2 = (*np.floor(box[:2]).astype(int), *np.ceil(box[2:]).astype(int))
            bitmaps.append(torch.from_numpy(object_mask(box, size)[y1:y2, x1:x2]).flatten())
            bitmap_boxes[index, slot] = torch.tensor((x1, y1, x2, y2))
            boxes[index, slot], labels[index, slot], offsets[index, slot] = torch.tensor(box), label, length
            length += bitmaps[-1].numel()
    valid = labels > 0
    keypoints = torch.zeros(len(objects), slots, len(PERSON_KEYPOINTS), 3)
    for index, listed in enumerate(objects):
        for slot, (_, box) in enumerate(listed):
            keypoints[index, slot] = object_keypoints(box)
    targets = Targets(
        boxes, labels, valid, torch.zeros_like(valid), torch.cat(bitmaps), bitmap_boxes, offsets, keypoints
    )
    sizes = torch.tensor([size] * len(objects))
    images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)
    return Batch(images, sizes, sizes, ("first", "second"), targets)


def object_keypoints(box: tuple[float, float, float, float]) -> torch.Tensor:
    """(17, 3) x, y, visibility: points along a spiral, every third of them unlabelled."""
    place = torch.arange(len(PERSON_KEYPOINTS)) / len(PERSON_KEYPOINTS)
    x1, y1, x2, y2 = box
    x = (x1 + x2) / 2 + (x2 - x1) / 2 * place * torch.cos(20 * place)
    y = (y1 + y2) / 2 + (y2 - y1) / 2 * place * torch.sin(20 * place)
    return torch.stack((x, y, torch.arange(len(PERSON_KEYPOINTS)) % 3), dim=1)


def losses_of(model: MaskRCNN, objects: tuple = OBJECTS) -> dict[str, np.ndarray]:
    """Our losses on the training pictures, with samplers that take what comes first."""
    with mock.patch("torch.rand", lambda shape, device: torch.linspace(1, 0, shape[-1]).expand(shape)):
        losses = model(training_batch(model.config.image, TRAINING_SIZE, objects)).losses
    return {f"loss_{name}": value.detach().numpy() for name, value in losses.items()}


ALLOWED = {"boxes": 1e-3, "scores": 1e-5, "masks": 1e-4, "keypoints": 1e-3, "peaks": 1e-3, "loss": 1e-5, "labels": 0}
"""Largest difference: pixels of the picture, probabilities, logits at the keypoints (which are tens), and losses
relative to themselves."""


def disagreements(values: dict[str, np.ndarray], expected: dict[str, np.ndarray], times: float = 1) -> list[str]:
    """What differs by more than so many times ALLOWED, with its number."""
    wrong = []
    for name, value in values.items():
        kind = next(kind for kind in ALLOWED if kind in name)
        difference = np.abs(value.astype(np.float64) - expected[name])
        difference = float((difference / np.abs(expected[name]) if kind == "loss" else difference).max())
        if not difference <= times * ALLOWED[kind]:
            wrong.append(f"{name} differs by {difference:.2g}, allowed {times * ALLOWED[kind]:g}")
    return wrong
