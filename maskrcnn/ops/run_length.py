"""Run-length codes: masks as COCO stores them, and what can be asked of masks without unpacking them.

A mask is scanned down each column, then down the next; its code counts how many pixels are 0, then 1, then 0 and so on.
A code is small, and areas, boxes and overlaps follow from it by walking the runs instead of the pixels. The loops are
in `maskrcnn/reference/run_length.py`, `counts_string.py` and `polygon_masks.py`. The same functions exist in C++
(`csrc/run_length/`), parallel over masks, and in numpy (`fallback_run_length.py`) for where that is not compiled; all
of them give the very numbers of pycocotools. Everything here is numpy, on the CPU.
"""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from maskrcnn.ops import fallback_run_length, register

MOST_PIXELS = 2**30
"""How many pixels are unpacked at once, which takes as many bytes. A code of a few bytes can claim far more."""

_MOST_COUNT = 2**32 - 1
_FARTHEST = 1e8
"""Largest coordinate of a polygon: five times as many still fit in 32 bits, which pycocotools reckons with."""
_MOST_CROSSINGS = 2**28
"""How often the polygons of one call may cross a column of pixels; each crossing takes four bytes."""

kernels = fallback_run_length if register.extension is None else register.extension.run_length
"""What does the work: the compiled functions, or, without them, those in numpy."""


@dataclass(frozen=True, eq=False)
class RunLengths:
    """The code of one mask, checked: its counts add up to the pixels of the mask."""

    height: int
    """H, at least 1."""
    width: int
    """W, at least 1; there are at most 2^32 - 1 pixels."""
    counts: np.ndarray
    """(K,) uint32, read-only: the lengths of the runs, 0 first. May be given as anything that holds whole numbers."""

    def __post_init__(self) -> None:
        height, width = _checked_size(self.height, self.width)
        counts = np.asarray(self.counts)
        if counts.ndim != 1 or counts.dtype.kind not in "iu":
            raise ValueError(f"run lengths: counts must be a list of whole numbers, found {_describe(self.counts)}")
        if counts.dtype != np.uint32:
            for index in np.flatnonzero((counts < 0) | (counts > _MOST_COUNT))[:1]:
                raise ValueError(f"run lengths: count {index} is {counts[index]}, expected 0 to {_MOST_COUNT}")
            counts = counts.astype(np.uint32)
        elif counts.flags.writeable:
            counts = counts.copy()
        pixels = int(np.add.reduce(counts, dtype=np.uint64))
        if pixels != height * width:
            raise ValueError(
                f"run lengths: the counts add up to {pixels} pixels, expected {height * width} for {height} x {width}"
            )
        counts.flags.writeable = False
        for name, value in (("height", height), ("width", width), ("counts", counts)):
            object.__setattr__(self, name, value)

    def __eq__(self, other: object) -> bool:
        """Whether the codes are the same number for number."""
        if not isinstance(other, RunLengths):
            return NotImplemented
        return self.height == other.height and self.width == other.width and np.array_equal(self.counts, other.counts)


def encode(masks: np.ndarray) -> list[RunLengths]:
    """The codes of N masks.

    Args:
        masks: (N, H, W) bool or uint8, where any number but 0 counts as 1.

    Raises:
        TypeError: masks of another type.
        ValueError: not three dimensions, or no or too many pixels.
    """
    if not isinstance(masks, np.ndarray) or masks.dtype not in (np.bool_, np.uint8):
        found = masks.dtype if isinstance(masks, np.ndarray) else type(masks).__name__
        raise TypeError(f"encode: masks must be an array of bool or uint8, found {found}")
    if masks.ndim != 3:
        raise ValueError(f"encode: masks must be (N, H, W), found {masks.shape}")
    height, width = _checked_size(*masks.shape[1:])
    return _separate(*kernels.encode(np.ascontiguousarray(masks).view(np.uint8)), height, width)


def decode(codes: Sequence[RunLengths]) -> np.ndarray:
    """Masks (N, H, W) bool of N codes of one size; (0, 0, 0) of none.

    Raises ValueError if the sizes differ, or if there are more than `MOST_PIXELS` pixels in all.
    """
    if len(codes) == 0:
        return np.zeros((0, 0, 0), dtype=bool)
    height, width = _common_size("decode", codes)
    _check_memory("decode", len(codes), height, width)
    return kernels.decode(*_join(codes), height, width).view(np.bool_)


def merge(codes: Sequence[RunLengths], *, intersect: bool = False) -> RunLengths:
    """The code of the pixels that are 1 in any of one or more codes of one size, or, to intersect, in all of them."""
    if len(codes) == 0:
        raise ValueError("merge: needs at least one code")
    height, width = _common_size("merge", codes)
    return RunLengths(height, width, kernels.merge(*_join(codes), bool(intersect), height * width))


def area(codes: Sequence[RunLengths]) -> np.ndarray:
    """(N,) int64: how many pixels of each mask are 1."""
    return kernels.area(*_join(codes))


def box(codes: Sequence[RunLengths]) -> np.ndarray:
    """(N, 4) float64 x1, y1, x2, y2: the smallest box around all pixels that are 1; zeros if there are none.

    COCO's own boxes are x1, y1, width, height.
    """
    joined = _join(codes)
    heights = np.array([code.height for code in codes], dtype=np.int64)
    return kernels.box(*joined, heights).astype(np.float64)


def iou(
    detections: Sequence[RunLengths],
    ground_truths: Sequence[RunLengths],
    crowd: Sequence[bool] | np.ndarray | None = None,
) -> np.ndarray:
    """Intersection over union of every detection with every ground truth.

    Args:
        detections: D codes.
        ground_truths: G codes of the same size.
        crowd: (G,) bool or 0 and 1: ground truths that are regions full of objects. A detection that lies in one is
            right, however much of it is left out, so the intersection is divided by the area of the detection.

    Returns:
        (D, G) float64; 0 where no pixel is shared, also by two masks without any.

    Raises:
        ValueError: codes of different sizes, or not as many flags as ground truths.
    """
    flags = np.zeros(len(ground_truths), dtype=bool) if crowd is None else np.asarray(crowd)
    if flags.shape != (len(ground_truths),) or (len(flags) and flags.dtype.kind not in "biu"):
        raise ValueError(f"iou: crowd must be {len(ground_truths)} flags, found {_describe(crowd)}")
    height = _common_size("iou", [*detections, *ground_truths])[0] if len(detections) or len(ground_truths) else 1
    return kernels.iou(*_join(detections), *_join(ground_truths), height, flags.astype(bool))


def from_polygons(polygons: Sequence[np.ndarray | Sequence], height: int, width: int) -> list[RunLengths]:
    """The codes of the masks (height, width) that polygons cover, pixel for pixel as pycocotools draws them.

    Each polygon is (P, 2), or, as COCO writes it, a flat list of 2 P numbers x, y; P >= 3. It may leave the image.
    A pixel belongs to it, give or take a fifth of a pixel, if its centre does, by the even-odd rule: the integer
    rectangle (x1, y1)-(x2, y2) fills exactly [x1, x2) x [y1, y2). An object of several polygons is the `merge` of
    their codes.

    Raises ValueError for a polygon with fewer points, half a point, or anything but numbers up to 10^8, for an
    impossible size, and for polygons that zigzag so much that they would not fit in memory.
    """
    height, width = _checked_size(height, width)
    points, offsets = _join_polygons(polygons)
    following = np.arange(1, len(points) + 1)
    following[offsets[1:] - 1] = offsets[:-1]
    crossings = np.minimum(np.abs(points[following, 0] - points[:, 0]) + 1, width).sum()
    if crossings > _MOST_CROSSINGS:
        raise ValueError(
            f"from_polygons: the polygons cross up to {crossings:.0f} columns of pixels, "
            f"expected at most {_MOST_CROSSINGS} at once"
        )
    return _separate(*kernels.from_polygons(points, offsets, height, width), height, width)


def rasterize_polygons(polygons: Sequence[np.ndarray | Sequence], height: int, width: int) -> np.ndarray:
    """Masks (N, height, width) bool of N polygons, as `from_polygons` draws them, and raises.

    Raises ValueError as well for more than `MOST_PIXELS` pixels in all.
    """
    height, width = _checked_size(height, width)
    _check_memory("rasterize_polygons", len(polygons), height, width)
    codes = from_polygons(polygons, height, width)
    return decode(codes) if codes else np.zeros((0, height, width), dtype=bool)


def to_string(code: RunLengths) -> str:
    """The counts as COCO's compressed string, which JSON files of results hold."""
    return kernels.to_string(code.counts)


def from_string(text: str | bytes, height: int, width: int) -> RunLengths:
    """The code of a mask (height, width) from COCO's compressed string.

    Raises ValueError for a string that is damaged, or whose counts do not add up to the pixels.
    """
    if not isinstance(text, str | bytes):
        raise ValueError(f"run lengths: compressed counts must be a string, found {type(text).__name__}")
    try:
        counts = kernels.from_string(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text)
    except ValueError as error:
        raise ValueError(f"run lengths: {error}") from None
    counts.flags.writeable = False  # so that the code may keep them as they are
    return RunLengths(height, width, counts)


def _checked_size(height: object, width: object) -> tuple[int, int]:
    if type(height) is type(width) is int and height > 0 and width > 0 and height * width <= _MOST_COUNT:
        return height, width  # files of results hold a million codes
    for name, side in (("height", height), ("width", width)):
        if not isinstance(side, int | np.integer) or isinstance(side, bool):
            raise ValueError(f"run lengths: {name} must be a whole number, found {_describe(side)}")
    height, width = int(height), int(width)
    if height < 1 or width < 1 or height * width > _MOST_COUNT:
        raise ValueError(
            f"run lengths: found height {height} and width {width}, expected 1 or more and at most {_MOST_COUNT} pixels"
        )
    return height, width


def _check_memory(name: str, count: int, height: int, width: int) -> None:
    if count * height * width > MOST_PIXELS:
        raise ValueError(
            f"{name}: {count} masks of {height} x {width} have {count * height * width} pixels, "
            f"expected at most {MOST_PIXELS} at once"
        )


def _common_size(name: str, codes: Sequence[RunLengths]) -> tuple[int, int]:
    _check_codes(codes)
    size = codes[0].height, codes[0].width
    for index, code in enumerate(codes):
        if (code.height, code.width) != size:
            raise ValueError(
                f"{name}: masks must have one size, found {size[0]} x {size[1]} and, at {index}, "
                f"{code.height} x {code.width}"
            )
    return size


def _check_codes(codes: Sequence[RunLengths]) -> None:
    """Raises TypeError for a list with anything but codes in it."""
    for index, code in enumerate(codes):
        if not isinstance(code, RunLengths):
            raise TypeError(f"run lengths: expected codes, found at {index} {_describe(code)}")


def _join(codes: Sequence[RunLengths]) -> tuple[np.ndarray, np.ndarray]:
    """All counts one after another, and where each code begins (N + 1)."""
    _check_codes(codes)
    lengths = [len(code.counts) for code in codes]
    counts = np.concatenate([code.counts for code in codes]) if codes else np.zeros(0, dtype=np.uint32)
    return counts, np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])


def _separate(counts: np.ndarray, offsets: np.ndarray, height: int, width: int) -> list[RunLengths]:
    counts.flags.writeable = False  # so that each code may keep its part as it is
    ends = offsets.tolist()
    return [RunLengths(height, width, counts[start:end]) for start, end in pairwise(ends)]


def _join_polygons(polygons: Sequence[np.ndarray | Sequence]) -> tuple[np.ndarray, np.ndarray]:
    """All points (P, 2) float64 one after another, and where each polygon begins (N + 1)."""
    arrays = [_points_of(polygon, index) for index, polygon in enumerate(polygons)]
    points = np.concatenate(arrays) if arrays else np.zeros((0, 2))
    return points, np.concatenate([[0], np.cumsum([len(array) for array in arrays], dtype=np.int64)])


def _points_of(polygon: np.ndarray | Sequence, index: int) -> np.ndarray:
    try:
        points = np.asarray(polygon)
    except ValueError:  # rows of different lengths
        points = np.zeros(0, dtype=object)
    if points.dtype.kind not in "iuf":
        raise ValueError(f"polygon {index}: expected numbers x, y, found {_describe(polygon)}")
    if points.ndim == 1 and len(points) % 2:
        raise ValueError(f"polygon {index}: expected pairs x, y, found {len(points)} numbers")
    if points.ndim == 1:
        points = points.reshape(-1, 2)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 3:
        raise ValueError(f"polygon {index}: expected (P >= 3, 2) points, found {points.shape}")
    points = points.astype(np.float64)
    for row, column in np.argwhere(~(np.abs(points) <= _FARTHEST))[:1]:  # true for NaN, too
        raise ValueError(f"polygon {index}: point {row} has the coordinate {points[row, column]}, expected at most 1e8")
    return points


def _describe(value: object) -> str:
    """What a user gave, in a few words."""
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} {value.shape}"
    return reprlib.repr(value)
