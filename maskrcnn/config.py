"""Everything that can be tuned: frozen dataclasses, checked when they are made, saved with every checkpoint.

Where two published families differ, the option names what happens, and the comment names who does it:
"torchvision" is `maskrcnn_resnet50_fpn`, "MMDetection" is MMDetection 2.x and with it MMOCR's text detectors.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints


class ConfigurationError(ValueError):
    """A setting that does not exist or has a value that makes no sense; the message names it."""


class _Checked:
    """Checks every `Literal` and number of a config section on construction."""

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for setting in fields(self):
            value, hint = getattr(self, setting.name), hints[setting.name]
            name = f"{type(self).__name__}.{setting.name}"
            if get_origin(hint) is Literal and value not in get_args(hint):
                raise ConfigurationError(f"{name}: found {value!r}, expected one of {list(get_args(hint))}")
            if hint is int and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
                raise ConfigurationError(f"{name}: found {value!r}, expected a whole number, 0 or more")
            if hint is float and (isinstance(value, bool) or not isinstance(value, int | float)):
                raise ConfigurationError(f"{name}: found {value!r}, expected a number")
            if hint is bool and not isinstance(value, bool):
                raise ConfigurationError(f"{name}: found {value!r}, expected True or False")
            if hint is str and not isinstance(value, str):
                raise ConfigurationError(f"{name}: found {value!r}, expected text")
            if setting.name.endswith(("_iou", "_fraction", "_probability")) and not 0 <= value <= 1:
                raise ConfigurationError(f"{name}: found {value!r}, expected 0 to 1")


@dataclass(frozen=True)
class ImageConfig(_Checked):
    """How a picture becomes the network's input, and how large it is when looking for objects."""

    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Red, green, blue, of values in [0, 1] (ImageNet's)."""
    deviation: tuple[float, float, float] = (0.229, 0.224, 0.225)
    short_side: int = 800
    """A picture is scaled until its short side or its long side reaches its limit, whichever comes first."""
    long_side: int = 1333
    rounding: Literal["floor", "nearest"] = "nearest"
    """Of the scaled size: torchvision floors (640 x 480 becomes 1066 x 800), MMDetection rounds (1067 x 800)."""
    interpolation: Literal["antialias", "float", "bytes"] = "antialias"
    """antialias: Pillow's, kind to small text. float, bytes: plain bilinear before or after normalisation, with
    fractions kept (torchvision) or rounded to whole bytes (MMDetection); weights trained so want it so."""
    size_divisor: int = 32
    """Images are padded to a multiple of this; 1 for none (MMOCR when testing)."""


@dataclass(frozen=True)
class BackboneConfig(_Checked):
    """ResNet and pyramid (paper section 3; Deep Residual Learning, arXiv 1512.03385; FPN, arXiv 1612.03144)."""

    depth: Literal["tiny", "18", "34", "50", "101"] = "50"
    """tiny: one basic block a stage, for laptops."""
    width: int = 64
    """Channels of the stem; stage s has width * 2**s (times 4 in the bottlenecks of depth 50 and 101)."""
    norm: Literal["group", "batch", "batch_eval", "batch_frozen"] = "batch_frozen"
    """batch_eval: statistics fixed, scale and shift trained (MMDetection); batch_frozen: both fixed (torchvision)."""
    norm_epsilon: float = 1e-5
    """torchvision's COCO_V1 files want 0."""
    frozen_stages: int = 1
    """1: the stem and the first stage learn nothing, as usual when starting from ImageNet; 0: everything learns."""
    pyramid_channels: int = 256


@dataclass(frozen=True)
class AnchorConfig(_Checked):
    """The boxes that the RPN starts from (FPN section 4.1)."""

    sizes: tuple[float, ...] = (32.0, 64.0, 128.0, 256.0, 512.0)
    """Square root of the area, in pixels, one for each level P2 to P6."""
    ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    """height / width."""
    round_to_pixels: bool = False
    """torchvision rounds the half extents to whole pixels, half to even."""
    stride_from_feature_size: bool = False
    """torchvision: stride = image size // feature size (800 // 13 = 61 at P6) instead of 64."""


@dataclass(frozen=True)
class RPNConfig(_Checked):
    """Region proposals (Faster R-CNN, arXiv 1506.01497, section 3.1; numbers of the FPN paper)."""

    positive_iou: float = 0.7
    negative_iou: float = 0.3
    low_quality: Literal["forced", "own_best"] = "forced"
    """What happens to the best anchor of a ground truth below `positive_iou`. forced: it is given that ground truth,
    if their IoU reaches `low_quality_iou` (MMDetection); own_best: it becomes positive for the ground truth that
    itself overlaps most, without a floor (torchvision)."""
    low_quality_iou: float = 0.3
    samples: int = 256
    positive_fraction: float = 0.5
    candidates_train: int = 2000
    """Best scores of each level before NMS."""
    candidates_test: int = 1000
    proposals_train: int = 1000
    """Best scores of all levels together after NMS."""
    proposals_test: int = 1000
    nms_iou: float = 0.7
    minimum_size: float = 1e-3
    """Proposals with a shorter side are dropped."""
    box_loss: Literal["l1", "smooth_l1"] = "smooth_l1"
    box_loss_beta: float = 1.0 / 9.0
    denominator: Literal["samples", "at_least_one_each"] = "samples"
    """at_least_one_each: an image without positives still counts one (MMDetection)."""


@dataclass(frozen=True)
class BoxHeadConfig(_Checked):
    """From proposals to classes and boxes (Fast R-CNN; paper section 3 and figure 4, right)."""

    pooled_size: int = 7
    sampling_ratio: int = 2
    """Sample points along a side of an RoIAlign bin; 0: as many as the bin has feature cells (MMDetection)."""
    aligned: bool = True
    """RoIAlign's half-pixel shift; False for torchvision's weights."""
    hidden: int = 1024
    samples: int = 512
    positive_fraction: float = 0.25
    positive_iou: float = 0.5
    low_quality: bool = False
    """The best proposal of a ground truth is given to it even if it overlaps another more (MMDetection)."""
    sampler: Literal["random", "hard"] = "random"
    """hard: OHEM, the examples with the largest class loss (arXiv 1604.03540)."""
    ground_truth_proposals: Literal["match", "assign"] = "match"
    """Ground truths join the proposals; match: as any other box (torchvision); assign: each to itself (MMDetection)."""
    box_weights: tuple[float, float, float, float] = (10.0, 10.0, 5.0, 5.0)
    clamp_both_sides: bool = True
    """Of dw and dh when decoding, also in the RPN; False for torchvision."""
    box_loss: Literal["l1", "smooth_l1"] = "smooth_l1"
    box_loss_beta: float = 1.0 / 9.0
    background_outputs: bool = False
    """Boxes and masks have an unused slot for the background class (torchvision)."""
    score_threshold: float = 0.05
    minimum_size: float = 0.0
    """Detections with a shorter side, in network pixels, are dropped; torchvision: 0.01."""
    nms_iou: float = 0.5
    nms_in_original_pixels: bool = True
    """Boxes are scaled back before the last NMS (MMDetection) or after it (torchvision); rounding differs."""
    detections: int = 100


@dataclass(frozen=True)
class MaskHeadConfig(_Checked):
    """The mask branch (paper section 3, "Mask Representation", and figure 4)."""

    enabled: bool = True
    pooled_size: int = 14
    """Half the mask's size: the head ends in a stride-2 deconvolution."""
    sampling_ratio: int = 2
    aligned: bool = True
    convolutions: int = 4
    channels: int = 256
    targets: Literal["soft", "binary"] = "binary"
    """soft: unaligned, fractions kept (torchvision); binary: clipped, aligned, 1 from a half (MMDetection)."""
    paste: Literal["pixel_centres", "padded_resize"] = "pixel_centres"
    """pixel_centres: MMDetection; padded_resize: torchvision and Detectron."""


@dataclass(frozen=True)
class ModelConfig(_Checked):
    """The network: which parts, how wide, and which conventions."""

    class_names: tuple[str, ...] = ("text",)
    """Foreground classes; class i + 1 is class_names[i], class 0 is the background."""
    image: ImageConfig = field(default_factory=ImageConfig)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    anchors: AnchorConfig = field(default_factory=AnchorConfig)
    rpn: RPNConfig = field(default_factory=RPNConfig)
    box_head: BoxHeadConfig = field(default_factory=BoxHeadConfig)
    mask_head: MaskHeadConfig = field(default_factory=MaskHeadConfig)
    initialisation: Literal["torchvision", "mmdetection"] = "mmdetection"
    """Of the layers that do not come from ImageNet (they differ in pyramid and box head)."""

    @property
    def class_count(self) -> int:
        """K, with the background."""
        return len(self.class_names) + 1


@dataclass(frozen=True)
class TextConfig(_Checked):
    """From masks to the outlines that text benchmarks score."""

    shape: Literal["quadrilateral", "polygon"] = "quadrilateral"
    mask_threshold: float = 0.5
    score_threshold: float = 0.5
    """Below it nothing is drawn or submitted; `evaluate` measures it and its neighbours."""
    polygon_nms_iou: float = 1.0
    """Outlines overlapping a better one by more are dropped; 1 keeps all."""


@dataclass(frozen=True)
class DataConfig(_Checked):
    """How training pictures are cut and changed."""

    crop: int = 512
    """Side of the square crops that training sees, in pixels."""
    scale_range: tuple[float, float] = (0.5, 2.0)
    """Factors by which pictures are scaled, drawn log-uniformly."""
    aspect_range: tuple[float, float] = (0.8, 1.25)
    """Further factor of the width over the height, log-uniform."""
    around_object_probability: float = 0.8
    """Of a crop that is centred near a legible object; otherwise anywhere."""
    minimum_visible_fraction: float = 0.5
    """An object of which a crop shows less becomes don't-care."""
    flip_probability: float = 0.0
    rotation_degrees: float = 0.0
    colour_probability: float = 0.5
    ignored: Literal["ignore", "background", "paint"] = "ignore"
    """Don't-care regions: neither object nor background; background, as in MMOCR; or painted over."""


@dataclass(frozen=True)
class TrainingConfig(_Checked):
    """The optimiser and its schedule."""

    steps: int = 1000
    batch_size: int = 4
    optimiser: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = 0.02
    momentum: float = 0.9
    weight_decay: float = 1e-4
    warmup_steps: int = 500
    warmup_factor: float = 0.001
    schedule: Literal["steps", "cosine"] = "steps"
    milestones: tuple[float, ...] = (0.5, 0.8)
    """Fractions of the training after which the rate falls to a tenth (steps only)."""
    gradient_clip: float = 0.0
    """Largest norm of all gradients together; 0: no clipping."""
    average_decay: float = 0.0
    """Of the moving average of the weights that is evaluated and shipped; 0: none."""
    precision: Literal["float32", "bfloat16"] = "float32"
    seed: int = 0
    checkpoint_every: int = 500
    workers: int = 1
    """Processes that prepare pictures; 0: the training process does."""


@dataclass(frozen=True)
class Config(_Checked):
    """A whole recipe."""

    name: str = "custom"
    model: ModelConfig = field(default_factory=ModelConfig)
    text: TextConfig = field(default_factory=TextConfig)
    data: DataConfig = field(default_factory=DataConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists, numbers and text, ready for JSON."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_dict(values: dict[str, Any]) -> Config:
        """The inverse of `to_dict`.

        Raises ConfigurationError for unknown or missing keys: a file of another version is not guessed at.
        """
        return _section_from_dict(Config, values, "config")

    def override(self, assignments: list[str]) -> Config:
        """A copy with changes such as "training.steps=200" or "model.backbone.depth=18".

        Raises ConfigurationError for an unknown key, with the nearest valid ones, or for a value of another type.
        """
        config = self
        for assignment in assignments:
            key, separator, text = assignment.partition("=")
            if not separator:
                raise ConfigurationError(f"{assignment!r}: expected section.key=value")
            valid = setting_names(config)
            if key not in valid:
                near = difflib.get_close_matches(key, valid, n=3, cutoff=0.0)
                raise ConfigurationError(f"{key}: no such setting; nearest: {', '.join(near)}")
            config = _replace_at(config, key.split("."), text, key)
        return config


def setting_names(section: Any, prefix: str = "") -> list[str]:
    """Dotted names of all settings of a config and its sections."""
    names = []
    for setting in fields(section):
        value = getattr(section, setting.name)
        if is_dataclass(value):
            names += setting_names(value, f"{prefix}{setting.name}.")
        else:
            names.append(prefix + setting.name)
    return names


def _replace_at(section: Any, path: list[str], text: str, key: str) -> Any:
    current = getattr(section, path[0])
    if len(path) > 1:
        value = _replace_at(current, path[1:], text, key)
    else:
        value = _parse(text, current, key)
    return dataclasses.replace(section, **{path[0]: value})


def _parse(text: str, current: Any, key: str) -> Any:
    if isinstance(current, str):
        return text
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError) as error:
        raise ConfigurationError(f"{key}: cannot read {text!r}; it is now {current!r}") from error
    if isinstance(current, tuple):
        value = tuple(value) if isinstance(value, list | tuple) else (value,)
    elif isinstance(current, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    return value


def _section_from_dict(kind: type, values: Any, where: str) -> Any:
    if not isinstance(values, dict):
        raise ConfigurationError(f"{where}: found {type(values).__name__}, expected a section")
    hints = get_type_hints(kind)
    unknown, missing = sorted(values.keys() - hints.keys()), sorted(hints.keys() - values.keys())
    if unknown or missing:
        raise ConfigurationError(f"{where}: unknown settings {unknown}, missing settings {missing}")
    arguments = {}
    for name, value in values.items():
        if is_dataclass(hints[name]):
            value = _section_from_dict(hints[name], value, f"{where}.{name}")
        elif get_origin(hints[name]) is tuple:
            value = tuple(value) if isinstance(value, list | tuple) else value
        arguments[name] = value
    return kind(**arguments)
