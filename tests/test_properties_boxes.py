"""NMS, matching and don't-care regions on anything: implementations and the loop agree, and what defines them holds."""

import math

import torch
from hostile_inputs import (
    FLOATING,
    INFINITY,
    NAN,
    assert_same,
    boxes,
    counts,
    flags,
    integers,
    laid_out,
    leading_shapes,
    values,
)
from hypothesis import given
from hypothesis import strategies as st

from maskrcnn import boxes as box_functions
from maskrcnn import ops
from maskrcnn.ops import fallback, fallback_matching
from maskrcnn.reference import matching as reference_matching
from maskrcnn.reference import nms as reference_nms

dtypes = st.sampled_from(FLOATING)
fractions = st.one_of(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.floats(0, 1))
around_blocks = st.one_of(counts, st.sampled_from([63, 64, 65]))


@st.composite
def candidates(draw, shape=leading_shapes, count=around_blocks):
    """Arguments of `ops.nms`."""
    shape, count = draw(shape), draw(count)
    groups = draw(integers(*shape, count, ordinary=2)) if draw(st.booleans()) else None
    tensors = draw(boxes(*shape, count, dtype=draw(dtypes))), draw(values(*shape, count, dtype=draw(dtypes))), groups
    return tensors, {"iou_threshold": draw(fractions), "max_keep": draw(st.integers(0, count + 3))}


def compared(found: torch.Tensor, other: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """In the dtype in which the ops compare them."""
    dtype = torch.promote_types(torch.promote_types(found.dtype, other.dtype), torch.float32)
    return found.to(dtype), other.to(dtype)


# NMS


@given(candidates())
def test_nms_equals_the_loop_and_the_fallback(arguments):
    (corners, scores, groups), settings = arguments
    keep = ops.nms(corners, scores, groups, **settings)
    assert keep.shape == (*scores.shape[:-1], settings["max_keep"])
    corners, scores = compared(corners, scores)
    images, count = math.prod(scores.shape[:-1]), scores.shape[-1]
    keep = keep.reshape(images, settings["max_keep"])
    corners, scores = corners.reshape(images, count, 4), scores.reshape(images, count)
    groups = None if groups is None else groups.reshape(images, count)
    assert_same(keep, fallback.nms(corners, scores, groups, *settings.values()))
    for image in range(images):
        group = None if groups is None else groups[image]
        assert_same(keep[image], reference_nms.nms(corners[image], scores[image], group, **settings))


@given(candidates(shape=st.just(())))
def test_survivors_are_sorted_and_do_not_overlap_and_the_others_overlap_one(arguments):
    (corners, scores, groups), settings = arguments
    count = len(scores)
    keep = ops.nms(corners, scores, groups, **settings).tolist()
    corners, scores = compared(corners, scores)
    survivors = [index for index in keep if index >= 0]
    assert keep == survivors + [-1] * (len(keep) - len(survivors))
    order = [(-scores[index].item(), index) for index in survivors]
    assert order == sorted(set(order))
    is_candidate = (scores > -INFINITY) & ~corners.isnan().any(dim=-1)
    assert is_candidate[survivors].all()
    suppresses = box_functions.iou(corners, corners) > settings["iou_threshold"]
    if groups is not None:
        suppresses &= groups[:, None] == groups
    assert not suppresses[survivors][:, survivors].triu(diagonal=1).any()
    if len(survivors) < settings["max_keep"]:  # then none was left out but those that were suppressed
        for index in set(range(count)) - set(survivors):
            better = [other for (score, other) in order if (score, other) < (-scores[index].item(), index)]
            assert not is_candidate[index] or suppresses[better, index].any()


@given(candidates(), st.data())
def test_nms_does_not_see_memory_layouts(arguments, data):
    tensors, settings = arguments
    layouts = [None if tensor is None else data.draw(laid_out(tensor)) for tensor in tensors]
    plain = [None if tensor is None else tensor.clone(memory_format=torch.contiguous_format) for tensor in layouts]
    assert_same(ops.nms(*layouts, **settings), ops.nms(*plain, **settings))


@given(candidates(shape=st.just((3,))), st.permutations(range(3)), st.data())
def test_nms_does_not_see_other_images_or_padding(arguments, order, data):
    (corners, scores, groups), settings = arguments
    count = scores.shape[1]
    keep = ops.nms(corners, scores, groups, **settings)
    moved = [None if tensor is None else tensor[list(order)] for tensor in (corners, scores, groups)]
    assert_same(ops.nms(*moved, **settings), keep[list(order)])
    # Slots of padding between the others: each candidate is found in its new place.
    padding = 3
    place = torch.tensor(sorted(data.draw(st.permutations(range(count + padding)))[:count]), dtype=torch.int64)
    padded_corners = corners.new_zeros(3, count + padding, 4).index_copy(1, place, corners)
    empty = data.draw(st.sampled_from([-INFINITY, NAN]))
    padded_scores = scores.new_full((3, count + padding), empty).index_copy(1, place, scores)
    padded_groups = None if groups is None else groups.new_zeros(3, count + padding).index_copy(1, place, groups)
    padded = ops.nms(padded_corners, padded_scores, padded_groups, **settings)
    assert_same(padded, torch.where(keep >= 0, torch.cat((place, place.new_zeros(1)))[keep], -1))


# Matching


@st.composite
def pairs(draw, shape=leading_shapes):
    """Arguments of `ops.match_boxes`."""
    shape, slots = draw(shape), draw(counts)
    count = draw(st.one_of(counts, st.sampled_from([255, 256, 257])))
    ground_truths = draw(boxes(*shape, slots, dtype=draw(dtypes)))
    tensors = ground_truths, draw(flags(*shape, slots)), draw(boxes(*shape, count, dtype=draw(dtypes)))
    return (*tensors, draw(flags(*shape, count))), draw(fractions)


def match(arguments, floor):
    return ops.match_boxes(*arguments, floor=floor)


@given(pairs(shape=st.sampled_from([(1,), (2,)])))
def test_matching_equals_the_loop_and_the_fallback(arguments):
    (ground_truths, ground_truths_valid, corners, corners_valid), floor = arguments
    found = match(*arguments)
    ground_truths, corners = compared(ground_truths, corners)
    vectorised = fallback_matching.match_boxes(
        ground_truths, ground_truths_valid, corners, corners_valid, float(floor)
    )
    for result, expected in zip(found, vectorised, strict=True):
        assert_same(result, expected)
    if corners.shape[1] > 20:
        return  # too many for the loop
    for image in range(len(corners)):
        slots, places = ground_truths_valid[image].nonzero()[:, 0], corners_valid[image].nonzero()[:, 0]
        iou, which, forced = reference_matching.match_boxes(ground_truths[image, slots], corners[image, places], floor)
        assert_same(found[0][image, places], iou)
        slots = torch.cat((slots, slots.new_tensor([-1])))  # -1 stays -1
        assert_same(found[1][image, places], torch.where(iou > 0, slots[which], found[1][image, places]))
        assert_same(found[2][image, places], slots[forced])
        assert (found[0][image, ~corners_valid[image]] == 0).all()


def exact_iou(a: list[float], b: list[float]) -> float:
    """In Python's own numbers, for boxes without hostile ones."""
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = sum(max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1]) for box in (a, b)) - width * height
    return width * height / union if union > 0 else 0.0


@given(st.data(), st.integers(1, 6), st.integers(1, 6), dtypes)
def test_matching_equals_brute_force(data, slots, count, dtype):
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 2**32 - 1)))
    truths, corners = (
        torch.cat((low, low + torch.randint(0, 9, (number, 2), generator=generator)), dim=1).to(dtype)
        for number in (slots, count)
        for low in [torch.randint(0, 9, (number, 2), generator=generator)]
    )
    valid = data.draw(flags(slots))
    iou, which, forced = ops.match_boxes(truths, valid, corners, torch.ones(count).bool(), floor=0.1)
    exact = torch.tensor(
        [[exact_iou(truth, box) if real else -1.0 for box in corners.tolist()]
         for truth, real in zip(truths.tolist(), valid.tolist(), strict=True)], dtype=torch.float64,
    )  # fmt: skip
    torch.testing.assert_close(iou.double(), exact.amax(dim=0).clamp(min=0), rtol=1e-6, atol=0)
    for box in range(count):
        real = valid.nonzero()[:, 0].tolist()
        close = [slot for slot in real if exact[slot, box] > exact[:, box].max() - 1e-6]
        assert which[box] in (close or [0])
        ties = [
            slot for slot in real if exact[slot].max() >= 0.1 - 1e-6 and exact[slot, box] > exact[slot].max() - 1e-6
        ]
        assert forced[box] == max(ties, default=-1)


@given(pairs(), st.data())
def test_matching_does_not_see_memory_layouts(arguments, data):
    tensors, floor = arguments
    layouts = [data.draw(laid_out(tensor)) for tensor in tensors]
    plain = [tensor.clone(memory_format=torch.contiguous_format) for tensor in layouts]
    for result, expected in zip(match(layouts, floor), match(plain, floor), strict=True):
        assert_same(result, expected)


@given(pairs(shape=st.just((3,))), st.permutations(range(3)), st.data())
def test_matching_does_not_see_other_images_or_padding(arguments, order, data):
    tensors, floor = arguments
    found = match(*arguments)
    for result, expected in zip(match([tensor[list(order)] for tensor in tensors], floor), found, strict=True):
        assert_same(result, expected[list(order)])
    ground_truths, ground_truths_valid, corners, corners_valid = tensors
    more_truths = torch.cat((ground_truths, data.draw(boxes(3, 2, dtype=ground_truths.dtype))), dim=1)
    more_corners = torch.cat((corners, data.draw(boxes(3, 5, dtype=corners.dtype))), dim=1)
    invalid = torch.zeros(3, 5, dtype=torch.bool)
    padded = match(
        (
            more_truths, torch.cat((ground_truths_valid, invalid[:, :2]), dim=1),
            more_corners, torch.cat((corners_valid, invalid), dim=1),
        ),
        floor,
    )  # fmt: skip
    for result, expected, nothing in zip(padded, found, (0, 0, -1), strict=True):
        assert_same(result[:, : corners.shape[1]], expected)
        assert (result[:, corners.shape[1] :] == nothing).all()


# Boxes in regions


@st.composite
def boxes_and_regions(draw, shape=leading_shapes):
    """Arguments of `ops.covered_boxes`."""
    shape, slots = draw(shape), draw(counts)
    count = draw(st.one_of(counts, st.sampled_from([255, 256, 257])))
    corners = draw(boxes(*shape, count, dtype=draw(dtypes)))
    return (corners, draw(boxes(*shape, slots, dtype=draw(dtypes))), draw(flags(*shape, slots))), draw(fractions)


def cover(tensors, fraction):
    return ops.covered_boxes(*tensors, fraction=fraction)


@given(boxes_and_regions(shape=st.sampled_from([(1,), (2,)])))
def test_covering_equals_the_fallback_and_by_half_the_loop(arguments):
    (corners, regions, valid), fraction = arguments
    corners, regions = compared(corners, regions)
    assert_same(cover(*arguments), fallback_matching.covered_boxes(corners, regions, valid, float(fraction)))
    if corners.shape[1] > 20:
        return  # too many for the loop
    by_half, negatives = cover(arguments[0], 0.5), torch.full((corners.shape[1],), reference_matching.NEGATIVE)
    for image in range(len(corners)):
        label = reference_matching.ignore_overlapping(negatives, corners[image], regions[image, valid[image]])
        assert_same(by_half[image], label == reference_matching.IGNORED)


@given(boxes_and_regions(shape=st.just((1,))))
def test_what_is_covered_by_more_is_covered_by_less_and_has_an_area(arguments):
    tensors, fraction = arguments
    corners, _ = compared(*tensors[:2])
    covered = cover(tensors, fraction)
    assert (covered <= cover(tensors, fraction / 2)).all()
    assert (box_functions.area(corners)[covered] > 0).all()


@given(boxes_and_regions(), st.data())
def test_covering_does_not_see_memory_layouts(arguments, data):
    tensors, fraction = arguments
    layouts = [data.draw(laid_out(tensor)) for tensor in tensors]
    plain = [tensor.clone(memory_format=torch.contiguous_format) for tensor in layouts]
    assert_same(cover(layouts, fraction), cover(plain, fraction))


@given(boxes_and_regions(shape=st.just((3,))), st.permutations(range(3)), st.data())
def test_covering_does_not_see_other_images_or_padding_or_the_order_of_regions(arguments, order, data):
    tensors, fraction = arguments
    covered = cover(tensors, fraction)
    assert_same(cover([tensor[list(order)] for tensor in tensors], fraction), covered[list(order)])
    corners, regions, valid = tensors
    more = torch.cat((regions, data.draw(boxes(3, 2, dtype=regions.dtype))), dim=1)
    more_valid = torch.cat((valid, torch.zeros(3, 2, dtype=torch.bool)), dim=1)
    place = list(data.draw(st.permutations(range(more.shape[1]))))
    assert_same(cover((corners, more[:, place], more_valid[:, place]), fraction), covered)
