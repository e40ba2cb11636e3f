"""Average precision by COCO's rules: by hand, against the loop, and what must not change it.

Against pycocotools itself: test_golden_average_precision.
"""

import itertools

import numpy as np
import pytest

from maskrcnn.evaluation import coco_matching
from maskrcnn.evaluation.average_precision import (
    AREAS,
    RECALLS,
    THRESHOLDS,
    average_precision,
    class_numbers,
    precision_at_recalls,
)
from maskrcnn.evaluation.coco_matching import DetectionTable, Pairs, TruthTable, match, pairs_within, ranks
from maskrcnn.evaluation.coco_overlaps import PERSON_SIGMAS, box_overlap, keypoint_overlap, mask_overlap
from maskrcnn.ops import run_length
from maskrcnn.reference import average_precision as reference


def one_pair():
    return Pairs(np.array([0]), np.array([0]), np.array([[0, 1, 1]]))


def truth_table(count, image=0, category=0, area=5000.0, crowd=False, ignore=None):
    columns = [np.broadcast_to(value, count).copy() for value in (image, category, area, crowd)]
    ignored = columns[3] if ignore is None else np.broadcast_to(ignore, count)
    return TruthTable(columns[0].astype(int), columns[1].astype(int), columns[2].astype(float), columns[3], ignored)


def detection_table(scores, image=0, category=0, area=5000.0):
    count = len(scores)
    image, category, area = (np.broadcast_to(value, count).copy() for value in (image, category, area))
    return DetectionTable(image, category, area.astype(float), np.array(scores, dtype=float))


def table_overlap(table):
    table = np.array(table, dtype=float)
    return lambda pairs: table[pairs.detection, pairs.truth]


def taken(iou, scores, threshold=0.5, **truths):
    """What each detection takes, all of one class in one picture."""
    truths = truth_table(len(iou[0]), **truths)
    matches = match(
        truths, detection_table(scores), table_overlap(iou), np.array([threshold]), [AREAS["all"]], most=100
    )
    return matches.of(np.arange(len(scores)), 0)[0].tolist()


# By hand: overlaps.


@pytest.mark.parametrize("crowd, expected", [(False, 0.25), (True, 1.0)])
def test_a_detection_of_a_quarter_of_a_crowd_lies_in_it_whole(crowd, expected):
    small, large = np.array([[2.0, 3, 5, 5]]), np.array([[0.0, 0, 10, 10]])
    assert box_overlap(small, large, np.array([crowd]))(one_pair()) == [expected]
    codes = [run_length.from_polygons([[x, y, x + s, y, x + s, y + s, x, y + s]], 12, 12) for x, y, s in
             ((2, 3, 5), (0, 0, 10))]  # fmt: skip
    assert mask_overlap(*codes, np.array([crowd]))(one_pair()) == [expected]


def test_boxes_that_touch_or_have_no_area_do_not_overlap():
    boxes = np.array([[0.0, 0, 2, 2], [2, 0, 2, 2], [1, 1, 0, 0], [1, 1, 0, 5]])
    pairs = Pairs(np.repeat(np.arange(4), 4), np.tile(np.arange(4), 4), np.array([[0, 4, 4]]))
    assert box_overlap(boxes, boxes, np.zeros(4, bool))(pairs).reshape(4, 4).tolist() == np.diag([1, 1, 0, 0]).tolist()


def person(*labelled):
    """(1, 17, 3): all keypoints at 50, 50, of which some are labelled."""
    points = np.full((1, 17, 3), 50.0)
    points[:, :, 2] = 0
    points[:, list(labelled), 2] = 2
    return points


def similarity(found, truth, area, box=(0.0, 0.0, 10.0, 10.0), sigmas=PERSON_SIGMAS):
    return keypoint_overlap(found, truth, np.array([box]), np.array([float(area)]), sigmas)(one_pair())[0]


def test_a_nose_ten_pixels_off():
    """exp(-10^2 / (2 * 10000 * (2 * 0.026)^2)): the other sixteen are not labelled and say nothing."""
    found = person()
    found[0, 0, 0] += 10
    found[0, 1:, :2] = 1e6
    assert similarity(found, person(0), 10_000) == pytest.approx(0.157377, abs=1e-6)


def test_similarity_is_the_mean_over_labelled_keypoints():
    found = person()
    found[0, 16, :2] += 1e6
    assert similarity(found, person(0, 16), 10_000) == 0.5


def test_without_labels_all_keypoints_should_lie_in_the_box_enlarged_by_itself():
    box = (100.0, 100.0, 10.0, 20.0)  # so between (90, 80) and (120, 140)
    corners = np.array([[[90.0, 80, 0], [120, 140, 0], [110, 100, 0], [85, 145, 0]]])
    truth = np.zeros((1, 4, 3))
    expected = (3 + np.exp(-50 / (2 * 400 * 0.2**2))) / 4
    assert similarity(corners, truth, 400, box, np.full(4, 0.1)) == pytest.approx(expected, abs=1e-12)


def test_a_person_without_area_is_matched_only_exactly():
    assert similarity(person(), person(0), 0) == 1
    found = person()
    found[0, 0, 0] += 1e-3
    assert similarity(found, person(0), 0) == 0


# By hand: matching.


def test_the_best_detection_chooses_first():
    assert taken([[0.6, 0.8], [0.7, 0.9]], scores=[0.5, 0.9]) == [0, 1]
    assert taken([[0.6, 0.8], [0.7, 0.9]], scores=[0.9, 0.5]) == [1, 0]


def test_of_equal_scores_the_first_and_of_equal_overlaps_the_last():
    assert taken([[0.8, 0.8, 0.7], [0.8, 0.8, 0.7]], scores=[0.5, 0.5]) == [1, 0]


def test_exactly_the_threshold_is_enough():
    assert taken([[0.5]], scores=[1]) == [0]
    assert taken([[np.nextafter(0.5, 0)]], scores=[1]) == [-1]


def test_a_second_detection_of_the_same_object_takes_nothing_but_of_a_crowd_any_number_may():
    assert taken([[0.9], [0.8], [0.7]], scores=[3, 2, 1]) == [0, -1, -1]
    assert taken([[0.9], [0.8], [0.7]], scores=[3, 2, 1], crowd=True) == [0, 0, 0]
    assert taken([[0.9], [0.8]], scores=[2, 1], ignore=True) == [0, -1], "ignored, but a single object"


def test_an_object_goes_before_a_crowd_with_more_overlap():
    assert taken([[1.0, 0.6], [1.0, 0.6]], scores=[2, 1], crowd=[True, False]) == [1, 0]


def test_sizes_decide_what_is_ignored_and_borders_belong_to_both():
    areas = [AREAS["small"], AREAS["medium"]]
    truths = truth_table(3, image=np.arange(3), area=[1024.0, 1023.0, 1025.0])
    found = detection_table([0.9, 0.8, 0.7, 0.6], image=np.array([0, 1, 2, 0]), area=[1, 1, 1, 1024.0])
    iou = [[0.9] * 3] * 3 + [[0.0] * 3]
    matches = match(truths, found, table_overlap(iou), np.array([0.5]), areas, most=100)
    assert matches.ignored.tolist() == [[False, False, True], [False, True, False]]
    assert matches.of(np.arange(4), 0)[0].tolist() == matches.of(np.arange(4), 1)[0].tolist() == [0, 1, 2, -1]


def test_only_the_best_of_each_class_and_picture_take_part():
    image, category = np.array([0, 0, 0, 1, 0]), np.array([0, 0, 0, 0, 1])
    found = detection_table([0.1, 0.5, 0.5, 0.9, 0.3], image, category)
    assert ranks(found).tolist() == [2, 0, 1, 0, 0]
    matches = match(
        truth_table(1), found, lambda pairs: np.ones(len(pairs.truth)), np.array([0.5]), [AREAS["all"]], most=1
    )
    assert matches.of(np.arange(5), 0).tolist() == [[-1, 0, -1, -1, -1]]


def test_pairs_are_those_of_one_group_however_few_at_once(monkeypatch):
    random = np.random.default_rng(0)
    first, second = random.integers(0, 6, 40), random.integers(0, 6, 30)
    expected = {(d, g) for d, g in itertools.product(range(40), range(30)) if first[d] == second[g]}
    for most in (1, 7, 10_000):
        monkeypatch.setattr(coco_matching, "_MOST_PAIRS", most)
        found = []
        for pairs in pairs_within(first, second):
            found += zip(pairs.detection.tolist(), pairs.truth.tolist(), strict=True)
            for begin, rows, columns in pairs.blocks.tolist():
                block = slice(begin, begin + rows * columns)
                assert (pairs.truth[block].reshape(rows, columns) == pairs.truth[block][:columns]).all()
                assert (pairs.detection[block][::columns] == pairs.detection[block].reshape(rows, columns).T).all()
        assert len(found) == len(expected) and set(found) == expected
    assert list(pairs_within(np.zeros(0, int), second)) == list(pairs_within(first, np.zeros(0, int))) == []


# By hand: precision.


def test_precision_at_recalls_by_hand():
    """Right, false, right, of four objects: precision 1, 1/2, 2/3 at recall 1/4, 1/4, 1/2."""
    right = np.array([[True, False, True]])
    (precision,) = precision_at_recalls(right, np.ones((1, 3), bool), 4)
    assert precision[RECALLS <= 0.25].tolist() == [1.0] * 26
    assert precision[(RECALLS > 0.25) & (RECALLS <= 0.5)].tolist() == [2 / 3] * 25
    assert precision[RECALLS > 0.5].tolist() == [0.0] * 50


def test_precision_is_the_best_that_is_still_to_come():
    """False, right, right, of four objects: 0, 1/2, 2/3 at recall 0, 1/4, 1/2."""
    (precision,) = precision_at_recalls(np.array([[False, True, True]]), np.ones((1, 3), bool), 4)
    assert precision.tolist() == [2 / 3] * 51 + [0.0] * 50


def test_ignored_detections_stand_in_the_line_without_counting():
    right, counts = np.array([[False, True, False, True]]), np.array([[False, True, False, True]])
    assert (precision_at_recalls(right, counts, 2) == 1).all()


def test_no_detections_have_no_precision():
    assert (precision_at_recalls(np.zeros((2, 0), bool), np.zeros((2, 0), bool), 3) == np.zeros((2, 101))).all()


def test_one_object_found_once_scores_as_far_as_its_overlap_reaches():
    """IoU 0.72 passes 0.5 ... 0.7: five of ten thresholds."""
    result, _ = average_precision(
        truth_table(1, area=2000.0), detection_table([0.9]), table_overlap([[0.72]]), "bbox", classes=2
    )
    numbers = result.numbers()
    assert numbers == {
        "AP": 0.5, "AP50": 1, "AP75": 0, "APs": None, "APm": 0.5, "APl": None,
        "AR1": 0.5, "AR10": 0.5, "AR100": 0.5, "ARs": None, "ARm": 0.5, "ARl": None,
    }  # fmt: skip
    assert result.why_none("APs") == "no small ground truth (area from 0 to 1024 square pixels)"
    assert result.why_none("ARl") == "no large ground truth (area of 9216 or more square pixels)"
    table = class_numbers(result, ["cup", "dog"])
    assert table["cup"] == numbers | {"ground_truths": 1, "detections": 1}
    assert set(table["dog"].values()) == {None, 0}


def test_keypoints_have_ten_numbers():
    result, _ = average_precision(truth_table(1), detection_table([0.9]), table_overlap([[1.0]]), "keypoints", 1)
    assert list(result.numbers()) == ["AP", "AP50", "AP75", "APm", "APl", "AR", "AR50", "AR75", "ARm", "ARl"]
    assert result.numbers()["APm"] == 1 and result.numbers()["APl"] is None


def test_recall_of_the_best_detections_alone():
    """Three objects in one picture, found by the first, third and eleventh detection."""
    iou = np.zeros((11, 3))
    iou[[0, 2, 10], [0, 1, 2]] = 1
    result, _ = average_precision(
        truth_table(3), detection_table(range(11, 0, -1)), table_overlap(iou), "bbox", classes=1
    )
    assert [result.numbers()[name] for name in ("AR1", "AR10", "AR100")] == pytest.approx([1 / 3, 2 / 3, 1])


# Against the loop.


def random_tables(seed, pictures=4, classes=3):
    """Tables and the overlap of every detection with every ground truth, full of ties."""
    random = np.random.default_rng(seed)
    truth_count, count = 25, 60
    crowd = random.random(truth_count) < 0.2
    areas = np.array([0.0, 500, 1024, 5000, 9216, 20_000])
    truths = TruthTable(
        random.integers(0, pictures, truth_count), random.integers(0, classes, truth_count),
        random.choice(areas, truth_count), crowd, crowd | (random.random(truth_count) < 0.1),
    )  # fmt: skip
    found = DetectionTable(
        random.integers(0, pictures, count), random.integers(0, classes, count), random.choice(areas, count),
        random.integers(0, 8, count) / 8,
    )  # fmt: skip
    return truths, found, random.choice([0.0, 0.3, 0.5, 0.6, 0.75, 0.8, 0.95, 1.0], (count, truth_count))


def by_the_loop(truths, found, iou, category, threshold, limits, most):
    pictures = []
    for image in range(1 + max(truths.image.max(), found.image.max())):
        g = np.flatnonzero((truths.image == image) & (truths.category == category))
        d = np.flatnonzero((found.image == image) & (found.category == category))
        columns = found.score[d], found.area[d], truths.area[g], truths.ignore[g], truths.crowd[g]
        pictures.append(reference.Picture(iou[np.ix_(d, g)].tolist(), *(column.tolist() for column in columns)))
    return reference.average_precision(pictures, threshold, *limits, most)


@pytest.mark.parametrize("seed", range(6))
def test_the_loop(seed, monkeypatch):
    monkeypatch.setattr(coco_matching, "_MOST_PAIRS", 50)
    truths, found, iou = random_tables(seed)
    result, _ = average_precision(truths, found, table_overlap(iou), "bbox", classes=4)
    compared = 0
    for (a, limits), (t, threshold), category in itertools.product(
        enumerate(AREAS.values()), enumerate(THRESHOLDS), range(4)
    ):
        expected = by_the_loop(truths, found, iou, category, threshold, limits, most=100)
        if expected is None:
            assert np.isnan(result.precision[a, t, :, category]).all() and np.isnan(result.recall[a, t, category])
            continue
        compared += 1
        assert result.precision[a, t, :, category].mean() == pytest.approx(expected[0], abs=1e-12)
        assert result.recall[a, t, category] == pytest.approx(expected[1], abs=1e-12)
    assert compared > 80 and 0.05 < result.numbers()["AP"] < 0.95


# What must not change anything.


def test_the_order_of_ground_truths_pictures_and_classes_changes_nothing():
    """Without ties: those are decided by the order."""
    truths, found, _ = random_tables(1)
    random = np.random.default_rng(0)
    iou = random.random((60, 25))
    found = DetectionTable(found.image, found.category, found.area, random.permutation(60) / 60)
    expected = average_precision(truths, found, table_overlap(iou), "bbox", 3)[0].numbers()
    g, d = random.permutation(25), random.permutation(60)
    image, category = random.permutation(4), random.permutation(3)
    truths = TruthTable(
        image[truths.image[g]], category[truths.category[g]], truths.area[g], truths.crowd[g], truths.ignore[g]
    )
    found = DetectionTable(image[found.image[d]], category[found.category[d]], found.area[d], found.score[d])
    overlap = table_overlap(iou[np.ix_(d, g)])
    assert average_precision(truths, found, overlap, "bbox", 3)[0].numbers() == pytest.approx(expected, abs=1e-12)
    assert 0.01 < expected["AP"] < 0.99


# Empty.


def test_nothing_to_find_has_no_score_and_nothing_found_scores_0():
    nothing, something = truth_table(0), truth_table(2)
    overlap = table_overlap(np.zeros((1, 2)))
    for found in (detection_table([]), detection_table([0.5])):
        result, _ = average_precision(nothing, found, overlap, "bbox", classes=1)
        assert set(result.numbers().values()) == {None}
        assert result.why_none("AP") == result.why_none("APs") == "no ground truth that counts"
        numbers = average_precision(something, found, overlap, "bbox", classes=1)[0].numbers()
        assert numbers["AP"] == numbers["APm"] == numbers["AR100"] == 0 and numbers["APl"] is None


def test_crowds_alone_are_nothing_to_find():
    result, _ = average_precision(
        truth_table(2, crowd=True), detection_table([0.5]), table_overlap([[1, 1]]), "bbox", classes=1
    )
    assert set(result.numbers().values()) == {None}
