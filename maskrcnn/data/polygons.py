"""Polygons on a pixel grid: area, bounds, self-crossing, clipping and drawing, and the rectangle around points.

A polygon is a (P, 2) array of x, y corners in continuous pixels: pixel i covers [i, i + 1), y points down. The last
corner is joined to the first. Nothing here assumes a winding or a convex shape.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import shapely


def area(polygon: np.ndarray) -> float:
    """Signed area in square pixels of a polygon (P, 2): positive if its corners run clockwise on the screen.

    Loops of opposite winding cancel, so a figure of eight may have area 0.
    """
    # Plain numbers: for the few corners of a word faster than arrays. Measured from the first corner, so that a small
    # polygon far from the origin loses no digits.
    (x0, y0), *others = polygon.tolist()
    twice = 0.0
    for (xa, ya), (xb, yb) in pairwise(others):
        twice += (xa - x0) * (yb - y0) - (xb - x0) * (ya - y0)
    return twice / 2


def bounds(polygon: np.ndarray) -> np.ndarray:
    """(4,) float64 x1, y1, x2, y2: the smallest box around a polygon (P, 2)."""
    return np.concatenate([polygon.min(axis=0), polygon.max(axis=0)]).astype(np.float64)


def is_simple(polygon: np.ndarray) -> bool:
    """Whether the outline of a polygon (P, 2) neither crosses nor touches itself.

    Repeated neighbouring corners are harmless; a polygon without area is never simple.
    """
    return area(polygon) != 0 and bool(shapely.is_simple(shapely.linearrings(polygon)))


def clip(polygon: np.ndarray, x1: float, y1: float, x2: float, y2: float) -> np.ndarray:
    """The part (P', 2) of a polygon (P, 2) inside the window [x1, x2] x [y1, y2]; P' = 0 when no area is left.

    Winding and the order of the corners stay. When the window cuts a bent polygon into several parts, they stay one
    polygon, joined by stretches along the window's border that enclose nothing: area, bounds and bitmap are those of
    all parts together. (Sutherland and Hodgman, "Reentrant polygon clipping", 1974: cut with one border after another.)
    """
    left, top, right, bottom = bounds(polygon)
    if x1 <= left and y1 <= top and right <= x2 and bottom <= y2:
        return polygon
    if right <= x1 or bottom <= y1 or x2 <= left or y2 <= top:
        return np.zeros((0, 2))
    corners = [(float(x), float(y)) for x, y in polygon]
    for axis, limit, sign in ((0, x1, 1), (1, y1, 1), (0, x2, -1), (1, y2, -1)):
        corners = _cut(corners, axis, limit, sign)
    clipped = np.array(_without_spikes(corners), dtype=np.float64).reshape(-1, 2)
    if len(clipped) < 3 or area(clipped) == 0:
        return np.zeros((0, 2))
    return clipped


def _cut(corners: list[tuple[float, float]], axis: int, limit: float, sign: int) -> list[tuple[float, float]]:
    """What is left of a polygon on the side of a line where sign * (coordinate - limit) >= 0."""
    kept = []
    for start, end in zip(corners, corners[1:] + corners[:1], strict=True):
        before, after = sign * (start[axis] - limit), sign * (end[axis] - limit)
        if before >= 0:
            kept.append(start)
        if before > 0 > after or before < 0 < after:
            along = before / (before - after)
            # The cut coordinate is set, not computed: what is clipped lies inside to the last bit.
            other = start[1 - axis] + along * (end[1 - axis] - start[1 - axis])
            kept.append((limit, other) if axis == 0 else (other, limit))
    return kept


def _without_spikes(corners: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Drops repeated corners and those where the outline turns straight back.

    A part that one border leaves and the next takes away leaves its joint behind, which would spoil the bounds.
    """
    corners, index, steady = list(corners), 0, 0
    while len(corners) >= 3 and steady < len(corners):
        index %= len(corners)
        (x0, y0), (x1, y1), (x2, y2) = corners[index - 1], corners[index], corners[(index + 1) % len(corners)]
        cross = (x1 - x0) * (y2 - y1) - (y1 - y0) * (x2 - x1)
        along = (x1 - x0) * (x2 - x1) + (y1 - y0) * (y2 - y1)
        if cross == 0 and along <= 0:
            del corners[index]
            index, steady = index - 1, 0
        else:
            index, steady = index + 1, steady + 1
    return corners


def rasterize(polygon: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    """Bitmap (y2 - y1, x2 - x1) uint8 of the whole pixels of `box` (x1, y1, x2, y2): 1 where a pixel is inside.

    A pixel belongs to a polygon (P, 2) if its centre does, by the even-odd rule; a centre on the outline belongs to
    the polygon on its right, or below it, so neighbours share no pixel and leave no gap. The integer rectangle
    (x1, y1)-(x2, y2) fills exactly [x1, x2) x [y1, y2).

    Each edge crosses some rows of pixel centres. A crossing flips everything to its right, so all flips are noted
    first and a running exclusive-or along the rows fills the polygon: O(h * (P + w)) without a loop over pixels.
    Raises ValueError if a corner is not finite or the box has corners in the wrong order.
    """
    x1, y1, x2, y2 = box
    if x2 < x1 or y2 < y1:
        raise ValueError(f"found box {box}, expected x1 <= x2 and y1 <= y2")
    if not np.isfinite(polygon).all():
        raise ValueError(f"found a corner that is not finite in {polygon.tolist()}")
    height, width = y2 - y1, x2 - x1
    # From here on, the centre of the first pixel is the origin.
    start = polygon.astype(np.float64) - (x1 + 0.5, y1 + 0.5)
    end = np.concatenate([start[1:], start[:1]])
    # Row r is crossed if one end is above it and the other is not: lower <= r < upper, for either direction.
    row_below = np.clip(np.ceil(start[:, 1]), 0, height).astype(np.int64)
    next_row_below = np.concatenate([row_below[1:], row_below[:1]])
    lower, upper = np.minimum(row_below, next_row_below), np.maximum(row_below, next_row_below)
    crossings = upper - lower
    edge = np.repeat(np.arange(len(polygon)), crossings)
    row = np.arange(len(edge)) + np.repeat(lower - (np.cumsum(crossings) - crossings), crossings)
    # Measured from the upper end of an edge, so that two polygons on either side of it find the very same number.
    upper_end = np.where((start[:, 1] <= end[:, 1])[:, None], start, end)
    # A level edge crosses no row; 1 keeps its slope harmless.
    rise = end[:, 1] - start[:, 1]
    slope = (end[:, 0] - start[:, 0]) / np.where(rise == 0, 1.0, rise)
    x = upper_end[edge, 0] + (row - upper_end[edge, 1]) * slope[edge]
    column = np.clip(np.ceil(x), 0, width).astype(np.int64)
    flips = np.bincount(row * (width + 1) + column, minlength=height * (width + 1)) & 1
    flips = flips.astype(np.uint8).reshape(height, width + 1)[:, :width]
    return np.bitwise_xor.accumulate(flips, axis=1)


def rasterize_parts(polygons: Sequence[np.ndarray], box: tuple[int, int, int, int]) -> np.ndarray:
    """Bitmap as of `rasterize`, of an object of one or more polygons (P, 2): 1 where a pixel is inside any of them."""
    bitmap = rasterize(polygons[0], box)
    for polygon in polygons[1:]:
        bitmap |= rasterize(polygon, box)
    return bitmap


def pixel_box(polygon: np.ndarray, height: int, width: int) -> tuple[int, int, int, int]:
    """The whole pixels x1, y1, x2, y2 of an H x W picture that a polygon (P, 2) may touch; empty if it is outside."""
    x1, y1, x2, y2 = bounds(polygon)
    left, top = min(max(math.floor(x1), 0), width), min(max(math.floor(y1), 0), height)
    return left, top, max(min(math.ceil(x2), width), left), max(min(math.ceil(y2), height), top)


def minimum_area_rectangle(points: np.ndarray) -> np.ndarray:
    """The rectangle (4, 2) of least area around points (N >= 1, 2); points on a line give one without width.

    One side of it lies on a side of the convex hull (Freeman and Shapira, "Determining the minimum-area encasing
    rectangle for an arbitrary closed curve", 1975), so each side of the hull is tried as direction.
    """
    # A closed line, because a line of one point is none.
    hull = shapely.get_coordinates(shapely.convex_hull(shapely.linestrings(np.concatenate([points, points[:1]]))))
    sides = np.diff(hull, axis=0)
    if not len(sides):
        return np.repeat(hull, 4, axis=0)
    along = sides / np.hypot(*sides.T)[:, None]
    across = np.stack([-along[:, 1], along[:, 0]], axis=1)
    # (sides, points): how far each point lies along and across each direction.
    u, v = along @ hull.T, across @ hull.T
    left, right, top, bottom = u.min(axis=1), u.max(axis=1), v.min(axis=1), v.max(axis=1)
    best = ((right - left) * (bottom - top)).argmin()
    left, right, top, bottom = left[best], right[best], top[best], bottom[best]
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    return from_top_left(corners @ np.stack([along[best], across[best]]))


def convex_quadrilateral(polygon: np.ndarray) -> np.ndarray:
    """Four corners (4, 2), in order, of a convex quadrilateral that stands for a polygon (P, 2).

    It is the polygon itself if that has four corners and is convex, as nearly all words of ICDAR have. Otherwise, for
    bent lines, corners in a wrong order, and words that the border of a crop has cut into three or five corners, it is
    the minimum-area rectangle: what a detector of quadrilaterals finds of them at best, and is scored with.
    """
    if len(polygon) == 4:
        side = np.roll(polygon, -1, axis=0) - polygon
        following = np.roll(side, -1, axis=0)
        turn = side[:, 0] * following[:, 1] - side[:, 1] * following[:, 0]
        if (turn > 0).all() or (turn < 0).all():
            return polygon
    return minimum_area_rectangle(polygon)


def from_top_left(polygon: np.ndarray) -> np.ndarray:
    """The same corners, starting with the smallest x + y; of equals, as in a square on its tip, the upper one."""
    x, y = polygon.T
    return np.roll(polygon, -np.lexsort((y, np.round(x + y, 6)))[0], axis=0)
