"""Pasting on a GPU: the tests of the op, the bits of the C++ op, and no memory but the result's."""

import pytest
import torch
from every_op import on_gpu, paste_arguments
from test_paste_masks import (  # noqa: F401
    all_boxes,
    random_masks,
    test_a_box_without_area_is_a_pixel_or_two_when_resized,
    test_a_box_without_area_pastes_nothing,
    test_a_cell_of_nan_darkens_its_surroundings_and_nothing_else,
    test_a_row_of_each_convention_decided_by_hand,
    test_agrees_with_the_loop,
    test_binarising_from_a_half_on_or_above_a_half,
    test_hostile_boxes,
    test_nothing_to_paste,
    test_swapped_corners_paste_nothing,
    test_x_and_y_are_not_swapped,
)

from maskrcnn import ops


@pytest.fixture
def implementation():
    return on_gpu(torch.ops.maskrcnn.paste_masks)


@pytest.mark.parametrize("padded_resize", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("height, width", [(1, 1), (50, 3), (64, 512), (129, 255), (33, 1000), (1, 32785)])
def test_the_bits_of_the_cpp_op(implementation, height, width, dtype, padded_resize):
    """A block of 256 threads writes 32,768 pixels."""
    arguments = paste_arguments(height, width, padded_resize, dtype)
    assert torch.equal(implementation(*arguments), torch.ops.maskrcnn.paste_masks(*arguments))


@pytest.mark.parametrize("convention", ["pixel_centres", "padded_resize"])
def test_sixteen_bit_masks_are_interpolated_in_float32(convention):
    masks, boxes = random_masks(28).bfloat16(), all_boxes().bfloat16()
    settings = {"height": 12, "width": 16, "convention": convention}
    expected = ops.paste_masks(masks, boxes, **settings)
    assert torch.equal(ops.paste_masks(masks.cuda(), boxes.cuda(), **settings).cpu(), expected)
    with torch.autocast("cuda", dtype=torch.bfloat16):
        assert torch.equal(ops.paste_masks(masks.cuda(), boxes.cuda(), **settings).cpu(), expected)


def test_a_hundred_masks_at_two_megapixels_need_no_memory_besides_the_result():
    masks, boxes, *_ = paste_arguments()
    masks, boxes = (tensor.repeat(5, *[1] * (tensor.dim() - 1)).cuda() for tensor in (masks, boxes))
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    pictures = ops.paste_masks(masks, boxes, height=1080, width=1920, convention="padded_resize")
    assert torch.cuda.max_memory_allocated() - before < 1.02 * pictures.numel()
    expected = ops.paste_masks(masks[:20].cpu(), boxes[:20].cpu(), height=1080, width=1920, convention="padded_resize")
    assert torch.equal(pictures[80:].cpu(), expected)
