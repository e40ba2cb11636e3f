"""The losses of paper equation L = L_cls + L_box + L_mask, of keypoints and of the RPN, with their normalisation.

Padded slots and negatives are masked, never selected, so no shape depends on the data; every denominator is at least
1, so an image without objects gives a loss of 0 and not NaN. All have weight 1; only `variants/pyramid_masks.py` gives
that of its masks another.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Loss(NamedTuple):
    """A mean, and of how many it is one: processes that train together need both to agree on one mean."""

    value: Tensor
    """0-dim."""
    count: Tensor
    """0-dim int64: samples, positives or labelled points in the batch. The mean of 0 of them is 0."""


def rpn_objectness_loss(logits: Tensor, positive: Tensor, valid: Tensor, count: Tensor) -> Tensor:
    """Binary cross-entropy of sampled anchors, 0-dim.

    logits (B, N) float; positive, valid (B, N) bool; count 0-dim, from `rpn_count`.
    Faster R-CNN equation 1, first term.
    """
    loss = F.binary_cross_entropy_with_logits(logits, positive.to(logits.dtype), reduction="none")
    return loss.masked_fill(~valid, 0.0).sum() / count.clamp(min=1)


def rpn_count(positive: Tensor, valid: Tensor, at_least_one_each: bool) -> Tensor:
    """What both RPN losses are divided by: the sampled anchors of the batch, 0-dim int64; positive, valid (B, N) bool.

    With `at_least_one_each`, an image counts at least one positive and one negative (MMDetection).
    """
    if at_least_one_each:
        positives = (positive & valid).sum(dim=-1).clamp(min=1)
        negatives = (~positive & valid).sum(dim=-1).clamp(min=1)
        return (positives + negatives).sum()
    return valid.sum()


def box_loss(deltas: Tensor, targets: Tensor, positive: Tensor, count: Tensor, kind: str, beta: float) -> Tensor:
    """Distance of deltas (B, N, 4) from targets (B, N, 4), summed over coordinates and positives (B, N), 0-dim.

    kind "l1": |x|; "smooth_l1": 0.5 x^2 / beta below beta, |x| - 0.5 beta above (Fast R-CNN equation 3).
    It is divided by `count` of all samples, not of positives: an image with few objects then pulls less at the boxes.
    Raises ValueError for any other kind.
    """
    if kind not in ("l1", "smooth_l1"):
        raise ValueError(f'found kind {kind!r}, expected "l1" or "smooth_l1"')
    if kind == "l1":
        distance = (deltas - targets).abs()
    else:
        distance = F.smooth_l1_loss(deltas, targets, beta=beta, reduction="none")
    return distance.masked_fill(~positive[..., None], 0.0).sum() / count.clamp(min=1)


def class_loss(logits: Tensor, labels: Tensor, valid: Tensor) -> Tensor:
    """Softmax cross-entropy, mean over the sampled RoIs of the batch, 0-dim.

    logits (B, R, K); labels (B, R) int64, 0 for background; valid (B, R) bool. Fast R-CNN equation 1.
    """
    return class_loss_each(logits, labels).masked_fill(~valid, 0.0).sum() / valid.sum().clamp(min=1)


def class_loss_each(logits: Tensor, labels: Tensor) -> Tensor:
    """Softmax cross-entropy (..., N) of logits (..., N, K) against labels (..., N): OHEM ranks by it."""
    return F.cross_entropy(logits.flatten(0, -2), labels.flatten(), reduction="none").view(labels.shape)


def mask_loss(logits: Tensor, targets: Tensor, positive: Tensor) -> Tensor:
    """Binary cross-entropy per pixel, mean over the pixels of all positive RoIs, 0-dim; 0 without positives.

    logits (B, R, m, m) of each RoI's own class; targets (B, R, m, m) in [0, 1]; positive (B, R) bool. Because only
    the true class's map is judged, classes do not compete for pixels (paper section 3, "Mask Representation").
    """
    loss = F.binary_cross_entropy_with_logits(logits, targets.to(logits.dtype), reduction="none")
    pixels = positive.sum().clamp(min=1) * (logits.shape[-1] * logits.shape[-2])
    return loss.masked_fill(~positive[..., None, None], 0.0).sum() / pixels


def keypoint_loss(logits: Tensor, cells: Tensor, valid: Tensor) -> Tensor:
    """Softmax cross-entropy over the cells of a heat map, mean over the valid points of the batch, 0-dim; 0 without.

    logits (B, R, J, m, m); cells (B, R, J) int64, row * m + column; valid (B, R, J) bool. One cell of all is right, so
    the cells compete (paper section 5: "one-hot" masks and a softmax over m^2 cells).
    """
    loss = class_loss_each(logits.flatten(-2), cells)
    return loss.masked_fill(~valid, 0.0).sum() / valid.sum().clamp(min=1)


def total_loss(losses: dict[str, Tensor]) -> Tensor:
    """The plain sum, 0-dim (paper section 3)."""
    return torch.stack(list(losses.values())).sum()
