"""ResNeXt: bottlenecks whose 3 x 3 convolution works in groups (arXiv 1611.05431; table 2a, "X-101-FPN")."""

from __future__ import annotations

from maskrcnn.config import BackboneConfig
from maskrcnn.model.convolution import Convolution, Convolution3x3
from maskrcnn.model.norms import make_norm
from maskrcnn.model.resnet import Bottleneck


class ResNeXtBottleneck(Bottleneck):
    """1 x 1, 3 x 3 in groups, 1 x 1, and the shortcut; inside, the groups' channels side by side.

    Form (c) of ResNeXt's figure 3. In 32x8d, the first stage has 32 groups of 8 channels where a ResNet has 64 in one.
    """

    def __init__(self, channels: int, width: int, stride: int, config: BackboneConfig) -> None:
        super().__init__(channels, width, stride, config)
        groups = config.cardinality
        inner = groups * config.group_width * (width // config.width)
        self.conv1 = Convolution(channels, inner, 1, self.conv1.stride, bias=False)
        self.bn1 = make_norm(config.norm, inner, config.norm_epsilon)
        self.conv2 = Convolution3x3(inner, inner, self.conv2.stride, groups=groups, bias=False)
        self.bn2 = make_norm(config.norm, inner, config.norm_epsilon)
        self.conv3 = Convolution(inner, self.conv3.out_channels, 1, bias=False)
