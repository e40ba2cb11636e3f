"""The mask head of the Pyramid Mask Text Detector: its loss by hand, its layers, and that it learns pyramids."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_model import SMALL, change
from small_shapes import iou, random_quadrilateral
from small_variants import VARIANTS
from test_mask_variants import LABELS, pooled_features

from maskrcnn.data.polygons import bounds
from maskrcnn.model.mask_head import MaskHead, UpsamplingConvolution
from maskrcnn.model.parts import make_mask_head
from maskrcnn.model.variants.pyramid_masks import WEIGHT, PyramidMaskHead, height_loss
from maskrcnn.plane_clustering import pyramid_bases
from maskrcnn.targets.pyramids import pyramid_heights


def make_head(config=VARIANTS["pyramids"]):
    torch.manual_seed(0)
    return make_mask_head(config)


# --- The loss ---------------------------------------------------------------------------------------------------------


def test_the_loss_by_hand():
    """Of three RoIs of 2 x 2 cells two are positive: 0.1 + 0.2 + 0 + 0.3 and 0.5, over eight cells."""
    heights = torch.tensor([[[[0.1, 0.8], [0.5, 0.3]], [[0.9, 0.9], [0.9, 0.9]], [[0.0, 0.0], [0.5, 0.0]]]])
    targets = torch.tensor([[[[0.2, 0.6], [0.5, 0.0]], [[0.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]]])
    loss = height_loss(heights, targets, torch.tensor([[True, False, True]]))
    assert loss.item() == pytest.approx((0.1 + 0.2 + 0.3 + 0.5) / 8)


def test_heights_are_cut_off_after_learning_and_not_before():
    """An output below 0 over a cell beside the text, or above 1, still has a gradient that brings it back."""
    head = make_head()
    outputs = torch.tensor([[[[-0.5, 0.25], [1.5, 0.75]]]], requires_grad=True)
    assert head.probabilities(outputs).tolist() == [[[[0, 0.25], [1, 0.75]]]]
    loss = head.loss(outputs, torch.tensor([[[[0.0, 0.5], [1.0, 0.75]]]]), torch.tensor([[True]]))
    assert loss.item() == pytest.approx(WEIGHT * (0.5 + 0.25 + 0.5) / 4)
    loss.backward()
    assert outputs.grad.sign().tolist() == [[[[-1, -1], [1, 0]]]]


def test_without_positives_the_loss_is_zero_and_so_is_its_gradient():
    heights = torch.rand(1, 2, 3, 3, requires_grad=True)
    loss = height_loss(heights, torch.ones(1, 2, 3, 3), torch.zeros(1, 2, dtype=torch.bool))
    loss.backward()
    assert loss == 0 and not heights.grad.any()


def test_gradients_of_the_loss():
    generator = torch.Generator().manual_seed(0)
    heights = torch.rand(1, 2, 3, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    targets = torch.rand(1, 2, 3, 3, dtype=torch.float64, generator=generator)
    positive = torch.tensor([[True, False]])
    assert torch.autograd.gradcheck(lambda x: height_loss(x, targets, positive), heights)


# --- The layers -------------------------------------------------------------------------------------------------------


def test_dilated_convolutions_and_bilinear_upsampling_against_a_plain_composition():
    head, pooled = make_head(), pooled_features()
    (convolution,) = head.convolutions
    hidden = F.conv2d(pooled.flatten(0, 1), convolution.weight, convolution.bias, padding=2, dilation=2).relu()
    # Twice as large: the new centres lie a quarter of a cell to either side of the old, the outermost in no other cell.
    rows = torch.stack((hidden, hidden), dim=3).flatten(2, 3)
    before, after = torch.cat((rows[:, :, :1], rows[:, :, :-1]), 2), torch.cat((rows[:, :, 1:], rows[:, :, -1:]), 2)
    even = (torch.arange(28) % 2 == 0)[:, None]
    rows = 0.75 * rows + 0.25 * torch.where(even, before, after)
    both = torch.stack((rows, rows), dim=4).flatten(3, 4)
    before, after = torch.cat((both[..., :1], both[..., :-1]), 3), torch.cat((both[..., 1:], both[..., -1:]), 3)
    both = 0.75 * both + 0.25 * torch.where(even[:, 0], before, after)
    hidden = F.conv2d(both, head.deconvolution.weight, head.deconvolution.bias, padding=1).relu()
    maps = F.conv2d(hidden, head.logits.weight, head.logits.bias)
    torch.testing.assert_close(head.logits_of_all_classes(pooled.flatten(0, 1)), maps)


def test_each_setting_changes_its_layer_only():
    plain, dilated = MaskHead(SMALL), MaskHead(change(SMALL, "mask_head", dilation=3))
    assert dilated.convolutions[0].dilation == dilated.convolutions[0].padding == (3, 3)
    assert plain.convolutions[0].dilation == plain.convolutions[0].padding == (1, 1)
    assert {key: value.shape for key, value in plain.state_dict().items()} == {
        key: value.shape for key, value in dilated.state_dict().items()
    }
    bilinear = MaskHead(change(SMALL, "mask_head", upsampling="bilinear"))
    assert type(bilinear) is MaskHead and type(bilinear.deconvolution) is UpsamplingConvolution
    assert bilinear.deconvolution.weight.shape == (16, 16, 3, 3) and not bilinear.deconvolution.bias.any()
    targets = change(SMALL, "mask_head", targets="pyramid")
    assert type(make_head(targets)) is PyramidMaskHead
    assert type(make_head(targets).deconvolution) is torch.nn.ConvTranspose2d


# --- It learns --------------------------------------------------------------------------------------------------------


def test_pyramids_are_learnt_by_heart_and_their_planes_found():
    """Six words, from features that know the heights of coarser cells: the bases of what is said are the words."""
    head, pooled = make_head(), 0.1 * pooled_features()
    words = np.stack([random_quadrilateral(seed) for seed in range(6)])
    boxes = np.stack([bounds(word) for word in words])
    targets = pyramid_heights(torch.from_numpy(words), torch.from_numpy(boxes), 28).view(2, 3, 28, 28)
    pooled[:, :, 0] += F.avg_pool2d(targets.float(), 2)
    labels = torch.ones_like(LABELS)
    optimiser = torch.optim.Adam(head.parameters(), lr=1e-2)
    for _ in range(100):
        optimiser.zero_grad()
        head.loss(head(pooled, labels), targets, labels > 0).backward()
        optimiser.step()
    with torch.no_grad():
        heights = head.probabilities(head(pooled, labels)).flatten(0, 1).double().numpy()
    bases = pyramid_bases(heights, boxes)
    assert all(base.fitted for base in bases)
    assert min(iou(base.corners, word) for base, word in zip(bases, words, strict=True)) > 0.8
