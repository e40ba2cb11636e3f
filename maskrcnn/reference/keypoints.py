"""Keypoints of one RoI (paper section 5): where to find them, and what a heat map found."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def keypoint_cells(keypoints: Tensor, roi: Tensor, size: int) -> list[int | None]:
    """For each of keypoints (J, 3), its cell row * size + column in a grid over an RoI (4,); None: nothing to learn."""
    x1, y1, x2, y2 = roi.tolist()
    cells_per_x, cells_per_y = (size / (roi[2:] - roi[:2])).tolist()
    cells: list[int | None] = []
    for x, y, visibility in keypoints.tolist():
        if visibility == 0 or not (x1 <= x <= x2 and y1 <= y <= y2):
            cells.append(None)
            continue
        column = size - 1 if x == x2 else math.floor((x - x1) * cells_per_x)
        row = size - 1 if y == y2 else math.floor((y - y1) * cells_per_y)
        cells.append(row * size + column)
    return cells


def decode_keypoints(heat_maps: Tensor, roi: Tensor) -> Tensor:
    """(J, 3) x, y and score of the peaks of heat_maps (J, m, m) over an RoI (4,), each enlarged to the RoI's size."""
    x1, y1, x2, y2 = roi.tolist()
    width, height = max(x2 - x1, 1.0), max(y2 - y1, 1.0)
    columns, rows = math.ceil(width), math.ceil(height)
    points = []
    for heat_map in heat_maps:
        enlarged = F.interpolate(heat_map[None, None], (rows, columns), mode="bicubic", align_corners=False)[0, 0]
        row, column = divmod(int(enlarged.argmax()), columns)
        x = x1 + (column + 0.5) * width / columns
        y = y1 + (row + 0.5) * height / rows
        points.append(torch.tensor([x, y, enlarged[row, column].item()], dtype=heat_maps.dtype))
    return torch.stack(points)
