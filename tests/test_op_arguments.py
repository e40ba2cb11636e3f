"""What is no number, and what is no whole number, is refused by every op in the same words."""

import math

import numpy as np
import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from maskrcnn import ops

BOXES, FLAGS, ROIS = torch.tensor([[1.0, 1, 5, 6]]), torch.ones(1).bool(), torch.tensor([[[1.0, 1, 5, 6]]])
FEATURE = torch.arange(64.0).view(1, 1, 8, 8)
CALLS = {
    "nms": lambda **change: ops.nms(BOXES, BOXES[:, 0], **{"iou_threshold": 0.5, "max_keep": 2} | change),
    "match_boxes": lambda **change: ops.match_boxes(BOXES, FLAGS, BOXES, FLAGS, **{"floor": 0.5} | change),
    "covered_boxes": lambda **change: ops.covered_boxes(BOXES, BOXES, FLAGS, **{"fraction": 0.5} | change),
    "pyramid_roi_align": lambda **change: ops.pyramid_roi_align(
        [FEATURE],
        ROIS,
        **{"output_size": 2, "strides": [2.0], "sampling_ratio": 2, "aligned": True, "finest_size": 9.0} | change,
    ),
    "roi_pool": lambda **change: ops.roi_pool(FEATURE, ROIS, **{"output_size": 2, "stride": 2.0} | change),
    "roi_warp": lambda **change: ops.roi_warp(
        FEATURE, ROIS, **{"output_size": 2, "stride": 2.0, "sampling_ratio": 2} | change
    ),
    "crop_masks": lambda **change: ops.crop_masks(
        torch.ones(64).byte(), torch.tensor([0]), torch.tensor([[0, 0, 8, 8]]), BOXES, torch.tensor([8, 8]),
        **{"size": 2, "convention": "soft"} | change,
    ),
    "paste_masks": lambda **change: ops.paste_masks(
        torch.ones(1, 2, 2), BOXES, **{"height": 8, "width": 9, "convention": "pixel_centres"} | change
    ),
}  # fmt: skip
WHOLE = [
    ("nms", "max_keep"), ("pyramid_roi_align", "output_size"), ("pyramid_roi_align", "sampling_ratio"),
    ("roi_pool", "output_size"), ("roi_warp", "output_size"), ("roi_warp", "sampling_ratio"), ("crop_masks", "size"),
    ("paste_masks", "height"), ("paste_masks", "width"),
]  # fmt: skip
REAL = [
    ("nms", "iou_threshold"), ("match_boxes", "floor"), ("covered_boxes", "fraction"),
    ("pyramid_roi_align", "finest_size"), ("roi_pool", "stride"), ("roi_warp", "stride"),
]  # fmt: skip
NO_NUMBERS = {"'2'": "2", "None": None, "True": True, r"\[2\]": [2], "a tensor of torch.int64": torch.tensor(2)}


@pytest.mark.parametrize("op, name", WHOLE)
@pytest.mark.parametrize("found, value", (NO_NUMBERS | {"2.5": 2.5, "7.0": 7.0, "nan": math.nan, "2j": 2j}).items())
def test_a_fraction_is_no_whole_number(op, name, found, value):
    with pytest.raises(TypeError, match=f"^{op}: {name} must be a whole number, found {found}$"):
        CALLS[op](**{name: value})


@pytest.mark.parametrize("op, name", REAL)
@pytest.mark.parametrize("found, value", (NO_NUMBERS | {"2j": 2j}).items())
def test_a_word_is_no_number(op, name, found, value):
    with pytest.raises(TypeError, match=f"^{op}: {name} must be a number, found {found}$"):
        CALLS[op](**{name: value})


@pytest.mark.parametrize("op, name", REAL)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1.0])
def test_a_number_beyond_all_bounds_is_out_of_range(op, name, value):
    with pytest.raises(ValueError, match=f"^{op}: .*{name.partition('_')[0]}.* must be"):
        CALLS[op](**{name: value})


@pytest.mark.parametrize(
    "error, strides, message",
    [
        (TypeError, ["2"], r"strides\[0\] must be a number, found '2'"),
        (TypeError, [True], r"strides\[0\] must be a number, found True"),
        (TypeError, 2.0, "strides must be a list of numbers, found 2.0"),
        (TypeError, None, "strides must be a list of numbers, found None"),
        (ValueError, [math.nan], r"must be positive and finite, found \(nan,\)"),
        (ValueError, [math.inf], r"must be positive and finite, found \(inf,\)"),
    ],
)
def test_strides_are_numbers(error, strides, message):
    with pytest.raises(error, match=f"^pyramid_roi_align: .*{message}"):
        CALLS["pyramid_roi_align"](strides=strides)


@pytest.mark.parametrize("op, name", WHOLE)
def test_whole_numbers_of_numpy_are_whole_numbers(op, name):
    assert torch.equal(CALLS[op](**{name: np.int64(2)}), CALLS[op](**{name: 2}))


@pytest.mark.parametrize("op, name", WHOLE)
@pytest.mark.parametrize("value", [2**31, 2**63, 10**30])
def test_a_number_of_which_no_tensor_has_so_many_is_refused(op, name, value):
    with pytest.raises(ValueError, match=f"^{op}: {name} must be less than 2\\^31, found {value}$"):
        CALLS[op](**{name: value})


def test_numbers_of_8_bits_are_refused():
    boxes = BOXES.to(torch.float8_e4m3fn)
    message = "^nms: boxes must have floating-point numbers of 16 bits or more, found torch.float8_e4m3fn$"
    with pytest.raises(TypeError, match=message):
        ops.nms(boxes, BOXES[:, 0], iou_threshold=0.5, max_keep=2)


def test_whether_rois_are_aligned_is_a_flag():
    with pytest.raises(TypeError, match=r"^pyramid_roi_align: aligned must be True or False, found 1$"):
        CALLS["pyramid_roi_align"](aligned=1)


def test_sparse_tensors_are_refused():
    with pytest.raises(TypeError, match=r"^nms: boxes must be a tensor of floating-point numbers, found .*sparse_coo$"):
        ops.nms(BOXES.to_sparse(), BOXES[:, 0], iou_threshold=0.5, max_keep=2)


def test_sizes_that_are_known_only_when_a_graph_runs_are_whole_numbers():
    kinds = []

    def paste_into(picture, masks, boxes):
        height, width = picture.shape
        kinds.append(type(height))
        return ops.paste_masks(masks, boxes, height=height, width=width, convention="pixel_centres")

    graph = make_fx(paste_into, tracing_mode="symbolic")(torch.zeros(8, 9), torch.ones(1, 2, 2), BOXES)
    assert kinds == [torch.SymInt]
    smaller = torch.zeros(5, 7), torch.ones(1, 2, 2), BOXES
    assert torch.equal(graph(*smaller), paste_into(*smaller)) and graph(*smaller).shape == (1, 5, 7)
    assert graph(*smaller).sum() > 0
