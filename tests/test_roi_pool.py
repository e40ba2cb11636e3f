"""RoIPool: by hand, against the loop, its gradient, and what happens at every edge.

Wherever it says `implementation`, the compiled kernel and the PyTorch one are both meant.
"""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from maskrcnn import ops
from maskrcnn.ops import fallback_pooling
from maskrcnn.reference import roi_pool as reference

LAYOUTS = {"channels_first": torch.contiguous_format, "channels_last": torch.channels_last}
IMPLEMENTATIONS = {
    "dispatched": SimpleNamespace(pool=torch.ops.maskrcnn.roi_pool, spread=torch.ops.maskrcnn.roi_pool_backward),
    "fallback": SimpleNamespace(pool=fallback_pooling.roi_pool, spread=fallback_pooling.roi_pool_backward),
}
"""`pool(feature, rois, output_size, stride, channels_last)` and `spread(gradient, argmax, height, width,
channels_last)`."""


@pytest.fixture(params=IMPLEMENTATIONS)
def implementation(request):
    return IMPLEMENTATIONS[request.param]


def random_feature(channels: int = 5, batch: int = 2, dtype=torch.float64, seed: int = 0) -> Tensor:
    """(batch, channels, 12, 17) of so few values that ties are common."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.randint(-9, 10, (batch, channels, 12, 17), generator=generator) / 4).to(dtype)


def random_rois(count: int = 24, batch: int = 2, dtype=torch.float64, seed: int = 0) -> Tensor:
    """RoIs around a picture of 68 x 48 pixels: inside, across its borders, outside, wide, tall, empty and huge."""
    generator = torch.Generator().manual_seed(seed)
    centre = torch.rand(batch, count, 2, generator=generator, dtype=torch.float64) * 80 - 10
    size = 2 ** (torch.rand(batch, count, 2, generator=generator, dtype=torch.float64) * 7)
    rois = torch.cat((centre - size / 2, centre + size / 2), dim=-1)
    rois[:, 0, 2:] = rois[:, 0, :2]  # a point
    rois[:, 1, 2] = rois[:, 1, 0]  # a line
    rois[:, 2] = torch.tensor([-700.0, -600, 800, 900])
    rois[:, 3] = torch.tensor([-900.0, 20, 900, 24])
    rois[:, 4] = torch.tensor([-90.0, -90, -50, -50])
    rois[:, 5] = torch.tensor([40.0, 30, 20, 10])  # corners swapped
    return rois.to(dtype)


def loop(feature: Tensor, rois: Tensor, **settings) -> Tensor:
    return torch.stack([reference.roi_pool(*image, **settings) for image in zip(feature, rois, strict=True)])


# Worked by hand


RAMP = (10 * torch.arange(8.0)[:, None] + torch.arange(8.0))[None, None]  # f(y, x) = 10 y + x


def test_bins_of_two_pixels():
    # Pixels 1 to 4 in each direction, both included: bins {1, 2} and {3, 4}.
    pooled = ops.roi_pool(RAMP, torch.tensor([[[1.0, 1, 4, 4]]]), output_size=2, stride=1.0)
    assert pooled.tolist() == [[[[[22, 24], [42, 44]]]]]


def test_neighbouring_bins_share_a_pixel():
    # Pixels 1 to 3: the bins reach from 0 to 1.5 and from 1.5 to 3, and both take the pixel in the middle.
    feature = torch.tensor([0.0, 1, 5, 2, 0]).expand(1, 1, 1, 5)
    pooled = ops.roi_pool(feature, torch.tensor([[[1.0, 0, 3, 0]]]), output_size=2, stride=1.0)
    assert pooled[0, 0, 0].tolist() == [[5, 5], [5, 5]]


@pytest.mark.parametrize("x1, x2, expected", [(4.0, 10.0, [1, 3]), (1.9, 9.9, [0, 2]), (6.0, 5.0, [2, 2])])
def test_corners_are_divided_by_the_stride_and_rounded(implementation, x1, x2, expected):
    """Whole pixels, both ends included, and at least one. The value of a pixel is its number."""
    feature = torch.arange(8.0).expand(1, 1, 1, 8)
    for sign in (1, -1):  # the last pixel of each RoI is the largest, the first the smallest
        pooled, _ = implementation.pool(sign * feature, torch.tensor([[[x1, 0.0, x2, 0.0]]]), 1, 4.0, False)
        assert sign * pooled.item() == expected[sign > 0]


def test_halves_are_rounded_away_from_zero(implementation):
    feature = torch.arange(1.0, 9.0).expand(1, 1, 1, 8)  # the value of pixel i is i + 1
    rois = torch.tensor([[[0.5, 0, 0.5, 0], [2.5, 0, 2.5, 0], [-0.5, 0, -0.5, 0], [0.49999997, 0, 0.49999997, 0]]])
    pooled, argmax = implementation.pool(feature, rois, 1, 1.0, False)
    assert pooled.flatten().tolist() == [2, 4, 0, 1]
    assert argmax.flatten().tolist() == [1, 3, -1, 0]


def test_a_bin_outside_the_feature_is_zero(implementation):
    feature = torch.full((1, 1, 4, 4), -5.0)
    # Pixels -4 to 3: the first bin ends before the feature begins.
    pooled, argmax = implementation.pool(feature, torch.tensor([[[-4.0, 0, 3, 3]]]), 2, 1.0, False)
    assert pooled[0, 0, 0].tolist() == [[0, -5], [0, -5]]
    assert argmax[0, 0, 0].tolist() == [[-1, 0], [-1, 8]]


def test_a_feature_wider_than_float32_counts_is_not_left(implementation):
    width = 2**24 + 3  # which float32 rounds up to 2^24 + 4
    memory = torch.zeros(width + 1, dtype=torch.float16)
    memory[width - 1], memory[width] = 3, 7
    rois = torch.tensor([[[width - 20.0, 0, width + 80.0, 0]]])
    pooled, argmax = implementation.pool(memory[:width].view(1, 1, 1, width), rois, 1, 1.0, False)
    assert (pooled.item(), argmax.item()) == (3, width - 1)


def test_of_equal_values_the_first_is_the_maximum(implementation):
    feature = torch.tensor([[[[0.0, 3, 1], [3, 0, 3], [0, 3, 0]]]])
    _, argmax = implementation.pool(feature, torch.tensor([[[0.0, 0, 2, 2]]]), 1, 1.0, False)
    assert argmax.item() == 1
    feature = torch.full_like(feature, -math.inf)
    pooled, argmax = implementation.pool(feature, torch.tensor([[[0.0, 0, 2, 2]]]), 1, 1.0, False)
    assert (pooled.item(), argmax.item()) == (-math.inf, 0)


# Against the loop


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size, stride", [(1, 4.0), (2, 4.0), (7, 3.7), (3, 16.0)])
def test_agrees_with_the_loop(implementation, size, stride, layout):
    feature, rois = random_feature(), random_rois()
    expected = loop(feature, rois, output_size=size, stride=stride)
    feature = feature.contiguous(memory_format=LAYOUTS[layout])
    pooled, argmax = implementation.pool(feature, rois, size, stride, layout == "channels_last")
    assert torch.equal(pooled, expected) and argmax.dtype == torch.int32
    found = feature.flatten(2)[:, None].expand(-1, 24, -1, -1).gather(3, argmax.flatten(3).long().clamp(min=0))
    assert torch.equal(found.view_as(pooled).masked_fill(argmax < 0, 0), pooled)


@pytest.mark.parametrize("channels", [1, 8, 64, 75])  # one, whole vectors of them, and some left over
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_every_dtype_and_both_implementations_alike(dtype, channels):
    feature = random_feature(channels, dtype=dtype)
    rois = random_rois(dtype=torch.promote_types(dtype, torch.float32))
    in_float64 = loop(feature.double(), rois.double(), output_size=3, stride=4.0)
    for layout, memory_format in LAYOUTS.items():
        one = feature.contiguous(memory_format=memory_format)
        results = [kernel.pool(one, rois, 3, 4.0, layout == "channels_last") for kernel in IMPLEMENTATIONS.values()]
        assert torch.equal(results[0][1], results[1][1])
        for pooled, _ in results:
            assert pooled.dtype == dtype and torch.equal(pooled.double(), in_float64)


USUAL = [10.0, 10, 40, 30]
NOT_FINITE = [[*USUAL[:k], value, *USUAL[k + 1 :]] for k in range(4) for value in (math.nan, math.inf, -math.inf)]
EXTREME = [
    *[[-size, -size, size, size] for size in (1e4, 1e6, 1e9, 1e30, 1.5e38)],
    [1e9, 1e9, 2e9, 2e9],
    [-3e38, 20, 3e38, 24],  # not even its width is finite
    [1e-40, 1e-40, 1e-39, 1e-39],
    [3e38, 3e38, -3e38, -3e38],
]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_hostile_rois(implementation, layout):
    rois = torch.tensor([[USUAL, *NOT_FINITE, *EXTREME]])
    feature = random_feature(batch=1, dtype=torch.float32).contiguous(memory_format=LAYOUTS[layout])
    last = layout == "channels_last"
    pooled, argmax = implementation.pool(feature, rois, 3, 4.0, last)
    assert (pooled[:, 1 : 1 + len(NOT_FINITE)] == 0).all(), "an RoI that is not finite gives zeros"
    assert (argmax[:, 1 : 1 + len(NOT_FINITE)] == -1).all()
    alone, _ = implementation.pool(feature, rois[:, :1], 3, 4.0, last)
    assert torch.equal(pooled[:, :1], alone) and alone.abs().max() > 1
    for found, expected in zip((pooled, argmax), fallback_pooling.roi_pool(feature, rois, 3, 4.0, last), strict=True):
        assert torch.equal(found, expected)


@pytest.mark.parametrize("last", [False, True])
def test_nan_in_a_bin_gives_nan_there_and_nowhere_else(implementation, last):
    feature = torch.ones(1, 3, 8, 8)
    feature[..., 5, 5:7] = math.nan
    feature[..., 7, 7] = math.inf
    feature = feature.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)
    pooled, argmax = implementation.pool(feature, torch.tensor([[[0.0, 0, 7, 7]]]), 2, 1.0, last)
    assert pooled[0, 0, 1].flatten().tolist()[:3] == [1, 1, 1] and pooled[0, 0, :, 1, 1].isnan().all()
    assert (argmax[0, 0, :, 1, 1] == 5 * 8 + 5).all(), "the first of them"


# Memory layout


def test_output_has_the_layout_of_the_feature():
    feature, rois = random_feature(), random_rois()
    channels_first = ops.roi_pool(feature, rois, output_size=3, stride=4.0)
    assert channels_first.is_contiguous()
    feature = feature.contiguous(memory_format=torch.channels_last)
    channels_last = ops.roi_pool(feature, rois, output_size=3, stride=4.0)
    assert channels_last.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(channels_last, channels_first)


@pytest.mark.parametrize("last", [False, True])
def test_any_layout(implementation, last):
    feature, rois = random_feature(), random_rois()
    expected, _ = implementation.pool(feature, rois, 3, 4.0, False)
    strided_rois = torch.cat((rois, rois), dim=-1)[..., :4]
    for strided in (
        feature.contiguous(memory_format=torch.channels_last),
        torch.cat((feature, feature), dim=3)[..., :17],  # a slice: rows have gaps
        feature.transpose(2, 3).contiguous().transpose(2, 3),  # columns first
    ):
        pooled, _ = implementation.pool(strided, strided_rois, 3, 4.0, last)
        assert torch.equal(pooled, expected)


# Gradient


@pytest.mark.parametrize("layout", LAYOUTS)
def test_gradient_agrees_with_finite_differences(layout):
    # No two values are closer than the step of the differences.
    values = torch.randperm(2 * 12 * 17, generator=torch.Generator().manual_seed(0)).double().view(1, 2, 12, 17)
    feature = values.contiguous(memory_format=LAYOUTS[layout]).requires_grad_()
    rois = random_rois(8, batch=1)
    assert torch.autograd.gradcheck(
        lambda feature: ops.roi_pool(feature, rois, output_size=2, stride=4.0), feature, fast_mode=True
    )


@pytest.mark.parametrize("gradient_layout", ["contiguous", "channels_last", "expanded"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_gradient_goes_to_the_maximum(implementation, layout, gradient_layout):
    last = layout == "channels_last"
    feature = random_feature(channels=37).contiguous(memory_format=LAYOUTS[layout])
    pooled, argmax = implementation.pool(feature, random_rois(), 3, 4.0, last)
    gradient = torch.randn(pooled.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    if gradient_layout == "channels_last":
        gradient = gradient.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)
    elif gradient_layout == "expanded":  # what the gradient of a sum looks like
        gradient = gradient[:1, :1, :, :1, :1].expand_as(pooled)
    spread = implementation.spread(gradient, argmax, 12, 17, last)
    assert spread.is_contiguous(memory_format=LAYOUTS[layout])
    expected = torch.zeros(2, 37, 12 * 17, dtype=torch.float64)
    for image in range(2):
        for roi in range(24):
            for bin_ in range(9):
                for channel in range(0, 37, 4):
                    pixel = argmax[image, roi, channel].flatten()[bin_]
                    if pixel >= 0:
                        expected[image, channel, pixel] += gradient[image, roi, channel].flatten()[bin_]
    torch.testing.assert_close(spread.flatten(2)[:, ::4], expected[:, ::4], rtol=0, atol=1e-12)
    torch.testing.assert_close(spread.sum(), gradient[argmax >= 0].sum())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_gradient_is_summed_in_float32_and_returned_in_the_dtype_of_the_feature(dtype):
    # 300 equal RoIs: in bfloat16 a sum of ones would stop growing at 256.
    feature = torch.zeros(1, 3, 4, 4, dtype=dtype, requires_grad=True)
    ops.roi_pool(feature, torch.tensor([2.0, 2, 2, 2]).expand(1, 300, 4), output_size=1, stride=1.0).sum().backward()
    assert feature.grad.dtype == dtype
    expected = torch.zeros(4, 4)
    expected[2, 2] = 300
    assert feature.grad[0, 1].tolist() == expected.tolist()


def test_gradient_has_the_same_bits_with_any_number_of_threads():
    feature, rois = random_feature(channels=70, dtype=torch.float32).requires_grad_(), random_rois(60)
    threads = torch.get_num_threads()
    try:
        results = []
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            pooled = ops.roi_pool(feature, rois, output_size=3, stride=4.0)
            results += torch.autograd.grad((pooled * torch.tensor([0.1, 0.7, 1.3])).sum(), feature)
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(result, results[0]) for result in results[1:])


def test_rois_are_constants():
    feature, roi = torch.rand(1, 2, 8, 8, requires_grad=True), torch.tensor([[[1.0, 1, 5, 5]]], requires_grad=True)
    ops.roi_pool(feature, roi, output_size=2, stride=1.0).sum().backward()
    assert roi.grad is None and feature.grad.sum().item() == 2 * 4


def test_an_argmax_outside_the_feature_is_ignored(implementation):
    """Whoever calls the backward op with numbers of his own must not write elsewhere."""
    argmax = torch.tensor([-7, 3, 4, 2**31 - 1]).view(1, 4, 1, 1, 1).int()
    spread = implementation.spread(torch.ones(1, 4, 1, 1, 1), argmax, 2, 2, False)
    assert spread.flatten().tolist() == [0, 0, 0, 1]


# Nothing, and mistakes


@pytest.mark.parametrize("batch, count, channels", [(2, 0, 3), (0, 4, 3), (2, 4, 0), (0, 0, 0)])
@pytest.mark.parametrize("last", [False, True])
def test_nothing_to_pool(implementation, last, batch, count, channels):
    feature, rois = random_feature(channels)[:batch], random_rois(max(count, 6))[:batch, :count]
    pooled, argmax = implementation.pool(feature, rois, 3, 4.0, last)
    assert pooled.shape == argmax.shape == (batch, count, channels, 3, 3)
    spread = implementation.spread(torch.ones_like(pooled), argmax, 12, 17, last)
    assert spread.shape == feature.shape and (spread == 0).all()


GOOD = {"feature": torch.zeros(2, 3, 8, 8), "rois": torch.zeros(2, 5, 4), "output_size": 7, "stride": 16.0}
ERRORS = {
    "numbers as feature": (TypeError, "feature must be a tensor .* found int", {"feature": 1}),
    "a list of levels": (TypeError, "feature must be a tensor .* found list", {"feature": [torch.zeros(2, 3, 8, 8)]}),
    "integer feature": (TypeError, "feature .* torch.uint8", {"feature": torch.zeros(2, 3, 8, 8).byte()}),
    "three dimensions": (ValueError, r"feature must be \(B, C, H, W\)", {"feature": torch.zeros(3, 8, 8)}),
    "no pixels": (ValueError, "feature must be .* with pixels", {"feature": torch.zeros(2, 3, 0, 8)}),
    "another batch": (ValueError, r"rois must be .* 1 images, found \(2, 5, 4\)", {"feature": torch.zeros(1, 3, 8, 8)}),
    "too many pixels": (
        ValueError,
        "feature must have less than 2.31 pixels",
        {"feature": torch.zeros(1).expand(2, 3, 2**16, 2**15)},
    ),
    "rois of one image": (ValueError, r"rois must be \(B, R, 4\) .* found \(5, 4\)", {"rois": torch.zeros(5, 4)}),
    "rois with an image index": (ValueError, r"rois must be .* found \(2, 5, 5\)", {"rois": torch.zeros(2, 5, 5)}),
    "integer rois": (TypeError, "rois .* torch.int64", {"rois": torch.zeros(2, 5, 4).long()}),
    "two devices": (ValueError, "rois are on meta but feature on cpu", {"rois": torch.zeros(2, 5, 4, device="meta")}),
    "no bins": (ValueError, "output_size must be at least 1, found 0", {"output_size": 0}),
    "a stride of zero": (ValueError, "stride must be positive and finite, found 0", {"stride": 0.0}),
    "stride nan": (ValueError, "stride must be positive and finite, found nan", {"stride": math.nan}),
}


@pytest.mark.parametrize("error, message, change", ERRORS.values(), ids=ERRORS)
def test_mistakes_are_named(error, message, change):
    with pytest.raises(error, match=f"roi_pool: {message}"):
        ops.roi_pool(**(GOOD | change))


# Registration


@pytest.mark.parametrize("layout", LAYOUTS)
def test_registration_keeps_pytorchs_rules(layout):
    last = layout == "channels_last"
    feature, rois = random_feature().contiguous(memory_format=LAYOUTS[layout]), random_rois(6)
    arguments = (feature.requires_grad_(), rois, 3, 4.0, last)
    report = torch.library.opcheck(torch.ops.maskrcnn.roi_pool.default, arguments)
    assert set(report.values()) == {"SUCCESS"}
    with torch.no_grad():
        pooled, argmax = torch.ops.maskrcnn.roi_pool(*arguments)
    arguments = (torch.ones_like(pooled), argmax, 12, 17, last)
    report = torch.library.opcheck(torch.ops.maskrcnn.roi_pool_backward.default, arguments)
    assert set(report.values()) == {"SUCCESS"}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_shape_and_layout_are_known_without_data(layout):
    feature = torch.empty(2, 6, 16, 16, device="meta").contiguous(memory_format=LAYOUTS[layout])
    pooled = ops.roi_pool(feature, torch.empty(2, 9, 4, device="meta"), output_size=7, stride=4)
    real = ops.roi_pool(torch.zeros_like(feature, device="cpu"), torch.zeros(2, 9, 4), output_size=7, stride=4)
    assert pooled.device.type == "meta"
    assert (pooled.shape, pooled.stride(), pooled.dtype) == (real.shape, real.stride(), real.dtype)


def test_autocast_leaves_the_feature_as_it_is():
    feature, roi = torch.rand(1, 2, 8, 8), torch.tensor([[[1.0, 1, 5, 5]]])
    expected = ops.roi_pool(feature, roi, output_size=2, stride=1.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(ops.roi_pool(feature, roi, output_size=2, stride=1.0), expected)
        assert ops.roi_pool(feature.bfloat16(), roi, output_size=2, stride=1.0).dtype == torch.bfloat16


@pytest.mark.slow
def test_compiles_into_one_graph():
    def loss(feature, rois):
        pooled = ops.roi_pool(feature, rois, output_size=3, stride=4.0)
        return (pooled * pooled).sum()

    feature, rois = random_feature().requires_grad_(), random_rois()
    (expected,) = torch.autograd.grad(loss(feature, rois), feature)
    (gradient,) = torch.autograd.grad(torch.compile(loss, fullgraph=True, dynamic=True)(feature, rois), feature)
    torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-10)
