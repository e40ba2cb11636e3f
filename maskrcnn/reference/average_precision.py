"""COCO's average precision of one class, at one threshold and in one range of areas, detection by detection.

`maskrcnn.evaluation.coco_matching` does the first half, `maskrcnn.evaluation.average_precision` the second, for all
classes, thresholds and ranges at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Picture(NamedTuple):
    """One class in one picture."""

    iou: Sequence[Sequence[float]]
    """D rows of G numbers."""
    scores: Sequence[float]
    """Of the D detections, in any order."""
    areas: Sequence[float]
    truth_areas: Sequence[float]
    ignore: Sequence[bool]
    """The G ground truths that do not count."""
    crowd: Sequence[bool]


def match(picture: Picture, threshold: float, smallest: float, largest: float, most: int) -> list[tuple[float, str]]:
    """The score of each detection that takes part, best first, and whether it is "right", "false" or "ignored"."""
    ignored = [
        ignore or not smallest <= area <= largest
        for ignore, area in zip(picture.ignore, picture.truth_areas, strict=True)
    ]
    taken: set[int] = set()
    outcomes = []
    for d in sorted(range(len(picture.scores)), key=lambda d: -picture.scores[d])[:most]:
        best = None
        # First those that count; an ignored one is only looked at when none of them can be had.
        for wanted in (False, True):
            for g, iou in enumerate(picture.iou[d]):
                can_be_had = g not in taken or picture.crowd[g]
                good_enough = iou >= min(threshold, 1 - 1e-10) and (best is None or iou >= picture.iou[d][best])
                if ignored[g] == wanted and can_be_had and good_enough:
                    best = g
            if best is not None:
                break
        if best is not None:
            taken.add(best)
            outcome = "ignored" if ignored[best] else "right"
        else:
            outcome = "false" if smallest <= picture.areas[d] <= largest else "ignored"
        outcomes.append((picture.scores[d], outcome))
    return outcomes


def average_precision(
    pictures: Sequence[Picture], threshold: float, smallest: float = 0.0, largest: float = 1e10, most: int = 100
) -> tuple[float, float] | None:
    """Average precision and final recall of one class; None if no ground truth counts."""
    truths = 0
    line = []
    for picture in pictures:
        for ignore, area in zip(picture.ignore, picture.truth_areas, strict=True):
            truths += not ignore and smallest <= area <= largest
        line += match(picture, threshold, smallest, largest, most)
    if truths == 0:
        return None
    line.sort(key=lambda scored: -scored[0])
    found = false = 0
    points = []
    for _, outcome in line:
        found += outcome == "right"
        false += outcome == "false"
        points.append((found / truths, found / max(found + false, 1)))
    total = 0.0
    for step in range(101):
        total += max((precision for recall, precision in points if recall >= step / 100), default=0.0)
    return total / 101, found / truths
