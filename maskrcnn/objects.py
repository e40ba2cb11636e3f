"""From the network's detections to objects in a picture: their classes by name, their boxes, and masks of its size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from maskrcnn import ops
from maskrcnn.config import unused_class
from maskrcnn.ops import run_length
from maskrcnn.ops.run_length import RunLengths
from maskrcnn.structures import Detections

WORTH_SHOWING = 0.5
"""The score from which on an object is drawn, if nobody says otherwise; average precision looks at all of them."""

_PASTED_AT_ONCE = 2**26
"""Pixels, a byte each."""


class FoundObject(NamedTuple):
    """One object that was found."""

    label: int
    """1 is the first class."""
    name: str
    """What the class is called."""
    score: float
    box: np.ndarray
    """(4,) float64 x1, y1, x2, y2 in pixels of the picture."""
    mask: RunLengths | None
    """Its pixels, as a code of the whole picture; `mask_of` unpacks it. None from a network without a mask head."""
    keypoints: np.ndarray | None
    """(J, 3) float64: x, y in pixels of the picture, and the score of each; None without a keypoint head."""


def found_objects(
    detections: Detections,
    image_index: int,
    picture_size: tuple[int, int],
    class_names: Sequence[str],
    paste: str,
    score_threshold: float = 0.0,
) -> tuple[FoundObject, ...]:
    """The objects of one image of the batch with score >= `score_threshold`, best first.

    picture_size (H, W); paste: the convention of `maskrcnn.ops.paste_masks`, `MaskHeadConfig.paste`. What is found of
    a class called `unused_class` is no object.
    """
    chosen = detections.valid[image_index].clone()
    # In float64, like every other comparison with a threshold.
    chosen &= detections.scores[image_index].double() >= score_threshold
    height, width = picture_size
    boxes, masks = detections.boxes[image_index][chosen], None
    if detections.masks is not None:
        of_boxes, masks = detections.masks[image_index][chosen], []
        at_once = max(1, _PASTED_AT_ONCE // (height * width))
        for some, around in zip(of_boxes.split(at_once), boxes.split(at_once), strict=True):
            pasted = ops.paste_masks(some, around, height=height, width=width, convention=paste)
            masks += run_length.encode(pasted.cpu().numpy())
    keypoints = None
    if detections.keypoints is not None:
        keypoints = detections.keypoints[image_index][chosen].double().cpu().numpy()
    labels, scores = (values[image_index][chosen].tolist() for values in (detections.labels, detections.scores))
    return tuple(
        FoundObject(
            label,
            class_names[label - 1],
            scores[index],
            box,
            None if masks is None else masks[index],
            None if keypoints is None else keypoints[index],
        )
        for index, (label, box) in enumerate(zip(labels, boxes.double().cpu().numpy(), strict=True))
        if class_names[label - 1] != unused_class(label)
    )


def mask_of(found: FoundObject) -> np.ndarray:
    """(H, W) bool: the pixels of an object. Raises ValueError if the network has no mask head."""
    if found.mask is None:
        raise ValueError(f"{found.name}: found an object without a mask, expected one from a network with a mask head")
    return run_length.decode([found.mask])[0]
