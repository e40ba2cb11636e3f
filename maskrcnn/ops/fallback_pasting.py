"""Pasting in vectorised PyTorch: what `paste_masks` does where no compiled kernel exists.

The picture's mask is bilinear in the small one, and the two axes are alike and apart: stretch the rows of cells to the
picture's width, then blend, for each row of pixels, the two stretched rows that it lies between.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def paste_masks(masks: Tensor, boxes: Tensor, height: int, width: int, padded_resize: bool) -> Tensor:
    """`maskrcnn.ops.paste_masks` for masks (N, m, m) and boxes (N, 4).

    One picture of probabilities exists at a time: a hundred of them at two megapixels would need 800 MB.
    """
    pictures = torch.empty(len(masks), height, width, dtype=torch.bool, device=masks.device)
    for picture, mask, box in zip(pictures, masks, boxes, strict=True):
        probabilities = paste_mask(mask, box, height, width, padded_resize)
        picture.copy_(probabilities > 0.5 if padded_resize else probabilities >= 0.5)
    return pictures


def paste_mask(mask: Tensor, box: Tensor, height: int, width: int, padded_resize: bool) -> Tensor:
    """Probabilities (height, width) of one picture from mask (m, m) over box (4,), 0 outside."""
    cells = len(mask)
    mask = F.pad(mask, (1, 1, 1, 1))  # a mask fades out over its edge
    column, part = _cell_positions(box[0], box[2], width, cells, padded_resize)
    stretched = (1 - part) * mask[:, column] + part * mask[:, column + 1]  # (m + 2, width)
    row, part = _cell_positions(box[1], box[3], height, cells, padded_resize)
    return (1 - part[:, None]) * stretched[row] + part[:, None] * stretched[row + 1]


def _cell_positions(low: Tensor, high: Tensor, length: int, cells: int, padded_resize: bool) -> tuple[Tensor, Tensor]:
    """For the centre of each of `length` pixels, the padded mask's cell before it, and its part of the way to the next.

    A pixel outside the box gets cell 0, which is empty, and nothing of the next.
    """
    pixels = torch.arange(length, device=low.device, dtype=low.dtype)
    if padded_resize:
        centre, half = (low + high) / 2, (high - low) / 2 * ((cells + 2) / cells)
        low, high = (centre - half).trunc(), (centre + half).trunc() + 1  # the last pixel belongs to the box
        extent = high - low
        # Not `(cells + 2) / extent`: a number over a tensor is rounded twice, as its reciprocal and as a product.
        position, ring = (pixels - low + 0.5) * (torch.full_like(extent, cells + 2) / extent) - 0.5, 0
    else:
        extent = high - low
        position, ring = (pixels + 0.5 - low) / extent * cells - 0.5, -1
    inside = (extent > 0) & extent.isfinite() & (position >= ring) & (position < ring + cells + 1)
    position = torch.where(inside, position, ring)
    before = position.floor()
    return (before - ring).long(), position - before
