"""Random edits of COCO's annotations and results: read whole and counted, or refused in a line that names the file."""

import json
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from random_edits import CHANGES, EDITS, RANDOM_BYTES, SEARCH, changed, edited
from small_coco import small_coco, write_coco

from maskrcnn.data.coco import COCO
from maskrcnn.data.coco_annotations import read_annotations
from maskrcnn.evaluation.average_precision import average_precision
from maskrcnn.evaluation.coco_results import coco_task, read_results


def with_keypoints() -> dict:
    content = small_coco()
    content["categories"][0] |= {"keypoints": ["a", "b"], "skeleton": [[1, 2]]}
    content["annotations"][0] |= {"keypoints": [4, 5, 2, 0, 0, 0], "num_keypoints": 1}
    content["annotations"][3] |= {"keypoints": [0] * 6, "num_keypoints": 0}
    return content


CONTENT = with_keypoints()
VALID = json.dumps(CONTENT, indent=1).encode()
OUTLINES = [b"\\s*".join(b"%d,?" % number for number in part) for part in CONTENT["annotations"][0]["segmentation"]]
"""Patterns of the polygons in the valid file, wherever lines are broken."""
RESULTS = {
    "bbox": [{"image_id": 30, "category_id": 7, "score": 0.75, "bbox": [2, 4.5, 18, 16]},
             {"image_id": 10, "category_id": 3, "score": 0.5, "bbox": [1, 1, 4, 3]}],
    "segm": [{"image_id": 10, "category_id": 3, "score": 1, "segmentation": {"size": [5, 6], "counts": [8, 14, 8]}},
             {"image_id": 20, "category_id": 7, "score": -2, "segmentation": {"size": [8, 8], "counts": [60, 4]}}],
    "keypoints": [{"image_id": 30, "category_id": 7, "score": 0.5, "keypoints": [1, 2, 2, 3, 4, 0]},
                  {"image_id": 20, "category_id": 7, "score": 0.5, "keypoints": [1, 2.5, 2, 3, 4, 1e3]}],
}  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return write_coco(tmp_path_factory.mktemp("coco"), CONTENT)


def check_message(error: ValueError, path: Path) -> None:
    message = str(error)
    pattern = rf"{re.escape(str(path))}(:[1-9][0-9]*)?: (\w+(\[\d+\]| -?\d+): )?(found|run lengths:) ."
    assert re.match(pattern, message), message
    assert message.isprintable() and len(message) < 500 + len(str(path)), message


def check_annotations(root: Path, content: bytes) -> bool:
    """Whether the content could be read; then every annotation is an object of a sample, or a problem that says so."""
    path = root / "annotations" / "instances_train2017.json"
    path.write_bytes(content)
    with warnings.catch_warnings(action="error"):
        try:
            file = read_annotations(path)
        except ValueError as error:
            check_message(error, path)
            return False
    entries = json.loads(content.decode("utf-8-sig"))["annotations"]
    assert [one.id for one in file.objects] == [entry["id"] for entry in entries]
    for one, entry in zip(file.objects, entries, strict=True):
        assert (one.image_id, one.category_id, one.crowd) == (
            entry["image_id"], entry["category_id"], bool(entry.get("iscrowd", 0)),
        )  # fmt: skip
        assert list(one.box) == entry["bbox"] and one.area == entry["area"]
        if isinstance(one.segmentation, tuple):
            assert [part.ravel().tolist() for part in one.segmentation] == entry["segmentation"]
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            data = COCO(root)
        except ValueError as error:  # a picture of another name is not there
            assert str(error).startswith(f"{path}: found ") and "missing in" in str(error)
            return True
    skipped = [problem for problem in data.problems if problem.skipped]
    assert len(warned) == bool(skipped)
    samples = [data.annotated(index) for index in range(len(data))]
    assert sum(len(sample.labels) for sample in samples) + len(skipped) == len(entries)
    # What still stands in the file is somebody's polygon, or it is said that an object has none.
    polygons = sum(len(one.segmentation) for one in file.objects if isinstance(one.segmentation, tuple))
    said = any("without a mask" in problem.what for problem in data.problems)
    assert sum(bool(re.search(outline, content)) for outline in OUTLINES) <= polygons or said
    assert all(np.isfinite(polygon).all() for sample in samples for polygon in sample.polygons)
    return True


def test_the_valid_file_is_read_whole(root):
    assert check_annotations(root, VALID) and all(re.search(outline, VALID) for outline in OUTLINES)


@SEARCH
@given(content=RANDOM_BYTES)
def test_random_bytes(root, content):
    check_annotations(root, content)


def test_random_edits_of_annotations(root):
    readable = []

    @SEARCH
    @given(EDITS)
    def search(edits):
        readable.append(check_annotations(root, edited(VALID, edits)))

    search()
    assert any(readable) and not all(readable)


def test_hostile_values_in_annotations(root):
    readable = []

    @SEARCH
    @given(CHANGES)
    def search(changes):
        readable.append(check_annotations(root, json.dumps(changed(CONTENT, changes)).encode()))

    search()
    assert any(readable) and not all(readable)


@pytest.mark.parametrize("kind", RESULTS)
def test_results(tmp_path, kind):
    """What is read takes part in the score; and no number of it can spoil the score."""
    (tmp_path / "annotations.json").write_bytes(VALID)
    annotations, path = read_annotations(tmp_path / "annotations.json"), tmp_path / "results.json"
    if kind == "keypoints":  # which all annotations need
        content = CONTENT | {"annotations": [entry for entry in CONTENT["annotations"] if "keypoints" in entry]}
        (tmp_path / "annotations.json").write_text(json.dumps(content))
        annotations = read_annotations(tmp_path / "annotations.json")
    readable = []

    def check(content: bytes) -> bool:
        path.write_bytes(content)
        with warnings.catch_warnings(action="error"):
            try:
                results = read_results(path, annotations, kind)
            except ValueError as error:
                check_message(error, path)
                return False
            assert len(results.scores) == len(json.loads(content.decode("utf-8-sig")))
            task = coco_task(annotations, results, (0.05, 0.05) if kind == "keypoints" else None)
            found, _ = average_precision(task.truths, task.detections, task.overlap, kind, len(task.class_names))
        for number in found.numbers().values():
            assert number is None or 0 <= number <= 1
        return True

    @SEARCH
    @given(EDITS)
    def bytes_of_it(edits):
        readable.append(check(edited(json.dumps(RESULTS[kind], indent=1).encode(), edits)))

    @SEARCH
    @given(CHANGES)
    def values_in_it(changes):
        readable.append(check(json.dumps(changed(RESULTS[kind], changes)).encode()))

    assert check(json.dumps(RESULTS[kind]).encode())
    for search in (bytes_of_it, values_in_it):
        readable.clear()
        search()
        assert any(readable) and not all(readable)
