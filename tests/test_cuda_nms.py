"""The CUDA kernels of NMS, on the emulator: the tests of the op, and what is particular to blocks of threads."""

import emulated_kernels
import pytest
import torch
from test_nms import (  # noqa: F401
    small_world,
    test_a_box_with_nan_is_neither_kept_nor_suppresses,
    test_a_suppressed_box_suppresses_nothing,
    test_agrees_with_the_loop_on_hostile_values,
    test_agrees_with_the_loop_when_most_boxes_survive,
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

from maskrcnn.reference import nms as reference


@pytest.fixture
def implementation():
    return emulated_kernels.nms


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("grouped", [False, True])
def test_agrees_with_the_loop_where_ties_are_everywhere(dtype, grouped):
    for seed, (threshold, max_keep) in enumerate([(0.0, 80), (0.3, 80), (0.5, 10)]):
        boxes, scores, groups = small_world(2, count=70, seed=seed)
        boxes, scores = boxes.to(dtype), scores.to(dtype)
        keep = emulated_kernels.nms(boxes, scores, groups if grouped else None, threshold, max_keep)
        for image in range(2):
            group = groups[image] if grouped else None
            expected = reference.nms(boxes[image], scores[image], group, iou_threshold=threshold, max_keep=max_keep)
            assert keep[image].tolist() == expected.tolist(), (seed, image)


@pytest.mark.parametrize("count", [1, 31, 32, 33, 63, 64, 65, 128, 129])
def test_whole_tiles_and_a_box_more_or_less(count):
    boxes, scores, groups = small_world(2, count=count, seed=count)
    for max_keep in (5, 200):
        expected = torch.ops.maskrcnn.nms(boxes, scores, groups, 0.2, max_keep)
        assert torch.equal(emulated_kernels.nms(boxes, scores, groups, 0.2, max_keep), expected)


def test_blocks_as_large_as_on_a_gpu():
    boxes, scores, groups = small_world(2, count=300, seed=0)
    found = emulated_kernels.nms(boxes, scores, groups, 0.3, 300, rank_threads=256, survivor_threads=512)
    assert torch.equal(found, torch.ops.maskrcnn.nms(boxes, scores, groups, 0.3, 300))
