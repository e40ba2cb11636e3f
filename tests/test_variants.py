"""The paper's variants: which class each setting asks for, how large they are, and that every one of them trains a
step, is saved, comes back and finds the same. How each part works is tested beside the part.
"""

import json
from dataclasses import fields, replace
from unittest import mock

import pytest
import torch
from small_model import SMALL, change, gradients, make_batch
from small_variants import MASK_SIZES, VARIANTS, vary
from test_fixed_shapes import (
    PICTURES,
    batch_of,
    expect_same,
    insert_slots,
    operators,
    priorities,
    small_model,
    training_step,
    whole_step,
)
from torch._subclasses.fake_tensor import FakeTensorMode

from maskrcnn import boxes as box_functions
from maskrcnn.config import BackboneConfig, Config, ConfigurationError, ModelConfig, TextConfig, VariantConfig
from maskrcnn.model.box_head import BoxHead
from maskrcnn.model.fpn import FeaturePyramid
from maskrcnn.model.mask_head import MaskHead
from maskrcnn.model.mask_rcnn import MaskRCNN
from maskrcnn.model.pooling import PyramidRoIAlign
from maskrcnn.model.resnet import Bottleneck
from maskrcnn.model.roi_heads import RoIHeads
from maskrcnn.ops import paste_masks
from maskrcnn.targets.losses import total_loss
from maskrcnn.training.checkpoint import load_into, load_weights, save_weights

EVERY = pytest.mark.parametrize("name", VARIANTS)
REPRESENTATIVES = ("C4", "RoIPool", "MLP softmax masks", "pyramids")
"""A stage on RoIs, a loop over levels, another output, other targets: what could depend on the data. The others are
tested slowly."""
REPRESENTATIVES_FIRST = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in REPRESENTATIVES else pytest.mark.slow) for name in VARIANTS]
)
LOSSES = {"rpn_objectness", "rpn_box", "class", "box", "mask"}


def losses_of(config):
    return LOSSES if config.mask_head.enabled else LOSSES - {"mask"}


def model_of(config):
    torch.manual_seed(0)
    return MaskRCNN(config)


# --- Which class each setting asks for --------------------------------------------------------------------------------


def test_without_settings_nothing_is_varied():
    model = MaskRCNN(SMALL)
    assert type(model.pyramid) is FeaturePyramid and type(model.roi_heads.pool) is PyramidRoIAlign
    assert type(model.roi_heads.box_head) is BoxHead and type(model.roi_heads.mask_head) is MaskHead
    with torch.device("meta"):
        assert type(MaskRCNN(ModelConfig()).backbone.layer1[0]) is Bottleneck


@pytest.mark.parametrize(
    ("name", "part", "kind"),
    [
        ("ResNeXt", "backbone.layer1.0", "ResNeXtBottleneck"),
        ("C4", "pyramid", "SingleMap"),
        ("C4", "roi_heads.pool", "Res5Pooling"),
        ("C4", "roi_heads.pool.roi_layer", "PyramidRoIAlign"),
        ("C4", "roi_heads.box_head", "Res5BoxHead"),
        ("C4", "roi_heads.mask_head", "MaskHead"),
        ("C4 with RoIPool", "roi_heads.pool.roi_layer", "RoIPool"),
        ("C4 of a ResNeXt", "roi_heads.pool.layer4.0", "ResNeXtBottleneck"),
        ("C5", "pyramid", "SingleMap"),
        ("C5", "roi_heads.pool", "PyramidRoIAlign"),
        ("C5", "roi_heads.box_head", "BoxHead"),
        ("RoIAlign, maximum", "roi_heads.pool", "MaxRoIAlign"),
        ("RoIWarp, average", "roi_heads.pool", "RoIWarp"),
        ("RoIWarp, maximum", "roi_heads.pool", "RoIWarp"),
        ("RoIPool", "roi_heads.pool", "RoIPool"),
        ("softmax masks", "roi_heads.mask_head", "SoftmaxMaskHead"),
        ("class-agnostic masks", "roi_heads.mask_head", "ClassAgnosticMaskHead"),
        ("MLP masks", "roi_heads.mask_head", "FullyConnectedMaskHead"),
        ("MLP softmax masks", "roi_heads.mask_head", "FullyConnectedSoftmaxMaskHead"),
        ("MLP class-agnostic masks", "roi_heads.mask_head", "FullyConnectedClassAgnosticMaskHead"),
        ("pyramids", "roi_heads.mask_head", "PyramidMaskHead"),
        ("pyramids", "roi_heads.mask_head.deconvolution", "UpsamplingConvolution"),
    ],
)
def test_each_setting_has_its_class(name, part, kind):
    assert type(MaskRCNN(VARIANTS[name]).get_submodule(part)).__name__ == kind


def test_the_two_ways_to_warp():
    modes = {name: MaskRCNN(VARIANTS[name]).roi_heads.pool.mode for name in ("RoIWarp, average", "RoIWarp, maximum")}
    assert modes == {"RoIWarp, average": "average", "RoIWarp, maximum": "max"}


def test_a_single_map_has_anchors_of_all_sizes():
    """Spec 1.8: five sizes and three ratios at each cell of C4, 16 pixels apart."""
    for name, stride in (("C4", 16), ("C5", 32)):
        model = MaskRCNN(VARIANTS[name])
        assert model.rpn.head.objectness.out_channels == 15 and model.rpn.head.deltas.out_channels == 60
        roi_layer = model.roi_heads.pool.roi_layer if name == "C4" else model.roi_heads.pool
        assert model.rpn.anchor_generator.strides == roi_layer.strides == (stride,)


# --- Settings ---------------------------------------------------------------------------------------------------------


def test_files_from_before_the_variants_are_read():
    values = json.loads(json.dumps(Config().to_dict()))
    backbone = values["model"]["backbone"]
    del values["model"]["variant"], backbone["cardinality"], backbone["group_width"]
    assert Config.from_dict(values) == Config()


def test_variants_can_be_set_from_text_and_survive_a_file():
    config = Config().override(
        ["model.variant.features=c4", "model.variant.mask_hidden=1024,1024", "model.variant.roi_layer=warp_max"]
    )
    assert config.model.variant == VariantConfig(features="c4", mask_hidden=(1024, 1024), roi_layer="warp_max")
    assert Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: VariantConfig(features="c3"), "VariantConfig.features: found 'c3', expected one of"),
        (lambda: VariantConfig(res5_stride=2), "VariantConfig.res5_stride: found 2 with features pyramid, expected 1"),
        (lambda: VariantConfig(mask_hidden=(8,) * 4), "VariantConfig.mask_hidden: found 4 layers, expected 3 or fewer"),
        (lambda: VariantConfig(mask_hidden=(0,)), r"VariantConfig.mask_hidden\[0\]: found 0, expected 1 or more"),
        (
            lambda: vary(ModelConfig(backbone=BackboneConfig(norm="batch")), features="c4"),
            "BackboneConfig.norm: found 'batch' with features c4, expected another",
        ),
        (
            lambda: vary(change(SMALL, "mask_head", sampling_ratio=0), roi_layer="warp"),
            "VariantConfig.roi_layer: found warp with mask_head.sampling_ratio 0, expected 1 or more",
        ),
        (
            lambda: BackboneConfig(depth="18", cardinality=32, group_width=4),
            "BackboneConfig.depth: found 18 with cardinality 32, expected 50 or 101",
        ),
        (
            lambda: BackboneConfig(cardinality=32),
            "BackboneConfig.group_width: found 0 with cardinality 32, expected 1 or more",
        ),
        (lambda: BackboneConfig(group_width=8), "BackboneConfig.group_width: found 8 with cardinality 1, expected 0"),
        (
            lambda: vary(VARIANTS["pyramids"], mask_output="class_agnostic"),
            "VariantConfig.mask_output: found 'class_agnostic' with mask_head.targets pyramid, expected 'per_class'",
        ),
        (
            lambda: vary(VARIANTS["pyramids"], mask_hidden=(8,)),
            r"VariantConfig.mask_hidden: found \(8,\) with mask_head.targets pyramid, expected \(\)",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(make, message):
    with pytest.raises(ConfigurationError, match=f"^{message}"):
        make()


def test_what_needs_no_fixed_number_of_samples_takes_any():
    for roi_layer in ("align", "pool"):
        assert vary(change(SMALL, "box_head", sampling_ratio=0), roi_layer=roi_layer).variant.roi_layer == roi_layer


# --- Size -------------------------------------------------------------------------------------------------------------
# Of 80 classes. BatchNorm's scales and shifts are constants here, apart from those that ResNeXt's published numbers
# include; 53 norms of a ResNet-50 have 53,120 of them (spec 1.10), 104 of a ResNet-101 105,344.


def convolution(channels, outputs, size=1):
    """Parameters of a convolution with bias, or of a fully connected layer."""
    return (channels * size**2 + 1) * outputs


def stage(blocks, channels, width):
    """Weights of bottlenecks: 1 x 1, 3 x 3 and 1 x 1, and the projection of the first."""
    first = channels * width + 9 * width**2 + 4 * width**2 + 4 * channels * width
    return first + (blocks - 1) * (4 * width**2 + 9 * width**2 + 4 * width**2)


STEM = 3 * 64 * 7**2
RESNET_50 = 23_508_032 - 53_120  # torchvision's 25,557,032 less its classifier, and less norms
RESNET_101 = 42_500_160 - 105_344
PYRAMID = sum(convolution(channels, 256) + convolution(256, 256, 3) for channels in (256, 512, 1024, 2048))
RPN = convolution(256, 256, 3) + convolution(256, 3 * 5)
BOX_OUTPUTS = 81 + 4 * 80
BOX_HEAD = convolution(256 * 7**2, 1024) + convolution(1024, 1024) + convolution(1024, BOX_OUTPUTS)
MASK_CONVOLUTIONS = 4 * convolution(256, 256, 3)
DECONVOLUTION = 4 * 256 * 256 + 256
MASK_HEAD = MASK_CONVOLUTIONS + DECONVOLUTION + convolution(256, 80)
SECOND_STAGE = BOX_HEAD + MASK_HEAD

TO_C4 = STEM + stage(3, 64, 64) + stage(4, 256, 128) + stage(6, 512, 256)
RES5 = stage(3, 1024, 512)
C4_HEADS = RES5 + convolution(2048, BOX_OUTPUTS) + 4 * 2048 * 256 + 256 + convolution(256, 80)
C4_RPN = convolution(1024, 1024, 3) + convolution(1024, 15 * 5)
C5_HEADS = SECOND_STAGE + (2048 - 256) * 7**2 * 1024 + 9 * (2048 - 256) * 256
C5_RPN = convolution(2048, 2048, 3) + convolution(2048, 15 * 5)
MLP_INPUT, MLP_OUTPUT = convolution(256 * 14**2, 1024), convolution(1024, 80 * 28**2)
R_101 = ["model.backbone.depth=101"]
C4 = ["model.variant.features=c4", "model.mask_head.pooled_size=7", "model.mask_head.convolutions=0"]
RESNEXT_101 = [*R_101, "model.backbone.norm=batch"]
COUNTS = [
    ("R-50-FPN", [], RESNET_50 + PYRAMID + RPN + SECOND_STAGE, 44_343_216),
    ("R-101-FPN", R_101, RESNET_101 + PYRAMID + RPN + SECOND_STAGE, 63_283_120),
    ("R-50-C4", C4, TO_C4 + C4_RPN + C4_HEADS, 35_909_612),
    ("R-101-C4", [*R_101, *C4], RESNET_101 - RES5 + C4_RPN + C4_HEADS, 54_849_516),
    ("R-50-C5", ["model.variant.features=c5"], RESNET_50 + C5_RPN + C5_HEADS, 172_353_516),
    (
        "X-101-32x8d-FPN",  # torchvision's 88,791,336 less its classifier of 2,049,000
        [*RESNEXT_101, "model.backbone.cardinality=32", "model.backbone.group_width=8"],
        88_791_336 - 2_049_000 + PYRAMID + RPN + SECOND_STAGE,
        107_630_640,
    ),
    (
        "X-101-64x4d-FPN",  # torchvision's 83,455,272
        [*RESNEXT_101, "model.backbone.cardinality=64", "model.backbone.group_width=4"],
        83_455_272 - 2_049_000 + PYRAMID + RPN + SECOND_STAGE,
        102_294_576,
    ),
    (
        "softmax",  # a map of the background
        ["model.variant.mask_output=softmax"],
        RESNET_50 + PYRAMID + RPN + SECOND_STAGE + convolution(256, 1),
        44_343_473,
    ),
    (
        "class-agnostic",
        ["model.variant.mask_output=class_agnostic"],
        RESNET_50 + PYRAMID + RPN + SECOND_STAGE - convolution(256, 79),
        44_322_913,
    ),
    (
        "MLP 1024-1024",
        ["model.variant.mask_hidden=1024,1024"],
        RESNET_50 + PYRAMID + RPN + BOX_HEAD + MLP_INPUT + convolution(1024, 1024) + MLP_OUTPUT,
        158_418_784,
    ),
    (
        "MLP 1024-1024-1024",
        ["model.variant.mask_hidden=1024,1024,1024"],
        RESNET_50 + PYRAMID + RPN + BOX_HEAD + MLP_INPUT + 2 * convolution(1024, 1024) + MLP_OUTPUT,
        159_468_384,
    ),
    (
        "Faster R-CNN",
        ["model.mask_head.enabled=False"],
        RESNET_50 + PYRAMID + RPN + BOX_HEAD,
        41_699_936,
    ),
    ("RoIPool", ["model.variant.roi_layer=pool"], RESNET_50 + PYRAMID + RPN + SECOND_STAGE, 44_343_216),
    ("masks of 56 x 56", ["model.mask_head.pooled_size=28"], RESNET_50 + PYRAMID + RPN + SECOND_STAGE, 44_343_216),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "counted", "count"), [row[1:] for row in COUNTS], ids=[row[0] for row in COUNTS])
def test_parameter_counts(settings, counted, count):
    """Counted layer by layer, and as a number to be found elsewhere."""
    model = ModelConfig(class_names=tuple(f"class {index}" for index in range(80)))
    config = Config(model=model).override(settings).model
    with torch.device("meta"):
        network = MaskRCNN(config)
    assert sum(parameter.numel() for parameter in network.parameters()) == counted == count


# --- A step, a file, the same detections ------------------------------------------------------------------------------


@EVERY
def test_a_step_reaches_every_parameter_that_learns(name):
    config = VARIANTS[name]
    model = model_of(config).to(memory_format=torch.channels_last)
    losses = model(make_batch(PICTURES, 2)).losses
    assert losses.keys() == losses_of(config) and all(loss.isfinite() and loss > 0 for loss in losses.values())
    total_loss(losses).backward()
    reached = gradients(model)
    assert reached.keys() == {name for name, value in model.named_parameters() if value.requires_grad}
    assert all(value.isfinite().all() for value in reached.values())
    parts = {".".join(name.split(".")[:2]) for name in reached}
    assert parts == {".".join(name.split(".")[:2]) for name, value in reached.items() if value.any()}


@EVERY
def test_what_was_saved_finds_the_same(name, tmp_path):
    config, batch = VARIANTS[name], replace(make_batch(PICTURES, 2), targets=None)
    model = small_model(config).eval()
    before = model(batch).detections
    text = TextConfig(outlines="planes" if name == "pyramids" else "contour")
    save_weights(tmp_path / "model.safetensors", model.state_dict(), Config(model=model.config, text=text))
    state, read, _ = load_weights(tmp_path / "model.safetensors")
    assert read.model == model.config
    again = MaskRCNN(read.model).eval()
    load_into(again, state, "model.safetensors")
    after = again(batch).detections
    assert before.valid.any()
    for field in fields(before):
        torch.testing.assert_close(getattr(after, field.name), getattr(before, field.name), rtol=0, atol=0)
    if config.mask_head.enabled:
        size = MASK_SIZES.get(name, 28)
        assert before.masks.shape == (*before.scores.shape, size, size)
        assert ((before.masks >= 0) & (before.masks <= 1)).all() and before.masks[before.valid].std() > 0
    else:
        assert before.masks is None and name == "Faster R-CNN"


@REPRESENTATIVES_FIRST
def test_batches_without_any_object(name):
    model = model_of(VARIANTS[name])
    losses = model(make_batch([[], []], 0)).losses
    assert losses["rpn_box"] == losses["box"] == losses.get("mask", 0) == 0 and losses["class"] > 0
    total_loss(losses).backward()
    assert all(value.isfinite().all() for value in gradients(model).values())


@REPRESENTATIVES_FIRST
def test_bfloat16_step_is_close_to_float32(name):
    losses = {}
    for enabled in (False, True):
        model = model_of(VARIANTS[name])
        torch.manual_seed(1)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            output = model(make_batch(PICTURES, 2), detect=True)
        assert not VARIANTS[name].mask_head.enabled or output.detections.masks.dtype == torch.float32
        losses[enabled] = output.losses
    for loss in losses[False]:
        assert losses[True][loss].item() == pytest.approx(losses[False][loss].item(), rel=0.1, abs=0.02), loss


# --- Fixed shapes (design decision 2) ---------------------------------------------------------------------------------


@REPRESENTATIVES_FIRST
def test_step_on_meta_tensors(name):
    config = VARIANTS[name]
    model, batch = MaskRCNN(config).to("meta"), batch_of(2, 4).to("meta")
    with FakeTensorMode(allow_non_fake_inputs=True), torch.device("meta"):
        output = training_step(model, batch)
    assert {loss: tuple(value.shape) for loss, value in output.losses.items()} == dict.fromkeys(losses_of(config), ())
    size = MASK_SIZES.get(name, 28)
    assert output.detections.boxes.shape == (2, 8, 4)
    assert not config.mask_head.enabled or output.detections.masks.shape == (2, 8, size, size)
    assert all(value.grad.shape == value.shape for value in model.parameters())


@REPRESENTATIVES_FIRST
def test_no_operator_depends_on_the_pictures_or_their_number(name):
    config = VARIANTS[name]
    counts = operators(config, images=1, slots=3)
    assert counts == operators(config, images=3, slots=3), "nowhere does a loop go through the images"
    assert operators(config, images=2, slots=0) == operators(config, images=2, slots=50)


@REPRESENTATIVES_FIRST
def test_empty_slots_change_nothing(name):
    """Neither those of ground truths nor, on a CPU, whether the heads skip those of RoIs."""
    model, batch, extra = small_model(VARIANTS[name]), make_batch(PICTURES, 2), 3
    padded = {name: insert_slots(value, 2, extra, junk=False) for name, value in batch.targets.per_slot.items()}
    proposals = model.config.rpn.proposals_train
    with priorities((proposals + 2, proposals + 2, extra)):
        expected = whole_step(model, batch)
        expect_same(whole_step(model, replace(batch, targets=replace(batch.targets, **padded))), expected)
        with mock.patch.object(RoIHeads, "real_slots_only", False):
            expect_same(whole_step(model, batch), expected)


# --- They learn -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", ["C4", "softmax masks", "MLP masks"])
def test_one_picture_is_learned_by_heart(name):
    """Within 300 steps both objects are found, with class, box and outline."""
    config, batch = VARIANTS[name], make_batch([PICTURES[0]], 2)
    batch = replace(batch, original_sizes=batch.image_sizes)
    model = model_of(config)
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(300):
        optimiser.zero_grad()
        total_loss(model(batch).losses).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
    with torch.no_grad():
        found = model.eval()(batch, detect=True).detections
    for slot, label in enumerate((1, 2)):
        best = int((found.scores[0] * (found.labels[0] == label)).argmax())
        assert found.scores[0, best] > 0.5
        assert box_functions.iou(found.boxes[0, best, None], batch.targets.boxes[0, slot, None]) > 0.75
        mask = paste_masks(
            found.masks[0, best, None],
            found.boxes[0, best, None],
            height=64,
            width=96,
            convention=config.mask_head.paste,
        )[0]
        expected = batch.targets.full_masks(64, 96)[0, slot]
        assert (mask & expected).sum() / (mask | expected).sum() > 0.7
