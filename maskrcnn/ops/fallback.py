"""The custom ops in vectorised PyTorch: what runs where no compiled kernel exists.

These functions know nothing of autograd and check nothing: `maskrcnn.ops` does both for every implementation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from maskrcnn.boxes import iou

_LARGEST_MATRIX = 8_000_000
"""Entries of the RoIAlign matrix that are held at a time; a bound on memory, without influence on the result."""


def nms(boxes: Tensor, scores: Tensor, groups: Tensor | None, iou_threshold: float, max_keep: int) -> Tensor:
    """`maskrcnn.ops.nms` for boxes (B, N, 4), scores (B, N) and groups (B, N).

    One step finds the next survivor of every image at once: the best candidate that is left survives, and takes
    those that it overlaps out of the race.
    """
    batch, count = scores.shape
    keep = torch.full((batch, max_keep), -1, dtype=torch.int64, device=boxes.device)
    candidate = ~(scores.isnan() | boxes.isnan().any(dim=-1))
    remaining = scores.masked_fill(~candidate, -torch.inf)
    for slot in range(min(max_keep, count)):
        best_score, best = remaining.max(dim=-1, keepdim=True)  # (B, 1) each; the first of equal scores wins
        found = best_score > -torch.inf
        if boxes.device.type == "cpu" and not found.any():  # elsewhere the question would cost more than the answer
            break
        keep[:, slot : slot + 1] = torch.where(found, best, -1)
        best_box = boxes.gather(1, best[..., None].expand(-1, -1, 4))
        suppressed = iou(best_box, boxes)[:, 0] > iou_threshold
        if groups is not None:
            suppressed &= groups == groups.gather(1, best)
        remaining = remaining.masked_fill(suppressed, -torch.inf).scatter(1, best, -torch.inf)
    return keep


def pyramid_roi_align(
    features: Sequence[Tensor],
    rois: Tensor,
    output_size: int,
    strides: Sequence[float],
    sampling_ratio: int,
    aligned: bool,
    finest_size: float,
    channels_last: bool,
) -> Tensor:
    """`maskrcnn.ops.pyramid_roi_align`, as a product of matrices: L levels (B, C, H_l, W_l), RoIs (B, R, 4) -> pooled.

    RoIAlign is linear in the features: each output bin is a weighted sum of pixels. With one row per bin and one
    column per pixel of the pyramid, the weights form a sparse matrix, and pooling is its product with the pixels.
    """
    sizes = [tuple(level.shape[2:]) for level in features]
    pixels = torch.cat([level.permute(0, 2, 3, 1).flatten(0, 2) for level in features]).to(rois.dtype)
    bins = [
        torch.sparse.mm(matrix, pixels)
        for matrix in _pooling_matrices(rois, sizes, output_size, strides, sampling_ratio, aligned, finest_size)
    ]
    batch, count = rois.shape[:2]
    channels = pixels.shape[1]
    pooled = torch.cat(bins) if bins else pixels.new_zeros((0, channels))
    pooled = pooled.view(batch, count, output_size, output_size, channels).permute(0, 1, 4, 2, 3)
    return pooled.to(features[0].dtype, copy=True) if channels_last else pooled.to(features[0].dtype).contiguous()


def pyramid_roi_align_backward(
    gradient: Tensor,
    rois: Tensor,
    heights: Sequence[int],
    widths: Sequence[int],
    output_size: int,
    strides: Sequence[float],
    sampling_ratio: int,
    aligned: bool,
    finest_size: float,
    channels_last: bool,
) -> list[Tensor]:
    """Gradients (B, C, H_l, W_l) of each level from those of the output (B, R, C, S, S), summed in the dtype of `rois`.

    The transposed matrix carries gradients from the bins back to the pixels.
    """
    sizes = list(zip(heights, widths, strict=True))
    batch, channels = rois.shape[0], gradient.shape[2]
    bins = gradient.permute(0, 1, 3, 4, 2).flatten(0, 3).to(rois.dtype)
    pixels = bins.new_zeros((batch * sum(height * width for height, width in sizes), channels))
    first = 0
    for matrix in _pooling_matrices(rois, sizes, output_size, strides, sampling_ratio, aligned, finest_size):
        last = first + matrix.shape[0]
        pixels += torch.sparse.mm(matrix.t(), bins[first:last])
        first = last
    levels = pixels.split([batch * height * width for height, width in sizes])
    gradients = [
        level.view(batch, height, width, channels).permute(0, 3, 1, 2)
        for level, (height, width) in zip(levels, sizes, strict=True)
    ]
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    return [level.to(gradient.dtype, copy=True, memory_format=memory_format) for level in gradients]


def _pooling_matrices(
    rois: Tensor,
    sizes: Sequence[tuple[int, int]],
    output_size: int,
    strides: Sequence[float],
    sampling_ratio: int,
    aligned: bool,
    finest_size: float,
) -> Iterator[Tensor]:
    """Yields sparse matrices (bins of some RoIs, pixels of all levels) that together cover all RoIs in order."""
    batch, count = rois.shape[:2]
    device, dtype = rois.device, rois.dtype
    image = torch.arange(batch, device=device).repeat_interleave(count)
    rois = rois.reshape(-1, 4)
    level = _levels(rois, len(sizes), finest_size)

    heights = torch.tensor([height for height, _ in sizes], device=device)[level]
    widths = torch.tensor([width for _, width in sizes], device=device)[level]
    level_ends = torch.tensor([batch * height * width for height, width in sizes], device=device).cumsum(0)
    level_starts = torch.cat((level_ends.new_zeros(1), level_ends))[level]
    first_pixel = level_starts + image * heights * widths
    pixel_count = int(level_ends[-1])

    scale = torch.tensor([1.0 / stride for stride in strides], device=device, dtype=dtype)[level]
    column, weight_x, taps_x = _axis_weights(
        rois[:, 0], rois[:, 2], scale, widths, output_size, sampling_ratio, aligned
    )
    row, weight_y, taps_y = _axis_weights(rois[:, 1], rois[:, 3], scale, heights, output_size, sampling_ratio, aligned)

    # A bin's entries are its taps in y times its taps in x. Their number differs from RoI to RoI, so they are laid out
    # one after the other, and each is told which bin and which pair of taps it belongs to.
    entries_per_bin = taps_y * taps_x
    part = (entries_per_bin * output_size**2).cumsum(0) // _LARGEST_MATRIX
    part_sizes = part.unique_consecutive(return_counts=True)[1].tolist()
    for selected in torch.arange(len(rois), device=device).split(part_sizes):
        entries = entries_per_bin[selected].repeat_interleave(output_size**2)
        bin_ = torch.arange(len(entries), device=device).repeat_interleave(entries)
        entry = torch.arange(len(bin_), device=device) - (entries.cumsum(0) - entries)[bin_]
        roi = selected[bin_ // output_size**2]
        bin_row, bin_column = bin_ // output_size % output_size, bin_ % output_size
        tap_y, tap_x = entry // taps_x[roi], entry % taps_x[roi]
        pixel = first_pixel[roi] + row[roi, bin_row, tap_y] * widths[roi] + column[roi, bin_column, tap_x]
        weight = weight_y[roi, bin_row, tap_y] * weight_x[roi, bin_column, tap_x]
        used = weight != 0  # a pixel that is not read must not turn the sum into NaN by being infinite
        indices = torch.stack((bin_[used], pixel[used]))
        yield torch.sparse_coo_tensor(indices, weight[used], (len(entries), pixel_count), check_invariants=False)


def _levels(rois: Tensor, level_count: int, finest_size: float) -> Tensor:
    """Level (N,) of each RoI: floor(log2(x)) >= k says the same as x >= 2^k, without the rounding of a logarithm."""
    sides = (rois[:, 2:] - rois[:, :2]).clamp(min=0)
    relative_size = (sides[:, 0] * sides[:, 1]).sqrt() / finest_size + 1e-6
    level = torch.zeros(len(rois), dtype=torch.int64, device=rois.device)
    for k in range(1, level_count):
        level += relative_size >= 2.0**k
    return level


def _axis_weights(
    low: Tensor, high: Tensor, scale: Tensor, extent: Tensor, output_size: int, sampling_ratio: int, aligned: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Along one axis, the pixels that each bin reads and their weights, (N, S, T) each, two taps for every sample.

    Of the T taps only the first (N,) of the third result are in use. All arguments are (N,), one value per RoI.
    """
    length, smallest = (high - low) * scale, 0.0 if aligned else 1.0
    bin_size = torch.where(length > smallest, length, smallest) / output_size  # never -0, which clamp leaves
    per_bin = torch.full_like(bin_size, sampling_ratio) if sampling_ratio > 0 else bin_size.ceil()
    finite = low.isfinite() & high.isfinite() & bin_size.isfinite()
    per_bin, bin_size = torch.where(finite, per_bin, 0), torch.where(finite, bin_size, 0)
    spacing = bin_size / per_bin.clamp(min=1)
    start = torch.where(finite, low * scale - (0.5 if aligned else 0.0), 0)
    bin_start = start[:, None] + torch.arange(output_size, device=low.device, dtype=low.dtype) * bin_size[:, None]

    # An RoI can have billions of samples, but only so many fit into the level (and a few more, for rounding).
    visited = torch.minimum(per_bin, ((extent + 1) / spacing).ceil() + 3)
    before = ((-1 - bin_start) / spacing[:, None]).floor() - 1
    first = torch.where(before > 0, torch.minimum(before, per_bin[:, None]), 0)
    most = int(visited.max()) if len(low) > 0 else 0
    sample = first[..., None] + torch.arange(most, device=low.device, dtype=low.dtype)
    position = bin_start[..., None] + (sample + 0.5) * spacing[:, None, None]

    extent = extent[:, None, None]
    inside = (position >= -1) & (position <= extent) & (sample < per_bin[:, None, None])
    position = torch.where(inside, position, 0).clamp(min=0)
    before_end = position.to(torch.int64).clamp(max=extent - 1)
    after = (before_end + 1).clamp(max=extent - 1)
    fraction = torch.where(before_end < extent - 1, position - before_end, 0)
    share = inside / per_bin.clamp(min=1)[:, None, None]
    pixels = torch.stack((before_end, after), dim=-1).flatten(2)
    weights = torch.stack(((1 - fraction) * share, fraction * share), dim=-1).flatten(2)
    return pixels, weights, 2 * visited.to(torch.int64)
