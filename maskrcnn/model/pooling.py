"""Pooling: what the maps show inside each RoI, as a grid of fixed size (paper section 3, "RoIAlign")."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from maskrcnn import ops
from maskrcnn.config import BoxHeadConfig, KeypointHeadConfig, MaskHeadConfig

HeadConfig = BoxHeadConfig | MaskHeadConfig | KeypointHeadConfig


class PyramidRoIAlign(nn.Module):
    """RoIs (B, R, 4) -> (B, R, C, S, S), each from the level that suits its size (FPN equation 1)."""

    def __init__(self, strides: Sequence[int]) -> None:
        """strides of the L levels."""
        super().__init__()
        self.strides = tuple(strides)

    def forward(self, features: Sequence[Tensor], rois: Tensor, head: HeadConfig) -> Tensor:
        """features: L maps (B, C, H_l, W_l); head: for whom, since each has its own S and way of sampling."""
        return ops.pyramid_roi_align(
            features,
            rois,
            output_size=head.pooled_size,
            strides=self.strides,
            sampling_ratio=head.sampling_ratio,
            aligned=head.aligned,
        )
