"""Samples and settings for tests of batches and of what writes samples."""

import numpy as np
import torch

from maskrcnn.config import ImageConfig
from maskrcnn.structures import Batch, Sample

IMAGE = ImageConfig()
PLAIN = ImageConfig(mean=(0.0, 0.0, 0.0), deviation=(1 / 255, 1 / 255, 1 / 255))
"""Normalising with it changes nothing."""


def rectangle(x1: float, y1: float, x2: float, y2: float) -> np.ndarray:
    return np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]], dtype=np.float64)


def a_sample(height: int, width: int, *polygons: np.ndarray, ignore=(), name="img_1.jpg", value=128) -> Sample:
    flags = np.zeros(len(polygons), bool)
    flags[list(ignore)] = True
    image = np.full((height, width, 3), value, np.uint8)
    return Sample(name, image, polygons, np.arange(1, len(polygons) + 1), flags)


def sample_with(*objects: tuple[np.ndarray, bool, str], name: str = "img_7.jpg", width: int = 48) -> Sample:
    """A grey picture, 32 pixels high, with outlines, whether they are don't-care, and what they say."""
    return Sample(
        name=name,
        image=np.full((32, width, 3), 90, np.uint8),
        polygons=tuple(polygon for polygon, _, _ in objects),
        labels=np.ones(len(objects), np.int64),
        ignore=np.array([ignore for _, ignore, _ in objects], bool),
        transcriptions=tuple(text for _, _, text in objects),
    )


def equal(left: Batch, right: Batch) -> bool:
    tensors = ("images", "image_sizes", "original_sizes")
    targets = ("boxes", "labels", "valid", "ignore", "bitmaps", "bitmap_boxes", "bitmap_offsets")
    return (
        left.names == right.names
        and all(torch.equal(getattr(left, name), getattr(right, name)) for name in tensors)
        and all(torch.equal(getattr(left.targets, name), getattr(right.targets, name)) for name in targets)
    )
