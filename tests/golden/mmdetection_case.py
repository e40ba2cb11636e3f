"""A narrow Mask R-CNN in a file of MMOCR's, small pictures, and what MMDetection makes of them.

The network is MMOCR's for CTW1500, ResNet-50 and pyramid, anchors for text and 80 classes, a quarter as wide, so that
its numbers are there in seconds. The pictures keep their size, since what MMDetection scales them with, OpenCV,
interpolates in whole numbers; scaling is compared by itself.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from golden.published_case import found_by_us, picture, training_batch
from published_tensors import GAIN, draw, mmdetection

from maskrcnn.cli import main
from maskrcnn.config import ImageConfig
from maskrcnn.data.collate import to_network_size
from maskrcnn.detector import load
from maskrcnn.model.mask_rcnn import MaskRCNN
from maskrcnn.structures import Sample

CLASSES, WIDTH, PYRAMID, HIDDEN = 80, 16, 32, 64
NARROW = [
    f"model.backbone.width={WIDTH}",
    f"model.backbone.pyramid_channels={PYRAMID}",
    f"model.box_head.hidden={HIDDEN}",
    f"model.mask_head.channels={PYRAMID}",
]
SIZES = {"wide": (120, 183), "tall": (190, 130)}
TRAINING_SIZE = (128, 192)
OBJECTS = (
    ((1, (20.3, 30.4, 140.9, 70.2)), (1, (61.4, 81.2, 181.1, 116.9)), (1, (60.1, 80.6, 180.3, 115.7))),
    ((1, (9.3, 59.2, 149.1, 109.5)), (1, (10.6, 60.1, 150.2, 110.3)), (1, (160.4, 20.8, 185.1, 80.5))),
)
"""Between whole pixels, or symmetry would make cells of the masks that are covered by exactly a half; and two that
want the same anchor, the better one first, since MMDetection gives it to the last."""
SCALED = ((67, 90), (150, 201))
"""Height and width of a picture before and after MMDetection scales it."""
CONFIGURATION = {"short_side": 150, "long_side": 202}


def weights() -> dict[str, torch.Tensor]:
    """A state dict as MMOCR publishes it."""
    shapes = mmdetection(CLASSES, anchors=5, width=WIDTH, pyramid=PYRAMID, hidden=HIDDEN)
    return draw(shapes, {"fc_cls": 5.0, "conv_logits": 4.0, **GAIN})


def imported(folder: Path) -> MaskRCNN:
    """The network from a file as MMOCR publishes it, by the command; it leaves pictures as large as they are."""
    source, out = folder / "mask_rcnn_r50_fpn_160e_ctw1500_00000000-00000000.pth", folder / "imported.safetensors"
    meta = {"CLASSES": "text", "config": "model = dict(...)", "epoch": 160}
    torch.save({"meta": meta, "state_dict": weights()}, source, _use_new_zipfile_serialization=False)
    names = [f"class{label}" for label in range(1, CLASSES + 1)]  # otherwise all but the first would be unused
    command = ["import", str(source), "--from", "mmdetection", "--out", str(out), "--classes", *names, "--set", *NARROW]
    assert main(command) == 0
    return load(out, settings=["model.image.largest_enlargement=1.0"]).model


def ours(model: MaskRCNN) -> dict[str, np.ndarray]:
    """What our network finds and loses, under the names of the golden file."""
    values = {}
    for name, size in SIZES.items():
        values |= found_by_us(model, name, size)
    with mock.patch("torch.rand", lambda shape, device: torch.linspace(1, 0, shape[-1]).expand(shape)):
        losses = model(training_batch(model.config.image, TRAINING_SIZE, OBJECTS)).losses
    return values | {f"loss_{name}": value.detach().numpy() for name, value in losses.items()}


def scaled_by_us(image: ImageConfig) -> np.ndarray:
    """(H, W, 3) normalised pixels of the picture that MMDetection scales, as we scale it."""
    sample = Sample("scaled", picture("scaled", SCALED[0]), (), np.zeros(0, np.int64), np.zeros(0, bool))
    return to_network_size(sample, replace(image, **CONFIGURATION, largest_enlargement=0.0))[0]
