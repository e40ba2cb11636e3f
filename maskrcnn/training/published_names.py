"""What other libraries call the tensors of our model, and the classes that their outputs stand for.

A table is a list of (our name, their name): regular expressions and what to make of them, the first that fits counts.
"""

from __future__ import annotations

import re

from maskrcnn.config import unused_class

Rules = tuple[tuple[str, str], ...]


def their_name(rules: Rules, name: str) -> str:
    """What a library calls the tensor that we call `name`. Raises ValueError if it has no such tensor."""
    for ours, theirs in rules:
        found = re.fullmatch(ours, name)
        if found:
            return found.expand(theirs)
    raise ValueError(f"the network is to have {name}, which that library's has not")


def _numbered(ours: str, theirs: str, first: int, step: int = 1) -> Rules:
    """Rules for layers that we count from 0 and they from `first`, in steps of `step`; "#" is the number."""
    return tuple(
        (ours.replace("#", str(index)), theirs.replace("#", str(first + step * index))) for index in range(16)
    )


IMAGENET: Rules = ((r"backbone\.(.+)", r"\1"),)
"""torchvision's classifiers, which end in fc.*."""

_TORCHVISION_SAME: Rules = (
    (r"backbone\.(.+)", r"backbone.body.\1"),
    (r"rpn\.head\.objectness\.(.+)", r"rpn.head.cls_logits.\1"),
    (r"rpn\.head\.deltas\.(.+)", r"rpn.head.bbox_pred.\1"),
    (r"roi_heads\.box_head\.fc1\.(.+)", r"roi_heads.box_head.fc6.\1"),
    (r"roi_heads\.box_head\.fc2\.(.+)", r"roi_heads.box_head.fc7.\1"),
    (r"roi_heads\.box_head\.classes\.(.+)", r"roi_heads.box_predictor.cls_score.\1"),
    (r"roi_heads\.box_head\.deltas\.(.+)", r"roi_heads.box_predictor.bbox_pred.\1"),
    (r"roi_heads\.mask_head\.deconvolution\.(.+)", r"roi_heads.mask_predictor.conv5_mask.\1"),
    (r"roi_heads\.mask_head\.logits\.(.+)", r"roi_heads.mask_predictor.mask_fcn_logits.\1"),
    # Every second layer of its sequence is a ReLU.
    *_numbered(r"roi_heads\.keypoint_head\.convolutions\.#\.(.+)", r"roi_heads.keypoint_head.#.\1", 0, step=2),
    (r"roi_heads\.keypoint_head\.deconvolution\.(.+)", r"roi_heads.keypoint_predictor.kps_score_lowres.\1"),
)
TORCHVISION: Rules = (
    (r"pyramid\.lateral\.(\d+)\.(.+)", r"backbone.fpn.inner_blocks.\1.0.\2"),
    (r"pyramid\.output\.(\d+)\.(.+)", r"backbone.fpn.layer_blocks.\1.0.\2"),
    (r"rpn\.head\.convolution\.(.+)", r"rpn.head.conv.0.0.\1"),
    (r"roi_heads\.mask_head\.convolutions\.(\d+)\.(.+)", r"roi_heads.mask_head.\1.0.\2"),
    *_TORCHVISION_SAME,
)
"""Since torchvision 0.13."""
TORCHVISION_LEGACY: Rules = (
    (r"pyramid\.lateral\.(\d+)\.(.+)", r"backbone.fpn.inner_blocks.\1.\2"),
    (r"pyramid\.output\.(\d+)\.(.+)", r"backbone.fpn.layer_blocks.\1.\2"),
    (r"rpn\.head\.convolution\.(.+)", r"rpn.head.conv.\1"),
    *_numbered(r"roi_heads\.mask_head\.convolutions\.#\.(.+)", r"roi_heads.mask_head.mask_fcn#.\1", 1),
    *_TORCHVISION_SAME,
)
"""Before that, which the files it publishes still have."""

MMDETECTION: Rules = (
    (r"backbone\.(.+)", r"backbone.\1"),
    (r"pyramid\.lateral\.(\d+)\.(.+)", r"neck.lateral_convs.\1.conv.\2"),
    (r"pyramid\.output\.(\d+)\.(.+)", r"neck.fpn_convs.\1.conv.\2"),
    (r"rpn\.head\.convolution\.(.+)", r"rpn_head.rpn_conv.\1"),
    (r"rpn\.head\.objectness\.(.+)", r"rpn_head.rpn_cls.\1"),
    (r"rpn\.head\.deltas\.(.+)", r"rpn_head.rpn_reg.\1"),
    (r"roi_heads\.box_head\.fc1\.(.+)", r"roi_head.bbox_head.shared_fcs.0.\1"),
    (r"roi_heads\.box_head\.fc2\.(.+)", r"roi_head.bbox_head.shared_fcs.1.\1"),
    (r"roi_heads\.box_head\.classes\.(.+)", r"roi_head.bbox_head.fc_cls.\1"),
    (r"roi_heads\.box_head\.deltas\.(.+)", r"roi_head.bbox_head.fc_reg.\1"),
    (r"roi_heads\.mask_head\.convolutions\.(\d+)\.(.+)", r"roi_head.mask_head.convs.\1.conv.\2"),
    (r"roi_heads\.mask_head\.deconvolution\.(.+)", r"roi_head.mask_head.upsample.\1"),
    (r"roi_heads\.mask_head\.logits\.(.+)", r"roi_head.mask_head.conv_logits.\1"),
)
"""MMDetection 2 and 3, MMOCR 0; MMOCR 1 puts `wrapped_model.` in front."""

DETECTRON2: Rules = (
    (r"backbone\.conv1\.(.+)", r"backbone.bottom_up.stem.conv1.\1"),
    (r"backbone\.bn1\.(.+)", r"backbone.bottom_up.stem.conv1.norm.\1"),
    *(
        rule
        for stage in range(1, 5)
        for block in (rf"backbone\.layer{stage}\.(\d+)\.",)
        for rule in (
            (block + r"conv(\d)\.(.+)", rf"backbone.bottom_up.res{stage + 1}.\1.conv\2.\3"),
            (block + r"bn(\d)\.(.+)", rf"backbone.bottom_up.res{stage + 1}.\1.conv\2.norm.\3"),
            (block + r"downsample\.0\.(.+)", rf"backbone.bottom_up.res{stage + 1}.\1.shortcut.\2"),
            (block + r"downsample\.1\.(.+)", rf"backbone.bottom_up.res{stage + 1}.\1.shortcut.norm.\2"),
        )
    ),
    *_numbered(r"pyramid\.lateral\.#\.(.+)", r"backbone.fpn_lateral#.\1", 2),
    *_numbered(r"pyramid\.output\.#\.(.+)", r"backbone.fpn_output#.\1", 2),
    (r"rpn\.head\.convolution\.(.+)", r"proposal_generator.rpn_head.conv.\1"),
    (r"rpn\.head\.objectness\.(.+)", r"proposal_generator.rpn_head.objectness_logits.\1"),
    (r"rpn\.head\.deltas\.(.+)", r"proposal_generator.rpn_head.anchor_deltas.\1"),
    (r"roi_heads\.box_head\.(fc[12])\.(.+)", r"roi_heads.box_head.\1.\2"),
    (r"roi_heads\.box_head\.classes\.(.+)", r"roi_heads.box_predictor.cls_score.\1"),
    (r"roi_heads\.box_head\.deltas\.(.+)", r"roi_heads.box_predictor.bbox_pred.\1"),
    *_numbered(r"roi_heads\.mask_head\.convolutions\.#\.(.+)", r"roi_heads.mask_head.mask_fcn#.\1", 1),
    (r"roi_heads\.mask_head\.deconvolution\.(.+)", r"roi_heads.mask_head.deconv.\1"),
    (r"roi_heads\.mask_head\.logits\.(.+)", r"roi_heads.mask_head.predictor.\1"),
)

COCO_CLASSES = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow",
    "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee",
    "skis", "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard",
    "tennis racket", "bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple",
    "sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch",
    "potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard", "cell phone",
    "microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors", "teddy bear",
    "hair drier", "toothbrush",
)  # fmt: skip
"""COCO's 80 categories in the order of their ids, which run from 1 to 90."""
COCO_GAPS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
"""The ids that no category has."""


def coco_classes_by_id() -> tuple[str, ...]:
    """90 names: that of category id i stands at i - 1."""
    names = iter(COCO_CLASSES)
    return tuple(unused_class(label) if label in COCO_GAPS else next(names) for label in range(1, 91))
