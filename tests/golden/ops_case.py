"""Random and hostile boxes for the ops that torchvision has, too, and what ours make of them.

Nothing here needs torchvision: `make_ops_golden.py` stores what its ops give, and `tests/test_golden_ops.py` holds ours
to that. The hostile boxes are those of which both libraries make sense: torchvision keeps boxes with a NaN, and turns
coordinates beyond 2^31 into any number.
"""

from __future__ import annotations

import numpy as np
import torch
from golden.torchvision_case import uniform

from maskrcnn import ops

IOU_THRESHOLDS = (0.0, 0.3, 0.5, 0.7, 1.0)
STRIDES = (1.0, 4.0, 3.7, 16.0)
OUTPUT_SIZES = (1, 3, 7)
ALIGNMENTS = ((False, 2), (True, 2), (True, 0), (False, 0))
"""`aligned` and `sampling_ratio`."""


def boxes(name: str, count: int, extent: float) -> torch.Tensor:
    """(count + 8, 4): boxes of all sizes around a square of `extent` pixels, and the hostile ones."""
    centre, size = uniform(f"{name} centre", (count, 2), -0.1, 1.1), uniform(f"{name} size", (count, 2), 0.0, 0.6) ** 2
    hostile = torch.tensor(
        [
            [0.3, 0.3, 0.3, 0.3],  # a point
            [0.2, 0.5, 0.9, 0.5],  # a line
            [0.7, 0.8, 0.2, 0.1],  # both corners swapped
            [0.7, 0.1, 0.2, 0.8],  # x swapped
            [-3.0, -4.0, 5.0, 6.0],  # larger than everything
            [2.0, 2.0, 3.0, 3.0],  # outside
            [-0.5, -0.5, -0.2, -0.1],
            [-900.0, 0.4, 900.0, 0.5],
        ]
    )
    return extent * torch.cat((torch.cat((centre - size / 2, centre + size / 2), dim=1), hostile))


def scores(name: str, count: int) -> torch.Tensor:
    """(count,) without ties, which torchvision decides as it likes."""
    values = uniform(name, (count,), 0.0, 1.0)
    assert len(values.unique()) == count
    return values


def rounded_boxes(name: str, count: int) -> torch.Tensor:
    """Boxes of few whole numbers, whose IoUs often equal a threshold."""
    corner = uniform(f"{name} corner", (count, 2), 0, 12).floor()
    size = uniform(f"{name} size", (count, 2), 0, 9).floor()
    return torch.cat((corner, corner + size), dim=1)


def feature() -> torch.Tensor:
    """(1, 3, 18, 23)"""
    return uniform("feature", (1, 3, 18, 23), -2.0, 2.0)


def suppression_cases() -> dict[str, tuple[torch.Tensor, torch.Tensor, float]]:
    """Boxes, scores and threshold under the names of the golden file."""
    found = {}
    for threshold in IOU_THRESHOLDS:
        random, whole = boxes("nms", 200, 100.0), rounded_boxes("nms", 60)
        found[f"nms_random_{threshold}"] = (random, scores("nms random", len(random)), threshold)
        found[f"nms_ties_{threshold}"] = (whole, scores("nms whole", len(whole)), threshold)
    return found


def pooling_cases() -> dict[str, tuple[torch.Tensor, int, float]]:
    """RoIs, output size and stride under endings of the names of the golden file."""
    return {
        f"{stride}_{size}": (boxes(f"rois {stride}", 20, 20 * stride), size, stride)
        for stride in STRIDES
        for size in OUTPUT_SIZES
    }


def without_swapped_corners(rois: torch.Tensor) -> torch.Tensor:
    """What torchvision's aligned RoIAlign can do: it mirrors other RoIs, or asks for less than no memory."""
    return rois[(rois[:, 2:] >= rois[:, :2]).all(dim=1)]


def our_results() -> dict[str, np.ndarray]:
    """What our ops give, under the names of the golden file."""
    results = {}
    for name, (corners, score, threshold) in suppression_cases().items():
        keep = ops.nms(corners, score, iou_threshold=threshold, max_keep=len(corners))
        results[name] = keep[keep >= 0].to(torch.int16)
    for name, (rois, size, stride) in pooling_cases().items():
        results[f"roi_pool_{name}"] = ops.roi_pool(feature(), rois[None], output_size=size, stride=stride)[0]
        for aligned, ratio in ALIGNMENTS:
            results[f"roi_align_{name}_{aligned}_{ratio}"] = ops.pyramid_roi_align(
                [feature()],
                (without_swapped_corners(rois) if aligned else rois)[None],
                output_size=size,
                strides=[stride],
                sampling_ratio=ratio,
                aligned=aligned,
            )[0]
    return {name: value.numpy() for name, value in results.items()}
