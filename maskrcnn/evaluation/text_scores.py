"""Recall, precision and hmean of text detection by the ICDAR rules, and MMOCR's sweep over score thresholds.

The rules, for one picture:

1. A detection is *ignored* if more than half of its area lies on one don't-care region (transcription `###`).
2. Ground truths are visited in file order, detections in their own order; the *first* pair in which both are
   still free, neither is don't-care or ignored, and IoU > 0.5, is a match. It is not the best pair: that is the rule.
3. recall = matches / legible ground truths, precision = matches / detections that are not ignored,
   hmean = their harmonic mean, all counted over the whole data set.

Two protocols share them. "official" is the script of the Robust Reading Competition (ICDAR2015 task 4.1): coordinates
are cut to integers and nothing is chosen. "sweep" is what MMOCR reports: coordinates as they are, and the best of seven
score thresholds, chosen on the very images that are scored.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import shapely

IOU_CONSTRAINT = 0.5
"""A match needs an IoU above this; exactly this is a miss."""
AREA_PRECISION_CONSTRAINT = 0.5
"""A detection is ignored if a share above this lies on one don't-care region."""
ROUNDING = 1e-10
"""A ratio above one half by less than this is one half: crossings of slanted edges are rounded, and a tie is a miss."""
SWEEP_THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""The score thresholds among which MMOCR reports the best."""
SWEEP_FLOOR = 0.3
"""Before sweeping, MMOCR drops every detection whose score is not above this."""
FINE_THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 20))
"""0.05, 0.10 ... 0.95: for choosing a threshold on one set of images and using it on another."""

Rules = Literal["official", "sweep"]


@dataclass(frozen=True)
class ImageTexts:
    """What is written in one picture and what was found in it."""

    name: str
    """What errors call this picture."""
    ground_truths: Sequence[np.ndarray]
    """G polygons (P, 2), don't-care ones among them, in file order."""
    ignore: np.ndarray
    """(G,) bool: the don't-care regions."""
    detections: Sequence[np.ndarray]
    """D polygons (P, 2), in the order of the result file."""
    scores: np.ndarray | None
    """(D,) float, or None where the results declare no confidences."""

    def __post_init__(self) -> None:
        if np.shape(self.ignore) != (len(self.ground_truths),):
            raise ValueError(
                f"{self.name}: {len(self.ground_truths)} ground truths need as many ignore flags, "
                f"found {np.shape(self.ignore)}"
            )
        if self.scores is not None and np.shape(self.scores) != (len(self.detections),):
            raise ValueError(
                f"{self.name}: {len(self.detections)} detections need as many scores, found {np.shape(self.scores)}"
            )
        if self.scores is not None and not np.isfinite(self.scores).all():
            raise ValueError(f"{self.name}: scores must be finite, found {self.scores.tolist()}")
        for polygon in (*self.ground_truths, *self.detections):
            if polygon.ndim != 2 or polygon.shape[0] < 3 or polygon.shape[1] != 2:
                raise ValueError(f"{self.name}: a polygon must be (P >= 3, 2), found {polygon.shape}")
            if not np.isfinite(polygon).all():
                raise ValueError(f"{self.name}: coordinates must be finite, found {polygon.tolist()}")


@dataclass(frozen=True)
class ImageMatches:
    """Who matched whom in one picture: what the scores count and what a drawing colours."""

    matched_ground_truth: np.ndarray
    """(D,) int64: the ground truth that each detection matches, -1 for none."""
    matched_detection: np.ndarray
    """(G,) int64: the detection that matches each ground truth, -1 for none."""
    ignored: np.ndarray
    """(D,) bool: the detections that lie on a don't-care region and count neither for nor against."""
    ignore: np.ndarray
    """(G,) bool: the don't-care regions."""

    @property
    def matched(self) -> int:
        """Number of matched pairs."""
        return int((self.matched_ground_truth >= 0).sum())

    @property
    def counts(self) -> tuple[int, int, int]:
        """Matched pairs, ground truths that count, detections that count."""
        return self.matched, int((~self.ignore).sum()), int((~self.ignored).sum())

    @property
    def recall(self) -> float:
        """Of this picture alone; 1 where there is nothing to find."""
        return _ratios(*self.counts, recall_of_nothing=1.0)[0]

    @property
    def precision(self) -> float:
        """Of this picture alone; where there is nothing to find, 1 without detections and 0 with any."""
        return _ratios(*self.counts, recall_of_nothing=1.0)[1]

    @property
    def hmean(self) -> float:
        """Of this picture alone: it ranks pictures, but the mean of it is not the hmean of the data set."""
        return _ratios(*self.counts, recall_of_nothing=1.0)[2]


@dataclass(frozen=True)
class TextScores:
    """The result of a data set."""

    recall: float
    precision: float
    hmean: float
    threshold: float | None
    """The score that a detection needed, or None if all took part."""
    matched: int
    """Matched pairs."""
    ground_truths: int
    """Ground truths that count, without don't-care ones."""
    detections: int
    """Detections that count, without ignored ones and those below the threshold."""

    def as_dict(self) -> dict[str, float | int | None]:
        """What is written to JSON: the fields under their names, in their order."""
        return dict(vars(self))


def polygon_geometries(polygons: Sequence[np.ndarray]) -> np.ndarray:
    """(N,) shapely polygons of N arrays (P, 2); outlines that cross themselves are repaired by a zero-width buffer.

    The repair may keep only one loop of a figure of eight; what matters is that everybody who scores with shapely
    gets the same area. A polygon without area becomes an empty one.
    """
    if not len(polygons):
        return np.zeros(0, dtype=object)
    ring = np.repeat(np.arange(len(polygons)), [len(polygon) for polygon in polygons])
    geometries = shapely.polygons(shapely.linearrings(np.concatenate(polygons).astype(np.float64), indices=ring))
    broken = ~shapely.is_valid(geometries)
    geometries[broken] = shapely.buffer(geometries[broken], 0)
    return geometries


def intersection_areas(geometries: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Shared areas (N, M) in square pixels of each of N with each of M shapely polygons.

    Most pairs of words in a picture are far apart: only those whose boxes overlap are intersected.
    """
    first, second = shapely.bounds(geometries)[:, None], shapely.bounds(others)[None, :]
    # Bounds of an empty polygon are NaN, which compares as False.
    near = (first[..., :2] < second[..., 2:]).all(axis=-1) & (second[..., :2] < first[..., 2:]).all(axis=-1)
    row, column = np.nonzero(near)
    shared = np.zeros(near.shape)
    shared[row, column] = shapely.area(shapely.intersection(geometries[row], others[column]))
    return shared


def polygon_iou(polygons: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> np.ndarray:
    """Intersection over union (N, M) of each of N with each of M polygons (P, 2); 0 where the union is empty."""
    geometries, other_geometries = polygon_geometries(polygons), polygon_geometries(others)
    return _iou(geometries, other_geometries, intersection_areas(geometries, other_geometries))


def match_image(
    ground_truths: Sequence[np.ndarray], ignore: np.ndarray, detections: Sequence[np.ndarray]
) -> ImageMatches:
    """Match the detections (D polygons) of one picture with its ground truths (G polygons, ignore (G,) bool).

    Detections take part in the order given; sort them by score first if that is wanted.
    """
    overlaps = _measure(ground_truths, np.asarray(ignore, dtype=bool), detections)
    return _match(overlaps, np.ones(len(detections), dtype=bool))


def score_texts(images: Iterable[ImageTexts], rules: Rules = "official", threshold: float | None = None) -> TextScores:
    """The score of a data set.

    rules "official": all detections, or those with score >= `threshold`, by the script of the competition.
    Detections are taken in file order, or by falling score where they have scores.
    rules "sweep": MMOCR's number, the best of SWEEP_THRESHOLDS (the lowest of equals); takes no threshold.

    Raises ValueError if scores are needed (a threshold, the sweep) but not there, and for other rules.
    """
    if rules == "sweep":
        if threshold is not None:
            raise ValueError(f"the sweep chooses the threshold itself, found {threshold}")
        return best_of(score_at_thresholds(images, SWEEP_THRESHOLDS, "sweep"))
    return score_at_thresholds(images, (threshold,), rules)[0]


def score_at_thresholds(
    images: Iterable[ImageTexts], thresholds: Sequence[float | None] = SWEEP_THRESHOLDS, rules: Rules = "sweep"
) -> tuple[TextScores, ...]:
    """One score of the data set per threshold, using the detections with score >= threshold (None: all of them).

    How polygons overlap does not depend on the threshold, so it is measured once; another threshold costs little.
    rules "sweep" first drops detections with score <= 0.3 and calls recall 1 where nothing is to be found;
    "official" cuts coordinates to integers and calls it 0.
    Raises ValueError if a threshold is given for an image without scores, and for other rules.
    """
    if rules not in ("official", "sweep"):
        raise ValueError(f'rules must be "official" or "sweep", found {rules!r}')
    needs_scores = rules == "sweep" or any(threshold is not None for threshold in thresholds)
    counts = np.zeros((len(thresholds), 3), dtype=np.int64)
    for image in images:
        if image.scores is None:
            if needs_scores:
                raise ValueError(f"{image.name}: a score threshold needs detections with scores, found none")
            order, scores = np.arange(len(image.detections)), np.zeros(len(image.detections))
        else:
            order = np.argsort(-image.scores, kind="stable")
            # Thresholds are float64; comparing in float32 would round them onto the scores.
            scores = image.scores[order].astype(np.float64)
        ground_truths, detections = list(image.ground_truths), [image.detections[index] for index in order]
        if rules == "official":
            ground_truths, detections = [[np.trunc(p) for p in part] for part in (ground_truths, detections)]
        overlaps = _measure(ground_truths, np.asarray(image.ignore, dtype=bool), detections)
        for row, threshold in zip(counts, thresholds, strict=True):
            keep = scores > (SWEEP_FLOOR if rules == "sweep" else -math.inf)
            if threshold is not None:
                keep &= scores >= threshold
            row += _match(overlaps, keep).counts
    recall_of_nothing = 1.0 if rules == "sweep" else 0.0
    return tuple(
        scores_of_counts(*row, threshold, recall_of_nothing)
        for row, threshold in zip(counts.tolist(), thresholds, strict=True)
    )


def scores_of_counts(
    matched: int, ground_truths: int, detections: int, threshold: float | None = None, recall_of_nothing: float = 0.0
) -> TextScores:
    """The scores that follow from counts; `recall_of_nothing` is the recall where there is nothing to find."""
    ratios = _ratios(matched, ground_truths, detections, recall_of_nothing)
    return TextScores(*ratios, threshold, matched, ground_truths, detections)


def without_ignoring(image: ImageTexts) -> ImageTexts:
    """The same picture with every don't-care region as text that is to be found."""
    return replace(image, ignore=np.zeros(len(image.ground_truths), dtype=bool))


@dataclass(frozen=True)
class _Overlaps:
    """All that matching needs to know about the polygons of one picture."""

    candidates: np.ndarray
    """(N, 2) int64: ground truth and detection of each pair with enough IoU, in the order in which they are tried."""
    ignored: np.ndarray
    """(D,) bool."""
    ignore: np.ndarray
    """(G,) bool."""


def _measure(ground_truths: Sequence[np.ndarray], ignore: np.ndarray, detections: Sequence[np.ndarray]) -> _Overlaps:
    truths, found = polygon_geometries(ground_truths), polygon_geometries(detections)
    shared = intersection_areas(truths, found)
    share = _divide(shared[ignore], shapely.area(found))
    ignored = (share > AREA_PRECISION_CONSTRAINT + ROUNDING).any(axis=0)
    pairs = (_iou(truths, found, shared) > IOU_CONSTRAINT + ROUNDING) & ~ignore[:, None] & ~ignored[None, :]
    # Row-major, like the rule: all detections for the first ground truth, then for the second ...
    return _Overlaps(np.argwhere(pairs), ignored, ignore)


def _match(overlaps: _Overlaps, keep: np.ndarray) -> ImageMatches:
    """Rule 2 for the detections of keep (D,) bool; the others count as ignored."""
    matched_detection = np.full(len(overlaps.ignore), -1)
    matched_ground_truth = np.full(len(overlaps.ignored), -1)
    for truth, detection in overlaps.candidates[keep[overlaps.candidates[:, 1]]].tolist():
        if matched_detection[truth] < 0 and matched_ground_truth[detection] < 0:
            matched_detection[truth], matched_ground_truth[detection] = detection, truth
    return ImageMatches(matched_ground_truth, matched_detection, overlaps.ignored | ~keep, overlaps.ignore)


def _iou(geometries: np.ndarray, others: np.ndarray, shared: np.ndarray) -> np.ndarray:
    return _divide(shared, shapely.area(geometries)[:, None] + shapely.area(others)[None, :] - shared)


def _divide(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, 0 where whole is 0."""
    return np.divide(part, whole, out=np.zeros(np.broadcast_shapes(part.shape, whole.shape)), where=whole > 0)


def _ratios(matched: int, ground_truths: int, detections: int, recall_of_nothing: float) -> tuple[float, float, float]:
    """Recall, precision, hmean. Where nothing is to be found, precision is recall_of_nothing, or 0 with detections."""
    if ground_truths:
        recall = matched / ground_truths
        precision = matched / detections if detections else 0.0
    else:
        recall = recall_of_nothing
        precision = 0.0 if detections else recall_of_nothing
    total = recall + precision
    return recall, precision, 2 * recall * precision / total if total else 0.0


def best_of(scores: Sequence[TextScores]) -> TextScores:
    """The score with the largest hmean, the first of equals."""
    return max(scores, key=lambda score: score.hmean)
