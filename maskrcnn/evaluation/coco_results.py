"""COCO's result files, and scoring one against annotations.

    [{"image_id", "category_id", "score", "bbox": [x, y, width, height]}, ...]                 boxes
    [{"image_id", "category_id", "score", "segmentation": {"size", "counts"}}, ...]            masks
    [{"image_id", "category_id", "score", "keypoints": [x, y, v, ...]}, ...]                   keypoints

One mistake anywhere and nothing is scored: a number that leaves out a part of the results would look like any other.
(https://cocodataset.org/#format-results)
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maskrcnn.data.coco_annotations import CocoAnnotations, read_boxes, read_code, references, run_lengths
from maskrcnn.data.json_records import Records, describe, read_json, without_garbage_collection
from maskrcnn.evaluation.average_precision import Kind
from maskrcnn.evaluation.coco_matching import DetectionTable, Overlap, TruthTable
from maskrcnn.evaluation.coco_overlaps import PERSON_SIGMAS, box_overlap, keypoint_overlap, mask_overlap
from maskrcnn.ops import run_length
from maskrcnn.ops.run_length import RunLengths

_CODE = 'a run-length code {"size": [height, width], "counts": ...}'


@dataclass(frozen=True, eq=False)
class CocoResults:
    """The D detections of one file, whole and checked against the annotations."""

    path: Path
    kind: Kind
    image_ids: np.ndarray
    """(D,) int64."""
    category_ids: np.ndarray
    """(D,) int64."""
    scores: np.ndarray
    """(D,) float64, any finite numbers."""
    areas: np.ndarray
    """(D,) float64: of the box; of the mask; of the box around the keypoints."""
    shapes: np.ndarray | list[RunLengths]
    """Boxes (D, 4) x, y, width, height; D masks; or keypoints (D, J, 3)."""


@dataclass(frozen=True, eq=False)
class CocoTask:
    """Everything that `maskrcnn.evaluation.average_precision` needs to know about annotations and results."""

    truths: TruthTable
    detections: DetectionTable
    overlap: Overlap
    kind: Kind
    class_names: tuple[str, ...]


def read_results(path: str | os.PathLike, annotations: CocoAnnotations, kind: Kind) -> CocoResults:
    """Reads and checks a whole result file.

    A mask's area is that of its pixels, also where the result carries a box. The area of keypoints is that of "bbox"
    if the results carry one, and otherwise that of the box around all of them.

    Raises ValueError, naming file and result (the first is 0), for JSON that is damaged or incomplete, missing keys and
    wrong types, pictures or classes that the annotations do not have, boxes with a negative side, run-length codes that
    do not fit their picture, keypoints in another number than the class has, and anything but finite numbers.
    """
    path = Path(path)
    with without_garbage_collection():
        records = Records(path, read_json(path), "result")
        images = {image.id: image for image in annotations.images}
        categories = {category.id: category for category in annotations.categories}
        image_ids = references(records, "image_id", images)
        category_ids = references(records, "category_id", categories)
        scores = records.numbers("score", "a finite number")
        if kind == "bbox":
            shapes = read_boxes(records)
            areas = shapes[:, 2] * shapes[:, 3]
        elif kind == "segm":
            shapes = _read_masks(records, [(images[one].height, images[one].width) for one in image_ids])
            areas = run_length.area(shapes).astype(np.float64)
        else:
            shapes = _read_keypoints(records, keypoint_total(annotations))
            areas = _keypoint_areas(records, shapes)
    ids = (np.array(column, dtype=np.int64) for column in (image_ids, category_ids))
    return CocoResults(path, kind, *ids, scores, areas, shapes)


def coco_task(annotations: CocoAnnotations, results: CocoResults, sigmas: Sequence[float] | None = None) -> CocoTask:
    """Puts annotations and results into the tables that are scored.

    Args:
        annotations: what there is to be found.
        results: what was found, read with these annotations.
        sigmas: (J,) of the keypoints, for others than COCO's 17 of a person.

    Raises ValueError if an annotation has no mask or keypoints and these are scored, and for another number of sigmas
    than of keypoints.
    """
    objects = annotations.objects
    image_ids = np.array(sorted(image.id for image in annotations.images), dtype=np.int64)
    category_ids = np.array([category.id for category in annotations.categories], dtype=np.int64)
    crowd, ignore = (
        np.array([test(one) for one in objects], dtype=bool)
        for test in (lambda one: one.crowd, lambda one: results.kind == "keypoints" and one.keypoint_count == 0)
    )
    boxes = np.array([one.box for one in objects], dtype=np.float64).reshape(-1, 4)
    truths = TruthTable(
        np.searchsorted(image_ids, [one.image_id for one in objects]),
        np.searchsorted(category_ids, [one.category_id for one in objects]),
        np.array([one.area for one in objects], dtype=np.float64),
        crowd,
        ignore | crowd,
    )
    detections = DetectionTable(
        np.searchsorted(image_ids, results.image_ids),
        np.searchsorted(category_ids, results.category_ids),
        results.areas,
        results.scores,
    )
    if results.kind == "bbox":
        overlap = box_overlap(results.shapes, boxes, crowd)
    elif results.kind == "segm":
        overlap = mask_overlap(results.shapes, _masks(annotations), crowd)
    else:
        keypoints = _keypoints(annotations)
        sigmas = _checked_sigmas(annotations.path, sigmas, keypoint_total(annotations))
        overlap = keypoint_overlap(results.shapes, keypoints, boxes, truths.area, sigmas)
    names = tuple(category.name for category in annotations.categories)
    return CocoTask(truths, detections, overlap, results.kind, names)


def keypoint_total(annotations: CocoAnnotations) -> int:
    """J: how many keypoints every object of a file has. Raises ValueError if they differ, or if there are none."""
    totals = {len(category.keypoint_names) for category in annotations.categories if category.keypoint_names}
    totals |= {len(one.keypoints) for one in annotations.objects if one.keypoints is not None}
    if len(totals) != 1:
        found = f"objects of {' and '.join(map(str, sorted(totals)))} keypoints" if totals else "no keypoints"
        raise ValueError(f"{annotations.path}: found {found}, expected the same number of every object")
    return totals.pop()


def _masks(annotations: CocoAnnotations) -> list[RunLengths]:
    """The code of each object, drawn image by image."""
    images = {image.id: image for image in annotations.images}
    members: dict[int, list[int]] = {}
    for index, one in enumerate(annotations.objects):
        if one.segmentation is None:
            raise ValueError(f"{annotations.path}: annotation {one.id}: found no segmentation, expected a mask")
        members.setdefault(one.image_id, []).append(index)
    codes: dict[int, RunLengths] = {}
    for image_id, indices in members.items():
        masks = [annotations.objects[index].segmentation for index in indices]
        codes.update(zip(indices, run_lengths(masks, images[image_id].height, images[image_id].width), strict=True))
    return [codes[index] for index in range(len(annotations.objects))]


def _keypoints(annotations: CocoAnnotations) -> np.ndarray:
    """(G, J, 3) of each object."""
    for one in annotations.objects:
        if one.keypoints is None:
            raise ValueError(f"{annotations.path}: annotation {one.id}: found no keypoints, expected them to be scored")
    total = keypoint_total(annotations)
    return np.array([one.keypoints for one in annotations.objects], dtype=np.float64).reshape(-1, total, 3)


def _checked_sigmas(path: Path, sigmas: Sequence[float] | None, total: int) -> np.ndarray:
    given = PERSON_SIGMAS if sigmas is None else np.asarray(sigmas, dtype=np.float64)
    if given.shape != (total,):
        raise ValueError(f"{path}: found {total} keypoints and {len(given)} sigmas, expected as many (--sigmas)")
    if not (np.isfinite(given) & (given > 0)).all():
        raise ValueError(f"sigmas: found {given.tolist()}, expected numbers above 0")
    return given


def _read_masks(records: Records, sizes: Sequence[tuple[int, int]]) -> list[RunLengths]:
    codes = []
    for index, (value, size) in enumerate(zip(records.column("segmentation", _CODE), sizes, strict=True)):
        if not isinstance(value, dict):
            records.refuse(index, f"segmentation {describe(value)}", _CODE)
        try:
            codes.append(read_code(value, *size))
        except ValueError as error:
            raise records.error(index, str(error)) from None
    return codes


def _read_keypoints(records: Records, total: int) -> np.ndarray:
    """(D, J, 3)."""
    expected = f"{3 * total} finite numbers x, y, v of {total} keypoints"
    lists = records.column("keypoints", expected)
    numbers, _ = records.coordinates("keypoints", lists, range(len(records)), expected, 3 * total)
    return numbers.reshape(-1, total, 3)


def _keypoint_areas(records: Records, keypoints: np.ndarray) -> np.ndarray:
    with_box = sum("bbox" in record for record in records.records)
    if with_box:  # and if one has none, reading says which
        return read_boxes(records)[:, 2:].prod(axis=1)
    extent = keypoints[..., :2].max(axis=1) - keypoints[..., :2].min(axis=1)
    return extent.prod(axis=1)
