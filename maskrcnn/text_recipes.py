"""The text benchmarks with a ResNet-50: MMOCR's recipes to the letter, and beside each what we would do today.

MMOCR 0.x trained Mask R-CNN on ICDAR2015, ICDAR2017-MLT and CTW1500 with one configuration, whose techniques are those
of Pyramid Mask Text Detector (arXiv 1903.11800), from a ResNet-50 that knew ImageNet (`--init`). By its own account
(best threshold of the sweep):

    recipe        recall  precision  hmean   scored on
    icdar2015     0.783   0.872      0.825   the test set, long side 1920
    icdar2017     0.754   0.827      0.789   the validation set, long side 1600
    ctw1500       0.753   0.712      0.732   the test set, long side 1600

What differs here: pictures are scaled with antialiasing, and masks are drawn at the scale of the crop, where MMOCR
resizes both without; and pictures without any annotation stay, as background.

The recipes that end in `_plus` need no ImageNet: `train RECIPE --data rendered --set training.steps=20000`, or more of
them, comes first (rendered text has no epochs), and its weights are the `--init` of the training on photographs.
"""

from __future__ import annotations

from dataclasses import replace

from maskrcnn.config import (
    AnchorConfig,
    BackboneConfig,
    BoxHeadConfig,
    Config,
    DataConfig,
    ImageConfig,
    MaskHeadConfig,
    ModelConfig,
    RPNConfig,
    TextConfig,
    TrainingConfig,
)

TEXT_RATIOS = (0.17, 0.44, 1.13, 2.90, 7.46)
"""height / width of the words of ICDAR2015 and MLT2017 in five clusters (Pyramid Mask Text Detector, 1903.11800)."""

ICDAR2015 = Config(
    name="icdar2015",
    model=ModelConfig(
        class_names=("text",),
        image=ImageConfig(short_side=1920, long_side=1920, interpolation="bytes", size_divisor=1),
        backbone=BackboneConfig(depth="50", norm="batch_eval", frozen_stages=1),
        anchors=AnchorConfig(sizes=(16.0, 32.0, 64.0, 128.0, 256.0), ratios=TEXT_RATIOS),
        rpn=RPNConfig(box_loss="l1", denominator="at_least_one_each"),
        box_head=BoxHeadConfig(
            sampling_ratio=0, low_quality=True, sampler="hard", ground_truth_proposals="assign", box_loss="l1"
        ),
        mask_head=MaskHeadConfig(sampling_ratio=0),
    ),
    text=TextConfig(outlines="pixels", piece="all"),
    data=DataConfig(
        format="icdar2015",
        crop=640,
        independent_sides=(640, 2560),
        crop_around="all_objects",
        around_object_probability=0.625,
        cut="boxes",
        minimum_visible_fraction=0.0,
        flip_probability=0.5,
        colour_probability=0.0,
        ignored="background",
    ),
    training=TrainingConfig(
        epochs=160,
        batch_size=8,
        learning_rate=0.08,
        learning_rate_batch=64,
        warmup_epochs=31.25,  # 500 steps of 64 pictures, the last of each epoch of a thousand not quite full
        milestones=(80 / 160, 128 / 160),
        checkpoint_every=500,
        workers=4,
    ),
)
"""MMOCR's recipe for ICDAR2015."""

ICDAR2017 = replace(
    ICDAR2015,
    name="icdar2017",
    model=replace(ICDAR2015.model, image=replace(ICDAR2015.model.image, short_side=1600, long_side=1600)),
    data=replace(ICDAR2015.data, format="icdar2017"),
    # 500 steps are fewer of the 113 that an epoch of 7,200 pictures takes.
    training=replace(ICDAR2015.training, warmup_epochs=4.42, checkpoint_every=5000),
)
"""MMOCR's recipe for ICDAR2017-MLT."""

CTW1500 = replace(
    ICDAR2015,
    name="ctw1500",
    model=ICDAR2017.model,
    text=TextConfig(shape="polygon", outlines="pixels", piece="last"),
    # MMOCR's files do not say which of these lines nobody can read.
    data=replace(ICDAR2015.data, format="ctw1500", ignored="object"),
)
"""MMOCR's recipe for CTW1500, whose lines are curved, so that outlines are polygons."""


def improved(recipe: Config) -> Config:
    """A recipe of MMOCR's as we would train it today: each line with a comment is a difference and its reason."""
    model, text, data, training = recipe.model, recipe.text, recipe.data, recipe.training
    backbone = replace(
        model.backbone,
        norm="batch",  # without ImageNet there are no statistics to keep
        frozen_stages=0,  # nor filters
        pyramid_norm="batch",  # from random weights, half the steps
    )
    return replace(
        recipe,
        name=f"{recipe.name}_plus",
        model=replace(
            model,
            backbone=backbone,
            box_head=replace(model.box_head, norm="batch"),  # for the same reason
            image=replace(
                model.image,
                interpolation="antialias",  # as in training, and kinder to small text
            ),
        ),
        text=replace(
            text,
            outlines="contour",  # between the cells of a mask, a fraction of a pixel counts
            piece="largest",  # the lowest piece is often a crumb, and around all of them a rectangle is too large
            polygon_nms_iou=0.3,  # slanted neighbours have overlapping boxes, not outlines (PMTD's value)
        ),
        data=replace(
            data,
            crop_around="one_object",  # MMOCR's windows begin before the words: unmirrored, few show one at the right
            ignored="ignore",  # what nobody can read looks like text all the same: as background it would mislead
            cut="polygons",  # the box of what can be seen, not of what was there
            minimum_visible_fraction=0.5,  # half a word is not what the benchmark asks for
            flip_probability=0.0,  # nobody writes from right to left in mirrored letters
            rotation_degrees=10.0,  # nobody holds a camera quite straight
            colour_probability=0.5,  # a thousand photographs have seen few kinds of light
        ),
        training=replace(
            training,
            schedule="cosine",  # no drops to place
            average_decay=0.999,  # the mean of the last thousand steps is better than any of them
            gradient_clip=10.0,  # one strange crop does not undo an hour
            precision="bfloat16",  # twice as fast where there are units for it; sums and weights stay in float32
        ),
    )


ICDAR2015_PLUS, ICDAR2017_PLUS, CTW1500_PLUS = map(improved, (ICDAR2015, ICDAR2017, CTW1500))
TEXT_RECIPES = (ICDAR2015, ICDAR2015_PLUS, ICDAR2017, ICDAR2017_PLUS, CTW1500, CTW1500_PLUS)
