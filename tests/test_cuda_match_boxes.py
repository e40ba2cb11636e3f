"""The CUDA kernels of matching, on the emulator: the bits of the C++ op."""

import emulated_kernels
import pytest
import torch
from random_inputs import hostile_boxes, small_world

from maskrcnn.reference import matching as reference


def assert_same(*arguments, threads=32):
    expected = torch.ops.maskrcnn.match_boxes(*arguments)
    for result, right in zip(emulated_kernels.match_boxes(*arguments, threads=threads), expected, strict=True):
        assert result.dtype == right.dtype and torch.equal(result, right)


def random_case(batch, slots, count, seed, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return (
        small_world(batch, slots, seed=seed, dtype=dtype),
        torch.rand(batch, slots, generator=generator) < 0.8,
        small_world(batch, count, seed=100 + seed, dtype=dtype),
        torch.rand(batch, count, generator=generator) < 0.8,
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_agrees_with_the_loop_where_ties_are_everywhere(dtype):
    for seed, (slots, floor) in enumerate([(1, 0.0), (9, 0.0), (9, 0.3), (9, 1.0)]):
        ground_truths, boxes = small_world(slots, seed=seed, dtype=dtype), small_world(70, seed=50 + seed, dtype=dtype)
        masks = torch.ones(1, slots, dtype=torch.bool), torch.ones(1, 70, dtype=torch.bool)
        found = emulated_kernels.match_boxes(ground_truths[None], masks[0], boxes[None], masks[1], floor)
        for result, expected in zip(found, reference.match_boxes(ground_truths, boxes, floor), strict=True):
            assert torch.equal(result[0], expected), (seed, floor)


@pytest.mark.parametrize("slots", [1, 8, 9, 33, 65])
@pytest.mark.parametrize("count", [1, 32, 33, 128, 129])
def test_whole_blocks_and_one_more_or_less(slots, count):
    """With 32 threads: 32 boxes a block in the second pass, 128 boxes and 8 ground truths in the first."""
    assert_same(*random_case(2, slots, count, seed=slots + count), 0.2)


def test_blocks_as_large_as_on_a_gpu():
    assert_same(*random_case(2, 20, 1100, seed=0), 0.1, threads=256)


@pytest.mark.parametrize("shape", [(0, 3, 5), (2, 0, 5), (2, 3, 0), (0, 0, 0)])
def test_nothing_to_match(shape):
    assert_same(*random_case(*shape, seed=0), 0.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_hostile_values(dtype):
    for boxes, ground_truths in hostile_boxes(10, few=9, dtype=dtype):
        valid = torch.ones(1, 40, dtype=torch.bool)
        assert_same(ground_truths[None], valid[:, :9], boxes[None], valid, 0.0)


def test_a_ground_truth_without_any_overlap_ties_with_everything_and_padding_with_nothing():
    far, near = torch.tensor([[[90.0, 90, 99, 99]]]), small_world(1, 40, seed=1, dtype=torch.float32)
    valid, boxes_valid = torch.ones(1, 1, dtype=torch.bool), torch.arange(40)[None] % 2 == 0
    for floor, is_real in ((0.0, True), (0.1, True), (0.0, False)):
        assert_same(far, valid & is_real, near, boxes_valid, floor)
    forced = emulated_kernels.match_boxes(far, valid, near, boxes_valid, 0.0)[2]
    assert forced[0, :4].tolist() == [0, -1, 0, -1]
