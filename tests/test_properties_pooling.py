"""RoIAlign, RoIPool and RoIWarp on anything: implementations agree, and what defines the ops holds."""

import math

import torch
from hostile_inputs import FLOATING, NAN, assert_same, boxes, counts, laid_out, values
from hypothesis import given
from hypothesis import strategies as st

from maskrcnn import ops
from maskrcnn.ops import fallback, fallback_pooling
from maskrcnn.reference import roi_align as reference_align
from maskrcnn.reference import roi_pool as reference_pool

EPSILON = {torch.float64: 1e-11, torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}
"""How much sums in another order may differ, and what rounding adds, for features up to 4."""

dtypes = st.sampled_from(FLOATING)
corner_dtypes = st.sampled_from([torch.float32, torch.float64])
channel_counts = st.sampled_from([0, 1, 2, 3, 16, 17])
sides = st.integers(1, 9)
batches, level_counts = st.integers(0, 3), st.integers(1, 3)
strides = st.sampled_from([0.5, 1.0, 2.0, 4.0, 3.7, 1e-3, 1e5])


def sum_type(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


@st.composite
def pyramids(draw, batch=batches, levels=level_counts, dtype=dtypes, hostile=True):
    """Arguments of `ops.pyramid_roi_align`, features without hostile numbers."""
    batch, levels, dtype, channels = draw(batch), draw(levels), draw(dtype), draw(channel_counts)
    shapes = [(batch, channels, draw(sides), draw(sides)) for _ in range(levels)]
    features = [draw(values(*shape, dtype=dtype, hostile=False)) for shape in shapes]
    rois = draw(boxes(batch, draw(counts), dtype=draw(corner_dtypes), hostile=hostile))
    settings = {
        "output_size": draw(st.integers(1, 4)),
        "strides": [draw(strides) for _ in range(levels)],
        "sampling_ratio": draw(st.integers(0, 3)),
        "aligned": draw(st.booleans()),
        "finest_size": draw(st.sampled_from([0.5, 3.0, 56.0])),
    }
    return features, rois, settings


def align(features, rois, settings):
    return ops.pyramid_roi_align(features, rois, **settings)


# RoIAlign


@given(pyramids())
def test_roi_align_equals_the_fallback(arguments):
    features, rois, settings = arguments
    pooled = align(*arguments)
    dtype = features[0].dtype
    expected = fallback.pyramid_roi_align(features, rois.to(sum_type(dtype)), *settings.values(), False)
    assert pooled.isfinite().all()
    torch.testing.assert_close(pooled, expected, rtol=0, atol=EPSILON[dtype])
    assert not pooled[~rois.isfinite().all(dim=-1)].any()


@given(pyramids(dtype=st.just(torch.float64), hostile=False))
def test_roi_align_equals_the_loop(arguments):
    features, rois, settings = arguments
    # Off the grid, where rounding could decide on which side of an edge a sample lies, and not too large for a loop.
    rois = rois.double() + 0.01234567 * torch.arange(1, 5)
    settings["strides"] = [max(stride, 0.5) for stride in settings["strides"]]
    pooled = align(features, rois[:, :3], settings)
    for image in range(len(rois)):
        expected = reference_align.pyramid_roi_align([level[image] for level in features], rois[image, :3], **settings)
        torch.testing.assert_close(pooled[image], expected, rtol=0, atol=1e-9)


@given(pyramids(dtype=st.just(torch.float64)), st.floats(-3, 3))
def test_roi_align_is_linear_in_the_features(arguments, factor):
    features, rois, settings = arguments
    others = [level.flip(0, 2) for level in features]
    combined = [level + factor * other for level, other in zip(features, others, strict=True)]
    expected = align(features, rois, settings) + factor * align(others, rois, settings)
    torch.testing.assert_close(align(combined, rois, settings), expected, rtol=0, atol=1e-10)


@given(pyramids(dtype=st.just(torch.float64), hostile=False), st.floats(-9, 9))
def test_roi_align_of_a_constant_is_the_constant_inside(arguments, constant):
    features, rois, settings = arguments
    settings |= {"strides": settings["strides"][:1], "aligned": True}
    (height, width), stride = features[0].shape[2:], settings["strides"][0]
    # All of the level is inside: up to half a cell from its edge the outermost pixels go on.
    sides = torch.tensor([width, height, width, height]) * stride
    inside = torch.minimum(rois.double().clamp(min=0) * stride, sides)
    inside = torch.cat((inside[..., :2], torch.maximum(inside[..., 2:], inside[..., :2] + 0.01 * stride)), dim=-1)
    pooled = align([torch.full_like(features[0], constant)], inside, settings)
    torch.testing.assert_close(pooled, torch.full_like(pooled, constant), rtol=0, atol=1e-9)


@given(pyramids(), st.data())
def test_roi_align_does_not_see_memory_layouts(arguments, data):
    features, rois, settings = arguments
    layouts = [data.draw(laid_out(level)) for level in features], data.draw(laid_out(rois))
    plain = [level.contiguous().clone() for level in layouts[0]], layouts[1].contiguous().clone()
    # Pixels that are one place in memory, as in an expanded tensor, are summed as one.
    tolerance = EPSILON[features[0].dtype]
    torch.testing.assert_close(align(*layouts, settings), align(*plain, settings), rtol=0, atol=tolerance)


@given(pyramids(batch=st.just(3)), st.permutations(range(3)), st.randoms(use_true_random=False))
def test_roi_align_does_not_see_other_images_or_rois(arguments, order, random):
    features, rois, settings = arguments
    pooled = align(*arguments)
    assert_same(align([level[list(order)] for level in features], rois[list(order)], settings), pooled[list(order)])
    places = random.sample(range(rois.shape[1]), rois.shape[1])
    padded = torch.cat((rois[:, places], torch.full((3, 2, 4), NAN, dtype=rois.dtype)), dim=1)
    moved = align(features, padded, settings)
    assert_same(moved[:, : len(places)], pooled[:, places])
    assert not moved[:, len(places) :].any()


@given(pyramids(dtype=st.just(torch.float64)), st.booleans(), st.data())
def test_the_gradient_of_roi_align_is_its_transpose(arguments, channels_last, data):
    features, rois, settings = arguments
    pooled = align(*arguments)
    gradient = data.draw(laid_out(data.draw(values(*pooled.shape, dtype=torch.float64, hostile=False))))
    sizes = [level.shape[2] for level in features], [level.shape[3] for level in features]
    wide = gradient, rois.double(), *sizes, *settings.values(), channels_last
    levels = torch.ops.maskrcnn.pyramid_roi_align_backward(*wide)
    assert [level.shape for level in levels] == [level.shape for level in features]
    carried = sum(float((level * other).sum()) for level, other in zip(levels, features, strict=True))
    assert math.isclose(carried, float((pooled * gradient).sum()), rel_tol=1e-9, abs_tol=1e-8)
    for level, expected in zip(levels, fallback.pyramid_roi_align_backward(*wide), strict=True):
        torch.testing.assert_close(level, expected, rtol=0, atol=1e-9)
    # In other dtypes sums are float32, whatever the layout; rounded, they may differ by a step of the dtype.
    narrow = gradient.bfloat16(), rois.float(), *sizes, *settings.values(), channels_last
    levels = torch.ops.maskrcnn.pyramid_roi_align_backward(*narrow)
    for level, expected in zip(levels, fallback.pyramid_roi_align_backward(*narrow), strict=True):
        torch.testing.assert_close(level, expected, rtol=torch.finfo(torch.bfloat16).eps, atol=1e-3)


# RoIPool


@st.composite
def maps(draw, batch=batches, dtype=dtypes, hostile_features=True, hostile=True):
    """Arguments of `ops.roi_pool`."""
    batch, dtype = draw(batch), draw(dtype)
    shape = batch, draw(channel_counts), draw(sides), draw(sides)
    feature = draw(values(*shape, dtype=dtype, hostile=hostile_features))
    rois = draw(boxes(batch, draw(counts), dtype=draw(corner_dtypes), hostile=hostile))
    return feature, rois, {"output_size": draw(st.integers(1, 4)), "stride": draw(strides)}


@given(maps(), st.booleans())
def test_roi_pool_equals_the_fallback(arguments, channels_last):
    feature, rois, settings = arguments
    rois = rois.to(sum_type(feature.dtype))
    found = torch.ops.maskrcnn.roi_pool(feature, rois, *settings.values(), channels_last)
    for result, expected in zip(
        found, fallback_pooling.roi_pool(feature, rois, *settings.values(), channels_last), strict=True
    ):
        assert_same(result, expected)
        assert result.shape == (*rois.shape[:2], feature.shape[1], settings["output_size"], settings["output_size"])
    pooled, argmax = found
    read = feature.flatten(2)[:, None].expand(-1, rois.shape[1], -1, -1)
    at_argmax = read.gather(3, argmax.flatten(3).long().clamp(min=0)).view(pooled.shape)
    assert_same(pooled, torch.where(argmax >= 0, at_argmax, 0))
    assert not pooled[~rois.isfinite().all(dim=-1)].any()


@given(maps(dtype=st.just(torch.float64), hostile=False))
def test_roi_pool_equals_the_loop(arguments):
    feature, rois, settings = arguments
    settings["stride"] = 2.0 ** round(math.log2(settings["stride"]))  # so that dividing by it rounds nothing
    pooled = ops.roi_pool(feature, rois[:, :3], **settings)
    for image in range(len(rois)):
        expected = reference_pool.roi_pool(feature[image], rois[image, :3].double(), **settings)
        assert_same(pooled[image], expected)


@given(maps(), st.data())
def test_roi_pool_does_not_see_memory_layouts(arguments, data):
    feature, rois, settings = arguments
    layouts = data.draw(laid_out(feature)), data.draw(laid_out(rois))
    plain = [tensor.contiguous().clone() for tensor in layouts]
    assert_same(ops.roi_pool(*layouts, **settings), ops.roi_pool(*plain, **settings))


@given(maps(batch=st.just(3)), st.permutations(range(3)), st.randoms(use_true_random=False))
def test_roi_pool_does_not_see_other_images_or_rois(arguments, order, random):
    feature, rois, settings = arguments
    pooled = ops.roi_pool(feature, rois, **settings)
    assert_same(ops.roi_pool(feature[list(order)], rois[list(order)], **settings), pooled[list(order)])
    places = random.sample(range(rois.shape[1]), rois.shape[1])
    padded = torch.cat((rois[:, places], torch.full((3, 2, 4), NAN, dtype=rois.dtype)), dim=1)
    moved = ops.roi_pool(feature, padded, **settings)
    assert_same(moved[:, : len(places)], pooled[:, places])
    assert not moved[:, len(places) :].any()


@given(maps(hostile_features=False), st.booleans(), st.data())
def test_the_gradient_of_roi_pool_goes_to_the_maxima(arguments, channels_last, data):
    feature, rois, settings = arguments
    rois = rois.to(sum_type(feature.dtype))
    pooled, argmax = torch.ops.maskrcnn.roi_pool(feature, rois, *settings.values(), channels_last)
    gradient = data.draw(laid_out(data.draw(values(*pooled.shape, dtype=feature.dtype, hostile=False))))
    total = torch.ops.maskrcnn.roi_pool_backward(
        gradient, data.draw(st.sampled_from([argmax, argmax.contiguous()])), *feature.shape[2:], channels_last
    )
    assert total.dtype == sum_type(feature.dtype) and total.shape == feature.shape
    # Quarters add up without rounding, in any order.
    expected = fallback_pooling.roi_pool_backward(gradient, argmax, *feature.shape[2:], channels_last)
    assert_same(total, expected)
    assert total.sum() == gradient.to(total.dtype)[argmax >= 0].sum()


# RoIWarp


@given(
    maps(dtype=st.just(torch.float64), hostile_features=False, hostile=False),
    st.sampled_from([1, 2, 4]),
    st.sampled_from(["average", "max"]),
)
def test_roi_warp_equals_the_loop(arguments, ratio, mode):
    feature, rois, settings = arguments
    settings |= {"stride": 2.0 ** round(math.log2(settings["stride"])), "sampling_ratio": ratio, "mode": mode}
    settings["output_size"] = min(settings["output_size"], 2)  # then no sample is rounded across an edge
    warped = ops.roi_warp(feature, rois[:, :3], **settings)
    for image in range(len(rois)):
        expected = reference_pool.roi_warp(feature[image], rois[image, :3].double(), **settings)
        torch.testing.assert_close(warped[image], expected, rtol=0, atol=1e-9)


@given(maps(hostile_features=False), st.sampled_from(["average", "max"]), st.data())
def test_roi_warp_is_finite_and_within_the_features_in_any_layout(arguments, mode, data):
    feature, rois, settings = arguments
    warped = ops.roi_warp(feature, rois, mode=mode, **settings)
    assert warped.shape == (*rois.shape[:2], feature.shape[1], settings["output_size"], settings["output_size"])
    assert warped.dtype == feature.dtype and warped.isfinite().all()
    if warped.numel():
        assert warped.abs().max() <= feature.abs().max() * (1 + EPSILON[feature.dtype])
    assert not warped[~rois.isfinite().all(dim=-1)].any()
    layouts = data.draw(laid_out(feature)), data.draw(laid_out(rois))
    plain = [tensor.contiguous().clone() for tensor in layouts]
    expected = ops.roi_warp(*plain, mode=mode, **settings)
    tolerance = EPSILON[feature.dtype]
    torch.testing.assert_close(ops.roi_warp(*layouts, mode=mode, **settings), expected, rtol=0, atol=tolerance)
