"""A small network of each variant of the paper; `tests/test_variants.py` trains, saves and runs them."""

from __future__ import annotations

from dataclasses import replace

from small_model import SMALL, change

from maskrcnn.config import ModelConfig


def vary(config: ModelConfig = SMALL, **settings) -> ModelConfig:
    """A copy with other settings in its `variant`."""
    return change(config, "variant", **settings)


def without_convolutions(config: ModelConfig, pooled_size: int = 7) -> ModelConfig:
    """The heads of figure 4, left."""
    return change(change(config, "box_head", pooled_size=pooled_size), "mask_head", pooled_size=pooled_size,
                  convolutions=0)  # fmt: skip


RESNEXT = change(SMALL, "backbone", depth="50", width=4, cardinality=4, group_width=2)

VARIANTS = {
    "C4": without_convolutions(vary(features="c4")),
    "C4 with strides in res5": without_convolutions(vary(features="c4", res5_stride=2), 14),
    "C4 of a ResNeXt": without_convolutions(vary(RESNEXT, features="c4")),
    "C5": vary(features="c5"),
    "ResNeXt": RESNEXT,
    "RoIAlign, maximum": vary(roi_layer="align_max"),
    "RoIWarp, average": vary(roi_layer="warp"),
    "RoIWarp, maximum": vary(roi_layer="warp_max"),
    "RoIPool": vary(roi_layer="pool"),
    "C4 with RoIPool": without_convolutions(vary(features="c4", roi_layer="pool")),
    "softmax masks": vary(mask_output="softmax"),
    "class-agnostic masks": vary(mask_output="class_agnostic"),
    "MLP masks": vary(mask_hidden=(32, 24)),
    "MLP softmax masks": vary(mask_hidden=(32, 24, 16), mask_output="softmax"),
    "MLP class-agnostic masks": vary(mask_hidden=(32, 24), mask_output="class_agnostic"),
    "C4 with strides in res5 and an MLP": without_convolutions(
        vary(features="c4", res5_stride=2, mask_hidden=(32, 24)), 14
    ),
    "pyramids": change(
        # A detector of text that has outputs for both classes of the pictures.
        replace(SMALL, class_names=("text", "unused 2")),
        "mask_head",
        targets="pyramid",
        dilation=2,
        upsampling="bilinear",
    ),
    "Faster R-CNN": change(SMALL, "mask_head", enabled=False),
    "masks of 14 x 14": change(SMALL, "mask_head", pooled_size=7),
    "masks of 56 x 56": change(SMALL, "mask_head", pooled_size=28),
    "torchvision's background slot": change(
        replace(SMALL, initialisation="torchvision", variant=vary(mask_output="class_agnostic").variant),
        "box_head",
        background_outputs=True,
    ),
}
MASK_SIZES = {"C4": 14, "C4 with strides in res5": 14, "C4 of a ResNeXt": 14, "C4 with RoIPool": 14,
              "C4 with strides in res5 and an MLP": 14, "masks of 14 x 14": 14, "masks of 56 x 56": 56}  # fmt: skip
"""m of those that have not 28."""
