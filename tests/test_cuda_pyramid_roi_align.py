"""The CUDA kernels of RoIAlign, on the emulator: the tests of the op, and what is particular to tiles and rounds."""

import functools
from types import SimpleNamespace

import emulated_kernels
import pytest
import torch
from test_pyramid_roi_align import (  # noqa: F401
    FINEST_SIZE,
    LAYOUTS,
    STRIDES,
    loop,
    pool_with,
    random_features,
    random_rois,
    test_a_sample_outside_counts_as_zero_in_the_average,
    test_any_mixture_of_layouts,
    test_level_of_an_roi,
    test_one_sample,
    test_values_outside_the_samples_do_not_matter,
    test_without_alignment_an_roi_is_at_least_one_cell,
)
from test_pyramid_roi_align import test_hostile_rois as hostile_rois

KERNELS = {
    "emulated": (emulated_kernels.pyramid_roi_align, emulated_kernels.pyramid_roi_align_backward),
    "C++": (torch.ops.maskrcnn.pyramid_roi_align, torch.ops.maskrcnn.pyramid_roi_align_backward),
}


def spread_with(backward, gradient, features, rois, *, size=3, ratio=2, aligned=True, last=False, **settings):
    heights, widths = [level.shape[2] for level in features], [level.shape[3] for level in features]
    strides = STRIDES[: len(features)]
    return backward(gradient, rois, heights, widths, size, strides, ratio, aligned, FINEST_SIZE, last, **settings)


@pytest.fixture
def implementation():
    forward, backward = KERNELS["emulated"]
    return SimpleNamespace(
        pool=functools.partial(pool_with, forward), spread=functools.partial(spread_with, backward)
    )


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("ratio", [0, 2])
@pytest.mark.parametrize("aligned", [True, False])
def test_agrees_with_the_loop(implementation, aligned, ratio, layout):
    features, rois = random_features(channels=4), random_rois(8)
    settings = {"strides": STRIDES, "sampling_ratio": ratio, "aligned": aligned, "finest_size": FINEST_SIZE}
    expected = loop(features, rois, output_size=3, **settings)
    features = [level.contiguous(memory_format=LAYOUTS[layout]) for level in features]
    pooled = implementation.pool(features, rois, ratio=ratio, aligned=aligned, last=layout == "channels_last")
    torch.testing.assert_close(pooled, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-5), (torch.bfloat16, 2e-2), (torch.float16, 2e-3)])
def test_lower_precision(implementation, dtype, tolerance, layout):
    features, rois = random_features(channels=8, dtype=dtype), random_rois(8, dtype=torch.float32)
    exact = pool_with(KERNELS["C++"][0], [level.double() for level in features], rois.double())
    features = [level.contiguous(memory_format=LAYOUTS[layout]) for level in features]
    pooled = implementation.pool(features, rois, last=layout == "channels_last")
    assert pooled.dtype == dtype
    torch.testing.assert_close(pooled.double(), exact, rtol=0, atol=tolerance)
    # The sums are made in float32: only the result is rounded.
    in_float32 = implementation.pool([level.float() for level in features], rois, last=layout == "channels_last")
    assert torch.equal(pooled, in_float32.to(dtype))


@pytest.mark.parametrize("ratio", [0, 2])
def test_hostile_rois(implementation, ratio):
    hostile_rois(implementation, True, ratio)


def test_vectors_of_channels_and_single_ones_give_the_same_bits():
    features, rois = random_features(channels=16, dtype=torch.bfloat16)[1:], random_rois(6, dtype=torch.float32)
    forward, backward = KERNELS["emulated"]
    last = [level.contiguous(memory_format=torch.channels_last) for level in features]
    pooled, pooled_last = pool_with(forward, features, rois), pool_with(forward, last, rois, last=True)
    assert torch.equal(pooled, pooled_last)
    gradient = pooled_last.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)
    for one, other in zip(
        spread_with(backward, gradient.contiguous(), features, rois),
        spread_with(backward, gradient, features, rois, last=True),
        strict=True,
    ):
        assert torch.equal(one, other) and other.is_contiguous(memory_format=torch.channels_last)


# Backward. Pooling is linear, so the gradient of the C++ op, which finite differences confirm, says all there is.


@pytest.mark.parametrize("gradient_layout", ["contiguous", "channels_last", "expanded"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("ratio", [0, 2])
def test_gradient(ratio, layout, gradient_layout):
    last = layout == "channels_last"
    features, rois = random_features(channels=6)[1:], random_rois(8)
    gradient = torch.randn(2, 8, 6, 3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    if gradient_layout == "channels_last":
        gradient = gradient.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)
    elif gradient_layout == "expanded":  # what the gradient of a sum looks like
        gradient = gradient[:1, :1, :, :1, :1].expand_as(gradient)
    found, expected = (
        spread_with(backward, gradient, features, rois, ratio=ratio, last=last) for _, backward in KERNELS.values()
    )
    for level, right in zip(found, expected, strict=True):
        torch.testing.assert_close(level, right, rtol=0, atol=1e-12)
        assert level.stride() == right.stride()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("channels, lanes", [(1, 4), (7, 4), (40, 4), (40, 32)])
def test_gradient_of_lower_precision(channels, lanes, dtype):
    """One channel, fewer than a vector, and more than one group of vectors; the last in blocks as large as on a GPU."""
    features, rois = random_features(channels, batch=1)[2:], random_rois(8, batch=1, dtype=torch.float32)
    gradient = torch.randn(1, 8, 3, 3, channels, generator=torch.Generator().manual_seed(1)).to(dtype)
    gradient = gradient.permute(0, 1, 4, 2, 3)
    found = spread_with(KERNELS["emulated"][1], gradient, features, rois, last=True, lanes=lanes)
    expected = spread_with(KERNELS["C++"][1], gradient, features, rois, last=True)
    for level, right in zip(found, expected, strict=True):
        assert level.dtype == dtype
        # Summed in another order, a sum may fall on the other side of the middle between two numbers of 16 bits.
        torch.testing.assert_close(level, right, rtol=max(1e-5, torch.finfo(dtype).eps), atol=1e-5)


def test_gradient_of_more_bins_than_are_held_at_a_time():
    features, rois = random_features(channels=2, levels=1, batch=1), random_rois(7, batch=1)
    gradient = torch.randn(1, 7, 2, 18, 18, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found, expected = (
        spread_with(backward, gradient, features, rois, size=18)[0] for _, backward in KERNELS.values()
    )
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-11)


def test_gradient_of_more_rois_than_a_round_looks_at():
    feature = torch.zeros(1, 2, 9, 8, dtype=torch.float64)
    rois = torch.full((1, 600, 4), 1e6, dtype=torch.float64)  # far outside, but for the first and last of each round
    numbers = [0, 255, 256, 511, 512, 599]
    rois[0, numbers] = random_rois(6, batch=1)[0] / 8
    gradient = torch.randn(1, 600, 2, 2, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found, expected = (
        spread_with(backward, gradient, [feature], rois, size=2)[0] for _, backward in KERNELS.values()
    )
    assert found.abs().max() > 0
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("batch, count, channels", [(0, 5, 4), (2, 0, 4), (2, 5, 0)])
def test_nothing_to_pool(batch, count, channels):
    features, rois = random_features(channels, batch=batch), torch.zeros(batch, count, 4, dtype=torch.float64)
    forward, backward = KERNELS["emulated"]
    pooled = pool_with(forward, features, rois)
    assert pooled.shape == (batch, count, channels, 3, 3)
    for level, gradient in zip(features, spread_with(backward, pooled, features, rois), strict=True):
        assert gradient.shape == level.shape and not gradient.any()


def test_infinite_gradients_stay_where_they_belong():
    gradient = torch.zeros(1, 2, 1, 3, 3)
    gradient[0, 1] = torch.inf
    rois = torch.tensor([[[0.0, 0, 20, 20], [60, 60, 80, 80]]])
    feature = torch.zeros(1, 1, 24, 24)
    (spread,) = spread_with(KERNELS["emulated"][1], gradient, [feature], rois)
    assert not spread[..., :14, :14].any() and spread.isinf().any() and not spread.isnan().any()
