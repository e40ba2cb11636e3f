"""A trained detector, ready for pictures: `maskrcnn.load("text_small")("photo.jpg")`."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from PIL import Image

from maskrcnn.config import Config, ModelConfig
from maskrcnn.data.collate import inference_batch, network_size
from maskrcnn.data.images import read_image, to_rgb
from maskrcnn.memory import out_of_memory_told
from maskrcnn.model.folded import folded
from maskrcnn.model.mask_rcnn import MaskRCNN
from maskrcnn.objects import WORTH_SHOWING, FoundObject, found_objects
from maskrcnn.precision import Precision, computing_in
from maskrcnn.structures import Detections, Sample
from maskrcnn.text import TextShape, polygon_nms, text_shapes
from maskrcnn.training.checkpoint import check_fit, load_into, load_weights
from maskrcnn.training.published import BACKBONE, PART

SHIPPED = Path(__file__).parent / "weights"


@dataclass(frozen=True)
class Found:
    """What a detector found in one picture."""

    image: np.ndarray
    """(H, W, 3) uint8, the picture as it was read."""
    detections: Detections
    """B = 1: boxes, scores, labels and masks, in pixels of the picture, whatever their score."""
    texts: tuple[TextShape, ...] = ()
    """From a text detector: the outlines of the texts with their scores, best first."""
    without_shape: int = 0
    """Detections that reach the threshold but have no outline, because their mask is empty."""
    unfitted: int = 0
    """Texts whose outline is a rectangle because their pyramid is none (see `maskrcnn.plane_clustering`)."""
    objects: tuple[FoundObject, ...] = ()
    """From any other detector: the objects, best first."""


class Detector:
    """A network and the settings it was trained with."""

    def __init__(self, model: MaskRCNN, config: Config, precision: Precision = "float32") -> None:
        if precision not in get_args(Precision):
            raise ValueError(f"precision: found {precision!r}, expected one of: {', '.join(get_args(Precision))}")
        self.model = model.eval().to(memory_format=torch.channels_last)
        self.config = config
        self.precision = precision

    def folded(self) -> Detector:
        """For many pictures: one that finds the same, in bfloat16 faster, and whose network cannot be changed any more.

        Its `model` is a copy of this one's as it is now (`maskrcnn.model.folded`): what is written into either later
        does not reach the other. Raises TypeError if the network is compiled or comes from an exported program.
        """
        return Detector(folded(self.model, self.precision), self.config, self.precision)

    @property
    def device(self) -> torch.device:
        """Where the network's weights are."""
        return next(self.model.parameters()).device

    def __call__(
        self, picture: str | os.PathLike | Image.Image | np.ndarray, score_threshold: float | None = None
    ) -> Found:
        """What is in a picture: a file, a Pillow image, or an array (H, W, 3) uint8 RGB with at least one pixel.

        score_threshold: what has a lower score is left out; by default the one chosen for these weights if they find
        text, and otherwise `WORTH_SHOWING`.
        Raises ValueError if the file is no picture, for an array of another kind, or for a threshold that no score
        can be compared with; OutOfMemory.
        """
        score_threshold = None if score_threshold is None else float(score_threshold)
        if score_threshold is not None and not math.isfinite(score_threshold):
            raise ValueError(f"score_threshold: found {score_threshold}, expected a number")
        image, name = _pixels(picture)
        sample = Sample(name, image, (), np.zeros(0, np.int64), np.zeros(0, bool))
        height, width = network_size(*image.shape[:2], self.config.model.image)
        advice = f"a smaller model.image.long_side than these {max(height, width)} pixels (--set) needs less"
        picture = f"{name}, seen at {width} x {height} pixels"
        in_precision = computing_in(self.precision, self.device.type)
        with out_of_memory_told(lambda: picture, advice), torch.inference_mode(), in_precision:
            batch = inference_batch(sample, self.config.model.image, targets=False)
            detections = self.model(batch.to(self.device)).detections.to("cpu")
        model, size = self.config.model, image.shape[:2]
        if self.config.finds_text:
            return self._with_texts(Found(image, detections), score_threshold)
        threshold = WORTH_SHOWING if score_threshold is None else score_threshold
        objects = found_objects(detections, 0, size, model.class_names, model.mask_head.paste, threshold)
        return Found(image, detections, objects=objects)

    def _with_texts(self, found: Found, score_threshold: float | None) -> Found:
        text = self.config.text
        threshold = text.score_threshold if score_threshold is None else score_threshold
        shapes = text_shapes(found.detections, 0, found.image.shape[:2], text, threshold)
        texts: Sequence[TextShape] = shapes.shapes
        if text.polygon_nms_iou < 1:
            texts = polygon_nms(texts, text.polygon_nms_iou)
        return replace(found, texts=tuple(texts), without_shape=shapes.empty, unfitted=shapes.unfitted)


def load(
    weights: str | os.PathLike,
    device: str | torch.device = "cpu",
    settings: Sequence[str] = (),
    compile: bool = False,
    precision: Precision = "float32",
) -> Detector:
    """The detector of a weights file or training checkpoint, or of a name that ships with the package.

    settings: changes to the configuration in the file, such as "model.image.long_side=1280".
    compile: the network runs through `torch.compile`, which changes results by rounding. The first picture takes
    minutes, as do a few of other sizes (`maskrcnn.training.compiling`).
    precision: "bfloat16" computes convolutions and matrix products in 16 bits, which changes scores in the third digit;
    faster where the processor or the GPU has instructions for it.
    Raises ValueError if there is no such file or name, if the file is damaged, if it does not fit the network, or if
    there is nothing to compile with; OutOfMemory if the network does not fit the machine.
    """
    path = find_weights(weights)
    if path.suffix == ".pt2":
        raise ValueError(f"{path}: found a program, which `maskrcnn.export.load_exported` reads, expected weights")
    with out_of_memory_told(lambda: str(path), f"there is no room for this network on the device {device}"):
        state, config, extra = load_weights(path)
        if extra.get(PART) == BACKBONE:
            raise ValueError(f"{path}: found a backbone without a detector, which is for `train --init`")
        config = config.override(list(settings))
        _check_size(config.model, state, str(path))
        model = MaskRCNN(config.model)
        load_into(model, state, str(path))
        detector = Detector(model.to(device), config, precision)
    if compile:
        from maskrcnn.training.compiling import CompiledForPictures  # here: PyTorch's compiler takes long to import

        detector.model = CompiledForPictures(detector.model)
    return detector


def find_weights(weights: str | os.PathLike) -> Path:
    """The file that `weights` means: a path, or the name of shipped weights. Raises ValueError if there is none."""
    path, shipped = Path(weights), shipped_weights()
    if path.is_file():
        return path
    if str(weights) in shipped:
        return shipped[str(weights)]
    found = "a folder" if path.is_dir() else "no such file"
    raise ValueError(f"{weights}: found {found}, expected weights or a shipped name: {', '.join(shipped) or 'none'}")


def shipped_weights() -> dict[str, Path]:
    """Name -> file of the weights that come with the package."""
    return {file.stem: file for file in sorted(SHIPPED.glob("*.safetensors"))}


def available_device() -> str:
    """The device to use when nobody has said which."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def _check_size(config: ModelConfig, state: dict[str, torch.Tensor], what: str) -> None:
    """Raises ValueError unless `state` fits the network of `config`, before that takes any memory.

    A small file may ask for a network larger than the machine; on the meta device, tensors have shapes only.
    """
    for head, settings in (("mask", config.mask_head), ("keypoint", config.keypoint_head)):
        convolutions = settings.convolutions  # the only settings that say how many tensors there are
        if settings.enabled and convolutions > len(state):
            expected = f"those of {convolutions:,} {head} convolutions"
            raise ValueError(f"{what}: found {len(state)} tensors, expected {expected}")
    try:
        with torch.device("meta"):
            model = MaskRCNN(config)
    except (RuntimeError, TypeError, OverflowError) as error:  # sizes beyond 64 bits
        raise ValueError(f"{what}: its configuration asks for a network that no machine can hold") from error
    check_fit(model, state, what)


def _pixels(picture: str | os.PathLike | Image.Image | np.ndarray) -> tuple[np.ndarray, str]:
    """(H, W, 3) uint8 and what errors call the picture."""
    if isinstance(picture, np.ndarray):
        if 0 in picture.shape:
            raise ValueError(f"array: found {picture.shape}, expected at least one pixel")
        return picture, "array"
    if isinstance(picture, Image.Image):
        return to_rgb(picture), "picture"
    return read_image(picture), str(picture)
