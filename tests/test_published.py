"""Importing what other libraries have published: names, the order of the numbers, conventions, and what is refused."""

import json
import os
import pickle
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import published_tensors as published
import pytest
import safetensors
import torch
from small_text import SETTINGS, mistake, run, write_icdar2015
from torch.nn import functional as F

from maskrcnn.config import Config, KeypointHeadConfig, MaskHeadConfig
from maskrcnn.data.collate import normalise
from maskrcnn.detector import load
from maskrcnn.model.mask_rcnn import MaskRCNN
from maskrcnn.model.resnet import ResNet
from maskrcnn.recipes import recipe
from maskrcnn.training import published_conventions as conventions
from maskrcnn.training import published_names as names
from maskrcnn.training.checkpoint import load_weights, save_weights
from maskrcnn.training.published import CLASS_LAYERS, import_weights, start_from

WIDTH, PYRAMID, HIDDEN = 4, 8, 16
NARROW = {"width": WIDTH, "pyramid": PYRAMID, "hidden": HIDDEN}
SETTINGS_NARROW = [
    f"model.backbone.width={WIDTH}",
    f"model.backbone.pyramid_channels={PYRAMID}",
    f"model.box_head.hidden={HIDDEN}",
    f"model.mask_head.channels={PYRAMID}",
]
"""Networks of all families that are made in a moment."""


def save(path: Path, content: object) -> Path:
    """A file as the library of its ending writes it."""
    if path.suffix == ".pkl":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path)
    return path


@lru_cache
def _drawn(names: tuple, shapes: tuple) -> dict[str, torch.Tensor]:
    return published.draw(dict(zip(names, shapes, strict=True)))


def draw(shapes: published.Shapes) -> dict[str, torch.Tensor]:
    """The same tensors every time, drawn once."""
    return {name: value.clone() for name, value in _drawn(tuple(shapes), tuple(shapes.values())).items()}


def arrays(state: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in state.items()}


def narrow(path: Path, family: str, **settings: object):
    return import_weights(path, family, settings=[*SETTINGS_NARROW, *settings.pop("settings", ())], **settings)


# Names and shapes, at full size


KEYPOINTS = replace(
    conventions.TORCHVISION,
    mask_head=MaskHeadConfig(enabled=False),
    keypoint_head=KeypointHeadConfig(enabled=True, aligned=False),
)
FULL_SIZE = {
    "torchvision": (conventions.TORCHVISION, 90, "50", names.TORCHVISION, published.torchvision()),
    "torchvision, old names": (
        conventions.TORCHVISION, 90, "50", names.TORCHVISION_LEGACY, published.torchvision(legacy=True)
    ),
    "torchvision, keypoints": (
        KEYPOINTS, 1, "50", names.TORCHVISION, published.torchvision(classes=2, keypoints=17)
    ),
    "mmdetection": (conventions.MMDETECTION, 80, "50", names.MMDETECTION, published.mmdetection()),
    "mmdetection, ResNet-101": (
        conventions.MMDETECTION, 80, "101", names.MMDETECTION, published.mmdetection(depth="101")
    ),
    "mmocr": (conventions.MMOCR, 1, "50", names.MMDETECTION, published.mmdetection(1, anchors=5)),
    "detectron2": (conventions.DETECTRON2, 80, "50", names.DETECTRON2, published.detectron2()),
    "detectron2, ResNet-101": (conventions.DETECTRON2, 80, "101", names.DETECTRON2, published.detectron2(depth="101")),
}  # fmt: skip


def full_size(convention, classes: int, depth: str) -> MaskRCNN:
    """The network on the meta device: names and shapes."""
    values = Config(model=convention).to_dict()
    values["model"]["class_names"] = [f"class {index}" for index in range(classes)]
    values["model"]["backbone"]["depth"] = depth
    with torch.device("meta"):
        return MaskRCNN(Config.from_dict(values).model)


@pytest.mark.parametrize("case", FULL_SIZE)
def test_each_of_our_tensors_has_its_name_and_shape_there(case):
    """And each of theirs is one of ours: spec 1.11, line by line."""
    convention, classes, depth, rules, theirs = FULL_SIZE[case]
    ours = full_size(convention, classes, depth).state_dict()
    assert {names.their_name(rules, name): tuple(value.shape) for name, value in ours.items()} == theirs


def test_the_counts_of_tensors_are_those_of_the_specification():
    assert len(published.torchvision()) == 307 and len(published.torchvision(counters=True)) == 360


@pytest.mark.parametrize(
    ("convention", "classes", "count"),
    [
        (conventions.TORCHVISION, 90, 44_401_393),
        (KEYPOINTS, 1, 59_137_258),
        (conventions.MMOCR, 1, 43_973_728),
        (conventions.MMOCR, 80, 44_398_906),
        (conventions.MMDETECTION, 80, 44_396_336),
    ],
)
def test_parameter_counts_are_those_of_the_specification(convention, classes, count):
    """Spec 1.10. Frozen norms have no parameters; with MMDetection's they count."""
    assert sum(parameter.numel() for parameter in full_size(convention, classes, "50").parameters()) == count


def test_frozen_norms_hide_their_scales_and_shifts():
    values = Config(model=conventions.TORCHVISION).override(["model.backbone.norm=batch"]).model
    assert sum(p.numel() for p in full_size(values, 90, "50").parameters()) == 44_401_393 + 53_120


# torchvision


@pytest.mark.parametrize("legacy", [False, True])
def test_torchvision_names_of_both_times_give_the_same_network(tmp_path, legacy):
    values = list(draw(published.torchvision(**NARROW)).values())
    shapes = published.torchvision(**NARROW, legacy=legacy)
    path = save(tmp_path / "model.pth", dict(zip(shapes, values, strict=True)))
    imported = narrow(path, "torchvision")
    assert imported.config.model.backbone.norm_epsilon == (0.0 if legacy else 1e-5)
    assert len(imported.state) == 307
    current = dict(zip(published.torchvision(**NARROW), values, strict=True))
    first = narrow(save(tmp_path / "new.pth", current), "torchvision")
    assert all(torch.equal(first.state[name], value) for name, value in imported.state.items())


def test_torchvision_conventions_and_classes(tmp_path):
    path = save(tmp_path / "maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth", draw(published.torchvision(**NARROW)))
    imported = narrow(path, "torchvision")
    model = imported.config.model
    assert model.backbone.norm == "batch_frozen" and model.backbone.norm_epsilon == 0.0  # known by its name
    assert model.class_names[0] == "person" and model.class_names[89] == "toothbrush"
    unused = [label for label, name in enumerate(model.class_names, 1) if name == f"unused {label}"]
    assert tuple(unused) == names.COCO_GAPS and len(set(model.class_names)) == 90
    assert model.anchors.round_to_pixels and not model.box_head.aligned and model.mask_head.paste == "padded_resize"
    assert imported.extra == {"imported_from": path.name, "family": "torchvision"}
    assert imported.config.data.format == "coco" and not imported.config.finds_text
    assert "epsilon of the norms is 0" in imported.notes[0]
    other = narrow(path, "torchvision", settings=["model.backbone.norm_epsilon=0.001"])
    assert other.config.model.backbone.norm_epsilon == 0.001


def test_norms_that_learn_are_known_by_their_counters(tmp_path):
    path = save(tmp_path / "model.pth", draw(published.torchvision(**NARROW, counters=True)))
    imported = narrow(path, "torchvision")
    assert len(imported.state) == 360
    backbone = imported.config.model.backbone
    assert (backbone.norm, backbone.norm_epsilon, backbone.frozen_stages) == ("batch", 1e-5, 0)


def test_other_classes_are_named_by_the_user(tmp_path):
    path = save(tmp_path / "model.pth", draw(published.torchvision(classes=3, **NARROW)))
    with pytest.raises(ValueError, match="found outputs for 2 classes; name them with --classes"):
        narrow(path, "torchvision")
    with pytest.raises(ValueError, match="found outputs for 2 classes, expected as many as --classes names, 1"):
        narrow(path, "torchvision", classes=("cell",))
    assert narrow(path, "torchvision", classes=("cell", "nucleus")).config.model.class_names == ("cell", "nucleus")


def test_a_network_without_masks_is_imported_without_a_mask_head(tmp_path):
    state = {name: value for name, value in draw(published.torchvision(**NARROW)).items() if "mask" not in name}
    imported = narrow(save(tmp_path / "fasterrcnn.pth", state), "torchvision")
    assert not imported.config.model.mask_head.enabled
    MaskRCNN(imported.config.model).load_state_dict(imported.state)


def test_keypoints_of_torchvision(tmp_path):
    shapes = published.torchvision(classes=2, keypoints=17, legacy=True, **NARROW)
    settings = [f"model.keypoint_head.channels={2 * PYRAMID}"]
    imported = narrow(save(tmp_path / "k.pth", draw(shapes)), "torchvision", settings=settings)
    model = imported.config.model
    assert model.class_names == ("person",) and not model.mask_head.enabled
    assert model.keypoint_head.enabled and not model.keypoint_head.aligned and len(model.keypoint_head.names) == 17
    MaskRCNN(model).load_state_dict(imported.state)
    shapes = published.torchvision(classes=2, keypoints=5, **NARROW)
    with pytest.raises(ValueError, match=r"found keypoints of shape \(16, 5, 4, 4\), expected the 17 of a person"):
        narrow(save(tmp_path / "k.pth", draw(shapes)), "torchvision")


def test_networks_of_another_make_are_refused(tmp_path):
    state = draw(published.torchvision(**NARROW))
    second = state | {"roi_heads.box_head.5.weight": torch.zeros(1)}
    with pytest.raises(ValueError, match="found a network of version 2"):
        narrow(save(tmp_path / "v2.pth", second), "torchvision")
    deeper = state | {"backbone.body.layer4.3.conv1.weight": torch.zeros(1)}
    with pytest.raises(ValueError, match=r"found a backbone of \(3, 4, 6, 4\) blocks, expected one of \(2, 2, 2, 2\)"):
        narrow(save(tmp_path / "deeper.pth", deeper), "torchvision")


# MMDetection and MMOCR


def test_mmdetections_background_comes_first_here(tmp_path):
    state = draw(published.mmdetection(classes=3, **NARROW))
    meta = {"CLASSES": ("a", "b", "c"), "config": "backbone=dict(style='pytorch')"}
    imported = narrow(save(tmp_path / "epoch_12.pth", {"meta": meta, "state_dict": state}), "mmdetection")
    assert imported.config.model.class_names == ("a", "b", "c")
    for part in ("weight", "bias"):
        theirs = state[f"roi_head.bbox_head.fc_cls.{part}"]
        ours = imported.state[f"roi_heads.box_head.classes.{part}"]
        assert torch.equal(ours[0], theirs[3]) and torch.equal(ours[1:], theirs[:3])
        theirs = state[f"roi_head.bbox_head.fc_reg.{part}"]
        assert torch.equal(imported.state[f"roi_heads.box_head.deltas.{part}"], theirs)
    backbone = imported.config.model.backbone
    assert (backbone.norm, backbone.norm_epsilon, backbone.frozen_stages) == ("batch_eval", 1e-5, 1)


@pytest.mark.parametrize(
    ("meta", "classes"),
    [
        ({"CLASSES": ["x", "y"]}, ("x", "y")),
        ({"dataset_meta": {"classes": ("x", "y")}}, ("x", "y")),  # MMDetection 3
        ({"dataset_meta": {"CLASSES": ("x", "y")}}, ("x", "y")),
        ({"CLASSES": ("x",)}, None),
        ({"CLASSES": ("x", "\x1b[31m")}, None),
        ({"CLASSES": "xy"}, None),
        ({}, None),
    ],
)
def test_class_names_in_a_training_of_mmdetection(tmp_path, meta, classes):
    path = save(tmp_path / "x.pth", {"meta": meta, "state_dict": draw(published.mmdetection(2, **NARROW))})
    if classes is None:
        with pytest.raises(ValueError, match="found outputs for 2 classes; name them with --classes"):
            narrow(path, "mmdetection")
    else:
        assert narrow(path, "mmdetection").config.model.class_names == classes


def test_cocos_80_classes_are_known(tmp_path):
    path = save(tmp_path / "x.pth", {"state_dict": draw(published.mmdetection(80, **NARROW))})
    assert narrow(path, "mmdetection").config.model.class_names == names.COCO_CLASSES


@pytest.mark.parametrize(
    ("name", "classes", "long_side", "shape"),
    [
        ("mask_rcnn_r50_fpn_160e_icdar2015_20210219-8eb340a3.pth", 1, 1920, "quadrilateral"),
        ("mask_rcnn_r50_fpn_160e_icdar2017_20210218-c6ec3ebb.pth", 1, 1600, "quadrilateral"),
        ("mask_rcnn_r50_fpn_160e_ctw1500_20210219-96497a76.pth", 80, 1600, "polygon"),
        ("mine.pth", 1, 1920, "quadrilateral"),
    ],
)
def test_mmocrs_text_detectors(tmp_path, name, classes, long_side, shape):
    """Text is class 1; of CTW1500's 80 classes the others mean nothing, and `predict` reads the first only."""
    state = draw(published.mmdetection(classes, anchors=5, **NARROW))
    imported = narrow(save(tmp_path / name, {"meta": {"CLASSES": "text"}, "state_dict": state}), "mmdetection")
    model = imported.config.model
    assert model.class_names == ("text", *(f"unused {label}" for label in range(2, classes + 1)))
    assert (model.image.short_side, model.image.long_side, model.image.size_divisor) == (long_side, long_side, 1)
    assert imported.config.text.shape == shape
    assert imported.config.text.outlines == "pixels"
    assert imported.config.text.piece == ("last" if shape == "polygon" else "all")
    assert model.anchors.ratios == (0.17, 0.44, 1.13, 2.90, 7.46) and model.anchors.sizes[0] == 16


def test_mmocr_1_wraps_its_model(tmp_path):
    state = draw(published.mmdetection(1, anchors=5, **NARROW))
    wrapped = {f"wrapped_model.{name}": value for name, value in state.items()}
    wrapped |= {"data_preprocessor.mean": torch.zeros(3, 1, 1), "data_preprocessor.std": torch.ones(3, 1, 1)}
    path = save(tmp_path / "mask-rcnn_resnet50_fpn_160e_icdar2015_1.pth", {"meta": {}, "state_dict": wrapped})
    imported = narrow(path, "mmdetection")
    plain = narrow(save(tmp_path / "plain.pth", {"state_dict": state}), "mmdetection")
    assert all(torch.equal(plain.state[name], value) for name, value in imported.state.items())
    assert imported.config.model.image.size_divisor == 32 and imported.config.model.box_head.sampler == "random"


@pytest.mark.parametrize("told_by", ["name", "recipe"])
def test_caffe_style_is_refused(tmp_path, told_by):
    """The shapes are the same, the strides and colours are not."""
    meta = {"config": "model = dict(backbone=dict(style='caffe'))" if told_by == "recipe" else ""}
    name = "mask_rcnn_r50_caffe_fpn_1x.pth" if told_by == "name" else "x.pth"
    path = save(tmp_path / name, {"meta": meta, "state_dict": draw(published.mmdetection(**NARROW))})
    with pytest.raises(ValueError, match='found style "caffe"'):
        narrow(path, "mmdetection")


# Detectron2


def detectron2_network(tmp_path, state=None, **more: object):
    state = state or draw(published.detectron2(classes=3, **NARROW))
    content = {"model": arrays(state | more), "__author__": "Detectron2 Model Zoo"}
    imported = narrow(save(tmp_path / "model_final_f10217.pkl", content), "detectron2", classes=("a", "b", "c"))
    model = MaskRCNN(imported.config.model).eval()
    model.load_state_dict(imported.state)
    return model, imported


def layer(state, name, x, stride=1, padding=0):
    """A convolution of Detectron2 with its norm."""
    x = F.conv2d(x, state[f"{name}.weight"], state.get(f"{name}.bias"), stride, padding)
    if f"{name}.norm.weight" in state:
        norm = [state[f"{name}.norm.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        x = F.batch_norm(x, *norm, training=False, eps=1e-5)
    return x


def detectron2_features(state, pixels: np.ndarray, mean, deviation, blue_first: bool, stride_in_first: bool):
    """C2 to C5, layer by layer with the names, the colours and the strides of Detectron2."""
    image = torch.from_numpy(pixels[..., ::-1].copy() if blue_first else pixels).permute(2, 0, 1)[None].float()
    x = (image - torch.tensor(mean)[:, None, None]) / torch.tensor(deviation)[:, None, None]
    x = F.max_pool2d(F.relu(layer(state, "backbone.bottom_up.stem.conv1", x, 2, 3)), 3, 2, 1)
    outputs = []
    for stage, count in zip(range(2, 6), published.BLOCKS["50"], strict=True):
        for block in range(count):
            name, stride = f"backbone.bottom_up.res{stage}.{block}", 2 if block == 0 and stage > 2 else 1
            first, second = (stride, 1) if stride_in_first else (1, stride)
            y = F.relu(layer(state, f"{name}.conv1", x, first))
            y = F.relu(layer(state, f"{name}.conv2", y, second, 1))
            y = layer(state, f"{name}.conv3", y)
            x = F.relu(y + (layer(state, f"{name}.shortcut", x, stride) if block == 0 else x))
        outputs.append(x)
    return outputs


@pytest.mark.parametrize(
    ("mean", "deviation", "blue_first", "of_msra"),
    [
        ((103.53, 116.28, 123.675), (1.0, 1.0, 1.0), True, True),  # the zoo
        ((102.9801, 115.9465, 122.7717), (1.0, 1.0, 1.0), True, True),  # Detectron's
        ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375), False, False),  # on torchvision's ResNet
    ],
)
def test_detectron2s_features_come_out_of_our_pixels(tmp_path, mean, deviation, blue_first, of_msra):
    """The stem is converted: whoever normalises as for any other network of ours gets what Detectron2 gets."""
    state = draw(published.detectron2(classes=3, **NARROW))
    statistics = {
        "pixel_mean": torch.tensor(mean)[:, None, None],
        "pixel_std": torch.tensor(deviation)[:, None, None],
    }
    # MSRA's stem has the deviation in it, so its weights are as small as pixels are large.
    state["backbone.bottom_up.stem.conv1.weight"] /= 60 if of_msra else 1
    model, imported = detectron2_network(tmp_path, state, **statistics)
    assert imported.config.model.backbone.stride_in_first == of_msra
    pixels = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    expected = detectron2_features(state, pixels, mean, deviation, blue_first, of_msra)
    ours = torch.from_numpy(normalise(pixels, imported.config.model.image)).permute(2, 0, 1)[None]
    for found, right in zip(model.backbone(ours), expected, strict=True):
        torch.testing.assert_close(found, right, rtol=1e-4, atol=1e-4 * float(right.abs().max()))
    # Black is not the padding, so a wrong mean would show.
    assert all(float(right.std()) > 1e-3 for right in expected)


def test_without_statistics_a_file_is_of_the_zoo(tmp_path):
    state = draw(published.detectron2(classes=3, **NARROW))
    _, plain = detectron2_network(tmp_path, state)
    zoo = {"pixel_mean": torch.tensor([103.53, 116.28, 123.675])[:, None, None], "pixel_std": torch.ones(3, 1, 1)}
    _, told = detectron2_network(tmp_path, state, **zoo)
    assert plain.config == told.config and plain.notes == told.notes
    assert all(torch.equal(plain.state[name], value) for name, value in told.state.items())
    assert plain.config.model.image.mean == pytest.approx((0.485, 0.456, 0.406), abs=1e-12)
    assert "STRIDE_IN_1X1" in plain.notes[1]


def test_detectron2s_heads_layer_by_layer(tmp_path):
    """Pyramid, RPN and heads by its names; its background is the last class, and it is ours at the first place."""
    state = draw(published.detectron2(classes=3, **NARROW))
    model, _ = detectron2_network(tmp_path, state)
    torch.manual_seed(0)
    features = [torch.randn(1, 4 * WIDTH * 2**level, 8 >> level, 8 >> level) for level in range(4)]
    merged = [layer(state, f"backbone.fpn_lateral{level + 2}", feature) for level, feature in enumerate(features)]
    for level in (2, 1, 0):
        merged[level] = merged[level] + F.interpolate(merged[level + 1], scale_factor=2, mode="nearest")
    outputs = [layer(state, f"backbone.fpn_output{level + 2}", x, 1, 1) for level, x in enumerate(merged)]
    pyramid = model.pyramid(features)
    for found, right in zip(pyramid, [*outputs, F.max_pool2d(outputs[3], 1, 2)], strict=True):
        torch.testing.assert_close(found, right)

    head = "proposal_generator.rpn_head"
    hidden = F.relu(layer(state, f"{head}.conv", outputs[0], 1, 1))
    objectness, deltas = (level[0] for level in model.rpn.head([outputs[0]]))
    right = layer(state, f"{head}.objectness_logits", hidden).permute(0, 2, 3, 1).flatten(1)
    torch.testing.assert_close(objectness, right)
    right = layer(state, f"{head}.anchor_deltas", hidden)  # (1, 3 * 4, H, W): anchor by anchor, four numbers each
    torch.testing.assert_close(deltas, right.view(1, 3, 4, 8, 8).permute(0, 3, 4, 1, 2).reshape(1, -1, 4))

    pooled = torch.randn(1, 5, PYRAMID, 7, 7)
    x = pooled.flatten(2)[0]
    for name in ("fc1", "fc2"):
        x = F.relu(F.linear(x, state[f"roi_heads.box_head.{name}.weight"], state[f"roi_heads.box_head.{name}.bias"]))
    scores, boxes = (
        F.linear(x, state[f"roi_heads.box_predictor.{name}.weight"], state[f"roi_heads.box_predictor.{name}.bias"])
        for name in ("cls_score", "bbox_pred")
    )
    found = model.roi_heads.box_head(pooled, torch.ones(1, 5, dtype=torch.bool))
    torch.testing.assert_close(found.logits[0, :, 0], scores[:, 3])
    torch.testing.assert_close(found.logits[0, :, 1:], scores[:, :3])
    torch.testing.assert_close(found.deltas[0], boxes.view(5, 3, 4))

    pooled, labels = torch.randn(1, 5, PYRAMID, 14, 14), torch.tensor([[1, 2, 3, 2, 1]])
    x = pooled[0]
    for index in range(1, 5):
        x = F.relu(layer(state, f"roi_heads.mask_head.mask_fcn{index}", x, 1, 1))
    deconvolution = (state[f"roi_heads.mask_head.deconv.{part}"] for part in ("weight", "bias"))
    x = F.relu(F.conv_transpose2d(x, *deconvolution, stride=2))
    right = layer(state, "roi_heads.mask_head.predictor", x)[torch.arange(5), labels[0] - 1]
    torch.testing.assert_close(model.roi_heads.mask_head(pooled, labels)[0], right)


def test_detectron2s_anchors_are_checked_where_the_file_brings_them(tmp_path):
    def anchors(size: float) -> torch.Tensor:
        half = [(size / ratio**0.5 / 2, size * ratio**0.5 / 2) for ratio in (0.5, 1.0, 2.0)]
        return torch.tensor([(-w, -h, w, h) for w, h in half])

    own = {
        f"proposal_generator.anchor_generator.cell_anchors.{level}": anchors(32 * 2**level) for level in range(5)
    }
    model, _ = detectron2_network(tmp_path, **own)
    for level in range(5):
        cell = getattr(model.rpn.anchor_generator, f"cell_{level}")
        torch.testing.assert_close(cell, anchors(32 * 2**level))
    own["proposal_generator.anchor_generator.cell_anchors.2"] = anchors(100)
    with pytest.raises(ValueError, match="found other anchors on level 2 than those of size 128"):
        detectron2_network(tmp_path, **own)


def test_a_training_of_detectron2_is_a_file_of_pytorch(tmp_path):
    state = draw(published.detectron2(classes=3, **NARROW))
    content = {"model": state, "optimizer": {"state": {}}, "iteration": 5}
    imported = narrow(save(tmp_path / "model_final.pth", content), "detectron2", classes=("a", "b", "c"))
    zoo = detectron2_network(tmp_path, state)[1]
    assert all(torch.equal(imported.state[name], value) for name, value in zoo.state.items())


def test_a_stem_for_other_statistics_than_pixels_have_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"pixel_std: found \(0.0, 1.0, 1.0\), expected numbers above 0"):
        detectron2_network(tmp_path, pixel_std=torch.tensor([0.0, 1.0, 1.0]))


# What does not fit


def damaged_state() -> dict[str, torch.Tensor]:
    state = draw(published.torchvision(**NARROW))
    del state["rpn.head.cls_logits.bias"], state["backbone.body.layer2.1.bn2.running_var"]
    state["roi_heads.box_head.fc7.weight"] = torch.zeros(3, 3)
    state["backbone.body.conv1.weight"] = torch.full((WIDTH, 3, 7, 7), torch.nan)
    state["something.else"] = torch.zeros(2)
    return state


def test_everything_that_does_not_fit_is_named(tmp_path):
    with pytest.raises(ValueError) as error:
        narrow(save(tmp_path / "x.pth", damaged_state() | {"epoch": 3}), "torchvision")
    assert str(error.value) == (
        f"{tmp_path / 'x.pth'}: 6 tensors do not fit (missing: backbone.body.layer2.1.bn2.running_var, "
        "rpn.head.cls_logits.bias; of another shape: roi_heads.box_head.fc7.weight is (3, 3), expected (16, 16); "
        "not finite: backbone.body.conv1.weight; unknown: something.else, epoch (a int)); --partial imports the others"
    )


def test_all_are_named_however_many(tmp_path):
    state = {name: value for name, value in draw(published.torchvision(**NARROW)).items() if "layer4" not in name}
    with pytest.raises(ValueError, match="found a backbone of"):
        narrow(save(tmp_path / "x.pth", state), "torchvision")
    state = {name: value for name, value in draw(published.torchvision(**NARROW)).items() if "running" not in name}
    with pytest.raises(ValueError) as error:
        narrow(save(tmp_path / "x.pth", state), "torchvision")
    assert str(error.value).count("running_") == 106 and "106 tensors do not fit" in str(error.value)


def test_a_partial_import_keeps_random_values_where_nothing_is(tmp_path):
    state = damaged_state()
    path = save(tmp_path / "x.pth", state)
    imported = narrow(path, "torchvision", partial=True)
    assert torch.equal(imported.state["roi_heads.box_head.fc1.weight"], state["roi_heads.box_head.fc6.weight"])
    stem = imported.state["backbone.conv1.weight"]
    assert stem.isfinite().all() and stem.std() > 0
    again = narrow(path, "torchvision", partial=True)
    assert all(torch.equal(again.state[name], value) for name, value in imported.state.items())
    assert "not imported, missing: backbone.body.layer2.1.bn2.running_var, rpn.head.cls_logits.bias" in imported.notes
    assert len(imported.notes) == 5
    MaskRCNN(imported.config.model).load_state_dict(imported.state)


@pytest.mark.parametrize("partial", [False, True])
@pytest.mark.parametrize("family", ["torchvision", "mmdetection", "detectron2"])
def test_a_file_of_another_family_is_known_by_its_names(tmp_path, family, partial):
    others = {
        "torchvision": published.torchvision(**NARROW),
        "mmdetection": published.mmdetection(**NARROW),
        "detectron2": published.detectron2(**NARROW),
    }
    right = "mmdetection" if family == "torchvision" else "torchvision"
    path = save(tmp_path / "x.pth", draw(others[right]))
    with pytest.raises(ValueError, match=f"the names of another library: try --from {right}"):
        narrow(path, family, partial=partial)
    with pytest.raises(ValueError, match=rf"found no \S+, by which a Mask R-CNN of {family} is known, but a, \.\.\."):
        narrow(save(tmp_path / "y.pth", {"a": torch.zeros(1)}), family, partial=partial)
    with pytest.raises(ValueError, match="known, but nothing"):
        narrow(save(tmp_path / "z.pth", {}), family, partial=partial)


def test_outputs_without_number_are_refused_before_anything_is_made(tmp_path):
    """A tensor may claim any shape: names for a million classes would be made."""
    state = draw(published.mmdetection(1, anchors=5, **NARROW))
    state["roi_head.bbox_head.fc_cls.weight"] = torch.zeros(1).expand(10**6, HIDDEN)
    with pytest.raises(ValueError, match="found 1000000 rows, expected 2 to 10,000"):
        narrow(save(tmp_path / "x.pth", state), "mmdetection")


def test_settings_that_ask_for_another_network_are_refused(tmp_path):
    path = save(tmp_path / "x.pth", draw(published.torchvision(**NARROW)))
    with pytest.raises(ValueError, match=r"the network is to have pyramid\.norm\.0\.weight, which that library's has"):
        narrow(path, "torchvision", settings=["model.backbone.pyramid_norm=batch"])


# ResNets


@pytest.mark.parametrize("depth", ["18", "34", "50", "101"])
@pytest.mark.parametrize("counters", [False, True])
def test_a_resnet_of_torchvision_becomes_a_backbone(tmp_path, depth, counters):
    shapes = published.resnet(depth, 16, counters)
    state = draw(shapes) | {"fc.weight": torch.zeros(10, 16), "fc.bias": torch.zeros(10)}
    imported = import_weights(save(tmp_path / "r.pth", state), "torchvision", settings=["model.backbone.width=16"])
    assert imported.extra["part"] == "backbone" and imported.config.model.backbone.depth == depth
    for norm in ("batch", "batch_eval", "batch_frozen"):
        config = Config(model=imported.config.model).override([f"model.backbone.norm={norm}"]).model.backbone
        own = ResNet(config).state_dict()
        for name, value in own.items():
            assert tuple(value.shape) == shapes.get(name, ())
    assert torch.equal(imported.state["backbone.layer4.0.conv1.weight"], state["layer4.0.conv1.weight"])


def test_training_starts_from_an_imported_resnet(tmp_path, capsys):
    state = draw(published.resnet("50", 16)) | {"fc.weight": torch.zeros(10, 16), "fc.bias": torch.zeros(10)}
    out = tmp_path / "resnet50.safetensors"
    said = run(capsys, "import", save(tmp_path / "resnet50.pth", state), "--from", "torchvision", "--out", out,
               "--set", "model.backbone.width=16")  # fmt: skip
    assert "a ResNet-50 without a detector, for `train --init`" in said and "a backbone" in said
    data = write_icdar2015(tmp_path / "data")
    settings = [*SETTINGS, "model.backbone.depth=50", "model.backbone.stem_width=0", "model.backbone.norm=batch_eval"]
    run(capsys, "train", "text_small", "--data", data, "--out", tmp_path / "run", "--init", out, "--set", *settings,
        "training.steps=1", "training.learning_rate=0", "training.average_decay=0")  # fmt: skip
    trained = load_weights(tmp_path / "run" / "model.safetensors")[0]
    assert torch.equal(trained["backbone.layer3.5.conv2.weight"], state["layer3.5.conv2.weight"])
    assert torch.equal(trained["backbone.layer3.5.bn2.running_var"], state["layer3.5.bn2.running_var"])
    message = mistake(capsys, "predict", out, tmp_path / "x.jpg", "--out", tmp_path / "found")
    assert message == f"{out}: found a backbone without a detector, which is for `train --init`"
    wrong = [*SETTINGS, "model.backbone.depth=18", "model.backbone.norm=batch_eval"]
    other = ["train", "text_small", "--data", data, "--out", tmp_path / "other", "--init", out, "--set", *wrong]
    message = mistake(capsys, *other)
    assert f"{out}: " in message and "do not fit this model" in message


def test_frozen_norms_take_a_backbone_without_its_counters(tmp_path):
    state = draw(published.resnet("18", 16))
    imported = import_weights(save(tmp_path / "r.pth", state), "torchvision", settings=["model.backbone.width=16"])
    save_weights(tmp_path / "r.safetensors", imported.state, imported.config, extra=imported.extra)
    config = Config(model=imported.config.model).override(
        ["model.backbone.norm=batch_frozen", "model.backbone.pyramid_channels=8", "model.box_head.hidden=8"]
    )
    model = MaskRCNN(config.model)
    start_from(model, tmp_path / "r.safetensors")
    assert torch.equal(model.backbone.layer2[0].conv1.weight, state["layer2.0.conv1.weight"])
    assert not any(name.endswith("num_batches_tracked") for name in model.backbone.state_dict())


def test_own_classes_start_from_a_published_detector_of_coco(tmp_path):
    path = save(tmp_path / "model.pth", draw(published.torchvision(**NARROW)))
    imported = narrow(path, "torchvision")
    save_weights(tmp_path / "coco.safetensors", imported.state, imported.config, extra=imported.extra)
    config = recipe("coco").override(SETTINGS_NARROW).for_classes(("screw", "nut", "washer"))
    model = MaskRCNN(config.model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    anew = start_from(model, tmp_path / "coco.safetensors")
    assert anew == CLASS_LAYERS
    for name, value in model.state_dict().items():
        known = before if name.rpartition(".")[0] in anew else imported.state
        assert torch.equal(value, known[name]), name


# The command


def test_the_command_writes_a_file_that_predicts(tmp_path, capsys):
    state = draw(published.mmdetection(1, anchors=5, **NARROW))
    path = save(tmp_path / "icdar.pth", {"state_dict": state})
    out = tmp_path / "new" / "weights.safetensors"
    settings = [*SETTINGS_NARROW, "model.image.short_side=64", "model.image.long_side=64"]
    said = run(capsys, "import", path, "--from", "mmdetection", "--out", out, "--set", *settings)
    assert said.splitlines()[-1] == f"{out}: 360 tensors, 1 classes"
    with safetensors.safe_open(out, "pt") as file:
        assert json.loads(file.metadata()["config"])["name"] == "mmocr" and file.metadata()["family"] == "mmdetection"
    detector = load(out)
    assert detector.config.model.image.long_side == 64
    assert detector(np.zeros((48, 64, 3), np.uint8)).detections.valid.shape == (1, 100)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<!DOCTYPE html>", "refused: it is a web page"),
        (b"PK\x03\x04", "refused: truncated or damaged zip"),
        (pickle.dumps({"model": os.system}), "refused: it asks to call posix.system while loading"),
        (b"", "refused: it is empty"),
        (b"\x10\0\0\0\0\0\0\0{\"a\":1}", "refused: it is a safetensors file"),
    ],
)
def test_a_bad_file_is_told_in_one_line_and_nothing_is_written(tmp_path, capsys, content, message):
    (tmp_path / "x.pth").write_bytes(content)
    arguments = ["import", tmp_path / "x.pth", "--from", "torchvision", "--out", tmp_path / "new" / "y.safetensors"]
    assert mistake(capsys, *arguments).startswith(f"{tmp_path / 'x.pth'}: {message}")
    assert os.listdir(tmp_path) == ["x.pth"]


def test_another_ending_is_refused_before_the_work(tmp_path, capsys):
    message = mistake(capsys, "import", "none.pth", "--from", "torchvision", "--out", tmp_path / "x.pth")
    assert message == f"{tmp_path / 'x.pth'}: found the ending '.pth', expected .safetensors"
