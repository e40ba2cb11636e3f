"""Sampling for one image (Faster R-CNN section 3.1.3, Fast R-CNN section 2.3; OHEM, arXiv 1604.03540)."""

from __future__ import annotations

from torch import Tensor

POSITIVE, NEGATIVE = 1, 0


def sample(label: Tensor, priority: Tensor, total: int, positive_fraction: float) -> tuple[Tensor, Tensor]:
    """Indices of the chosen positives and of the chosen negatives, highest priority first; label and priority (N,).

    "We randomly sample 256 anchors in an image [...] where the sampled positive and negative anchors have a ratio of up
    to 1:1. If there are fewer than 128 positive samples in an image, we pad the mini-batch with negative ones."
    Random numbers as priorities make it that; losses as priorities make it hard example mining.
    """
    positives = _best((label == POSITIVE).nonzero()[:, 0], priority, int(total * positive_fraction))
    negatives = _best((label == NEGATIVE).nonzero()[:, 0], priority, total - len(positives))
    return positives, negatives


def _best(candidates: Tensor, priority: Tensor, count: int) -> Tensor:
    order = priority[candidates].argsort(descending=True, stable=True)
    return candidates[order[:count]]
