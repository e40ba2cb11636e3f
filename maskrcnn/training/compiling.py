"""The network through `torch.compile`: one compilation for all batches of a size."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch._dynamo
from torch import nn

from maskrcnn.structures import Batch

LEAST = 2
"""The compiler takes sizes of 0 and 1 for special, and would compile once more for them."""


def compiled(model: nn.Module) -> nn.Module:
    """The same function of the same weights. The first batch takes minutes; what follows is the same up to rounding.

    Batches of another image size compile once more, so there should be few of them (crops, or `data.padded_sizes`).
    How many objects a batch has does not matter if it went through `with_changing_sizes`.
    """
    return torch.compile(model)


def with_changing_sizes(batch: Batch) -> Batch:
    """A batch that tells the compiler which sizes differ from one to the next: G, and how long all bitmaps are."""
    targets = batch.targets.with_slots(LEAST)
    for values in targets.per_slot.values():
        torch._dynamo.mark_dynamic(values, 1)
    bitmaps = torch.cat((targets.bitmaps, targets.bitmaps.new_zeros(LEAST)))
    torch._dynamo.mark_dynamic(bitmaps, 0)
    return replace(batch, targets=replace(targets, bitmaps=bitmaps))
