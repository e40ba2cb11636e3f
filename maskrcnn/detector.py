"""A trained detector, ready for pictures: `maskrcnn.load("text_small")("photo.jpg")`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from maskrcnn.config import Config
from maskrcnn.data.images import read_image
from maskrcnn.data.loader import test_batch
from maskrcnn.model.mask_rcnn import MaskRCNN
from maskrcnn.structures import Detections, Sample
from maskrcnn.text import TextShape, polygon_nms, text_shapes
from maskrcnn.training.checkpoint import load_into, load_weights

SHIPPED = Path(__file__).parent / "weights"


@dataclass(frozen=True)
class Found:
    """What a detector found in one picture."""

    image: np.ndarray
    """(H, W, 3) uint8, the picture as it was read."""
    detections: Detections
    """B = 1: boxes, scores, labels and masks, in pixels of the picture."""
    texts: tuple[TextShape, ...]
    """The outlines of the texts with their scores, best first."""
    without_shape: int
    """Detections whose mask is empty, so that they have no outline."""


class Detector:
    """A network and the settings it was trained with."""

    def __init__(self, model: MaskRCNN, config: Config) -> None:
        self.model = model.eval().to(memory_format=torch.channels_last)
        self.config = config

    @property
    def device(self) -> torch.device:
        """Where the network's weights are."""
        return next(self.model.parameters()).device

    def __call__(
        self, picture: str | os.PathLike | Image.Image | np.ndarray, score_threshold: float | None = None
    ) -> Found:
        """What is in a picture: a file, a Pillow image, or an array (H, W, 3) uint8 RGB.

        score_threshold: texts with a lower score are left out; by default the one chosen for these weights.
        Raises ValueError if the file is no picture.
        """
        if isinstance(picture, np.ndarray):
            image, name = picture, "array"
        elif isinstance(picture, Image.Image):
            image, name = np.asarray(picture.convert("RGB")), "picture"
        else:
            image, name = read_image(picture, str(picture)), str(picture)
        sample = Sample(name, image, (), np.zeros(0, np.int64), np.zeros(0, bool))
        batch = test_batch(sample, self.config.model.image, targets=False)
        with torch.inference_mode():
            detections = self.model(batch.to(self.device)).detections.to("cpu")
        text = self.config.text
        threshold = text.score_threshold if score_threshold is None else score_threshold
        shapes = text_shapes(detections, 0, image.shape[:2], text.shape, text.mask_threshold, threshold)
        texts: Sequence[TextShape] = shapes.shapes
        if text.polygon_nms_iou < 1:
            texts = polygon_nms(texts, text.polygon_nms_iou)
        return Found(image, detections, tuple(texts), shapes.empty)


def load(weights: str | os.PathLike, device: str | torch.device = "cpu") -> Detector:
    """The detector of a weights file or training checkpoint, or of a name that ships with the package.

    Raises ValueError if there is no such file or name, or if the file is damaged or made for another network.
    """
    path = find_weights(weights)
    state, config, _ = load_weights(path)
    model = MaskRCNN(config.model)
    load_into(model, state, str(path))
    return Detector(model.to(device), config)


def find_weights(weights: str | os.PathLike) -> Path:
    """The file that `weights` means: a path, or the name of shipped weights. Raises ValueError if there is none."""
    path = Path(weights)
    if path.is_file():
        return path
    shipped = {file.stem: file for file in sorted(SHIPPED.glob("*.safetensors"))}
    if str(weights) in shipped:
        return shipped[str(weights)]
    raise ValueError(f"{weights}: no such file, and not one of the shipped weights: {', '.join(shipped) or 'none'}")
