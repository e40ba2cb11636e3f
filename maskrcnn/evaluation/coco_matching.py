"""Which detection found which object, by COCO's rules, at many thresholds and for many ranges of size at once.

The rules, for the detections and ground truths of one class in one picture, one IoU threshold and one range of areas:

1. A ground truth is *ignored* if it is a crowd, or if its area lies outside of the range.
2. Detections choose in the order of their scores. Each takes the ground truth with the largest IoU, the last of equals,
   among those that reach the threshold, are not ignored and are still free. If there is none it takes, in the same way,
   an ignored one, and is then ignored itself; a crowd may be taken by any number of detections.
3. A detection that took nothing is ignored if its own area lies outside of the range, and otherwise false.

The loop is in `maskrcnn/reference/average_precision.py`. Only pairs that reach the lowest threshold ever matter, and of
those there are few. They are visited in rounds: the best detection of every class in every picture, then the second,
and so on, each round for all pictures, classes, thresholds and ranges together.
(Rules 1 to 3: https://cocodataset.org/#detection-eval)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

_MOST_PAIRS = 2**18
"""Pairs of a detection and a ground truth that are compared at once."""


@dataclass(frozen=True, eq=False)
class TruthTable:
    """The G ground truths of a data set."""

    image: np.ndarray
    """(G,) int64: the place of its picture among all pictures."""
    category: np.ndarray
    """(G,) int64: the place of its class among all classes."""
    area: np.ndarray
    """(G,) float64, in square pixels."""
    crowd: np.ndarray
    """(G,) bool: may be found any number of times."""
    ignore: np.ndarray
    """(G,) bool: neither a miss nor a hit; crowds, and what the protocol cannot judge."""


@dataclass(frozen=True, eq=False)
class DetectionTable:
    """The D detections of a data set."""

    image: np.ndarray
    """(D,) int64."""
    category: np.ndarray
    """(D,) int64."""
    area: np.ndarray
    """(D,) float64, in square pixels."""
    score: np.ndarray
    """(D,) float64."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """P pairs that are to be compared: of some groups, every detection with every ground truth."""

    detection: np.ndarray
    """(P,) int64: rows of a `DetectionTable`."""
    truth: np.ndarray
    """(P,) int64: rows of a `TruthTable`."""
    blocks: np.ndarray
    """(N, 3) int64, of each group: where its pairs begin, its detections, its ground truths, which run faster."""


Overlap = Callable[[Pairs], np.ndarray]
"""(P,) float64: the IoU of each pair, or what takes its place."""


@dataclass(frozen=True, eq=False)
class Matches:
    """Who took whom."""

    rank: np.ndarray
    """(D,) int64: the place of each detection, by score, among those of its class in its picture."""
    column: np.ndarray
    """(D,) int64: the column of `taken` that is about it."""
    taken: np.ndarray
    """(A, T, N) int64: the ground truth that was taken, or -1, for A ranges of area, T thresholds, and the detections
    that reach any at all; the last column stands for all the others."""
    ignored: np.ndarray
    """(A, G) bool: the ground truths that rule 1 ignores."""

    def of(self, detections: np.ndarray, area: int) -> np.ndarray:
        """(T, N) int64: what N detections took, in one range of areas; -1 for nothing."""
        return self.taken[area][:, self.column[detections]]


def match(
    truths: TruthTable,
    detections: DetectionTable,
    overlap: Overlap,
    thresholds: np.ndarray,
    areas: Sequence[tuple[float, float]],
    most: int,
) -> Matches:
    """Applies the rules above to a data set.

    Args:
        truths, detections: G and D rows.
        overlap: measures pairs.
        thresholds: (T,) of IoU.
        areas: A ranges; both ends belong to them.
        most: how many detections of a class in a picture take part, the best ones.
    """
    # An IoU of 1 may have been rounded.
    limits = np.minimum(thresholds, 1 - 1e-10)
    rank = ranks(detections)
    some = np.flatnonzero(rank < most)
    detection, truth, iou = _candidates(truths, detections, some, overlap, limits.min())
    order = np.lexsort((truth, iou, detection, rank[detection]))
    detection, truth, iou = detection[order], truth[order], iou[order]

    chosen, column = np.unique(detection, return_inverse=True)
    columns = np.full(len(rank), len(chosen))
    columns[chosen] = np.arange(len(chosen))
    taken = np.full((len(areas), len(limits), len(chosen) + 1), -1)
    ignored = np.stack([truths.ignore | outside(truths.area, area) for area in areas])
    free = np.ones((len(areas), len(limits), len(truths.area)), dtype=bool)
    rounds = np.searchsorted(rank[detection], np.arange(most + 1))
    for first, last in pairwise(rounds.tolist()):
        if first == last:
            continue
        these = truth[first:last]
        fits = (free[:, :, these] | truths.crowd[these]) & (iou[first:last] >= limits[:, None])
        # Pairs of one detection lie in the order of their IoU; those that are not ignored come before all others.
        count = last - first
        preference = np.arange(1, count + 1) + count * ~ignored[:, None, these]
        starts = np.flatnonzero(np.diff(detection[first:last], prepend=-1))
        best = np.maximum.reduceat(np.where(fits, preference, 0), starts, axis=2)
        winner = np.where(best > 0, these[(best - 1) % count], -1)
        taken[:, :, column[first:last][starts]] = winner
        area, threshold, place = np.nonzero(best)
        free[area, threshold, winner[area, threshold, place]] = False
    return Matches(rank, columns, taken, ignored)


def ranks(detections: DetectionTable) -> np.ndarray:
    """(D,) int64: the place of each detection, by score, among those of its class in its picture; equals as listed."""
    order = np.lexsort((-detections.score, detections.category, detections.image))
    image, category = detections.image[order], detections.category[order]
    begins = np.ones(len(order), dtype=bool)
    begins[1:] = (image[1:] != image[:-1]) | (category[1:] != category[:-1])
    place = np.arange(len(order))
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = place - np.maximum.accumulate(np.where(begins, place, 0))
    return rank


def outside(area: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """(N,) bool: the areas that do not belong to a range, whose ends do."""
    return (area < limits[0]) | (area > limits[1])


def pairs_within(detection_group: np.ndarray, truth_group: np.ndarray) -> Iterator[Pairs]:
    """All pairs of a detection and a ground truth of the same group, (D,) and (G,) int64, a bounded number at once."""
    detection_order, truth_order = (np.argsort(group, kind="stable") for group in (detection_group, truth_group))
    groups, first, count = np.unique(detection_group[detection_order], return_index=True, return_counts=True)
    truth_first, truth_end = (
        np.searchsorted(truth_group[truth_order], groups, side=side) for side in ("left", "right")
    )
    shared = truth_end > truth_first
    first, count = first[shared], count[shared]
    truth_first, truth_count = truth_first[shared], (truth_end - truth_first)[shared]
    sizes = count * truth_count
    begin = np.cumsum(sizes) - sizes
    cuts = np.flatnonzero(np.diff(begin // _MOST_PAIRS, prepend=-1)).tolist()
    for low, high in pairwise([*cuts, len(first)]):
        size = sizes[low:high]
        block = np.repeat(np.arange(low, high), size)
        within = np.arange(size.sum()) - np.repeat(begin[low:high] - begin[low], size)
        yield Pairs(
            detection_order[first[block] + within // truth_count[block]],
            truth_order[truth_first[block] + within % truth_count[block]],
            np.stack([begin[low:high] - begin[low], count[low:high], truth_count[low:high]], axis=1),
        )


def _candidates(
    truths: TruthTable, detections: DetectionTable, some: np.ndarray, overlap: Overlap, lowest: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pairs of one class in one picture that reach the lowest threshold: detection, ground truth and IoU."""
    classes = 1 + max(truths.category.max(initial=0), detections.category.max(initial=0))
    groups = (table.image * classes + table.category for table in (detections, truths))
    found = [(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0))]
    detection_group, truth_group = groups
    for pairs in pairs_within(detection_group[some], truth_group):
        pairs = Pairs(some[pairs.detection], pairs.truth, pairs.blocks)
        iou = overlap(pairs)
        near = iou >= lowest
        found.append((pairs.detection[near], pairs.truth[near], iou[near]))
    detection, truth, iou = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return detection, truth, iou
