"""Pasting masks into pictures, in both conventions: by hand, pixel by pixel, and against PyTorch's own resampling."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from maskrcnn.model.paste import paste_mask, paste_masks
from maskrcnn.reference import pasting as reference

CONVENTIONS = ["pixel_centres", "padded_resize"]

BOXES = {
    "whole pixels": (3.0, 2.0, 11.0, 8.0),
    "fractions": (3.3, 2.7, 11.1, 8.9),
    "smaller than its cells": (5.2, 4.1, 7.9, 6.3),
    "within a pixel": (5.2, 4.3, 5.7, 4.6),
    "around a pixel's middle": (5.4, 4.4, 5.6, 4.6),
    "over the left top": (-4.5, -3.2, 6.0, 5.0),
    "over the right bottom": (9.0, 6.0, 30.0, 25.0),
    "larger than the picture": (-20.0, -30.0, 40.0, 50.0),
    "outside": (20.0, 20.0, 30.0, 30.0),
    "left of it": (-9.0, 2.0, -1.0, 8.0),
}
"""For a picture of 12 x 16 pixels."""


def random_mask(seed: int = 0, cells: int = 5) -> torch.Tensor:
    return torch.rand(cells, cells, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def box_of(name: str) -> torch.Tensor:
    return torch.tensor(BOXES[name], dtype=torch.float64)


# By hand.


def test_a_box_of_whole_pixels_as_large_as_its_mask_is_a_copy():
    mask = random_mask(cells=4)
    picture = paste_mask(mask, torch.tensor([2.0, 1.0, 6.0, 5.0], dtype=torch.float64), 7, 9)
    expected = torch.zeros(7, 9, dtype=torch.float64)
    expected[1:5, 2:6] = mask
    assert_close(picture, expected)


def test_pixel_centres_by_hand():
    """Two cells over four pixels: the pixels' middles lie at -0.75, -0.25, 0.25 ... 1.75, counted in cells."""
    mask = torch.tensor([[0.2, 0.8]]).expand(2, 2)
    row = paste_mask(mask, torch.tensor([1.0, 0.0, 5.0, 2.0]), 2, 6)[0]
    expected = [0.25 * 0.2, 0.75 * 0.2, 0.75 * 0.2 + 0.25 * 0.8, 0.25 * 0.2 + 0.75 * 0.8, 0.75 * 0.8, 0.25 * 0.8]
    assert_close(row, torch.tensor(expected))


def test_padded_resize_by_hand():
    """Two cells and their ring are four; the box of 4 x 4 grows to 8 x 8, and to 9 pixels as both ends count.

    Pixel p of 9 lies at (p + 0.5) * 4 / 9 - 0.5 cells; the middle one between the two real cells.
    """
    picture = paste_mask(torch.ones(2, 2), torch.tensor([4.0, 4.0, 8.0, 8.0]), 12, 12, "padded_resize")
    expected = [0.0] * 2 + [0.0, 1 / 6, 11 / 18, 1.0, 1.0, 1.0, 11 / 18, 1 / 6, 0.0] + [0.0]
    assert_close(picture[6], torch.tensor(expected))
    assert_close(picture[:, 6], torch.tensor(expected))


def test_corners_are_truncated_and_not_rounded():
    """From 0.9 and -0.9 alike to 0: the grown box covers the pixels 0 to 2, or 0 to 3."""
    for x1, x2, last in ((0.9, 2.9, 2), (-0.9, 3.1, 3)):
        middle, half = (x1 + x2) / 2, (x2 - x1) / 2
        box = torch.tensor([middle - half * 28 / 30, 0.0, middle + half * 28 / 30, 10.0])
        columns = paste_mask(torch.ones(28, 28), box, 10, 8, "padded_resize")[5].nonzero()[:, 0]
        assert (columns.min().item(), columns.max().item()) == (0, last)


def test_x_and_y_are_not_swapped():
    mask = torch.zeros(4, 4)
    mask[0, 3] = 1.0  # the right end of the top row
    for convention in CONVENTIONS:
        picture = paste_mask(mask, torch.tensor([10.0, 2.0, 30.0, 12.0]), 20, 40, convention)
        y, x = divmod(int(picture.argmax()), 40)
        assert 25 <= x <= 30 and 2 <= y <= 5


@pytest.mark.parametrize("convention", ["pixel_centers", "padded", ""])
@pytest.mark.parametrize("count", [0, 1])
def test_an_unknown_convention_is_refused(convention, count):
    expected = f'found convention {convention!r}, expected "pixel_centres" or "padded_resize"'
    with pytest.raises(ValueError, match=expected):
        paste_mask(random_mask(), box_of("fractions"), 12, 16, convention)
    with pytest.raises(ValueError, match=expected):
        paste_masks(random_mask()[None][:count], box_of("fractions")[None][:count], 12, 16, convention)


def test_binarising_from_a_half_on_or_above_a_half():
    """A probability of exactly a half is an object for MMDetection and none for torchvision."""
    masks, boxes = torch.full((1, 4, 4), 0.5), torch.tensor([[2.0, 2.0, 6.0, 6.0]])
    assert paste_masks(masks, boxes, 8, 8, "pixel_centres").sum() == 16
    assert paste_masks(masks, boxes, 8, 8, "padded_resize").sum() == 0
    assert paste_masks(masks + 0.01, boxes, 8, 8, "padded_resize").sum() > 0


# Against the loop reference and independent implementations.


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("name", BOXES)
def test_pasting_equals_the_reference_pixel_by_pixel(name, convention):
    mask, box = random_mask(), box_of(name)
    assert_close(
        paste_mask(mask, box, 12, 16, convention), reference.paste_mask(mask, box, 12, 16, convention),
        rtol=1e-5, atol=1e-5,
    )  # fmt: skip


@pytest.mark.parametrize("name", BOXES)
def test_pixel_centres_equal_grid_sample(name):
    """As MMDetection pastes: zeros outside, corners not aligned."""
    mask, (x1, y1, x2, y2) = random_mask(seed=1, cells=28), box_of(name)
    u = (torch.arange(16, dtype=torch.float64) + 0.5 - x1) / (x2 - x1) * 2 - 1
    v = (torch.arange(12, dtype=torch.float64) + 0.5 - y1) / (y2 - y1) * 2 - 1
    grid = torch.stack(torch.meshgrid(u, v, indexing="xy"), dim=-1)
    expected = F.grid_sample(mask[None, None], grid[None], align_corners=False, padding_mode="zeros")[0, 0]
    assert_close(paste_mask(mask, box_of(name), 12, 16, "pixel_centres"), expected)


@pytest.mark.parametrize("name", BOXES)
def test_padded_resize_equals_interpolate(name):
    """As torchvision pastes: resize to the whole box, then copy the part inside the picture."""
    mask, box = random_mask(seed=2, cells=28), box_of(name)
    middle, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2 * 30 / 28
    x1, y1, x2, y2 = torch.cat((middle - half, middle + half)).long().tolist()
    width, height = max(x2 - x1 + 1, 1), max(y2 - y1 + 1, 1)
    large = F.interpolate(F.pad(mask, (1, 1, 1, 1))[None, None], size=(height, width), mode="bilinear")[0, 0]
    expected = torch.zeros(12, 16, dtype=torch.float64)
    left, top, right, bottom = max(x1, 0), max(y1, 0), min(x2 + 1, 16), min(y2 + 1, 12)
    if right > left and bottom > top:
        expected[top:bottom, left:right] = large[top - y1 : bottom - y1, left - x1 : right - x1]
    assert_close(paste_mask(mask, box, 12, 16, "padded_resize"), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_many_masks_equal_one_by_one(convention):
    masks = torch.stack([random_mask(seed) for seed in range(len(BOXES))])
    boxes = torch.tensor(list(BOXES.values()), dtype=torch.float64)
    pasted = paste_masks(masks, boxes, 12, 16, convention)
    assert pasted.dtype == torch.bool and pasted.shape == (len(BOXES), 12, 16)
    for mask, box, result in zip(masks, boxes, pasted, strict=True):
        alone = reference.paste_mask(mask, box, 12, 16, convention)
        assert torch.equal(result, alone >= 0.5 if convention == "pixel_centres" else alone > 0.5)
    assert pasted.any()


# Gradients.


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_pasting_is_linear_in_the_mask(convention):
    mask = random_mask().requires_grad_()
    assert torch.autograd.gradcheck(lambda m: paste_mask(m, box_of("fractions"), 12, 16, convention), (mask,))


# Empty and degenerate.


def test_no_masks():
    assert paste_masks(torch.zeros(0, 28, 28), torch.zeros(0, 4), 5, 6).shape == (0, 5, 6)


@pytest.mark.parametrize(
    "box", [(5.0, 2.0, 5.0, 8.0), (3.0, 4.5, 9.0, 4.5), (0.0, 0.0, 0.0, 0.0), (5.5, 4.5, 5.5, 9.0)]
)
def test_a_box_without_area_pastes_nothing(box):
    """Dividing by its width would give infinities (MMDetection reads them as the mask's middle, in every column)."""
    assert paste_mask(torch.ones(28, 28), torch.tensor(box), 12, 16).tolist() == [[0.0] * 16] * 12


def test_a_box_without_area_is_a_pixel_or_two_when_resized():
    """Torchvision's boxes include their last pixel."""
    assert paste_masks(torch.ones(1, 28, 28), torch.tensor([[5.0, 2.0, 5.0, 2.0]]), 12, 16, "padded_resize").sum() == 1
