"""Where 16 bits end: losses and coordinates are computed in float32 at least."""

from __future__ import annotations

import torch
from torch import Tensor


def widened(values: Tensor) -> Tensor:
    """Values of any shape in float32; float64 stays what it is.

    Under autocast the heads speak in 16 bits. bfloat16 keeps eight digits of them: it has no name for column 1001 of a
    picture, and who adds up halves in it gets no further than 128.
    """
    return values.to(torch.promote_types(values.dtype, torch.float32))
