"""C4: the fifth stage on pooled RoIs, against plain compositions of PyTorch's functions."""

import pytest
import torch
import torch.nn.functional as F
from small_model import change, make_batch
from small_variants import VARIANTS, vary, without_convolutions
from test_fixed_shapes import PICTURES

from maskrcnn import ops
from maskrcnn.model.mask_rcnn import MaskRCNN
from maskrcnn.model.resnet import ResNet
from maskrcnn.model.roi_heads import RoIHeads

BOTTLENECKS = without_convolutions(
    change(vary(features="c4"), "backbone", depth="50", width=4, norm="batch_frozen", norm_epsilon=1e-5)
)
ROIS = torch.tensor([[[3.0, 5, 60, 50], [20, 8, 90, 33], [0, 0, 96, 64]]])


def make_model(config):
    torch.manual_seed(0)
    model = MaskRCNN(config)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if name.endswith(("running_mean", "bn1.bias", "bn2.bias", "bn3.bias")):
                value.normal_(std=0.1)
    return model


def bottleneck(x, weights, name, stride):
    """relu(1x1(relu(3x3(relu(1x1)))) + shortcut), each with its norm, out of a state dict."""

    def normalised(y, norm):
        parts = (weights[f"{name}.{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(y, *parts, training=False, eps=1e-5)

    y = normalised(F.conv2d(x, weights[f"{name}.conv1.weight"]), "bn1").relu()
    y = normalised(F.conv2d(y, weights[f"{name}.conv2.weight"], stride=stride, padding=1), "bn2").relu()
    y = normalised(F.conv2d(y, weights[f"{name}.conv3.weight"]), "bn3")
    if f"{name}.downsample.0.weight" in weights:
        x = normalised(F.conv2d(x, weights[f"{name}.downsample.0.weight"], stride=stride), "downsample.1")
    return (x + y).relu()


@pytest.mark.parametrize(("stride", "pooled_size"), [(1, 7), (2, 14)])
def test_the_heads_against_a_plain_composition(stride, pooled_size):
    """Figure 4, left: RoI -> res5 -> 7 x 7 -> average -> class, box; and 7 x 7 -> 14 x 14 -> masks."""
    config = without_convolutions(change(BOTTLENECKS, "variant", res5_stride=stride), pooled_size)
    heads = make_model(config).roi_heads
    weights = heads.state_dict()
    c4 = torch.randn(1, 64, 4, 6)
    settings = {"output_size": pooled_size, "strides": (16,), "sampling_ratio": 2, "aligned": True}
    x = ops.pyramid_roi_align([c4], ROIS, **settings)[0]
    for block in range(3):
        x = bottleneck(x, weights, f"pool.layer4.{block}", stride if block == 0 else 1)
    assert x.shape == (3, 128, 7, 7)
    pooled = heads.pool([c4], ROIS, config.box_head)
    torch.testing.assert_close(pooled[0], x)

    outputs = heads.box_head(pooled, torch.ones(1, 3, dtype=torch.bool))
    average = F.adaptive_avg_pool2d(x, 1).flatten(1)
    logits = F.linear(average, weights["box_head.classes.weight"], weights["box_head.classes.bias"])
    deltas = F.linear(average, weights["box_head.deltas.weight"], weights["box_head.deltas.bias"])
    torch.testing.assert_close(outputs.logits[0], logits)
    torch.testing.assert_close(outputs.deltas[0], deltas.view(3, 2, 4))

    names = ("mask_head.deconvolution.weight", "mask_head.deconvolution.bias")
    hidden = F.conv_transpose2d(x, *(weights[name] for name in names), stride=2).relu()
    masks = F.conv2d(hidden, weights["mask_head.logits.weight"], weights["mask_head.logits.bias"])
    labels = torch.tensor([[2, 1, 2]])
    found = heads.mask_head(heads.pool([c4], ROIS, config.mask_head), labels)
    torch.testing.assert_close(found[0], masks[torch.arange(3), labels[0] - 1])
    assert found.shape == (1, 3, 14, 14)


def test_the_backbone_and_res5_are_a_resnet_in_two_pieces():
    """With the stride of a ResNet, and the whole of C4 in place of an RoI's features, C5 comes out."""
    config = change(BOTTLENECKS, "variant", res5_stride=2)
    model, whole = make_model(config), ResNet(config.backbone)
    state = {name.removeprefix("backbone."): value for name, value in model.state_dict().items() if "backbone" in name}
    prefix = "roi_heads.pool."
    state |= {name.removeprefix(prefix): value for name, value in model.state_dict().items() if name.startswith(prefix)}
    whole.load_state_dict(state)
    images = torch.randn(1, 3, 64, 96)
    stages, expected = model.backbone(images), whole(images)
    assert len(stages) == 3 and all(map(torch.equal, stages, expected))
    torch.testing.assert_close(model.roi_heads.pool.layer4(stages[-1]), expected[-1])
    assert torch.equal(model.pyramid(stages)[0], stages[-1])


def test_both_heads_teach_res5_and_what_is_before_it():
    for silent in ("box_head", "mask_head"):
        model = make_model(VARIANTS["C4"])
        losses = model(make_batch(PICTURES, 2)).losses
        part = losses["mask"] if silent == "box_head" else losses["class"] + losses["box"]
        part.backward()
        assert all(value.grad.any() for value in model.roi_heads.pool.layer4[0].parameters())
        assert model.backbone.layer3[0].conv1.weight.grad.any()
        assert all(value.grad is None for value in model.roi_heads.get_submodule(silent).parameters())


@pytest.mark.parametrize(("stages", "learns"), [(3, True), (4, False)])
def test_res5_is_the_fourth_stage_to_be_frozen(stages, learns):
    model = make_model(change(BOTTLENECKS, "backbone", frozen_stages=stages, norm="batch_eval"))
    assert not any(value.requires_grad for value in model.backbone.parameters())
    assert {value.requires_grad for value in model.roi_heads.pool.layer4.parameters()} == {learns}


def test_res5_starts_as_kaiming_normal():
    config = without_convolutions(change(vary(features="c4"), "backbone", width=32))
    weight = make_model(config).roi_heads.pool.layer4[0].conv2.weight
    assert weight.std().item() == pytest.approx((2 / (256 * 9)) ** 0.5, rel=0.05)


def test_masks_may_be_pooled_finer_than_boxes():
    """The resolution of masks stays a setting of its own."""
    config = change(VARIANTS["C4"], "mask_head", pooled_size=14)
    heads = RoIHeads(config, (16,))
    found = heads.mask_head(heads.pool([torch.randn(1, 64, 4, 6)], ROIS, config.mask_head), torch.ones(1, 3).long())
    assert found.shape == (1, 3, 28, 28)
