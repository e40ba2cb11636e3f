"""What is wrong with detections, and what each kind of mistake costs.

At an IoU of 0.5 and whatever the size, a detection that counts is right, or it is one of these, the first that fits:

    duplicate      it lies on an object of its class (IoU 0.5 or more) that is taken already
    localisation   it lies beside an object of its class (IoU 0.1 or more)
    class          it lies on an object of another class (IoU 0.5 or more)
    background     anything else

and an object that no detection took is `missed`, unless a localisation or class error was about it. What a kind costs
is how much AP50 rises once it is mended. Duplicates and background are taken away. The best of the localisation or
class errors about an object that nobody took becomes right, in the object's class, and the others are taken away.
Missed objects are not asked for, and a class that then has nothing left to find scores 1. The costs do not add up.

The kinds are those of Hoiem, Chodpathumwan and Dai (ECCV 2012); to tell their cost by mending is the idea of TIDE
(Bolya et al., ECCV 2020), which differs in details.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from maskrcnn.evaluation.average_precision import (
    AREAS,
    AveragePrecision,
    lines_of_classes,
    outcomes,
    precision_at_recalls,
)
from maskrcnn.evaluation.coco_matching import DetectionTable, Matches, Overlap, Pairs, TruthTable, pairs_within

KINDS = ("localisation", "class", "duplicate", "background")
"""Of false detections; the fifth kind is "missed"."""
ON, BESIDE = 0.5, 0.1
"""IoU with the object that a detection is about."""

_RIGHT, _IGNORED = -1, -2


@dataclass(frozen=True, eq=False)
class DetectionErrors:
    """The mistakes of D detections of K classes."""

    best: dict[str, np.ndarray]
    """(K,) int64: how many are "right" and of each of the KINDS, among as many of the best detections of a class as it
    has ground truths. Further down the line nearly everything is background, which says little."""
    missed: np.ndarray
    """(K,) int64: objects of each class that are missed by all detections."""
    costs: dict[str, float]
    """By how much AP50 rises if all mistakes of a kind, "missed" among them, are mended."""


def detection_errors(
    truths: TruthTable, detections: DetectionTable, overlap: Overlap, result: AveragePrecision, matches: Matches
) -> DetectionErrors | None:
    """Sorts the mistakes of what `average_precision` has scored; None if there is no ground truth that counts."""
    asked = result.ground_truths[0]
    classes = len(asked)
    if not asked.any():
        return None
    lines = lines_of_classes(detections, matches.rank < max(result.recall_of_best), classes)
    every = np.concatenate(lines)
    kind = np.full(len(detections.score), _IGNORED)
    right, counts = outcomes(matches, detections, every, 0, AREAS["all"])
    kind[every[right[0]]] = _RIGHT
    false = every[counts[0] & ~right[0]]
    target = np.full(len(kind), -1)
    kind[false], target[false] = _sort(truths, detections, overlap, false, np.flatnonzero(~matches.ignored[0]))

    taken = np.zeros(len(truths.area), dtype=bool)
    taken[matches.of(every[right[0]], 0)[0]] = True
    about = np.isin(kind, [KINDS.index("localisation"), KINDS.index("class")])
    missed = ~(taken | matches.ignored[0])
    missed[target[about]] = False
    missed_of_class = np.bincount(truths.category[missed], minlength=classes)

    def rise(right: np.ndarray, away: np.ndarray, category: np.ndarray, asked: np.ndarray) -> float:
        changed = DetectionTable(detections.image, category, detections.area, detections.score)
        chosen = np.zeros(len(kind), dtype=bool)
        chosen[every] = True
        mended = [
            float(precision_at_recalls(right[None, line], ~away[None, line], int(count))[0].mean()) if count else 1.0
            for line, count, before in zip(lines_of_classes(changed, chosen, classes), asked, result.ground_truths[0],
                                           strict=True)
            if before
        ]  # fmt: skip
        return float(np.mean(mended)) - float(np.nanmean(result.precision[0, 0]))

    is_right, is_ignored = kind == _RIGHT, kind == _IGNORED
    costs = {}
    for number, name in enumerate(KINDS):
        these = kind == number
        becomes_right = np.zeros(len(kind), dtype=bool)
        category = detections.category
        if name in ("localisation", "class"):
            order = np.flatnonzero(these & ~taken[target])
            order = order[np.lexsort((detections.image[order], -detections.score[order]))]
            _, first = np.unique(target[order], return_index=True)
            becomes_right[order[first]] = True
            category = np.where(becomes_right, truths.category[target], category)
        away = is_ignored | (these & ~becomes_right)
        costs[name] = rise(is_right | becomes_right, away, category, asked)
    costs["missed"] = rise(is_right, is_ignored, detections.category, asked - missed_of_class)

    shown = {"right": _RIGHT, **{name: number for number, name in enumerate(KINDS)}}
    counted = [line[kind[line] != _IGNORED][:count] for line, count in zip(lines, asked, strict=True)]
    best = {name: np.array([(kind[line] == number).sum() for line in counted]) for name, number in shown.items()}
    return DetectionErrors(best, missed_of_class, costs)


def _sort(
    truths: TruthTable, detections: DetectionTable, overlap: Overlap, false: np.ndarray, asked: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Kind and ground truth (or -1), both (N,), of N false detections; `asked` are the ground truths that count."""
    count = len(detections.score)
    iou = {same: np.zeros(count) for same in (True, False)}
    nearest = {same: np.full(count, -1) for same in (True, False)}
    for pairs in pairs_within(detections.image[false], truths.image[asked]):
        d, g = false[pairs.detection], asked[pairs.truth]
        overlaps = overlap(Pairs(d, g, pairs.blocks))
        is_same = detections.category[d] == truths.category[g]
        for same in (True, False):
            some = np.flatnonzero((is_same == same) & (overlaps >= BESIDE))
            some = some[np.argsort(overlaps[some], kind="stable")]  # of several, the last one is kept
            iou[same][d[some]], nearest[same][d[some]] = overlaps[some], g[some]
    own, other = iou[True][false], iou[False][false]
    kinds = np.select(
        [own >= ON, own >= BESIDE, other >= ON],
        [KINDS.index(name) for name in ("duplicate", "localisation", "class")],
        KINDS.index("background"),
    )
    is_class = kinds == KINDS.index("class")
    target = np.where(is_class, nearest[False][false], nearest[True][false])
    return kinds, target
