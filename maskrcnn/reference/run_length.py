"""Run-length codes of masks, pixel by pixel and run by run; `maskrcnn.ops.run_length` does it for many at once.

COCO stores a mask as counts: so many pixels that are 0, then so many that are 1, then 0 again and so on, down the first
column, then down the second. The first count is always of zeros, so it is 0 if the first pixel is 1. Here a code is
just its list of counts.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def encode(mask: np.ndarray) -> list[int]:
    """The counts of a mask (H, W), in which any number but 0 counts as 1."""
    height, width = mask.shape
    counts, value, length = [], False, 0
    for column in range(width):
        for row in range(height):
            if bool(mask[row, column]) != value:
                counts.append(length)
                value, length = not value, 0
            length += 1
    return [*counts, length]


def decode(counts: list[int], height: int, width: int) -> np.ndarray:
    """The mask (height, width) bool."""
    mask = np.zeros((height, width), dtype=bool)
    place = 0
    for index, count in enumerate(counts):
        for _ in range(count):
            mask[place % height, place // height] = index % 2 == 1
            place += 1
    return mask


def area(counts: list[int]) -> int:
    """How many pixels are 1."""
    return sum(counts[1::2])


def box(counts: list[int], height: int, width: int) -> tuple[int, int, int, int]:
    """The smallest x1, y1, x2, y2 around all pixels that are 1; zeros if there are none."""
    rows, columns = decode(counts, height, width).nonzero()
    if len(rows) == 0:
        return 0, 0, 0, 0
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


def merge(codes: list[list[int]], intersect: bool = False) -> list[int]:
    """The counts of the pixels that are 1 in any of the codes, or, to intersect, in all of them."""
    merged = codes[0]
    for code in codes[1:]:
        counts, value = [0], False
        for length, in_one, in_other in _walk_together(merged, code):
            inside = in_one and in_other if intersect else in_one or in_other
            if inside != value:
                counts.append(0)
                value = inside
            counts[-1] += length
        merged = counts
    return merged


def iou(detection: list[int], ground_truth: list[int], crowd: bool = False) -> float:
    """Intersection over union; over the area of the detection if the ground truth is a crowd."""
    shared = union = 0
    for length, in_one, in_other in _walk_together(detection, ground_truth):
        shared += length * (in_one and in_other)
        union += length * (in_one or in_other)
    return shared / max(area(detection) if crowd else union, 1)


def _walk_together(counts: list[int], others: list[int]) -> Iterator[tuple[int, bool, bool]]:
    """Stretches along which neither mask changes: how long, and whether they are 1 in the one and in the other."""
    index, left = 0, counts[0]
    other_index, other_left = 0, others[0]
    while True:
        length = min(left, other_left)
        if length > 0:
            yield length, index % 2 == 1, other_index % 2 == 1
        left, other_left = left - length, other_left - length
        if left == 0 and index + 1 < len(counts):
            index, left = index + 1, counts[index + 1]
        elif other_left == 0 and other_index + 1 < len(others):
            other_index, other_left = other_index + 1, others[other_index + 1]
        elif left == 0 or other_left == 0:
            return
