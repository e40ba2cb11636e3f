"""The 3 x 3 convolution, which does most of the arithmetic of a detector."""

from __future__ import annotations

from torch import Tensor, nn

from maskrcnn.ops.convolution import convolve


class Convolution3x3(nn.Conv2d):
    """PyTorch's layer, padded with zeros: (B, C, H, W) -> (B, C', H / stride, W / stride). `convolve` computes it."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__(in_channels, out_channels, 3, stride, dilation, dilation, groups, bias)

    def forward(self, maps: Tensor) -> Tensor:
        return convolve(maps, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)
