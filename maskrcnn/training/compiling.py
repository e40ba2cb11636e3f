"""The network through `torch.compile`: one compilation for all batches of a size, or a few for pictures of any size."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch._dynamo
from torch import nn

from maskrcnn.model.mask_rcnn import ModelOutput
from maskrcnn.structures import Batch

LEAST = 2
"""The compiler takes sizes of 0 and 1 for special, and would compile once more for them."""


def compiled(model: nn.Module) -> nn.Module:
    """The same function of the same weights. The first batch takes minutes; what follows is the same up to rounding.

    Batches of another image size compile once more, so there should be few of them (crops, or `data.padded_sizes`).
    How many objects a batch has does not matter if it went through `with_changing_sizes`. Raises ValueError without a
    C++ compiler.
    """
    require_compiler()
    return torch.compile(model)


class CompiledForPictures(nn.Module):
    """A network that looks for objects, compiled for pictures of any size instead of for each.

    PyTorch chooses between two ways of convolving a single picture by its size, so two or three sizes, some of them
    small, compile again; after them it is rare.
    """

    def __init__(self, model: nn.Module) -> None:
        """model: takes a `Batch`. Raises ValueError without a C++ compiler."""
        super().__init__()
        self.model = compiled(model)

    def forward(self, batch: Batch) -> ModelOutput:
        """What the network gives for a batch of any height and width."""
        for dimension in (2, 3):
            torch._dynamo.maybe_mark_dynamic(batch.images, dimension)
        return self.model(batch)


def require_compiler() -> None:
    """Raises ValueError, in one line, if there is no C++ compiler, without which PyTorch compiles nothing."""
    from torch._inductor.cpp_builder import get_cpp_compiler  # here: seconds, which only a compilation has to spare
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler as error:
        raise ValueError("torch.compile: found no C++ compiler, expected g++, clang++ or what CXX names") from error


def with_changing_sizes(batch: Batch) -> Batch:
    """A batch that tells the compiler which sizes differ from one to the next: G, and how long all bitmaps are."""
    targets = batch.targets.with_slots(LEAST)
    for values in targets.per_slot.values():
        torch._dynamo.mark_dynamic(values, 1)
    bitmaps = torch.cat((targets.bitmaps, targets.bitmaps.new_zeros(LEAST)))
    torch._dynamo.mark_dynamic(bitmaps, 0)
    return replace(batch, targets=replace(targets, bitmaps=bitmaps))
