"""Which of the matched boxes to learn from: a random sample, or the hardest examples."""

from __future__ import annotations

import torch
from torch import Tensor

from maskrcnn.slots import Sampled, sample_by_priority
from maskrcnn.targets.matching import NEGATIVE, POSITIVE


def sample_randomly(label: Tensor, total: int, positive_fraction: float) -> Sampled:
    """Up to `total` of the boxes that label (..., N) calls positive or negative, drawn without replacement.

    At most `positive_fraction` of `total` are positive; negatives fill what positives leave, since a picture has far
    more background than objects (Faster R-CNN section 3.1.3: 256 anchors, 1:1; Fast R-CNN section 2.3: RoIs, 1:3).
    """
    priority = torch.rand(label.shape, device=label.device)
    return _sample(label, priority, total, positive_fraction)


def sample_hardest(label: Tensor, loss: Tensor, total: int, positive_fraction: float) -> Sampled:
    """Online hard example mining: like `sample_randomly`, but those with the largest loss (..., N).

    The loss is the classification loss of a forward pass without gradient (arXiv 1604.03540; the MMOCR recipes).
    """
    return _sample(label, loss, total, positive_fraction)


def _sample(label: Tensor, priority: Tensor, total: int, positive_fraction: float) -> Sampled:
    return sample_by_priority(
        label == POSITIVE, label == NEGATIVE, priority, total, most_positives=int(total * positive_fraction)
    )
