"""Scoring beside pycocotools, on random annotations and results: `python -m maskrcnn bench evaluate`."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from maskrcnn.benchmarks.comparison import Comparison, installed
from maskrcnn.data.coco_annotations import read_annotations
from maskrcnn.evaluation.average_precision import Kind, average_precision
from maskrcnn.evaluation.coco_results import coco_task, read_results
from maskrcnn.ops import run_length

SIZES: dict[Kind, int] = {"bbox": 5_000, "segm": 500}
"""Pictures of each kind."""
ROUNDS = 2
CLASSES, OBJECTS, DETECTIONS = 80, 7, 100
"""Classes in all; objects and detections of a picture, about as in COCO's validation set."""
HEIGHT, WIDTH = 480, 640


def comparisons(images: int | None = None) -> Iterator[Comparison]:
    """Boxes, then masks, of as many pictures as SIZES says, or of `images`.

    Both sides begin with the same two files and end with the twelve numbers.
    """
    evaluation = installed("pycocotools.cocoeval")
    for kind, size in SIZES.items():
        count = size if images is None else images
        annotations, results = draw(kind, count)
        with tempfile.TemporaryDirectory() as folder:  # for as long as the comparison is being measured
            truth, found = Path(folder) / "annotations.json", Path(folder) / "results.json"
            truth.write_text(json.dumps(annotations))
            found.write_text(json.dumps(results))
            yield Comparison(
                f"{kind} AP of {count:,} pictures, {DETECTIONS} detections each, {CLASSES} classes",
                "pycocotools",
                _ours(truth, found, kind),
                _theirs(truth, found, kind) if evaluation else None,
                bytes_moved=float(truth.stat().st_size + found.stat().st_size),
                operations=40.0 * len(results),  # each has an outcome at ten thresholds for four ranges of areas
            )


def draw(kind: Kind, images: int, seed: int = 0) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Annotations and results as their JSON files hold them.

    Objects are ellipses, or the boxes around them. Of the detections of a picture half lie near one of its objects and
    mostly have its class; the others lie anywhere.
    """
    random = np.random.default_rng(seed)
    truth_boxes = _boxes(random, images * OBJECTS)
    truth_class = random.integers(1, CLASSES + 1, images * OBJECTS)
    truth_image = np.repeat(np.arange(1, images + 1), OBJECTS)
    near = random.integers(0, OBJECTS, (images, DETECTIONS)) + OBJECTS * np.arange(images)[:, None]
    near = near.ravel()
    close = random.random(len(near)) < 0.5
    boxes = np.where(close[:, None], truth_boxes[near], _boxes(random, len(near)))
    boxes += random.normal(0, 0.08, boxes.shape) * boxes[:, [2, 3, 2, 3]]
    boxes[:, 2:] = np.maximum(boxes[:, 2:], 1)
    same = close & (random.random(len(near)) < 0.8)
    classes = np.where(same, truth_class[near], random.integers(1, CLASSES + 1, len(near)))
    scores = random.random(len(near)).round(4)
    crowd = (random.random(len(truth_class)) < 0.01).astype(int)

    annotations = [
        {"id": index + 1, "image_id": image, "category_id": category, "bbox": box, "area": box[2] * box[3],
         "iscrowd": flag, **_mask(kind, box, "annotation")}
        for index, (image, category, box, flag) in enumerate(
            zip(truth_image.tolist(), truth_class.tolist(), truth_boxes.round(2).tolist(), crowd.tolist(), strict=True)
        )
    ]  # fmt: skip
    results = [
        {"image_id": image, "category_id": category, "score": score,
         **({"bbox": box} if kind == "bbox" else _mask(kind, box, "result"))}
        for image, category, score, box in zip(
            truth_image[near].tolist(), classes.tolist(), scores.tolist(), boxes.round(2).tolist(), strict=True
        )
    ]  # fmt: skip
    pictures = [{"id": i, "file_name": f"{i}.jpg", "height": HEIGHT, "width": WIDTH} for i in range(1, images + 1)]
    categories = [{"id": index, "name": f"class {index}"} for index in range(1, CLASSES + 1)]
    return {"images": pictures, "categories": categories, "annotations": annotations}, results


def _boxes(random: np.random.Generator, count: int) -> np.ndarray:
    """(N, 4) x, y, width, height; sides from 8 to 300 pixels, small ones as frequent as large ones."""
    sides = np.exp(random.uniform(np.log(8), np.log(300), (count, 2)))
    return np.concatenate([random.uniform(0, [WIDTH, HEIGHT] - sides), sides], axis=1)


def _mask(kind: Kind, box: list[float], whose: str) -> dict[str, Any]:
    """The ellipse in a box: as a polygon in annotations, as a run-length code in results."""
    if kind != "segm":
        return {}
    x, y, width, height = box
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    outline = np.stack([x + width * (1 + np.cos(angle)) / 2, y + height * (1 + np.sin(angle)) / 2], axis=1)
    if whose == "annotation":
        return {"segmentation": [outline.round(2).ravel().tolist()]}
    (code,) = run_length.from_polygons([outline], HEIGHT, WIDTH)
    return {"segmentation": {"size": [HEIGHT, WIDTH], "counts": run_length.to_string(code)}}


def _ours(truth: Path, found: Path, kind: Kind) -> Callable[[], list[float | None]]:
    def run() -> list[float | None]:
        annotations = read_annotations(truth)
        task = coco_task(annotations, read_results(found, annotations, kind))
        result, _ = average_precision(task.truths, task.detections, task.overlap, kind, len(task.class_names))
        return list(result.numbers().values())

    return run


def _theirs(truth: Path, found: Path, kind: Kind) -> Callable[[], list[float]]:
    coco, evaluation = (importlib.import_module(f"pycocotools.{name}") for name in ("coco", "cocoeval"))

    def run() -> list[float]:
        with contextlib.redirect_stdout(io.StringIO()):
            annotations = coco.COCO(str(truth))
            scored = evaluation.COCOeval(annotations, annotations.loadRes(str(found)), kind)
            scored.evaluate()
            scored.accumulate()
            scored.summarize()
        return scored.stats.tolist()

    return run
