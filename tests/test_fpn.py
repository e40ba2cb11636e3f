"""The feature pyramid: sizes, the top-down path, P6, initialisation."""

import math

import pytest
import torch
import torch.nn.functional as F

from maskrcnn.config import BackboneConfig
from maskrcnn.model.fpn import FeaturePyramid

CHANNELS = (4, 6, 8, 10)


def make_pyramid(channels=5, initialisation="mmdetection", in_channels=CHANNELS, norm="none"):
    torch.manual_seed(0)
    return FeaturePyramid(in_channels, BackboneConfig(pyramid_channels=channels, pyramid_norm=norm), initialisation)


def random_features(sizes, dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    return [
        torch.randn(2, count, *size, generator=generator, dtype=dtype)
        for count, size in zip(CHANNELS, sizes, strict=True)
    ]


def enlarge(coarse, height, width):
    """Nearest neighbour, one cell at a time: cell i of n reads cell floor(i * m / n) of m."""
    result = coarse.new_zeros(*coarse.shape[:2], height, width)
    for row in range(height):
        for column in range(width):
            source = row * coarse.shape[2] // height, column * coarse.shape[3] // width
            result[:, :, row, column] = coarse[:, :, source[0], source[1]]
    return result


def test_one_channel_by_hand():
    """With all weights 1 and 3 x 3 kernels that look at their centre only, a level is the sum of itself and above."""
    pyramid = make_pyramid(1, in_channels=(1, 1, 1, 1))
    with torch.no_grad():
        for lateral, output in zip(pyramid.lateral, pyramid.output, strict=True):
            lateral.weight.fill_(1.0)
            output.weight.zero_()
            output.weight[0, 0, 1, 1] = 1.0
    features = [torch.full((1, 1, size, size), value) for size, value in ((8, 1.0), (4, 10.0), (2, 100.0), (1, 1e3))]
    features[2][0, 0, 1, 0] = 200.0
    levels = pyramid(features)
    assert levels[3].tolist() == [[[[1000.0]]]]
    assert levels[2].tolist() == [[[[1100.0, 1100.0], [1200.0, 1100.0]]]]
    assert levels[1][0, 0].tolist() == [[1110.0] * 4] * 2 + [[1210.0, 1210.0, 1110.0, 1110.0]] * 2
    assert levels[0][0, 0, 7].tolist() == [1211.0] * 4 + [1111.0] * 4
    assert levels[4].tolist() == levels[3].tolist()


@pytest.mark.parametrize(
    "sizes",
    [
        [(16, 24), (8, 12), (4, 6), (2, 3)],
        [(25, 19), (13, 10), (7, 5), (4, 3)],  # odd: twice the coarser map is one cell too many
    ],
)
def test_every_level_against_the_loop(sizes):
    pyramid, features = make_pyramid().double(), random_features(sizes, torch.float64)
    levels = pyramid(features)
    assert [tuple(level.shape[-2:]) for level in levels[:4]] == sizes
    coarser = None
    for level in (3, 2, 1, 0):
        merged = F.conv2d(features[level], pyramid.lateral[level].weight, pyramid.lateral[level].bias)
        if coarser is not None:
            merged = merged + enlarge(coarser, *sizes[level])
        output = pyramid.output[level]
        torch.testing.assert_close(levels[level], F.conv2d(merged, output.weight, output.bias, padding=1))
        coarser = merged


@pytest.mark.parametrize(("height", "width"), [(2, 3), (4, 3), (1, 1), (5, 6)])
def test_p6_is_every_second_cell_of_p5(height, width):
    sizes = [(height * 8, width * 8), (height * 4, width * 4), (height * 2, width * 2), (height, width)]
    levels = make_pyramid()(random_features(sizes))
    assert len(levels) == 5
    assert levels[4].shape[-2:] == (math.ceil(height / 2), math.ceil(width / 2))
    assert torch.equal(levels[4], levels[3][:, :, ::2, ::2]), "spec 1.2"


def test_channels_last_in_channels_last_out():
    pyramid = make_pyramid().to(memory_format=torch.channels_last)
    sizes = [(25, 19), (13, 10), (7, 5), (4, 3)]
    features = [feature.to(memory_format=torch.channels_last) for feature in random_features(sizes)]
    for level, same in zip(pyramid(features), make_pyramid()(random_features(sizes)), strict=True):
        torch.testing.assert_close(level, same, rtol=1e-4, atol=1e-5)
    for level in pyramid(features)[:4]:  # what RoIs are pooled from
        assert level.is_contiguous(memory_format=torch.channels_last)


def test_the_coarsest_feature_reaches_every_level():
    pyramid = make_pyramid()
    features = random_features([(16, 24), (8, 12), (4, 6), (2, 3)])
    features[3].requires_grad_()
    for level in pyramid(features):
        (gradient,) = torch.autograd.grad(level.square().sum(), features[3], retain_graph=True)
        assert gradient.abs().min() > 0


@pytest.mark.parametrize("initialisation", ["torchvision", "mmdetection"])
def test_initialisation(initialisation):
    """Uniform up to sqrt(3 / fan_in) or, Xavier's, sqrt(6 / (fan_in + fan_out)); no bias (spec 1.9)."""
    pyramid = make_pyramid(64, initialisation, in_channels=(32, 64, 128, 256))
    for convolution in (*pyramid.lateral, *pyramid.output):
        area = convolution.kernel_size[0] ** 2
        fan_in, fan_out = convolution.in_channels * area, convolution.out_channels * area
        bound = math.sqrt(3 / fan_in if initialisation == "torchvision" else 6 / (fan_in + fan_out))
        assert 0.98 * bound < convolution.weight.abs().max().item() <= bound
        assert convolution.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)
        assert not convolution.bias.any()


@pytest.mark.parametrize("initialisation", ["pytorch", "MMDetection", ""])
def test_an_unknown_initialisation_is_refused(initialisation):
    with pytest.raises(ValueError, match=f'found initialisation {initialisation!r}, expected "torchvision" or "mmdet'):
        make_pyramid(initialisation=initialisation)


def test_as_many_features_as_levels():
    with pytest.raises(ValueError):
        make_pyramid()(random_features([(16, 24), (8, 12), (4, 6), (2, 3)])[:3])


def test_norms_stand_behind_the_output_convolutions():
    """In training, each channel of each level has mean 0 and variance 1; P6 is still taken from P5."""
    levels = make_pyramid(norm="batch").train()(random_features([(16, 24), (8, 12), (4, 6), (2, 3)]))
    for level in levels[:4]:
        torch.testing.assert_close(level.mean(dim=(0, 2, 3)), torch.zeros(5), atol=1e-5, rtol=0)
        torch.testing.assert_close(level.var(dim=(0, 2, 3), correction=0), torch.ones(5), atol=1e-3, rtol=0)
    assert torch.equal(levels[4], levels[3][:, :, ::2, ::2])
