"""Result files of COCO and their scores, of a detector that answers with the truth or nearly so."""

import json
from dataclasses import replace

import numpy as np
import pytest
from small_coco import small_coco, write_coco
from test_coco import with_keypoints

from maskrcnn.config import Config, KeypointHeadConfig, MaskHeadConfig, ModelConfig
from maskrcnn.data.coco import COCO
from maskrcnn.detector import Found
from maskrcnn.evaluate_objects import (
    category_ids,
    check_keypoints,
    find_objects,
    result_kinds,
    score_results,
    write_results,
)
from maskrcnn.objects import FoundObject
from maskrcnn.ops import run_length
from maskrcnn.ops.run_length import RunLengths

CLASSES = ("cat", "dog")
"""Another order than that of the ids, as in weights that learnt from other data."""


class KnowsTheTruth:
    """Answers each picture, known by its size, with its own annotations; for those in `wrong`, with empty masks."""

    def __init__(self, data: COCO, wrong: tuple[int, ...] = ()) -> None:
        self.answers = {}
        for index in range(len(data)):
            sample = data.annotated(index)
            height, width = sample.image.shape[:2]
            found = []
            for label, parts, box in zip(sample.labels, sample.parts, sample.boxes, strict=True):
                name = data.class_names[label - 1]
                code, score = run_length.merge(run_length.from_polygons(parts, height, width)), 0.9
                if data.image_ids[index] in wrong:
                    code, score = RunLengths(height, width, np.array([height * width])), 0.8
                found.append(FoundObject(CLASSES.index(name) + 1, name, score, box, code, None))
            self.answers[height, width] = tuple(found)

    def __call__(self, image: np.ndarray, score_threshold: float) -> Found:
        assert score_threshold == 0.0, "average precision asks for everything"
        return Found(image, None, objects=self.answers[image.shape[:2]])


@pytest.fixture
def data(tmp_path) -> COCO:
    return COCO(write_coco(tmp_path / "data"))


def test_a_class_that_no_training_has_seen_needs_no_category(data):
    ids = dict(zip(data.class_names, data.category_ids, strict=True))
    assert category_ids(("cat", "unused 2", "dog"), data) == (ids["cat"], 0, ids["dog"])
    with pytest.raises(ValueError, match="found no category for 1 of the 3 classes of the weights: unused 7"):
        category_ids(("cat", "unused 7", "dog"), data)  # not the name that its place would have


def test_the_truth_scores_one(data, tmp_path):
    told = []
    found = find_objects(KnowsTheTruth(data), data, lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]
    paths = write_results(found.objects, data, category_ids(CLASSES, data), ("bbox", "segm"), tmp_path)
    for kind in ("bbox", "segm"):
        numbers = score_results(paths[kind], data, kind).numbers()
        assert numbers["AP"] == numbers["AP50"] == numbers["AR100"] == pytest.approx(1.0)
        assert numbers["APl"] is None  # nothing is as large


def test_result_files_by_hand(data, tmp_path):
    found = find_objects(KnowsTheTruth(data), data)
    paths = write_results(found.objects, data, category_ids(CLASSES, data), ("bbox", "segm"), tmp_path)
    assert paths == {"bbox": tmp_path / "bbox.json", "segm": tmp_path / "segm.json"}
    boxes, masks = (json.loads(path.read_text()) for path in paths.values())
    # Ids of the file, not numbers of pictures or labels: 30 and 10 are pictures, 7 the cat, 3 the dog.
    assert [(record["image_id"], record["category_id"]) for record in boxes] == [(30, 7), (30, 3), (10, 3), (10, 7)]
    assert boxes[0] == {"image_id": 30, "category_id": 7, "score": 0.9, "bbox": [2, 4, 18, 16]}
    assert masks[2] == {
        "image_id": 10, "category_id": 3, "score": 0.9,
        "segmentation": {"size": [5, 6], "counts": small_coco()["annotations"][3]["segmentation"]["counts"]},
    }  # fmt: skip
    assert not any("bbox" in record for record in masks)


def test_masks_are_scored_as_masks(data, tmp_path):
    """In picture 10 the boxes are right and the masks are empty."""
    found = find_objects(KnowsTheTruth(data, wrong=(10,)), data)
    paths = write_results(found.objects, data, category_ids(CLASSES, data), ("bbox", "segm"), tmp_path)
    scores = {kind: score_results(path, data, kind).numbers()["AP"] for kind, path in paths.items()}
    # Of the cats, one of two is found, with full precision up to recall 0.5; the only dog that counts is missed.
    assert scores == {"bbox": pytest.approx(1.0), "segm": pytest.approx(51 / 101 / 2)}


def test_a_picture_that_cannot_be_read_counts_as_one_in_which_nothing_was_found(data, tmp_path):
    """Otherwise the average precision of 1.0 that the others have would stay."""
    detector = KnowsTheTruth(data)
    (tmp_path / "data" / "train2017" / "a.png").unlink()
    told = []
    found = find_objects(detector, data, lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)] and list(map(len, found.objects)) == [2, 0, 0]
    assert found.unreadable == {1: "a.png: found no such file, expected a picture"}
    paths = write_results(found.objects, data, category_ids(CLASSES, data), ("bbox",), tmp_path)
    assert {record["image_id"] for record in json.loads(paths["bbox"].read_text())} == {30}
    # Of the cats, one of two is found, with full precision up to recall 0.5; the only dog that counts is missed.
    assert score_results(paths["bbox"], data, "bbox").numbers()["AP"] == pytest.approx(51 / 101 / 2)


def test_nothing_found_scores_nothing_but_is_scored(data, tmp_path):
    paths = write_results([()] * 3, data, category_ids(CLASSES, data), ("bbox", "segm"), tmp_path)
    assert all(json.loads(path.read_text()) == [] for path in paths.values())
    assert [score_results(path, data, kind).numbers()["AP"] for kind, path in paths.items()] == [0.0, 0.0]


def test_keypoints_are_written_with_a_visibility(data, tmp_path):
    points = np.array([[1.5, 2.5, 7.0], [3.0, 4.0, -1.0]])
    found = [(FoundObject(1, "cat", 0.5, np.array([0.0, 0, 4, 5]), None, points),), (), ()]
    path = write_results(found, data, (7, 3), ("keypoints",), tmp_path)["keypoints"]
    expected = {"image_id": 30, "category_id": 7, "score": 0.5, "keypoints": [1.5, 2.5, 1, 3.0, 4.0, 1]}
    assert json.loads(path.read_text()) == [expected]


def test_kinds_of_results_follow_from_the_network():
    assert result_kinds(ModelConfig()) == ("bbox", "segm")
    without_masks = ModelConfig(mask_head=MaskHeadConfig(enabled=False))
    assert result_kinds(without_masks) == ("bbox",)
    assert result_kinds(replace(without_masks, keypoint_head=KeypointHeadConfig(enabled=True))) == ("bbox", "keypoints")


def test_keypoints_must_be_those_of_the_weights(tmp_path):
    """A left hand scored as a right one would look like a bad network."""
    data = COCO(write_coco(tmp_path, with_keypoints(), "people.json", "images"), keypoints=True)
    config = Config().for_keypoints(data.keypoint_names, data.skeleton).model
    with_head = replace(config, keypoint_head=replace(config.keypoint_head, enabled=True))
    check_keypoints(with_head, data)
    check_keypoints(ModelConfig(), data)
    others = replace(with_head, keypoint_head=KeypointHeadConfig(enabled=True))
    with pytest.raises(ValueError, match=r"people.json: found the keypoints left_hand, right_hand, nose, expected"):
        check_keypoints(others, data)


def test_classes_are_found_by_their_names(data):
    assert category_ids(("dog", "cat"), data) == (3, 7)
    with pytest.warns(UserWarning, match=r"the weights do not know 1 of the 2 classes: dog; they count as not found$"):
        assert category_ids(("cat",), data) == (7,)
    message = r"instances_train2017.json: found no category for 2 of the 3 classes of the weights: horse, cow$"
    with pytest.raises(ValueError, match=message):
        category_ids(("horse", "cat", "cow"), data)
