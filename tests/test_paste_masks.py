"""Pasting masks into pictures, in both conventions: by hand, pixel by pixel, and against PyTorch's own resampling.

Wherever it says `implementation`, the compiled kernel and the PyTorch one are both meant.
"""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from maskrcnn import ops
from maskrcnn.ops import fallback_pasting
from maskrcnn.ops.fallback_pasting import paste_mask
from maskrcnn.reference import pasting as reference

CONVENTIONS = ["pixel_centres", "padded_resize"]
IMPLEMENTATIONS = {"dispatched": torch.ops.maskrcnn.paste_masks, "fallback": fallback_pasting.paste_masks}
"""The compiled kernel, where there is one, and PyTorch's; both (masks, boxes, height, width, padded_resize)."""

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


@pytest.fixture(params=IMPLEMENTATIONS)
def implementation(request):
    return IMPLEMENTATIONS[request.param]


def random_mask(seed: int = 0, cells: int = 5) -> torch.Tensor:
    return torch.rand(cells, cells, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def random_masks(cells: int, seed: int = 0) -> torch.Tensor:
    """One for each of BOXES."""
    return torch.stack([random_mask(1000 * seed + index, cells) for index in range(len(BOXES))])


def box_of(name: str) -> torch.Tensor:
    return torch.tensor(BOXES[name], dtype=torch.float64)


def all_boxes() -> torch.Tensor:
    return torch.tensor(list(BOXES.values()), dtype=torch.float64)


def probabilities(mask: torch.Tensor, box: torch.Tensor, height: int, width: int, convention: str) -> torch.Tensor:
    return paste_mask(mask, box, height, width, convention == "padded_resize")


def binarised(probability: torch.Tensor, convention: str) -> torch.Tensor:
    return probability >= 0.5 if convention == "pixel_centres" else probability > 0.5


# By hand: first where probabilities can be seen, then what is decided on them.


def test_a_box_of_whole_pixels_as_large_as_its_mask_is_a_copy():
    mask = random_mask(cells=4)
    box = torch.tensor([2.0, 1.0, 6.0, 5.0], dtype=torch.float64)
    expected = torch.zeros(7, 9, dtype=torch.float64)
    expected[1:5, 2:6] = mask
    assert_close(probabilities(mask, box, 7, 9, "pixel_centres"), expected)
    pasted = ops.paste_masks(mask[None], box[None], height=7, width=9, convention="pixel_centres")
    assert pasted[0].tolist() == (expected >= 0.5).tolist()


def test_pixel_centres_by_hand():
    """Two cells over four pixels: the pixels' middles lie at -0.75, -0.25, 0.25 ... 1.75, counted in cells."""
    mask = torch.tensor([[0.2, 0.8]]).expand(2, 2)
    row = probabilities(mask, torch.tensor([1.0, 0.0, 5.0, 2.0]), 2, 6, "pixel_centres")[0]
    expected = [0.25 * 0.2, 0.75 * 0.2, 0.75 * 0.2 + 0.25 * 0.8, 0.25 * 0.2 + 0.75 * 0.8, 0.75 * 0.8, 0.25 * 0.8]
    assert_close(row, torch.tensor(expected))


def test_padded_resize_by_hand():
    """Two cells and their ring are four; the box of 4 x 4 grows to 8 x 8, and to 9 pixels as both ends count.

    Pixel p of 9 lies at (p + 0.5) * 4 / 9 - 0.5 cells; the middle one between the two real cells.
    """
    box = torch.tensor([4.0, 4.0, 8.0, 8.0])
    picture = probabilities(torch.ones(2, 2), box, 12, 12, "padded_resize")
    expected = [0.0] * 2 + [0.0, 1 / 6, 11 / 18, 1.0, 1.0, 1.0, 11 / 18, 1 / 6, 0.0] + [0.0]
    assert_close(picture[6], torch.tensor(expected))
    assert_close(picture[:, 6], torch.tensor(expected))


def test_a_row_of_each_convention_decided_by_hand(implementation):
    """The probabilities of the two tests above; at the second and second to last place both are below a half."""
    box = torch.tensor([[4.0, 4.0, 8.0, 8.0]])
    resized = implementation(torch.ones(1, 2, 2), box, 12, 12, True)[0]
    assert resized[6].tolist() == [False] * 4 + [True] * 5 + [False] * 3
    assert resized.sum() == 25 - 4  # in the corners 11 / 18 is squared
    looked_up = implementation(torch.tensor([[[0.2, 0.9], [0.2, 0.9]]]), box, 12, 12, False)[0]
    assert looked_up[5].tolist() == [False] * 6 + [True] * 2 + [False] * 4  # 0.15, 0.375, 0.725, 0.675


def test_corners_are_truncated_and_not_rounded():
    """From 0.9 and -0.9 alike to 0: the grown box covers the pixels 0 to 2, or 0 to 3."""
    for x1, x2, last in ((0.9, 2.9, 2), (-0.9, 3.1, 3)):
        middle, half = (x1 + x2) / 2, (x2 - x1) / 2
        box = torch.tensor([middle - half * 28 / 30, 0.0, middle + half * 28 / 30, 10.0])
        columns = probabilities(torch.ones(28, 28), box, 10, 8, "padded_resize")[5].nonzero()[:, 0]
        assert (columns.min().item(), columns.max().item()) == (0, last)


@pytest.mark.parametrize("padded_resize", [False, True])
def test_x_and_y_are_not_swapped(implementation, padded_resize):
    mask = torch.zeros(1, 4, 4)
    mask[0, 0, 3] = 1.0  # the right end of the top row
    picture = implementation(mask, torch.tensor([[10.0, 2.0, 30.0, 12.0]]), 20, 40, padded_resize)[0]
    y, x = picture.nonzero().double().mean(dim=0).tolist()
    assert 25 <= x <= 30 and 2 <= y <= 5


def test_binarising_from_a_half_on_or_above_a_half(implementation):
    """A probability of exactly a half is an object for MMDetection and none for torchvision."""
    masks, boxes = torch.full((1, 4, 4), 0.5), torch.tensor([[2.0, 2.0, 6.0, 6.0]])
    assert implementation(masks, boxes, 8, 8, False).sum() == 16
    assert implementation(masks, boxes, 8, 8, True).sum() == 0
    assert implementation(masks.nextafter(torch.tensor(0.0)), boxes, 8, 8, False).sum() == 0
    assert implementation(masks.nextafter(torch.tensor(1.0)), boxes, 8, 8, True).sum() == 9


# Against the loop and independent implementations


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("name", BOXES)
def test_probabilities_agree_with_the_loop_pixel_by_pixel(name, convention):
    mask, box = random_mask(), box_of(name)
    expected = reference.paste_mask(mask, box, 12, 16, convention)
    assert_close(probabilities(mask, box, 12, 16, convention), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("cells", [1, 2, 5, 28])
def test_agrees_with_the_loop(implementation, cells, convention):
    masks, boxes = random_masks(cells), all_boxes()
    expected = reference.paste_masks(masks, boxes, height=12, width=16, convention=convention)
    pasted = implementation(masks, boxes, 12, 16, convention == "padded_resize")
    assert pasted.dtype == torch.bool and pasted.shape == (len(BOXES), 12, 16)
    assert torch.equal(pasted, expected)
    assert expected.any() and not expected.all()


@pytest.mark.parametrize("name", BOXES)
def test_pixel_centres_equal_grid_sample(name):
    """As MMDetection pastes: zeros outside, corners not aligned."""
    mask, (x1, y1, x2, y2) = random_mask(seed=1, cells=28), box_of(name)
    u = (torch.arange(16, dtype=torch.float64) + 0.5 - x1) / (x2 - x1) * 2 - 1
    v = (torch.arange(12, dtype=torch.float64) + 0.5 - y1) / (y2 - y1) * 2 - 1
    grid = torch.stack(torch.meshgrid(u, v, indexing="xy"), dim=-1)
    expected = F.grid_sample(mask[None, None], grid[None], align_corners=False, padding_mode="zeros")[0, 0]
    assert_close(probabilities(mask, box_of(name), 12, 16, "pixel_centres"), expected)


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
    assert_close(probabilities(mask, box, 12, 16, "padded_resize"), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_both_implementations_decide_alike_to_the_last_bit(convention, dtype):
    """Masks of few values over boxes of few sizes: probabilities of exactly a half, or nearly, are everywhere."""
    generator = torch.Generator().manual_seed(0)
    corners = torch.randint(-80, 400, (200, 2), generator=generator) / 8
    sizes = torch.randint(-8, 300, (200, 2), generator=generator) / 8
    boxes = torch.cat((corners, corners + sizes), dim=1).to(dtype)
    masks = (torch.randint(0, 3, (200, 4, 4), generator=generator) / 2).to(dtype)
    ours, theirs = (kernel(masks, boxes, 37, 45, convention == "padded_resize") for kernel in IMPLEMENTATIONS.values())
    assert torch.equal(ours, theirs) and ours.any()
    pictures = [probabilities(mask, box, 37, 45, convention) for mask, box in zip(masks, boxes, strict=True)]
    assert sum((picture == 0.5).sum() for picture in pictures) > 100


def test_any_number_of_threads_gives_the_same(implementation):
    masks, boxes = random_masks(28, seed=3), all_boxes()
    threads = torch.get_num_threads()
    try:
        results = []
        for count in (1, 2, 5, 7):  # the rows of a picture are divided, too
            torch.set_num_threads(count)
            results.append(implementation(masks, boxes, 12, 16, False))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(result, results[0]) for result in results[1:])


# Empty, degenerate and hostile


@pytest.mark.parametrize("count, height, width", [(0, 5, 6), (3, 0, 6), (3, 5, 0), (0, 0, 0)])
def test_nothing_to_paste(implementation, count, height, width):
    boxes = torch.tensor([1.0, 1, 4, 4]).expand(count, 4)
    for padded_resize in (False, True):
        pasted = implementation(torch.ones(count, 28, 28), boxes, height, width, padded_resize)
        assert pasted.shape == (count, height, width) and pasted.dtype == torch.bool


WITHOUT_AREA = [(5.0, 2.0, 5.0, 8.0), (3.0, 4.5, 9.0, 4.5), (0.0, 0.0, 0.0, 0.0), (5.5, 4.5, 5.5, 9.0)]


@pytest.mark.parametrize("box", WITHOUT_AREA)
def test_a_box_without_area_pastes_nothing(implementation, box):
    """Dividing by its width would give infinities (MMDetection reads them as the mask's middle, in every column)."""
    assert not implementation(torch.ones(1, 28, 28), torch.tensor([box]), 12, 16, False).any()


def test_a_box_without_area_is_a_pixel_or_two_when_resized(implementation):
    """Torchvision's boxes include their last pixel."""
    assert implementation(torch.ones(1, 28, 28), torch.tensor([[5.0, 2.0, 5.0, 2.0]]), 12, 16, True).sum() == 1


@pytest.mark.parametrize("padded_resize", [False, True])
def test_swapped_corners_paste_nothing(implementation, padded_resize):
    boxes = torch.tensor([[11.0, 2, 3, 8], [3, 8, 11, 2], [11, 8, 3, 2]])
    assert not implementation(torch.ones(3, 28, 28), boxes, 12, 16, padded_resize).any()


USUAL = [3.0, 2.0, 11.0, 8.0]
NOT_FINITE = [
    *[[*USUAL[:k], value, *USUAL[k + 1 :]] for k in range(4) for value in (math.nan, math.inf, -math.inf)],
    [-math.inf, -math.inf, math.inf, math.inf],
    [-3e38, 2.0, 3e38, 8.0],  # finite, but not its width
]
EXTREME = [
    *[[-size, -size, size, size] for size in (1e4, 1e9, 1e30)],
    [1e9, 1e9, 2e9, 2e9],
    [2.0, 3.0, 1e30, 1e30],
    [1e-40, 1e-40, 1e-39, 1e-39],
    [0.5, 0.5, 0.5 + 1e-7, 0.5 + 1e-7],
    [5.0, 5.0, 5.5, 1e20],
]


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_hostile_boxes(implementation, convention):
    boxes = torch.tensor([USUAL, *NOT_FINITE, *EXTREME])
    masks = random_mask(seed=4, cells=7).float().expand(len(boxes), 7, 7)
    pasted = implementation(masks, boxes, 12, 16, convention == "padded_resize")
    assert pasted[0].any()
    assert not pasted[1 : 1 + len(NOT_FINITE)].any(), "a box that is not finite pastes nothing"
    other = IMPLEMENTATIONS["fallback"](masks, boxes, 12, 16, convention == "padded_resize")
    assert torch.equal(pasted, other)
    finite = [0, *range(1 + len(NOT_FINITE), len(boxes))]
    expected = reference.paste_masks(masks[0].expand(len(finite), 7, 7), boxes[finite], height=12, width=16,
                                     convention=convention)  # fmt: skip
    assert torch.equal(pasted[finite], expected)


@pytest.mark.parametrize("padded_resize", [False, True])
def test_a_cell_of_nan_darkens_its_surroundings_and_nothing_else(implementation, padded_resize):
    masks, boxes = torch.ones(1, 4, 4), torch.tensor([[0.0, 0.0, 32.0, 32.0]])
    whole = implementation(masks, boxes, 32, 32, padded_resize)
    masks[0, 1, 2] = math.nan
    pasted = implementation(masks, boxes, 32, 32, padded_resize)
    lost = (whole & ~pasted)[0].nonzero()
    assert (pasted & ~whole).sum() == 0
    assert lost.min(dim=0).values.tolist() == pytest.approx([4, 12], abs=2)
    assert lost.max(dim=0).values.tolist() == pytest.approx([19, 27], abs=2)


# The public function


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_any_leading_dimensions_and_layout(convention):
    masks = random_masks(5).reshape(2, 5, 5, 5)
    boxes = all_boxes().reshape(2, 5, 4)
    settings = {"height": 12, "width": 16, "convention": convention}
    pasted = ops.paste_masks(masks, boxes, **settings)
    assert pasted.shape == (2, 5, 12, 16)
    for row in range(2):
        for column in range(5):
            probability = reference.paste_mask(masks[row, column], boxes[row, column], 12, 16, convention)
            assert torch.equal(pasted[row, column], binarised(probability, convention))
    shuffled = masks.permute(3, 0, 2, 1).contiguous().permute(1, 3, 2, 0), boxes.mT.contiguous().mT
    assert torch.equal(ops.paste_masks(*shuffled, **settings), pasted)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_sixteen_bit_masks_are_interpolated_in_float32(dtype):
    masks, boxes = random_masks(28, seed=5).to(dtype), all_boxes().to(dtype)
    settings = {"height": 12, "width": 16, "convention": "pixel_centres"}
    expected = ops.paste_masks(masks.float(), boxes.float(), **settings)
    assert torch.equal(ops.paste_masks(masks, boxes, **settings), expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(ops.paste_masks(masks, boxes, **settings), expected)
        assert torch.equal(torch.ops.maskrcnn.paste_masks(masks, boxes, 12, 16, False), expected)


def test_gives_no_gradient():
    masks = torch.ones(1, 4, 4, requires_grad=True)
    pasted = ops.paste_masks(masks, torch.tensor([USUAL]), height=12, width=16, convention="pixel_centres")
    assert not pasted.requires_grad


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_probabilities_are_linear_in_the_mask(convention):
    mask = random_mask().requires_grad_()
    assert torch.autograd.gradcheck(lambda m: probabilities(m, box_of("fractions"), 12, 16, convention), (mask,))


GOOD = {
    "masks": torch.zeros(3, 28, 28),
    "boxes": torch.zeros(3, 4),
    "height": 5,
    "width": 6,
    "convention": "pixel_centres",
}
ERRORS = {
    "masks not a tensor": (TypeError, "masks must be a tensor .* found list", {"masks": [[1.0]]}),
    "decided masks": (TypeError, "masks .* torch.bool", {"masks": torch.zeros(3, 28, 28, dtype=torch.bool)}),
    "integer boxes": (TypeError, "boxes .* torch.int64", {"boxes": torch.zeros(3, 4).long()}),
    "a single mask": (ValueError, r"masks must be \(\.\.\., N, m, m\)", {"masks": torch.zeros(28, 28)}),
    "masks not square": (ValueError, r"masks must be .* found \(3, 28, 14\)", {"masks": torch.zeros(3, 28, 14)}),
    "no cells": (ValueError, "with cells, found", {"masks": torch.zeros(3, 0, 0)}),
    "a box missing": (ValueError, r"boxes must be \(3, 4\) .* found \(2, 4\)", {"boxes": torch.zeros(2, 4)}),
    "five coordinates": (ValueError, r"boxes must be \(3, 4\) .* found \(3, 5\)", {"boxes": torch.zeros(3, 5)}),
    "negative height": (ValueError, "height and width must not be negative, found -1 and 6", {"height": -1}),
    "american spelling": (
        ValueError,
        'convention must be "pixel_centres" or "padded_resize", found \'pixel_centers\'',
        {"convention": "pixel_centers"},
    ),
    "two devices": (ValueError, "masks are on cpu but boxes on meta", {"boxes": torch.zeros(3, 4, device="meta")}),
}


@pytest.mark.parametrize("error, message, change", ERRORS.values(), ids=ERRORS)
def test_mistakes_are_named(error, message, change):
    with pytest.raises(error, match=message):
        ops.paste_masks(**(GOOD | change))


# Registration


@pytest.mark.parametrize("padded_resize", [False, True])
def test_registration_keeps_pytorchs_rules(padded_resize):
    arguments = (random_masks(5), all_boxes(), 12, 16, padded_resize)
    report = torch.library.opcheck(torch.ops.maskrcnn.paste_masks.default, arguments)
    assert set(report.values()) == {"SUCCESS"}


def test_shape_is_known_without_data():
    masks, boxes = torch.empty(2, 3, 28, 28, device="meta"), torch.empty(2, 3, 4, device="meta")
    pasted = ops.paste_masks(masks, boxes, height=50, width=60, convention="padded_resize")
    assert pasted.shape == (2, 3, 50, 60) and pasted.dtype == torch.bool and pasted.device.type == "meta"


@pytest.mark.slow
def test_compiles_into_one_graph():
    def areas(masks, boxes, height, width):
        pasted = ops.paste_masks(masks, boxes, height=height, width=width, convention="pixel_centres")
        return pasted.sum(dim=(1, 2)) * 2

    compiled = torch.compile(areas, fullgraph=True, dynamic=True)
    masks, boxes = random_masks(5), all_boxes()
    for height, width in ((12, 16), (20, 9)):
        assert torch.equal(compiled(masks, boxes, height, width), areas(masks, boxes, height, width))
