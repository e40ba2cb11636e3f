"""Non-maximum suppression for one image, candidate by candidate; `maskrcnn.ops.nms` does it for a batch."""

from __future__ import annotations

import torch
from torch import Tensor

from maskrcnn.boxes import iou


def nms(boxes: Tensor, scores: Tensor, groups: Tensor | None = None, *, iou_threshold: float, max_keep: int) -> Tensor:
    """Indices (max_keep,) int64 of the survivors of boxes (N, 4) with scores (N,), best first, then -1.

    R-CNN, section 2.2: a box is dropped if it overlaps a better one that was kept, in the same group of groups (N,) if
    there are any.
    """
    overlap = iou(boxes, boxes) > iou_threshold  # (N, N)
    candidates = [i for i in range(len(boxes)) if scores[i] > -torch.inf and not boxes[i].isnan().any()]
    candidates.sort(key=lambda i: scores[i].item(), reverse=True)  # a stable sort: of equal scores the lower index

    kept: list[int] = []
    for candidate in candidates:
        suppressed = False
        for better in kept:
            same_group = groups is None or groups[better] == groups[candidate]
            if same_group and overlap[better, candidate]:
                suppressed = True
                break
        if not suppressed:
            kept.append(candidate)

    kept = kept[:max_keep]
    return torch.tensor(kept + [-1] * (max_keep - len(kept)), dtype=torch.int64)
