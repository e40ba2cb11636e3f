"""The box head: shapes, which delta belongs to which class, initialisation."""

import math
from dataclasses import replace

import pytest
import torch
from small_model import SMALL, change
from torch import nn

from maskrcnn.model.box_head import BoxHead, BoxOutputs

WITH_BACKGROUND = change(SMALL, "box_head", background_outputs=True)
BOTH = pytest.mark.parametrize("config", [SMALL, WITH_BACKGROUND], ids=["classes only", "background too"])


def make_head(config=SMALL):
    torch.manual_seed(0)
    return BoxHead(config)


def call(head, pooled):
    """With all slots in use."""
    return head(pooled, torch.ones(pooled.shape[:2], dtype=torch.bool))


@BOTH
def test_outputs_against_the_arithmetic(config):
    """Flattened channel by channel, two layers with ReLU, then the two predictors (spec 1.5)."""
    head = make_head(config)
    pooled = torch.randn(2, 3, 16, 7, 7)
    outputs = call(head, pooled)
    for image in range(2):
        for roi in range(3):
            values = [pooled[image, roi, c, y, x] for c in range(16) for y in range(7) for x in range(7)]
            hidden = (head.fc1.weight @ torch.stack(values) + head.fc1.bias).clamp(min=0)
            hidden = (head.fc2.weight @ hidden + head.fc2.bias).clamp(min=0)
            logits = head.classes.weight @ hidden + head.classes.bias
            deltas = (head.deltas.weight @ hidden + head.deltas.bias).reshape(-1, 4)
            torch.testing.assert_close(outputs.logits[image, roi], logits)
            torch.testing.assert_close(outputs.deltas[image, roi], deltas)
    boxes = 3 if config is WITH_BACKGROUND else 2
    assert outputs.logits.shape == (2, 3, 3) and outputs.deltas.shape == (2, 3, boxes, 4)


def test_norms_stand_between_each_layer_and_its_relu():
    """Over the three slots in use of the five; what the empty ones hold changes nothing."""
    head = make_head(change(SMALL, "box_head", norm="batch")).train()
    pooled, valid = torch.randn(1, 5, 16, 7, 7), torch.tensor([[True, False, True, True, False]])
    with torch.no_grad():
        for norm in (head.norm1, head.norm2):
            norm.bias.uniform_(-1, 1)
    hidden = pooled[valid].flatten(1)
    for layer, norm in ((head.fc1, head.norm1), (head.fc2, head.norm2)):
        hidden = layer(hidden)
        hidden = (hidden - hidden.mean(dim=0)) / (hidden.var(dim=0, correction=0) + 1e-5).sqrt() + norm.bias
        hidden = hidden.clamp(min=0)
    outputs = head(pooled.masked_fill(~valid[..., None, None, None], 1e3), valid)
    torch.testing.assert_close(outputs.logits[valid], head.classes(hidden), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(outputs.deltas[valid].flatten(1), head.deltas(hidden), rtol=1e-4, atol=1e-5)


@BOTH
def test_every_class_has_its_own_deltas(config):
    """Class 1 owns the first row without background outputs, the second with them."""
    head, first = make_head(config), 0 if config is WITH_BACKGROUND else 1
    deltas = torch.arange(2 * 4 * (3 - first) * 4, dtype=torch.float32).reshape(2, 4, 3 - first, 4)
    outputs = BoxOutputs(torch.zeros(2, 4, 3), deltas)
    labels = torch.tensor([[1, 2, 1, 2], [2, 2, 1, 1]])
    chosen = head.deltas_of(outputs, labels)
    for image in range(2):
        for roi in range(4):
            assert torch.equal(chosen[image, roi], deltas[image, roi, labels[image, roi] - first])
    assert torch.equal(head.foreground_deltas(outputs), deltas[:, :, 1 - first :])
    assert head.foreground_deltas(outputs).shape == (2, 4, 2, 4)


@BOTH
def test_background_rois_can_be_asked_too(config):
    """The answer means nothing, but there is one: the loss masks it."""
    head = make_head(config)
    outputs = call(head, torch.randn(1, 5, 16, 7, 7))
    assert head.deltas_of(outputs, torch.zeros(1, 5, dtype=torch.int64)).isfinite().all()


def test_gradient_of_a_chosen_delta_stays_in_its_class():
    head = make_head()
    outputs = call(head, torch.randn(1, 2, 16, 7, 7))
    head.deltas_of(outputs, torch.tensor([[2, 2]])).sum().backward()
    gradient = head.deltas.weight.grad.reshape(2, 4, -1)
    assert not gradient[0].any() and gradient[1].any()


def test_no_rois():
    outputs = call(make_head(), torch.zeros(2, 0, 16, 7, 7))
    assert outputs.logits.shape == (2, 0, 3) and outputs.deltas.shape == (2, 0, 2, 4)


def test_outputs_are_float32_under_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        outputs = call(make_head(), torch.randn(1, 2, 16, 7, 7))
    assert outputs.logits.dtype == outputs.deltas.dtype == torch.float32


@pytest.mark.parametrize(("pooled_size", "hidden"), [(7, 1024), (5, 64)])
def test_sizes_follow_the_configuration(pooled_size, hidden):
    head = make_head(change(SMALL, "box_head", pooled_size=pooled_size, hidden=hidden))
    assert head.fc1.weight.shape == (hidden, 16 * pooled_size**2) and head.fc2.weight.shape == (hidden, hidden)
    assert head.classes.weight.shape == (3, hidden) and head.deltas.weight.shape == (8, hidden)


def test_initialisation_of_mmdetection():
    """Xavier-uniform, then normal 0.01 and 0.001; no biases (spec 1.9)."""
    head = make_head(change(SMALL, "box_head", hidden=256))
    for layer in (head.fc1, head.fc2):
        bound = math.sqrt(6 / (layer.in_features + layer.out_features))
        assert 0.98 * bound < layer.weight.abs().max().item() <= bound
    assert head.classes.weight.std().item() == pytest.approx(0.01, rel=0.1)
    assert head.deltas.weight.std().item() == pytest.approx(0.001, rel=0.1)
    assert not any(layer.bias.any() for layer in (head.fc1, head.fc2, head.classes, head.deltas))


def test_initialisation_of_torchvision_is_that_of_pytorch():
    head = make_head(replace(SMALL, initialisation="torchvision"))
    for layer in (head.fc1, head.fc2, head.classes, head.deltas):
        assert isinstance(layer, nn.Linear)
        bound = 1 / math.sqrt(layer.in_features)
        assert 0.8 * bound < layer.weight.abs().max().item() <= bound
        assert layer.bias.any() and layer.bias.abs().max().item() <= bound
