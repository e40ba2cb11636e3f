"""A COCO-style data set of three pictures that a test can change at one place before it is written."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

HOLE = [[0, 0, 0, 0, 0, 0], [0, 1, 1, 1, 1, 0], [0, 1, 0, 0, 1, 0], [0, 1, 1, 1, 1, 0], [0, 0, 0, 0, 0, 0]]
"""A ring in a picture of 5 x 6 pixels."""


def runs(bitmap: list[list[int]]) -> list[int]:
    """Counts of a bitmap, down the columns, 0 first."""
    pixels = [row[column] for column in range(len(bitmap[0])) for row in bitmap]
    counts, value = [0], 0
    for pixel in pixels:
        if pixel != value:
            counts.append(0)
            value = pixel
        counts[-1] += 1
    return counts


def small_coco() -> dict[str, Any]:
    """The content of the annotation file: categories 7 (cat) and 3 (dog); pictures 30, 10 and 20, the last one empty.

    Picture 30 (b.png, 40 x 60) has a cat of two squares and a crowd of dogs; picture 10 (a.png, 5 x 6) a ring-shaped
    dog as counts and the same as a string.
    """
    crowd = np.zeros((40, 60), int)
    crowd[10:20, 30:50] = 1
    ring = {"size": [5, 6], "counts": runs(HOLE)}
    text = {"size": [5, 6], "counts": "632NO010O0124"}
    return {
        "images": [
            {"id": 30, "file_name": "b.png", "height": 40, "width": 60},
            {"id": 10, "file_name": "a.png", "height": 5, "width": 6},
            {"id": 20, "file_name": "c.png", "height": 8, "width": 8},
        ],
        "categories": [{"id": 7, "name": "cat"}, {"id": 3, "name": "dog"}],
        "annotations": [
            {
                "id": 1, "image_id": 30, "category_id": 7, "bbox": [2, 4, 18, 16], "area": 128, "iscrowd": 0,
                "segmentation": [[2, 4, 10, 4, 10, 12, 2, 12], [12, 12, 20, 12, 20, 20, 12, 20]],
            },
            {
                "id": 2, "image_id": 30, "category_id": 3, "bbox": [30, 10, 20, 10], "area": 200, "iscrowd": 1,
                "segmentation": {"size": [40, 60], "counts": runs(crowd.tolist())},
            },
            {
                "id": 5, "image_id": 10, "category_id": 3, "bbox": [1, 1, 4, 3], "area": 10, "iscrowd": 0,
                "segmentation": ring,
            },
            {
                "id": 6, "image_id": 10, "category_id": 7, "bbox": [1, 1, 4, 3], "area": 10, "iscrowd": 0,
                "segmentation": text,
            },
        ],
    }  # fmt: skip


def write_coco(
    root: Path, content: dict[str, Any] | None = None, annotations: str = "annotations/instances_train2017.json",
    pictures: str = "train2017",
) -> Path:
    """Writes the file and its pictures, of the sizes that it says, below `root`, which is returned."""
    content = small_coco() if content is None else content
    path = root / annotations
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    for number, image in enumerate(content["images"]):
        picture = root / pictures / image["file_name"]
        picture.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (image["height"], image["width"], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(picture)
    return root
