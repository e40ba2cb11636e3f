"""Hostile arguments for the public functions: every one of them is called with what does not fit.

`calls` has a call in order of each public function of MODULES; one or two of its arguments, at any depth, are exchanged
for something hostile (see `spoiled`). A function may return, and then every number of the result can be read; or it
raises an error of one of two kinds:

- what takes the files, arrays and settings of users, and the ops, is STRICT: ValueError or TypeError, in one line, or
  the error of memory that does not suffice;
- the functions that a student steps through (boxes, slots, targets, decoding, outlines) are thin on purpose. Where
  PyTorch, numpy or Python themselves say what does not fit, no check of ours stands in front of the formula, so their
  errors are right there, too. Never allowed, there as everywhere, is a call that ends the process or does not end.

The calls run in a child process with little memory and a limit of time, so that a crash is that of a call, whose name
and arguments are told.
"""

from __future__ import annotations

import dataclasses
import faulthandler
import functools
import importlib
import inspect
import math
import multiprocessing
import os
import pkgutil
import resource
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from small_text import small_config, small_model

import maskrcnn.targets
from maskrcnn import cli
from maskrcnn.config import Config, TextConfig
from maskrcnn.detector import Detector
from maskrcnn.evaluation.text_scores import ImageTexts
from maskrcnn.model.rpn import Proposals
from maskrcnn.model_config import BoxHeadConfig
from maskrcnn.objects import FoundObject
from maskrcnn.ops.run_length import RunLengths, to_string
from maskrcnn.structures import Batch, Detections, Targets
from maskrcnn.targets.mask_targets import Bitmaps
from maskrcnn.text import TextShape

SECONDS = 15
"""For one call; the longest that is right takes a tenth of a second."""
MEMORY = 3 * 2**30
"""Bytes that the child process may take beyond those in use when it begins."""
EXAMPLES = 50

MODULES = [
    "maskrcnn.ops", "maskrcnn.ops.matching", "maskrcnn.ops.pasting", "maskrcnn.ops.roi_pooling",
    "maskrcnn.ops.run_length", "maskrcnn.ops.convolution",
    "maskrcnn.boxes", "maskrcnn.slots",
    *(module.name for module in pkgutil.iter_modules(maskrcnn.targets.__path__, "maskrcnn.targets.")),
    "maskrcnn.model.anchors", "maskrcnn.model.detections", "maskrcnn.model.keypoint_decoding",
    "maskrcnn.text", "maskrcnn.text_outlines", "maskrcnn.objects", "maskrcnn.detector", "maskrcnn.settings",
    "maskrcnn.evaluation.text_scores", "maskrcnn.evaluation.coco_overlaps", "maskrcnn.evaluation.own_text_scores",
    "maskrcnn.data.annotation_files", "maskrcnn.data.icdar", "maskrcnn.data.icdar2017", "maskrcnn.data.ctw1500",
    "maskrcnn.data.ctw1500_xml", "maskrcnn.data.total_text", "maskrcnn.data.mmocr", "maskrcnn.data.json_records",
    "maskrcnn.data.images", "maskrcnn.data.polygons", "maskrcnn.data.numbered_pictures",
]  # fmt: skip
LEFT_OUT = {
    "maskrcnn.detector.load": "files, of which test_hostile_files.py has many",
    "maskrcnn.detector.find_weights": "files, as above",
    "maskrcnn.data.json_records.read_json": "files, as above; parse_json is called",
    "maskrcnn.data.numbered_pictures.check_folder": "files, as above",
    "maskrcnn.data.numbered_pictures.warn_of_skipped": "takes what the readers have found",
    "maskrcnn.data.annotation_files.usable_words": "takes the words of the parsers, which are called",
    "maskrcnn.data.annotation_files.place": "a context for the parsers",
    "maskrcnn.data.json_records.without_garbage_collection": "a context without arguments",
    "maskrcnn.settings.section_from_dict": "configurations in files, as above",
    "maskrcnn.settings.setting_names": "takes a section of ours",
    "maskrcnn.settings.as_assignments": "takes a section of ours",
    "maskrcnn.evaluation.text_scores.polygon_geometries": "a step of polygon_iou, which is called",
    "maskrcnn.evaluation.text_scores.intersection_areas": "takes shapely's geometries",
    "maskrcnn.evaluation.text_scores.best_of": "takes the scores that were computed",
    "maskrcnn.evaluation.text_scores.scores_of_counts": "takes the counts that were made",
    "maskrcnn.text_outlines.last_contour": "takes the contours that OpenCV has found",
}
"""Public functions without a call, and why."""


# The calls

BOXES = torch.tensor([[[1.0, 1, 5, 6], [2, 2, 9, 8], [0, 0, 0, 0]]])
DELTAS = torch.full((1, 3, 4), 0.1)
FLAGS = torch.tensor([[True, True, False]])
SCORES = torch.tensor([[0.9, 0.5, 0.1]])
LABELS = torch.tensor([[1, 0, -1]])
CLASSES = LABELS.clamp(min=0)
FEATURE = torch.arange(128.0).view(1, 2, 8, 8)
SIZES = torch.tensor([[8, 9]])
WEIGHTS = (1.0, 1.0, 1.0, 1.0)
MASKS = torch.linspace(0, 1, 75).view(1, 3, 5, 5)
BITMAP = (torch.ones(64).byte(), torch.zeros(1, 3).long(), torch.tensor([[[0, 0, 8, 8]] * 3]))
SEEDS = torch.tensor([7])
KEYPOINTS = torch.tensor([[[[2.0, 2, 2], [3, 3, 1]]] * 3])
CORNERS = BOXES[..., [0, 1, 2, 1, 2, 3, 0, 3]].unflatten(-1, (4, 2))
TARGETS = Targets(
    boxes=BOXES, labels=LABELS.clamp(min=0), valid=FLAGS, ignore=~FLAGS, bitmaps=BITMAP[0],
    bitmap_boxes=BITMAP[2], bitmap_offsets=BITMAP[1], keypoints=KEYPOINTS, quadrilaterals=CORNERS, seeds=SEEDS,
)  # fmt: skip
COUNT = torch.tensor(2.0)
LOGITS = torch.zeros(1, 3, 2, 5, 5)
DETECTIONS = Detections(BOXES, SCORES, LABELS.clamp(min=1), FLAGS, MASKS, KEYPOINTS)
SQUARE = np.array([[0.0, 0], [8, 0], [8, 8], [0, 8]])
CODE = RunLengths(5, 6, np.array([3, 4, 23], np.uint32))
DISC = (np.hypot(*np.mgrid[-6:7, -6:7]) < 5).astype(np.uint8)
IMAGE_TEXTS = ImageTexts("img_1", (SQUARE, SQUARE + 20), np.array([False, True]), [SQUARE], np.array([0.9]))
LINE = "1,2,9,2,9,6,1,6,word"
CURVE = ",".join(str(number) for x in range(14) for number in (x, x % 7))


class Call:
    """A function, arguments that are in order, and how strict it is."""

    def __init__(self, function: Callable[..., Any], *arguments: Any, strict: bool = False, **by_name: Any) -> None:
        self.function, self.arguments, self.by_name, self.strict = function, arguments, by_name, strict

    def run(self, arguments: tuple, by_name: dict[str, Any]) -> Any:
        return self.function(*arguments, **by_name)


def public(module: str) -> Iterator[str]:
    """Full names of the functions that a module defines for others."""
    for name, value in vars(importlib.import_module(module)).items():
        if inspect.isfunction(value) and not name.startswith("_") and value.__module__ == module:
            yield f"{module}.{name}"


def calls() -> dict[str, Call]:
    """All calls, by the full names of their functions."""
    found: dict[str, Call] = {}

    def add(module: str, strict: bool, **listed: tuple[tuple, dict[str, Any]]) -> None:
        functions = importlib.import_module(module)
        for name, (arguments, by_name) in listed.items():
            found[f"{module}.{name}"] = Call(getattr(functions, name), *arguments, strict=strict, **by_name)

    def of(*arguments: Any, **by_name: Any) -> tuple[tuple, dict[str, Any]]:
        return arguments, by_name

    align = {"sampling_ratio": 2, "aligned": True, "finest_size": 9.0}
    add(
        "maskrcnn.ops", True,
        nms=of(BOXES, SCORES, LABELS, iou_threshold=0.5, max_keep=2),
        pyramid_roi_align=of([FEATURE], BOXES, output_size=2, strides=[2.0], **align),
        crop_masks=of(*BITMAP, BOXES, SIZES, size=2, convention="soft"),
        build_information=of(),
    )  # fmt: skip
    add(
        "maskrcnn.ops.matching", True,
        match_boxes=of(BOXES, FLAGS, BOXES, FLAGS, floor=0.5),
        covered_boxes=of(BOXES, BOXES, FLAGS, fraction=0.5),
    )  # fmt: skip
    add("maskrcnn.ops.pasting", True, paste_masks=of(MASKS[0], BOXES[0], height=8, width=9, convention="pixel_centres"))
    add(
        "maskrcnn.ops.roi_pooling", True,
        roi_pool=of(FEATURE, BOXES, output_size=2, stride=2.0),
        roi_warp=of(FEATURE, BOXES, output_size=2, stride=2.0, sampling_ratio=2),
    )  # fmt: skip
    add(
        "maskrcnn.ops.run_length", True,
        encode=of(DISC[None]), decode=of([CODE]), merge=of([CODE, CODE], intersect=False), area=of([CODE]),
        box=of([CODE]), iou=of([CODE], [CODE], [False]), from_polygons=of([SQUARE], 9, 9),
        rasterize_polygons=of([SQUARE], 9, 9), to_string=of(CODE), from_string=of(to_string(CODE), 5, 6),
    )  # fmt: skip
    kernel = torch.ones(2, FEATURE.shape[1], 3, 3)
    add(
        "maskrcnn.ops.convolution", False,
        convolve=of(FEATURE, kernel, kernel[:, 0, 0, 0], (1, 1), (1, 1), scale=kernel[:, 0, 0, 0]),
        convolve_at=of([FEATURE], LABELS.clamp(min=0), kernel, kernel[:, 0, 0, 0]),
        by_winograd=of(torch.zeros(1, 16, 4, 5), torch.ones(16, 16, 3, 3), torch.ones(16)),
        transformed_kernel=of(torch.ones(16, 16, 3, 3)),
        can_go_by_winograd=of(kernel, (1, 1), (1, 1), (1, 1), 1),
    )  # fmt: skip
    add(
        "maskrcnn.boxes", False,
        area=of(BOXES), intersection=of(BOXES, BOXES), iou=of(BOXES, BOXES), clip=of(BOXES, SIZES),
        encode=of(BOXES, BOXES + 1, WEIGHTS), decode=of(DELTAS, BOXES, WEIGHTS, True),
    )  # fmt: skip
    add(
        "maskrcnn.slots", False,
        gather_rows=of(BOXES, LABELS.clamp(min=0)), keep_top=of(SCORES, 2),
        sample_by_priority=of(FLAGS, ~FLAGS, SCORES, 2, 1),
    )  # fmt: skip
    add("maskrcnn.targets.keypoints", False, keypoint_cells=of(KEYPOINTS, BOXES, 7))
    add(
        "maskrcnn.targets.losses", False,
        rpn_objectness_loss=of(SCORES, FLAGS, FLAGS, COUNT), rpn_count=of(FLAGS, FLAGS, True),
        box_loss=of(DELTAS, DELTAS + 1, FLAGS, COUNT, "smooth_l1", 1.0),
        class_loss=of(torch.zeros(1, 3, 4), CLASSES, FLAGS), class_loss_each=of(torch.zeros(1, 3, 4), CLASSES),
        mask_loss=of(MASKS, MASKS, FLAGS),
        keypoint_loss=of(LOGITS, torch.zeros(1, 3, 2).long(), LOGITS[..., 0, 0] == 0),
        total_loss=of({"class": COUNT, "mask": COUNT}),
    )  # fmt: skip
    add(
        "maskrcnn.targets.mask_targets", False,
        mask_targets=of(TARGETS, LABELS.clamp(min=0), BOXES, SIZES, 4, "soft"),
        crop_masks=of(Bitmaps(*BITMAP), BOXES, SIZES, 4, "soft"),
    )  # fmt: skip
    add(
        "maskrcnn.targets.matching", False,
        match=of(BOXES, FLAGS, BOXES, FLAGS, positive_iou=0.7, negative_iou=0.3, low_quality="forced"),
        ignore_overlapping=of(LABELS, BOXES, BOXES, FLAGS),
    )  # fmt: skip
    add("maskrcnn.targets.pyramids", False, pyramid_heights=of(CORNERS, BOXES, 4))
    add(
        "maskrcnn.targets.sampling", False,
        sample_randomly=of(LABELS, 2, 0.5, SEEDS), sample_hardest=of(LABELS, SCORES, 2, 0.5),
        random_numbers=of(SEEDS, 5),
    )  # fmt: skip
    add(
        "maskrcnn.model.anchors", False,
        cell_anchors=of(32.0, [0.5, 1.0], False), grid_anchors=of(BOXES[0], (2, 3), (4.0, 4.0)),
    )  # fmt: skip
    add(
        "maskrcnn.model.detections", False,
        select_detections=of(
            torch.zeros(1, 3, 3), torch.zeros(1, 3, 2, 4), Proposals(BOXES, FLAGS), SIZES, SIZES, BoxHeadConfig()
        ),
    )  # fmt: skip
    add(
        "maskrcnn.model.keypoint_decoding", False,
        decode_keypoints=of(LOGITS[0], BOXES[0], (8, 9)), decode_each=of(LOGITS[0], BOXES[0]),
        scale_keypoints=of(KEYPOINTS, SIZES, SIZES),
    )  # fmt: skip
    shape = TextShape(SQUARE, 0.9)
    add(
        "maskrcnn.text", False,
        text_shapes=of(DETECTIONS, 0, (8, 9), TextConfig(), 0.0, 1), simplify=of(SQUARE, 0.05),
        polygon_nms=of([shape, shape], 0.5),
    )  # fmt: skip
    add(
        "maskrcnn.text_outlines", False,
        mask_outlines=of(MASKS[0].numpy(), BOXES[0].numpy(), 0.5), paste_around=of(MASKS[0], BOXES[0], (8, 9)),
        mask_to_quadrilateral=of(DISC, "corners", (0, 0)), mask_to_polygon=of(DISC, "largest", "corners", (0, 0)),
    )  # fmt: skip
    thing = FoundObject(1, "cat", 0.9, np.array([0.0, 0, 6, 5]), CODE, None)
    add(
        "maskrcnn.objects", False,
        found_objects=of(DETECTIONS, 0, (8, 9), ("cat", "dog"), "pixel_centres", 0.0), mask_of=of(thing),
    )  # fmt: skip
    add("maskrcnn.detector", True, shipped_weights=of(), available_device=of())
    add("maskrcnn.settings", True, override=of(Config(), ["training.steps=3", "name=x"]), shown=of([1, "x"]))
    add(
        "maskrcnn.evaluation.text_scores", False,
        polygon_iou=of([SQUARE], [SQUARE]), match_image=of([SQUARE], np.array([False]), [SQUARE]),
        score_texts=of([IMAGE_TEXTS], "official", 0.5), score_at_thresholds=of([IMAGE_TEXTS], (0.3, None), "sweep"),
        without_ignoring=of(IMAGE_TEXTS),
    )  # fmt: skip
    boxes = np.array([[0.0, 0, 6, 5]])
    points = np.ones((1, 2, 3))
    add(
        "maskrcnn.evaluation.coco_overlaps", False,
        box_overlap=of(boxes, boxes, np.array([False])), mask_overlap=of([CODE], [CODE], np.array([False])),
        keypoint_overlap=of(points, points, boxes, np.ones(1), np.ones(2)),
    )  # fmt: skip
    images = [IMAGE_TEXTS]
    add("maskrcnn.evaluation.own_text_scores", False, text_average_precision=of(images), pascal_scores=of(images))
    add(
        "maskrcnn.data.annotation_files", False,
        numbered_lines=of(b"a\nb", "x.txt"), split_line=of(LINE, 8, ("text",)), corners=of(["1", "2", "3", "4"]),
        shortened=of("text"),
    )  # fmt: skip
    line = LINE.encode()
    add(
        "maskrcnn.data.icdar", True,
        parse_icdar2015_line=of(LINE), parse_icdar2015=of(line, "gt_img_1.txt"), unquoted=of('"a"'),
    )  # fmt: skip
    line = b"1,2,9,2,9,6,1,6,Latin,word"
    add("maskrcnn.data.icdar2017", True, parse_icdar2017_line=of(line.decode()), parse_icdar2017=of(line, "x.txt"))
    add(
        "maskrcnn.data.ctw1500", True,
        parse_ctw1500=of(f"{CURVE},####a".encode(), "x.txt"), parse_ctw1500_line=of(f"{CURVE},####a"),
        parse_original_line=of(f"0,0,9,9,{CURVE}"),
    )  # fmt: skip
    add("maskrcnn.data.ctw1500_xml", True, parse_ctw1500_xml=of(b"<Annotations></Annotations>", "x.xml"))
    curve = "x: [[1 9 9 1]], y: [[1 1 9 9]], ornt: [u'c'], transcriptions: [u'a']"
    add("maskrcnn.data.total_text", True, parse_total_text=of(curve.encode(), "x.txt"), parse_total_text_line=of(LINE))
    words = b'{"categories": [{"id": 1, "name": "text"}], "images": [], "annotations": []}'
    add("maskrcnn.data.mmocr", True, parse_instances=of(words, "x.json"))
    add("maskrcnn.data.json_records", True, parse_json=of(b'{"a": [1]}', "x.json"), describe=of({"a": 1}))
    picture = np.zeros((4, 5, 3), np.uint8)
    add("maskrcnn.data.images", True, read_image=of(b"P6 1 1 255\nabc", "x.ppm"))
    from PIL import Image

    add("maskrcnn.data.images", False, to_rgb=of(Image.fromarray(picture)))
    add(
        "maskrcnn.data.polygons", False,
        area=of(SQUARE), bounds=of(SQUARE), is_simple=of(SQUARE), clip=of(SQUARE, 1.0, 1.0, 5.0, 5.0),
        rasterize=of(SQUARE, (0, 0, 9, 9)), rasterize_parts=of([SQUARE], (0, 0, 9, 9)), pixel_box=of(SQUARE, 9, 9),
        minimum_area_rectangle=of(SQUARE), convex_quadrilateral=of(SQUARE), from_top_left=of(SQUARE),
    )  # fmt: skip
    names = ["img_1.jpg"]
    select = of(names, "img_1..img_9")
    add("maskrcnn.data.numbered_pictures", False, picture_number=of(names[0]), select=select, listed=of(names))
    return found


def methods() -> dict[str, Call]:
    """The calls of what is no function of a module: a network, a detector, a configuration, the command line."""
    model = small_model(small_config())
    batch = Batch(torch.zeros(1, 3, 64, 64), torch.tensor([[64, 64]]), torch.tensor([[64, 64]]), ("a",))
    detector = Detector(model, small_config())
    picture = np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)
    line = ["score", "icdar2015", "/nowhere", "/nothing", "--threshold", "0.5"]
    return {
        "Detector.__call__": Call(detector, picture, 0.5, strict=True),
        "MaskRCNN.forward": Call(functools.partial(_forward, model), batch),
        "Config.override": Call(Config().override, ["training.steps=3", "model.image.mean=(0,0,0)"], strict=True),
        "Config.from_dict": Call(Config.from_dict, Config().to_dict(), strict=True),
        "cli.main": Call(_command, line, strict=True),
    }


def _forward(model: torch.nn.Module, batch: Batch) -> Any:
    with torch.inference_mode():
        return model(batch).detections


def _command(arguments: list[str]) -> int:
    try:
        return cli.main(arguments)
    except SystemExit as left:
        assert left.code in (0, 2)
        return left.code


def test_every_public_function_has_a_call_or_a_reason():
    functions = {name for module in MODULES for name in public(module)}
    assert functions == calls().keys() | LEFT_OUT.keys()
    assert not calls().keys() & LEFT_OUT.keys() and all(LEFT_OUT.values())


def test_the_calls_are_in_order():
    """Otherwise their functions would end at a mistake of ours before they come to the hostile argument."""
    for name, call in (calls() | methods()).items():
        if name != "cli.main":
            read(call.run(call.arguments, call.by_name))


# Hostile values

NUMBERS = [0, -1, 1, 2, 2**31, -(2**31), 2**40, 2**63, -(2**63), 10**30, 0.0, -0.0, 0.5, 1e-45, 1e300, -1e300]
NUMBERS += [math.nan, math.inf, -math.inf, True, None, "2", 1j, [], np.float32(2), np.int8(-1)]
TEXTS = ["", "x", "\x00", "\ud800", "\x1b[2J", "../x", "9" * 5000, "1,2,3", "[" * 3000, "\u202e"]
PRINTED = st.characters(exclude_categories=["Cc", "Zl", "Zp"])
"""A text may be the name of a file; those with line ends are refused before they become part of a message."""
DTYPES = [torch.float16, torch.bfloat16, torch.float64, torch.int32, torch.int64, torch.uint8, torch.bool]
DTYPES += [torch.complex64, torch.float8_e4m3fn]
FILLS = [math.nan, math.inf, -math.inf, 1e-45, 3e38, -3e38, -1.0, 0.0, 2.0**31, 2.0**40]


@st.composite
def spoiled_tensors(draw, value: torch.Tensor) -> Any:
    """Another dtype, shape, layout, device, or other numbers."""
    kind = draw(st.sampled_from(["dtype", "shape", "huge", "layout", "numbers", "some", "gradient", "meta", "other"]))
    if kind == "dtype":
        return value.to(draw(st.sampled_from(DTYPES)))
    if kind == "shape":
        shape = list(value.shape)
        if shape and draw(st.booleans()):
            shape[draw(st.integers(0, len(shape) - 1))] = draw(st.sampled_from([0, 1, 2, 5]))
        else:
            shape = draw(st.sampled_from([shape[1:], [*shape, 1], [1, *shape], [0, *shape], []]))
        return value.new_ones(shape)
    if kind == "huge":
        size = draw(st.sampled_from([2**10, 2**16, 2**40]))
        places = range(max(value.dim(), 1))
        shape = list(value.shape) or [1]
        shape[draw(st.sampled_from(list(places)))] = size
        return value.new_ones(1).expand(shape)
    if kind == "layout":
        ways = [value.mT if value.dim() > 1 else value, value.flip(0) if value.dim() else value]
        return draw(st.sampled_from([*ways, value.repeat_interleave(2, 0)[::2] if value.dim() else value]))
    if kind in ("numbers", "some"):
        filled = value.double().clone()
        fill = draw(st.sampled_from(FILLS))
        if kind == "numbers" or not filled.numel():
            filled.fill_(fill)
        else:
            filled.view(-1)[draw(st.integers(0, filled.numel() - 1))] = fill
        return filled.to(value.dtype)
    if kind == "gradient":
        return value.clone().requires_grad_() if value.is_floating_point() else value
    if kind == "meta":
        return value.to("meta")
    return draw(st.sampled_from([value.cpu().numpy(), value.tolist(), value.to_sparse(), None, "x", 3]))


@st.composite
def spoiled_arrays(draw, value: np.ndarray) -> Any:
    kind = draw(st.sampled_from(["dtype", "shape", "huge", "layout", "numbers", "other"]))
    if kind == "dtype":
        dtype = draw(st.sampled_from(["f2", "f4", "f8", "i1", "i8", "u8", "?", "c8", "O", "U3", "M8[s]"]))
        return value.astype(dtype)
    if kind == "shape":
        shape = list(value.shape)
        changed = [shape[1:], [*shape, 1], [1, *shape], [0, *shape[1:]], [*shape[:-1], shape[-1] + 1], [1] * 9, []]
        return np.ones(draw(st.sampled_from(changed)), value.dtype)
    if kind == "huge":
        shape = [draw(st.sampled_from([2**8, 2**15])), *value.shape[1:]]
        return np.broadcast_to(np.ones((), value.dtype), shape)
    if kind == "layout":
        locked = value.copy()
        locked.flags.writeable = False
        return draw(st.sampled_from([value[::-1], value[..., ::-1], np.asfortranarray(value), locked, value.T]))
    if kind == "numbers":
        with np.errstate(all="ignore"):
            return np.full(value.shape, draw(st.sampled_from(FILLS))).astype(value.dtype)
    return draw(st.sampled_from([value.tolist(), None, "x", 3, torch.zeros(2)]))


def spoiled(value: Any) -> st.SearchStrategy:
    """Something hostile in the place of a value, of the same kind or of another."""
    if isinstance(value, torch.Tensor):
        return spoiled_tensors(value)
    if isinstance(value, np.ndarray):
        return spoiled_arrays(value)
    if isinstance(value, bool | int | float):
        return st.sampled_from(NUMBERS)
    if isinstance(value, str):
        return st.one_of(st.sampled_from(TEXTS), st.text(PRINTED, max_size=20), _edited(value))
    if isinstance(value, bytes):
        edited = _edited(value.decode("latin-1")).map(lambda text: text.encode("latin-1"))
        return st.one_of(st.binary(max_size=40), edited)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return _one_of(value, range(len(value))).map(lambda parts: type(value)(*parts))
    if isinstance(value, list | tuple) and value:
        changed = _one_of(value, range(len(value))).map(type(value))
        return st.one_of(changed, st.sampled_from([value[:0], value * 2, value[1:], [value], None, 3, "x"]))
    if isinstance(value, dict):
        return st.one_of(
            st.sampled_from(sorted(value)).flatmap(lambda key: spoiled(value[key]).map(lambda new: value | {key: new})),
            st.sampled_from([{}, None, 3, value | {"unknown": 1}, value | {1: 2}]),
        )
    if dataclasses.is_dataclass(value) and not isinstance(value, Config | TextConfig | BoxHeadConfig | RunLengths):
        names = [field.name for field in dataclasses.fields(value)]
        return st.sampled_from(names).flatmap(
            lambda name: spoiled(getattr(value, name)).map(lambda new: _replaced(value, name, new))
        )
    return st.just(value)


def _one_of(values: Any, places: range) -> st.SearchStrategy:
    return st.sampled_from(list(places)).flatmap(
        lambda place: spoiled(values[place]).map(lambda new: [*values[:place], new, *values[place + 1 :]])
    )


def _edited(text: str) -> st.SearchStrategy:
    pieces = st.sampled_from([",", "-", "9", "e9", ".", " ", "\t", "#", "[", "<", "nan", "\xb2", "'", '"', "1" * 400])
    return st.tuples(st.integers(0, len(text)), st.integers(0, 3), pieces).map(
        lambda edit: text[: edit[0]] + edit[2] + text[edit[0] + edit[1] :]
    )


def _replaced(value: Any, name: str, new: Any) -> Any:
    """A copy with another field, past the checks of the constructor: these have tests of their own."""
    copy = object.__new__(type(value))
    for field in dataclasses.fields(value):
        object.__setattr__(copy, field.name, new if field.name == name else getattr(value, field.name))
    return copy


# The property

MEMORY_WORDS = ("allocate memory", "out of memory", "torage size", "too large")
MEMORY_WORDS += ("aten::new_empty", "aten::empty", "aten::contiguous")
OF_LIBRARIES = (RuntimeError, IndexError, AttributeError, OverflowError, KeyError, AssertionError, NotImplementedError)
OF_LIBRARIES += (FloatingPointError, ZeroDivisionError)


def read(value: Any) -> None:
    """Reads every number of a result."""
    if isinstance(value, torch.Tensor):
        if value.device.type == "cpu" and value.layout == torch.strided and value.numel() < 2**22:
            value.detach().clone()
    elif isinstance(value, np.ndarray):
        if value.size < 2**22:
            value.copy()
    elif isinstance(value, RunLengths):
        read(value.counts)
    elif isinstance(value, dict):
        read(list(value.values()))
    elif isinstance(value, list | tuple):
        for part in value:
            read(part)
    elif inspect.isgenerator(value):
        read(list(value))
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        read([getattr(value, field.name) for field in dataclasses.fields(value)])


def allowed(call: Call, error: Exception) -> bool:
    """Whether a call may end with this error."""
    text = str(error)
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and any(w in text for w in MEMORY_WORDS)):
        return True
    if isinstance(error, ValueError | TypeError):
        return not call.strict or (bool(text) and "\n" not in text)
    return not call.strict and (isinstance(error, OF_LIBRARIES) or type(error).__module__.split(".")[0] in LIBRARIES)


LIBRARIES = ("cv2", "shapely", "numpy", "torch")


def search(name: str, call: Call, log: Path) -> None:
    """Calls a function with hostile arguments, EXAMPLES times."""
    settings = hypothesis.settings(
        max_examples=EXAMPLES, derandomize=True, database=None, deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck), phases=[hypothesis.Phase.generate],
    )  # fmt: skip

    @settings
    @hypothesis.given(st.data())
    def run(data: st.DataObject) -> None:
        arguments, by_name = list(call.arguments), dict(call.by_name)
        places = [*range(len(arguments)), *by_name]
        for place in data.draw(st.sets(st.sampled_from(places), min_size=1, max_size=2)):
            inside = arguments if isinstance(place, int) else by_name
            inside[place] = data.draw(spoiled(inside[place]))
        log.write_text(f"{name}: {described(arguments)}, {described(by_name)}")
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        try:
            read(call.run(tuple(arguments), by_name))
        except Exception as error:
            if not allowed(call, error):
                raise
        finally:
            faulthandler.cancel_dump_traceback_later()

    run()


def described(value: Any) -> str:
    """Arguments in a line, without their numbers."""
    if isinstance(value, torch.Tensor):
        strides = value.stride() if value.layout == torch.strided else value.layout
        return f"tensor {tuple(value.shape)} {value.dtype} {value.device} {strides}"
    if isinstance(value, np.ndarray):
        return f"array {value.shape} {value.dtype} {value.strides}"
    if isinstance(value, dict):
        return str({str(key)[:50]: described(part) for key, part in list(value.items())[:12]})
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(described, value[:12]))}]"
    if dataclasses.is_dataclass(value):
        parts = (described(getattr(value, field.name)) for field in dataclasses.fields(value))
        return f"{type(value).__name__}({', '.join(parts)})"
    return repr(value)[:200]


def search_all(names: list[str], log: Path) -> None:
    """In a child process: searches one after the other, and writes what was found behind the last call."""
    os.dup2(os.open(log.with_suffix(".err"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    sys.stderr = os.fdopen(os.dup(2), "w")
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (for the rest of the process)
    faulthandler.enable(sys.stderr)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    listed = calls() | methods()
    wrong = []
    for name in names:
        if not listed[name].arguments and not listed[name].by_name:
            continue
        try:
            search(name, listed[name], log)
        except BaseException as error:
            wrong.append(f"{log.read_text()}\n    {type(error).__name__}: {str(error)[:400]}")
    log.with_suffix(".wrong").write_text("\n".join(wrong))


GROUPS = {
    "ops": ("maskrcnn.ops",),
    "formulas": ("maskrcnn.boxes", "maskrcnn.slots", "maskrcnn.targets", "maskrcnn.model"),
    "results": ("maskrcnn.text", "maskrcnn.objects", "maskrcnn.evaluation"),
    "files": ("maskrcnn.data", "maskrcnn.detector", "maskrcnn.settings"),
    "methods": ("Detector", "MaskRCNN", "Config", "cli"),
}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of memory as Linux has them")
@pytest.mark.parametrize("group", GROUPS)
def test_hostile_arguments_are_refused_or_answered(group, tmp_path):
    names = [name for name in (*calls(), *methods()) if name.startswith(GROUPS[group])]
    assert names
    log = tmp_path / "last"
    child = multiprocessing.get_context("spawn").Process(target=search_all, args=(names, log))
    child.start()
    child.join()
    told = log.with_suffix(".err").read_text()[-3000:]
    assert child.exitcode == 0, f"ended with {child.exitcode} in {log.read_text()}\n{told}"
    wrong = log.with_suffix(".wrong").read_text()
    assert wrong == "", wrong


def test_every_call_is_in_a_group():
    for name in (*calls(), *methods()):
        assert sum(name.startswith(starts) for starts in GROUPS.values()) == 1, name
