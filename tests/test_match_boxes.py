"""Matching as an op: by hand, against the loop, and at every edge; the compiled kernel and the PyTorch one alike."""

import math

import pytest
import torch
from random_inputs import hostile_boxes, small_world

from maskrcnn import ops
from maskrcnn.boxes import iou
from maskrcnn.ops import fallback_matching
from maskrcnn.reference import matching as reference

NAN, INFINITY = math.nan, math.inf


def match(ground_truths, boxes, floor=0.0, ground_truths_valid=None, boxes_valid=None):
    """IoU, ground truth and force (N,) of one image, on which the compiled kernel and PyTorch's agree."""
    masks = [
        torch.ones(len(tensor), dtype=torch.bool) if mask is None else torch.tensor(mask)
        for tensor, mask in ((ground_truths, ground_truths_valid), (boxes, boxes_valid))
    ]
    arguments = ground_truths[None], masks[0][None], boxes[None], masks[1][None], floor
    dispatched, vectorised = torch.ops.maskrcnn.match_boxes(*arguments), fallback_matching.match_boxes(*arguments)
    for result, other in zip(dispatched, vectorised, strict=True):
        assert result.dtype == other.dtype and torch.equal(result, other)
    return [result[0] for result in dispatched]


def strips(*widths: float) -> torch.Tensor:
    """Boxes (N, 4) of height 1 from the origin: two such strips have the IoU of the shorter width over the longer."""
    return torch.tensor([[0.0, 0.0, width, 1.0] for width in widths])


# Worked by hand


def test_iou_ground_truth_and_force():
    overlap, ground_truth, forced = match(strips(10, 4), strips(8, 4, 1))
    torch.testing.assert_close(overlap, torch.tensor([0.8, 1.0, 0.25]))
    assert ground_truth.tolist() == [0, 1, 1]
    assert forced.tolist() == [0, 1, -1]


def test_of_equal_overlaps_the_first_ground_truth_is_found_but_the_last_forces():
    _, ground_truth, forced = match(strips(10, 10), strips(10, 5))
    assert ground_truth.tolist() == [0, 0] and forced.tolist() == [1, -1]


def test_every_box_that_ties_is_forced():
    assert match(strips(16), strips(8, 8, 7))[2].tolist() == [0, 0, -1]


def test_the_floor_itself_is_enough():
    for floor, expected in ((0.25, [0]), (0.26, [-1])):
        assert match(strips(16), strips(4), floor)[2].tolist() == expected


def test_a_ground_truth_that_touches_nothing_ties_with_everything():
    far = torch.tensor([[90.0, 90, 99, 99]])
    assert match(far, strips(16, 2), 0.0)[2].tolist() == [0, 0]
    assert match(far, strips(16, 2), 0.1)[2].tolist() == [-1, -1]


def test_padding_overlaps_nothing_and_forces_nothing():
    overlap, ground_truth, forced = match(strips(16, 8), strips(8, 16), 0.0, [True, False], [True, False])
    assert overlap.tolist() == [0.5, 0.0] and ground_truth.tolist() == [0, 0] and forced.tolist() == [0, -1]
    overlap, ground_truth, forced = match(strips(16, 8), strips(8, 16), 0.0, [False, False])
    assert overlap.tolist() == [0.0, 0.0] and ground_truth.tolist() == [0, 0] and forced.tolist() == [-1, -1]


@pytest.mark.parametrize("corner", [NAN, INFINITY, -INFINITY])
@pytest.mark.parametrize("place", range(4))
def test_what_is_not_finite_counts_as_padding(place, corner):
    """Also at IoU 0, where a ground truth that touches nothing would tie with everything."""
    boxes, ground_truths = strips(8, 16), strips(16, 4)
    boxes[0, place], ground_truths[1, place] = corner, corner
    expected = match(strips(16, 4), strips(8, 16), 0.0, [True, False], [False, True])
    for found, right in zip(match(ground_truths, boxes), expected, strict=True):
        assert torch.equal(found, right)


# Against the loop


@pytest.mark.parametrize("boxes", [1, 7, 256, 257, 600])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_agrees_with_the_loop_where_ties_are_everywhere(dtype, boxes):
    """Up to three blocks of the compiled kernel; a tie may lie in a later block than the first."""
    for seed, (slots, floor) in enumerate([(1, 0.0), (5, 0.0), (9, 0.3), (9, 1.0)]):
        ground_truths = small_world(slots, seed=seed, dtype=dtype)
        candidates = small_world(boxes, seed=100 + seed, dtype=dtype)
        found = match(ground_truths, candidates, floor)
        for result, expected in zip(found, reference.match_boxes(ground_truths, candidates, floor), strict=True):
            assert torch.equal(result, expected), (seed, floor)


def test_agrees_with_the_loop_on_hostile_values():
    for case, (boxes, ground_truths) in enumerate(hostile_boxes(20, few=7)):
        found = match(ground_truths, boxes, 0.0)
        for result, expected in zip(found, reference.match_boxes(ground_truths, boxes, 0.0), strict=True):
            assert torch.equal(result, expected), case


def test_an_iou_is_the_same_number_as_that_of_the_library():
    """To the last bit: thresholds and ties depend on it."""
    generator = torch.Generator().manual_seed(0)
    corner = 50 * torch.rand(2, 300, 2, generator=generator)
    ground_truths, boxes = torch.cat((corner, corner + 40 * torch.rand(2, 300, 2, generator=generator)), dim=-1)
    assert torch.equal(match(ground_truths, boxes)[0], iou(ground_truths, boxes).amax(dim=0))


# The public function


@pytest.mark.parametrize("leading", [(), (3,), (2, 3)])
def test_any_leading_dimensions_and_memory_layout(leading):
    ground_truths = small_world(*leading, 6, seed=1, dtype=torch.float32)
    boxes = small_world(*leading, 50, seed=2, dtype=torch.float32)
    generator = torch.Generator().manual_seed(3)
    ground_truths_valid = torch.rand(*leading, 6, generator=generator) < 0.7
    boxes_valid = torch.rand(*leading, 50, generator=generator) < 0.7
    results = ops.match_boxes(ground_truths, ground_truths_valid, boxes, boxes_valid, floor=0.2)
    other_way_round = [tensor.mT.contiguous().mT for tensor in (ground_truths, boxes)]
    again = ops.match_boxes(other_way_round[0], ground_truths_valid, other_way_round[1], boxes_valid, floor=0.2)
    for result, repeated in zip(results, again, strict=True):
        assert result.shape == (*leading, 50) and torch.equal(result, repeated)
    for image in range(math.prod(leading)):
        alone = [
            tensor.reshape(-1, *tensor.shape[len(leading) :])[image]
            for tensor in (ground_truths, ground_truths_valid, boxes, boxes_valid)
        ]
        for result, expected in zip(results, ops.match_boxes(*alone, floor=0.2), strict=True):
            assert torch.equal(result.reshape(-1, 50)[image], expected)


@pytest.mark.parametrize("shape", [(1, 0, 4), (1, 3, 0), (0, 3, 4), (2, 0, 0)])
def test_nothing_to_compare(shape):
    images, slots, count = shape
    results = ops.match_boxes(
        torch.ones(images, slots, 4), torch.ones(images, slots).bool(), torch.ones(images, count, 4),
        torch.ones(images, count).bool(), floor=0.0,
    )  # fmt: skip
    assert [result.shape for result in results] == [(images, count)] * 3
    if slots == 0:
        assert not results[0].any() and not results[1].any() and (results[2] == -1).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_sixteen_bit_boxes_are_compared_in_float32(dtype):
    ground_truths, boxes = (small_world(n, seed=n, dtype=torch.float32) * 1.01 for n in (6, 80))
    ground_truths, boxes = ground_truths.to(dtype), boxes.to(dtype)
    masks = torch.ones(6, dtype=torch.bool), torch.ones(80, dtype=torch.bool)
    expected = ops.match_boxes(ground_truths.float(), masks[0], boxes.float(), masks[1], floor=0.1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast = ops.match_boxes(ground_truths, masks[0], boxes, masks[1], floor=0.1)
        direct = torch.ops.maskrcnn.match_boxes(ground_truths[None], masks[0][None], boxes[None], masks[1][None], 0.1)
    plain = ops.match_boxes(ground_truths, masks[0], boxes, masks[1], floor=0.1)
    for right, *found in zip(expected, plain, under_autocast, (result[0] for result in direct), strict=True):
        assert all(torch.equal(right, result) for result in found)


def test_gives_no_gradient():
    boxes = strips(8, 4).requires_grad_()
    valid = torch.ones(2, dtype=torch.bool)
    assert not any(result.requires_grad for result in ops.match_boxes(boxes, valid, boxes, valid, floor=0.0))


ERRORS = {
    "integer boxes": (TypeError, "boxes must be .* found a tensor of torch.int64", {"boxes": torch.zeros(3, 4).long()}),
    "ground truths not a tensor": (TypeError, "ground_truths .* found list", {"ground_truths": [[0.0, 0, 1, 1]]}),
    "masks of numbers": (
        TypeError,
        "boxes_valid .* torch.bool, found .* torch.float32",
        {"boxes_valid": torch.ones(3)},
    ),
    "one box": (ValueError, r"boxes must be \(\.\.\., N, 4\), found \(4,\)", {"boxes": torch.zeros(4)}),
    "other images": (
        ValueError,
        r"ground_truths must be \(2, 4\) to fit the rest, found \(5, 2, 4\)",
        {"ground_truths": torch.zeros(5, 2, 4)},
    ),
    "a short mask": (ValueError, r"boxes_valid must be \(3,\) .* found \(2,\)", {"boxes_valid": torch.ones(2).bool()}),
    "a long mask": (
        ValueError,
        r"ground_truths_valid must be \(2,\) .* found \(3,\)",
        {"ground_truths_valid": torch.ones(3).bool()},
    ),
    "elsewhere": (
        ValueError,
        "boxes are on cpu but ground_truths on meta",
        {"ground_truths": torch.zeros(2, 4, device="meta")},
    ),
    "a floor above 1": (ValueError, r"floor must be in \[0, 1\], found 1.5", {"floor": 1.5}),
    "a floor of NaN": (ValueError, r"floor must be in \[0, 1\], found nan", {"floor": NAN}),
}


@pytest.mark.parametrize("error, message, change", ERRORS.values(), ids=ERRORS)
def test_mistakes_are_named(error, message, change):
    right = {"ground_truths": torch.zeros(2, 4), "ground_truths_valid": torch.ones(2).bool()}
    right |= {"boxes": torch.zeros(3, 4), "boxes_valid": torch.ones(3).bool(), "floor": 0.5}
    assert ops.match_boxes(**right)[0].shape == (3,)
    with pytest.raises(error, match="^match_boxes: .*" + message):
        ops.match_boxes(**right | change)


def test_registration_is_complete():
    valid = torch.tensor([[True] * 5 + [False]] * 2)
    ground_truths, boxes = (small_world(2, n, seed=n, dtype=torch.float64) for n in (6, 30))
    arguments = (ground_truths, valid, boxes, torch.ones(2, 30, dtype=torch.bool), 0.2)
    report = torch.library.opcheck(torch.ops.maskrcnn.match_boxes.default, arguments)
    assert set(report.values()) == {"SUCCESS"}
