"""Every op in PyTorch's eyes: opcheck's four tests, gradients by finite differences, and one graph through each."""

import pytest
import torch
from random_inputs import random_boxes

from maskrcnn import ops
from maskrcnn.ops import register

BOXES, OTHERS = random_boxes(2, 5, seed=0, extent=16.0).float(), random_boxes(2, 4, seed=1, extent=16.0).float()
SCORES, GROUPS = torch.arange(10.0).view(2, 5), torch.arange(10).view(2, 5) % 2
FLAGS, OTHER_FLAGS = torch.ones(2, 5).bool(), torch.tensor([[True] * 4, [False] * 4])
FEATURES = [torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(size)) for size in (8, 4)]
BINS = torch.randn(2, 5, 3, 2, 2, generator=torch.Generator().manual_seed(0))
BITMAPS = (torch.rand(90, generator=torch.Generator().manual_seed(0)) < 0.5).byte()
OFFSETS, BITMAP_BOXES = torch.arange(10).view(2, 5), torch.tensor([2, 3, 10, 13]).expand(2, 5, 4)
SIZES = torch.tensor([[16, 16], [14, 15]])
POOLING = (2, [2.0, 4.0], 2, True, 6.0)
KERNEL = torch.randn(3, 3, 16, 32, generator=torch.Generator().manual_seed(1))


def differentiable(*tensors: torch.Tensor) -> list[torch.Tensor]:
    return [tensor.double().requires_grad_() for tensor in tensors]


ARGUMENTS = {
    "transform_kernel_3x3": lambda last: (KERNEL, 4 if last else 0),
    "convolve_3x3": lambda last: (
        torch.randn(2, 16, 5, 6, generator=torch.Generator().manual_seed(0)),
        torch.ops.maskrcnn.transform_kernel_3x3(KERNEL, 4),
        torch.ones(32) if last else None,
        32,
        4,
    ),
    "nms": lambda last: (BOXES, SCORES, GROUPS if last else None, 0.5, 3),
    "match_boxes": lambda last: (OTHERS, OTHER_FLAGS, BOXES, FLAGS, 0.1),
    "covered_boxes": lambda last: (BOXES, OTHERS, OTHER_FLAGS, 0.5),
    "crop_masks": lambda last: (BITMAPS, OFFSETS, BITMAP_BOXES, BOXES, SIZES, 4, last),
    "paste_masks": lambda last: (BINS[0, :, 0], BOXES[0], 9, 11, last),
    "pyramid_roi_align": lambda last: (differentiable(*FEATURES), BOXES.double(), *POOLING, last),
    "pyramid_roi_align_backward": lambda last: (BINS, BOXES, [8, 4], [8, 4], *POOLING, last),
    "roi_pool": lambda last: (*differentiable(FEATURES[0]), BOXES.double(), 2, 2.0, last),
    "roi_pool_backward": lambda last: (BINS, torch.arange(120).view(BINS.shape).int() % 65 - 1, 8, 8, last),
}
"""Arguments of each op; `last` is the layout, or whatever else there is two of."""


def test_every_op_has_its_arguments():
    assert set(ARGUMENTS) == set(register.SCHEMAS)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("name", ARGUMENTS)
def test_registration_keeps_pytorchs_rules(name, last):
    report = torch.library.opcheck(getattr(torch.ops.maskrcnn, name).default, ARGUMENTS[name](last))
    assert report == dict.fromkeys(
        ("test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_dynamic"), "SUCCESS"
    )


def pyramid_roi_align(features, rois):
    return ops.pyramid_roi_align(
        features, rois, output_size=2, strides=[2.0, 4.0], sampling_ratio=2, aligned=True, finest_size=6.0
    )


def roi_pool(feature, rois):
    return ops.roi_pool(feature, rois, output_size=2, stride=2.0)


def roi_warp(feature, rois):
    return ops.roi_warp(feature, rois, output_size=2, stride=2.0, mode="average")


def roi_warp_maximum(feature, rois):
    return ops.roi_warp(feature, rois, output_size=2, stride=2.0, mode="max")


POOLERS = [roi_pool, roi_warp, roi_warp_maximum]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("pool", [pyramid_roi_align, *POOLERS])
def test_gradients_agree_with_finite_differences(pool, layout):
    features = [level.double().contiguous(memory_format=layout).requires_grad_() for level in FEATURES]
    if pool is pyramid_roi_align:
        assert torch.autograd.gradcheck(lambda *levels: pool(list(levels), BOXES), features, fast_mode=True)
    else:
        assert torch.autograd.gradcheck(lambda feature: pool(feature, BOXES), features[0], fast_mode=True)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("pool", [pyramid_roi_align, *POOLERS])
def test_second_derivatives_agree_with_finite_differences(pool, layout):
    """As a penalty on gradients needs them. PyTorch would take the gradient for a constant, and only warn."""
    features = [level[:1].double().contiguous(memory_format=layout).requires_grad_() for level in FEATURES]
    boxes = BOXES[:1]
    if pool is pyramid_roi_align:
        assert torch.autograd.gradgradcheck(lambda *levels: pool(list(levels), boxes), features, fast_mode=True)
    else:
        assert torch.autograd.gradgradcheck(lambda feature: pool(feature, boxes), features[0], fast_mode=True)


GRAPHS = {
    "nms": lambda boxes: ops.nms(boxes, SCORES[:, : boxes.shape[1]], iou_threshold=0.5, max_keep=3),
    "match_boxes": lambda boxes: ops.match_boxes(OTHERS, OTHER_FLAGS, boxes, FLAGS[:, : boxes.shape[1]], floor=0.1),
    "covered_boxes": lambda boxes: ops.covered_boxes(boxes, OTHERS, OTHER_FLAGS, fraction=0.1),
    "crop_masks": lambda boxes: ops.crop_masks(
        BITMAPS, OFFSETS[:, : boxes.shape[1]], BITMAP_BOXES[:, : boxes.shape[1]], boxes, SIZES, size=4,
        convention="binary",
    ),
    "paste_masks": lambda boxes: ops.paste_masks(
        BINS[:, : boxes.shape[1], 0], boxes, height=2 * boxes.shape[1], width=11, convention="padded_resize"
    ),
    "pyramid_roi_align": lambda boxes: pyramid_roi_align(FEATURES, boxes),
    **{pool.__name__: lambda boxes, pool=pool: pool(FEATURES[0], boxes) for pool in POOLERS},
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", GRAPHS)
def test_compiles_into_one_graph_for_any_number_of_boxes(name):
    compiled = torch.compile(GRAPHS[name], fullgraph=True, dynamic=True)
    for count in (5, 3):
        torch.testing.assert_close(compiled(BOXES[:, :count]), GRAPHS[name](BOXES[:, :count]))
