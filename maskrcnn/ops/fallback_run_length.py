"""Run-length codes in vectorised numpy: what `maskrcnn.ops.run_length` runs where there is no compiled extension.

The functions and arguments are those of `csrc/run_length/binding.cpp`. Many codes lie one after another in `counts`
(uint32); code i begins at offsets[i] and ends at offsets[i + 1] (int64). The place of a pixel is its number in COCO's
order, column * height + row. Nothing is checked here but strings: `maskrcnn.ops.run_length` does it.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

_FINER = 5
_MOST_GROUPS = 7


def encode(masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Counts and offsets of masks (N, H, W) uint8."""
    count, height, width = masks.shape
    in_order = (masks != 0).transpose(0, 2, 1).reshape(count, width * height)
    changed = in_order.copy()
    changed[:, 1:] ^= in_order[:, :-1]
    code, place = np.nonzero(changed)
    return _counts_between(code, place, count, height * width)


def decode(counts: np.ndarray, offsets: np.ndarray, height: int, width: int) -> np.ndarray:
    """Masks (N, height, width) uint8 of codes of just as many pixels."""
    in_order = np.repeat(_is_ones(offsets).astype(np.uint8), counts).reshape(-1, width, height)
    return np.ascontiguousarray(in_order.transpose(0, 2, 1))


def merge(counts: np.ndarray, offsets: np.ndarray, intersecting: bool, total: int) -> np.ndarray:
    """The counts (K,) uint32 of the mask of `total` pixels that is 1 wherever one of N >= 1 codes is, or, intersecting,
    wherever all of them are."""
    needed = len(offsets) - 1 if intersecting else 1
    _, start, end = _runs(counts, offsets)
    place, inverse = np.unique(np.concatenate([start, end]), return_inverse=True)
    step = np.repeat([1, -1], len(start))
    inside = np.cumsum(np.bincount(inverse, weights=step, minlength=len(place))) >= needed
    changed = place[inside != np.concatenate([[False], inside[:-1]])[: len(inside)]]
    changed = changed[changed < total]
    return _counts_between(np.zeros(len(changed), dtype=np.int64), changed, 1, total)[0]


def area(counts: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """(N,) int64: how many pixels are 1 in each of N codes."""
    code, start, end = _runs(counts, offsets)
    return np.bincount(code, weights=end - start, minlength=len(offsets) - 1).astype(np.int64)


def box(counts: np.ndarray, offsets: np.ndarray, heights: np.ndarray) -> np.ndarray:
    """(N, 4) int64 x1, y1, x2, y2 of codes with heights (N,); zeros for a mask without a one."""
    code, start, end = _runs(counts, offsets)
    height = heights[code]
    column, last_column = start // height, (end - 1) // height
    # A run that goes on in the next column touches the bottom of this one and the top of that.
    one_column = column == last_column
    top = np.where(one_column, start - column * height, 0)
    bottom = np.where(one_column, end - column * height, height)
    largest = np.iinfo(np.int64).max
    boxes = np.tile(np.array([largest, largest, 0, 0]), (len(heights), 1))
    for side, edge in enumerate((column, top)):
        np.minimum.at(boxes[:, side], code, edge)
    for side, edge in enumerate((last_column + 1, bottom)):
        np.maximum.at(boxes[:, 2 + side], code, edge)
    boxes[boxes[:, 2] == 0] = 0
    return boxes


def iou(
    counts: np.ndarray,
    offsets: np.ndarray,
    other_counts: np.ndarray,
    other_offsets: np.ndarray,
    height: int,
    crowd: np.ndarray,
) -> np.ndarray:
    """(D, G) of the codes with the others: over the union, or, for others of a crowd (G,), over the code's own area."""
    code, start, end = _runs(counts, offsets)
    areas, other_areas = area(counts, offsets), area(other_counts, other_offsets)
    is_ones = _is_ones(other_offsets)
    result = np.zeros((len(areas), len(other_areas)))
    for other, (first, last) in enumerate(pairwise(other_offsets)):
        # How many pixels of the other mask lie before a place: a line that rises along its runs of ones.
        lengths, rises = other_counts[first:last].astype(np.int64), is_ones[first:last]
        begins = np.concatenate([[0], np.cumsum(lengths)])
        ones = np.concatenate([[0], np.cumsum(lengths * rises)])
        rises = np.concatenate([rises, [False]])
        at_end, at_start = (
            ones[run] + rises[run] * (place - begins[run])
            for place in (end, start)
            for run in [np.searchsorted(begins, place, side="right") - 1]
        )
        shared = np.bincount(code, weights=at_end - at_start, minlength=len(areas))
        whole = areas if crowd[other] else areas + other_areas[other] - shared
        result[:, other] = shared / np.maximum(whole, 1)
    return result


def from_polygons(
    points: np.ndarray, offsets: np.ndarray, height: int, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Counts and offsets of polygons whose points (P, 2) float64 lie at offsets[i] up to offsets[i + 1].

    `csrc/run_length/polygon.h` describes the method.
    """
    if len(points) == 0:
        return _counts_between(*np.zeros((2, 0), dtype=np.int64), len(offsets) - 1, height * width)
    start = np.trunc(_FINER * points + 0.5).astype(np.int64)
    following = np.arange(1, len(points) + 1)
    following[offsets[1:] - 1] = offsets[:-1]
    end = start[following]
    along_x, along_y = np.abs(end - start).T
    flat = along_x >= along_y
    backwards = np.where(flat, start[:, 0] > end[:, 0], start[:, 1] > end[:, 1])[:, None]
    start, end = np.where(backwards, end, start), np.where(backwards, start, end)
    left, right = np.minimum(start[:, 0], end[:, 0]), np.maximum(start[:, 0], end[:, 0])
    first = np.maximum((left + 2) // _FINER, 0)
    last = np.minimum((right - 3) // _FINER, width - 1)
    crossings = np.maximum(last - first + 1, 0)

    edge = np.repeat(np.arange(len(points)), crossings)
    column = np.arange(len(edge)) + np.repeat(first - (np.cumsum(crossings) - crossings), crossings)
    y = np.empty_like(column)
    for follow, some in ((_follow_flat, flat[edge]), (_follow_steep, ~flat[edge])):
        y[some] = follow(start[edge[some]], end[edge[some]], column[some])
    row = np.minimum((np.maximum(y, 0) + 2) // _FINER, height)
    polygon = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))[edge]
    # Two changes at one place are none, and below the last pixel there is nothing to change.
    changed, times = np.unique(polygon * (height * width + 1) + column * height + row, return_counts=True)
    polygon, place = np.divmod(changed[times % 2 == 1], height * width + 1)
    real = place < height * width
    return _counts_between(polygon[real], place[real], len(offsets) - 1, height * width)


def _follow_flat(start: np.ndarray, end: np.ndarray, column: np.ndarray) -> np.ndarray:
    """(K,) int64: the y at which edges (K, 2) to (K, 2) that walk along x pass the middles of columns (K,)."""
    slope = (end[:, 1] - start[:, 1]) / (end[:, 0] - start[:, 0])
    step = _FINER * column + 2 - start[:, 0]
    before, after = (start[:, 1] + slope * place + 0.5 for place in (step, step + 1))
    return np.trunc(np.minimum(before, after)).astype(np.int64)


def _follow_steep(start: np.ndarray, end: np.ndarray, column: np.ndarray) -> np.ndarray:
    """(K,) int64: the y at which edges that walk along y pass the middles of columns, that of the last step before."""
    steps = end[:, 1] - start[:, 1]
    slope = (end[:, 0] - start[:, 0]) / steps
    middle = _FINER * column + 2

    def is_before(step: np.ndarray) -> np.ndarray:
        """(K,) bool: whether each of K edges has not yet passed its middle at a step (K,) int64 of its walk."""
        x = start[:, 0] + slope * step + 0.5
        return np.where(slope > 0, x < middle + 1, x >= middle + 1)

    # An estimate that rounding may have put a little off.
    step = np.clip(np.trunc((middle - start[:, 0] + 0.5) / slope), 0, steps - 1).astype(np.int64)
    while (late := (step > 0) & ~is_before(step)).any():
        step -= late
    while (early := (step + 1 < steps) & is_before(step + 1)).any():
        step += early
    return start[:, 1] + step


def to_string(counts: np.ndarray) -> str:
    """COCO's compressed string of the counts (K,) uint32 of one code.

    In the array, each count is a row and each group of five bits a column.
    """
    numbers = counts.astype(np.int64)
    numbers[3:] -= counts[1:-2]
    shifted = numbers[:, None] >> 5 * np.arange(_MOST_GROUPS + 1)
    groups = shifted[:, :-1] & 31
    more = shifted[:, 1:] != np.where(groups & 16, -1, 0)
    needed = np.concatenate([np.ones((len(counts), 1), dtype=bool), more[:, :-1]], axis=1)
    return (ord("0") + groups + 32 * more)[needed].astype(np.uint8).tobytes().decode("ascii")


def from_string(text: bytes) -> np.ndarray:
    """The counts (K,) uint32 in a compressed string.

    Raises ValueError for anything that is no list of counts, and names the first fault from the left.
    """
    bits = np.frombuffer(text, dtype=np.uint8).astype(np.int64) - ord("0")
    foreign = np.flatnonzero((bits < 0) | (bits > 63))[:1]
    bits = bits[: foreign[0] if len(foreign) else len(bits)]  # what is right of it does not matter
    last = np.flatnonzero(bits < 32)
    lengths = np.diff(last, prepend=-1)
    complete = int((lengths > _MOST_GROUPS).argmax()) if (lengths > _MOST_GROUPS).any() else len(last)
    last, lengths = last[:complete], lengths[:complete]
    used = int(lengths.sum())
    group = np.arange(used) - np.repeat(last + 1 - lengths, lengths)
    parts = (bits[:used] & 31) << 5 * group
    values = np.bincount(np.repeat(np.arange(complete), lengths), parts, minlength=complete)
    values = values.astype(np.int64) - ((bits[last] & 16) >> 4 << 5 * lengths)
    for first in (1, 2):  # each is the difference to the one two before, beginning with the fourth
        values[first::2] = np.cumsum(values[first::2])
    for number in np.flatnonzero((values < 0) | (values > 2**32 - 1))[:1]:
        raise ValueError(f"count {number} is {values[number]}, expected 0 to {2**32 - 1}")
    left = len(bits) - used  # characters of a count that is not complete
    if left > _MOST_GROUPS or (left == _MOST_GROUPS and len(foreign)):
        raise ValueError(f"count {complete} has more than {_MOST_GROUPS} characters")
    for at in foreign:
        raise ValueError(f"character {at} is not one of '0' to 'o'")
    if left:
        raise ValueError(f"the string ends within count {complete}")
    return values.astype(np.uint32)


def _is_ones(offsets: np.ndarray) -> np.ndarray:
    """(K,) bool for all K counts of N codes with offsets (N + 1,): every second one of a code counts ones."""
    within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], np.diff(offsets))
    return within % 2 == 1


def _runs(counts: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The R runs of ones: which code each belongs to, the place where it begins, and the one after it, (R,) each."""
    lengths = np.diff(offsets)
    code = np.repeat(np.arange(len(lengths)), lengths)
    end = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
    end = end[1:] - np.repeat(end[offsets[:-1]], lengths)
    real = _is_ones(offsets) & (counts > 0)
    return code[real], (end - counts)[real], end[real]


def _counts_between(code: np.ndarray, place: np.ndarray, count: int, total: int) -> tuple[np.ndarray, np.ndarray]:
    """Counts and offsets of `count` masks of `total` pixels, 0 at first: in order, which one changes at which place."""
    offsets = np.concatenate([[0], np.cumsum(np.bincount(code, minlength=count) + 1)])
    ends = np.full(offsets[-1], total)
    is_last = np.zeros(len(ends), dtype=bool)
    is_last[offsets[1:] - 1] = True
    ends[~is_last] = place
    starts = np.concatenate([[0], ends[:-1]])
    starts[offsets[:-1]] = 0
    return (ends - starts).astype(np.uint32), offsets
