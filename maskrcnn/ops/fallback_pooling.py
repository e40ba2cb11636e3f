"""RoIPool in vectorised PyTorch: what `roi_pool` does where no compiled kernel exists.

The pixels of all bins are gathered, each bin filled up to the size of the largest, and the maximum is taken along
columns, then along rows: of equal ones, that finds the first.
"""

from __future__ import annotations

import torch
from torch import Tensor

_LARGEST_GATHER = 8_000_000
"""Values that are held at a time; a bound on memory, without influence on the result."""


def roi_pool(
    feature: Tensor, rois: Tensor, output_size: int, stride: float, channels_last: bool
) -> tuple[Tensor, Tensor]:
    """`maskrcnn.ops.roi_pool` of feature (B, C, H, W) for rois (B, R, 4), and its argmax (B, R, C, S, S) int32.

    The argmax counts the pixels of a channel row by row, and is -1 for a bin without any.
    """
    batch, channels, height, width = feature.shape
    count = rois.shape[1]
    image = torch.arange(batch, device=rois.device).repeat_interleave(count)
    corners = rois.reshape(-1, 4)
    columns, real_columns = _pixels_of_bins(corners[:, 0], corners[:, 2], 1.0 / stride, width, output_size)
    rows, real_rows = _pixels_of_bins(corners[:, 1], corners[:, 3], 1.0 / stride, height, output_size)

    values_per_roi = max(1, channels * output_size**2 * rows.shape[2] * columns.shape[2])
    pooled, argmax = [feature.new_empty(0, output_size, output_size, channels)], []
    argmax.append(pooled[0].int())
    for part in torch.arange(len(image), device=rois.device).split(max(1, _LARGEST_GATHER // values_per_roi)):
        row, column = rows[part, :, :, None, None], columns[part, None, None]  # (n, S, h, 1, 1) and (n, 1, 1, S, w)
        real = real_rows[part, :, :, None, None] & real_columns[part, None, None]
        values = feature[image[part, None, None, None, None], :, row, column]  # (n, S, h, S, w, C)
        values = values.masked_fill(~real[..., None], -torch.inf)
        # What fills a bin up comes after its pixels, so it is never the first of equals.
        best, which_column = values.max(dim=4)
        best, which_row = best.max(dim=2)  # (n, S, S, C)
        which_column = which_column.gather(2, which_row[:, :, None])[:, :, 0]
        pixel = (row[:, :, :1, 0] + which_row) * width + column[:, 0, :, :, :1] + which_column
        empty = ~real[:, :, 0, :, 0, None]
        pooled.append(best.masked_fill(empty, 0))
        argmax.append(pixel.masked_fill(empty, -1).int())
    shape = (batch, count, output_size, output_size, channels)
    results = (torch.cat(parts).view(shape).permute(0, 1, 4, 2, 3) for parts in (pooled, argmax))
    return tuple(result if channels_last else result.contiguous() for result in results)


def roi_pool_backward(gradient: Tensor, argmax: Tensor, height: int, width: int, channels_last: bool) -> Tensor:
    """The gradient (B, C, H, W) of the feature, in float32 or float64, from that of the result (B, R, C, S, S).

    On a GPU `scatter_add_` sums in whatever order the threads come, unless `torch.use_deterministic_algorithms` is on.
    """
    batch, channels = gradient.shape[0], gradient.shape[2]
    total = gradient.new_zeros(
        (batch, channels, height * width), dtype=torch.promote_types(gradient.dtype, torch.float32)
    )
    pixels = argmax.transpose(1, 2).flatten(2).long()
    values = gradient.transpose(1, 2).flatten(2).to(total.dtype)
    outside = (pixels < 0) | (pixels >= height * width)  # an empty bin has -1
    total.scatter_add_(2, pixels.masked_fill(outside, 0), values.masked_fill(outside, 0))
    total = total.view(batch, channels, height, width)
    return total.contiguous(memory_format=torch.channels_last) if channels_last else total


def _pixels_of_bins(low: Tensor, high: Tensor, scale: float, extent: int, size: int) -> tuple[Tensor, Tensor]:
    """Along one axis, for RoIs (N,): the pixels of each bin (N, S, n), and which of them are real, (N, S, n) bool.

    There is always at least one, real or not.
    """
    start = _round(low * scale)
    length = _round(high * scale) - start + 1
    finite = (start.isfinite() & length.isfinite())[:, None]
    start, length = torch.where(finite, start[:, None], 0), torch.where(finite, length[:, None], 0)
    bin_size = length.clamp(min=1) / size
    bins = torch.arange(size, device=low.device, dtype=low.dtype)
    first = ((bins * bin_size).floor() + start).clamp(0, extent)
    last = (((bins + 1) * bin_size).ceil() + start).clamp(0, extent)
    last = torch.where(finite, last, first)
    most = int((last - first).max().clamp(min=1)) if len(low) > 0 else 1
    pixels = first.long()[..., None] + torch.arange(most, device=low.device)
    return pixels.clamp(max=extent - 1), pixels < last[..., None]


def _round(value: Tensor) -> Tensor:
    """To the nearest whole number, halves away from 0; `torch.round` takes halves to even numbers."""
    whole = value.trunc()
    return whole + torch.where((value - whole).abs() >= 0.5, value.sign(), 0)
