"""The CUDA kernel of mask targets, on the emulator: the bits of the C++ op."""

import emulated_kernels
import pytest
import torch
from test_mask_targets import NOT_FINITE, UNREADABLE, random_case

from maskrcnn import ops
from maskrcnn.reference.mask_targets import mask_target


def assert_same(*arguments, threads=64):
    targets = emulated_kernels.crop_masks(*arguments, threads=threads)
    expected = torch.ops.maskrcnn.crop_masks(*arguments)
    if ops.build_information()["compiled"]:
        assert torch.equal(targets, expected)
    else:  # PyTorch sums in another order
        torch.testing.assert_close(targets, expected, rtol=1e-4, atol=1e-5)


def one_image(seed, height, width, count):
    bitmaps, masks, rois = random_case(seed, height, width, count)
    sizes = torch.tensor([[height, width]])
    return (bitmaps.pixels, bitmaps.offsets[None], bitmaps.boxes[None], rois[None], sizes), masks


@pytest.mark.parametrize("binary", [True, False])
def test_crops_of_bitmaps_equal_roi_align_of_the_whole_mask(binary):
    arguments, masks = one_image(1, 40, 52, 8)
    targets = emulated_kernels.crop_masks(*arguments, 7, binary)
    for mask, roi, target in zip(masks, arguments[3][0], targets[0], strict=True):
        expected = mask_target(mask, roi, 7, "binary" if binary else "soft")
        torch.testing.assert_close(target, expected, rtol=1e-4, atol=1e-5)
    assert 0 < targets.mean() < 1


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("size", [1, 8, 14])  # cells of 8 RoIs: fewer than a block, whole blocks, some left over
def test_the_bits_of_the_cpp_op(size, binary):
    (pixels, offsets, boxes, rois, sizes), _ = one_image(2, 60, 44, 8)
    arguments = pixels, offsets.view(2, 4), boxes.view(2, 4, 4), rois.view(2, 4, 4), sizes.expand(2, 2)
    assert_same(*arguments, size, binary)
    assert_same(*arguments[:3], arguments[3].double(), arguments[4], size, binary, threads=256)


@pytest.mark.parametrize("offset, box", UNREADABLE.values(), ids=UNREADABLE)
def test_a_bitmap_that_is_not_there_counts_as_empty(offset, box):
    pixels, roi = torch.ones(400, dtype=torch.uint8), torch.tensor([[[0.0, 0, 20, 20]]])
    arguments = pixels, torch.tensor([[offset]]), torch.tensor([[box]]), roi, torch.tensor([[20, 20]])
    assert not emulated_kernels.crop_masks(*arguments, 4, True).any()


@pytest.mark.parametrize("binary", [True, False])
def test_an_roi_that_is_not_finite_reads_nothing_it_should_not(binary):
    count = len(NOT_FINITE)
    boxes = torch.tensor([0, 0, 20, 20]).expand(1, count, 4)
    offsets, pixels = torch.zeros(1, count, dtype=torch.int64), torch.ones(400, dtype=torch.uint8)
    targets = emulated_kernels.crop_masks(pixels, offsets, boxes, NOT_FINITE[None], torch.tensor([[20, 20]]), 4, binary)
    assert targets.shape == (1, count, 4, 4)


@pytest.mark.parametrize("side", [0, -5, 2**31, 2**62])
def test_an_image_of_an_impossible_size_has_no_pixels(side):
    pixels, box = torch.ones(400, dtype=torch.uint8), torch.tensor([[[0, 0, 20, 20]]])
    arguments = pixels, torch.tensor([[0]]), box, torch.tensor([[[0.0, 0, 20, 20]]]), torch.tensor([[side, 20]])
    for binary in (True, False):
        assert not emulated_kernels.crop_masks(*arguments, 4, binary).any()


@pytest.mark.parametrize("shape", [(0, 3), (2, 0)])
def test_no_rois(shape):
    boxes = torch.zeros(*shape, 4)
    offsets, sizes = torch.zeros(shape, dtype=torch.int64), torch.ones(shape[0], 2, dtype=torch.int64)
    assert_same(torch.zeros(0, dtype=torch.uint8), offsets, boxes.long(), boxes, sizes, 4, True)
