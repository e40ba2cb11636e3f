"""Draws masks and polygons, and stores what pycocotools makes of them.

    PYTHONPATH=tests python tests/golden/make_golden_run_length.py    (from the repository root, with pycocotools)
"""

from __future__ import annotations

import json
import pathlib
from importlib.metadata import version
from typing import Any

import numpy as np
from pycocotools import mask as pycocotools_mask

FILE = pathlib.Path(__file__).with_name("pycocotools.json")


def draw_inputs() -> dict[str, Any]:
    """Polygons inside and outside of their image, on and off the grid of fifths, crossing themselves, without area, and
    larger by far than the image; masks from empty to full."""
    random = np.random.default_rng(0)
    polygons = []
    for kind, scale in enumerate([30, 30, 30, 300, 5000, 0.5, 30, 30] * 6):
        height, width, count = (int(number) for number in random.integers((1, 1, 3), (40, 40, 10)))
        points = random.uniform(-0.3 * scale, 1.2 * scale, (count, 2))
        if kind % 8 == 1:
            points = points.round()
        elif kind % 8 == 2:
            points = (10 * points).round() / 10
        elif kind % 8 == 6:
            points[:, random.integers(2)] = points[0, 0]  # a line along an axis
        elif kind % 8 == 7:
            points = points.repeat(2, axis=0)
        polygons.append({"height": height, "width": width, "points": points.ravel().tolist()})
    masks = []
    for height, width, share in [(1, 1, 0), (1, 1, 1), (9, 13, 0), (9, 13, 1), (9, 13, 0.5), (1, 30, 0.3), (30, 1, 0.7),
                                 (12, 10, 0.05), (12, 10, 0.95)]:  # fmt: skip
        rows = random.random((height, width)) < share
        masks.append(["".join("01"[int(pixel)] for pixel in row) for row in rows])
    crowd = [0, 1, 0, 0, 1, 0]
    objects = [random.normal(15, 8, (6, 2)).round(2).ravel().tolist() for _ in crowd]
    return {"polygons": polygons, "masks": masks, "objects": objects, "crowd": crowd}


def ask_pycocotools(inputs: dict[str, Any]) -> dict[str, Any]:
    """What pycocotools gives for such inputs."""
    polygons = [
        pycocotools_mask.frPyObjects([case["points"]], case["height"], case["width"])[0]["counts"].decode()
        for case in inputs["polygons"]
    ]
    masks = []
    for rows in inputs["masks"]:
        pixels = np.array([[int(pixel) for pixel in row] for row in rows], dtype=np.uint8)
        masks.append(pycocotools_mask.encode(np.asfortranarray(pixels))["counts"].decode())
    codes = pycocotools_mask.frPyObjects(inputs["objects"], 30, 30)
    return {
        "polygons": polygons,
        "masks": masks,
        "area": pycocotools_mask.area(codes).tolist(),
        "box": pycocotools_mask.toBbox(codes).tolist(),
        "iou": pycocotools_mask.iou(codes, codes, inputs["crowd"]).tolist(),
        "union": pycocotools_mask.merge(codes)["counts"].decode(),
        "intersection": pycocotools_mask.merge(codes[:2], intersect=True)["counts"].decode(),
    }


if __name__ == "__main__":
    drawn = draw_inputs()
    versions = {"pycocotools": version("pycocotools"), "numpy": np.__version__}
    stored = {"versions": versions, "inputs": drawn, "outputs": ask_pycocotools(drawn)}
    FILE.write_text(json.dumps(stored) + "\n")
    print(f"{FILE.name}: {FILE.stat().st_size / 1024:.0f} KB")
