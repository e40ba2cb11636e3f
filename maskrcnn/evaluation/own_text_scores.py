"""Two scores of text detection that single benchmarks have of their own: MLT2017's AP, and CTW1500's script."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from maskrcnn.evaluation.text_scores import (
    IOU_CONSTRAINT,
    ROUNDING,
    ImageTexts,
    TextScores,
    match_image,
    polygon_iou,
    scores_of_counts,
)


def text_average_precision(images: Iterable[ImageTexts]) -> float:
    """Average precision of a data set by MLT2017's script: the precision at each match, in order of falling score over
    all pictures, summed and divided by the number of legible ground truths; 0 if there is none.

    Matching is that of the official rules, coordinates cut to integers; ignored detections have no rank.
    Raises ValueError for a picture without scores.
    """
    ranks, hits, ground_truths = [np.zeros(0)], [np.zeros(0, dtype=bool)], 0
    for image in images:
        if image.scores is None:
            raise ValueError(f"{image.name}: average precision needs detections with scores, found none")
        order = np.argsort(-image.scores, kind="stable")
        truths, found = ([np.trunc(p) for p in part] for part in (image.ground_truths, image.detections))
        matches = match_image(truths, image.ignore, [found[index] for index in order])
        ranks.append(image.scores[order][~matches.ignored])
        hits.append(matches.matched_ground_truth[~matches.ignored] >= 0)
        ground_truths += int((~image.ignore).sum())
    hit = np.concatenate(hits)[np.argsort(-np.concatenate(ranks), kind="stable")]
    precision = np.cumsum(hit) / np.arange(1, len(hit) + 1)
    return float(precision[hit].sum() / ground_truths) if ground_truths else 0.0


def pascal_scores(images: Iterable[ImageTexts]) -> TextScores:
    """Recall, precision and hmean by CTW1500's own script, which counts as PASCAL VOC does.

    A detection takes the ground truth that it overlaps most; it is right if their IoU is above 0.5 and no better
    detection has taken it already. Nothing is ignored, `###` included. Of all detections that take one ground truth,
    exactly one is right, so the scores do not matter; they would for AP.
    """
    matched = ground_truths = detections = 0
    for image in images:
        overlaps = polygon_iou(image.detections, image.ground_truths)
        if overlaps.size:
            taken = overlaps.argmax(axis=1)[overlaps.max(axis=1) > IOU_CONSTRAINT + ROUNDING]
            matched += len(np.unique(taken))
        ground_truths += len(image.ground_truths)
        detections += len(image.detections)
    return scores_of_counts(matched, ground_truths, detections)
