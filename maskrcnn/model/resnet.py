"""ResNet, the backbone (Deep Residual Learning, arXiv 1512.03385, table 1).

Strides sit in the 3 x 3 convolution of a bottleneck unless `stride_in_first` puts them into its first 1 x 1, as the
paper's authors did; the weights are of the same shapes, but trained for one of the two.
Module names (conv1, bn1, layer1 ... layer4, downsample) are those of every published ResNet checkpoint.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from maskrcnn.config import BackboneConfig
from maskrcnn.model.convolution import Convolution, Convolution3x3
from maskrcnn.model.norms import convolve_and_normalise, make_norm

BLOCKS = {
    "tiny": (1, 1, 1, 1),
    "14": (1, 2, 2, 1),
    "18": (2, 2, 2, 2),
    "34": (3, 4, 6, 3),
    "50": (3, 4, 6, 3),
    "101": (3, 4, 23, 3),
}
"""Blocks in each of the four stages."""


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and the shortcut: (B, C_in, H, W) -> (B, width, H/stride, W/stride)."""

    expansion = 1

    def __init__(self, channels: int, width: int, stride: int, config: BackboneConfig) -> None:
        super().__init__()
        self.conv1 = Convolution3x3(channels, width, stride, bias=False)
        self.bn1 = make_norm(config.norm, width, config.norm_epsilon)
        self.conv2 = Convolution3x3(width, width, bias=False)
        self.bn2 = make_norm(config.norm, width, config.norm_epsilon)
        self.downsample = _shortcut(channels, width, stride, config)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(convolve_and_normalise(x, self.conv1, self.bn1), inplace=True)
        y = convolve_and_normalise(y, self.conv2, self.bn2)
        return F.relu(y.add_(x if self.downsample is None else self.downsample(x)), inplace=True)


class Bottleneck(nn.Module):
    """1 x 1 down, 3 x 3, 1 x 1 up, and the shortcut: (B, C_in, H, W) -> (B, 4 * width, H/stride, W/stride)."""

    expansion = 4

    def __init__(self, channels: int, width: int, stride: int, config: BackboneConfig) -> None:
        super().__init__()
        first, second = (stride, 1) if config.stride_in_first else (1, stride)
        self.conv1 = Convolution(channels, width, 1, first, bias=False)
        self.bn1 = make_norm(config.norm, width, config.norm_epsilon)
        self.conv2 = Convolution3x3(width, width, second, bias=False)
        self.bn2 = make_norm(config.norm, width, config.norm_epsilon)
        self.conv3 = Convolution(width, 4 * width, 1, bias=False)
        self.bn3 = make_norm(config.norm, 4 * width, config.norm_epsilon)
        self.downsample = _shortcut(channels, 4 * width, stride, config)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(convolve_and_normalise(x, self.conv1, self.bn1), inplace=True)
        y = F.relu(convolve_and_normalise(y, self.conv2, self.bn2), inplace=True)
        y = convolve_and_normalise(y, self.conv3, self.bn3)
        return F.relu(y.add_(x if self.downsample is None else self.downsample(x)), inplace=True)


class Projection(nn.Sequential):
    """A 1 x 1 convolution and its norm: (B, C_in, H, W) -> (B, C_out, H/stride, W/stride)."""

    def forward(self, x: Tensor) -> Tensor:
        convolution, norm = self
        return convolve_and_normalise(x, convolution, norm)


def _shortcut(channels: int, out_channels: int, stride: int, config: BackboneConfig) -> nn.Module | None:
    """A projection where the block changes the shape (section 3.3, option B), else the identity."""
    if stride == 1 and channels == out_channels:
        return None
    convolution = Convolution(channels, out_channels, 1, stride, bias=False)
    return Projection(convolution, make_norm(config.norm, out_channels, config.norm_epsilon))


Block = type[BasicBlock] | type[Bottleneck]


def make_stage(
    stage: int, channels: int, stride: int, config: BackboneConfig, block: Block | None = None
) -> nn.Sequential:
    """Stage 0 to 3 of table 1: the first block takes `channels` and has the stride, the others keep the shape.

    block: what the stage consists of; None: what the depth asks for.
    """
    block = block or (Bottleneck if config.has_bottlenecks else BasicBlock)
    width = config.width * 2**stage
    first = block(channels, width, stride, config)
    further = (block(width * block.expansion, width, 1, config) for _ in range(1, BLOCKS[config.depth][stage]))
    return nn.Sequential(first, *further)


def initialise(network: nn.Module) -> None:
    """Kaiming-normal convolutions (Delving Deep into Rectifiers, arXiv 1502.01852)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


class ResNet(nn.Module):
    """Images (B, 3, H, W) -> C2, C3, C4, C5: (B, C_l, ceil(H / s), ceil(W / s)) at strides s = 4, 8, 16, 32."""

    strides = (4, 8, 16, 32)

    def __init__(self, config: BackboneConfig, block: Block | None = None, stages: int = 4) -> None:
        """block: as for `make_stage`; stages: how many there are."""
        super().__init__()
        channels = config.stem_width or config.width
        self.conv1 = Convolution(3, channels, 7, stride=2, padding=3, bias=False)
        self.bn1 = make_norm(config.norm, channels, config.norm_epsilon)
        self.channels = []
        for stage in range(stages):
            stride = 1 if stage == 0 else 2  # the stem has just halved the picture twice
            self.add_module(f"layer{stage + 1}", make_stage(stage, channels, stride, config, block))
            channels = config.stage_channels[stage]
            self.channels.append(channels)
        initialise(self)
        self._freeze(config.frozen_stages)

    def forward(self, images: Tensor) -> list[Tensor]:
        x = F.relu(convolve_and_normalise(images, self.conv1, self.bn1), inplace=True)
        x = F.max_pool2d(x, kernel_size=3, stride=2, padding=1)
        outputs = []
        for stage in range(len(self.channels)):
            x = self.get_submodule(f"layer{stage + 1}")(x)
            outputs.append(x)
        return outputs

    def _freeze(self, stages: int) -> None:
        """The stem and the first `stages` stages learn nothing; 0 leaves everything to learn."""
        layers = [f"layer{stage + 1}" for stage in range(len(self.channels))][:stages]
        self._frozen = ["conv1", "bn1", *layers] if stages else []
        for name in self._frozen:
            self.get_submodule(name).requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> ResNet:
        """As for any module, except that frozen stages stay in evaluation mode: their statistics are frozen, too."""
        super().train(mode)
        for name in self._frozen:
            self.get_submodule(name).eval()
        return self
