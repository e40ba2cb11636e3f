"""NMS on a GPU: the tests of the op, and the bits of the C++ op."""

import pytest
import torch
from every_op import nms_arguments, on_gpu
from test_nms import (  # noqa: F401
    test_a_box_with_nan_is_neither_kept_nor_suppresses,
    test_a_suppressed_box_suppresses_nothing,
    test_agrees_with_the_loop_on_hostile_values,
    test_agrees_with_the_loop_when_most_boxes_survive,
    test_agrees_with_the_loop_where_ties_are_everywhere,
    test_an_iou_equal_to_the_threshold_does_not_suppress,
    test_boxes_without_area_and_with_swapped_corners_overlap_nothing,
    test_groups_do_not_suppress_each_other,
    test_max_keep_keeps_the_best_and_fills_up,
    test_minus_infinity_and_nan_scores_mark_padding,
    test_nothing_to_choose_from,
    test_of_equal_scores_the_lower_index_comes_first,
    test_padding_changes_nothing,
    test_survivors_of_all_groups_are_ordered_by_score,
)

from maskrcnn import ops


@pytest.fixture
def implementation():
    return on_gpu(torch.ops.maskrcnn.nms)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("count", [1, 63, 64, 65, 255, 256, 257, 3000])
def test_the_bits_of_the_cpp_op(implementation, count, dtype):
    arguments = nms_arguments(count, dtype)
    assert torch.equal(implementation(*arguments), torch.ops.maskrcnn.nms(*arguments))


def test_random_boxes_of_any_precision():
    generator = torch.Generator().manual_seed(0)
    corner = 300 * torch.rand(2, 5000, 2, generator=generator)
    boxes = torch.cat((corner, corner + 40 * torch.rand(2, 5000, 2, generator=generator)), dim=-1)
    scores = torch.rand(2, 5000, generator=generator)
    for dtype in (torch.float32, torch.float64, torch.float16, torch.bfloat16):
        arguments = boxes.to(dtype), scores.to(dtype)
        expected = ops.nms(*arguments, iou_threshold=0.5, max_keep=2000)
        found = ops.nms(*(tensor.cuda() for tensor in arguments), iou_threshold=0.5, max_keep=2000)
        assert torch.equal(found.cpu(), expected)
        with torch.autocast("cuda", dtype=torch.bfloat16):
            found = ops.nms(*(tensor.cuda() for tensor in arguments), iou_threshold=0.5, max_keep=2000)
        assert torch.equal(found.cpu(), expected)
