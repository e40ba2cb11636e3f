"""COCO's result files: what is read, what becomes of it, and what is refused."""

import copy
import json

import numpy as np
import pytest

from maskrcnn.data.coco_annotations import read_annotations
from maskrcnn.evaluation.average_precision import average_precision
from maskrcnn.evaluation.coco_results import coco_task, keypoint_total, read_results

ANNOTATIONS = {
    "images": [
        {"id": 20, "file_name": "b.jpg", "height": 40, "width": 40},
        {"id": 10, "file_name": "a.jpg", "height": 3, "width": 4},
    ],
    "categories": [
        {"id": 5, "name": "bird", "keypoints": ["beak", "tail"]},
        {"id": 3, "name": "cat", "keypoints": ["nose", "tail"]},
    ],
    "annotations": [
        {"id": 0, "image_id": 20, "category_id": 5, "bbox": [10, 10, 20, 20], "area": 400, "iscrowd": 0,
         "segmentation": [[10, 10, 30, 10, 30, 30, 10, 30]], "keypoints": [12, 12, 2, 28, 28, 1]},
        {"id": 1, "image_id": 10, "category_id": 3, "bbox": [1, 0, 2, 3], "area": 4, "iscrowd": 1,
         "segmentation": {"size": [3, 4], "counts": [4, 4, 4]}, "keypoints": [0, 0, 0, 0, 0, 0]},
    ],
}  # fmt: skip
SHAPES = {
    "bbox": {"bbox": [10, 10, 20, 10]},
    "segm": {"segmentation": {"size": [40, 40], "counts": [400, 800, 400]}},
    "keypoints": {"keypoints": [12, 12, 0.9, 28, 20, 0.1]},
}


def result(kind, **changes):
    return {"image_id": 20, "category_id": 5, "score": 0.5} | copy.deepcopy(SHAPES[kind]) | changes


@pytest.fixture
def truth(tmp_path):
    (tmp_path / "truth.json").write_text(json.dumps(ANNOTATIONS))
    return read_annotations(tmp_path / "truth.json")


def read(tmp_path, truth, kind, results):
    path = tmp_path / "results.json"
    path.write_text(results if isinstance(results, str) else json.dumps(results))
    return read_results(path, truth, kind)


@pytest.mark.parametrize("kind, area", [("bbox", 200), ("segm", 800), ("keypoints", 128)])
def test_areas_are_those_of_the_shapes(tmp_path, truth, kind, area):
    found = read(tmp_path, truth, kind, [result(kind)])
    assert (found.areas.tolist(), found.scores.tolist()) == ([area], [0.5])
    assert (found.image_ids.tolist(), found.category_ids.tolist()) == ([20], [5])


def test_keypoints_take_their_area_from_boxes_if_there_are_any(tmp_path, truth):
    found = read(tmp_path, truth, "keypoints", [result("keypoints", bbox=[0, 0, 5, 6])])
    assert found.areas.tolist() == [30]


def test_tables_number_pictures_and_classes_by_rising_id(tmp_path, truth):
    task = coco_task(truth, read(tmp_path, truth, "bbox", [result("bbox")]))
    assert task.class_names == ("cat", "bird")
    assert (task.truths.image.tolist(), task.truths.category.tolist()) == ([1, 0], [1, 0])
    assert (task.detections.image.tolist(), task.detections.category.tolist()) == ([1], [1])
    assert task.truths.crowd.tolist() == task.truths.ignore.tolist() == [False, True]


def test_without_labelled_keypoints_an_object_is_ignored_but_is_no_crowd(tmp_path, truth):
    content = copy.deepcopy(ANNOTATIONS)
    content["annotations"][0]["keypoints"] = [0] * 6
    (tmp_path / "unlabelled.json").write_text(json.dumps(content))
    unlabelled = read_annotations(tmp_path / "unlabelled.json")
    for kind, expected in (("keypoints", True), ("bbox", False)):
        task = coco_task(unlabelled, read(tmp_path, truth, kind, [result(kind)]), [0.1, 0.1])
        assert (task.truths.ignore[0], task.truths.crowd[0]) == (expected, False)


@pytest.mark.parametrize("kind", SHAPES)
def test_perfect_and_empty_results(tmp_path, truth, kind):
    shape = {"bbox": {"bbox": [10, 10, 20, 20]}, "segm": {}, "keypoints": {"keypoints": [12, 12, 1, 28, 28, 1]}}[kind]
    if kind == "segm":
        counts = [10 * 40 + 10, *([20, 20] * 19), 20, 10 * 40 + 10]
        shape = {"segmentation": {"size": [40, 40], "counts": counts}}
    for results, expected in (([result(kind, **shape)], 1.0), ([], 0.0)):
        task = coco_task(truth, read(tmp_path, truth, kind, results), [0.1, 0.1])
        scored, _ = average_precision(task.truths, task.detections, task.overlap, kind, 2)
        assert scored.numbers()["AP"] == expected


MISTAKES = [
    ("bbox", {"image_id": 99}, "found image_id 99, expected the id of one of the 2 image entries"),
    ("bbox", {"image_id": "20"}, "found image_id '20', expected a whole number"),
    ("bbox", {"category_id": 4}, "found category_id 4, expected the id of one of the 2 category entries"),
    ("bbox", {"category_id": ...}, "found no category_id, expected a whole number"),
    ("bbox", {"score": float("nan")}, "found score NaN, expected a finite number"),
    ("bbox", {"score": float("inf")}, "found score Infinity, expected a finite number"),
    ("bbox", {"score": "0.5"}, "found score '0.5', expected a finite number"),
    ("bbox", {"score": ...}, "found no score, expected a finite number"),
    ("bbox", {"bbox": ...}, "found no bbox, expected four finite numbers"),
    ("bbox", {"bbox": [1, 2, -3, 4]}, "found bbox [1.0, 2.0, -3.0, 4.0], expected four finite numbers"),
    ("bbox", {"bbox": [1, 2, 3, float("nan")]}, "found bbox [1, 2, 3, nan], expected four finite numbers"),
    ("bbox", {"bbox": [1, 2, 3]}, "found bbox [1, 2, 3], expected four finite numbers"),
    ("segm", {"segmentation": ...}, 'found no segmentation, expected a run-length code {"size"'),
    ("segm", {"segmentation": [[1, 1, 4, 1, 4, 4]]}, "found segmentation [[1, 1, 4, 1, 4, 4]], expected a run-length"),
    ("segm", {"image_id": 10}, "found a run-length code of size [40, 40], expected [3, 4] as its image"),
    ("segm", {"segmentation": {"size": [40, 40], "counts": [1, 2]}}, "run lengths: the counts add up to 3 pixels"),
    ("segm", {"segmentation": {"size": [40, 40], "counts": "~"}}, "run lengths: character 0 is not one of"),
    ("keypoints", {"keypoints": [1, 2, 0]}, "found keypoints [1, 2, 0], expected 6 finite numbers x, y, v of 2 keypoi"),
    ("keypoints", {"keypoints": [1, 2, 0, 1, float("nan"), 0]}, "found keypoints [1, 2, 0, 1, nan, 0], expected 6 fin"),
    ("keypoints", {"bbox": ...}, "found no bbox, expected four finite numbers"),
]  # fmt: skip


@pytest.mark.parametrize("kind, changes, message", MISTAKES)
def test_what_is_wrong_is_named(tmp_path, truth, kind, changes, message):
    """The second of three results; of keypoints all have boxes, for the one that has none."""
    boxes = {"bbox": [0, 0, 5, 5]} if kind == "keypoints" and "bbox" in changes else {}
    results = [result(kind, **boxes) for _ in range(3)]
    results[1] = {key: value for key, value in (results[1] | changes).items() if value is not ...}
    with pytest.raises(ValueError) as error:
        read(tmp_path, truth, kind, results)
    assert str(error.value).startswith(f"{tmp_path / 'results.json'}: result[1]: {message}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "content, message",
    [
        ('[{"image_id": 20,\n"cat', ":2: found damaged or incomplete JSON ("),
        ("{}", ": found {}, expected a list of results"),
        ("[[]]", ": result[0]: found [], expected an object"),
        ('[{"score": 1, "score": 0}]', ": found damaged or incomplete JSON (key 'score' twice in one object)"),
    ],
)
def test_files_that_are_no_results(tmp_path, truth, content, message):
    with pytest.raises(ValueError) as error:
        read(tmp_path, truth, "bbox", content)
    assert str(error.value).startswith(f"{tmp_path / 'results.json'}{message}")


def test_annotations_without_what_is_scored(tmp_path):
    content = copy.deepcopy(ANNOTATIONS)
    for one in content["annotations"]:
        one.pop("segmentation")
    content["annotations"][0].pop("keypoints")
    (tmp_path / "boxes.json").write_text(json.dumps(content))
    boxes = read_annotations(tmp_path / "boxes.json")
    with pytest.raises(ValueError, match=r"annotation 0: found no segmentation, expected a mask"):
        coco_task(boxes, read(tmp_path, boxes, "segm", [result("segm")]))
    with pytest.raises(ValueError, match=r"annotation 0: found no keypoints, expected them"):
        coco_task(boxes, read(tmp_path, boxes, "keypoints", [result("keypoints")]), [0.1, 0.1])


def test_keypoints_must_be_as_many_everywhere(tmp_path, truth):
    found = read(tmp_path, truth, "keypoints", [result("keypoints")])
    with pytest.raises(ValueError, match=r"found 2 keypoints and 17 sigmas, expected as many \(--sigmas\)"):
        coco_task(truth, found)
    with pytest.raises(ValueError, match=r"sigmas: found \[0.1, 0.0\], expected numbers above 0"):
        coco_task(truth, found, [0.1, 0.0])
    content = copy.deepcopy(ANNOTATIONS)
    content["categories"][1] = {"id": 3, "name": "cat"}
    content["annotations"][1]["keypoints"] = [0] * 9
    (tmp_path / "mixed.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="found objects of 2 and 3 keypoints, expected the same"):
        keypoint_total(read_annotations(tmp_path / "mixed.json"))
    for one in (*content["categories"], *content["annotations"]):
        one.pop("keypoints", None)
    (tmp_path / "none.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="found no keypoints, expected the same number"):
        keypoint_total(read_annotations(tmp_path / "none.json"))


def test_scores_may_be_any_numbers(tmp_path, truth):
    found = read(tmp_path, truth, "bbox", [result("bbox", score=score) for score in (-7, 1e300, 3.5)])
    assert found.scores.dtype == np.float64 and found.scores.tolist() == [-7, 1e300, 3.5]
