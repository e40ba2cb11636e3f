"""Convolutions, which do most of the arithmetic of a detector."""

from __future__ import annotations

from torch import Tensor, nn

from maskrcnn.ops.convolution import convolve


class Convolution(nn.Conv2d):
    """PyTorch's layer, (B, C, H, W) -> (B, C', H', W'), padded with zeros, computed by `convolve`."""

    transformed: Tensor | None = None
    """The kernel as Winograd's algorithm takes it, once final (`maskrcnn.model.folded`); None while it learns."""

    def forward(self, maps: Tensor, scale: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
        """With scale (C',) and shift (C',), the result times the one plus the other, in the same pass over the maps."""
        bias = self.bias
        if scale is not None:
            bias = (shift if bias is None else shift + bias * scale).to(self.weight.dtype)
        shape = (self.stride, self.padding, self.dilation, self.groups)
        return convolve(maps, self.weight, bias, *shape, scale=scale, transformed=self.transformed)


class Convolution3x3(Convolution):
    """Maps (B, C, H, W) -> (B, C', H / stride, W / stride), padded with zeros."""

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
