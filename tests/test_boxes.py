"""Boxes: areas, overlaps, clipping, and the deltas that the network regresses."""

import itertools
import math

import pytest
import shapely
import torch
from random_inputs import random_boxes
from torch.testing import assert_close

from maskrcnn import boxes as box_functions

UNIT_WEIGHTS = (1.0, 1.0, 1.0, 1.0)
ROI_WEIGHTS = (10.0, 10.0, 5.0, 5.0)


# By hand.


def test_area_is_width_times_height_and_0_for_swapped_corners():
    boxes = torch.tensor([[0.0, 0.0, 3.0, 2.0], [1.5, 1.0, 2.0, 5.0], [3.0, 3.0, 3.0, 9.0], [5.0, 5.0, 4.0, 4.0]])
    assert box_functions.area(boxes).tolist() == [6.0, 2.0, 0.0, 0.0]


def test_two_unit_squares_offset_by_half_have_iou_one_third():
    first, second = torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([[0.5, 0.0, 1.5, 1.0]])
    assert_close(box_functions.iou(first, second), torch.tensor([[1 / 3]]))


def test_a_detection_inside_a_crowd_overlaps_it_by_a_quarter_but_lies_in_it_whole():
    detection, crowd = torch.tensor([[2.0, 2.0, 7.0, 7.0]]), torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    assert box_functions.iou(detection, crowd).item() == 0.25
    shared = box_functions.intersection(detection, crowd) / box_functions.area(detection)[:, None]
    assert shared.item() == 1.0


def test_boxes_that_touch_do_not_overlap():
    boxes = torch.tensor([[0.0, 0.0, 2.0, 2.0]])
    neighbours = torch.tensor([[2.0, 0.0, 4.0, 2.0], [0.0, 2.0, 2.0, 4.0], [2.0, 2.0, 4.0, 4.0], [7.0, 0.0, 8.0, 2.0]])
    assert box_functions.intersection(boxes, neighbours).tolist() == [[0.0, 0.0, 0.0, 0.0]]
    assert box_functions.iou(boxes, neighbours).tolist() == [[0.0, 0.0, 0.0, 0.0]]


def test_width_and_height_are_not_swapped():
    """A wide box and a tall one share their common square only."""
    wide, tall = torch.tensor([[0.0, 0.0, 6.0, 2.0]]), torch.tensor([[0.0, 0.0, 2.0, 6.0]])
    assert box_functions.intersection(wide, tall).item() == 4.0
    assert_close(box_functions.iou(wide, tall), torch.tensor([[4 / 20]]))


def test_clip_cuts_x_at_the_width_and_y_at_the_height():
    boxes = torch.tensor([[-5.0, -6.0, 50.0, 60.0], [10.0, 5.0, 12.0, 7.0], [40.0, 50.0, 60.0, 70.0]])
    clipped = box_functions.clip(boxes, torch.tensor([20, 30]))
    assert clipped.tolist() == [[0.0, 0.0, 30.0, 20.0], [10.0, 5.0, 12.0, 7.0], [30.0, 20.0, 30.0, 20.0]]


def test_clip_uses_the_size_of_each_image():
    boxes = torch.tensor([[0.0, 0.0, 99.0, 99.0]]).expand(2, 1, 4)
    clipped = box_functions.clip(boxes, torch.tensor([[20, 30], [40, 50]]))
    assert clipped[:, 0].tolist() == [[0.0, 0.0, 30.0, 20.0], [0.0, 0.0, 50.0, 40.0]]


def test_encode_by_hand():
    """A reference of 4 x 2 at centre (2, 1); a box of 8 x 1 at centre (4, 0.5): e.g. dx = 2 / 4, dw = ln 2."""
    deltas = box_functions.encode(
        torch.tensor([[0.0, 0.0, 8.0, 1.0]]), torch.tensor([[0.0, 0.0, 4.0, 2.0]]), UNIT_WEIGHTS
    )
    assert_close(deltas, torch.tensor([[0.5, -0.25, math.log(2.0), -math.log(2.0)]]))


def test_weights_multiply_each_delta():
    """(10, 10, 5, 5) is the same as dividing by the deviations (0.1, 0.1, 0.2, 0.2)."""
    box, reference = torch.tensor([[0.0, 0.0, 8.0, 1.0]]), torch.tensor([[0.0, 0.0, 4.0, 2.0]])
    plain = box_functions.encode(box, reference, UNIT_WEIGHTS)
    weighted = box_functions.encode(box, reference, ROI_WEIGHTS)
    assert_close(weighted, plain / torch.tensor([0.1, 0.1, 0.2, 0.2]))


def test_decode_example_of_the_mmdetection_documentation():
    references = torch.tensor([[0.0, 0.0, 1.0, 1.0]] * 3 + [[5.0, 5.0, 5.0, 5.0]])
    deltas = torch.tensor([[0.0, 0, 0, 0], [1.0, 1, 1, 1], [0.0, 0, 2, -1], [0.7, -1.9, -0.5, 0.3]])
    boxes = box_functions.clip(box_functions.decode(deltas, references, UNIT_WEIGHTS), torch.tensor([32, 32]))
    expected = [
        [0.0, 0.0, 1.0, 1.0],
        [0.1409, 0.1409, 2.8591, 2.8591],
        [0.0, 0.3161, 4.1945, 0.6839],
        [5.0, 5.0, 5.0, 5.0],
    ]
    assert_close(boxes, torch.tensor(expected), atol=5e-5, rtol=0)


def test_decode_clamps_growth_at_62_and_a_half():
    assert box_functions.LARGEST_LOG_SCALE == 4.135166556742356
    reference = torch.tensor([[0.0, 0.0, 16.0, 16.0]])
    box = box_functions.decode(torch.tensor([[0.0, 0.0, 100.0, 100.0]]), reference, UNIT_WEIGHTS)
    assert_close(box[..., 2:] - box[..., :2], torch.tensor([[1000.0, 1000.0]]))


def test_decode_clamps_shrinking_only_when_asked():
    reference = torch.tensor([[0.0, 0.0, 1000.0, 1000.0]], dtype=torch.float64)
    deltas = torch.tensor([[0.0, 0.0, -10.0, -10.0]], dtype=torch.float64)
    both = box_functions.decode(deltas, reference, UNIT_WEIGHTS, clamp_both_sides=True)
    above = box_functions.decode(deltas, reference, UNIT_WEIGHTS, clamp_both_sides=False)
    assert_close((both[..., 2] - both[..., 0]).item(), 16.0)
    assert_close((above[..., 2] - above[..., 0]).item(), 1000.0 * math.exp(-10.0))


def test_decode_never_clamps_the_shift():
    box = box_functions.decode(
        torch.tensor([[100.0, -100.0, 0.0, 0.0]]), torch.tensor([[0.0, 0.0, 2.0, 2.0]]), UNIT_WEIGHTS
    )
    assert box.tolist() == [[200.0, -200.0, 202.0, -198.0]]


# Against loops and independent implementations.


def test_iou_equals_a_loop_over_pairs():
    boxes, others = random_boxes(12, seed=1), random_boxes(9, seed=2)
    expected = torch.zeros(12, 9, dtype=torch.float64)
    for i, j in itertools.product(range(12), range(9)):
        (ax1, ay1, ax2, ay2), (bx1, by1, bx2, by2) = boxes[i].tolist(), others[j].tolist()
        shared = max(0.0, min(ax2, bx2) - max(ax1, bx1)) * max(0.0, min(ay2, by2) - max(ay1, by1))
        expected[i, j] = shared / ((ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1) - shared)
    assert_close(box_functions.iou(boxes, others), expected)


def test_iou_equals_shapely():
    boxes, others = random_boxes(20, seed=3), random_boxes(20, seed=4)
    first, second = shapely.box(*boxes.numpy().T)[:, None], shapely.box(*others.numpy().T)[None]
    expected = shapely.area(shapely.intersection(first, second)) / shapely.area(shapely.union(first, second))
    assert_close(box_functions.iou(boxes, others), torch.from_numpy(expected))


@pytest.mark.parametrize("weights", [UNIT_WEIGHTS, ROI_WEIGHTS])
def test_decode_inverts_encode(weights):
    boxes, references = random_boxes(50, seed=5), random_boxes(50, seed=6, extent=60.0)
    deltas = box_functions.encode(boxes, references, weights)
    assert_close(box_functions.decode(deltas, references, weights, clamp_both_sides=False), boxes)


def test_any_leading_dimensions():
    boxes, others = random_boxes(2, 3, 5, seed=7), random_boxes(2, 3, 4, seed=8)
    overlaps = box_functions.iou(boxes, others)
    areas = box_functions.area(boxes)
    assert overlaps.shape == (2, 3, 5, 4) and areas.shape == (2, 3, 5)
    assert torch.equal(overlaps[1, 2], box_functions.iou(boxes[1, 2], others[1, 2]))
    assert torch.equal(areas[1, 2], box_functions.area(boxes[1, 2]))


# Gradients.


def test_gradients_of_decode():
    references, generator = random_boxes(6, seed=9), torch.Generator().manual_seed(10)
    deltas = torch.randn(6, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda d: box_functions.decode(d, references, ROI_WEIGHTS), (deltas,))


def test_gradients_of_iou():
    """IoU is smooth wherever no two edges coincide, which random boxes do not."""
    boxes, others = random_boxes(5, seed=11).requires_grad_(), random_boxes(4, seed=12).requires_grad_()
    assert torch.autograd.gradcheck(box_functions.iou, (boxes, others))


def test_clamped_deltas_have_no_gradient():
    deltas = torch.tensor([[0.0, 0.0, 50.0, -50.0]], requires_grad=True)
    box_functions.decode(deltas, torch.tensor([[0.0, 0.0, 2.0, 2.0]]), UNIT_WEIGHTS).abs().sum().backward()
    assert deltas.grad[0, 2:].tolist() == [0.0, 0.0]


# Empty and degenerate.


def test_boxes_without_area_have_iou_0_and_not_nan():
    points = torch.tensor([[5.0, 5.0, 5.0, 5.0], [0.0, 0.0, 0.0, 0.0]])
    assert box_functions.iou(points, points).tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert box_functions.iou(points, torch.tensor([[0.0, 0.0, 10.0, 10.0]])).tolist() == [[0.0], [0.0]]


def test_very_small_boxes_keep_their_iou():
    small = torch.tensor([[0.0, 0.0, 1e-9, 1e-9]])
    assert_close(box_functions.iou(small, small), torch.tensor([[1.0]]))


def test_no_boxes():
    none, some = torch.zeros(0, 4), torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    assert box_functions.iou(none, some).shape == (0, 1)
    assert box_functions.iou(some, none).shape == (1, 0)
    assert box_functions.clip(none, torch.tensor([5, 5])).shape == (0, 4)
    assert box_functions.encode(none, none, UNIT_WEIGHTS).shape == (0, 4)
    assert box_functions.decode(none, none, UNIT_WEIGHTS).shape == (0, 4)


def test_padding_gives_finite_deltas():
    """An empty slot is a box of zeros, as reference and as ground truth; its loss is masked, but 0 * inf is NaN."""
    zero, real = torch.zeros(1, 4), torch.tensor([[10.0, 20.0, 50.0, 40.0]])
    for box, reference in ((zero, zero), (zero, real), (real, zero)):
        assert box_functions.encode(box, reference, ROI_WEIGHTS).isfinite().all()
