"""Mask targets: RoIAlign of box-cropped bitmaps, in both conventions, against RoIAlign of the whole picture."""

import pytest
import torch
from random_inputs import random_boxes
from torch import Tensor
from torch.testing import assert_close

from maskrcnn import ops
from maskrcnn.ops import fallback_masks
from maskrcnn.reference.mask_targets import mask_target
from maskrcnn.targets import mask_targets
from maskrcnn.targets.mask_targets import Bitmaps

CONVENTIONS = ["soft", "binary"]
IMPLEMENTATIONS = {"dispatched": torch.ops.maskrcnn.crop_masks, "fallback": fallback_masks.crop_masks}
"""The compiled kernel, where there is one, and PyTorch's; both (*bitmaps, rois, image_sizes, size, binary)."""


@pytest.fixture(params=IMPLEMENTATIONS)
def implementation(request):
    return IMPLEMENTATIONS[request.param]


def crop_masks(bitmaps: Bitmaps, rois: Tensor, image_sizes: Tensor, size: int, convention: str) -> Tensor:
    """What the compiled kernel, where there is one, and PyTorch's agree on."""
    targets = mask_targets.crop_masks(bitmaps, rois, image_sizes, size, convention)
    if rois.dim() == 2:  # the kernels want a batch
        bitmaps = Bitmaps(bitmaps.pixels, bitmaps.offsets[None], bitmaps.boxes[None])
        rois, image_sizes = rois[None], image_sizes[None]
    vectorised = fallback_masks.crop_masks(*bitmaps, rois, image_sizes, size, convention == "binary")
    assert_close(targets, vectorised.view(targets.shape), rtol=1e-4, atol=1e-5)
    return targets


def bitmaps_of(masks: list[torch.Tensor], boxes: list[tuple[int, int, int, int]]) -> Bitmaps:
    """One image's bitmaps: each mask (H, W) cut to its box."""
    crops = [mask[y1:y2, x1:x2].flatten() for mask, (x1, y1, x2, y2) in zip(masks, boxes, strict=True)]
    starts = torch.tensor([0, *map(len, crops)]).cumsum(0)[:-1]
    return Bitmaps(torch.cat(crops).to(torch.uint8), starts, torch.tensor(boxes))


def crop_one(mask: list[list[int]] | torch.Tensor, roi: tuple, size: int, convention: str) -> torch.Tensor:
    """The target (size, size) of one mask (H, W) that is kept whole."""
    mask = torch.as_tensor(mask)
    height, width = mask.shape
    bitmaps = bitmaps_of([mask], [(0, 0, width, height)])
    rois = torch.tensor([roi], dtype=torch.float32)
    return crop_masks(bitmaps, rois, torch.tensor([height, width]), size, convention)[0]


# By hand.


def test_binary_targets_of_whole_bins_are_a_majority_vote():
    """Four pixels a bin: 4, 2, 1 and 0 of them are set, and two are enough."""
    mask = [[1, 1, 1, 0], [1, 1, 0, 1], [0, 1, 0, 0], [0, 0, 0, 0]]
    assert crop_one(mask, (0, 0, 4, 4), 2, "binary").tolist() == [[1, 1], [0, 0]]


def test_binary_targets_of_an_roi_as_large_as_the_target_are_a_copy():
    mask = (torch.rand(6, 6, generator=torch.Generator().manual_seed(0)) < 0.5).int()
    assert torch.equal(crop_one(mask, (1, 2, 5, 6), 4, "binary"), mask[2:6, 1:5].float())


def test_soft_targets_read_between_the_pixels():
    """Without the half-pixel shift, an RoI from 0 to 2 with one sample a bin reads at 0.5 and 1.5."""
    assert crop_one([[1, 0, 0], [0, 0, 0], [0, 0, 1]], (0, 0, 2, 2), 2, "soft").tolist() == [[0.25, 0], [0, 0.25]]


def test_soft_targets_of_a_ramp():
    """RoIAlign's golden values for 10 y + x on 8 x 8, RoI (1, 1, 5, 5): 22, 24, 42, 44, summed from the ramp's bits."""
    ramp = 10 * torch.arange(8)[:, None] + torch.arange(8)
    total = sum(2**bit * crop_one((ramp >> bit) & 1, (1, 1, 5, 5), 2, "soft") for bit in range(7))
    assert_close(total, torch.tensor([[22.0, 24.0], [42.0, 44.0]]))


def test_binary_clips_the_roi_to_its_image_and_soft_does_not():
    """Half of the RoI lies left of a picture full of object."""
    mask = torch.ones(8, 8)
    assert crop_one(mask, (-8, 0, 8, 8), 2, "binary").tolist() == [[1, 1], [1, 1]]
    soft = crop_masks(
        bitmaps_of([mask], [(0, 0, 8, 8)]), torch.tensor([[-8.0, 0, 8, 8]]), torch.tensor([8, 8]), 2, "soft"
    )[0]  # fmt: skip
    assert soft[:, 1].tolist() == [1, 1]
    assert_close(soft[:, 0], torch.tensor([0.125, 0.125]))  # one of eight samples lies less than a pixel outside


def test_soft_takes_no_roi_as_smaller_than_a_pixel():
    mask = [[0, 1, 1, 1]] * 4
    tiny, pixel = crop_one(mask, (0, 0, 0.1, 0.1), 2, "soft"), crop_one(mask, (0, 0, 1, 1), 2, "soft")
    assert_close(tiny, pixel)
    assert_close(tiny, torch.tensor([[0.25, 0.75]] * 2))


def test_outside_its_bitmap_a_mask_is_zero():
    """The bitmap covers the right lower quarter of the RoI."""
    bitmaps = Bitmaps(torch.ones(4, dtype=torch.uint8), torch.tensor([0]), torch.tensor([[4, 4, 6, 6]]))
    target = crop_masks(bitmaps, torch.tensor([[2.0, 2, 6, 6]]), torch.tensor([9, 9]), 4, "binary")[0]
    expected = torch.zeros(4, 4)
    expected[2:, 2:] = 1
    assert torch.equal(target, expected)


def test_x_and_y_are_not_swapped():
    target = crop_one([[1, 1, 1, 1], [0, 0, 0, 0]], (0, 0, 4, 2), 2, "binary")
    assert target.tolist() == [[1, 1], [0, 0]]


# Against the loop reference.


def random_case(seed: int, height: int, width: int, count: int):
    """Bitmaps of `count` random blobs, the whole masks (N, H, W), and RoIs (N, 4) near them."""
    generator = torch.Generator().manual_seed(seed)
    objects = random_boxes(count, seed=seed, extent=min(height, width))
    boxes = torch.cat((objects[:, :2].floor(), objects[:, 2:].ceil()), dim=1).long()
    masks = torch.zeros(count, height, width)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.tolist(), strict=True):
        mask[y1:y2, x1:x2] = (torch.rand(y2 - y1, x2 - x1, generator=generator) < 0.7).float()
    rois = objects + (torch.rand(count, 4, generator=generator, dtype=torch.float64) - 0.5) * 12
    rois = torch.cat((torch.minimum(rois[:, :2], rois[:, 2:]), torch.maximum(rois[:, :2], rois[:, 2:])), dim=1)
    return bitmaps_of(list(masks), boxes.tolist()), masks, rois.float()


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("size", [1, 7, 28])
def test_crops_of_bitmaps_equal_roi_align_of_the_whole_mask(size, convention):
    bitmaps, masks, rois = random_case(1, 40, 52, 8)
    targets = crop_masks(bitmaps, rois, torch.tensor([40, 52]), size, convention)
    for mask, roi, target in zip(masks, rois, targets, strict=True):
        assert_close(target, mask_target(mask, roi, size, convention), rtol=1e-4, atol=1e-5)
    assert 0 < targets.mean() < 1


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_each_image_of_a_padded_batch_equals_itself_alone(convention):
    """Two images of different sizes with 6 and 4 objects in 6 slots, their bitmaps in one tensor."""
    (first, first_masks, first_rois), (second, second_masks, second_rois) = (
        random_case(2, 48, 40, 6),
        random_case(3, 30, 60, 4),
    )
    empty = (torch.zeros(2, dtype=torch.int64), torch.zeros(2, 4, dtype=torch.int64), torch.zeros(2, 4))
    bitmaps = Bitmaps(
        torch.cat((first.pixels, second.pixels)),
        torch.stack((first.offsets, torch.cat((second.offsets + len(first.pixels), empty[0])))),
        torch.stack((first.boxes, torch.cat((second.boxes, empty[1])))),
    )
    rois, sizes = torch.stack((first_rois, torch.cat((second_rois, empty[2])))), torch.tensor([[48, 40], [30, 60]])
    targets = crop_masks(bitmaps, rois, sizes, 14, convention)
    for image, masks in enumerate((first_masks, second_masks)):
        for slot, mask in enumerate(masks):
            expected = mask_target(mask, rois[image, slot], 14, convention)
            assert_close(targets[image, slot], expected, rtol=1e-4, atol=1e-5)
    assert not targets[1, 4:].any()


LEAST, MOST = -(2**63), 2**63 - 1
WHOLE = (0, 0, 20, 20)
UNREADABLE = {
    "bytes are missing at the end": (5, WHOLE),
    "starts before the first byte": (-3, WHOLE),
    "starts far before it": (LEAST, WHOLE),
    "starts after the last byte": (401, (0, 0, 1, 1)),
    "starts far after it": (MOST, WHOLE),
    "wider than any number": (0, (LEAST, 0, MOST, 1)),
    "higher than any number": (0, (0, LEAST, 1, MOST)),
    "an area of 2 to the 64": (0, (0, 0, 2**32, 2**32)),
    "one column outside its image": (0, (1, 0, 21, 20)),
    "one row above its image": (0, (0, -1, 20, 19)),
    "swapped corners": (0, (20, 20, 0, 0)),
    "no columns": (400, (7, 0, 7, 20)),
    "no rows": (400, (0, 7, 20, 7)),
}
"""Offset and box that do not fit 400 bytes and an image of 20 x 20, as a damaged file may have them."""
NAN, INFINITY = torch.nan, torch.inf
NOT_FINITE = torch.tensor(
    [
        [0, 0, INFINITY, 20],
        [-INFINITY, 0, 20, 20],
        [-INFINITY, -INFINITY, INFINITY, INFINITY],
        [INFINITY, INFINITY, INFINITY, INFINITY],
        [NAN, 0, 20, 20],
        [0, 0, 20, NAN],
        [NAN, NAN, NAN, NAN],
        [-3e38, 0, 3e38, 20],  # finite, but not its width
    ]
)


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("offset, box", UNREADABLE.values(), ids=UNREADABLE)
def test_a_bitmap_that_cannot_be_read_counts_as_empty(implementation, offset, box, binary):
    rois = torch.cat((torch.tensor([[0.0, 0, 20, 20]]), NOT_FINITE))[None]
    offsets, boxes = torch.full(rois.shape[:-1], offset), torch.tensor(box).expand(rois.shape)
    pixels = torch.ones(400, dtype=torch.uint8)
    assert not implementation(pixels, offsets, boxes, rois, torch.tensor([[20, 20]]), 14, binary).any()


@pytest.mark.parametrize("binary", [False, True])
def test_a_box_whose_width_overflows_needs_more_bytes_than_there_are(implementation, binary):
    """In 64 bits it is -1 pixel wide. The tensor is small, so reading past it would end the process."""
    pixels, offsets, boxes = torch.ones(4).byte(), torch.tensor([[0]]), torch.tensor([[[LEAST, 0, MOST, 1]]])
    rois = torch.tensor([[[0.0, 0, 20, 20]]])
    assert not implementation(pixels, offsets, boxes, rois, torch.tensor([[20, 20]]), 14, binary).any()


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("side", [0, -5, 2**31, 2**62, MOST, LEAST])
def test_an_image_of_an_impossible_size_has_no_pixels(implementation, side, binary):
    """And the image beside it still has its own."""
    offsets, boxes = torch.zeros(3, 1).long(), torch.tensor(WHOLE).expand(3, 1, 4)
    rois, sizes = torch.tensor([[[0.0, 0, 20, 20]]]).expand(3, 1, 4), torch.tensor([[20, 20], [side, 20], [20, side]])
    targets = implementation(torch.ones(400).byte(), offsets, boxes, rois, sizes, 4, binary)
    assert targets[0].min() > 0.7 and not targets[1:].any()


@pytest.mark.parametrize("binary", [False, True])
def test_an_roi_that_is_not_finite_neither_fails_nor_disturbs_others(implementation, binary):
    rois = torch.cat((NOT_FINITE, torch.tensor([[3.0, 4, 17, 18]])))[None]
    pixels = (torch.rand(400, generator=torch.Generator().manual_seed(0)) < 0.5).byte()
    offsets, boxes = torch.zeros(rois.shape[:-1]).long(), torch.tensor(WHOLE).expand(rois.shape)
    targets = implementation(pixels, offsets, boxes, rois, torch.tensor([[20, 20]]), 14, binary)
    alone = implementation(pixels, offsets[:, -1:], boxes[:, -1:], rois[:, -1:], torch.tensor([[20, 20]]), 14, binary)
    assert targets.shape == (1, 9, 14, 14) and ((targets >= 0) & (targets <= 1)).all()
    assert_close(targets[:, -1:], alone)
    assert 0 < alone.mean() < 1


def test_an_roi_far_wider_than_its_image_has_no_more_samples_than_that_has_pixels(implementation):
    """21 samples to a bin that is two billion pixels wide: only the middle one falls into the image."""
    pixels, rois = torch.ones(21 * 21).byte(), torch.tensor([[[-1e9, 0, 1e9, 20]]], dtype=torch.float64)
    offsets, boxes = torch.tensor([[0]]), torch.tensor([[[0, 0, 21, 21]]])
    target = implementation(pixels, offsets, boxes, rois, torch.tensor([[21, 21]]), 1, False)
    assert_close(target, torch.full((1, 1, 1, 1), 1 / 21, dtype=torch.float64))


@pytest.mark.parametrize("binary", [False, True])
def test_any_byte_but_zero_is_the_object(implementation, binary):
    """Masks are often kept as 0 and 255."""
    (pixels, offsets, boxes), _, rois = random_case(6, 40, 40, 6)
    rest = (offsets[None], boxes[None], rois[None], torch.tensor([[40, 40]]), 14, binary)
    expected = implementation(pixels, *rest)
    assert torch.equal(implementation(255 * pixels, *rest), expected)
    assert 0 < expected.mean() < 1


ZEROS = torch.zeros(3, dtype=torch.int64)
ERRORS = {
    "rois not a tensor": (TypeError, "rois must be a tensor .* found list", {"rois": [[0.0, 0, 9, 9]]}),
    "integer rois": (TypeError, "rois .* found a tensor of torch.int64", {"rois": torch.zeros(3, 4).long()}),
    "bitmaps not a tensor": (TypeError, "bitmaps must be a tensor of torch.uint8, found list", {"bitmaps": [1, 0]}),
    "bitmaps of bool": (TypeError, "bitmaps .* torch.uint8, found .* torch.bool", {"bitmaps": torch.ones(9).bool()}),
    "offsets not a tensor": (TypeError, "offsets must be a tensor of torch.int64, found tuple", {"offsets": (0, 0)}),
    "float offsets": (TypeError, "offsets .* torch.int64, found .* torch.float32", {"offsets": torch.zeros(3)}),
    "boxes not a tensor": (TypeError, "bitmap_boxes must be a tensor .* found list", {"bitmap_boxes": [[0, 0, 1, 1]]}),
    "float boxes": (TypeError, "bitmap_boxes .* found .* torch.float32", {"bitmap_boxes": torch.zeros(3, 4)}),
    "sizes not a tensor": (TypeError, "image_sizes must be a tensor .* found tuple", {"image_sizes": (40, 40)}),
    "short sizes": (TypeError, "image_sizes .* found .* torch.int32", {"image_sizes": torch.zeros(2).int()}),
    "bitmaps in rows": (ValueError, r"bitmaps must be \(M,\), found \(3, 3\)", {"bitmaps": torch.ones(3, 3).byte()}),
    "a single roi": (ValueError, r"rois must be \(\.\.\., N, 4\), found \(4,\)", {"rois": torch.zeros(4)}),
    "too few offsets": (ValueError, r"offsets must be \(3,\) .* found \(2,\)", {"offsets": ZEROS[:2]}),
    "too few boxes": (ValueError, r"bitmap_boxes must be \(3, 4\) .* found \(3,\)", {"bitmap_boxes": ZEROS}),
    "a third size": (ValueError, r"image_sizes must be \(2,\) .* found \(3,\)", {"image_sizes": ZEROS}),
    "no cells": (ValueError, "size must be at least 1, found 0", {"size": 0}),
    "unknown convention": (ValueError, 'must be "binary" or "soft", found \'hard\'', {"convention": "hard"}),
    "bitmaps elsewhere": (ValueError, "on cpu but bitmaps on meta", {"bitmaps": torch.ones(9, device="meta").byte()}),
    "offsets elsewhere": (ValueError, "on cpu but offsets on meta", {"offsets": ZEROS.to("meta")}),
}


@pytest.mark.parametrize("error, message, change", ERRORS.values(), ids=ERRORS)
def test_mistakes_are_named(error, message, change):
    right = {"bitmaps": torch.ones(9).byte(), "offsets": ZEROS, "bitmap_boxes": torch.zeros(3, 4).long()}
    right |= {"rois": torch.zeros(3, 4), "image_sizes": torch.tensor([40, 40]), "size": 14, "convention": "soft"}
    assert ops.crop_masks(**right).shape == (3, 14, 14)
    with pytest.raises(error, match="^crop_masks: .*" + message):
        ops.crop_masks(**right | change)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_autocast_changes_nothing(convention):
    """The model calls it under bfloat16 autocast, whose matrix products have three digits."""
    bitmaps, _, rois = random_case(5, 40, 40, 6)
    expected = crop_masks(bitmaps, rois, torch.tensor([40, 40]), 14, convention)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(crop_masks(bitmaps, rois, torch.tensor([40, 40]), 14, convention), expected)


# Empty and degenerate.


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_no_rois_and_no_bitmaps(convention):
    none = Bitmaps(torch.zeros(0, dtype=torch.uint8), torch.zeros(2, 0).long(), torch.zeros(2, 0, 4).long())
    sizes = torch.tensor([[32, 32], [20, 20]])
    assert crop_masks(none, torch.zeros(2, 0, 4), sizes, 28, convention).shape == (2, 0, 28, 28)
    empty = Bitmaps(none.pixels, torch.zeros(2, 3).long(), torch.zeros(2, 3, 4).long())
    targets = crop_masks(empty, torch.tensor([[0.0, 0, 9, 9]]).expand(2, 3, 4), sizes, 28, convention)
    assert targets.shape == (2, 3, 28, 28) and not targets.any()


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_an_roi_with_swapped_corners_counts_as_one_without_area(convention):
    bitmaps, _, rois = random_case(7, 40, 40, 6)
    swapped, point = rois[:, [2, 3, 0, 1]], rois[:, [2, 3, 2, 3]]
    sizes = torch.tensor([40, 40])
    expected = crop_masks(bitmaps, point, sizes, 7, convention)
    assert_close(crop_masks(bitmaps, swapped, sizes, 7, convention), expected)
    assert expected.any()


def test_an_roi_without_area_is_one_value():
    """All samples lie on one point: (5.5, 3.5) is the middle of the only pixel that is set."""
    mask = torch.zeros(8, 8)
    mask[3, 5] = 1
    assert crop_one(mask, (5.5, 3.5, 5.5, 3.5), 4, "binary").tolist() == [[1] * 4] * 4
    assert crop_one(mask, (6.5, 3.5, 6.5, 3.5), 4, "binary").tolist() == [[0] * 4] * 4
