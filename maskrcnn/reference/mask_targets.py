"""The mask target of one RoI, sample by sample (paper section 3, "Mask Representation", and figure 3)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from maskrcnn import boxes as box_functions


def mask_target(mask: Tensor, roi: Tensor, size: int, convention: str) -> Tensor:
    """The target (size, size) in [0, 1] of a whole picture's mask (H, W) of 0 and 1 for an RoI (4,).

    It is RoIAlign of the mask: each bin is the average of as many samples as it has pixels. "soft" and "binary" as in
    `maskrcnn.targets.mask_targets.crop_masks`.
    """
    if convention == "binary":
        roi = box_functions.clip(roi[None], torch.tensor(mask.shape))[0]
    x1, y1, x2, y2 = roi.tolist()
    width, height, shift = x2 - x1, y2 - y1, 0.5
    if convention == "soft":
        width, height, shift = max(width, 1.0), max(height, 1.0), 0.0
    across, down = max(1, math.ceil(width / size)), max(1, math.ceil(height / size))

    target = torch.zeros(size, size, dtype=roi.dtype)
    for row in range(size):
        for column in range(size):
            total = 0.0
            for i in range(down):
                y = y1 - shift + (row + (i + 0.5) / down) * height / size
                for j in range(across):
                    x = x1 - shift + (column + (j + 0.5) / across) * width / size
                    total += _bilinear(mask, x, y)
            target[row, column] = total / (down * across)
    return (target >= 0.5).to(target.dtype) if convention == "binary" else target


def _bilinear(mask: Tensor, x: float, y: float) -> float:
    """RoIAlign's value at column x and row y: the outermost pixels count for one pixel more, beyond that there is 0."""
    height, width = mask.shape
    if not (-1 <= x <= width and -1 <= y <= height):
        return 0.0
    x, y = min(max(x, 0), width - 1), min(max(y, 0), height - 1)
    left, top = math.floor(x), math.floor(y)
    right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
    upper = float(mask[top, left]) * (left + 1 - x) + float(mask[top, right]) * (x - left)
    lower = float(mask[bottom, left]) * (left + 1 - x) + float(mask[bottom, right]) * (x - left)
    return upper * (top + 1 - y) + lower * (y - top)
