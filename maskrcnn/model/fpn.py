"""The feature pyramid: strong features at every scale (Feature Pyramid Networks, arXiv 1612.03144, section 3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from maskrcnn.config import BackboneConfig
from maskrcnn.model.convolution import Convolution3x3
from maskrcnn.model.norms import convolve_and_normalise, make_norm


class FeaturePyramid(nn.Module):
    """C2 .. C5 -> P2 .. P6, all with `channels` channels.

    Each level is its own C level through a 1 x 1 convolution plus the coarser level enlarged, smoothed by a 3 x 3
    convolution (figure 3). P6 is P5 at every second cell, for the RPN's largest anchors only (footnote 1).
    """

    strides = (4, 8, 16, 32, 64)
    pooled_strides = strides[:-1]
    """Of the levels that RoIs are pooled from, P2 to P5."""

    def __init__(self, in_channels: Sequence[int], config: BackboneConfig, initialisation: str) -> None:
        """Raises ValueError for any other `initialisation` than "torchvision" and "mmdetection"."""
        super().__init__()
        if initialisation not in ("torchvision", "mmdetection"):
            raise ValueError(f'found initialisation {initialisation!r}, expected "torchvision" or "mmdetection"')
        channels = config.pyramid_channels
        self.lateral = nn.ModuleList(nn.Conv2d(count, channels, 1) for count in in_channels)
        self.output = nn.ModuleList(Convolution3x3(channels, channels) for _ in in_channels)
        self.norm = nn.ModuleList(make_norm(config.pyramid_norm, channels, config.norm_epsilon) for _ in in_channels)
        for convolution in (*self.lateral, *self.output):
            if initialisation == "torchvision":
                nn.init.kaiming_uniform_(convolution.weight, a=1)
            else:
                nn.init.xavier_uniform_(convolution.weight)
            nn.init.zeros_(convolution.bias)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        merged = [lateral(feature) for lateral, feature in zip(self.lateral, features, strict=True)]
        for level in reversed(range(len(merged) - 1)):
            # To the exact size of the finer map: with odd sizes, doubling would miss it by one.
            size = merged[level].shape[-2:]
            merged[level].add_(F.interpolate(merged[level + 1], size=size, mode="nearest"))
        layers = zip(self.output, self.norm, merged, strict=True)
        pyramid = [convolve_and_normalise(feature, output, norm) for output, norm, feature in layers]
        # A maximum over one cell each, since the strides of a slice [:, :, ::2, ::2] depend on whether a size is odd,
        # and what `torch.export` makes of it would run for one of the two.
        return [*pyramid, F.max_pool2d(pyramid[-1], 1, stride=2)]
