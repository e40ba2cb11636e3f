"""The CUDA kernel of pasting, on the emulator: the tests of the op, and what is particular to words and blocks."""

import emulated_kernels
import pytest
import torch
from test_paste_masks import (  # noqa: F401
    NOT_FINITE,
    USUAL,
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


@pytest.fixture
def implementation():
    return emulated_kernels.paste_masks


def few_values(count, seed, dtype=torch.float32):
    """Masks of few values over boxes of few sizes: probabilities of exactly a half, or nearly, are everywhere."""
    generator = torch.Generator().manual_seed(seed)
    corners = torch.randint(-80, 400, (count, 2), generator=generator) / 8
    sizes = torch.randint(-8, 300, (count, 2), generator=generator) / 8
    masks = torch.randint(0, 3, (count, 4, 4), generator=generator) / 2
    return masks.to(dtype), torch.cat((corners, corners + sizes), dim=1).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("padded_resize", [False, True])
def test_the_bits_of_the_cpp_op(padded_resize, dtype):
    arguments = *few_values(100, 0, dtype), 37, 45, padded_resize
    expected = torch.ops.maskrcnn.paste_masks(*arguments)
    assert torch.equal(emulated_kernels.paste_masks(*arguments), expected) and expected.any()


@pytest.mark.parametrize("padded_resize", [False, True])
@pytest.mark.parametrize("width", [1, 3, 15, 16, 17, 32, 40])
def test_rows_of_any_width(width, padded_resize):
    """Words of 16 pixels hold several rows, begin in the middle of one, and reach over the ends of pictures."""
    masks, boxes = few_values(12, width)
    boxes[:4] = torch.tensor([-1.0, 0.0, width + 1.0, 13.0])
    for height in (1, 2, 13):
        arguments = masks, boxes, height, width, padded_resize
        expected = torch.ops.maskrcnn.paste_masks(*arguments)
        assert torch.equal(emulated_kernels.paste_masks(*arguments), expected), height


@pytest.mark.parametrize("height, width", [(64, 64), (63, 65), (33, 250), (2, 4097)])
def test_pictures_of_a_block_and_a_word_more_or_less(height, width):
    """With 32 threads a block writes 4,096 pixels."""
    masks, boxes = few_values(3, height)
    boxes[0] = torch.tensor([-9.0, -1.0, width + 9.0, height + 1.0])
    boxes[1] = torch.tensor([width - 30.0, height - 30.0, width + 1.0, height + 1.0])
    expected = torch.ops.maskrcnn.paste_masks(masks, boxes, height, width, False)
    assert torch.equal(emulated_kernels.paste_masks(masks, boxes, height, width, False), expected)
    assert expected[0].any() and expected[1].any()


def test_blocks_as_large_as_on_a_gpu():
    masks, boxes = few_values(3, 1)
    boxes[0] = torch.tensor([-20.0, -20.0, 320.0, 160.0])
    expected = torch.ops.maskrcnn.paste_masks(masks, boxes, 140, 300, True)
    assert torch.equal(emulated_kernels.paste_masks(masks, boxes, 140, 300, True, threads=256), expected)


def test_masks_that_are_not_finite_over_boxes_that_are_not():
    generator = torch.Generator().manual_seed(0)
    boxes = torch.tensor([USUAL, *NOT_FINITE, [0.0, 0.0, 16.0, 12.0]])
    values = torch.tensor([float("nan"), float("inf"), -float("inf"), 1.0, 0.5, 3e38])
    masks = values[torch.randint(0, len(values), (len(boxes), 6, 6), generator=generator)]
    for padded_resize in (False, True):
        expected = torch.ops.maskrcnn.paste_masks(masks, boxes, 12, 16, padded_resize)
        assert torch.equal(emulated_kernels.paste_masks(masks, boxes, 12, 16, padded_resize), expected)
        assert expected.any()


def test_any_number_of_cells():
    for cells in (1, 2, 28, 56):
        arguments = random_masks(cells).float(), all_boxes().float(), 12, 16, False
        assert torch.equal(
            emulated_kernels.paste_masks(*arguments), torch.ops.maskrcnn.paste_masks(*arguments)
        ), cells
