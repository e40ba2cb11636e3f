"""No pyramid: proposals and RoIs all see one map, as in Faster R-CNN (table 2a, "C4"; table 2d, "C5")."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class SingleMap(nn.Module):
    """Of the backbone's maps the last."""

    def __init__(self, strides: tuple[int]) -> None:
        """strides: the one of that map."""
        super().__init__()
        self.strides = self.pooled_strides = strides

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        return [features[-1]]
