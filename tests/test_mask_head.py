"""The mask head: from 14 x 14 features to a 28 x 28 map of the RoI's own class."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from small_model import SMALL, change

from maskrcnn.model.mask_head import MaskHead

WITH_BACKGROUND = change(SMALL, "box_head", background_outputs=True)
BOTH = pytest.mark.parametrize("config", [SMALL, WITH_BACKGROUND], ids=["classes only", "background too"])


def make_head(config=SMALL):
    torch.manual_seed(0)
    return MaskHead(config)


@BOTH
def test_the_map_of_the_own_class(config):
    """Convolutions with ReLU, the deconvolution, one map a class, and of these the label's (spec 1.6)."""
    head = make_head(config)
    pooled = torch.randn(2, 3, 16, 14, 14)
    labels = torch.tensor([[1, 2, 1], [2, 1, 2]])
    logits = head(pooled, labels)
    assert logits.shape == (2, 3, 28, 28)
    first = 0 if config is WITH_BACKGROUND else 1
    for image in range(2):
        for roi in range(3):
            hidden = pooled[image, roi][None]
            for convolution in head.convolutions:
                hidden = F.conv2d(hidden, convolution.weight, convolution.bias, padding=1).clamp(min=0)
            hidden = F.conv_transpose2d(hidden, head.deconvolution.weight, head.deconvolution.bias, stride=2)
            maps = F.conv2d(hidden.clamp(min=0), head.logits.weight, head.logits.bias)[0]
            assert len(maps) == 3 - first
            torch.testing.assert_close(logits[image, roi], maps[labels[image, roi] - first], rtol=1e-4, atol=1e-5)


def test_the_deconvolution_doubles_each_cell_by_itself():
    """Stride 2, kernel 2: output pixel (2y + i, 2x + j) depends on cell (y, x) only."""
    head = make_head(change(SMALL, "mask_head", convolutions=0))
    pooled = torch.randn(1, 1, 16, 14, 14)
    changed = pooled.clone()
    changed[0, 0, :, 3, 5] += 1
    one = torch.ones(1, 1, dtype=torch.int64)
    different = (head(pooled, one) != head(changed, one))[0, 0].nonzero()
    assert different.min(dim=0).values.tolist() == [6, 10] and different.max(dim=0).values.tolist() == [7, 11]


@BOTH
def test_only_the_own_class_learns(config):
    """Classes do not compete for pixels (paper section 3)."""
    head = make_head(config)
    head(torch.randn(1, 2, 16, 14, 14), torch.tensor([[2, 2]])).sum().backward()
    learned = head.logits.weight.grad.flatten(1).any(dim=1).tolist()
    assert learned == ([False] * (len(learned) - 1) + [True])


@BOTH
def test_empty_slots_and_no_slots(config):
    head = make_head(config)
    assert head(torch.zeros(2, 1, 16, 14, 14), torch.zeros(2, 1, dtype=torch.int64)).isfinite().all()
    assert head(torch.zeros(2, 0, 16, 14, 14), torch.zeros(2, 0, dtype=torch.int64)).shape == (2, 0, 28, 28)


@pytest.mark.parametrize(("pooled_size", "convolutions", "channels"), [(14, 4, 256), (7, 2, 32), (10, 0, 8)])
def test_sizes_follow_the_configuration(pooled_size, convolutions, channels):
    head = make_head(change(SMALL, "mask_head", pooled_size=pooled_size, convolutions=convolutions, channels=channels))
    assert len(head.convolutions) == convolutions
    assert head.logits.weight.shape == (2, channels, 1, 1)
    logits = head(torch.zeros(1, 1, 16, pooled_size, pooled_size), torch.ones(1, 1, dtype=torch.int64))
    assert logits.shape == (1, 1, 2 * pooled_size, 2 * pooled_size)


def test_channels_last_and_autocast_give_float32():
    head = make_head().to(memory_format=torch.channels_last)
    pooled, labels = torch.randn(2, 2, 16, 14, 14), torch.tensor([[1, 2], [2, 1]])
    last = pooled.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)
    torch.testing.assert_close(head(last, labels), make_head()(pooled, labels), rtol=1e-4, atol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        assert head(last, labels).dtype == torch.float32


@pytest.mark.parametrize("initialisation", ["torchvision", "mmdetection"])
def test_initialisation(initialisation):
    """Kaiming-normal, fan out; torchvision leaves the biases of the last two layers random (spec 1.9)."""
    config = replace(change(SMALL, "mask_head", channels=64, convolutions=2), initialisation=initialisation)
    head = make_head(config)
    for layer, fan_out in ((head.convolutions[1], 64 * 9), (head.deconvolution, 64 * 4), (head.logits, 2)):
        assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / fan_out), rel=0.15)
    assert not any(convolution.bias.any() for convolution in head.convolutions)
    for layer in (head.deconvolution, head.logits):
        assert bool(layer.bias.any()) == (initialisation == "torchvision")
