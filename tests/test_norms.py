"""Normalisation layers: their arithmetic, their statistics, and what empty slots may not change."""

import math

import pytest
import torch
from random_inputs import random_statistics
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from maskrcnn.model.convolution import Convolution
from maskrcnn.model.norms import EvalBatchNorm, FrozenBatchNorm, SlotBatchNorm, convolve_and_normalise, make_norm


def test_frozen_and_eval_norm_compute_what_batch_norm_does_in_evaluation():
    expected = random_statistics(nn.BatchNorm2d(6, eps=1e-3)).eval()
    x = torch.randn(2, 6, 5, 4)
    state = {name: value for name, value in expected.state_dict().items() if name != "num_batches_tracked"}
    frozen, fixed = FrozenBatchNorm(6, 1e-3), EvalBatchNorm(6, 1e-3).train()
    frozen.load_state_dict(state)
    fixed.load_state_dict(expected.state_dict())
    torch.testing.assert_close(frozen(x), expected(x))
    torch.testing.assert_close(fixed(x), expected(x))


def test_frozen_norm_by_hand():
    norm = FrozenBatchNorm(1, 0.0)
    norm.running_mean[:], norm.running_var[:], norm.weight[:], norm.bias[:] = 1.0, 4.0, 3.0, 0.5
    assert norm(torch.full((1, 1, 1, 1), 5.0)).item() == pytest.approx((5 - 1) / 2 * 3 + 0.5)


def test_epsilon_is_the_configured_one():
    """torchvision's COCO_V1 files want 0: a channel of tiny variance shows the difference."""
    for kind in ("batch", "batch_eval", "batch_frozen"):
        for eps in (0.0, 1e-5):
            norm = make_norm(kind, 1, eps).eval()
            norm.running_var[:] = 1e-6
            expected = 1 / math.sqrt(1e-6 + eps)
            assert norm(torch.ones(1, 1, 2, 2)).mean().item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kind", ["batch_frozen", "batch_eval", "batch", "group", "none"])
def test_a_convolution_takes_over_what_its_norm_does(kind, bias):
    """Values and gradients are those of one layer after the other, whether or not the statistics are fixed."""
    torch.manual_seed(0)
    convolution = Convolution(4, 6, 3, stride=2, padding=2, dilation=2, groups=2, bias=bias).double()
    norm = make_norm(kind, 6, 1e-3).double()
    if kind.startswith("batch"):
        random_statistics(norm)
    x = torch.randn(2, 4, 9, 8, dtype=torch.float64, requires_grad=True)
    learning = (x, *convolution.parameters(), *norm.parameters())
    for mode in (True, False):
        norm.train(mode)
        expected = norm(convolution(x))
        found = convolve_and_normalise(x, convolution, norm)
        torch.testing.assert_close(found, expected)
        weight = torch.randn(found.shape, dtype=torch.float64)
        gradients = torch.autograd.grad((found * weight).sum(), learning)
        torch.testing.assert_close(gradients, torch.autograd.grad((expected * weight).sum(), learning))


def test_hooks_see_a_convolution_whose_norm_is_fixed():
    """As those that count multiplications, or look at maps, ask for."""
    convolution, norm = Convolution(4, 6, 1, bias=False), make_norm("batch_frozen", 6, 1e-3)
    seen = []
    convolution.register_forward_hook(lambda module, given, result: seen.append(result.shape))
    convolve_and_normalise(torch.randn(1, 4, 5, 5), convolution, norm)
    assert seen == [(1, 6, 5, 5)]


def test_fixed_statistics_cost_no_pass_over_the_maps():
    """The convolution's own result is the only large one: what is multiplied is its kernel."""

    large = []

    class LargeResults(TorchDispatchMode):
        def __torch_dispatch__(self, operator, types, arguments=(), keywords=None):
            result = operator(*arguments, **(keywords or {}))
            if result.numel() == 6 * 50 * 50:
                large.append(operator.name())
            return result

    convolution, norm = Convolution(4, 6, 1, bias=False), make_norm("batch_frozen", 6, 1e-3)
    with LargeResults():
        convolve_and_normalise(torch.randn(1, 4, 50, 50), convolution, norm)
    assert large == ["aten::convolution"]


def test_none_is_no_layer():
    x = torch.randn(2, 6, 5, 4)
    assert make_norm("none", 6, 1e-5)(x) is x


# --- Over slots -------------------------------------------------------------------------------------------------------


def slots(batch=3, count=5, channels=4):
    """Features, and which of the slots are in use: all of the first image, some of the second, none of the third."""
    generator = torch.Generator().manual_seed(1)
    valid = torch.arange(count) < torch.tensor([count, count // 2, 0])[:, None]
    return 2 * torch.randn(batch, count, channels, generator=generator, dtype=torch.float64) + 1, valid


def make_slot_norm(channels=4):
    """The layer and PyTorch's own with the same numbers in it."""
    norm, expected = random_statistics(SlotBatchNorm(channels)).double(), nn.BatchNorm1d(channels).double()
    expected.load_state_dict(norm.state_dict() | {"num_batches_tracked": expected.num_batches_tracked})
    return norm, expected


def test_slots_in_use_are_a_batch_to_batch_norm():
    """PyTorch's own layer on the rows of used slots alone: the same values, gradients and running statistics."""
    (x, valid), (norm, expected) = slots(), make_slot_norm()
    x.requires_grad_()
    same = x.detach().clone().requires_grad_()
    y, rows = norm(x, valid), expected(same[valid])
    torch.testing.assert_close(y[valid], rows)
    weight = torch.randn(rows.shape, dtype=torch.float64)
    (y[valid] * weight).sum().backward()
    (rows * weight).sum().backward()
    torch.testing.assert_close(x.grad, same.grad)
    torch.testing.assert_close(norm.weight.grad, expected.weight.grad)
    torch.testing.assert_close(norm.bias.grad, expected.bias.grad)
    torch.testing.assert_close(norm.running_mean, expected.running_mean)
    torch.testing.assert_close(norm.running_var, expected.running_var)


def test_what_empty_slots_hold_changes_nothing():
    (x, valid), (norm, _) = slots(), make_slot_norm()
    expected = norm(x, valid)
    x = torch.where(valid[..., None], x, 1e6)
    other, _ = make_slot_norm()
    torch.testing.assert_close(other(x, valid)[valid], expected[valid])
    torch.testing.assert_close(other.running_var, norm.running_var)


def test_slots_in_evaluation_use_the_running_statistics():
    (x, valid), (norm, expected) = slots(), make_slot_norm()
    torch.testing.assert_close(norm.eval()(x, valid), expected.eval()(x.flatten(0, 1)).view_as(x))


@pytest.mark.parametrize("used", [0, 1])
def test_one_slot_or_none_teaches_nothing(used):
    """One value has no variance, and none has no mean: what comes out is finite, what is remembered stays."""
    norm, same = make_slot_norm()
    x = torch.randn(1, 3, 4, dtype=torch.float64)
    y = norm(x, torch.arange(3)[None] < used)
    assert y.isfinite().all()
    assert torch.equal(norm.running_mean, same.running_mean) and torch.equal(norm.running_var, same.running_var)
    if used:
        torch.testing.assert_close(y[0, 0], norm.bias)


def test_a_pass_without_gradients_is_not_remembered():
    """OHEM ranks all proposals first; what it then learns from is what the statistics shall be of."""
    (x, valid), (norm, same) = slots(), make_slot_norm()
    with torch.no_grad():
        norm(x, valid)
    assert torch.equal(norm.running_mean, same.running_mean) and torch.equal(norm.running_var, same.running_var)


def test_bfloat16_features_are_normalised_in_float32():
    x, valid = (10 + 0.1 * torch.randn(1, 64, 4)).bfloat16(), torch.ones(1, 64, dtype=torch.bool)
    y = SlotBatchNorm(4)(x, valid)
    torch.testing.assert_close(y, nn.BatchNorm1d(4)(x[0].float())[None])
