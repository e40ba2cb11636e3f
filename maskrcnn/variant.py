"""What the paper compares itself with (section 4.2, table 2): one setting for each of its ablations.

The defaults are what the paper settles on. `maskrcnn/model/parts.py` knows which class each setting asks for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from maskrcnn.settings import ConfigurationError, Count, Section


@dataclass(frozen=True)
class VariantConfig(Section):
    """Which parts are not those of the paper's best model. Mask sizes (14, 28, 56) are `MaskHeadConfig.pooled_size`,
    and `MaskHeadConfig.enabled` leaves a Faster R-CNN (table 3)."""

    features: Literal["pyramid", "c4", "c5"] = "pyramid"
    """Tables 2a, 2d: where regions are proposed and pooled. c4: on C4, at stride 16, and each RoI then goes through the
    fifth stage (figure 4, left); c5: on C5, at stride 32. Of either map every cell has the anchors of all sizes."""
    res5_stride: Literal[1, 2] = 1
    """Of the fifth stage on RoIs. 1: on 7 x 7 cells (figure 4); 2: on 14 x 14 (maskrcnn-benchmark, Detectron2), for
    which `pooled_size` of every head should be 14, so that 7 x 7 remain; nothing depends on it."""
    roi_layer: Literal["align", "align_max", "warp", "warp_max", "pool"] = "align"
    """Table 2c. warp and pool round the RoI to cells of the map; a bin is the average of its samples or, with max and
    in pool, the largest."""
    mask_output: Literal["per_class", "class_agnostic", "softmax"] = "per_class"
    """Table 2b. softmax: classes and background compete for each pixel; class_agnostic: one map for all classes."""
    mask_hidden: tuple[Count, ...] = ()
    """Table 2e: fully connected layers with so many units, (1024, 1024) or (1024, 1024, 1024), instead of the mask
    head's convolutions."""

    def __post_init__(self) -> None:
        super().__post_init__()
        layers = len(self.mask_hidden)
        if layers > 3:
            raise ConfigurationError(f"VariantConfig.mask_hidden: found {layers} layers, expected 3 or fewer")
        if self.features != "c4" and self.res5_stride != 1:
            raise ConfigurationError(f"VariantConfig.res5_stride: found 2 with features {self.features}, expected 1")

    def check(self, norm: str, sampling_ratios: Mapping[str, int]) -> None:
        """Raises ConfigurationError unless a backbone with this norm and heads with these ratios can be varied so."""
        if self.features == "c4" and norm == "batch":
            raise ConfigurationError(
                "BackboneConfig.norm: found 'batch' with features c4, expected another: the fifth stage would count "
                "empty RoI slots among its statistics"
            )
        for head, ratio in sampling_ratios.items():
            if ratio == 0 and self.roi_layer not in ("align", "pool"):
                raise ConfigurationError(
                    f"VariantConfig.roi_layer: found {self.roi_layer} with {head}.sampling_ratio 0, expected 1 or more"
                )

    def check_pyramids(self) -> None:
        """Raises ConfigurationError unless the mask head is the paper's, which alone learns pyramids."""
        for name, default in (("mask_output", "per_class"), ("mask_hidden", ())):
            found = getattr(self, name)
            if found != default:
                raise ConfigurationError(
                    f"VariantConfig.{name}: found {found!r} with mask_head.targets pyramid, expected {default!r}"
                )

    def region_channels(self, pyramid: int, stages: Sequence[int]) -> int:
        """Channels of the maps that the RPN looks at, of those of a pyramid and of C2 to C5."""
        return {"pyramid": pyramid, "c4": stages[2], "c5": stages[3]}[self.features]

    def pooled_channels(self, pyramid: int, stages: Sequence[int]) -> int:
        """Channels of what heads get for an RoI: with c4, the fifth stage comes between."""
        return pyramid if self.features == "pyramid" else stages[3]
