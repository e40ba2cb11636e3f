"""ResNeXt: grouped bottlenecks by hand, and the whole network against torchvision's, stage by stage.

The numbers in tests/golden/resnext.npz come from torchvision itself (tests/golden/make_resnext_golden.py). Where it is
installed, the last tests ask it again.
"""

import importlib.util
import pathlib

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from golden import resnext_case as case
from golden.torchvision_case import disagreement
from random_inputs import random_statistics

from maskrcnn.config import BackboneConfig
from maskrcnn.model.resnet import ResNet
from maskrcnn.model.variants.resnext import ResNeXtBottleneck

FILE = pathlib.Path(__file__).parent / "golden" / "resnext.npz"
VERSIONS = ("torch_version", "torchvision_version")
NARROW = BackboneConfig(depth="50", width=4, norm="batch", frozen_stages=0, cardinality=4, group_width=2)
PUBLISHED = {"32x8d": (32, 8), "64x4d": (64, 4)}


def resnext(depth, cardinality, group_width):
    config = BackboneConfig(
        depth=depth, norm="batch", frozen_stages=0, cardinality=cardinality, group_width=group_width
    )
    return ResNet(config, ResNeXtBottleneck)


# --- By hand ----------------------------------------------------------------------------------------------------------


def test_groups_do_not_see_each_other():
    """Two groups of one channel, all weights 1: each 3 x 3 sums the pixels of its own channel, and nothing else."""
    config = BackboneConfig(depth="50", width=4, norm="batch_frozen", norm_epsilon=0, cardinality=2, group_width=1)
    block = ResNeXtBottleneck(2, 4, 1, config)
    with torch.no_grad():
        block.conv1.weight.copy_(torch.eye(2)[:, :, None, None])
        block.conv2.weight.fill_(1.0)
        block.conv3.weight.zero_()
        block.conv3.weight[:2] = torch.eye(2)[:, :, None, None]
        block.downsample[0].weight.zero_()
    image = torch.tensor([[[1.0, 2.0], [3.0, 4.0]], [[10.0, 20.0], [30.0, 40.0]]])[None]
    found = block(image)[0]
    assert found[0].tolist() == [[10.0, 10.0], [10.0, 10.0]], "1 + 2 + 3 + 4 around every pixel"
    assert found[1].tolist() == [[100.0, 100.0], [100.0, 100.0]] and not found[2:].any()


def test_widths_of_the_published_blocks():
    """ResNeXt, figure 3 (c) and table 1: 128 channels in 32 groups of 4, and twice as many in each stage."""
    for (cardinality, group_width), inner in (((32, 4), 128), ((32, 8), 256), ((64, 4), 256)):
        config = BackboneConfig(depth="50", cardinality=cardinality, group_width=group_width)
        for stage in range(4):
            with torch.device("meta"):
                block = ResNeXtBottleneck(256, 64 * 2**stage, 1, config)
            assert block.conv1.weight.shape == (inner * 2**stage, 256, 1, 1) and block.conv2.groups == cardinality
            assert block.conv2.weight.shape == (inner * 2**stage, group_width * 2**stage, 3, 3)
            assert block.conv3.weight.shape == (256 * 2**stage, inner * 2**stage, 1, 1)


def test_a_block_by_its_formula():
    """relu(shortcut + 1x1(relu(3x3 of each group(relu(1x1)))))."""
    torch.manual_seed(0)
    block = ResNet(NARROW, ResNeXtBottleneck).eval().layer2[0].double()
    for norm in (block.bn1, block.bn2, block.bn3, block.downsample[1]):
        random_statistics(norm)
    x = torch.randn(1, 16, 9, 7, dtype=torch.float64)

    def norm(y, layer):
        scaled = (y - layer.running_mean[:, None, None]) / (layer.running_var[:, None, None] + 1e-5).sqrt()
        return scaled * layer.weight[:, None, None] + layer.bias[:, None, None]

    y = norm(F.conv2d(x, block.conv1.weight), block.bn1).clamp(min=0)
    groups = zip(y.chunk(4, dim=1), block.conv2.weight.chunk(4), strict=True)
    y = torch.cat([F.conv2d(channels, weight, stride=2, padding=1) for channels, weight in groups], dim=1)
    y = norm(y, block.bn2).clamp(min=0)
    y = norm(F.conv2d(y, block.conv3.weight), block.bn3)
    shortcut = norm(F.conv2d(x, block.downsample[0].weight, stride=2), block.downsample[1])
    torch.testing.assert_close(block(x), (y + shortcut).clamp(min=0))


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameter_counts_of_the_published_networks(name):
    """torchvision's resnext101_32x8d and 64x4d, less their fully connected layer of 2,049,000."""
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in resnext("101", *PUBLISHED[name]).parameters())
    assert count == {"32x8d": 88_791_336, "64x4d": 83_455_272}[name] - 2_049_000


def test_convolutions_start_as_kaiming_normal():
    torch.manual_seed(0)
    config = BackboneConfig(depth="50", width=16, frozen_stages=0, cardinality=8, group_width=4)
    convolution = ResNet(config, ResNeXtBottleneck).layer4[1].conv2
    assert convolution.weight.shape == (256, 32, 3, 3)
    assert convolution.weight.std().item() == pytest.approx((2 / (256 * 9)) ** 0.5, rel=0.05)


# --- Against torchvision ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def golden():
    with np.load(FILE, allow_pickle=False) as stored:
        return dict(stored)


def test_the_file_says_what_made_it(golden):
    assert str(golden["torch_version"]).startswith("2.") and str(golden["torchvision_version"]).startswith("0.")
    assert golden.keys() - set(VERSIONS) == {"c2", "c3", "c4", "c5"} and FILE.stat().st_size < 100 * 1024
    assert all(np.abs(golden[name]).max() > 0.1 and (golden[name] == 0).any() for name in ("c2", "c3", "c4", "c5"))


def test_every_stage_is_torchvisions(golden):
    found = case.our_stages()
    assert not any(disagreement(found[name], golden[name]) for name in found)


if importlib.util.find_spec("torchvision"):

    def test_torchvision_still_says_the_same(golden):
        from golden.make_resnext_golden import torchvision_stages

        for name, value in torchvision_stages().items():
            assert not disagreement(value, golden[name])

    @pytest.mark.slow
    @pytest.mark.parametrize("name", PUBLISHED)
    def test_the_published_networks_are_torchvisions(name):
        import torchvision

        torch.manual_seed(0)
        theirs = getattr(torchvision.models, f"resnext101_{name}")(weights=None).eval()
        ours = resnext("101", *PUBLISHED[name]).eval()
        ours.load_state_dict({key: value for key, value in theirs.state_dict().items() if not key.startswith("fc.")})
        image = torch.randn(1, 3, 64, 96)
        x = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(image))))
        for stage, found in enumerate(ours(image)):
            x = theirs.get_submodule(f"layer{stage + 1}")(x)
            torch.testing.assert_close(found, x, rtol=1e-4, atol=1e-4 * x.abs().max().item())
