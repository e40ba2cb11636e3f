"""The other mask heads of table 2: softmax by hand and against PyTorch, one map for all classes, no convolutions."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from small_model import SMALL, change
from small_variants import VARIANTS, vary
from torch import nn

from maskrcnn.model.mask_head import MaskHead
from maskrcnn.model.parts import make_mask_head
from maskrcnn.model.variants.mask_heads import (
    ClassAgnosticMaskHead,
    FullyConnectedMaskHead,
    SoftmaxMaskHead,
    multinomial_mask_loss,
)

LABELS = torch.tensor([[1, 2, 0], [2, 2, 1]])


def make_head(name):
    torch.manual_seed(0)
    return make_mask_head(VARIANTS[name])


def pooled_features(size=14, images=2, rois=3):
    return torch.randn(images, rois, 16, size, size, generator=torch.Generator().manual_seed(1))


# --- Softmax (table 2b) -----------------------------------------------------------------------------------------------


def test_multinomial_loss_by_hand():
    """A 2 x 2 mask of an RoI of class 1 of 2. Three pixels of the object, each with another opinion, and one beside."""
    scores = torch.tensor(  # background, class 1, class 2
        [
            [[0.0, 1.0], [0.0, 3.0]],
            [[0.0, 2.0], [1.0, 0.0]],
            [[0.0, 0.0], [2.0, 0.0]],
        ]
    )
    e = math.exp
    right = [1 / 3, e(2) / (e(1) + e(2) + 1), e(1) / (1 + e(1) + e(2)), e(3) / (e(3) + 2)]
    mask = torch.tensor([[1.0, 1.0], [1.0, 0.0]])
    pair = scores.log_softmax(dim=0)[[1, 0]]
    loss = multinomial_mask_loss(pair[None, None], mask[None, None], torch.tensor([[True]]))
    assert loss.item() == pytest.approx(-sum(map(math.log, right)) / 4, rel=1e-6)


def test_multinomial_loss_is_the_cross_entropy_of_every_pixel():
    """A pixel's class is its RoI's inside the mask and 0 outside; the mean is over the pixels of all positives."""
    generator = torch.Generator().manual_seed(2)
    logits = 2 * torch.randn(2, 3, 5, 4, 4, generator=generator, dtype=torch.float64)
    labels = torch.tensor([[3, 1, 0], [4, 0, 0]])
    masks = (torch.rand(2, 3, 4, 4, generator=generator) > 0.5).double()
    log_probabilities = logits.log_softmax(dim=2)
    own = log_probabilities.gather(2, labels[..., None, None, None].expand(-1, -1, 1, 4, 4))
    found = multinomial_mask_loss(torch.cat((own, log_probabilities[:, :, :1]), dim=2), masks, labels > 0)
    positive = labels > 0
    classes = (masks * labels[..., None, None]).long()
    torch.testing.assert_close(found, F.cross_entropy(logits[positive], classes[positive]))


def test_fractions_of_a_pixel_belong_to_both():
    pair = torch.tensor([0.7, 0.2]).log().view(1, 1, 2, 1, 1)
    loss = multinomial_mask_loss(pair, torch.full((1, 1, 1, 1), 0.25), torch.tensor([[True]]))
    assert loss.item() == pytest.approx(-(0.25 * math.log(0.7) + 0.75 * math.log(0.2)))


def test_without_positives_the_loss_is_zero_and_so_is_its_gradient():
    pair = torch.randn(1, 2, 2, 3, 3, requires_grad=True)
    loss = multinomial_mask_loss(pair, torch.ones(1, 2, 3, 3), torch.zeros(1, 2, dtype=torch.bool))
    loss.backward()
    assert loss == 0 and not pair.grad.any()


def test_softmax_gives_the_probabilities_of_the_own_class_and_of_background():
    head, pooled = make_head("softmax masks"), pooled_features()
    found = head(pooled, LABELS)
    every = head.logits_of_all_classes(pooled.flatten(0, 1)).softmax(dim=1).unflatten(0, (2, 3))
    assert found.shape == (2, 3, 2, 28, 28) and every.shape == (2, 3, 3, 28, 28), "two classes and the background"
    for image in range(2):
        for roi in range(3):
            torch.testing.assert_close(found[image, roi].exp(), every[image, roi, [int(LABELS[image, roi]), 0]])
    torch.testing.assert_close(head.probabilities(found), found[:, :, 0].exp())


def test_with_softmax_classes_compete_and_with_sigmoid_they_do_not():
    """Which maps a loss on RoIs of class 1 alone can change (paper section 3, "decouples mask and class")."""
    touched = {}
    for name, head in (("sigmoid", MaskHead(SMALL)), ("softmax", make_head("softmax masks"))):
        labels = torch.ones(1, 2, dtype=torch.int64)
        logits = head(pooled_features(images=1, rois=2), labels)
        head.loss(logits, torch.ones(1, 2, 28, 28), labels > 0).backward()
        touched[name] = head.logits.weight.grad.flatten(1).any(dim=1).tolist()
    assert touched == {"sigmoid": [True, False], "softmax": [True, True, True]}


def test_softmax_has_one_background_map_whatever_the_box_head_has():
    with_slot = change(vary(mask_output="softmax"), "box_head", background_outputs=True)
    assert SoftmaxMaskHead(with_slot).logits.out_channels == make_head("softmax masks").logits.out_channels == 3


# --- One map for all classes (section 4.2) ----------------------------------------------------------------------------


@pytest.mark.parametrize("background_outputs", [False, True])
def test_a_class_agnostic_head_has_one_map_and_ignores_the_class(background_outputs):
    config = change(vary(mask_output="class_agnostic"), "box_head", background_outputs=background_outputs)
    torch.manual_seed(0)
    head, pooled = ClassAgnosticMaskHead(config), pooled_features()
    assert head.logits.out_channels == 1
    found = head(pooled, LABELS)
    assert found.shape == (2, 3, 28, 28) and torch.equal(found, head(pooled, 3 - LABELS))
    every = head.logits_of_all_classes(pooled.flatten(0, 1))
    torch.testing.assert_close(found, every.view(2, 3, 28, 28), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(head.probabilities(found), found.sigmoid())


def test_with_a_single_class_agnostic_and_specific_are_the_same():
    one = replace(SMALL, class_names=("text",))
    heads = []
    for config in (one, vary(one, mask_output="class_agnostic")):
        torch.manual_seed(0)
        heads.append(make_mask_head(config))
    labels = torch.ones_like(LABELS)
    assert torch.equal(*(head(pooled_features(), labels) for head in heads))


# --- Fully connected (table 2e) ---------------------------------------------------------------------------------------


def test_mlp_against_a_plain_composition():
    head, pooled = make_head("MLP masks"), pooled_features()
    plain = nn.Sequential(
        nn.Flatten(), nn.Linear(16 * 14 * 14, 32), nn.ReLU(), nn.Linear(32, 24), nn.ReLU(), nn.Linear(24, 2 * 28 * 28)
    )
    plain.load_state_dict(dict(zip(plain.state_dict(), head.state_dict().values(), strict=True)))
    expected = plain(pooled.flatten(0, 1)).view(6, 2, 28, 28)
    torch.testing.assert_close(head.logits_of_all_classes(pooled.flatten(0, 1)), expected)
    own = torch.stack([maps[max(label - 1, 0)] for maps, label in zip(expected, LABELS.flatten(), strict=True)])
    torch.testing.assert_close(head(pooled, LABELS), own.view(2, 3, 28, 28))


@pytest.mark.parametrize(
    ("output", "maps"), [("per_class", 2), ("class_agnostic", 1), ("softmax", 3)], ids=lambda value: str(value)
)
@pytest.mark.parametrize("pooled_size", [7, 14])
def test_mlp_with_every_output_and_resolution(output, maps, pooled_size):
    config = vary(change(SMALL, "mask_head", pooled_size=pooled_size), mask_output=output, mask_hidden=(8,))
    head = make_mask_head(config)
    assert isinstance(head, FullyConnectedMaskHead)
    every = head.logits_of_all_classes(pooled_features(pooled_size).flatten(0, 1))
    assert every.shape == (6, maps, 2 * pooled_size, 2 * pooled_size)
    logits = head(pooled_features(pooled_size), LABELS)
    assert head.probabilities(logits).shape == (2, 3, 2 * pooled_size, 2 * pooled_size)


def test_mlp_starts_as_xavier_uniform():
    head = FullyConnectedMaskHead(vary(mask_hidden=(64, 64)))
    bound = (6 / (16 * 14**2 + 64)) ** 0.5
    assert head.hidden[0].weight.abs().max().item() == pytest.approx(bound, rel=0.01)
    assert not any(layer.bias.any() for layer in (*head.hidden, head.logits))
