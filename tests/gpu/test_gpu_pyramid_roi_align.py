"""RoIAlign on a GPU: the tests of the op, the gradient, and the same bits in every run."""

from types import SimpleNamespace

import pytest
import torch
from every_op import on_gpu, pool_arguments, spread_arguments, to_gpu
from test_pyramid_roi_align import (  # noqa: F401
    KERNELS,
    STRIDES,
    pool_with,
    random_features,
    random_rois,
    test_a_sample_outside_counts_as_zero_in_the_average,
    test_agrees_with_the_loop,
    test_agrees_with_the_loop_on_one_level,
    test_any_mixture_of_layouts,
    test_backward_is_the_transpose_of_forward,
    test_hostile_rois,
    test_level_of_an_roi,
    test_lower_precision,
    test_one_sample,
    test_values_outside_the_samples_do_not_matter,
    test_without_alignment_an_roi_is_at_least_one_cell,
)

from maskrcnn import ops

FORWARD, BACKWARD = (on_gpu(op) for op in KERNELS["dispatched"])


@pytest.fixture
def implementation():
    def spread(gradient, features, rois, *, ratio=2, last=False):
        heights, widths = [level.shape[2] for level in features], [level.shape[3] for level in features]
        return BACKWARD(gradient, rois, heights, widths, 3, STRIDES, ratio, True, 12.0, last)

    return SimpleNamespace(pool=lambda *args, **kwargs: pool_with(FORWARD, *args, **kwargs), spread=spread)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("channels", [1, 8, 13, 256, 300])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_forward_and_backward_agree_with_the_cpp_op(dtype, channels, last):
    arguments = pool_arguments(last, dtype, channels)
    pooled, expected = FORWARD(*arguments), torch.ops.maskrcnn.pyramid_roi_align(*arguments)
    assert pooled.dtype == dtype and pooled.stride() == expected.stride()
    step = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}[dtype]
    torch.testing.assert_close(pooled, expected, rtol=step, atol=step)
    arguments = spread_arguments(last, dtype, channels)
    step = 1e-11 if dtype == torch.float64 else max(1e-4, torch.finfo(dtype).eps)
    for level, right in zip(
        BACKWARD(*arguments), torch.ops.maskrcnn.pyramid_roi_align_backward(*arguments), strict=True
    ):
        assert level.dtype == right.dtype and level.stride() == right.stride()
        torch.testing.assert_close(level, right, rtol=step, atol=step)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("ratio", [0, 2])
def test_gradient_agrees_with_finite_differences(ratio, last):
    layout = torch.channels_last if last else torch.contiguous_format
    features = [
        level.cuda().contiguous(memory_format=layout).requires_grad_()
        for level in random_features(channels=2, batch=1)[1:]
    ]
    rois = random_rois(7, batch=1).cuda()

    def pool(*features):
        return ops.pyramid_roi_align(
            features, rois, output_size=2, strides=STRIDES[1:], sampling_ratio=ratio, aligned=True, finest_size=12.0
        )

    assert torch.autograd.gradcheck(pool, features, fast_mode=True)


@pytest.mark.parametrize("last", [False, True])
def test_the_gradient_is_the_same_in_every_run_also_where_pytorch_insists(last):
    arguments = to_gpu(spread_arguments(last, channels=256))
    first = torch.ops.maskrcnn.pyramid_roi_align_backward(*arguments)
    torch.use_deterministic_algorithms(True)
    try:
        for _ in range(5):
            again = torch.ops.maskrcnn.pyramid_roi_align_backward(*arguments)
            assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("batch, count, channels", [(0, 5, 4), (2, 0, 4), (2, 5, 0)])
def test_nothing_to_pool(batch, count, channels):
    features = [level.cuda().requires_grad_() for level in random_features(channels, batch=batch)]
    rois = torch.zeros(batch, count, 4, dtype=torch.float64, device="cuda")
    pooled = ops.pyramid_roi_align(
        features, rois, output_size=3, strides=STRIDES, sampling_ratio=2, aligned=True
    )
    assert pooled.shape == (batch, count, channels, 3, 3)
    pooled.sum().backward()
    assert all(level.grad.shape == level.shape and not level.grad.any() for level in features)


def test_more_levels_than_the_kernel_takes_are_an_error():
    features = [torch.zeros(1, 1, 4, 4, device="cuda")] * 17
    with pytest.raises(RuntimeError, match="at most 16 levels"):
        ops.pyramid_roi_align(
            features, torch.zeros(1, 1, 4, device="cuda"), output_size=2, strides=[4.0] * 17, sampling_ratio=2,
            aligned=True,
        )  # fmt: skip
