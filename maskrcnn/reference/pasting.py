"""Pasting masks, pixel by pixel (paper section 3.1, "Inference"); `maskrcnn.ops.paste_masks` does it for a batch."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def paste_masks(masks: Tensor, boxes: Tensor, *, height: int, width: int, convention: str) -> Tensor:
    """Masks (N, H, W) bool of one picture from probabilities masks (N, m, m) over boxes (N, 4)."""
    pictures = torch.zeros(len(masks), height, width, dtype=torch.bool)
    for index, (mask, box) in enumerate(zip(masks, boxes, strict=True)):
        probabilities = paste_mask(mask, box, height, width, convention)
        pictures[index] = probabilities > 0.5 if convention == "padded_resize" else probabilities >= 0.5
    return pictures


def paste_mask(mask: Tensor, box: Tensor, height: int, width: int, convention: str) -> Tensor:
    """Probabilities (height, width) of one picture from mask (m, m) over box (4,), 0 outside the box."""
    picture = mask.new_zeros(height, width)
    if not box.isfinite().all():
        return picture
    if convention == "padded_resize":
        cells = len(mask) + 2
        mask, (x1, y1, x2, y2) = torch.nn.functional.pad(mask, (1, 1, 1, 1)), _grow(box, cells / (cells - 2))
    else:
        cells, (x1, y1, x2, y2) = len(mask), box.tolist()
    for row in range(height):
        for column in range(width):
            if convention == "padded_resize":
                if not (x1 <= column <= x2 and y1 <= row <= y2):
                    continue
                # A resize to the pixels x1 .. x2 repeats its outermost cells, so it looks up no further than them.
                x = (column + 0.5 - x1) / (x2 - x1 + 1) * cells - 0.5
                y = (row + 0.5 - y1) / (y2 - y1 + 1) * cells - 0.5
                x, y = min(max(x, 0), cells - 1), min(max(y, 0), cells - 1)
            else:
                if x2 <= x1 or y2 <= y1:
                    continue
                x = (column + 0.5 - x1) / (x2 - x1) * cells - 0.5
                y = (row + 0.5 - y1) / (y2 - y1) * cells - 0.5
            picture[row, column] = _bilinear(mask, x, y)
    return picture


def _bilinear(mask: Tensor, x: float, y: float) -> float:
    """The mask's value at column x and row y, where whole numbers are the middles of cells; 0 outside."""
    value = 0.0
    for row in (math.floor(y), math.floor(y) + 1):
        for column in (math.floor(x), math.floor(x) + 1):
            if 0 <= row < len(mask) and 0 <= column < len(mask):
                value += float(mask[row, column]) * (1 - abs(x - column)) * (1 - abs(y - row))
    return value


def _grow(box: Tensor, factor: float) -> tuple[int, ...]:
    """The box, `factor` times as large about its centre, its corners truncated to whole pixels."""
    x1, y1, x2, y2 = box.tolist()
    half_width, half_height = (x2 - x1) / 2 * factor, (y2 - y1) / 2 * factor
    centre_x, centre_y = (x1 + x2) / 2, (y1 + y2) / 2
    corners = (centre_x - half_width, centre_y - half_height, centre_x + half_width, centre_y + half_height)
    return tuple(math.trunc(corner) for corner in corners)
