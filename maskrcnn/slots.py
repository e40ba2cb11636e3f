"""Choosing a fixed number of rows without a loop and without knowing how many there will be.

Every stage of a detector selects: the best anchors, a random sample, the surviving boxes. How many there are depends
on the picture, but a tensor's shape must not (design decision 2), so a selection always has the same number of slots
and a mask says which are real. All index arithmetic of the model lives in the three functions of this module.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

NOT_A_CANDIDATE, FIRST = float("-inf"), float("inf")
"""The score of a padded or dropped row, which no selection ever takes, and one that no other comes before."""


class Selection(NamedTuple):
    """Which rows were chosen."""

    index: Tensor
    """(..., count) int64; 0 in empty slots, so that it can always be gathered with."""
    valid: Tensor
    """(..., count) bool; the real slots come first."""


class Sampled(NamedTuple):
    """A training sample with its positives first."""

    index: Tensor
    """(..., total) int64; 0 in empty slots."""
    valid: Tensor
    """(..., total) bool."""
    positive: Tensor
    """(..., total) bool: true only in the first `most_positives` slots."""


def gather_rows(values: Tensor, index: Tensor) -> Tensor:
    """Rows (..., M, *rest) of values (..., N, *rest) at index (..., M), each leading entry from its own rows.

    The loop it stands for: result[b, j] = values[b, index[b, j]].
    """
    leading = index.dim()
    rest = values.shape[leading:]
    expanded = index.reshape(*index.shape, *(1 for _ in rest)).expand(*index.shape, *rest)
    return values.gather(leading - 1, expanded)


def keep_top(scores: Tensor, count: int) -> Selection:
    """The `count` best of scores (..., N), best first; fewer are valid where there are fewer candidates.

    A NaN is no candidate, as in `maskrcnn.ops.nms`. (`topk` alone would put it first.)
    """
    scores = scores.masked_fill(scores.isnan(), NOT_A_CANDIDATE)
    available = torch.sym_min(count, scores.shape[-1])  # like min, which would settle for a compiler which of the two
    best, index = scores.topk(available, dim=-1)
    valid = best > NOT_A_CANDIDATE
    index = index.masked_fill(~valid, 0)
    missing = count - available
    return Selection(torch.nn.functional.pad(index, (0, missing)), torch.nn.functional.pad(valid, (0, missing)))


def sample_by_priority(
    positive: Tensor, negative: Tensor, priority: Tensor, total: int, most_positives: int
) -> Sampled:
    """Up to `most_positives` positives and as many negatives as fit into `total`, highest priority first.

    positive, negative (..., N) bool; priority (..., N) float. With random priorities this is drawing without
    replacement (Faster R-CNN section 3.1.3); with each candidate's loss as priority it is OHEM (arXiv 1604.03540).
    A NaN is the highest priority: a loss that is one must reach the sum, where training notices and stops, and not
    be passed over for the candidates that still have a number.
    """
    priority = priority.masked_fill(priority.isnan(), FIRST)
    chosen_positives = keep_top(priority.masked_fill(~positive, NOT_A_CANDIDATE), most_positives)
    chosen_negatives = keep_top(priority.masked_fill(~negative, NOT_A_CANDIDATE), total)
    # The positives fill the first slots, however many there are; slot s of the rest takes negative s - positives.
    positives = chosen_positives.valid.sum(dim=-1, keepdim=True)
    slot = torch.arange(total, device=priority.device).expand(*positives.shape[:-1], total)
    is_positive = slot < positives
    source = torch.where(is_positive, slot, most_positives + slot - positives)
    index = torch.cat((chosen_positives.index, chosen_negatives.index), dim=-1)
    valid = torch.cat((chosen_positives.valid, chosen_negatives.valid), dim=-1)
    return Sampled(gather_rows(index, source), gather_rows(valid, source), is_positive)
