"""The CUDA kernel of `covered_boxes` on the emulator: the bits of the C++ op."""

import emulated_kernels
import pytest
import torch
from random_inputs import hostile_boxes, small_world
from test_covered_boxes import by_the_loop


def assert_same(*arguments, threads=32):
    found = emulated_kernels.covered_boxes(*arguments, threads=threads)
    assert torch.equal(found, torch.ops.maskrcnn.covered_boxes(*arguments))
    return found


def random_case(batch, slots, count, seed, dtype=torch.float32):
    return (
        small_world(batch, count, seed=100 + seed, dtype=dtype),
        small_world(batch, slots, seed=seed, dtype=dtype),
        torch.rand(batch, slots, generator=torch.Generator().manual_seed(seed)) < 0.6,
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_agrees_with_the_loop_where_halves_are_common(dtype):
    for seed, slots in enumerate([1, 9, 40]):
        boxes, regions, _ = random_case(1, slots, 70, seed, dtype)
        found = emulated_kernels.covered_boxes(boxes, regions, torch.ones(1, slots, dtype=torch.bool), 0.5)
        assert torch.equal(found[0], by_the_loop(boxes[0], regions[0])), slots


@pytest.mark.parametrize("slots", [1, 31, 32, 33, 65])
@pytest.mark.parametrize("count", [1, 32, 33])
def test_whole_blocks_and_one_more_or_less(slots, count):
    """With 32 threads: 32 boxes a block, and 32 regions a round."""
    assert_same(*random_case(2, slots, count, seed=slots + count), 0.3)


def test_blocks_as_large_as_on_a_gpu():
    found = assert_same(*random_case(2, 300, 1100, seed=0), 0.9, threads=256)
    assert found.any() and not found.all()


@pytest.mark.parametrize("shape", [(0, 3, 5), (2, 0, 5), (2, 3, 0), (0, 0, 0)])
def test_nothing_to_cover(shape):
    assert not assert_same(*random_case(*shape, seed=0), 0.0).any()


def test_the_only_real_region_lies_in_the_last_round():
    boxes, regions, _ = random_case(1, 70, 50, seed=1)
    regions[0, 69] = torch.tensor([0.0, 0, 20, 20])
    found = assert_same(boxes, regions, torch.arange(70)[None] == 69, 0.5)
    assert torch.equal(found[0], (boxes[0, :, 2:] > boxes[0, :, :2]).all(dim=-1)) and found.any()
    assert not assert_same(boxes, regions, torch.zeros(1, 70).bool(), 0.0).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_hostile_values(dtype):
    for boxes, regions in hostile_boxes(10, few=9, dtype=dtype):
        assert_same(boxes[None], regions[None], torch.ones(1, 9, dtype=torch.bool), 0.0)
