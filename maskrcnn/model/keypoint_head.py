"""The keypoint head: a heat map for each point of an RoI's object (paper section 5)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from maskrcnn.config import ModelConfig
from maskrcnn.model.convolution import Convolution3x3
from maskrcnn.precision import widened


class KeypointHead(nn.Module):
    """Eight 3 x 3 convolutions, a 4 x 4 stride-2 deconvolution to one map a point, doubled again: 14 x 14 -> 56 x 56.

    A point is one cell of 56 x 56: finer than a mask, because a joint is smaller than a person.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        head = config.keypoint_head
        channels = config.pooled_channels
        self.convolutions = nn.ModuleList()
        for _ in range(head.convolutions):
            self.convolutions.append(Convolution3x3(channels, head.channels))
            channels = head.channels
        self.deconvolution = nn.ConvTranspose2d(channels, len(head.names), 4, stride=2, padding=1)
        for layer in (*self.convolutions, self.deconvolution):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(layer.bias)

    def forward(self, pooled: Tensor) -> Tensor:
        """Pooled features (B, R, C, S, S) -> logits (B, R, J, 4S, 4S) of J heat maps, the same for every class."""
        hidden = pooled.flatten(0, 1)
        for convolution in self.convolutions:
            hidden = F.relu(convolution(hidden), inplace=True)
        coarse = widened(self.deconvolution(hidden))
        logits = F.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)
        return logits.unflatten(0, pooled.shape[:2])
