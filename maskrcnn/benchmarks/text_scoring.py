"""Scoring of found text beside a plain loop, on random quadrilaterals: `python -m maskrcnn bench evaluate`.

The script of the competition cannot be installed, so what we compare with is written here: its rules, pair by pair.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from shapely import Polygon

from maskrcnn.benchmarks.comparison import Comparison
from maskrcnn.evaluation.text_scores import (
    AREA_PRECISION_CONSTRAINT,
    IOU_CONSTRAINT,
    ImageTexts,
    TextScores,
    score_texts,
    scores_of_counts,
)

PICTURES = 500
TEXTS, DETECTIONS = 10, 20
"""Of a picture: five hundred pictures with ten words each are about ICDAR2015's test set."""
DONT_CARE = 0.5
"""The share of words that are don't-care, there more than half."""
HEIGHT, WIDTH = 720, 1280


def comparisons(pictures: int | None = None) -> Iterator[Comparison]:
    """hmean of as many pictures as PICTURES says, or of `pictures`; both sides begin with the same polygons."""
    pictures = PICTURES if pictures is None else pictures
    images = draw(pictures)
    corners = 4 * pictures * (TEXTS + DETECTIONS)
    yield Comparison(
        f"hmean of {pictures:,} pictures, {TEXTS} words and {DETECTIONS} detections each",
        "a loop over pairs, in shapely",
        _ours(images),
        _by_loops(images),
        bytes_moved=16.0 * corners,
        operations=float(pictures * TEXTS * DETECTIONS),
    )


def draw(pictures: int, seed: int = 0) -> list[ImageTexts]:
    """Slanted quadrilaterals, corners in whole pixels; half of the detections lie near a word, the others anywhere."""
    random = np.random.default_rng(seed)
    drawn = []
    for picture in range(pictures):
        texts = _quadrilaterals(random, TEXTS)
        near = texts[random.integers(0, TEXTS, DETECTIONS // 2)] + random.normal(0, 3, (DETECTIONS // 2, 1, 2))
        found = np.concatenate((near, _quadrilaterals(random, DETECTIONS - DETECTIONS // 2))).round()
        ignore = random.random(TEXTS) < DONT_CARE
        drawn.append(ImageTexts(f"{picture}", list(texts.round()), ignore, list(found), random.random(DETECTIONS)))
    return drawn


def _quadrilaterals(random: np.random.Generator, count: int) -> np.ndarray:
    """(N, 4, 2): words of 20 to 200 by 8 to 60 pixels, turned by up to half a right angle."""
    half = np.exp(random.uniform(np.log((20, 8)), np.log((200, 60)), (count, 2))) / 2
    corners = half[:, None] * np.array(((-1, -1), (1, -1), (1, 1), (-1, 1)))
    angle = random.uniform(-np.pi / 4, np.pi / 4, (count, 1))
    cosine, sine = np.cos(angle), np.sin(angle)
    x, y = corners[..., 0], corners[..., 1]
    turned = np.stack((x * cosine - y * sine, x * sine + y * cosine), axis=-1)
    return turned + random.uniform((0, 0), (WIDTH, HEIGHT), (count, 2))[:, None]


def _ours(images: list[ImageTexts]) -> Callable[[], TextScores]:
    return lambda: score_texts(images)


def _by_loops(images: list[ImageTexts]) -> Callable[[], TextScores]:
    """The rules as they are written (see `maskrcnn.evaluation.text_scores`), one pair of polygons after the other."""

    def run() -> TextScores:
        totals = np.zeros(3, dtype=np.int64)
        for image in images:
            truths = [Polygon(polygon) for polygon in image.ground_truths]
            found = [Polygon(image.detections[index]) for index in np.argsort(-image.scores, kind="stable")]
            dont_care = [truth for truth, ignore in zip(truths, image.ignore, strict=True) if ignore]
            legible = [truth for truth, ignore in zip(truths, image.ignore, strict=True) if not ignore]
            counted = [one for one in found if not any(_covered(one, region) for region in dont_care)]
            free = list(counted)
            for truth in legible:
                match = next((one for one in free if _iou(truth, one) > IOU_CONSTRAINT), None)
                if match is not None:
                    free.remove(match)
            totals += (len(counted) - len(free), len(legible), len(counted))
        return scores_of_counts(*totals.tolist())

    return run


def _covered(detection: Polygon, region: Polygon) -> bool:
    return detection.intersection(region).area > AREA_PRECISION_CONSTRAINT * detection.area


def _iou(truth: Polygon, detection: Polygon) -> float:
    shared = truth.intersection(detection).area
    return shared / (truth.area + detection.area - shared)
