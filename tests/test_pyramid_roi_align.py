"""RoIAlign over a pyramid: by hand, against the loop, its gradient, and what happens at every edge.

Wherever it says `implementation`, the compiled kernel and the PyTorch one are both meant.
"""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from maskrcnn import ops
from maskrcnn.ops import fallback
from maskrcnn.reference import roi_align as reference

STRIDES = [4.0, 8.0, 16.0, 32.0]
FINEST_SIZE = 12.0  # smaller than in the model, so that small pictures exercise every level
LAYOUTS = {"channels_first": torch.contiguous_format, "channels_last": torch.channels_last}
KERNELS = {
    "dispatched": (torch.ops.maskrcnn.pyramid_roi_align, torch.ops.maskrcnn.pyramid_roi_align_backward),
    "fallback": (fallback.pyramid_roi_align, fallback.pyramid_roi_align_backward),
}


def pool_with(forward, features, rois, *, size=3, strides=None, ratio=2, aligned=True, finest=FINEST_SIZE, last=False):
    strides = STRIDES[: len(features)] if strides is None else strides
    return forward(features, rois, size, strides, ratio, aligned, finest, last)


@pytest.fixture(params=KERNELS)
def implementation(request):
    """`pool` and `spread`, forward and backward, with the settings of these tests as defaults."""
    forward, backward = KERNELS[request.param]

    def spread(
        gradient, features, rois, *, size=3, strides=None, ratio=2, aligned=True, finest=FINEST_SIZE, last=False
    ):
        heights, widths = [level.shape[2] for level in features], [level.shape[3] for level in features]
        strides = STRIDES[: len(features)] if strides is None else strides
        return backward(gradient, rois, heights, widths, size, strides, ratio, aligned, finest, last)

    return SimpleNamespace(pool=lambda *args, **kwargs: pool_with(forward, *args, **kwargs), spread=spread)


def random_features(channels: int = 5, batch: int = 2, levels: int = 4, dtype=torch.float64, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    sizes = [(24, 33), (12, 17), (6, 9), (3, 5)][:levels]
    return [torch.randn(batch, channels, *size, generator=generator, dtype=torch.float64).to(dtype) for size in sizes]


def random_rois(count: int = 24, batch: int = 2, dtype=torch.float64, seed: int = 0) -> Tensor:
    """RoIs around a picture of 132 x 96 pixels: inside, across its borders, outside, wide, tall, empty and huge."""
    generator = torch.Generator().manual_seed(seed)
    centre = torch.rand(batch, count, 2, generator=generator, dtype=torch.float64) * 160 - 20
    size = 2 ** (torch.rand(batch, count, 2, generator=generator, dtype=torch.float64) * 8)
    rois = torch.cat((centre - size / 2, centre + size / 2), dim=-1)
    rois[:, 0, 2:] = rois[:, 0, :2]  # a point
    rois[:, 1, 2] = rois[:, 1, 0]  # a line
    rois[:, 2] = torch.tensor([-700.0, -600, 800, 900])
    rois[:, 3] = torch.tensor([-900.0, 40, 900, 44])
    rois[:, 4] = torch.tensor([-90.0, -90, -50, -50])
    rois[:, 5] = torch.tensor([60.0, 50, 40, 30])  # corners swapped
    return rois.to(dtype)


def loop(features, rois, **settings) -> Tensor:
    images = zip(*features, rois, strict=True)
    return torch.stack([reference.pyramid_roi_align(levels, image, **settings) for *levels, image in images])


# Worked by hand


RAMP = (10 * torch.arange(8.0)[:, None] + torch.arange(8.0))[None, None]  # f(y, x) = 10 y + x


@pytest.mark.parametrize("ratio", [0, 2])
@pytest.mark.parametrize("aligned, expected", [(True, [16.5, 18.5, 36.5, 38.5]), (False, [22.0, 24.0, 42.0, 44.0])])
def test_ramp(aligned, expected, ratio):
    # The bins of (1, 1, 5, 5) are 2 x 2 pixels with centres at 2 and 4. A ramp's average is its value at the centre,
    # and pixel i has its centre at i + 0.5, which only `aligned` takes into account.
    roi = torch.tensor([[[1.0, 1, 5, 5]]])
    pooled = ops.pyramid_roi_align([RAMP], roi, output_size=2, strides=[1], sampling_ratio=ratio, aligned=aligned)
    assert pooled.shape == (1, 1, 1, 2, 2)
    assert pooled.flatten().tolist() == expected


# One bin with one sample on [[0, 1], [2, 3]], at the given x = y.
@pytest.mark.parametrize(
    "position, expected",
    [
        (0.5, 1.5),  # the average of all four pixels
        (0.25, 0.75),
        (1.0, 3.0),  # exactly on the last pixel
        (1.75, 3.0),  # beyond its centre: the last row and column alone
        (2.0, 3.0),  # exactly one cell outside still counts,
        (2.001, 0.0),  # but not more;
        (-1.0, 0.0),  # before the first pixel the first row and column alone
        (-1.001, 0.0),
    ],
)
def test_one_sample(implementation, position, expected):
    feature = torch.tensor([[[[0.0, 1], [2, 3]]]]) + 5
    roi = torch.full((1, 1, 4), position) + 0.5 + torch.tensor([-1.0, -1, 1, 1])
    pooled = implementation.pool([feature], roi, size=1, strides=[1.0], ratio=1)
    outside = not -1 <= position <= 2
    assert pooled.item() == pytest.approx(0.0 if outside else expected + 5, abs=1e-6)


def test_a_sample_outside_counts_as_zero_in_the_average(implementation):
    # Four samples at x = -2, -0.5, 1, 2.5 of a 1 x 3 row of ones; y is inside for all of them.
    roi = torch.tensor([[[-2.25, 0.0, 3.75, 1.0]]])
    pooled = implementation.pool([torch.ones(1, 1, 1, 3)], roi, size=1, strides=[1.0], ratio=4)
    assert pooled.item() == pytest.approx(3 / 4)


def test_without_alignment_an_roi_is_at_least_one_cell(implementation):
    point = torch.tensor([[[2.0, 3.0, 2.0, 3.0]]])
    settings = {"size": 1, "strides": [1.0]}
    assert implementation.pool([RAMP], point, ratio=0, aligned=False, **settings).item() == 37.5  # f(3.5, 2.5)
    assert implementation.pool([RAMP], point, ratio=2, aligned=True, **settings).item() == 26.5  # f(2.5, 1.5)
    assert implementation.pool([RAMP], point, ratio=0, aligned=True, **settings).item() == 0  # no sample at all


@pytest.mark.parametrize("stretch", [1, 4])
@pytest.mark.parametrize(
    "size, level",
    [(0, 0), (1, 0), (111.9, 0), (112, 1), (223.9, 1), (224, 2), (447.9, 2), (448, 3), (5000, 3)],
)
def test_level_of_an_roi(implementation, size, level, stretch):
    width, height = size * stretch, size / stretch
    roi = torch.tensor([[[50 - width / 2, 50 - height / 2, 50 + width / 2, 50 + height / 2]]])
    features = [torch.full((1, 1, 24, 33), float(index)) for index in range(4)]
    # A single sample, at the centre of the RoI.
    assert implementation.pool(features, roi, size=1, ratio=1, finest=56.0).item() == level
    published = math.floor(4 + math.log2(max(size, 1e-9) / 224) + 1e-6)  # torchvision's form, for P2..P5
    assert level == min(max(published, 2), 5) - 2


# Against the loop


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("ratio", [0, 1, 2, 3])
@pytest.mark.parametrize("aligned", [True, False])
def test_agrees_with_the_loop(implementation, aligned, ratio, layout):
    features, rois = random_features(), random_rois()
    settings = {"strides": STRIDES, "sampling_ratio": ratio, "aligned": aligned, "finest_size": FINEST_SIZE}
    expected = loop(features, rois, output_size=3, **settings)
    features = [level.contiguous(memory_format=LAYOUTS[layout]) for level in features]
    pooled = implementation.pool(features, rois, ratio=ratio, aligned=aligned, last=layout == "channels_last")
    torch.testing.assert_close(pooled, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("channels", [1, 8, 64, 75])  # one, whole vectors of them, and some left over
@pytest.mark.parametrize("size, strides", [(1, [4.0]), (7, [3.7])])
def test_agrees_with_the_loop_on_one_level(implementation, size, strides, channels):
    features, rois = random_features(channels, levels=1), random_rois(8)
    expected = loop(features, rois, output_size=size, strides=strides, sampling_ratio=2, aligned=True)
    features = [features[0].contiguous(memory_format=torch.channels_last)]
    pooled = implementation.pool(features, rois, size=size, strides=strides, last=True)
    torch.testing.assert_close(pooled, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-5), (torch.bfloat16, 2e-2), (torch.float16, 2e-3)])
def test_lower_precision(implementation, dtype, tolerance, layout):
    features, rois = random_features(channels=67, dtype=dtype), random_rois(dtype=torch.float32)
    features = [level.contiguous(memory_format=LAYOUTS[layout]) for level in features]
    exact = implementation.pool([level.double() for level in features], rois.double())
    pooled = implementation.pool(features, rois, last=layout == "channels_last")
    assert pooled.dtype == dtype
    torch.testing.assert_close(pooled.double(), exact, rtol=0, atol=tolerance)
    # The sums are made in float32: only the result is rounded.
    in_float32 = implementation.pool([level.float() for level in features], rois, last=layout == "channels_last")
    assert torch.equal(pooled, in_float32.to(dtype))


USUAL = [10.0, 10, 50, 50]
NOT_FINITE = [[*USUAL[:k], value, *USUAL[k + 1 :]] for k in range(4) for value in (math.nan, math.inf, -math.inf)]
EXTREME = [
    *[[-size, -size, size, size] for size in (1e4, 1e6, 1e9, 1e30, 3e38)],
    [1e9, 1e9, 2e9, 2e9],
    [-3e38, 20, 3e38, 24],
    [1e-40, 1e-40, 1e-39, 1e-39],
    [3e38, 3e38, -3e38, -3e38],
]


@pytest.mark.parametrize("ratio", [0, 2])
@pytest.mark.parametrize("aligned", [True, False])
def test_hostile_rois(implementation, aligned, ratio):
    rois = torch.tensor([[USUAL, *NOT_FINITE, *EXTREME]])
    features = [level[:1] for level in random_features(dtype=torch.float32)]
    pooled = implementation.pool(features, rois, ratio=ratio, aligned=aligned)
    assert pooled.isfinite().all()
    alone = implementation.pool(features, rois[:, :1], ratio=ratio, aligned=aligned)
    assert torch.equal(pooled[:, :1], alone) and alone.abs().max() > 0.1
    assert (pooled[:, 1 : 1 + len(NOT_FINITE)] == 0).all(), "an RoI that is not finite gives zeros"
    in_pytorch, _ = KERNELS["fallback"]
    expected = pool_with(in_pytorch, features, rois, ratio=ratio, aligned=aligned)
    torch.testing.assert_close(pooled, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("aligned", [True, False])
def test_a_length_of_minus_zero_is_no_length(implementation, aligned):
    """0.0 - (-0.0) is 0.0 but -0.0 - 0.0 is -0.0, by which nothing may be divided; nor by what underflows to it."""
    rois = torch.tensor([[[0.0, 0, 0, 0], [0, 0, -0.0, -0.0], [1e-45, 0, 0, 0]]])
    features = [torch.rand(1, 5, 6, 6, generator=torch.Generator().manual_seed(0))]
    for ratio in (0, 2):
        pooled = implementation.pool(features, rois, strides=[4.0], ratio=ratio, aligned=aligned)
        assert torch.equal(pooled, pooled[:, :1].expand_as(pooled))
        assert pooled.any() == (ratio > 0 or not aligned)


def test_values_outside_the_samples_do_not_matter(implementation):
    feature = torch.ones(1, 3, 20, 20)
    feature[..., 10:, :] = math.inf
    feature[..., :, 10:] = math.nan
    rois = torch.tensor([[[0.0, 0, 9, 9], [-50, -50, 9, 9]]])
    for last in (False, True):
        assert implementation.pool([feature], rois, strides=[1.0], ratio=0, last=last).isfinite().all()


# Memory layout


def test_output_has_the_layout_of_the_features():
    settings = {"output_size": 3, "strides": STRIDES, "sampling_ratio": 2, "aligned": True}
    features, rois = random_features(), random_rois()
    channels_first = ops.pyramid_roi_align(features, rois, **settings)
    assert channels_first.is_contiguous()
    features = [level.contiguous(memory_format=torch.channels_last) for level in features]
    channels_last = ops.pyramid_roi_align(features, rois, **settings)
    as_a_batch = channels_last.flatten(0, 1)
    assert as_a_batch.is_contiguous(memory_format=torch.channels_last)
    assert as_a_batch.data_ptr() == channels_last.data_ptr(), "no copy on the way into a convolution"
    torch.testing.assert_close(channels_last, channels_first, rtol=0, atol=1e-12)


@pytest.mark.parametrize("last", [False, True])
def test_any_mixture_of_layouts(implementation, last):
    features, rois = random_features(), random_rois()
    expected = implementation.pool(features, rois)
    mixed = [
        features[0].contiguous(memory_format=torch.channels_last),
        torch.cat((features[1], features[1]), dim=3)[..., : features[1].shape[3]],  # a slice: rows have gaps
        features[2].transpose(2, 3).contiguous().transpose(2, 3),  # columns first
        features[3][:1].expand(2, -1, -1, -1),  # both images the same memory
    ]
    expected[1] = implementation.pool([*features[:3], mixed[3]], rois)[1]
    strided_rois = torch.cat((rois, rois), dim=-1)[..., :4]
    pooled = implementation.pool(mixed, strided_rois, last=last)
    torch.testing.assert_close(pooled, expected, rtol=0, atol=1e-12)


# Gradient


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("ratio", [0, 2])
@pytest.mark.parametrize("aligned", [True, False])
def test_gradient_agrees_with_finite_differences(aligned, ratio, layout):
    rois = random_rois(7, batch=1)
    features = [
        level.contiguous(memory_format=LAYOUTS[layout]).requires_grad_()
        for level in random_features(channels=2, batch=1, levels=4)[1:]
    ]

    def pool(*features):
        return ops.pyramid_roi_align(
            features, rois, output_size=2, strides=STRIDES[1:], sampling_ratio=ratio, aligned=aligned, finest_size=12.0
        )

    assert torch.autograd.gradcheck(pool, features, fast_mode=True)


@pytest.mark.parametrize("gradient_layout", ["contiguous", "channels_last", "expanded"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("ratio", [0, 2])
def test_backward_is_the_transpose_of_forward(implementation, ratio, layout, gradient_layout):
    # Pooling is linear, so <gradient, pool(features)> = <spread(gradient), features> for any gradient and features.
    last = layout == "channels_last"
    features, rois = random_features(channels=37), random_rois()
    pooled = implementation.pool(features, rois, ratio=ratio, last=last)
    gradient = torch.randn(pooled.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    if gradient_layout == "channels_last":
        gradient = gradient.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)
    elif gradient_layout == "expanded":  # what the gradient of a sum looks like
        gradient = gradient[:1, :1, :, :1, :1].expand_as(pooled)
    spread = implementation.spread(gradient, features, rois, ratio=ratio, last=last)
    forward = (gradient * pooled).sum()
    backward = sum((level * values).sum() for level, values in zip(spread, features, strict=True))
    torch.testing.assert_close(forward, backward, rtol=1e-12, atol=1e-10)
    assert all(level.is_contiguous(memory_format=LAYOUTS[layout]) for level in spread)


def test_both_implementations_have_the_same_gradient():
    rois = random_rois()
    settings = ([24, 12, 6, 3], [33, 17, 9, 5], 3, STRIDES, 0, True, FINEST_SIZE, False)
    gradient = torch.randn(2, 24, 5, 3, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    ours, theirs = (backward(gradient, rois, *settings) for _, backward in KERNELS.values())
    for level, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(level, other, rtol=0, atol=1e-11)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_gradient_is_summed_in_float32_and_returned_in_the_dtype_of_the_features(dtype):
    # 300 equal RoIs: in bfloat16 a sum of ones would stop growing at 256.
    feature = torch.zeros(1, 3, 4, 4, dtype=dtype, requires_grad=True)
    rois = torch.tensor([2.0, 2, 3, 3]).expand(1, 300, 4)
    pooled = ops.pyramid_roi_align([feature], rois, output_size=1, strides=[1.0], sampling_ratio=1, aligned=True)
    pooled.sum().backward()
    assert feature.grad.dtype == dtype
    expected = torch.zeros(4, 4)
    expected[2, 2] = 300
    assert feature.grad[0, 1].tolist() == expected.tolist()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_gradient_has_the_same_bits_with_any_number_of_threads(layout):
    features, rois = random_features(channels=70, dtype=torch.float32), random_rois(60, dtype=torch.float32)
    features = [level.contiguous(memory_format=LAYOUTS[layout]).requires_grad_() for level in features]

    def gradients():
        pooled = ops.pyramid_roi_align(
            features, rois, output_size=3, strides=STRIDES, sampling_ratio=2, aligned=True, finest_size=12.0
        )
        return torch.autograd.grad((pooled * torch.arange(3.0)).sum(), features)

    threads = torch.get_num_threads()
    try:
        results = []
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            results.append(gradients())
    finally:
        torch.set_num_threads(threads)
    for result in results[1:]:
        assert all(torch.equal(level, first) for level, first in zip(result, results[0], strict=True))


def test_rois_are_constants():
    feature, roi = torch.rand(1, 2, 8, 8, requires_grad=True), torch.tensor([[[1.0, 1, 5, 5]]], requires_grad=True)
    pooled = ops.pyramid_roi_align([feature], roi, output_size=2, strides=[1.0], sampling_ratio=2, aligned=True)
    pooled.sum().backward()
    assert roi.grad is None
    assert feature.grad.sum().item() == pytest.approx(2 * 4)  # each bin's weights sum to 1


# Nothing, and mistakes


@pytest.mark.parametrize("batch, count, channels", [(2, 0, 3), (0, 4, 3), (2, 4, 0), (0, 0, 0)])
@pytest.mark.parametrize("last", [False, True])
def test_nothing_to_pool(implementation, last, batch, count, channels):
    features = [level[:batch] for level in random_features(channels)]
    rois = random_rois(max(count, 6))[:batch, :count]
    pooled = implementation.pool(features, rois, ratio=0, last=last)
    assert pooled.shape == (batch, count, channels, 3, 3)
    spread = implementation.spread(torch.ones_like(pooled), features, rois, ratio=0, last=last)
    assert [level.shape for level in spread] == [level.shape for level in features]
    if count == 0:
        assert all((level == 0).all() for level in spread)


GOOD = {
    "features": [torch.zeros(2, 3, 8, 8), torch.zeros(2, 3, 4, 4)],
    "rois": torch.zeros(2, 5, 4),
    "output_size": 7,
    "strides": [4.0, 8.0],
    "sampling_ratio": 2,
    "aligned": True,
}
ERRORS = {
    "no features": (ValueError, "at least one feature level", {"features": []}),
    "numbers as features": (TypeError, r"features\[0\] must be a tensor .* found int", {"features": [1, 2]}),
    "three dimensions": (ValueError, r"features\[0\] must be \(B, C, H, W\)", {"features": [torch.zeros(3, 8, 8)] * 2}),
    "no pixels": (ValueError, r"features\[0\] must be .* with pixels", {"features": [torch.zeros(2, 3, 0, 8)] * 2}),
    "another batch": (
        ValueError,
        r"features\[0\] must have 2 images .*found \(1",
        {"features": [torch.zeros(1, 3, 8, 8)] * 2},
    ),
    "other channels": (
        ValueError,
        r"features\[1\] must have .* 3 channels like features\[0\], found \(2, 4",
        {"features": [torch.zeros(2, 3, 8, 8), torch.zeros(2, 4, 4, 4)]},
    ),
    "two dtypes": (
        TypeError,
        r"features\[1\] is torch.float64 but features\[0\] is torch.float32",
        {"features": [torch.zeros(2, 3, 8, 8), torch.zeros(2, 3, 4, 4).double()]},
    ),
    "integer features": (TypeError, "features.*torch.uint8", {"features": [torch.zeros(2, 3, 8, 8).byte()] * 2}),
    "two devices": (
        ValueError,
        r"rois are on cpu but features\[0\] on meta",
        {"features": [torch.zeros(2, 3, 8, 8, device="meta")] * 2},
    ),
    "rois of one image": (ValueError, r"rois must be \(B, R, 4\), found \(5, 4\)", {"rois": torch.zeros(5, 4)}),
    "rois with an image index": (ValueError, r"rois must be .* found \(2, 5, 5\)", {"rois": torch.zeros(2, 5, 5)}),
    "integer rois": (TypeError, "rois .* torch.int64", {"rois": torch.zeros(2, 5, 4).long()}),
    "a stride missing": (ValueError, "2 feature levels but 1 strides", {"strides": [4.0]}),
    "a stride of zero": (ValueError, "strides and finest_size must be positive", {"strides": [4.0, 0.0]}),
    "finest size nan": (ValueError, "must be positive", {"finest_size": math.nan}),
    "no bins": (ValueError, "output_size must be at least 1", {"output_size": 0}),
    "negative ratio": (ValueError, "sampling_ratio at least 0, found 7 and -1", {"sampling_ratio": -1}),
}


@pytest.mark.parametrize("error, message, change", ERRORS.values(), ids=ERRORS)
def test_mistakes_are_named(error, message, change):
    with pytest.raises(error, match=message):
        ops.pyramid_roi_align(**(GOOD | change))


# Registration


@pytest.mark.parametrize("layout", LAYOUTS)
def test_registration_keeps_pytorchs_rules(layout):
    last = layout == "channels_last"
    features = [level.contiguous(memory_format=LAYOUTS[layout]).requires_grad_() for level in random_features(levels=2)]
    rois = random_rois(6)
    settings = (3, STRIDES[:2], 2, True, FINEST_SIZE, last)
    report = torch.library.opcheck(torch.ops.maskrcnn.pyramid_roi_align.default, (features, rois, *settings))
    assert set(report.values()) == {"SUCCESS"}
    gradient = torch.randn(2, 6, 5, 3, 3, dtype=torch.float64)
    arguments = (gradient, rois, [24, 12], [33, 17], *settings)
    report = torch.library.opcheck(torch.ops.maskrcnn.pyramid_roi_align_backward.default, arguments)
    assert set(report.values()) == {"SUCCESS"}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_shape_and_layout_are_known_without_data(layout):
    features = [
        torch.empty(2, 6, size, size, device="meta").contiguous(memory_format=LAYOUTS[layout]) for size in (16, 8)
    ]
    rois = torch.empty(2, 9, 4, device="meta")
    settings = {"output_size": 7, "strides": [4, 8], "sampling_ratio": 0, "aligned": True}
    pooled = ops.pyramid_roi_align(features, rois, **settings)
    real = ops.pyramid_roi_align(
        [torch.zeros_like(level, device="cpu") for level in features], torch.zeros(2, 9, 4), **settings
    )
    assert pooled.device.type == "meta"
    assert (pooled.shape, pooled.stride(), pooled.dtype) == (real.shape, real.stride(), real.dtype)


def test_autocast_leaves_the_features_as_they_are():
    feature, roi = torch.rand(1, 2, 8, 8), torch.tensor([[[1.0, 1, 5, 5]]])
    settings = {"output_size": 2, "strides": [1.0], "sampling_ratio": 2, "aligned": True}
    expected = ops.pyramid_roi_align([feature], roi, **settings)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(ops.pyramid_roi_align([feature], roi, **settings), expected)
        assert ops.pyramid_roi_align([feature.bfloat16()], roi, **settings).dtype == torch.bfloat16


@pytest.mark.slow
def test_compiles_into_one_graph():
    def loss(features, rois):
        pooled = ops.pyramid_roi_align(
            features, rois, output_size=3, strides=STRIDES, sampling_ratio=2, aligned=True, finest_size=12.0
        )
        return (pooled * pooled).sum()

    features, rois = [level.requires_grad_() for level in random_features()], random_rois()
    expected = torch.autograd.grad(loss(features, rois), features)
    gradients = torch.autograd.grad(torch.compile(loss, fullgraph=True, dynamic=True)(features, rois), features)
    for gradient, other in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient, other, rtol=0, atol=1e-10)
