"""Random boxes and masks that several tests share."""

import torch
from torch import Tensor


def random_boxes(*shape: int, seed: int, extent: float = 100.0) -> Tensor:
    """(*shape, 4) float64 boxes of at least one pixel a side, inside a square of `extent` pixels."""
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(*shape, 2, generator=generator, dtype=torch.float64) * (extent - 1)
    size = 1 + torch.rand(*shape, 2, generator=generator, dtype=torch.float64) * (extent - 1 - corner)
    return torch.cat((corner, corner + size), dim=-1)
