"""RoIPool on a GPU: the tests of the op, the bits of the C++ op forward and backward, and the gradient."""

from types import SimpleNamespace

import pytest
import torch
from every_op import maximum_arguments, maximum_spread_arguments, on_gpu
from test_roi_pool import (  # noqa: F401
    LAYOUTS,
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

FORWARD, BACKWARD = on_gpu(torch.ops.maskrcnn.roi_pool), on_gpu(torch.ops.maskrcnn.roi_pool_backward)


@pytest.fixture
def implementation():
    return SimpleNamespace(pool=FORWARD, spread=BACKWARD)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("channels", [1, 8, 13, 256, 300])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_the_bits_of_the_cpp_op(dtype, channels, last):
    for size in (1, 7, 14):
        arguments = maximum_arguments(last, dtype, channels, size)
        for found, expected in zip(FORWARD(*arguments), torch.ops.maskrcnn.roi_pool(*arguments), strict=True):
            assert found.dtype == expected.dtype and torch.equal(found, expected)
        arguments = maximum_spread_arguments(last, dtype, channels, size)
        found, expected = BACKWARD(*arguments), torch.ops.maskrcnn.roi_pool_backward(*arguments)
        assert found.dtype == expected.dtype and torch.equal(found, expected)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_gradient_agrees_with_finite_differences(layout):
    # No two values are closer than the step of the differences.
    values = torch.randperm(2 * 12 * 17, generator=torch.Generator().manual_seed(0)).double().view(1, 2, 12, 17)
    feature = values.cuda().contiguous(memory_format=LAYOUTS[layout]).requires_grad_()
    rois = random_rois(8, batch=1).cuda()
    assert torch.autograd.gradcheck(
        lambda feature: ops.roi_pool(feature, rois, output_size=2, stride=4.0), feature, fast_mode=True
    )


def test_the_gradient_is_the_same_in_every_run_also_where_pytorch_insists():
    arguments = [value.cuda() if isinstance(value, torch.Tensor) else value for value in maximum_spread_arguments()]
    first = torch.ops.maskrcnn.roi_pool_backward(*arguments)
    torch.use_deterministic_algorithms(True)
    try:
        for _ in range(5):
            assert torch.equal(torch.ops.maskrcnn.roi_pool_backward(*arguments), first)
    finally:
        torch.use_deterministic_algorithms(False)
