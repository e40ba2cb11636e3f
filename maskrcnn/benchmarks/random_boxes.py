"""Boxes to measure with."""

from __future__ import annotations

import torch
from torch import Tensor


def random_boxes(
    *shape: int,
    width: int,
    height: int,
    generator: torch.Generator,
    sizes: tuple[float, float] = (20.0, 200.0),
) -> Tensor:
    """(*shape, 4) boxes with their centres in a picture of width x height and sides within `sizes`, in pixels."""
    centre = torch.rand(*shape, 2, generator=generator) * torch.tensor([width, height])
    low, high = sizes
    half = (low + (high - low) * torch.rand(*shape, 2, generator=generator)) / 2
    return torch.cat((centre - half, centre + half), dim=-1)
