"""The convolution of `maskrcnn.ops.convolution` without Winograd's algorithm, in PyTorch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

PLACES, GAP = 36, 16
"""Of the tensor that the compiled ops hand on: kPlaces and kGap in csrc/convolve_3x3/convolution.h."""


def transform_kernel_3x3(kernel: Tensor, lanes: int) -> Tensor:
    """kernel (3, 3, I, O) -> (36, I * O + 16): the kernel as it is, and zeros where the algorithm would have more."""
    return F.pad(kernel.reshape(9, -1), (0, GAP, 0, PLACES - 9))


def convolve_3x3(maps: Tensor, weights: Tensor, bias: Tensor | None, out_channels: int, lanes: int) -> Tensor:
    """maps (B, I, H, W), weights from above, bias (O,) -> (B, O, H, W), channels last; see register.py."""
    kernel = weights[:9, :-GAP].reshape(3, 3, maps.shape[1], out_channels)
    result = F.conv2d(maps.to(kernel.dtype), kernel.permute(3, 2, 0, 1), bias, padding=1)
    return result.to(maps.dtype, memory_format=torch.channels_last)
