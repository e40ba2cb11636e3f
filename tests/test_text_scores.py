"""The ICDAR text scores: by hand, against the independent evaluator, and against a published number."""

import zipfile
from unittest.mock import patch

import independent_icdar_evaluator as independent
import numpy as np
import pytest

from maskrcnn.evaluation import text_scores
from maskrcnn.evaluation.text_scores import (
    ImageTexts,
    match_image,
    polygon_geometries,
    polygon_iou,
    score_at_thresholds,
    score_texts,
)


def rectangle(x1, y1, x2, y2):
    return np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]], dtype=np.float64)


def image(ground_truths=(), ignore=None, detections=(), scores=None, name="img_1"):
    ignore = [False] * len(ground_truths) if ignore is None else ignore
    return ImageTexts(
        name,
        tuple(ground_truths),
        np.array(ignore, dtype=bool),
        tuple(detections),
        None if scores is None else np.array(scores, dtype=np.float64),
    )


# Areas


def test_two_unit_squares_half_a_side_apart_have_iou_one_third():
    assert polygon_iou([rectangle(0, 0, 1, 1)], [rectangle(0.5, 0, 1.5, 1)]) == pytest.approx(np.array([[1 / 3]]))


def test_iou_of_every_pair():
    found = polygon_iou(
        [rectangle(0, 0, 10, 10), rectangle(100, 0, 110, 10)],
        [rectangle(0, 0, 10, 5), rectangle(10, 0, 20, 10), rectangle(100, 0, 110, 10)],
    )
    assert found.tolist() == [[0.5, 0, 0], [0, 0, 1]]


def test_winding_and_starting_corner_make_no_difference():
    square, other = rectangle(0, 0, 10, 10), rectangle(5, 0, 15, 10)
    for turned in (other[::-1], np.roll(other, 1, axis=0), np.roll(other[::-1], 3, axis=0)):
        assert polygon_iou([square], [turned])[0, 0] == pytest.approx(1 / 3, abs=1e-15)


def test_polygons_with_different_numbers_of_corners():
    triangle = np.array([[0, 0], [10, 0], [0, 10]])
    assert polygon_iou([triangle], [rectangle(0, 0, 10, 10)])[0, 0] == 0.5


def test_a_bow_tie_is_repaired_and_polygons_without_area_overlap_nothing():
    # The repaired bow tie has the area of one of its loops or of both, but never 0, and no error.
    bow_tie = np.array([[0, 0], [10, 10], [10, 0], [0, 10]])
    geometry = polygon_geometries([bow_tie])[0]
    assert geometry.is_valid and geometry.area in (25, 50)
    line, point = np.array([[0, 0], [5, 5], [10, 10]]), np.array([[3, 3]] * 4)
    assert not polygon_iou([line, point], [rectangle(0, 0, 10, 10), line, point]).any()


def test_no_polygons():
    assert polygon_iou([], [rectangle(0, 0, 1, 1)]).shape == (0, 1)
    assert polygon_iou([rectangle(0, 0, 1, 1)], []).shape == (1, 0)
    assert polygon_iou([], []).shape == (0, 0)


# The rules, one image


def test_an_iou_of_exactly_one_half_is_a_miss():
    word = rectangle(0, 0, 20, 10)
    assert match_image([word], [False], [rectangle(0, 0, 10, 10)]).matched == 0
    assert match_image([word], [False], [rectangle(0, 0, 11, 10)]).matched == 1
    # 20 x 30 and 20 x 30 sharing 20 x 20: 400 / 800.
    assert match_image([rectangle(0, 0, 20, 30)], [False], [rectangle(0, 10, 20, 40)]).matched == 0


def test_the_first_detection_wins_not_the_best():
    matches = match_image([rectangle(0, 0, 20, 10)], [False], [rectangle(0, 0, 15, 10), rectangle(0, 0, 20, 10)])
    assert matches.matched_ground_truth.tolist() == [0, -1]
    assert matches.matched_detection.tolist() == [0]


def test_ground_truths_choose_in_file_order_even_where_a_better_assignment_exists():
    # The first word takes the detection that was the second word's only chance; Hungarian matching would find two.
    wide, narrow = rectangle(0, 0, 16, 10), rectangle(0, 0, 10, 10)
    detections = [rectangle(0, 0, 12, 10), rectangle(0, 0, 24, 10)]
    assert polygon_iou([wide, narrow], detections).round(3).tolist() == [[0.75, 0.667], [0.833, 0.417]]
    assert match_image([wide, narrow], [False, False], detections).matched_detection.tolist() == [0, -1]
    assert match_image([narrow, wide], [False, False], detections).matched_detection.tolist() == [0, 1]
    assert match_image([wide, narrow], [False, False], detections[::-1]).matched_detection.tolist() == [0, 1]


def test_a_second_detection_of_a_word_is_a_false_positive():
    word = rectangle(0, 0, 20, 10)
    matches = match_image([word], [False], [word, word])
    assert (matches.recall, matches.precision, matches.hmean) == (1, 0.5, pytest.approx(2 / 3))


def test_a_detection_on_a_dont_care_region_does_not_count():
    region, word = rectangle(0, 0, 20, 10), rectangle(0, 50, 20, 60)
    half, more_than_half = rectangle(10, 0, 30, 10), rectangle(9, 0, 29, 10)
    matches = match_image([region, word], [True, False], [half, more_than_half, word])
    assert matches.ignored.tolist() == [False, True, False]
    assert matches.counts == (1, 1, 2)
    assert matches.matched_detection.tolist() == [-1, 2]


def test_a_large_detection_on_several_dont_care_regions_counts_if_none_holds_half_of_it():
    regions = [rectangle(0, 0, 10, 10), rectangle(10, 0, 20, 10)]
    assert not match_image(regions, [True, True], [rectangle(0, 0, 20, 10)]).ignored.any()


def test_an_ignored_detection_matches_nothing_even_if_it_covers_a_word():
    word = rectangle(0, 0, 20, 10)
    matches = match_image([word, rectangle(0, 0, 20, 11)], [False, True], [word])
    assert matches.matched == 0 and matches.ignored.tolist() == [True]
    assert (matches.recall, matches.precision, matches.hmean) == (0, 0, 0)


def test_a_tie_between_slanted_shapes_is_a_tie():
    # Exactly half of the detection, 248 of 496, lies on the region; in floating point it is a trifle more.
    region = rectangle(20, 30, 40, 60)
    detection = np.array([[54, 37], [50, 57], [26, 53], [30, 33]])
    assert independent.shared_area(*as_tuples([region, detection])) == 248
    assert not match_image([region], [True], [detection]).ignored.any()


def test_a_detection_without_area_is_a_false_positive():
    matches = match_image([rectangle(0, 0, 20, 10)], [True], [rectangle(5, 5, 5, 5)])
    assert matches.ignored.tolist() == [False]


def test_a_picture_without_words():
    empty = match_image([], [], [])
    assert (empty.recall, empty.precision, empty.hmean) == (1, 1, 1)
    found = match_image([], [], [rectangle(0, 0, 1, 1)])
    assert (found.recall, found.precision, found.hmean) == (1, 0, 0)
    missed = match_image([rectangle(0, 0, 1, 1)], [False], [])
    assert (missed.recall, missed.precision, missed.hmean) == (0, 0, 0)


# The rules, a data set


def test_a_data_set_worked_by_hand():
    word, other, region = rectangle(0, 0, 20, 10), rectangle(0, 20, 20, 30), rectangle(0, 40, 20, 50)
    first = image([word, other, region], [False, False, True], [word, region, rectangle(50, 50, 60, 60)])
    second = image([word], None, [word])
    third = image([word], None, [])  # a missing result file
    scores = score_texts([first, second, third])
    # 2 of 4 words; 2 of 3 detections, because the one on the region does not count.
    assert scores.as_dict() == {
        "recall": 0.5,
        "precision": 2 / 3,
        "hmean": pytest.approx(4 / 7, abs=1e-15),
        "threshold": None,
        "matched": 2,
        "ground_truths": 4,
        "detections": 3,
    }
    assert list(scores.as_dict()) == [
        "recall",
        "precision",
        "hmean",
        "threshold",
        "matched",
        "ground_truths",
        "detections",
    ]


def test_nothing_to_find():
    region = rectangle(0, 0, 20, 10)
    only_regions = [image([region], [True], [region], [0.9])]
    assert score_texts(only_regions).as_dict() | {"threshold": 0} == {
        "recall": 0,
        "precision": 0,
        "hmean": 0,
        "threshold": 0,
        "matched": 0,
        "ground_truths": 0,
        "detections": 0,
    }
    assert score_texts(only_regions, "sweep").hmean == 1
    assert score_texts([image([], [], [region], [0.9])], "sweep").as_dict() == {
        "recall": 1,
        "precision": 0,
        "hmean": 0,
        "threshold": 0.3,
        "matched": 0,
        "ground_truths": 0,
        "detections": 1,
    }
    assert score_texts([]).hmean == 0


def test_official_coordinates_are_cut_to_integers_towards_zero():
    word = rectangle(0, 0, 20, 10)
    # 10.9 becomes 10: exactly one half, a miss. As it stands, 109 / 200 is a match.
    cut = [image([word], None, [rectangle(0, 0, 10.9, 10)], [0.9])]
    assert score_texts(cut).matched == 0
    assert score_texts(cut, "sweep").matched == 1
    # -9.9 becomes -9, not -10: 100 / 190 is a match, 100 / 200 would not be.
    negative = [image([rectangle(0, 0, 10, 10)], None, [rectangle(-9.9, 0, 10, 10)])]
    assert score_texts(negative).matched == 1


def test_detections_are_taken_in_file_order_unless_they_have_scores():
    # Two words, two detections, of which only one order finds both (see the test of the greedy rule above).
    wide, narrow = rectangle(0, 0, 16, 10), rectangle(0, 0, 10, 10)
    detections = [rectangle(0, 0, 12, 10), rectangle(0, 0, 24, 10)]
    assert score_texts([image([wide, narrow], None, detections)]).matched == 1
    assert score_texts([image([wide, narrow], None, detections, [0.8, 0.9])]).matched == 2
    # Equal scores keep the order of the file.
    assert score_texts([image([wide, narrow], None, detections, [0.9, 0.9])]).matched == 1


def test_a_threshold_keeps_scores_that_reach_it():
    word, other = rectangle(0, 0, 20, 10), rectangle(0, 20, 20, 30)
    images = [image([word, other], None, [word, other], [0.9, 0.6])]
    assert [score_texts(images, threshold=t).matched for t in (0.6, 0.61, 0.95)] == [2, 1, 0]
    assert score_texts(images, threshold=0.6).threshold == 0.6
    # 0.7 is 0.69999999 in float32 and must not reach the threshold 0.7 by rounding.
    single = ImageTexts("img_1", (word,), np.array([False]), (word,), np.array([0.7], dtype=np.float32))
    assert score_texts([single], threshold=0.7).matched == 0


# The sweep


def test_the_sweep_reports_its_best_threshold_and_the_lowest_of_equals():
    words = [rectangle(0, 20 * row, 20, 20 * row + 10) for row in range(3)]
    wrong = rectangle(100, 0, 120, 10)
    # Found with 0.95, 0.75, 0.35; a false positive with 0.55.
    images = [image(words, None, [wrong, words[2], words[1], words[0]], [0.55, 0.35, 0.75, 0.95])]
    found = score_at_thresholds(images)
    assert [score.threshold for score in found] == [0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    assert [(score.matched, score.detections) for score in found] == [
        (3, 4),
        (2, 3),
        (2, 3),
        (2, 2),
        (2, 2),
        (1, 1),
        (1, 1),
    ]
    best = score_texts(images, "sweep")
    assert best == found[0] and best.hmean == pytest.approx(6 / 7)
    # Without the third word 0.6 and 0.7 are perfect.
    assert score_texts([image(words[:2], None, images[0].detections, images[0].scores)], "sweep").threshold == 0.6


def test_the_sweep_drops_a_score_of_exactly_its_floor():
    word = rectangle(0, 0, 20, 10)
    assert score_texts([image([word], None, [word], [0.3])], "sweep").detections == 0
    assert score_texts([image([word], None, [word], [0.4])], "sweep").threshold == 0.3
    assert score_at_thresholds([image([word], None, [word], [0.4])])[1].matched == 1


def test_overlaps_are_measured_once_however_many_thresholds_there_are():
    word = rectangle(0, 0, 20, 10)
    images = [image([word], None, [word], [0.9])] * 3
    with patch.object(text_scores, "intersection_areas", wraps=text_scores.intersection_areas) as counted:
        score_at_thresholds(images, [step / 100 for step in range(100)])
    assert counted.call_count == len(images)


# Against the independent evaluator


def random_images(seed, count):
    """Pictures crowded enough for every rule to matter, many of the detections so that a ratio is exactly one half."""
    rng = np.random.default_rng(seed)
    images = []
    for number in range(count):
        shapes, detections = [], []
        for _ in range(rng.integers(0, 6)):
            x, y = rng.integers(0, 4, 2) * 10
            if rng.random() < 0.6:
                shapes.append(rectangle(x, y, x + 10 * rng.integers(1, 5), y + 10 * rng.integers(1, 4)))
            else:
                angle, (w, h) = rng.uniform(0, np.pi), rng.uniform(8, 30, 2)
                turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
                shapes.append(np.rint(rectangle(-w, -h / 2, w, h / 2) @ turn + (x + 20, y + 20)))
        for shape in shapes:
            if rng.random() < 0.7:
                detections.append(shape + rng.integers(-2, 3, 2) * 5)
            if rng.random() < 0.5:
                # Twice as wide from its first corner on: IoU 1/2 with a rectangle.
                detections.append(shape[0] + (shape - shape[0]) * (2, 1))
        ignore = rng.random(len(shapes)) < 0.3
        scores = rng.integers(1, 11, len(detections)) / 10
        images.append(image(shapes, ignore, detections, scores, f"img_{number}"))
    return images


def as_tuples(polygons):
    return [tuple(map(tuple, polygon.tolist())) for polygon in polygons]


def test_the_random_images_hold_the_cases_that_matter():
    images = [i for seed in range(3) for i in random_images(seed, 25)]
    ious = np.concatenate([polygon_iou(i.ground_truths, i.detections).ravel() for i in images])
    matches = [match_image(i.ground_truths, i.ignore, i.detections) for i in images]
    assert (ious == 0.5).sum() > 20
    assert sum(m.ignored.sum() for m in matches) > 15
    assert sum(m.matched for m in matches) > 20
    assert any(not len(i.detections) for i in images) and any(not len(i.ground_truths) for i in images)


@pytest.mark.parametrize("seed", range(3))
def test_official_rules_agree_with_the_independent_evaluator(seed):
    images = random_images(seed, 25)
    in_file_order = [(as_tuples(i.ground_truths), i.ignore, as_tuples(i.detections)) for i in images]
    by_score = [
        (truths, ignore, [detections[d] for d in sorted(range(len(detections)), key=lambda d: -i.scores[d])])
        for (truths, ignore, detections), i in zip(in_file_order, images, strict=True)
    ]
    unscored = [ImageTexts(i.name, i.ground_truths, i.ignore, i.detections, None) for i in images]
    for given, plain in ((unscored, in_file_order), (images, by_score)):
        expected, found = independent.official(plain), score_texts(given)
        assert (found.matched, found.ground_truths, found.detections) == expected[3:]
        assert (found.recall, found.precision, found.hmean) == pytest.approx(expected[:3], abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_the_sweep_agrees_with_the_independent_evaluator(seed):
    images = random_images(seed, 25)
    expected = independent.sweep(
        [(as_tuples(i.ground_truths), i.ignore, as_tuples(i.detections), i.scores.tolist()) for i in images]
    )
    found = score_texts(images, "sweep")
    assert (found.threshold, found.matched, found.ground_truths, found.detections) == expected[3:]
    assert (found.recall, found.precision, found.hmean) == pytest.approx(expected[:3], abs=1e-12)


def test_a_published_result_on_ctw1500_is_reproduced(shared_data):
    """Polygons of 14 points that run counter-clockwise; a method's detections, with the numbers that go with them."""

    def polygon(line):
        return np.array(line.removesuffix(",CARE").split(","), dtype=np.float64).reshape(-1, 2)

    with (
        zipfile.ZipFile(shared_data / "detections/ctw1500-gt.zip") as truths,
        zipfile.ZipFile(shared_data / "detections/det_ctw1500.zip") as results,
    ):
        images = []
        for name in truths.namelist():
            words = truths.read(name).decode("utf-8-sig").splitlines()
            found = results.read(name).decode("utf-8-sig").splitlines()
            images.append(image([polygon(line) for line in words], None, [polygon(line) for line in found]))
    scores = score_texts(images)
    assert len(images) == 500 and scores.ground_truths == 3068
    assert scores.recall == pytest.approx(0.8161668839634941, abs=1e-12)
    assert scores.precision == pytest.approx(0.7497005988023953, abs=1e-12)
    assert scores.hmean == pytest.approx(0.7815230961298377, abs=1e-12)


# Errors


def test_scores_are_needed_for_a_threshold_and_for_the_sweep():
    unscored = [image([rectangle(0, 0, 1, 1)], None, [rectangle(0, 0, 1, 1)], name="img_7")]
    for arguments in ({"threshold": 0.5}, {"rules": "sweep"}):
        with pytest.raises(ValueError, match=r"img_7.*needs detections with scores"):
            score_texts(unscored, **arguments)


def test_wrong_arguments_are_errors():
    with pytest.raises(ValueError, match='"official" or "sweep", found \'best\''):
        score_texts([], "best")
    with pytest.raises(ValueError, match=r"chooses the threshold itself, found 0\.5"):
        score_texts([], "sweep", 0.5)
    with pytest.raises(ValueError, match="img_1: 1 ground truths need as many ignore flags"):
        image([rectangle(0, 0, 1, 1)], [])
    with pytest.raises(ValueError, match="img_1: 0 detections need as many scores"):
        image(scores=[0.5])
    with pytest.raises(ValueError, match="img_1: coordinates must be finite"):
        image([rectangle(0, 0, np.nan, 1)])
    with pytest.raises(ValueError, match="img_1: scores must be finite"):
        image([], [], [rectangle(0, 0, 1, 1)], [np.nan])
    with pytest.raises(ValueError, match=r"img_1: a polygon must be \(P >= 3, 2\), found \(2, 2\)"):
        image([np.zeros((2, 2))])
