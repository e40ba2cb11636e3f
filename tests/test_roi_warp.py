"""RoIWarp: by hand, against the loop, and that nothing but rounding sets it apart from RoIAlign."""

import math

import pytest
import torch
from torch import Tensor

from maskrcnn import ops
from maskrcnn.reference import roi_pool as reference

LAYOUTS = {"channels_first": torch.contiguous_format, "channels_last": torch.channels_last}
MODES = ["average", "max"]


def random_feature(channels: int = 5, batch: int = 2, dtype=torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, channels, 12, 17, generator=generator, dtype=torch.float64).to(dtype)


def random_rois(count: int = 16, batch: int = 2, dtype=torch.float64) -> Tensor:
    """RoIs around a picture of 68 x 48 pixels: inside, across its borders, outside, empty and with swapped corners."""
    generator = torch.Generator().manual_seed(0)
    centre = torch.rand(batch, count, 2, generator=generator, dtype=torch.float64) * 80 - 10
    size = 2 ** (torch.rand(batch, count, 2, generator=generator, dtype=torch.float64) * 7)
    rois = torch.cat((centre - size / 2, centre + size / 2), dim=-1)
    rois[:, 0, 2:] = rois[:, 0, :2]
    rois[:, 1] = torch.tensor([-700.0, -600, 800, 900])
    rois[:, 2] = torch.tensor([-90.0, -90, -50, -50])
    rois[:, 3] = torch.tensor([40.0, 30, 20, 10])
    return rois.to(dtype)


# Worked by hand


RAMP = (10 * torch.arange(8.0)[:, None] + torch.arange(8.0))[None, None]  # f(y, x) = 10 y + x


@pytest.mark.parametrize("mode", MODES)
def test_as_many_bins_as_pixels_with_one_sample_each_are_a_copy(mode):
    roi = torch.tensor([[[2.2, 0.9, 4.4, 3.1]]])  # rounded, the pixels 2 to 4 and 1 to 3
    warped = ops.roi_warp(RAMP, roi, output_size=3, stride=1.0, sampling_ratio=1, mode=mode)
    assert torch.equal(warped[0, 0], RAMP[0, :, 1:4, 2:5])


def test_average_and_maximum_of_four_samples():
    # Pixels 1 to 4 in two bins of two pixels: four samples, each on the centre of a pixel.
    roi = torch.tensor([[[1.0, 1, 4, 4]]])
    warped = ops.roi_warp(RAMP, roi, output_size=2, stride=1.0, mode="average")
    assert warped.flatten().tolist() == [16.5, 18.5, 36.5, 38.5]
    warped = ops.roi_warp(RAMP, roi, output_size=2, stride=1.0, mode="max")
    assert warped.flatten().tolist() == [22, 24, 42, 44]


def test_values_between_pixels_are_interpolated():
    # Pixels 0 to 2 in two bins of one and a half: their middles lie a quarter from the centres of pixels 0 and 2.
    feature = torch.tensor([0.0, 4, 8, 0]).expand(1, 1, 1, 4)
    warped = ops.roi_warp(feature, torch.tensor([[[0.0, 0, 2, 0]]]), output_size=2, stride=1.0, sampling_ratio=1)
    assert warped[0, 0, 0].tolist() == [[1, 7], [1, 7]]


@pytest.mark.parametrize("mode", MODES)
def test_half_a_cell_is_rounded_away(mode):
    """Why RoIAlign does better: RoIs half a stride apart read the same, or a whole cell apart, never half a cell."""
    rois = torch.tensor([[[16.0, 16, 48, 48], [23.9, 16, 55.9, 48], [24.0, 16, 56.0, 48]]])
    first, nearly_half, half = ops.roi_warp(RAMP, rois, output_size=1, stride=16.0, mode=mode)[0].flatten().tolist()
    assert nearly_half == first and half == first + 1


def test_halves_are_rounded_away_from_zero():
    rois = torch.tensor([[[0.5, 0, 0.5, 0], [2.5, 0, 2.5, 0], [0.49999997, 0, 0.49999997, 0]]])
    warped = ops.roi_warp(RAMP, rois, output_size=1, stride=1.0, sampling_ratio=1)
    assert warped.flatten().tolist() == [1, 3, 0]


# Against the loop, and RoIAlign


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size, stride, ratio", [(1, 4.0, 1), (3, 4.0, 2), (4, 3.7, 2)])
def test_agrees_with_the_loop(size, stride, ratio, mode, layout):
    feature, rois = random_feature(), random_rois()
    settings = {"output_size": size, "stride": stride, "sampling_ratio": ratio, "mode": mode}
    expected = torch.stack([reference.roi_warp(*image, **settings) for image in zip(feature, rois, strict=True)])
    feature = feature.contiguous(memory_format=LAYOUTS[layout])
    warped = ops.roi_warp(feature, rois, **settings)
    torch.testing.assert_close(warped, expected, rtol=0, atol=1e-12)
    assert warped.flatten(0, 1).is_contiguous(memory_format=LAYOUTS[layout])


def test_of_a_whole_number_of_cells_it_is_roi_align():
    """RoIWarp counts the last pixel in: its box from 1 to 5 is RoIAlign's from 1 to 6."""
    feature = random_feature()[:1]
    warped = ops.roi_warp(feature, torch.tensor([[[4.0, 8, 20, 24]]]).double(), output_size=3, stride=4.0)
    aligned = ops.pyramid_roi_align(
        [feature], torch.tensor([[[4.0, 8, 24, 28]]]).double(),
        output_size=3, strides=[4.0], sampling_ratio=2, aligned=True,
    )  # fmt: skip
    torch.testing.assert_close(warped, aligned, rtol=0, atol=1e-12)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-5), (torch.bfloat16, 2e-2), (torch.float16, 2e-3)])
def test_lower_precision(dtype, tolerance, mode):
    feature, rois = random_feature(dtype=dtype), random_rois(dtype=torch.float32)
    settings = {"output_size": 3, "stride": 4.0, "mode": mode}
    warped = ops.roi_warp(feature, rois, **settings)
    assert warped.dtype == dtype
    expected = ops.roi_warp(feature.double(), rois.double(), **settings)
    torch.testing.assert_close(warped.double(), expected, rtol=0, atol=tolerance)


USUAL = [10.0, 10, 40, 30]


@pytest.mark.parametrize("mode", MODES)
def test_hostile_rois(mode):
    values = (math.nan, math.inf, -math.inf)
    not_finite = [[*USUAL[:k], value, *USUAL[k + 1 :]] for k in range(4) for value in values]
    extreme = [[-size, -size, size, size] for size in (1e6, 1e30, 3e38)] + [[3e38, 3e38, -3e38, -3e38]]
    rois = torch.tensor([[USUAL, *not_finite, *extreme]])
    feature = random_feature(batch=1, dtype=torch.float32)
    warped = ops.roi_warp(feature, rois, output_size=3, stride=4.0, mode=mode)
    assert warped.isfinite().all()
    assert (warped[:, 1 : 1 + len(not_finite)] == 0).all(), "an RoI that is not finite gives zeros"
    alone = ops.roi_warp(feature, rois[:, :1], output_size=3, stride=4.0, mode=mode)
    assert torch.equal(warped[:, :1], alone) and alone.abs().max() > 0.1


# Gradient


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("mode", MODES)
def test_gradient_agrees_with_finite_differences(mode, layout):
    feature = random_feature(channels=2, batch=1).contiguous(memory_format=LAYOUTS[layout]).requires_grad_()
    rois = random_rois(6, batch=1)
    assert torch.autograd.gradcheck(
        lambda feature: ops.roi_warp(feature, rois, output_size=2, stride=4.0, mode=mode), feature, fast_mode=True
    )


def test_rois_are_constants():
    feature, roi = torch.rand(1, 2, 8, 8, requires_grad=True), torch.tensor([[[1.0, 1, 5, 5]]], requires_grad=True)
    ops.roi_warp(feature, roi, output_size=2, stride=1.0).sum().backward()
    assert roi.grad is None and feature.grad.sum().item() == pytest.approx(2 * 4)


# Nothing, and mistakes


@pytest.mark.parametrize("batch, count, channels", [(2, 0, 3), (0, 4, 3), (2, 4, 0), (0, 0, 0)])
@pytest.mark.parametrize("mode", MODES)
def test_nothing_to_warp(mode, batch, count, channels):
    feature, rois = random_feature(channels)[:batch].requires_grad_(), random_rois(max(count, 6))[:batch, :count]
    warped = ops.roi_warp(feature, rois, output_size=3, stride=4.0, mode=mode)
    assert warped.shape == (batch, count, channels, 3, 3)
    warped.sum().backward()
    assert count or (feature.grad == 0).all()


GOOD = {"feature": torch.zeros(2, 3, 8, 8), "rois": torch.zeros(2, 5, 4), "output_size": 7, "stride": 16.0}
ERRORS = {
    "a list of levels": (TypeError, "feature must be a tensor .* found list", {"feature": [torch.zeros(2, 3, 8, 8)]}),
    "no pixels": (ValueError, "feature must be .* with pixels", {"feature": torch.zeros(2, 3, 8, 0)}),
    "rois with an image index": (ValueError, r"rois must be .* found \(2, 5, 5\)", {"rois": torch.zeros(2, 5, 5)}),
    "no bins": (ValueError, "output_size must be at least 1, found 0", {"output_size": 0}),
    "a negative stride": (ValueError, "stride must be positive and finite, found -4.0", {"stride": -4.0}),
    "adaptive sampling": (ValueError, "sampling_ratio must be at least 1, found 0", {"sampling_ratio": 0}),
    "another mode": (ValueError, "mode must be \"average\" or \"max\", found 'mean'", {"mode": "mean"}),
}


@pytest.mark.parametrize("error, message, change", ERRORS.values(), ids=ERRORS)
def test_mistakes_are_named(error, message, change):
    with pytest.raises(error, match=f"roi_warp: {message}"):
        ops.roi_warp(**(GOOD | change))


# In PyTorch


def test_autocast_leaves_the_feature_as_it_is():
    feature, roi = torch.rand(1, 2, 8, 8), torch.tensor([[[1.0, 1, 5, 5]]])
    expected = ops.roi_warp(feature, roi, output_size=2, stride=1.0, mode="max")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(ops.roi_warp(feature, roi, output_size=2, stride=1.0, mode="max"), expected)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_compiles_into_one_graph(mode):
    def loss(feature, rois):
        warped = ops.roi_warp(feature, rois, output_size=3, stride=4.0, mode=mode)
        return (warped * warped).sum()

    feature, rois = random_feature().requires_grad_(), random_rois()
    (expected,) = torch.autograd.grad(loss(feature, rois), feature)
    (gradient,) = torch.autograd.grad(torch.compile(loss, fullgraph=True, dynamic=True)(feature, rois), feature)
    torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-10)
