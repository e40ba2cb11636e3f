"""The pixels of a polygon as pycocotools finds them, by walking its outline; `maskrcnn.ops.run_length` does it faster.

The outline is drawn on a grid that is five times as fine as the pixels. One walks it point by point and watches where
it passes the middle of a column of pixels. There the mask changes, from the first pixel below that point on: from
outside to inside, or back.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np

FINER = 5
"""Fine points in a pixel. The middle of column 0 lies between the points 2 and 3."""


def from_polygon(polygon: np.ndarray, height: int, width: int) -> list[int]:
    """The run-length counts of the mask (height, width) of a polygon (P, 2)."""
    places = Counter()
    for (x, y), (next_x, next_y) in pairwise(walk_outline(polygon)):
        column, middle = divmod(min(x, next_x), FINER)
        if x != next_x and middle == 2 and 0 <= column < width:
            row = (max(min(y, next_y), 0) + 2) // FINER  # the first whose middle is not above the point
            places[column * height + min(row, height)] += 1
    # Two changes at one place are none, and below the last pixel there is nothing to change.
    changes = sorted(place for place, count in places.items() if count % 2 == 1 and place < height * width)
    return [after - before for before, after in pairwise([0, *changes, height * width])]


def walk_outline(polygon: np.ndarray) -> list[tuple[int, int]]:
    """Every fine point along the closed outline of a polygon (P, 2)."""
    # int() cuts towards zero: below zero this does not round to the nearest, but no pixel lies there.
    corners = [(int(FINER * x + 0.5), int(FINER * y + 0.5)) for x, y in polygon.tolist()]
    outline = []
    for start, end in pairwise([*corners, corners[0]]):
        outline += walk_edge(start, end)
    return outline


def walk_edge(start: tuple[int, int], end: tuple[int, int]) -> list[tuple[int, int]]:
    """The points from start to end: one a step along the longer side, the other coordinate rounded.

    It is always computed in the same direction, so that an edge that two polygons share is the same points for both.
    """
    along_x, along_y = abs(end[0] - start[0]), abs(end[1] - start[1])
    if along_x == along_y == 0:
        return [start]
    axis = 0 if along_x >= along_y else 1
    backwards = start[axis] > end[axis]
    (x1, y1), (x2, y2) = (end, start) if backwards else (start, end)
    if axis == 0:
        slope = (y2 - y1) / along_x
        points = [(x1 + step, int(y1 + slope * step + 0.5)) for step in range(along_x + 1)]
    else:
        slope = (x2 - x1) / along_y
        points = [(int(x1 + slope * step + 0.5), y1 + step) for step in range(along_y + 1)]
    return points[::-1] if backwards else points
