"""From a bitmap to polygons that draw it again, to the pixel: for masks that come as pixels and move as polygons."""

from __future__ import annotations

from itertools import groupby

import numpy as np

from maskrcnn.data.polygons import area


def bitmap_outlines(bitmap: np.ndarray) -> list[np.ndarray]:
    """The outlines (P, 2) float64 of a bitmap (H, W) bool, along the edges of its pixels, clockwise on the screen.

    One for each group of pixels that hang together by their sides, in the order of their top rows. A hole is part of
    the outline around it: from above, a bridge without width leads straight down to it and back. By the even-odd rule
    the two sides of a bridge cancel, so `rasterize`, and pycocotools' rule as well, give the very same bitmap back.
    """
    corners, following = _outline_corners(np.asarray(bitmap, dtype=bool))
    loops = _loops(following)
    inner = [loop for loop in loops if area(corners[loop]) < 0]
    corners, following = _with_bridges(bitmap, corners, following, inner)
    return [corners[loop].astype(np.float64) for loop in _loops(following)]


def _outline_corners(bitmap: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the outlines turn: N points (N, 2) int64, by rows, and for each the number of the one that follows (N,).

    The pixels inside lie to the right of the way, so outer outlines run clockwise, and those of holes the other way.
    """
    framed = np.pad(bitmap, 1)
    # The four pixels around each point of the grid: a corner has one or three of them, or two that face each other.
    above_left, above_right, below_left, below_right = (
        framed[rows, columns] for rows in (np.s_[:-1], np.s_[1:]) for columns in (np.s_[:-1], np.s_[1:])
    )
    falling = above_left & below_right & ~above_right & ~below_left
    rising = above_right & below_left & ~above_left & ~below_right
    turns = above_left ^ above_right ^ below_left ^ below_right
    y, x = np.nonzero(turns | falling | rising)
    # Where two pixels face each other, two outlines touch: a corner for each, first the one with a way to the left.
    copies = 1 + (falling | rising)[y, x]
    y, x = np.repeat(y, copies), np.repeat(x, copies)
    second = np.diff(y * framed.shape[1] + x, prepend=-1) == 0
    # Each goes with its own pixel: of a falling pair, the pixel on the left is the upper one.
    lower = second ^ rising[y, x]

    # In each row, corners 1 and 2 are the ends of an edge, then 3 and 4; so they are in each column.
    following = np.empty(len(x), dtype=np.int64)
    left, right = np.lexsort((second, x, y)).reshape(-1, 2).T
    rightwards = below_right[y[left], x[left]]  # an upper edge: the pixels are below it
    following[np.where(rightwards, left, right)] = np.where(rightwards, right, left)
    top, bottom = np.lexsort((lower, y, x)).reshape(-1, 2).T
    downwards = below_left[y[top], x[top]]
    following[np.where(downwards, top, bottom)] = np.where(downwards, bottom, top)
    return np.stack([x, y], axis=1), following


def _loops(following: np.ndarray) -> list[list[int]]:
    """The closed ways from point to point, each from its point with the lowest number."""
    successors, seen, loops = following.tolist(), [False] * len(following), []
    for first in range(len(successors)):
        point, loop = first, []
        while not seen[point]:
            seen[point] = True
            loop.append(point)
            point = successors[point]
        if loop:
            loops.append(loop)
    return loops


def _with_bridges(
    bitmap: np.ndarray, corners: np.ndarray, following: np.ndarray, holes: list[list[int]]
) -> tuple[np.ndarray, np.ndarray]:
    """Corners and their followers with the outline of each hole joined to the edge straight above."""
    stride = bitmap.shape[1] + 1
    places = corners[:, 1] * stride + corners[:, 0]
    starts = np.flatnonzero(corners[:, 1] == corners[following, 1])
    left_ends = np.minimum(places[starts], places[following[starts]])
    order = np.argsort(left_ends)
    starts, left_ends = starts[order], left_ends[order]
    bridges = []
    for hole in holes:
        x, y = corners[hole[0]].tolist()
        # Nothing but pixels left and right of the bridge, up to the first edge; pixels that touch the hole at a corner
        # only would belong to it.
        ends_below = np.flatnonzero(~(bitmap[:y, x - 1] & bitmap[:y, x]))
        top = int(ends_below[-1]) + 1 if len(ends_below) else 0
        start = starts[np.searchsorted(left_ends, top * stride + x, side="right") - 1]
        bridges.append((int(start), abs(x - int(corners[start, 0])), (x, top), hole))
    points, successors = corners.tolist(), following.tolist()
    # Several bridges to one edge leave it one after another, in the direction in which it runs.
    for start, along_edge in groupby(sorted(bridges), key=lambda bridge: bridge[0]):
        end, last = successors[start], start
        for _, _, landing, hole in along_edge:
            down, back, up = range(len(points), len(points) + 3)
            points += [landing, points[hole[0]], landing]
            successors[last], last = down, up
            successors[hole[-1]] = back
            successors += [hole[0], up, end]
    return np.array(points, dtype=np.int64).reshape(-1, 2), np.array(successors, dtype=np.int64)
