"""Average precision and recall as COCO defines them, of boxes, masks and keypoints.

For each class, IoU threshold and range of areas the detections of all pictures are lined up by score. Going down the
line, recall is the share of ground truths found so far, precision the share of right ones among the detections that are
not ignored. Precision at a recall of 0, 0.01 ... 1 is the best that the line still reaches at that recall or beyond, 0
where it never gets there, and its mean is the average precision. AP is its mean over classes and thresholds; AR is the
mean of the recall at the end of the line. What has no ground truth takes no part in a mean.
(https://cocodataset.org/#detection-eval)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from maskrcnn.evaluation.coco_matching import DetectionTable, Matches, Overlap, TruthTable, match, outside

Kind = Literal["bbox", "segm", "keypoints"]

THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""(T,) IoU, or similarity of keypoints, that makes a match."""
RECALLS = np.linspace(0.0, 1.0, 101)
"""(101,) recall at which precision is read off."""
AREAS = {"all": (0.0, 1e10), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
"""Ranges of areas in square pixels; both ends belong to them."""
KEYPOINT_AREAS = {name: AREAS[name] for name in ("all", "medium", "large")}
"""Keypoints of small people are not judged."""
MOST_DETECTIONS = (1, 10, 100)
"""How many detections of a class in a picture count; the last is what all numbers but AR1 and AR10 take."""
MOST_KEYPOINT_DETECTIONS = (20,)


@dataclass(frozen=True, eq=False)
class AveragePrecision:
    """What a data set scores, of A ranges of areas, T thresholds, R recalls, K classes; NaN without ground truth."""

    kind: Kind
    areas: tuple[str, ...]
    """Names of the ranges."""
    precision: np.ndarray
    """(A, T, R, K) float64 at each of the RECALLS."""
    recall: np.ndarray
    """(A, T, K) float64 at the end."""
    recall_of_best: dict[int, np.ndarray]
    """(T, K) float64, of all areas, when only so many detections of a class in a picture count."""
    ground_truths: np.ndarray
    """(A, K) int64: how many are not ignored."""
    detections: np.ndarray
    """(K,) int64: how many take part."""

    def numbers(self) -> dict[str, float | None]:
        """The 12 numbers of boxes and masks, or the 10 of keypoints; None where there is no ground truth."""
        precision = {name: self.precision[index] for index, name in enumerate(self.areas)}
        recall = {name: self.recall[index] for index, name in enumerate(self.areas)}
        at_50, at_75 = (int(np.abs(THRESHOLDS - threshold).argmin()) for threshold in (0.5, 0.75))
        numbers = {"AP": precision["all"], "AP50": precision["all"][at_50], "AP75": precision["all"][at_75]}
        numbers |= {f"AP{name[0]}": precision[name] for name in self.areas[1:]}
        if self.kind == "keypoints":
            numbers |= {"AR": recall["all"], "AR50": recall["all"][at_50], "AR75": recall["all"][at_75]}
        else:
            numbers |= {f"AR{most}": values for most, values in self.recall_of_best.items()}
        numbers |= {f"AR{name[0]}": recall[name] for name in self.areas[1:]}
        return {name: _mean(values) for name, values in numbers.items()}

    def of_class(self, index: int) -> dict[str, float | None]:
        """The same numbers of one class alone."""
        one = slice(index, index + 1)
        return AveragePrecision(
            self.kind, self.areas, self.precision[..., one], self.recall[..., one],
            {most: values[:, one] for most, values in self.recall_of_best.items()},
            self.ground_truths[:, one], self.detections[one],
        ).numbers()  # fmt: skip

    def why_none(self, name: str) -> str:
        """Why the number of that name is None."""
        size = {area[0]: area for area in self.areas[1:]}.get(name[-1])
        if not self.ground_truths[0].any() or size is None:
            return "no ground truth that counts"
        low, high = AREAS[size]
        limits = f"of {low:.0f} or more" if high == AREAS["all"][1] else f"from {low:.0f} to {high:.0f}"
        return f"no {size} ground truth (area {limits} square pixels)"


def average_precision(
    truths: TruthTable, detections: DetectionTable, overlap: Overlap, kind: Kind, classes: int
) -> tuple[AveragePrecision, Matches]:
    """Scores a data set of K = `classes` classes, and says who matched whom."""
    areas = KEYPOINT_AREAS if kind == "keypoints" else AREAS
    most = MOST_KEYPOINT_DETECTIONS if kind == "keypoints" else MOST_DETECTIONS
    matches = match(truths, detections, overlap, THRESHOLDS, tuple(areas.values()), most[-1])

    shape = len(areas), len(THRESHOLDS)
    precision = np.full((*shape, len(RECALLS), classes), np.nan)
    recall = np.full((*shape, classes), np.nan)
    recall_of_best = {limit: np.full((len(THRESHOLDS), classes), np.nan) for limit in most}
    ground_truths = np.stack([np.bincount(truths.category[~row], minlength=classes) for row in matches.ignored])
    lines = lines_of_classes(detections, matches.rank < most[-1], classes)
    for category, line in enumerate(lines):
        for area, limits in enumerate(areas.values()):
            count = int(ground_truths[area, category])
            if count == 0:
                continue
            right, counted = outcomes(matches, detections, line, area, limits)
            precision[area, :, :, category] = precision_at_recalls(right, counted, count)
            recall[area, :, category] = right.sum(axis=1) / count
            if area == 0:
                for limit, values in recall_of_best.items():
                    values[:, category] = right[:, matches.rank[line] < limit].sum(axis=1) / count
    taking_part = np.array([len(line) for line in lines], dtype=np.int64)
    result = AveragePrecision(kind, tuple(areas), precision, recall, recall_of_best, ground_truths, taking_part)
    return result, matches


def lines_of_classes(detections: DetectionTable, some: np.ndarray, classes: int) -> list[np.ndarray]:
    """For each class the detections among `some` (D,) bool, best first; equals in the order of pictures and rows."""
    chosen = np.flatnonzero(some)
    keys = (column[chosen] for column in (detections.image, -detections.score, detections.category))
    order = chosen[np.lexsort(tuple(keys))]
    return np.split(order, np.searchsorted(detections.category[order], np.arange(1, classes)))


def outcomes(
    matches: Matches, detections: DetectionTable, line: np.ndarray, area: int, limits: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """(T, N) bool, twice, for N detections and one range of areas: whether each is right, and whether it counts."""
    taken = matches.of(line, area)
    counts = ~np.concatenate([matches.ignored[area], [False]])[taken]  # -1 is the last
    counts &= (taken >= 0) | ~outside(detections.area[line], limits)
    return (taken >= 0) & counts, counts


def precision_at_recalls(right: np.ndarray, counts: np.ndarray, ground_truths: int) -> np.ndarray:
    """(T, R) precision at each of the RECALLS.

    Args:
        right, counts: (T, N) bool, of N detections, best first: whether it matched, and whether it is not ignored.
        ground_truths: how many there are to be found, at least 1.
    """
    found = np.cumsum(right, axis=1)
    precision = found / np.maximum(np.cumsum(counts, axis=1), 1)
    reachable = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    reachable = np.concatenate([reachable, np.zeros((len(right), 1))], axis=1)
    recall = found / ground_truths
    return np.stack([row[np.searchsorted(reached, RECALLS)] for row, reached in zip(reachable, recall, strict=True)])


def _mean(values: np.ndarray) -> float | None:
    there = values[~np.isnan(values)]
    return float(there.mean()) if len(there) else None


def class_numbers(result: AveragePrecision, names: Sequence[str]) -> dict[str, dict[str, float | int | None]]:
    """Of each class by its name: its numbers, ground truths and detections."""
    return {
        name: result.of_class(index)
        | {"ground_truths": int(result.ground_truths[0, index]), "detections": int(result.detections[index])}
        for index, name in enumerate(names)
    }
