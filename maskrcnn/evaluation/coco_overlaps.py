"""How well a detection fits a ground truth: by box, by mask, or by keypoints.

Each function takes the shapes of all detections and all ground truths of a data set and returns what measures pairs of
them (`maskrcnn.evaluation.coco_matching.Overlap`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from maskrcnn.evaluation.coco_matching import Overlap, Pairs
from maskrcnn.ops import run_length
from maskrcnn.ops.run_length import RunLengths

PERSON_SIGMAS = np.array(
    [.026, .025, .025, .035, .035, .079, .079, .072, .072, .062, .062, .107, .107, .087, .087, .089, .089]
)  # fmt: skip
"""(17,) How far apart two people put the same keypoint, in units of the square root of the person's area: nose, eyes,
ears, shoulders, elbows, wrists, hips, knees, ankles; left before right. (https://cocodataset.org/#keypoints-eval)"""


def box_overlap(detections: np.ndarray, truths: np.ndarray, crowd: np.ndarray) -> Overlap:
    """IoU of boxes (D, 4) with boxes (G, 4), both x, y, width, height; crowd (G,) bool.

    In a crowd it does not matter how much is left out: there the intersection is divided by the detection's own area.
    """
    area, truth_area = (boxes[:, 2] * boxes[:, 3] for boxes in (detections, truths))
    start, truth_start = detections[:, :2], truths[:, :2]
    end, truth_end = (boxes[:, :2] + boxes[:, 2:] for boxes in (detections, truths))

    def overlap(pairs: Pairs) -> np.ndarray:
        d, g = pairs.detection, pairs.truth
        sides = np.minimum(end[d], truth_end[g]) - np.maximum(start[d], truth_start[g])
        shared = np.where((sides > 0).all(axis=1), sides[:, 0] * sides[:, 1], 0.0)
        whole = np.where(crowd[g], area[d], area[d] + truth_area[g] - shared)
        return np.divide(shared, whole, out=np.zeros_like(shared), where=shared > 0)

    return overlap


def mask_overlap(detections: Sequence[RunLengths], truths: Sequence[RunLengths], crowd: np.ndarray) -> Overlap:
    """IoU of D masks with G masks; crowd (G,) bool as for boxes. Masks of one picture must have one size."""

    def overlap(pairs: Pairs) -> np.ndarray:
        iou = np.empty(len(pairs.detection))
        for begin, count, truth_count in pairs.blocks.tolist():
            end = begin + count * truth_count
            rows, columns = pairs.detection[begin:end:truth_count], pairs.truth[begin : begin + truth_count]
            codes, truth_codes = [detections[row] for row in rows], [truths[column] for column in columns]
            iou[begin:end] = run_length.iou(codes, truth_codes, crowd[columns]).ravel()
        return iou

    return overlap


def keypoint_overlap(
    detections: np.ndarray, truths: np.ndarray, boxes: np.ndarray, area: np.ndarray, sigmas: np.ndarray
) -> Overlap:
    """Object keypoint similarity: the mean over keypoints of exp(-distance^2 / (2 area (2 sigma)^2)).

    Only keypoints that are labelled (v > 0) take part. Where none is, all of them do, and their distance is measured
    to the ground truth's box enlarged by itself on every side: what lies in there says nothing against it.

    Args:
        detections: (D, J, 2 or more) x, y.
        truths: (G, J, 3) x, y, v.
        boxes: (G, 4) x, y, width, height of the ground truths.
        area: (G,) of the ground truths, in square pixels.
        sigmas: (J,).
    """
    labelled = truths[:, :, 2] > 0
    unlabelled = ~labelled.any(axis=1)
    labelled[unlabelled] = True
    near, far = boxes[:, :2] - boxes[:, 2:], boxes[:, :2] + 2 * boxes[:, 2:]
    variance = (2 * sigmas) ** 2
    count = labelled.sum(axis=1)

    def overlap(pairs: Pairs) -> np.ndarray:
        d, g = pairs.detection, pairs.truth
        distance = detections[d, :, :2] - truths[g, :, :2]
        to_box = unlabelled[g]
        x_y = detections[d[to_box], :, :2]
        beyond = np.maximum(near[g[to_box], None] - x_y, 0) + np.maximum(x_y - far[g[to_box], None], 0)
        distance[to_box] = beyond
        squared = (distance**2).sum(axis=2)
        # An area of 0 must not divide 0 by 0.
        exponent = squared / variance / (area[g, None] + np.spacing(1)) / 2
        return (np.exp(-exponent) * labelled[g]).sum(axis=1) / count[g]

    return overlap
