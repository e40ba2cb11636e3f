"""The pyramid target of one RoI (Pyramid Mask Text Detector); `maskrcnn.targets.pyramids` does a batch."""

from __future__ import annotations

import torch
from torch import Tensor


def pyramid_target(quadrilateral: Tensor, roi: Tensor, size: int) -> Tensor:
    """Heights (size, size) over an RoI (4,) of the pyramid on a convex quadrilateral (4, 2)."""
    x1, y1, x2, y2 = roi.tolist()
    heights = torch.zeros(size, size, dtype=roi.dtype)
    for row in range(size):
        for column in range(size):
            x, y = x1 + (column + 0.5) * (x2 - x1) / size, y1 + (row + 0.5) * (y2 - y1) / size
            heights[row, column] = pyramid_height(quadrilateral, x, y)
    return heights


def pyramid_height(quadrilateral: Tensor, x: float, y: float) -> float:
    """The height at the point P = (x, y).

    From the centre O, the mean of the corners, P lies between the directions to two neighbouring corners M and N:
    OP = a OM + b ON with a and b not negative. On the line MN, a + b = 1.
    """
    corners = quadrilateral.tolist()
    centre_x, centre_y = (sum(values) / 4 for values in zip(*corners, strict=True))
    px, py = x - centre_x, y - centre_y
    for index in range(4):
        (mx, my), (nx, ny) = ((cx - centre_x, cy - centre_y) for cx, cy in (corners[index], corners[(index + 1) % 4]))
        determinant = mx * ny - my * nx
        if determinant == 0:
            continue
        a, b = (px * ny - py * nx) / determinant, (mx * py - my * px) / determinant
        if a >= 0 and b >= 0:
            return max(1 - (a + b), 0.0)
    return 0.0
