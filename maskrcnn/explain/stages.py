"""The stages of the page, in the order of a lesson: which module computes each, and which chapter teaches it."""

from __future__ import annotations

from typing import NamedTuple


class Stage(NamedTuple):
    """One section of the page."""

    id: str
    title: str
    module: str
    """Where its code is, from the root of the sources."""
    chapter: str
    """Where it is taught."""
    calls: tuple[str, ...] = ()
    """The names of the calls in a trace (`maskrcnn.trace`) that it shows."""


STAGES = (
    Stage(
        "input", "The picture as the network sees it", "maskrcnn/data/collate.py",
        "notebooks/01-images-and-targets.ipynb",
    ),
    Stage(
        "features", "Backbone and pyramid", "maskrcnn/model/fpn.py", "notebooks/03-backbone-and-pyramid.ipynb",
        ("backbone", "pyramid"),
    ),
    Stage("anchors", "Anchors", "maskrcnn/model/anchors.py", "notebooks/04-anchors-and-matching.ipynb"),
    Stage("objectness", "Objectness", "maskrcnn/model/rpn.py", "notebooks/05-the-rpn.ipynb", ("rpn", "rpn/head")),
    Stage(
        "proposals", "Proposals", "maskrcnn/model/rpn.py", "notebooks/06-nms.ipynb",
        ("propose", "propose/decode", "propose/nms"),
    ),
    Stage(
        "roialign", "RoIAlign", "maskrcnn/model/pooling.py", "notebooks/07-roipool-roiwarp-roialign.ipynb",
        ("detect/pool",),
    ),
    Stage(
        "box-head", "The box head", "maskrcnn/model/box_head.py", "notebooks/08-the-box-head.ipynb",
        ("detect/box_head",),
    ),
    Stage(
        "detections", "From boxes to detections", "maskrcnn/model/detections.py", "notebooks/08-the-box-head.ipynb",
        ("detect", "detect/select", "detect/select/decode", "detect/select/keep_top", "detect/select/nms"),
    ),
    Stage(
        "mask-head", "The mask head", "maskrcnn/model/mask_head.py", "notebooks/09-the-mask-head.ipynb",
        ("detect/mask_head",),
    ),
    Stage("result", "The result", "maskrcnn/detector.py", "notebooks/00-start-here.ipynb", ("detect/keypoint_head",)),
    Stage("time", "Time", "maskrcnn/trace.py", "notebooks/00-start-here.ipynb"),
)  # fmt: skip

TRAINING = Stage(
    "training", "What training would say", "maskrcnn/targets/losses.py", "notebooks/11-training.ipynb",
    ("rpn_losses", "roi_losses/choose", "roi_losses/mask_targets"),
)  # fmt: skip
"""The last section, where the ground truth is known."""

TIMES = {
    "backbone": ("backbone",),
    "pyramid": ("pyramid",),
    "RPN head": ("rpn", "rpn/head"),
    "proposals": ("propose", "propose/decode", "propose/nms"),
    "RoIAlign": ("detect/pool",),
    "box head": ("detect/box_head",),
    "detections": (
        "detect", "detect/select", "detect/select/decode", "detect/select/keep_top", "detect/select/nms"
    ),
    "mask head": ("detect/mask_head",),
    "keypoint head": ("detect/keypoint_head",),
}  # fmt: skip
"""What the section about time calls them."""
