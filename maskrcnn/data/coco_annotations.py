"""COCO's annotation files: images, categories, and objects with boxes, masks and keypoints.

    {"images":      [{"id", "file_name", "height", "width"}, ...],
     "categories":  [{"id", "name", "keypoints", "skeleton"}, ...],       the last two only where there are keypoints
     "annotations": [{"id", "image_id", "category_id", "bbox": [x, y, width, height], "area", "iscrowd",
                      "segmentation", "keypoints": [x, y, v, ...], "num_keypoints"}, ...]}

Training and scoring both begin here, so both refuse the same files. Nothing is repaired or left out: the first thing
that is wrong is an error that names the file, the annotation, what was found and what was expected. What is not part of
this format is not looked at. (https://cocodataset.org/#format-data)
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath

import numpy as np

from maskrcnn.data.json_records import Records, describe, read_json, without_garbage_collection
from maskrcnn.ops import run_length
from maskrcnn.ops.run_length import RunLengths

Segmentation = tuple[np.ndarray, ...] | RunLengths
"""A mask as the file gives it: polygons (P, 2) float64 whose union it is, or a run-length code of the whole image."""

_MOST_PIXELS = 2**32 - 1
_SEGMENTATION = "a list of polygons or a run-length code"


@dataclass(frozen=True, slots=True)
class CocoCategory:
    """One class of objects."""

    id: int
    name: str
    keypoint_names: tuple[str, ...] = ()
    """Of the J keypoints of each object; empty for a class without."""
    skeleton: tuple[tuple[int, int], ...] = ()
    """Pairs of keypoints that are joined when drawn, counted from 0 (the file counts from 1)."""


@dataclass(frozen=True, slots=True)
class CocoImage:
    """One picture; the file itself is not looked for here."""

    id: int
    file_name: str
    """A relative path with forward slashes that does not leave its folder."""
    height: int
    width: int


@dataclass(frozen=True, slots=True, eq=False)
class CocoObject:
    """One annotation."""

    id: int
    image_id: int
    category_id: int
    box: tuple[float, float, float, float]
    """x, y, width, height in continuous pixels, as COCO has it; neither side is negative."""
    area: float
    """Of the mask, in square pixels: what decides whether an object is small."""
    crowd: bool
    """A region full of objects that nobody told apart."""
    segmentation: Segmentation | None
    """None if the file has none."""
    keypoints: np.ndarray | None
    """(J, 3) float64 x, y, v; v is 0 not labelled, 1 labelled but hidden, 2 visible. None if the file has none."""
    keypoint_count: int
    """How many keypoints have v > 0."""


@dataclass(frozen=True, slots=True, eq=False)
class CocoAnnotations:
    """One file, whole and checked: every id is there once, and what objects refer to exists."""

    path: Path
    categories: tuple[CocoCategory, ...]
    """By rising id, whatever the gaps between the ids."""
    images: tuple[CocoImage, ...]
    """In the order of the file; there may be images without objects."""
    objects: tuple[CocoObject, ...]
    """In the order of the file."""


def read_annotations(path: str | os.PathLike) -> CocoAnnotations:
    """Reads and checks a whole file.

    Raises ValueError, naming file and annotation, for JSON that is damaged or incomplete, missing keys and wrong types,
    duplicate ids, images or categories that do not exist, boxes with a negative side or with anything but finite
    numbers, polygons of fewer than three points or with half a point, run-length codes that do not fit their image, and
    keypoints in another number than the category has names.
    """
    path = Path(path)
    with without_garbage_collection():
        content = read_json(path)
        if not isinstance(content, dict):
            expected = "an object with images, categories and annotations"
            raise ValueError(f"{path}: found {describe(content)}, expected {expected}")
        for key in ("images", "categories", "annotations"):
            if key not in content:
                raise ValueError(f"{path}: found no {key}, expected images, categories and annotations")
        images = _read_images(Records(path, content["images"], "image"))
        categories = _read_categories(Records(path, content["categories"], "category"))
        objects = _read_objects(Records(path, content["annotations"], "annotation"), images, categories)
        return CocoAnnotations(path, categories, images, objects)


def run_lengths(segmentations: Sequence[Segmentation], height: int, width: int) -> list[RunLengths]:
    """The codes of N masks of one image: the pixels that pycocotools would give them, polygons united.

    Raises ValueError for a run-length code of another size.
    """
    polygons = [polygon for mask in segmentations if isinstance(mask, tuple) for polygon in mask]
    parts = iter(run_length.from_polygons(polygons, height, width))
    codes = []
    for mask in segmentations:
        if isinstance(mask, tuple):
            code = run_length.merge([next(parts) for _ in mask]) if len(mask) > 1 else next(parts)
        else:
            code = mask
        if (code.height, code.width) != (height, width):
            raise ValueError(f"found a code of {code.height} x {code.width} pixels, expected {height} x {width}")
        codes.append(code)
    return codes


def read_code(code: dict, height: int, width: int) -> RunLengths:
    """A run-length code as JSON has it, {"size": [height, width], "counts": ...}, for an image of that size.

    The counts are a list of numbers, or COCO's compressed string.
    Raises ValueError (found ..., expected ...) for another size, and for counts that do not add up to it.
    """
    size, counts = code.get("size"), code.get("counts")
    if not isinstance(size, list) or size != [height, width] or set(map(type, size)) != {int}:
        raise ValueError(f"found a run-length code of size {describe(size)}, expected {[height, width]} as its image")
    if isinstance(counts, str):
        return run_length.from_string(counts, height, width)
    if not isinstance(counts, list) or not set(map(type, counts)) <= {int}:
        raise ValueError(f"found counts {describe(counts)}, expected a list of whole numbers or a string")
    return RunLengths(height, width, counts if counts else np.zeros(0, dtype=np.uint32))


def _read_images(records: Records) -> tuple[CocoImage, ...]:
    ids, names = records.ids(), records.texts("file_name")
    for index, name in enumerate(names):
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or not path.parts or ".." in path.parts or ":" in path.parts[0]:
            records.refuse(index, f"file_name {describe(name)}", "a relative path inside of the folder of pictures")
    heights, widths = (records.integers(key, 1, _MOST_PIXELS) for key in ("height", "width"))
    for index, (height, width) in enumerate(zip(heights, widths, strict=True)):
        if height * width > _MOST_PIXELS:
            records.refuse(index, f"{height} x {width} pixels", f"at most {_MOST_PIXELS}")
    return tuple(map(CocoImage, ids, names, heights, widths))


def _read_categories(records: Records) -> tuple[CocoCategory, ...]:
    ids, names = records.ids(), records.texts("name")
    points, skeletons = (records.column(key, "a list", default=[]) for key in ("keypoints", "skeleton"))
    for index, (keypoints, skeleton) in enumerate(zip(points, skeletons, strict=True)):
        if not isinstance(keypoints, list) or not all(isinstance(name, str) for name in keypoints):
            records.refuse(index, f"keypoints {describe(keypoints)}", "a list of names")
        numbers = range(1, len(keypoints) + 1)
        if not isinstance(skeleton, list) or not all(_is_pair(pair, numbers) for pair in skeleton):
            expected = f"pairs of numbers from 1 to {len(keypoints)}, one for each of the keypoints"
            records.refuse(index, f"skeleton {describe(skeleton)}", expected)
    joined = (tuple((first - 1, second - 1) for first, second in skeleton) for skeleton in skeletons)
    categories = map(CocoCategory, ids, names, map(tuple, points), joined)
    return tuple(sorted(categories, key=lambda category: category.id))


def _is_pair(pair: object, numbers: range) -> bool:
    return isinstance(pair, list) and len(pair) == 2 and all(type(one) is int and one in numbers for one in pair)


def _read_objects(
    records: Records, images: Sequence[CocoImage], categories: Sequence[CocoCategory]
) -> tuple[CocoObject, ...]:
    ids = records.ids()
    image_of, category_of = ({entry.id: entry for entry in entries} for entries in (images, categories))
    image_ids, category_ids = (
        references(records, key, known) for key, known in (("image_id", image_of), ("category_id", category_of))
    )
    boxes = read_boxes(records)
    areas = records.numbers("area", "a number, 0 or more", least=0.0)
    crowds = records.integers("iscrowd", 0, 1, default=0)
    segmentations = _read_segmentations(records, [image_of[image_id] for image_id in image_ids])
    keypoints = _read_keypoints(records, [category_of[category_id] for category_id in category_ids])
    return tuple(
        map(
            CocoObject, ids, image_ids, category_ids, map(tuple, boxes.tolist()), areas.tolist(), map(bool, crowds),
            segmentations, *keypoints,
        )
    )  # fmt: skip


def references(records: Records, key: str, known: dict[int, object]) -> list[int]:
    """The ids under a key, all of which are among the keys of `known`. Raises ValueError for one that is not."""
    values = records.integers(key)
    if not known.keys() >= set(values):
        index = next(index for index, value in enumerate(values) if value not in known)
        noun = "image" if key == "image_id" else "category"
        records.refuse(index, f"{key} {values[index]}", f"the id of one of the {len(known)} {noun} entries")
    return values


def read_boxes(records: Records) -> np.ndarray:
    """(N, 4) float64 x, y, width, height under "bbox". Raises ValueError for a negative side, and for no numbers."""
    expected = "four finite numbers x, y, width, height, of which the last two are not negative"
    numbers, _ = records.coordinates("bbox", records.column("bbox", expected), range(len(records)), expected, 4)
    boxes = numbers.reshape(-1, 4)
    for index in np.flatnonzero((boxes[:, 2:] < 0).any(axis=1))[:1]:
        records.refuse(index, f"bbox {boxes[index].tolist()}", expected)
    return boxes


def _read_segmentations(records: Records, images: Sequence[CocoImage]) -> list[Segmentation | None]:
    """Checked masks, of all polygons at once."""
    masks: list[Segmentation | None] = [None] * len(records)
    polygons, owners = [], []
    for index, segmentation in enumerate(records.column("segmentation", _SEGMENTATION, default=None)):
        if isinstance(segmentation, list):
            polygons += segmentation
            owners += [index] * len(segmentation)
        elif isinstance(segmentation, dict):
            try:
                masks[index] = read_code(segmentation, images[index].height, images[index].width)
            except ValueError as error:
                raise records.error(index, str(error)) from None
        elif segmentation is not None:
            records.refuse(index, f"segmentation {describe(segmentation)}", _SEGMENTATION)
    expected = "a list x, y, x, y ... of the coordinates of at least three points"
    numbers, offsets = records.coordinates("polygon", polygons, owners, expected)
    lengths = np.diff(offsets)
    for index in np.flatnonzero((lengths < 6) | (lengths % 2 == 1))[:1]:
        records.refuse(owners[index], f"a polygon of {lengths[index]} numbers", expected)
    points = numbers.reshape(-1, 2)
    parts: dict[int, list[np.ndarray]] = {}
    for owner, (start, end) in zip(owners, pairwise((offsets // 2).tolist()), strict=True):
        parts.setdefault(owner, []).append(points[start:end])
    for owner, arrays in parts.items():
        masks[owner] = tuple(arrays)
    return masks


def _read_keypoints(
    records: Records, categories: Sequence[CocoCategory]
) -> tuple[list[np.ndarray | None], list[int]]:
    """Keypoints and how many are labelled, of each object."""
    column = records.column("keypoints", "a list", default=None)
    owners = [index for index, keypoints in enumerate(column) if keypoints is not None]
    expected = "finite numbers x, y, v for each keypoint, v being 0, 1 or 2"
    numbers, offsets = records.coordinates("keypoints", [column[index] for index in owners], owners, expected)
    found: list[np.ndarray | None] = [None] * len(records)
    counts = [0] * len(records)
    for owner, (start, end) in zip(owners, pairwise(offsets.tolist()), strict=True):
        names = len(categories[owner].keypoint_names)
        if (end - start) % 3 or (names and end - start != 3 * names):
            named = f"{3 * names}, for the {names} names of category {categories[owner].id}"
            records.refuse(owner, f"{end - start} numbers as keypoints", named if names else "x, y, v for each")
        found[owner] = numbers[start:end].reshape(-1, 3)
    labelled = numbers[2::3] > 0
    for place in np.flatnonzero(~np.isin(numbers[2::3], (0, 1, 2)))[:1]:
        owner = owners[int(np.searchsorted(offsets, 3 * place, side="right")) - 1]
        records.refuse(owner, f"v {numbers[3 * place + 2]:g} in the keypoints", "0, 1 or 2")
    before = np.concatenate([[0], np.cumsum(labelled)])
    for owner, count in zip(owners, (before[offsets[1:] // 3] - before[offsets[:-1] // 3]).tolist(), strict=True):
        counts[owner] = count
    for index, declared in enumerate(records.column("num_keypoints", "a whole number", default=None)):
        if declared is not None and column[index] is not None and declared != counts[index]:
            expected = f"{counts[index]}, as many as have v > 0"
            records.refuse(index, f"num_keypoints {describe(declared)}", expected)
    return found, counts
