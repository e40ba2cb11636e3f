"""Matching: thresholds, the two low-quality rules and their traps, padding, don't-care regions."""

import pytest
import torch
from random_inputs import random_boxes

from maskrcnn.reference import matching as reference
from maskrcnn.targets.matching import IGNORED, NEGATIVE, POSITIVE, ignore_overlapping, match

RPN = {"positive_iou": 0.7, "negative_iou": 0.3}
ROI = {"positive_iou": 0.5, "negative_iou": 0.5}


def strips(*widths: float) -> torch.Tensor:
    """Boxes (N, 4) of height 1 from the origin: two such strips have the IoU of the shorter width over the longer."""
    return torch.tensor([[0.0, 0.0, width, 1.0] for width in widths])


def all_valid(boxes: torch.Tensor) -> torch.Tensor:
    return torch.ones(boxes.shape[:-1], dtype=torch.bool)


def match_all(ground_truths: torch.Tensor, boxes: torch.Tensor, **rules):
    """`match` where nothing is padding."""
    return match(ground_truths, all_valid(ground_truths), boxes, all_valid(boxes), **rules)


# By hand.


def test_labels_by_iou():
    """IoUs 1, 0.75, 0.5, 0.25 and 0 with the only ground truth."""
    boxes = torch.cat((strips(16, 12, 8, 4), torch.tensor([[50.0, 50.0, 60.0, 60.0]])))
    matches = match_all(strips(16), boxes, **RPN)
    assert matches.label.tolist() == [POSITIVE, POSITIVE, IGNORED, NEGATIVE, NEGATIVE]
    assert matches.ground_truth[:2].tolist() == [0, 0]


def test_an_iou_equal_to_a_threshold_belongs_above_it():
    matches = match_all(strips(16), strips(12, 4, 3), positive_iou=0.75, negative_iou=0.25)
    assert matches.label.tolist() == [POSITIVE, IGNORED, NEGATIVE]


def test_rois_are_positive_from_one_half_and_nothing_is_ignored():
    assert match_all(strips(16), strips(8, 7), **ROI).label.tolist() == [POSITIVE, NEGATIVE]


def test_each_box_finds_its_best_ground_truth_and_of_equals_the_first():
    ground_truths = strips(16, 12, 16)
    matches = match_all(ground_truths, strips(16, 13, 12), **ROI)
    assert matches.ground_truth.tolist() == [0, 1, 1]


# The low-quality rules.


def test_forced_gives_the_best_box_of_a_ground_truth_to_it():
    """The second ground truth's best box has IoU 0.5 with it: ignored by the thresholds, positive by force."""
    ground_truths = torch.tensor([[0.0, 0.0, 16.0, 1.0], [100.0, 0.0, 116.0, 1.0]])
    boxes = torch.tensor([[0.0, 0.0, 16.0, 1.0], [100.0, 0.0, 108.0, 1.0], [100.0, 0.0, 107.0, 1.0]])
    plain = match_all(ground_truths, boxes, **RPN)
    forced = match_all(ground_truths, boxes, **RPN, low_quality="forced", low_quality_iou=0.3)
    assert plain.label.tolist() == [POSITIVE, IGNORED, IGNORED]
    assert forced.label.tolist() == [POSITIVE, POSITIVE, IGNORED]
    assert forced.ground_truth[:2].tolist() == [0, 1]


def test_forced_needs_the_floor_and_the_floor_itself_is_enough():
    """The best IoU is 0.25."""
    for floor, label in ((0.25, POSITIVE), (0.26, NEGATIVE)):
        matches = match_all(strips(16), strips(4), **RPN, low_quality="forced", low_quality_iou=floor)
        assert matches.label.tolist() == [label]


def test_forced_takes_every_box_that_ties():
    matches = match_all(strips(16), strips(8, 8, 7), **RPN, low_quality="forced", low_quality_iou=0.3)
    assert matches.label.tolist() == [POSITIVE, POSITIVE, IGNORED]


def test_forced_lets_the_last_ground_truth_win_even_over_a_better_overlap():
    """The box overlaps ground truth 0 by 0.8 and is positive for it; but it is also the best of ground truth 1."""
    ground_truths, box = strips(10, 4), strips(8)
    assert match_all(ground_truths, box, **RPN).ground_truth.tolist() == [0]
    forced = match_all(ground_truths, box, **RPN, low_quality="forced", low_quality_iou=0.3)
    assert forced.label.tolist() == [POSITIVE] and forced.ground_truth.tolist() == [1]
    backwards = match_all(ground_truths.flip(0), box, **RPN, low_quality="forced", low_quality_iou=0.3)
    assert backwards.ground_truth.tolist() == [1]  # again the last, which now is the better one


def test_forced_takes_a_box_from_a_ground_truth_that_it_overlaps_more_but_that_has_a_better_one():
    """Box 0 overlaps ground truth 1 by 0.8, which has box 1; of ground truth 0 it is the best, with 0.5."""
    forced = match_all(strips(4, 10), strips(8, 10), **RPN, low_quality="forced", low_quality_iou=0.3)
    assert forced.label.tolist() == [POSITIVE, POSITIVE] and forced.ground_truth.tolist() == [0, 1]


def test_own_best_gives_the_best_box_of_a_ground_truth_to_whichever_it_overlaps_most():
    """The same two ground truths: the box stays with number 0, whatever their order."""
    ground_truths, box = strips(10, 4), strips(8)
    for order, expected in (([0, 1], 0), ([1, 0], 1)):
        matches = match_all(ground_truths[order], box, **RPN, low_quality="own_best")
        assert matches.label.tolist() == [POSITIVE] and matches.ground_truth.tolist() == [expected]


def test_own_best_has_no_floor():
    matches = match_all(strips(16), strips(1, 2), **RPN, low_quality="own_best")
    assert matches.label.tolist() == [NEGATIVE, POSITIVE]


def test_own_best_trap_a_ground_truth_that_touches_no_box_makes_every_box_positive():
    """At IoU 0 it ties with all of them; each is then matched to its own best ground truth, or to the first."""
    ground_truths = torch.tensor([[0.0, 0.0, 16.0, 1.0], [900.0, 900.0, 910.0, 910.0]])
    boxes = torch.cat((strips(16, 2), torch.tensor([[50.0, 50.0, 60.0, 60.0]])))
    matches = match_all(ground_truths, boxes, **RPN, low_quality="own_best")
    assert matches.label.tolist() == [POSITIVE] * 3
    assert matches.ground_truth.tolist() == [0, 0, 0]
    forced = match_all(ground_truths, boxes, **RPN, low_quality="forced", low_quality_iou=0.3)
    assert forced.label.tolist() == [POSITIVE, NEGATIVE, NEGATIVE]


@pytest.mark.parametrize("low_quality", ["force", "own best", ""])
def test_an_unknown_low_quality_rule_is_refused(low_quality):
    with pytest.raises(ValueError, match=f'found low_quality {low_quality!r}, expected "forced", "own_best" or "none"'):
        match_all(strips(16), strips(8), **RPN, low_quality=low_quality)


def test_rois_of_mmdetection_force_from_one_half_on():
    """The box overlaps ground truth 0 by 0.8 and is the best of ground truth 1 at 0.5: it goes to 1, at 0.49 to 0."""
    for width, expected in ((4.0, 1), (3.9, 0)):
        matches = match_all(strips(10, width), strips(8), **ROI, low_quality="forced", low_quality_iou=0.5)
        assert matches.ground_truth.tolist() == [expected]


# Against the loop reference.


@pytest.mark.parametrize(
    "rules",
    [
        RPN,
        RPN | {"low_quality": "forced", "low_quality_iou": 0.3},
        RPN | {"low_quality": "own_best"},
        ROI,
        ROI | {"low_quality": "forced", "low_quality_iou": 0.5},
    ],
    ids=["rpn", "rpn-forced", "rpn-own_best", "roi", "roi-forced"],
)
def test_each_image_of_a_padded_batch_matches_as_the_reference_does_alone(rules):
    """Three images with 6, 1 and 0 ground truths in 8 slots, and 40, 25 and 30 boxes in 40.

    Every real ground truth has some of the boxes near it, so that all thresholds are met.
    """
    counts = ((6, 40), (1, 25), (0, 30))
    ground_truths, boxes = random_boxes(3, 8, seed=1), random_boxes(3, 40, seed=2)
    generator = torch.Generator().manual_seed(3)
    jitter = torch.rand(3, 20, 4, generator=generator, dtype=torch.float64) * 12 - 6
    boxes[:, :20] = ground_truths[:, torch.arange(20) % 6] + jitter
    boxes[1, :20] = ground_truths[1, :1] + jitter[1]
    boxes[0, 3] = boxes[0, 9]  # a tie
    ground_truths_valid = torch.arange(8) < torch.tensor([[g] for g, _ in counts])
    boxes_valid = torch.arange(40) < torch.tensor([[n] for _, n in counts])
    matches = match(ground_truths, ground_truths_valid, boxes, boxes_valid, **rules)
    seen = set()
    for image, (g, n) in enumerate(counts):
        label, ground_truth = reference.match(ground_truths[image, :g], boxes[image, :n], **rules)
        positive = label == POSITIVE
        assert torch.equal(matches.label[image, :n], label)
        assert torch.equal(matches.ground_truth[image, :n][positive], ground_truth[positive])
        assert matches.label[image, n:].tolist() == [IGNORED] * (40 - n)
        seen |= set(label.tolist())
    assert seen >= {POSITIVE, NEGATIVE}


# Padding.


def test_padded_boxes_are_ignored_even_where_they_overlap():
    boxes = strips(16, 16, 1)
    boxes_valid = torch.tensor([False, True, True])
    for low_quality in ("none", "forced", "own_best"):
        matches = match(strips(16), torch.tensor([True]), boxes, boxes_valid, **RPN, low_quality=low_quality)
        assert matches.label.tolist() == [IGNORED, POSITIVE, NEGATIVE]


def test_a_padded_box_does_not_take_the_force_of_a_ground_truth():
    """The best real box has IoU 0.5, a padded one 1."""
    matches = match(
        strips(16), torch.tensor([True]), strips(16, 8), torch.tensor([False, True]), **RPN,
        low_quality="forced", low_quality_iou=0.3,
    )  # fmt: skip
    assert matches.label.tolist() == [IGNORED, POSITIVE]


@pytest.mark.parametrize("low_quality", ["none", "forced", "own_best"])
def test_padded_ground_truths_attract_nothing(low_quality):
    """Also not by touching no box at all, at IoU 0."""
    ground_truths = torch.cat((strips(16), torch.zeros(2, 4)))
    matches = match(
        ground_truths, torch.zeros(3, dtype=torch.bool), strips(16, 8), torch.ones(2, dtype=torch.bool), **RPN,
        low_quality=low_quality,
    )  # fmt: skip
    assert matches.label.tolist() == [NEGATIVE, NEGATIVE]


@pytest.mark.parametrize("low_quality", ["none", "forced", "own_best"])
def test_more_padding_changes_nothing(low_quality):
    ground_truths, boxes = random_boxes(2, 5, seed=4), random_boxes(2, 30, seed=5)
    rules = RPN | {"low_quality": low_quality, "low_quality_iou": 0.3}
    before = match_all(ground_truths, boxes, **rules)
    more_ground_truths = torch.cat((ground_truths, random_boxes(2, 3, seed=6)), dim=1)
    more_boxes = torch.cat((boxes, random_boxes(2, 7, seed=7)), dim=1)
    valid_ground_truths, valid_boxes = (torch.arange(8) < 5).expand(2, 8), (torch.arange(37) < 30).expand(2, 37)
    after = match(more_ground_truths, valid_ground_truths, more_boxes, valid_boxes, **rules)
    assert torch.equal(after.label[:, :30], before.label)
    positive = before.label == POSITIVE
    assert torch.equal(after.ground_truth[:, :30][positive], before.ground_truth[positive])


# Don't-care regions.


def test_a_negative_that_lies_mostly_in_a_region_is_ignored():
    """10 x 10 boxes that lie in the region by 0.6, exactly 0.5, and not at all."""
    boxes = torch.tensor([[4.0, 0.0, 14.0, 10.0], [5.0, 0.0, 15.0, 10.0], [30.0, 0.0, 40.0, 10.0]])
    region = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    label = ignore_overlapping(torch.tensor([NEGATIVE] * 3), boxes, region, torch.tensor([True]))
    assert label.tolist() == [IGNORED, NEGATIVE, NEGATIVE]


def test_a_small_box_in_a_large_region_is_ignored_and_a_large_box_around_a_small_region_is_not():
    boxes = torch.tensor([[40.0, 40.0, 42.0, 42.0], [0.0, 0.0, 100.0, 100.0]])
    region = torch.tensor([[30.0, 30.0, 60.0, 60.0]])
    label = ignore_overlapping(torch.tensor([NEGATIVE] * 2), boxes, region, torch.tensor([True]))
    assert label.tolist() == [IGNORED, NEGATIVE]


def test_positives_in_a_region_stay_positive_and_empty_slots_are_no_regions():
    boxes, region = strips(1, 1), strips(16)
    assert ignore_overlapping(torch.tensor([POSITIVE, NEGATIVE]), boxes, region, torch.tensor([True])).tolist() == [
        POSITIVE,
        IGNORED,
    ]
    assert ignore_overlapping(torch.tensor([POSITIVE, NEGATIVE]), boxes, region, torch.tensor([False])).tolist() == [
        POSITIVE,
        NEGATIVE,
    ]


def test_two_regions_that_share_a_box_do_not_add_up():
    """Each holds 0.4 of it."""
    regions = torch.tensor([[0.0, 0.0, 4.0, 10.0], [6.0, 0.0, 10.0, 10.0]])
    label = ignore_overlapping(
        torch.tensor([NEGATIVE]), torch.tensor([[0.0, 0.0, 10.0, 10.0]]), regions, torch.tensor([True, True])
    )
    assert label.tolist() == [NEGATIVE]


def test_ignoring_equals_the_reference():
    boxes, regions = random_boxes(3, 40, seed=8, extent=60.0), random_boxes(3, 5, seed=9, extent=60.0)
    valid = torch.arange(5) < torch.tensor([[5], [2], [0]])
    label = torch.randint(-1, 2, (3, 40), generator=torch.Generator().manual_seed(10))
    result = ignore_overlapping(label, boxes, regions, valid)
    for image, count in enumerate((5, 2, 0)):
        expected = reference.ignore_overlapping(label[image], boxes[image], regions[image, :count])
        assert torch.equal(result[image], expected)
    assert (result != label).any()


# Empty and degenerate.


@pytest.mark.parametrize("slots", [0, 3])
def test_without_ground_truths_everything_is_negative(slots):
    for low_quality in ("none", "forced", "own_best"):
        matches = match(
            torch.zeros(2, slots, 4), torch.zeros(2, slots, dtype=torch.bool), random_boxes(2, 4, seed=11).float(),
            torch.tensor([[True] * 4, [True] * 3 + [False]]), **RPN, low_quality=low_quality,
        )  # fmt: skip
        assert matches.label.tolist() == [[NEGATIVE] * 4, [NEGATIVE] * 3 + [IGNORED]]
        assert matches.ground_truth.tolist() == [[0] * 4] * 2


def test_without_regions_nothing_is_ignored():
    label = torch.tensor([NEGATIVE, POSITIVE])
    assert torch.equal(ignore_overlapping(label, strips(1, 2), torch.zeros(0, 4), torch.zeros(0).bool()), label)


def test_boxes_without_area_are_negative_and_never_ignored():
    points = torch.tensor([[5.0, 0.5, 5.0, 0.5]])
    assert match_all(strips(16), points, **RPN).label.tolist() == [NEGATIVE]
    assert ignore_overlapping(torch.tensor([NEGATIVE]), points, strips(16), torch.tensor([True])).tolist() == [NEGATIVE]
