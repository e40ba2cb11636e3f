"""The CUDA kernels of RoIPool, on the emulator: the tests of the op, and what is particular to vectors and tiles."""

from types import SimpleNamespace

import emulated_kernels
import pytest
import torch
from test_roi_pool import (  # noqa: F401
    LAYOUTS,
    loop,
    random_feature,
    random_rois,
    test_a_bin_outside_the_feature_is_zero,
    test_a_feature_wider_than_float32_counts_is_not_left,
    test_agrees_with_the_loop,
    test_an_argmax_outside_the_feature_is_ignored,
    test_any_layout,
    test_corners_are_divided_by_the_stride_and_rounded,
    test_gradient_goes_to_the_maximum,
    test_halves_are_rounded_away_from_zero,
    test_hostile_rois,
    test_nan_in_a_bin_gives_nan_there_and_nowhere_else,
    test_nothing_to_pool,
    test_of_equal_values_the_first_is_the_maximum,
)

from maskrcnn import ops

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


@pytest.fixture
def implementation():
    return SimpleNamespace(pool=emulated_kernels.roi_pool, spread=emulated_kernels.roi_pool_backward)


def layout_of(tensor):
    """Its strides; that of a single channel or row is never used, and may be any."""
    return [stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if size > 1]


def assert_same_sums(gradient, argmax, height, width, last, **blocks):
    found = emulated_kernels.roi_pool_backward(gradient, argmax, height, width, last, **blocks)
    expected = torch.ops.maskrcnn.roi_pool_backward(gradient, argmax, height, width, last)
    assert found.dtype == expected.dtype and layout_of(found) == layout_of(expected)
    if ops.build_information()["compiled"]:
        assert torch.equal(found, expected)
    else:  # PyTorch may sum in another order
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    return found


def random_gradient(argmax, dtype, seed=1):
    values = torch.randn(argmax.shape, generator=torch.Generator().manual_seed(seed)).to(dtype)
    return torch.empty_like(argmax, dtype=dtype).copy_(values)  # in the layout of the argmax


# Forward


@pytest.mark.parametrize("channels", [1, 8, 13])  # one, whole vectors of them, and some left over
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype(dtype, channels):
    feature = random_feature(channels, dtype=dtype)
    rois = random_rois(dtype=torch.promote_types(dtype, torch.float32))
    in_float64 = loop(feature.double(), rois.double(), output_size=3, stride=4.0)
    for layout, memory_format in LAYOUTS.items():
        arguments = feature.contiguous(memory_format=memory_format), rois, 3, 4.0, layout == "channels_last"
        pooled, argmax = emulated_kernels.roi_pool(*arguments)
        assert pooled.dtype == dtype and torch.equal(pooled.double(), in_float64)
        expected, expected_argmax = torch.ops.maskrcnn.roi_pool(*arguments)
        assert torch.equal(argmax, expected_argmax) and layout_of(argmax) == layout_of(expected_argmax)
        assert layout_of(pooled) == layout_of(expected)


def test_blocks_as_large_as_on_a_gpu():
    feature = random_feature(16, dtype=torch.float32).contiguous(memory_format=torch.channels_last)
    rois = random_rois(dtype=torch.float32)
    found = emulated_kernels.roi_pool(feature, rois, 3, 4.0, True, threads=256)
    for result, expected in zip(found, torch.ops.maskrcnn.roi_pool(feature, rois, 3, 4.0, True), strict=True):
        assert torch.equal(result, expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_and_infinity_among_the_values(dtype):
    generator = torch.Generator().manual_seed(0)
    values = torch.tensor([float("nan"), float("inf"), -float("inf"), -0.0, 0.0, 1.0], dtype=dtype)
    feature = values[torch.randint(0, 6, (2, 8, 12, 17), generator=generator)]
    rois = random_rois(dtype=torch.promote_types(dtype, torch.float32))
    for layout, memory_format in LAYOUTS.items():
        arguments = feature.contiguous(memory_format=memory_format), rois, 7, 4.0, layout == "channels_last"
        (pooled, argmax), (expected, expected_argmax) = (
            op(*arguments) for op in (emulated_kernels.roi_pool, torch.ops.maskrcnn.roi_pool)
        )
        assert torch.equal(argmax, expected_argmax)
        assert torch.equal(pooled.isnan(), expected.isnan()) and expected.isnan().any()
        assert torch.equal(pooled.nan_to_num(7.0), expected.nan_to_num(7.0))


# Backward: the sums are made in the order of the C++ op.


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_gradient_has_the_bits_of_the_cpp_op(dtype, layout):
    last = layout == "channels_last"
    feature = random_feature().contiguous(memory_format=LAYOUTS[layout])
    _, argmax = emulated_kernels.roi_pool(feature, random_rois(), 3, 4.0, last)
    spread = assert_same_sums(random_gradient(argmax, dtype), argmax, 12, 17, last)
    assert spread.dtype == torch.promote_types(dtype, torch.float32) and spread.abs().max() > 1


@pytest.mark.parametrize("channels", [1, 32, 33])
@pytest.mark.parametrize("count, size", [(1, 1), (32, 5), (33, 6)])  # a warp's lanes of RoIs and bins, or one more
def test_whole_warps_and_a_lane_more_or_less(count, size, channels):
    feature, rois = random_feature(channels, batch=1), random_rois(max(count, 6), batch=1)[:, -count:]
    _, argmax = emulated_kernels.roi_pool(feature, rois, size, 4.0, False)
    assert_same_sums(random_gradient(argmax, torch.float32), argmax, 12, 17, False)


@pytest.mark.parametrize("height", [1, 4, 5])
@pytest.mark.parametrize("width", [7, 8, 9, 1])
def test_whole_tiles_and_a_pixel_more_or_less(height, width):
    """Maxima anywhere, in no bin that an RoI would have, and outside: what is summed follows from the argmax alone."""
    argmax = torch.randint(
        -5, height * width + 5, (2, 7, 3, 3, 3), generator=torch.Generator().manual_seed(height * width)
    ).int()
    for last in (False, True):
        for blocks in ({}, {"tiles_per_block": 3}):
            assert_same_sums(random_gradient(argmax, torch.float32), argmax, height, width, last, **blocks)


def test_numbers_of_pixels_far_outside_are_ignored():
    argmax = torch.tensor([2**31 - 1, -(2**31), 6, 5, 12]).int().view(1, 5, 1, 1, 1)
    spread = assert_same_sums(torch.ones(1, 5, 1, 1, 1), argmax, 2, 3, False)
    assert spread.flatten().tolist() == [0, 0, 0, 0, 0, 1]


def test_gradient_in_blocks_as_large_as_on_a_gpu():
    feature = random_feature(40, batch=1).contiguous(memory_format=torch.channels_last)
    _, argmax = emulated_kernels.roi_pool(feature, random_rois(batch=1), 7, 4.0, True)
    gradient = random_gradient(argmax, torch.bfloat16)
    assert_same_sums(gradient, argmax, 12, 17, True, reach_threads=64, tiles_per_block=4)


def test_infinite_gradients_stay_where_they_belong():
    argmax = torch.tensor([0, 7, 20]).int().view(1, 3, 1, 1, 1)
    gradient = torch.tensor([float("inf"), 1.0, float("nan")]).view(1, 3, 1, 1, 1)
    spread = emulated_kernels.roi_pool_backward(gradient, argmax, 4, 8, False).flatten()
    assert spread[0] == torch.inf and spread[7] == 1 and spread[20].isnan()
    assert spread[[i for i in range(32) if i not in (0, 7, 20)]].eq(0).all()
