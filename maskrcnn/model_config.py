"""The settings of the network: which parts, how wide, by which conventions. `maskrcnn.config` has all the others.

Where two published families differ, the option names what happens, and the comment names who does it:
"torchvision" is `maskrcnn_resnet50_fpn`, "MMDetection" is MMDetection 2.x and with it MMOCR's text detectors.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from maskrcnn.person import PERSON_KEYPOINTS, PERSON_SKELETON
from maskrcnn.settings import (
    ConfigurationError,
    Count,
    Divisor,
    Fraction,
    Names,
    NotNegative,
    Positive,
    PositiveNumbers,
    Samples,
    Section,
    Slots,
    Whole,
)
from maskrcnn.variant import VariantConfig


@dataclass(frozen=True)
class ImageConfig(Section):
    """How a picture becomes the network's input, and how large it is when looking for objects."""

    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Red, green, blue, of values in [0, 1] (ImageNet's)."""
    deviation: tuple[Positive, Positive, Positive] = (0.229, 0.224, 0.225)
    short_side: Count = 800
    """A picture is scaled until its short side or its long side reaches its limit, whichever comes first."""
    long_side: Count = 1333
    largest_enlargement: NotNegative = 0.0
    """Small pictures are enlarged by no more than this factor, or objects in them become larger than any that the
    network knows; 0: by as much as the sides ask for (torchvision, MMDetection)."""
    rounding: Literal["floor", "nearest"] = "nearest"
    """Of the scaled size: torchvision floors (640 x 480 becomes 1066 x 800), MMDetection rounds (1067 x 800)."""
    interpolation: Literal["antialias", "float", "bytes"] = "antialias"
    """antialias: Pillow's, kind to small text. float, bytes: plain bilinear before or after normalisation, with
    fractions kept (torchvision) or rounded to whole bytes (MMDetection); weights trained so want it so."""
    size_divisor: Divisor = 32
    """Images are padded to a multiple of this; 1 for none (MMOCR when testing)."""


@dataclass(frozen=True)
class BackboneConfig(Section):
    """ResNet and pyramid (paper section 3; Deep Residual Learning, arXiv 1512.03385; FPN, arXiv 1612.03144)."""

    depth: Literal["tiny", "14", "18", "34", "50", "101"] = "50"
    """How many layers the paper counts; table 1 has those from 18 on. For laptops there are tiny, with one basic block
    a stage, and 14, with two in the middle stages."""
    width: Count = 64
    """Stage s, counted from 0, has width * 2**s channels (times 4 in the bottlenecks of depth 50 and 101)."""
    stem_width: Whole = 0
    """Channels of the stem, the first convolution; 0: `width`, as in the paper."""
    stride_in_first: bool = False
    """Where a bottleneck strides: in its first 1 x 1 convolution (MSRA's weights, and with them Detectron2's) or in the
    3 x 3 after it."""
    norm: Literal["group", "batch", "batch_eval", "batch_frozen"] = "batch_frozen"
    """batch_eval: statistics fixed, scale and shift trained (MMDetection); batch_frozen: both fixed (torchvision)."""
    norm_epsilon: NotNegative = 1e-5
    """torchvision's COCO_V1 files want 0."""
    frozen_stages: Literal[0, 1, 2, 3, 4] = 1
    """1: the stem and the first stage learn nothing, as usual when starting from ImageNet; 0: everything learns."""
    pyramid_channels: Count = 256
    pyramid_norm: Literal["none", "batch"] = "none"
    """Of each level of the pyramid, with the statistics of the batch; learning from nothing is faster with it."""
    cardinality: Count = 1
    """Groups of the 3 x 3 convolution in a bottleneck: more than 1 make a ResNeXt (arXiv 1611.05431), 32 in 32x8d."""
    group_width: Whole = 0
    """Of a ResNeXt: channels of a group in the first stage, twice as many in each further one; 8 in 32x8d."""

    def __post_init__(self) -> None:
        super().__post_init__()
        # In torch 2.13, the gradient of a strided 1 x 1 convolution of 8 channels or fewer, channels last in memory,
        # writes outside its tensor when two threads share the work.
        least = 4 if self.has_bottlenecks else 16
        if self.width < least:
            raise ConfigurationError(f"BackboneConfig.width: found {self.width}, expected {least} or more")
        groups = f"cardinality {self.cardinality}"
        if self.cardinality > 1 and not self.has_bottlenecks:
            raise ConfigurationError(f"BackboneConfig.depth: found {self.depth} with {groups}, expected 50 or 101")
        if (self.cardinality > 1) != (self.group_width > 0):
            expected = "1 or more" if self.cardinality > 1 else "0"
            raise ConfigurationError(
                f"BackboneConfig.group_width: found {self.group_width} with {groups}, expected {expected}"
            )

    @property
    def has_bottlenecks(self) -> bool:
        """Whether blocks are bottlenecks or pairs of 3 x 3 convolutions."""
        return self.depth in ("50", "101")

    @property
    def stage_channels(self) -> tuple[int, ...]:
        """Channels of C2, C3, C4 and C5."""
        return tuple(self.width * 2**stage * (4 if self.has_bottlenecks else 1) for stage in range(4))


@dataclass(frozen=True)
class AnchorConfig(Section):
    """The boxes that the RPN starts from (FPN section 4.1)."""

    sizes: PositiveNumbers = (32.0, 64.0, 128.0, 256.0, 512.0)
    """Square root of the area, in pixels, one for each level P2 to P6."""
    ratios: PositiveNumbers = (0.5, 1.0, 2.0)
    """height / width."""
    round_to_pixels: bool = False
    """torchvision rounds the half extents to whole pixels, half to even."""
    stride_from_feature_size: bool = False
    """torchvision: stride = image size // feature size (800 // 13 = 61 at P6) instead of 64."""


@dataclass(frozen=True)
class RPNConfig(Section):
    """Region proposals (Faster R-CNN, arXiv 1506.01497, section 3.1; numbers of the FPN paper)."""

    positive_iou: Fraction = 0.7
    negative_iou: Fraction = 0.3
    low_quality: Literal["forced", "own_best"] = "forced"
    """What happens to the best anchor of a ground truth below `positive_iou`. forced: it is given that ground truth,
    if their IoU reaches `low_quality_iou` (MMDetection); own_best: it becomes positive for the ground truth that
    itself overlaps most, without a floor (torchvision)."""
    low_quality_iou: Fraction = 0.3
    samples: Slots = 256
    positive_fraction: Fraction = 0.5
    candidates_train: Slots = 2000
    """Best scores of each level before NMS."""
    candidates_test: Slots = 1000
    proposals_train: Slots = 1000
    """Best scores of all levels together after NMS."""
    proposals_test: Slots = 1000
    nms_iou: Fraction = 0.7
    minimum_size: NotNegative = 1e-3
    """Proposals with a shorter side are dropped."""
    box_loss: Literal["l1", "smooth_l1"] = "smooth_l1"
    box_loss_beta: NotNegative = 1.0 / 9.0
    denominator: Literal["samples", "at_least_one_each"] = "samples"
    """at_least_one_each: an image without positives still counts one (MMDetection)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.negative_iou > self.positive_iou:
            raise ConfigurationError(
                f"RPNConfig.negative_iou: found {self.negative_iou}, expected at most positive_iou, {self.positive_iou}"
            )


@dataclass(frozen=True)
class BoxHeadConfig(Section):
    """From proposals to classes and boxes (Fast R-CNN; paper section 3 and figure 4, right)."""

    pooled_size: Count = 7
    sampling_ratio: Samples = 2
    """Sample points along a side of an RoIAlign bin; 0: as many as the bin has feature cells (MMDetection)."""
    aligned: bool = True
    """RoIAlign's half-pixel shift; False for torchvision's weights."""
    hidden: Count = 1024
    norm: Literal["none", "batch"] = "none"
    """Of both hidden layers, over the sampled RoIs of a batch; learning from nothing is faster with it."""
    samples: Slots = 512
    positive_fraction: Fraction = 0.25
    positive_iou: Fraction = 0.5
    low_quality: bool = False
    """The best proposal of a ground truth is given to it even if it overlaps another more (MMDetection)."""
    sampler: Literal["random", "hard"] = "random"
    """hard: OHEM, the examples with the largest class loss (arXiv 1604.03540)."""
    ground_truth_proposals: Literal["match", "assign"] = "match"
    """Ground truths join the proposals; match: as any other box (torchvision); assign: each to itself (MMDetection)."""
    box_weights: tuple[Positive, Positive, Positive, Positive] = (10.0, 10.0, 5.0, 5.0)
    clamp_both_sides: bool = True
    """Of dw and dh when decoding, also in the RPN; False for torchvision."""
    box_loss: Literal["l1", "smooth_l1"] = "smooth_l1"
    box_loss_beta: NotNegative = 1.0 / 9.0
    background_outputs: bool = False
    """Boxes and masks have an unused slot for the background class (torchvision)."""
    score_threshold: Fraction = 0.05
    minimum_size: NotNegative = 0.0
    """Detections with a shorter side, in network pixels, are dropped; torchvision: 0.01."""
    nms_iou: Fraction = 0.5
    nms_in_original_pixels: bool = True
    """Boxes are scaled back before the last NMS (MMDetection) or after it (torchvision); rounding differs."""
    detections: Slots = 100


@dataclass(frozen=True)
class MaskHeadConfig(Section):
    """The mask branch (paper section 3, "Mask Representation", and figure 4)."""

    enabled: bool = True
    pooled_size: Count = 14
    """Half the mask's size: the head ends in a stride-2 deconvolution."""
    sampling_ratio: Samples = 2
    aligned: bool = True
    convolutions: Whole = 4
    channels: Count = 256
    dilation: Count = 1
    """Of the convolutions; with 2 each cell sees twice as far along a word (Pyramid Mask Text Detector, 1903.11800)."""
    upsampling: Literal["deconvolution", "bilinear"] = "deconvolution"
    """bilinear: made twice as large, then a 3 x 3 convolution, without a deconvolution's chequered pattern (ibid.)."""
    targets: Literal["soft", "binary", "pyramid"] = "binary"
    """soft: unaligned, fractions kept (torchvision); binary: clipped, aligned, 1 from a half (MMDetection); pyramid:
    heights over the quadrilateral of a text (ibid.), for which `TextConfig.outlines` must be planes."""
    paste: Literal["pixel_centres", "padded_resize"] = "pixel_centres"
    """pixel_centres: MMDetection; padded_resize: torchvision and Detectron."""


@dataclass(frozen=True)
class KeypointHeadConfig(Section):
    """The keypoint branch (paper section 5, "Mask R-CNN for Human Pose Estimation")."""

    enabled: bool = False
    names: Names = PERSON_KEYPOINTS
    """The points to find on each object, in the order of the heat maps. Those that differ in left and right, such as
    `left_eye` and `right_eye`, change places in a mirror image."""
    skeleton: tuple[tuple[str, str], ...] = PERSON_SKELETON
    """Pairs of names that pictures join by a line."""
    pooled_size: Count = 14
    """A quarter of the heat map's size: a stride-2 deconvolution, then twice as large once more."""
    sampling_ratio: Samples = 2
    aligned: bool = True
    convolutions: Whole = 8
    channels: Count = 512

    def __post_init__(self) -> None:
        super().__post_init__()
        unknown = sorted({name for pair in self.skeleton for name in pair} - set(self.names))
        if unknown:
            raise ConfigurationError(f"KeypointHeadConfig.skeleton: found {unknown}, expected pairs of names")


def unused_class(label: int) -> str:
    """What class `label` is called if a published file has an output for it that no training has ever seen.

    Such an output counts in the softmax, and what it finds, if anything, is no object.
    """
    return f"unused {label}"


@dataclass(frozen=True)
class ModelConfig(Section):
    """The network: which parts, how wide, and which conventions."""

    class_names: Names = ("text",)
    """Foreground classes; class i + 1 is class_names[i], class 0 is the background; see also `unused_class`."""
    image: ImageConfig = field(default_factory=ImageConfig)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    anchors: AnchorConfig = field(default_factory=AnchorConfig)
    rpn: RPNConfig = field(default_factory=RPNConfig)
    box_head: BoxHeadConfig = field(default_factory=BoxHeadConfig)
    mask_head: MaskHeadConfig = field(default_factory=MaskHeadConfig)
    keypoint_head: KeypointHeadConfig = field(default_factory=KeypointHeadConfig)
    initialisation: Literal["torchvision", "mmdetection"] = "mmdetection"
    """Of the layers that do not come from ImageNet (they differ in pyramid and box head)."""
    variant: VariantConfig = field(default_factory=VariantConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        ratios = {
            name: section.sampling_ratio for name, section in vars(self).items() if hasattr(section, "sampling_ratio")
        }
        self.variant.check(self.backbone.norm, ratios)
        if self.mask_head.targets == "pyramid":
            self.variant.check_pyramids()

    @property
    def class_count(self) -> int:
        """K, with the background."""
        return len(self.class_names) + 1

    @property
    def used_labels(self) -> tuple[int, ...]:
        """Labels of the classes that a training has seen: all but those that are called unused."""
        return tuple(label for label, name in enumerate(self.class_names, 1) if name != unused_class(label))

    @property
    def region_channels(self) -> int:
        """Channels of the maps that the RPN looks at."""
        return self.variant.region_channels(self.backbone.pyramid_channels, self.backbone.stage_channels)

    @property
    def pooled_channels(self) -> int:
        """C of the features that a head gets for each RoI."""
        return self.variant.pooled_channels(self.backbone.pyramid_channels, self.backbone.stage_channels)
