"""NMS: by hand, against the loop, and what happens at every edge; the compiled kernel and the PyTorch one alike."""

import math

import pytest
import torch

from maskrcnn import ops
from maskrcnn.ops import fallback
from maskrcnn.reference import nms as reference

IMPLEMENTATIONS = {"dispatched": torch.ops.maskrcnn.nms, "fallback": fallback.nms}
"""The compiled kernel, where there is one, and PyTorch's; both (boxes, scores, groups, iou_threshold, max_keep)."""

NAN, INFINITY = math.nan, math.inf


@pytest.fixture(params=IMPLEMENTATIONS)
def implementation(request):
    return IMPLEMENTATIONS[request.param]


def small_world(*leading: int, count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Boxes (*leading, count, 4), scores and groups from so few values that ties of score and of IoU are common."""
    generator = torch.Generator().manual_seed(seed)
    corners = torch.randint(0, 12, (*leading, count, 2), generator=generator)
    sizes = torch.randint(0, 9, (*leading, count, 2), generator=generator)
    scores = torch.randint(0, 10, (*leading, count), generator=generator) / 10
    groups = torch.randint(-1, 2, (*leading, count), generator=generator)
    return torch.cat((corners, corners + sizes), dim=-1).float(), scores, groups


# Worked by hand


# B covers 60 of A's 100 pixels and nothing else: IoU 0.6. C is elsewhere.
A, B, C = [0.0, 0, 10, 10], [0.0, 0, 10, 6], [20.0, 20, 30, 30]


def test_the_better_of_two_overlapping_boxes_survives():
    keep = ops.nms(torch.tensor([A, B, C]), torch.tensor([0.8, 0.9, 0.5]), iou_threshold=0.5, max_keep=3)
    assert keep.tolist() == [1, 2, -1]


def test_boxes_that_overlap_less_than_the_threshold_all_survive():
    keep = ops.nms(torch.tensor([A, B, C]), torch.tensor([0.8, 0.9, 0.5]), iou_threshold=0.7, max_keep=3)
    assert keep.tolist() == [1, 0, 2]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_iou_equal_to_the_threshold_does_not_suppress(implementation, dtype):
    boxes = torch.tensor([[[0.0, 0, 2, 2], [0, 0, 2, 1]]], dtype=dtype)  # IoU 1/2, exact in binary
    scores = torch.tensor([[0.9, 0.8]], dtype=dtype)
    below = float(torch.nextafter(torch.tensor(0.5, dtype=dtype), torch.tensor(0.0, dtype=dtype)))
    assert implementation(boxes, scores, None, 0.5, 2).tolist() == [[0, 1]]
    assert implementation(boxes, scores, None, below, 2).tolist() == [[0, -1]]


def test_a_suppressed_box_suppresses_nothing(implementation):
    # Each overlaps its neighbour by half of its width (IoU 1/3), but not the one after that.
    chain = torch.tensor([[[0.0, 0, 2, 1], [1, 0, 3, 1], [2, 0, 4, 1]]])
    assert implementation(chain, torch.tensor([[0.9, 0.8, 0.7]]), None, 0.3, 3).tolist() == [[0, 2, -1]]


def test_of_equal_scores_the_lower_index_comes_first(implementation):
    boxes = torch.tensor([[C, A, A, C]])
    assert implementation(boxes, torch.full((1, 4), 0.5), None, 0.5, 4).tolist() == [[0, 1, -1, -1]]


def test_groups_do_not_suppress_each_other(implementation):
    boxes, scores = torch.tensor([[A, A, A]]), torch.tensor([[0.7, 0.8, 0.9]])
    assert implementation(boxes, scores, torch.tensor([[-5, 7, 7]]), 0.5, 3).tolist() == [[2, 0, -1]]


def test_survivors_of_all_groups_are_ordered_by_score(implementation):
    boxes, scores = torch.tensor([[A, C, B, C]]), torch.tensor([[0.6, 0.9, 0.7, 0.8]])
    assert implementation(boxes, scores, torch.tensor([[0, 1, 2, 3]]), 0.5, 4).tolist() == [[1, 3, 2, 0]]


def test_max_keep_keeps_the_best_and_fills_up(implementation):
    boxes, scores = torch.tensor([[A, C]]), torch.tensor([[0.4, 0.6]])
    assert implementation(boxes, scores, None, 0.5, 1).tolist() == [[1]]
    assert implementation(boxes, scores, None, 0.5, 5).tolist() == [[1, 0, -1, -1, -1]]
    assert implementation(boxes, scores, None, 0.5, 0).shape == (1, 0)


# Against the loop


@pytest.mark.parametrize("count", [1, 2, 40, 130])
@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_agrees_with_the_loop_where_ties_are_everywhere(implementation, dtype, grouped, count):
    for seed, (threshold, max_keep) in enumerate([(0.0, 200), (0.3, 200), (0.5, 10), (0.7, 35), (1.0, 200)]):
        boxes, scores, groups = small_world(3, count=count, seed=seed)
        boxes, scores = boxes.to(dtype), scores.to(dtype)
        keep = implementation(boxes, scores, groups if grouped else None, threshold, max_keep)
        for image in range(3):
            group = groups[image] if grouped else None
            expected = reference.nms(boxes[image], scores[image], group, iou_threshold=threshold, max_keep=max_keep)
            assert keep[image].tolist() == expected.tolist(), (seed, image)


def test_agrees_with_the_loop_when_most_boxes_survive(implementation):
    # More survivors than one block of the compiled kernel holds, spread over the plane so that few overlap.
    generator = torch.Generator().manual_seed(0)
    corner = 400 * torch.rand(1, 400, 2, generator=generator)
    boxes = torch.cat((corner, corner + 10 + 30 * torch.rand(1, 400, 2, generator=generator)), dim=-1)
    scores = torch.rand(1, 400, generator=generator)
    expected = reference.nms(boxes[0], scores[0], iou_threshold=0.3, max_keep=400)
    assert 200 < (expected >= 0).sum() < 400
    assert implementation(boxes, scores, None, 0.3, 400)[0].tolist() == expected.tolist()


def test_agrees_with_the_loop_on_hostile_values(implementation):
    generator = torch.Generator().manual_seed(3)
    values = torch.tensor([NAN, INFINITY, -INFINITY, 0.0, -0.0, 1.0, 2.0, 5.0, -3.0, 1e30, -1e30, 1e-40])
    for seed in range(20):
        boxes = values[torch.randint(0, len(values), (1, 30, 4), generator=generator)]
        boxes[:, ::2] = small_world(1, count=15, seed=seed)[0]
        scores = values[torch.randint(0, 9, (1, 30), generator=generator)]
        expected = reference.nms(boxes[0], scores[0], iou_threshold=0.4, max_keep=30)
        assert implementation(boxes, scores, None, 0.4, 30)[0].tolist() == expected.tolist(), seed


# Slots that are no candidates


def test_minus_infinity_and_nan_scores_mark_padding(implementation):
    boxes = torch.tensor([[A, A, C]])
    scores = torch.tensor([[-INFINITY, NAN, 0.1]])
    assert implementation(boxes, scores, None, 0.5, 3).tolist() == [[2, -1, -1]]


def test_a_box_with_nan_is_neither_kept_nor_suppresses(implementation):
    boxes = torch.tensor([[A, [0.0, 0, NAN, 10], B]])
    assert implementation(boxes, torch.tensor([[0.5, 0.9, 0.4]]), None, 0.5, 3).tolist() == [[0, -1, -1]]


def test_padding_changes_nothing(implementation):
    boxes, scores, groups = small_world(2, count=50, seed=9)
    keep = implementation(boxes, scores, groups, 0.4, 20)
    padded_boxes = torch.cat((boxes, boxes[:, :30]), dim=1)
    padded_scores = torch.cat((scores, torch.full((2, 30), -INFINITY)), dim=1)
    padded_groups = torch.cat((groups, groups[:, :30]), dim=1)
    assert torch.equal(implementation(padded_boxes, padded_scores, padded_groups, 0.4, 20), keep)


def test_boxes_without_area_and_with_swapped_corners_overlap_nothing(implementation):
    point, swapped = [5.0, 5, 5, 5], [10.0, 10, 0, 0]
    boxes = torch.tensor([[A, point, point, swapped, swapped]])
    scores = torch.tensor([[0.9, 0.8, 0.7, 0.6, 0.5]])
    assert implementation(boxes, scores, None, 0.0, 5).tolist() == [[0, 1, 2, 3, 4]]


@pytest.mark.parametrize("shape", [(1, 0), (0, 5), (0, 0)])
def test_nothing_to_choose_from(implementation, shape):
    keep = implementation(torch.zeros(*shape, 4), torch.zeros(shape), torch.zeros(shape, dtype=torch.int64), 0.5, 3)
    assert keep.tolist() == [[-1, -1, -1]] * shape[0]


# The public function


def test_any_leading_dimensions():
    boxes, scores, groups = small_world(2, 3, count=20, seed=4)
    keep = ops.nms(boxes, scores, groups, iou_threshold=0.4, max_keep=7)
    assert keep.shape == (2, 3, 7) and keep.dtype == torch.int64
    for row in range(2):
        for column in range(3):
            alone = ops.nms(boxes[row, column], scores[row, column], groups[row, column], iou_threshold=0.4, max_keep=7)
            assert torch.equal(keep[row, column], alone)


def test_any_memory_layout():
    boxes, scores, groups = small_world(4, count=30, seed=5)
    expected = ops.nms(boxes, scores, groups, iou_threshold=0.4, max_keep=9)
    coordinates_first = boxes.permute(2, 0, 1).contiguous().permute(1, 2, 0)
    images_last = scores.t().contiguous().t(), groups.t().contiguous().t()
    assert torch.equal(ops.nms(coordinates_first, *images_last, iou_threshold=0.4, max_keep=9), expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_sixteen_bit_boxes_are_compared_in_float32(dtype):
    boxes, scores, groups = small_world(40, count=40, seed=6)
    boxes, scores = (boxes + 0.5).to(dtype), scores.to(dtype)
    expected = ops.nms(boxes.float(), scores.float(), groups, iou_threshold=0.45, max_keep=40)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(ops.nms(boxes, scores, groups, iou_threshold=0.45, max_keep=40), expected)
        assert torch.equal(torch.ops.maskrcnn.nms(boxes, scores, groups, 0.45, 40), expected)
    assert torch.equal(ops.nms(boxes, scores, groups, iou_threshold=0.45, max_keep=40), expected)


def test_gives_no_gradient():
    boxes = torch.tensor([A, B, C], requires_grad=True)
    keep = ops.nms(boxes, boxes[:, 0], iou_threshold=0.5, max_keep=3)
    assert not keep.requires_grad


ERRORS = {
    "boxes not a tensor": (TypeError, r"boxes must be a tensor .* found list", {"boxes": [A, B]}),
    "integer boxes": (TypeError, "boxes .* found a tensor of torch.int64", {"boxes": torch.zeros(2, 4).long()}),
    "five coordinates": (ValueError, r"boxes must be \(\.\.\., N, 4\), found \(2, 5\)", {"boxes": torch.zeros(2, 5)}),
    "a single box": (ValueError, r"boxes must be \(\.\.\., N, 4\), found \(4,\)", {"boxes": torch.zeros(4)}),
    "scores too short": (ValueError, r"scores must be \(2,\) .* found \(3,\)", {"scores": torch.zeros(3)}),
    "boolean scores": (TypeError, "scores .* torch.bool", {"scores": torch.zeros(2, dtype=torch.bool)}),
    "float groups": (TypeError, "groups must be an int64 tensor, found a tensor of", {"groups": torch.zeros(2)}),
    "groups too short": (ValueError, r"groups must be \(2,\)", {"groups": torch.zeros(1, dtype=torch.int64)}),
    "threshold above 1": (ValueError, r"iou_threshold must be in \[0, 1\], found 1.5", {"iou_threshold": 1.5}),
    "threshold nan": (ValueError, "iou_threshold", {"iou_threshold": NAN}),
    "negative max_keep": (ValueError, "max_keep must not be negative, found -1", {"max_keep": -1}),
    "two devices": (ValueError, "boxes are on cpu but scores on meta", {"scores": torch.zeros(2, device="meta")}),
}


@pytest.mark.parametrize("error, message, change", ERRORS.values(), ids=ERRORS)
def test_mistakes_are_named(error, message, change):
    arguments = {"boxes": torch.zeros(2, 4), "scores": torch.zeros(2), "iou_threshold": 0.5, "max_keep": 1} | change
    with pytest.raises(error, match=message):
        ops.nms(**arguments)


# Registration


@pytest.mark.parametrize("grouped", [False, True])
def test_registration_keeps_pytorchs_rules(grouped):
    boxes, scores, groups = small_world(2, count=12, seed=7)
    arguments = (boxes, scores, groups if grouped else None, 0.5, 6)
    report = torch.library.opcheck(torch.ops.maskrcnn.nms.default, arguments)
    assert set(report.values()) == {"SUCCESS"}


def test_shape_is_known_without_data():
    boxes = torch.empty(2, 3, 50, 4, device="meta")
    keep = ops.nms(boxes, boxes[..., 0], iou_threshold=0.5, max_keep=7)
    assert keep.shape == (2, 3, 7) and keep.dtype == torch.int64 and keep.device.type == "meta"


@pytest.mark.slow
def test_compiles_into_one_graph():
    def best_scores(boxes, scores):
        keep = ops.nms(boxes, scores, iou_threshold=0.4, max_keep=5)
        return scores.gather(1, keep.clamp(min=0)) * 2

    boxes, scores, _ = small_world(2, count=30, seed=8)
    compiled = torch.compile(best_scores, fullgraph=True, dynamic=True)
    assert torch.equal(compiled(boxes, scores), best_scores(boxes, scores))
