"""The joints of a person, by the names and in the order of COCO, and what names say of left and right."""

from __future__ import annotations

import re
from collections.abc import Sequence

PERSON_KEYPOINTS = (
    "nose",
    "left_eye", "right_eye",
    "left_ear", "right_ear",
    "left_shoulder", "right_shoulder",
    "left_elbow", "right_elbow",
    "left_wrist", "right_wrist",
    "left_hip", "right_hip",
    "left_knee", "right_knee",
    "left_ankle", "right_ankle",
)  # fmt: skip
"""Left and right are the person's own."""

PERSON_SKELETON = (
    ("nose", "left_eye"), ("left_eye", "left_ear"), ("left_ear", "left_shoulder"),
    ("nose", "right_eye"), ("right_eye", "right_ear"), ("right_ear", "right_shoulder"),
    ("left_eye", "right_eye"), ("left_shoulder", "right_shoulder"), ("left_hip", "right_hip"),
    ("left_shoulder", "left_elbow"), ("left_elbow", "left_wrist"),
    ("right_shoulder", "right_elbow"), ("right_elbow", "right_wrist"),
    ("left_shoulder", "left_hip"), ("left_hip", "left_knee"), ("left_knee", "left_ankle"),
    ("right_shoulder", "right_hip"), ("right_hip", "right_knee"), ("right_knee", "right_ankle"),
)  # fmt: skip
"""Pairs of keypoints that a picture joins: the `skeleton` of COCO's category, by names."""

_OTHER_SIDE = {"left": "right", "right": "left"}


def side_of(name: str) -> str:
    """"left", "right" or "middle": where a keypoint is, by the words of its name: left_eye, eye-left, Upper Left."""
    sides = [word for word in _words(name) if word in _OTHER_SIDE]
    return sides[0] if sides else "middle"


def mirrored_names(names: Sequence[str]) -> list[int]:
    """For each of J keypoints the number of the one that a mirror makes of it: of `left_eye` that of `right_eye`."""
    order = []
    for index, name in enumerate(names):
        twin = "".join(_OTHER_SIDE.get(word, word) for word in _words(name))
        matching = [other for other, candidate in enumerate(names) if candidate.lower() == twin]
        order.append(matching[0] if matching else index)
    return order


def _words(name: str) -> list[str]:
    """In small letters, with what stands between them."""
    return re.split("([^a-z]+)", name.lower())
