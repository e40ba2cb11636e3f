"""Named configurations: each is a whole training, from the network to the schedule."""

from __future__ import annotations

import difflib
from dataclasses import replace

from maskrcnn.config import (
    AnchorConfig,
    BackboneConfig,
    BoxHeadConfig,
    Config,
    ConfigurationError,
    DataConfig,
    ImageConfig,
    KeypointHeadConfig,
    MaskHeadConfig,
    ModelConfig,
    RPNConfig,
    TextConfig,
    TrainingConfig,
)
from maskrcnn.text_recipes import TEXT_RATIOS, TEXT_RECIPES

SMALL = ModelConfig(
    class_names=("text",),
    # Of 1280, 1600 and 1920, the size that found most in photographs held back from training.
    image=ImageConfig(short_side=1920, long_side=1920),
    backbone=BackboneConfig(
        depth="14",
        width=32,
        stem_width=16,  # at half the picture's size, every channel costs four times what it does in the first stage
        norm="batch",
        frozen_stages=0,
        pyramid_channels=32,
        pyramid_norm="batch",
    ),
    # Words seven times as tall as wide are rare enough to leave out on a laptop.
    anchors=AnchorConfig(sizes=(16.0, 32.0, 64.0, 128.0, 256.0), ratios=TEXT_RATIOS[:4]),
    # Few words fill an anchor of another shape by 0.7: with 0.5 more of them teach where proposals belong.
    rpn=RPNConfig(
        positive_iou=0.5,
        samples=128,
        candidates_train=500,
        candidates_test=500,
        proposals_train=250,
        proposals_test=300,
    ),
    # A bin of a long word is wide: two samples would step over letters.
    box_head=BoxHeadConfig(hidden=256, norm="batch", samples=64, sampling_ratio=0),
    mask_head=MaskHeadConfig(convolutions=2, channels=32, sampling_ratio=0),
)
"""A text detector that a laptop can train: a twentieth of the parameters of the recipe with ResNet-50."""

DEMO = Config(
    name="demo",
    model=replace(SMALL, image=ImageConfig(short_side=288, long_side=288)),
    # Bent lines are thin in a mask of 28 x 28 cells: at a half they lose their rim.
    text=TextConfig(shape="polygon", mask_threshold=0.4, polygon_nms_iou=0.2),
    data=DataConfig(crop=0, colour_probability=0.5),
    training=TrainingConfig(
        steps=1100,
        # Per picture, two learn faster than four: what is missing at first is steps, not precise gradients.
        batch_size=2,
        optimiser="adamw",
        learning_rate=2.5e-3,
        weight_decay=1e-2,
        warmup_steps=60,
        schedule="cosine",
        gradient_clip=5.0,
        average_decay=0.99,
        checkpoint_every=250,
        # With two cores, a process that draws beside the training takes more from it than drawing in between.
        workers=0,
    ),
)
"""From nothing to reading-desk quality on rendered text, in three minutes on two cores."""

TEXT_SMALL = Config(
    name="text_small",
    model=replace(
        SMALL,  # more of everything than the demo has: photographs are harder, and a crop of one holds more pixels
        image=replace(SMALL.image, largest_enlargement=1.5),  # by so much are the photographs of ICDAR2015 enlarged
        backbone=replace(SMALL.backbone, depth="18", pyramid_channels=64),
        rpn=replace(SMALL.rpn, samples=256),
        box_head=replace(SMALL.box_head, samples=128),
        mask_head=replace(SMALL.mask_head, channels=64),
    ),
    text=TextConfig(polygon_nms_iou=0.3),
    data=DataConfig(
        crop=512,
        scale_range=(0.6, 2.0),
        aspect_range=(0.85, 1.2),
        around_object_probability=0.85,
        rotation_degrees=10.0,
        colour_probability=0.7,
        ignored="ignore",
    ),
    training=replace(
        DEMO.training,
        steps=10_000,
        batch_size=4,
        learning_rate=1.5e-3,
        warmup_steps=200,
        average_decay=0.999,
        workers=1,  # reading and cutting photographs is a small part of these larger steps
    ),
)
"""The detector that ships with the package: ICDAR2015 from rendered text, on one core in an evening."""

COCO = Config(
    name="coco",
    model=ModelConfig(
        class_names=("object",),  # training takes the classes of the data
        image=ImageConfig(short_side=800, long_side=1333, rounding="floor"),
        backbone=BackboneConfig(depth="50", norm="batch_frozen", frozen_stages=1),
        anchors=AnchorConfig(round_to_pixels=True, stride_from_feature_size=True),
        rpn=RPNConfig(low_quality="own_best", proposals_train=2000),
        box_head=BoxHeadConfig(
            aligned=False, clamp_both_sides=False, background_outputs=True, minimum_size=0.01,
            nms_in_original_pixels=False,
        ),
        mask_head=MaskHeadConfig(aligned=False, targets="soft", paste="padded_resize"),
        initialisation="torchvision",
    ),
    data=DataConfig(
        format="coco", crop=0, short_sides=(800,), flip_probability=0.5, colour_probability=0.0,
        padded_sizes=((800, 1088), (1088, 800), (800, 1216), (1216, 800), (800, 1344), (1344, 800)),
    ),
    training=TrainingConfig(
        steps=190_600, batch_size=16, learning_rate=0.02, warmup_steps=1000, milestones=(16 / 26, 22 / 26),
        checkpoint_every=2000, workers=8,
    ),
)
"""torchvision's `maskrcnn_resnet50_fpn`, from an ImageNet ResNet-50 (`--init`): 26 epochs of train2017, box AP 37.9 and
mask AP 34.6 on val2017 by its own account. What differs: crowds are ignored, where torchvision takes them for
background; pictures are scaled with antialiasing; and batches have one of six sizes, where torchvision groups by
proportions and pads to the largest of a batch."""

COCO_KEYPOINTS = Config(
    name="coco_keypoints",
    model=replace(
        COCO.model,
        class_names=("person",),
        mask_head=MaskHeadConfig(enabled=False),
        keypoint_head=KeypointHeadConfig(enabled=True, aligned=False),
    ),
    data=replace(COCO.data, short_sides=(640, 672, 704, 736, 768, 800)),
    training=replace(COCO.training, steps=163_000, milestones=(36 / 46, 43 / 46)),
)
"""torchvision's `keypointrcnn_resnet50_fpn`: 46 epochs of the 57,000 pictures of train2017 with people whose joints are
labelled, box AP 54.6 and keypoint AP 65.0 on val2017 by its own account. Otherwise as `coco`, without masks; with
`model.mask_head.enabled=True` it is the paper's table 5."""

COCO_SMALL = Config(
    name="coco_small",
    model=replace(
        SMALL,
        class_names=("object",),
        image=ImageConfig(short_side=320, long_side=533),
        anchors=AnchorConfig(sizes=(16.0, 32.0, 64.0, 128.0, 256.0)),
        rpn=replace(SMALL.rpn, samples=256),
        box_head=BoxHeadConfig(hidden=256, norm="batch", samples=128),
        mask_head=MaskHeadConfig(convolutions=2, channels=64),
    ),
    data=DataConfig(
        format="coco", crop=0, short_sides=(256, 288, 320, 352), flip_probability=0.5, colour_probability=0.5
    ),
    training=replace(TEXT_SMALL.training, steps=20_000, batch_size=2, average_decay=0.998),
)
"""A network that a laptop can train from nothing on a few hundred pictures with objects of a few classes."""

RECIPES = {config.name: config for config in (DEMO, TEXT_SMALL, *TEXT_RECIPES, COCO, COCO_KEYPOINTS, COCO_SMALL)}


def recipe(name: str) -> Config:
    """The configuration called `name`. Raises ConfigurationError, with the nearest names, if there is none."""
    if name not in RECIPES:
        near = difflib.get_close_matches(name, RECIPES, n=2, cutoff=0.0)
        raise ConfigurationError(f"{name}: no such recipe; nearest: {', '.join(near)}; all: {', '.join(RECIPES)}")
    return RECIPES[name]
