"""Which network a file of another library holds, and how its tensors become ours.

What differs from file to file is read from names and shapes: depth, classes, anchors, norms, the year's conventions.
Where a file does not say, the published ones decide, and a note says what was decided.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from maskrcnn.config import (
    BackboneConfig,
    Config,
    DataConfig,
    KeypointHeadConfig,
    ModelConfig,
    TextConfig,
    unused_class,
)
from maskrcnn.model.anchors import cell_anchors
from maskrcnn.model.resnet import BLOCKS
from maskrcnn.text_recipes import CTW1500, ICDAR2015
from maskrcnn.training import published_conventions as conventions
from maskrcnn.training import published_names as names
from maskrcnn.training.published_files import PublishedFile
from maskrcnn.training.stored_tensors import StoredTensor

OBJECTS = DataConfig(format="coco", crop=0)
"""What `evaluate` reads for weights that find objects."""

MOST_CLASSES = 10_000
"""A file's shapes are only claims, and a name is made for every class."""


@dataclass(frozen=True)
class Plan:
    """How a file becomes a state dict of ours."""

    config: Config
    rules: names.Rules
    notes: tuple[str, ...] = ()
    """What was decided, in sentences for the user."""
    convert: Callable[[str, Tensor], Tensor] = lambda name, tensor: tensor
    """From their numbers to ours, for the tensor that we call `name`."""
    ignored: str = "(?!)"
    """Their tensors that mean nothing here, as a regular expression."""
    prefix: str = ""
    """In front of each of their names."""
    backbone_only: bool = False


def plan_import(file: PublishedFile, family: str, file_name: str, classes: tuple[str, ...]) -> Plan:
    """What to make of a file of `family`: "torchvision", "mmdetection" or "detectron2".

    classes: names of its foreground classes, none where they are COCO's or known from the file.
    Raises ValueError if the file holds another network, or classes without names.
    """
    return _PLANS[family](file, file_name, classes)


# Torchvision


def _plan_torchvision(file: PublishedFile, file_name: str, classes: tuple[str, ...]) -> Plan:
    found = file.tensors
    if "conv1.weight" in found and "layer1.0.conv1.weight" in found:
        return _plan_imagenet(file)
    outputs = _rows(file, "roi_heads.box_predictor.cls_score.weight", "torchvision")
    if "roi_heads.box_head.5.weight" in found or "backbone.fpn.inner_blocks.0.1.weight" in found:
        raise ValueError("found a network of version 2 (maskrcnn_resnet50_fpn_v2), expected one of version 1")
    keypoint_head = _keypoint_head(found.get("roi_heads.keypoint_predictor.kps_score_lowres.weight"))
    known = names.coco_classes_by_id() if outputs == 91 else ("person",) if keypoint_head.enabled else ()
    legacy = "rpn.head.conv.weight" in found
    backbone = _norms_that_learn(file, _backbone(file, "backbone.body.", conventions.TORCHVISION.backbone))
    notes = []
    if backbone.norm == "batch_frozen":
        published = legacy or "_coco-" in file_name
        backbone = replace(backbone, norm_epsilon=0.0 if published else 1e-5)
        notes.append(
            "epsilon of the norms is 0, as in all that torchvision publishes for COCO"
            if published
            else "epsilon of the norms is 1e-5; a network that was trained on from torchvision's COCO_V1 weights has "
            "0: --set model.backbone.norm_epsilon=0"
        )
    model = replace(
        conventions.TORCHVISION,
        backbone=backbone,
        class_names=_class_names(outputs - 1, classes, known),
        keypoint_head=keypoint_head,
    )
    model = _without_missing_head(model, found, "roi_heads.mask_predictor.mask_fcn_logits.weight")
    rules = names.TORCHVISION_LEGACY if legacy else names.TORCHVISION
    return Plan(Config("torchvision", model, data=OBJECTS), rules, tuple(notes))


def _keypoint_head(stored: StoredTensor | None) -> KeypointHeadConfig:
    """The head whose last layer is `stored`, if there is one. Raises ValueError if it has other points than persons."""
    if stored is None:
        return KeypointHeadConfig()
    expected = len(KeypointHeadConfig().names)
    if len(stored.shape) != 4 or stored.shape[1] != expected:
        raise ValueError(f"found keypoints of shape {stored.shape}, expected the {expected} of a person")
    return KeypointHeadConfig(enabled=True, aligned=False)


def _plan_imagenet(file: PublishedFile) -> Plan:
    backbone = _backbone(file, "", BackboneConfig(norm="batch_eval"))
    notes = (f"a ResNet-{backbone.depth} without a detector, for `train --init`",)
    config = Config(f"resnet{backbone.depth}", ModelConfig(backbone=backbone))
    return Plan(config, names.IMAGENET, notes, ignored=r"fc\..+", backbone_only=True)


# MMDetection and MMOCR


def _plan_mmdetection(file: PublishedFile, file_name: str, classes: tuple[str, ...]) -> Plan:
    prefix = "wrapped_model." if any(name.startswith("wrapped_model.") for name in file.tensors) else ""
    outputs = _rows(file, prefix + "roi_head.bbox_head.fc_cls.weight", "mmdetection")
    recipe = file.meta.get("config")
    if "_caffe_" in file_name or (isinstance(recipe, str) and re.search(r"style\s*=\s*['\"]caffe['\"]", recipe)):
        raise ValueError('found style "caffe" (strides and colours of MSRA\'s ResNets), expected style "pytorch"')
    anchors = _rows(file, prefix + "rpn_head.rpn_cls.weight", "mmdetection")
    is_text = anchors == len(conventions.MMOCR.anchors.ratios)
    text, data, notes = TextConfig(), OBJECTS, []
    if is_text:
        model = conventions.MMOCR_1 if prefix else conventions.MMOCR
        layout = next((name for name in ("ctw1500", "icdar2017") if name in file_name), "icdar2015")
        long_side = 1920 if layout == "icdar2015" else 1600
        text = (CTW1500 if layout == "ctw1500" else ICDAR2015).text
        data = DataConfig(format=layout)
        model = replace(model, image=replace(model.image, short_side=long_side, long_side=long_side))
        notes.append(f"by its anchors it finds text; by its name, long sides of {long_side} pixels and {text.shape}s")
        # In MMOCR's file for CTW1500, 79 of the 80 classes are left over from COCO.
        known = ("text", *map(unused_class, range(2, outputs)))
    else:
        model = conventions.MMDETECTION
        known = _classes_in(file.meta)
        if len(known) != outputs - 1 == len(names.COCO_CLASSES):
            known = names.COCO_CLASSES
    backbone = _backbone(file, prefix + "backbone.", model.backbone)
    model = replace(model, backbone=backbone, class_names=_class_names(outputs - 1, classes, known))
    model = _without_missing_head(model, file.tensors, prefix + "roi_head.mask_head.conv_logits.weight")
    return Plan(
        Config("mmocr" if is_text else "mmdetection", model, text, data),
        names.MMDETECTION,
        tuple(notes),
        convert=_background_first,
        ignored=r"data_preprocessor\..+",
        prefix=prefix,
    )


def _classes_in(meta: dict) -> tuple[str, ...]:
    """The class names that a training of MMDetection has left in its file."""
    inner = meta.get("dataset_meta")
    for holder in (meta, inner if isinstance(inner, dict) else {}):
        for key in ("CLASSES", "classes"):
            found = holder.get(key)
            if isinstance(found, tuple | list) and all(isinstance(name, str) and name.isprintable() for name in found):
                return tuple(found)
    return ()


def _background_first(name: str, tensor: Tensor) -> Tensor:
    """The rows of the class scores: theirs end with the background, ours begin with it."""
    return tensor.roll(1, dims=0) if name.startswith("roi_heads.box_head.classes.") else tensor


# Detectron2


def _plan_detectron2(file: PublishedFile, file_name: str, classes: tuple[str, ...]) -> Plan:
    outputs = _rows(file, "roi_heads.box_predictor.cls_score.weight", "detectron2")
    if "roi_heads.keypoint_head.score_lowres.weight" in file.tensors:
        raise ValueError("found a Keypoint R-CNN of Detectron2, which is not read; torchvision's is")
    known = names.COCO_CLASSES if outputs - 1 == len(names.COCO_CLASSES) else ()
    mean, deviation = (_pixel_statistic(file, name) for name in ("pixel_mean", "pixel_std"))
    mean = mean or (103.53, 116.28, 123.675)
    deviation = deviation or (1.0, 1.0, 1.0)
    # ImageNet's red is the brightest of the three means: so the file itself says which colour comes first.
    blue_first = mean[0] < mean[2]
    # MSRA's weights, which stride in the first convolution, have the deviation in their stem.
    of_msra = max(deviation) < 2
    backbone = _norms_that_learn(file, _backbone(file, "backbone.bottom_up.", conventions.DETECTRON2.backbone))
    backbone = replace(backbone, stride_in_first=of_msra)
    image = replace(conventions.DETECTRON2.image, mean=tuple(value / 255 for value in mean[:: -1 if blue_first else 1]))
    notes = (
        f"pictures are {'BGR' if blue_first else 'RGB'} of mean {mean} and deviation {deviation} there; the stem is "
        "converted to ours",
        f"bottlenecks stride in their {'first' if of_msra else '3 x 3'} convolution, as ResNets "
        f"{'of MSRA (Detectron2 calls it STRIDE_IN_1X1)' if of_msra else 'of torchvision'} do",
    )
    model = replace(
        conventions.DETECTRON2,
        image=image,
        backbone=backbone,
        class_names=_class_names(outputs - 1, classes, known),
    )
    model = _without_missing_head(model, file.tensors, "roi_heads.mask_head.predictor.weight")
    _check_anchors(file, model)

    def convert(name: str, tensor: Tensor) -> Tensor:
        if name == "backbone.conv1.weight":
            # Theirs sees (pixel - mean) / theirs, ours the same divided by ours: the stem makes up for the quotient.
            ours = torch.tensor(image.deviation, dtype=torch.float64) * 255
            theirs = torch.tensor(deviation, dtype=torch.float64)
            tensor, theirs = (tensor.flip(1), theirs.flip(0)) if blue_first else (tensor, theirs)
            return (tensor.double() * (ours / theirs)[:, None, None]).float()
        return _background_first(name, tensor)

    ignored = r"pixel_(mean|std)|(proposal_generator\.)?anchor_generator\.cell_anchors\.\d+"
    return Plan(Config("detectron2", model, data=OBJECTS), names.DETECTRON2, notes, convert, ignored)


def _pixel_statistic(file: PublishedFile, name: str) -> tuple[float, ...] | None:
    """What files of Detectron2's first years have beside the weights: three numbers."""
    if name not in file.tensors or file.tensors[name].shape not in ((3, 1, 1), (3,)):
        return None
    values = tuple(round(value, 4) for value in file.tensors[name].read().flatten().tolist())
    if not all(0 < value <= 255 for value in values):
        raise ValueError(f"{name}: found {values}, expected numbers above 0 and up to 255")
    return values


def _check_anchors(file: PublishedFile, model: ModelConfig) -> None:
    """Raises ValueError if the file brings anchors (Detectron2's first years) that are not those of its zoo."""
    for level, size in enumerate(model.anchors.sizes):
        stored = file.tensors.get(f"proposal_generator.anchor_generator.cell_anchors.{level}")
        if stored is None or len(stored.shape) != 2 or stored.shape[0] > 100:
            continue
        expected = cell_anchors(size, model.anchors.ratios, round_to_pixels=False)
        found = stored.read().float()
        if found.shape != expected.shape or not torch.allclose(found, expected, atol=0.01):
            raise ValueError(f"found other anchors on level {level} than those of size {size:g} of Detectron2's zoo")


_PLANS = {"torchvision": _plan_torchvision, "mmdetection": _plan_mmdetection, "detectron2": _plan_detectron2}

_TELLING = {
    "torchvision": ("roi_heads.box_predictor.cls_score.weight", "backbone.body.conv1.weight"),
    "mmdetection": ("roi_head.bbox_head.fc_cls.weight", "wrapped_model.roi_head.bbox_head.fc_cls.weight"),
    "detectron2": ("backbone.bottom_up.stem.conv1.weight",),
}
"""Names that only files of a family have."""


# What all have in common


def _rows(file: PublishedFile, name: str, family: str) -> int:
    """The first dimension of the tensor `name`. Raises ValueError, with a guess, if the file has none."""
    others = [
        other for other, telling in _TELLING.items() if other != family and any(n in file.tensors for n in telling)
    ]
    own = any(telling in file.tensors for telling in _TELLING[family])
    if name not in file.tensors or not file.tensors[name].shape or (others and not own):
        if others:
            raise ValueError(f"its tensors have the names of another library: try --from {others[0]}")
        known = list(file.tensors) or [f"{other} ({what})" for other, what in file.others.items()]
        found = ", ".join(known[:3]) or "nothing"
        raise ValueError(f"found no {name}, by which a Mask R-CNN of {family} is known, but {found}, ...")
    rows = file.tensors[name].shape[0]
    if not 2 <= rows <= MOST_CLASSES:
        raise ValueError(f"{name}: found {rows} rows, expected 2 to {MOST_CLASSES:,}")
    return rows


def _backbone(file: PublishedFile, prefix: str, config: BackboneConfig) -> BackboneConfig:
    """`config` with the depth of the file's ResNet. Raises ValueError if ours has none so deep."""
    own = [name.removeprefix(prefix) for name in file.tensors if name.startswith(prefix)]
    # torchvision counts the stages from layer1, Detectron2 from res2.
    found = {match[1] for name in own if (match := re.match(r"((?:layer[1-4]|res[2-5])\.\d+)\.", name))}
    stages = [block.partition(".")[0] for block in found]
    blocks = tuple(stages.count(f"layer{stage}") + stages.count(f"res{stage + 1}") for stage in range(1, 5))
    bottleneck = any(re.match(r"(layer1|res2)\.0\.conv3\.", name) for name in own)
    depths = ("50", "101") if bottleneck else ("18", "34")
    depth = next((depth for depth in depths if BLOCKS[depth] == blocks), None)
    if depth is None:
        expected = ", ".join(f"{BLOCKS[name]} (ResNet-{name})" for name in ("18", "34", "50", "101"))
        raise ValueError(f"found a backbone of {blocks} blocks, expected one of {expected}")
    return replace(config, depth=depth)


def _norms_that_learn(file: PublishedFile, config: BackboneConfig) -> BackboneConfig:
    """`config` with norms that learn, where those of the file have counted their batches: frozen ones do not."""
    counted = any(name.endswith("num_batches_tracked") for name in file.tensors)
    return replace(config, norm="batch", frozen_stages=0) if counted else config


def _class_names(count: int, chosen: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, ...]:
    """Names of `count` foreground classes: those that the user has chosen, or those that are known."""
    if chosen and len(chosen) != count:
        raise ValueError(f"found outputs for {count} classes, expected as many as --classes names, {len(chosen)}")
    if not chosen and len(known) != count:
        raise ValueError(f"found outputs for {count} classes; name them with --classes")
    return chosen or known


def _without_missing_head(model: ModelConfig, found: Collection[str], name: str) -> ModelConfig:
    """A Faster R-CNN has all but the mask head."""
    return model if name in found else replace(model, mask_head=replace(model.mask_head, enabled=False))
