"""Where 16 bits end: losses and coordinates are computed in float32 at least."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Precision = Literal["float32", "bfloat16"]
"""Of convolutions and matrix products."""


def computing_in(precision: Precision, device_type: str) -> torch.autocast:
    """A context: inside, the network computes in `precision` on devices of this type."""
    return torch.autocast(device_type, torch.bfloat16, enabled=precision == "bfloat16")


def widened(values: Tensor) -> Tensor:
    """Values of any shape in float32; float64 stays what it is.

    Under autocast the heads speak in 16 bits. bfloat16 keeps eight digits of them: it has no name for column 1001 of a
    picture, and who adds up halves in it gets no further than 128.
    """
    return values.to(torch.promote_types(values.dtype, torch.float32))
