"""ResNet: names, sizes, strides, normalisation layers and what is frozen."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from random_inputs import random_statistics
from torch import nn

from maskrcnn.config import BackboneConfig
from maskrcnn.model.norms import make_norm
from maskrcnn.model.resnet import ResNet

NARROW = BackboneConfig(depth="18", width=16, norm="batch", frozen_stages=0)


def parameter_count(module):
    return sum(parameter.numel() for parameter in module.parameters())


# --- Architecture (spec 1.1; Deep Residual Learning, table 1) ---------------------------------------------------------


@pytest.mark.parametrize(
    ("depth", "count"),
    # Of the published classifiers, less their fully connected layer: 11,689,512 - 513,000 and so on.
    [("18", 11_176_512), ("34", 21_284_672), ("50", 23_508_032), ("101", 42_500_160)],
)
def test_parameter_counts_of_the_published_networks(depth, count):
    with torch.device("meta"):
        assert parameter_count(ResNet(BackboneConfig(depth=depth, norm="batch", frozen_stages=0))) == count


def expected_state_of_resnet50():
    """Names and shapes of the backbone part of resnet50-0676ba61.pth, written down from the table of spec 1.1."""
    state = {}

    def norm(name, channels):
        state.update({f"{name}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")})
        state[f"{name}.num_batches_tracked"] = ()

    state["conv1.weight"] = (64, 3, 7, 7)
    norm("bn1", 64)
    channels = 64
    for stage, (blocks, width) in enumerate([(3, 64), (4, 128), (6, 256), (3, 512)], start=1):
        for block in range(blocks):
            name = f"layer{stage}.{block}"
            for index, shape in enumerate(
                [(width, channels, 1, 1), (width, width, 3, 3), (4 * width, width, 1, 1)], start=1
            ):
                state[f"{name}.conv{index}.weight"] = shape
                norm(f"{name}.bn{index}", shape[0])
            if block == 0:
                state[f"{name}.downsample.0.weight"] = (4 * width, channels, 1, 1)
                norm(f"{name}.downsample.1", 4 * width)
            channels = 4 * width
    return state


def test_names_and_shapes_are_those_of_the_published_checkpoint():
    with torch.device("meta"):
        model = ResNet(BackboneConfig(depth="50", norm="batch", frozen_stages=0))
    expected = expected_state_of_resnet50()
    assert {name: tuple(value.shape) for name, value in model.state_dict().items()} == expected
    assert len(expected) == 53 * 6, "53 convolutions and as many normalisation layers of five arrays"
    with torch.device("meta"):
        frozen = ResNet(BackboneConfig(depth="50", norm="batch_frozen"))
    assert frozen.state_dict().keys() == {name for name in expected if not name.endswith("num_batches_tracked")}


def test_strides_sit_in_the_3x3_convolution():
    model = ResNet(BackboneConfig(depth="50", width=8))
    for stage in (model.layer2, model.layer3, model.layer4):
        assert stage[0].conv1.stride == (1, 1) and stage[0].conv2.stride == (2, 2)
        assert stage[0].downsample[0].stride == (2, 2)
        assert all(block.downsample is None for block in stage[1:])
    assert model.layer1[0].conv2.stride == (1, 1) and model.layer1[0].downsample[0].stride == (1, 1)


def test_basic_blocks_have_an_identity_shortcut_where_they_can():
    model = ResNet(NARROW)
    assert model.layer1[0].downsample is None and model.layer2[0].downsample is not None


@pytest.mark.parametrize("depth", ["tiny", "14", "18", "50"])
@pytest.mark.parametrize(("height", "width"), [(64, 96), (33, 65), (61, 97), (32, 32)])
def test_every_stage_has_the_size_divided_by_its_stride_rounded_up(depth, height, width):
    model = ResNet(replace(NARROW, depth=depth))
    features = model(torch.randn(2, 3, height, width))
    expansion = 4 if depth == "50" else 1
    expected = [
        (2, NARROW.width * 2**stage * expansion, math.ceil(height / stride), math.ceil(width / stride))
        for stage, stride in enumerate((4, 8, 16, 32))
    ]
    assert [tuple(feature.shape) for feature in features] == expected
    assert model.channels == [shape[1] for shape in expected] and model.strides == (4, 8, 16, 32)


def test_a_depth_counts_the_layers():
    """Convolutions without those of shortcuts, and the fully connected layer that a detector leaves out."""
    for depth, layers in (("tiny", 10), ("14", 14), ("18", 18), ("34", 34), ("50", 50), ("101", 101)):
        with torch.device("meta"):
            model = ResNet(BackboneConfig(depth=depth))
        names = [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d)]
        assert 1 + sum("downsample" not in name for name in names) == layers


def test_a_stem_of_its_own_width_changes_the_first_stage_only_where_it_begins():
    plain, thin = (ResNet(replace(NARROW, width=32, stem_width=width)).state_dict() for width in (0, 16))
    differing = {name for name in thin if name not in plain or plain[name].shape != thin[name].shape}
    assert thin["conv1.weight"].shape == (16, 3, 7, 7) and thin["layer1.0.conv1.weight"].shape == (32, 16, 3, 3)
    assert {name.rsplit(".", 1)[0] for name in differing} == {
        "conv1", "bn1", "layer1.0.conv1", "layer1.0.downsample.0", "layer1.0.downsample.1",
    }  # fmt: skip


def test_a_bottleneck_by_its_formula():
    """relu(shortcut + 1x1(relu(3x3(relu(1x1))))), each convolution followed by its normalisation."""
    torch.manual_seed(0)
    block = ResNet(BackboneConfig(depth="50", width=4, norm="batch", frozen_stages=0)).eval().layer2[0].double()
    for norm in (block.bn1, block.bn2, block.bn3, block.downsample[1]):
        random_statistics(norm)
    x = torch.randn(1, 16, 9, 7, dtype=torch.float64)

    def norm(y, layer):
        scaled = (y - layer.running_mean[:, None, None]) / (layer.running_var[:, None, None] + 1e-5).sqrt()
        return scaled * layer.weight[:, None, None] + layer.bias[:, None, None]

    y = norm(F.conv2d(x, block.conv1.weight), block.bn1).clamp(min=0)
    y = norm(F.conv2d(y, block.conv2.weight, stride=2, padding=1), block.bn2).clamp(min=0)
    y = norm(F.conv2d(y, block.conv3.weight), block.bn3)
    shortcut = norm(F.conv2d(x, block.downsample[0].weight, stride=2), block.downsample[1])
    torch.testing.assert_close(block(x), (y + shortcut).clamp(min=0))


@pytest.mark.parametrize("norm", ["group", "batch", "batch_eval", "batch_frozen"])
def test_channels_last_in_channels_last_out(norm):
    model = ResNet(replace(NARROW, depth="50", norm=norm)).to(memory_format=torch.channels_last)
    images = torch.randn(2, 3, 48, 64)
    expected = model.eval()(images)
    features = model(images.to(memory_format=torch.channels_last))
    for feature, same in zip(features, expected, strict=True):
        assert feature.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(feature, same, rtol=1e-4, atol=1e-5)


# --- Normalisation ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["batch_eval", "batch_frozen"])
def test_statistics_stay_fixed_whatever_the_mode(norm):
    model = ResNet(replace(NARROW, norm=norm))
    images = torch.randn(2, 3, 32, 32)
    before = {name: value.clone() for name, value in model.named_buffers()}
    fresh = model(images)  # a new module is in training mode, too
    expected = model.eval()(images)
    trained = model.train()(images)
    assert not any(module.training for module in model.modules() if isinstance(module, nn.BatchNorm2d))
    for feature, same, also in zip(fresh, expected, trained, strict=True):
        assert torch.equal(feature, same) and torch.equal(also, same)
    assert all(torch.equal(value, before[name]) for name, value in model.named_buffers())


def test_plain_batch_norm_does_learn_statistics():
    model = ResNet(NARROW).train()
    model(torch.randn(2, 3, 32, 32))
    assert model.bn1.running_mean.abs().sum() > 0


def test_group_norm_has_sixteen_channels_a_group_and_ignores_the_batch():
    assert make_norm("group", 64, 1e-5).num_groups == 4 and make_norm("group", 8, 1e-5).num_groups == 1
    model = ResNet(replace(NARROW, norm="group")).train()
    images = torch.randn(3, 3, 32, 32)
    torch.testing.assert_close(model(images)[3][:1], model(images[:1])[3], rtol=1e-4, atol=1e-5)


# --- What learns ------------------------------------------------------------------------------------------------------


def frozen_layers(model):
    """The first parts of the names of parameters that do not learn."""
    return {name.split(".")[0] for name, value in model.named_parameters() if not value.requires_grad}


@pytest.mark.parametrize(
    ("stages", "frozen"),
    [(0, set()), (1, {"conv1", "bn1", "layer1"}), (2, {"conv1", "bn1", "layer1", "layer2"})],
)
def test_frozen_stages(stages, frozen):
    model = ResNet(replace(NARROW, norm="batch_eval", frozen_stages=stages))
    assert frozen_layers(model) == frozen
    sum(feature.sum() for feature in model(torch.randn(1, 3, 32, 32))).backward()
    assert {name.split(".")[0] for name, value in model.named_parameters() if value.grad is None} == frozen


def test_frozen_stages_learn_no_statistics_either():
    model = ResNet(replace(NARROW, frozen_stages=1)).train()
    model(torch.randn(2, 3, 32, 32))
    moved = {name.split(".")[0] for name, value in model.named_buffers() if name.endswith("mean") and value.any()}
    assert moved == {"layer2", "layer3", "layer4"}


def test_eval_norm_trains_scale_and_shift_but_frozen_norm_has_no_parameters():
    """Spec 1.10: 53,120 more parameters where the affine ones count."""
    with torch.device("meta"):
        fixed = ResNet(BackboneConfig(depth="50", norm="batch_eval"))
        frozen = ResNet(BackboneConfig(depth="50", norm="batch_frozen"))
    assert parameter_count(fixed) - parameter_count(frozen) == 53_120
    assert fixed.layer2[0].bn1.weight.requires_grad and not fixed.layer1[0].bn1.weight.requires_grad


def test_convolutions_start_as_kaiming_normal():
    torch.manual_seed(0)
    model = ResNet(BackboneConfig(depth="18"))
    for convolution in (model.conv1, model.layer2[0].conv1, model.layer4[1].conv2, model.layer3[0].downsample[0]):
        fan_out = convolution.out_channels * convolution.kernel_size[0] ** 2
        assert convolution.weight.std().item() == pytest.approx(math.sqrt(2 / fan_out), rel=0.05)
        assert convolution.weight.mean().item() == pytest.approx(0, abs=0.05 * math.sqrt(2 / fan_out))
        assert convolution.bias is None
