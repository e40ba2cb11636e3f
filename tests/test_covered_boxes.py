"""Boxes in regions as an op: by hand, against the loop, and at every edge; the compiled kernel and PyTorch's alike."""

import math

import pytest
import torch
from random_inputs import hostile_boxes, small_world

from maskrcnn import ops
from maskrcnn.ops import fallback_matching
from maskrcnn.reference import matching as reference

NAN, INFINITY = math.nan, math.inf


def cover(boxes, regions, regions_valid=None, fraction=0.5):
    """Which boxes (N,) of one image are covered, on which the compiled kernel and PyTorch's agree."""
    valid = torch.ones(len(regions), dtype=torch.bool) if regions_valid is None else torch.tensor(regions_valid)
    arguments = boxes[None], regions[None], valid[None], fraction
    dispatched, vectorised = torch.ops.maskrcnn.covered_boxes(*arguments), fallback_matching.covered_boxes(*arguments)
    assert dispatched.dtype == vectorised.dtype == torch.bool and torch.equal(dispatched, vectorised)
    return dispatched[0]


def by_the_loop(boxes, regions):
    """The boxes whose label the loop takes away if all of them are negatives: those covered by more than half."""
    negatives = torch.full((len(boxes),), reference.NEGATIVE)
    return reference.ignore_overlapping(negatives, boxes, regions) == reference.IGNORED


def squares(*corners: tuple[float, float, float]) -> torch.Tensor:
    """Boxes (N, 4) from x1, y1 and the length of a side."""
    return torch.tensor([[x, y, x + side, y + side] for x, y, side in corners])


# Worked by hand


def test_exactly_the_fraction_is_not_enough():
    """10 x 10 boxes that lie in the region by 0.6, exactly 0.5, and not at all."""
    boxes, region = squares((4.0, 0, 10), (5, 0, 10), (30, 0, 10)), squares((0.0, 0, 10))
    assert cover(boxes, region).tolist() == [True, False, False]
    for fraction, expected in ((0.49, [True, True]), (0.59, [True, False]), (0.61, [False, False])):
        assert cover(boxes, region, fraction=fraction)[:2].tolist() == expected


def test_with_a_fraction_of_zero_any_shared_area_is_enough():
    boxes = squares((9.9, 9.9, 50), (10.0, 0, 10), (10.0, 10, 10))
    assert cover(boxes, squares((0.0, 0, 10)), fraction=0.0).tolist() == [True, False, False]


def test_a_box_is_never_covered_by_more_than_all_of_it():
    assert cover(squares((2.0, 2, 3)), squares((0.0, 0, 10)), fraction=1.0).tolist() == [False]


def test_a_small_box_in_a_large_region_is_covered_and_a_large_box_around_a_small_region_is_not():
    assert cover(squares((40.0, 40, 2), (0.0, 0, 100)), squares((30.0, 30, 30))).tolist() == [True, False]


def test_two_regions_that_share_a_box_do_not_add_up():
    """Each holds 0.4 of it."""
    regions = torch.tensor([[0.0, 0.0, 4.0, 10.0], [6.0, 0.0, 10.0, 10.0]])
    assert cover(squares((0.0, 0, 10)), regions).tolist() == [False]


def test_each_of_many_regions_counts_and_padding_does_not():
    regions = squares(*[(100.0 + 20 * place, 0, 10) for place in range(9)], (0.0, 0, 10))
    box = squares((1.0, 1, 8))
    assert cover(box, regions).tolist() == cover(box, regions.flip(0)).tolist() == [True]
    assert cover(box, regions, [True] * 9 + [False]).tolist() == [False]
    assert cover(box, regions, [False] * 9 + [True]).tolist() == [True]
    assert cover(box, regions, [False] * 10).tolist() == [False]


def test_without_area_nothing_is_covered_and_nothing_covers():
    flat = torch.tensor([[5.0, 5, 5, 5], [5, 2, 5, 8], [8, 8, 2, 2], [2, 8, 8, 2], [1e-30, 1e-30, 2e-30, 2e-30]])
    assert not cover(flat, squares((0.0, 0, 10)), fraction=0.0).any()
    assert not cover(squares((0.0, 0, 10)), flat[:4], fraction=0.0).any()


@pytest.mark.parametrize("place", range(4))
def test_a_nan_is_never_covered_and_covers_nothing(place):
    box, region = squares((2.0, 2, 3)), squares((0.0, 0, 10))
    assert cover(box, region, fraction=0.0).tolist() == [True]
    strange_box, strange_region = box.clone(), region.clone()
    strange_box[0, place], strange_region[0, place] = NAN, NAN
    assert cover(strange_box, region, fraction=0.0).tolist() == [False]
    assert cover(box, strange_region, fraction=0.0).tolist() == [False]
    assert cover(box, torch.cat((region, strange_region, region + 50))).tolist() == [True], "others still cover it"


def test_a_region_without_end_covers_what_lies_in_it():
    half_plane = torch.tensor([[-INFINITY, -INFINITY, 5.0, INFINITY]])
    assert cover(squares((1.0, 1, 3), (4.0, 1, 3)), half_plane).tolist() == [True, False]


# Against the loop


@pytest.mark.parametrize("boxes", [1, 7, 256, 257, 600])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_agrees_with_the_loop_where_halves_are_common(dtype, boxes):
    """Up to three blocks of the compiled kernel."""
    covered = 0
    for seed, slots in enumerate([1, 4, 5, 9]):
        regions = small_world(slots, seed=seed, dtype=dtype)
        candidates = small_world(boxes, seed=100 + seed, dtype=dtype)
        found = cover(candidates, regions)
        assert torch.equal(found, by_the_loop(candidates, regions)), slots
        covered += found.sum()
    assert 0 < covered < 4 * boxes or boxes == 1


def test_agrees_with_the_loop_on_hostile_values():
    for case, (boxes, regions) in enumerate(hostile_boxes(20, few=7)):
        assert torch.equal(cover(boxes, regions), by_the_loop(boxes, regions)), case


# The public function


@pytest.mark.parametrize("leading", [(), (3,), (2, 3)])
def test_any_leading_dimensions_and_memory_layout(leading):
    boxes = small_world(*leading, 50, seed=2, dtype=torch.float32)
    regions = small_world(*leading, 6, seed=1, dtype=torch.float32)
    valid = torch.rand(*leading, 6, generator=torch.Generator().manual_seed(3)) < 0.7
    covered = ops.covered_boxes(boxes, regions, valid, fraction=0.3)
    assert covered.shape == (*leading, 50) and covered.any() and not covered.all()
    other_way_round = [tensor.mT.contiguous().mT for tensor in (boxes, regions)]
    assert torch.equal(ops.covered_boxes(*other_way_round, valid, fraction=0.3), covered)
    for image in range(math.prod(leading)):
        alone = [
            tensor.reshape(-1, *tensor.shape[len(leading) :])[image].contiguous() for tensor in (boxes, regions, valid)
        ]
        assert torch.equal(covered.reshape(-1, 50)[image], ops.covered_boxes(*alone, fraction=0.3))


def test_anchors_that_all_images_share():
    anchors, regions = small_world(70, seed=1, dtype=torch.float32), small_world(2, 3, seed=5, dtype=torch.float32)
    valid = torch.tensor([[True, False, True], [False] * 3])
    covered = ops.covered_boxes(anchors.expand(2, -1, -1), regions, valid, fraction=0.5)
    assert torch.equal(covered[0], by_the_loop(anchors, regions[0, [0, 2]])) and covered[0].any()
    assert not covered[1].any()


@pytest.mark.parametrize("shape", [(1, 0, 4), (1, 3, 0), (0, 3, 4), (2, 0, 0)])
def test_nothing_to_compare(shape):
    images, slots, count = shape
    arguments = torch.ones(images, count, 4), torch.ones(images, slots, 4), torch.ones(images, slots).bool()
    for covered in (ops.covered_boxes(*arguments, fraction=0.0), fallback_matching.covered_boxes(*arguments, 0.0)):
        assert covered.shape == (images, count) and covered.dtype == torch.bool and not covered.any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_sixteen_bit_boxes_are_compared_in_float32(dtype):
    boxes, regions = ((small_world(n, seed=n, dtype=torch.float32) * 1.01).to(dtype) for n in (80, 6))
    valid = torch.ones(6, dtype=torch.bool)
    expected = ops.covered_boxes(boxes.float(), regions.float(), valid, fraction=0.4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast = ops.covered_boxes(boxes, regions, valid, fraction=0.4)
        direct = torch.ops.maskrcnn.covered_boxes(boxes[None], regions[None], valid[None], 0.4)[0]
    for found in (ops.covered_boxes(boxes, regions, valid, fraction=0.4), under_autocast, direct):
        assert torch.equal(found, expected)
    assert expected.any() and not expected.all()


def test_gives_no_gradient():
    boxes = squares((0.0, 0, 10)).requires_grad_()
    covered = ops.covered_boxes(boxes, boxes, torch.tensor([True]), fraction=0.5)
    assert covered.tolist() == [True] and not covered.requires_grad


ERRORS = {
    "integer boxes": (TypeError, "boxes must be .* found a tensor of torch.int64", {"boxes": torch.zeros(3, 4).long()}),
    "regions not a tensor": (TypeError, "regions .* found list", {"regions": [[0.0, 0, 1, 1]]}),
    "a mask of numbers": (
        TypeError,
        "regions_valid .* torch.bool, found .* torch.float32",
        {"regions_valid": torch.ones(2)},
    ),
    "one box": (ValueError, r"boxes must be \(\.\.\., N, 4\), found \(4,\)", {"boxes": torch.zeros(4)}),
    "regions of three numbers": (
        ValueError,
        r"regions must be \(\.\.\., M, 4\), found \(2, 3\)",
        {"regions": torch.zeros(2, 3)},
    ),
    "other images": (
        ValueError,
        r"regions must be \(2, 4\) to fit the rest, found \(5, 2, 4\)",
        {"regions": torch.zeros(5, 2, 4)},
    ),
    "a long mask": (
        ValueError,
        r"regions_valid must be \(2,\) .* found \(3,\)",
        {"regions_valid": torch.ones(3).bool()},
    ),
    "elsewhere": (
        ValueError,
        "boxes are on cpu but regions on meta",
        {"regions": torch.zeros(2, 4, device="meta")},
    ),
    "a fraction above 1": (ValueError, r"fraction must be in \[0, 1\], found 1.5", {"fraction": 1.5}),
    "a fraction of NaN": (ValueError, r"fraction must be in \[0, 1\], found nan", {"fraction": NAN}),
}


@pytest.mark.parametrize("error, message, change", ERRORS.values(), ids=ERRORS)
def test_mistakes_are_named(error, message, change):
    right = {"boxes": torch.zeros(3, 4), "regions": torch.zeros(2, 4), "regions_valid": torch.ones(2).bool()}
    right["fraction"] = 0.5
    assert ops.covered_boxes(**right).shape == (3,)
    with pytest.raises(error, match="^covered_boxes: .*" + message):
        ops.covered_boxes(**right | change)


def test_registration_is_complete():
    valid = torch.tensor([[True] * 5 + [False]] * 2)
    boxes, regions = (small_world(2, n, seed=n, dtype=torch.float64) for n in (30, 6))
    report = torch.library.opcheck(torch.ops.maskrcnn.covered_boxes.default, (boxes, regions, valid, 0.5))
    assert set(report.values()) == {"SUCCESS"}
