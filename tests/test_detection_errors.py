"""What is wrong with detections: one of each kind by hand, and what mending it is worth."""

import numpy as np
import pytest

from maskrcnn.evaluation.average_precision import average_precision
from maskrcnn.evaluation.coco_matching import DetectionTable, TruthTable
from maskrcnn.evaluation.coco_overlaps import box_overlap
from maskrcnn.evaluation.detection_errors import detection_errors

CAT, DOG = 0, 1
OBJECTS = [(CAT, 0), (CAT, 100), (DOG, 200), (DOG, 300)]
"""Class and x of objects of 10 x 10 pixels in a picture."""


def errors_of(detections, objects=OBJECTS, crowd=()):
    """Detections are class, x and score, of 10 x 10 pixels at the height of the objects. Two classes."""
    classes, x = (np.array(column, dtype=int) for column in zip(*objects, strict=True))
    is_crowd = np.isin(np.arange(len(objects)), crowd)
    truths = TruthTable(np.zeros_like(x), classes, np.full(len(x), 100.0), is_crowd, is_crowd)
    category, place, score = np.array(detections, dtype=float).reshape(-1, 3).T
    found = DetectionTable(np.zeros(len(score), int), category.astype(int), np.full(len(score), 100.0), score)
    boxes = [np.stack([at, 0 * at, 0 * at + 10, 0 * at + 10], axis=1).astype(float) for at in (place, x)]
    overlap = box_overlap(*boxes, is_crowd)
    result, matches = average_precision(truths, found, overlap, "bbox", 2)
    return result, detection_errors(truths, found, overlap, result, matches)


PERFECT = [(CAT, 0, 0.9), (CAT, 100, 0.8), (DOG, 200, 0.9), (DOG, 300, 0.8)]


def test_nothing_is_wrong():
    result, errors = errors_of(PERFECT)
    assert result.numbers()["AP50"] == 1
    assert max(map(abs, errors.costs.values())) < 1e-12 and errors.missed.tolist() == [0, 0]
    assert errors.best["right"].tolist() == [2, 2] and sum(values.sum() for values in errors.best.values()) == 4


@pytest.mark.parametrize(
    "name, wrong",
    [
        ("localisation", (CAT, 105, 0.95)),  # IoU 1/3 with the cat at 100
        ("localisation", (CAT, 4, 0.95)),  # 3/7 with the one at 0, which has been found: beside it all the same
        ("class", (CAT, 201, 0.95)),
        ("background", (CAT, 50, 0.95)),
        ("background", (CAT, 205, 0.95)),  # beside an object of another class
        ("background", (CAT, 109, 0.95)),  # IoU 1/19
    ],
)
def test_one_false_detection_before_all_right_ones(name, wrong):
    """Cats: false, right, right: precision 2/3 everywhere. Without the false one, AP50 is 1 again."""
    result, errors = errors_of([*PERFECT, wrong])
    assert result.numbers()["AP50"] == pytest.approx((2 / 3 + 1) / 2)
    assert errors.costs[name] == pytest.approx(1 / 6)
    assert [other for other, cost in errors.costs.items() if abs(cost) > 1e-12] == [name]
    assert errors.best[name].tolist() == [1, 0] and errors.best["right"].tolist() == [1, 2], "two of each class"


def test_a_second_detection_of_an_object_is_a_duplicate():
    result, errors = errors_of([(CAT, 0, 0.9), (CAT, 1, 0.85), *PERFECT[1:]])
    assert result.numbers()["AP50"] < 1 and errors.costs["duplicate"] == pytest.approx(1 - result.numbers()["AP50"])
    assert errors.best["duplicate"].tolist() == [1, 0]


def test_a_missed_object_is_not_asked_for():
    """One of two dogs: 51 of 101 recalls."""
    result, errors = errors_of(PERFECT[:3])
    assert result.numbers()["AP50"] == pytest.approx((1 + 51 / 101) / 2)
    assert errors.missed.tolist() == [0, 1] and errors.costs["missed"] == pytest.approx(25 / 101)
    assert errors.costs["background"] == pytest.approx(0, abs=1e-12)


def test_all_objects_of_a_class_missed():
    _, errors = errors_of(PERFECT[:2])
    assert errors.missed.tolist() == [0, 2] and errors.costs["missed"] == 0.5


def test_mending_a_place_or_a_class_finds_the_object():
    """The second dog is only seen beside its place, or as a cat."""
    for name, wrong in (("localisation", (DOG, 305, 0.5)), ("class", (CAT, 301, 0.5))):
        result, errors = errors_of([*PERFECT[:3], wrong])
        assert result.numbers()["AP50"] < 1 and errors.costs[name] == pytest.approx(1 - result.numbers()["AP50"])
        assert errors.missed.tolist() == [0, 0], "it is not missed"


def test_only_the_best_of_several_becomes_right():
    """Three beside the second dog, then the first dog: mended, one is right and the other two are gone."""
    beside = [(DOG, 305, score) for score in (0.99, 0.98, 0.97)]
    result, errors = errors_of([*PERFECT[:3], *beside])
    assert errors.costs["localisation"] == pytest.approx(1 - result.numbers()["AP50"])


def test_what_lies_on_a_crowd_is_no_mistake():
    result, errors = errors_of([*PERFECT, (CAT, 400, 0.99), (DOG, 400, 0.99)], [*OBJECTS, (CAT, 400)], crowd=[4])
    assert errors.best["background"].tolist() == [0, 1], "the dog there is"
    assert errors.missed.tolist() == [0, 0] and errors.best["right"].sum() == 3
    assert result.numbers()["AP50"] < 1


def test_no_detections_and_no_ground_truth():
    _, errors = errors_of([])
    assert errors.costs == {"localisation": 0, "class": 0, "duplicate": 0, "background": 0, "missed": 1}
    assert errors.missed.tolist() == [2, 2]
    assert errors_of(PERFECT, OBJECTS, crowd=[0, 1, 2, 3])[1] is None
