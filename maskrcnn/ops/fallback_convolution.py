"""The convolution of `maskrcnn.ops.convolution` without Winograd's algorithm, in PyTorch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def convolve_3x3(maps: Tensor, kernel: Tensor, bias: Tensor | None, lanes: int) -> Tensor:
    """maps (B, I, H, W), kernel (3, 3, I, O), bias (O,) -> (B, O, H, W), channels last; see register.py."""
    result = F.conv2d(maps.to(kernel.dtype), kernel.permute(3, 2, 0, 1), bias, padding=1)
    return result.to(maps.dtype, memory_format=torch.channels_last)
