"""Convolutions: PyTorch's, and on a processor Winograd's algorithm where it takes a fraction of the multiplications."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from maskrcnn.ops import register

LANES = register.extension.widest_lanes() if register.extension is not None else 0
"""Floats in a register of this processor; 0 without compiled ops."""
FEWEST_TILES = 128
"""Of 4 x 4 results. Transforming the kernel takes as long as computing about so many."""


def convolve(
    maps: Tensor,
    kernel: Tensor,
    bias: Tensor | None = None,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
) -> Tensor:
    """`torch.nn.functional.conv2d`: maps (B, I, H, W), kernel (O, I / groups, h, w), bias (O,) -> (B, O, H', W').

    On a processor with wide registers, a 3 x 3 kernel that keeps the size of large maps, channels last in memory, goes
    by Winograd's algorithm F(4 x 4, 3 x 3) (arXiv 1509.09308): a quarter of the multiplications, and the same up to
    rounding. Maps are float32 or bfloat16; either is computed in float32, and weights are not rounded to bfloat16.
    """
    keeps_size = kernel.shape[2:] == (3, 3) and stride == padding == dilation == (1, 1) and groups == 1
    if not (keeps_size and maps.device.type == "cpu" and _pays(maps, kernel)):
        return F.conv2d(maps, kernel, bias, stride, padding, dilation, groups)
    if torch.is_autocast_enabled("cpu"):
        maps = maps.to(torch.get_autocast_dtype("cpu"))
    bias = bias if bias is None else bias.float()
    return _by_winograd(maps, kernel.float().permute(2, 3, 1, 0), bias, 0)


_by_winograd = torch.ops.maskrcnn.convolve_3x3


def _pays(maps: Tensor, kernel: Tensor) -> bool:
    """Whether Winograd's algorithm can and should: whole registers of channels side by side, and many results."""
    dtypes = {maps.dtype, torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else maps.dtype}
    if torch.compiler.is_exporting():  # a program runs on other processors, and for maps of all sizes
        return False
    if LANES < 8 or not dtypes <= {torch.float32, torch.bfloat16}:
        return False
    batch, channels, height, width = maps.shape
    fits = channels == kernel.shape[1] and channels % LANES == kernel.shape[0] % LANES == 0
    tiles = batch * ((height + 3) // 4) * ((width + 3) // 4)
    return fits and tiles >= FEWEST_TILES and maps.is_contiguous(memory_format=torch.channels_last)
