"""The joints of a person, by the names and in the order of COCO, and the lines that make a figure of them."""

from __future__ import annotations

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
