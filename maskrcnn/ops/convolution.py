"""Convolutions: PyTorch's, and on a processor Winograd's algorithm where it takes a fraction of the multiplications."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from maskrcnn.ops import register

LANES = register.extension.widest_lanes() if register.extension is not None else 0
"""Floats in a register of this processor; 0 without compiled ops."""
FEWEST_TILES = 128
"""Of 4 x 4 results. Transforming the kernel takes as long as computing about so many."""


class _Shape(NamedTuple):
    """What there is to a convolution beside its numbers."""

    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int


def convolve(
    maps: Tensor,
    kernel: Tensor,
    bias: Tensor | None = None,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
    scale: Tensor | None = None,
    transformed: Tensor | None = None,
) -> Tensor:
    """`torch.nn.functional.conv2d`: maps (B, I, H, W), kernel (O, I / groups, h, w), bias (O,) -> (B, O, H', W').

    On a processor with wide registers, a 3 x 3 kernel that keeps the size of large maps, channels last in memory, goes
    by Winograd's algorithm F(4 x 4, 3 x 3) (arXiv 1509.09308): a quarter of the multiplications, and the same up to
    rounding. Maps are float32 or bfloat16; either is computed in float32, and weights are not rounded to bfloat16.

    scale (O,) is a factor of the kernel of each output channel. Its products are made again for the gradient instead
    of being kept until then: of a whole backbone they would take as much memory as its weights.

    transformed: what `transformed_kernel` made of this kernel, so that it need not be made again. It is taken only
    where there is no scale and the kernel is an inference tensor, into which nothing was written since, unless in
    `torch.inference_mode`.
    """
    shape = _Shape(stride, padding, dilation, groups)
    maps = _as_computed(maps)
    learning = any(value is not None and value.requires_grad for value in (maps, kernel, bias, scale))
    if torch.is_grad_enabled() and learning and (scale is not None or _goes_by_winograd(maps, kernel, shape)):
        return _Convolution.apply(maps, kernel, bias, scale, shape)
    if transformed is not None and (scale is not None or not kernel.is_inference()):
        transformed = None
    return _convolve(maps, _scaled(kernel, scale), bias, shape, transformed)


def convolve_at(maps: Sequence[Tensor], places: Tensor, kernel: Tensor, bias: Tensor | None = None) -> Tensor:
    """A 3 x 3 convolution, padded by 1, only where its results are asked for: places (B, S) -> (B, S, O).

    maps: L tensors (B, I, H_l, W_l). Places count through all of them, level by level, row by row: place
    H_0 * W_0 + x is the first row of the second. kernel (O, I, 3, 3), bias (O,). A place may be asked for more than
    once; one that is on no map sees nothing but zeros. Nothing is convolved at any other place, on the way there or on
    the way back. Raises ValueError for maps without cells or of other pictures than the places, or another kernel.
    """
    fit = [level.dim() == 4 and level.shape[0] == places.shape[0] and 0 not in level.shape[2:] for level in maps]
    if not fit or not all(fit) or places.dim() != 2 or kernel.shape[2:] != (3, 3):
        raise ValueError(
            f"found maps {[tuple(level.shape) for level in maps]}, places {tuple(places.shape)} and kernel "
            f"{tuple(kernel.shape)}, expected (B, I, H, W) with cells, (B, S) and (O, I, 3, 3)"
        )
    step = torch.arange(-1, 2, device=places.device)
    image = torch.arange(places.shape[0], device=places.device)[:, None, None]
    windows, first = 0, 0
    for level in maps:
        height, width = level.shape[-2:]
        # Each place's nine cells as if it were on this level: (B, S, 9). Cells outside count as zeros, as padding does,
        # and so do all cells of a place on another level, so that the sum over levels is the window itself.
        row = ((places - first) // width)[..., None, None] + step[:, None]
        column = ((places - first) % width)[..., None, None] + step
        on_level = (places >= first) & (places < first + height * width)
        inside = on_level[..., None, None] & (row >= 0) & (row < height) & (column >= 0) & (column < width)
        cell = torch.where(inside, row * width + column, 0).flatten(2)
        values = level.flatten(2).transpose(1, 2)[image, cell]  # (B, S, 9, I)
        windows = windows + values.masked_fill(~inside.flatten(2)[..., None], 0)
        first += height * width
    return F.linear(windows.flatten(2), kernel.permute(0, 2, 3, 1).flatten(1), bias)


class _Convolution(torch.autograd.Function):
    """`convolve` with its gradient."""

    @staticmethod
    def forward(
        ctx: Any, maps: Tensor, kernel: Tensor, bias: Tensor | None, scale: Tensor | None, shape: _Shape
    ) -> Tensor:
        result = _convolve(maps, _scaled(kernel, scale), bias, shape)
        ctx.save_for_backward(maps, kernel, scale)
        ctx.shape = shape
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        maps, kernel, scale = ctx.saved_tensors
        for_maps, for_kernel, for_bias, for_scale = ctx.needs_input_grad[:4]
        used, shape = _scaled(kernel, scale), ctx.shape
        of_maps = of_kernel = of_scale = None
        quick = for_maps and _goes_by_winograd(maps, kernel, shape)
        if quick:  # each pixel gets back what it gave: the kernel turned by half a turn
            gradient = gradient.contiguous(memory_format=torch.channels_last)
            of_maps = convolve(gradient, used.flip(2, 3).transpose(0, 1), None, *shape)
        wanted = [for_maps and not quick, for_kernel or for_scale, False]
        if any(wanted):
            by_pytorch, of_used, _ = torch.ops.aten.convolution_backward(
                gradient, maps, used.to(maps.dtype), None, *shape[:3], False, [0, 0], shape.groups, wanted
            )
            of_maps = of_maps if quick else by_pytorch
            of_kernel = None if of_used is None else of_used.to(kernel.dtype)
        if for_scale:
            of_scale = (of_kernel * kernel).sum(dim=(1, 2, 3))
        if for_kernel:
            of_kernel = _scaled(of_kernel, scale)
        of_bias = gradient.sum(dim=(0, 2, 3), dtype=kernel.dtype) if for_bias else None
        return of_maps, of_kernel if for_kernel else None, of_bias, of_scale, None


def _as_computed(maps: Tensor) -> Tensor:
    """In the dtype that autocast, where it is on, has convolutions computed in; it leaves float64 alone."""
    kind = maps.device.type
    if not torch.amp.is_autocast_available(kind) or not torch.is_autocast_enabled(kind) or maps.dtype == torch.float64:
        return maps
    return maps.to(torch.get_autocast_dtype(kind))


def _scaled(kernel: Tensor, scale: Tensor | None) -> Tensor:
    return kernel if scale is None else (kernel * scale[:, None, None, None]).to(kernel.dtype)


def _convolve(
    maps: Tensor, kernel: Tensor, bias: Tensor | None, shape: _Shape, transformed: Tensor | None = None
) -> Tensor:
    if not _goes_by_winograd(maps, kernel, shape):
        return F.conv2d(maps, kernel, bias, *shape)
    return by_winograd(maps, kernel, bias, transformed)


def by_winograd(maps: Tensor, kernel: Tensor, bias: Tensor | None, transformed: Tensor | None = None) -> Tensor:
    """maps (B, I, H, W), kernel (O, I, 3, 3), bias (O,) -> (B, O, H, W) in the dtype of the maps, padded by 1.

    Whether or not it pays, and without a gradient, which `convolve` has; I and O must be multiples of `LANES`.
    transformed: as for `convolve`.
    """
    bias = None if bias is None else bias.float()
    weights = transformed_kernel(kernel) if transformed is None else transformed
    return torch.ops.maskrcnn.convolve_3x3(maps, weights, bias, kernel.shape[0], 0)


def transformed_kernel(kernel: Tensor) -> Tensor:
    """kernel (O, I, 3, 3) -> its weights at the 36 places of a tile, float32, in an order of this processor's own.

    They are four times as many as the kernel has. I and O must be multiples of `LANES`.
    """
    return torch.ops.maskrcnn.transform_kernel_3x3(kernel.float().permute(2, 3, 1, 0), 0)


def _goes_by_winograd(maps: Tensor, kernel: Tensor, shape: _Shape) -> bool:
    """Whether Winograd's algorithm can and should: whole registers of channels side by side, and many results."""
    if not can_go_by_winograd(kernel, *shape) or maps.device.type != "cpu" or torch.compiler.is_exporting():
        return False  # what is exported is for other processors, and other sizes of maps, too
    if maps.dtype not in (torch.float32, torch.bfloat16) or maps.dim() != 4:
        return False
    batch, channels, height, width = maps.shape
    tiles = batch * ((height + 3) // 4) * ((width + 3) // 4)
    is_many = channels == kernel.shape[1] and tiles >= FEWEST_TILES
    return is_many and maps.is_contiguous(memory_format=torch.channels_last)


def can_go_by_winograd(
    kernel: Tensor, stride: tuple[int, int], padding: tuple[int, int], dilation: tuple[int, int], groups: int
) -> bool:
    """Whether a convolution with a kernel (O, I / groups, h, w) can, on this processor, given maps that are large."""
    keeps_size = kernel.shape[2:] == (3, 3) and (stride, padding, dilation, groups) == ((1, 1), (1, 1), (1, 1), 1)
    return keeps_size and LANES >= 8 and kernel.shape[1] % LANES == kernel.shape[0] % LANES == 0
