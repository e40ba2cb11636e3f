"""Cropping and pasting masks, whatever files and the network say: implementations agree, and nothing else is read."""

import torch
from hostile_inputs import (
    FLOATING,
    assert_same,
    boxes,
    counts,
    integers,
    laid_out,
    leading_shapes,
    values,
)
from hypothesis import given
from hypothesis import strategies as st

from maskrcnn import ops
from maskrcnn.ops import fallback_masks, fallback_pasting
from maskrcnn.reference import mask_targets as reference_cropping
from maskrcnn.reference import pasting as reference_pasting

dtypes = st.sampled_from(FLOATING)
batches = st.sampled_from([(0,), (1,), (2,)])
coordinate_dtypes = st.sampled_from([torch.float32, torch.float64])


def real_sides(image_sizes: torch.Tensor) -> torch.Tensor:
    """Sides up to 12, and what no image has: the work grows with the image that is claimed, so not those in between."""
    return torch.where((image_sizes < 13) | (image_sizes >= 2**31), image_sizes, 12)


@st.composite
def crops(draw, shape=leading_shapes, count=counts, hostile=True):
    """Arguments of `ops.crop_masks`."""
    shape, count, total = draw(shape), draw(count), draw(st.sampled_from([0, 1, 40, 150]))
    bitmaps = draw(integers(total, ordinary=1, hostile=False)).byte() * draw(st.sampled_from([1, 255]))
    if hostile:
        offsets, bitmap_boxes = draw(integers(*shape, count, ordinary=40)), draw(integers(*shape, count, 4, ordinary=9))
        image_sizes = real_sides(draw(integers(*shape, 2, ordinary=12)))
    else:
        offsets = draw(integers(*shape, count, ordinary=max(0, total - 1), hostile=False))
        bitmap_boxes = draw(boxes(*shape, count, extent=6, hostile=False)).long().clamp(0, 12)
        image_sizes = torch.full((*shape, 2), 12)
    rois = draw(boxes(*shape, count, dtype=draw(coordinate_dtypes), hostile=hostile))
    return (bitmaps, offsets, bitmap_boxes, rois, image_sizes), draw(st.integers(1, 5))


def finite_size(rois: torch.Tensor) -> torch.Tensor:
    """(..., N): RoIs whose numbers mean something."""
    return (rois[..., 2:] - rois[..., :2]).isfinite().all(dim=-1) & rois.isfinite().all(dim=-1)


@given(crops(shape=batches), st.sampled_from(["binary", "soft"]))
def test_crops_equal_the_fallback_and_are_fractions(arguments, convention):
    tensors, size = arguments
    meant = finite_size(tensors[3])
    cropped = ops.crop_masks(*tensors, size=size, convention=convention)
    assert ((cropped >= 0) & (cropped <= 1 + 1e-5)).all()
    soft = torch.ops.maskrcnn.crop_masks(*tensors, size, False)[meant]
    torch.testing.assert_close(soft, fallback_masks.crop_masks(*tensors, size, False)[meant], rtol=1e-4, atol=1e-5)
    if convention == "binary":
        assert ((cropped == 0) | (cropped == 1)).all()
        differ = cropped[meant] != fallback_masks.crop_masks(*tensors, size, True)[meant]
        # They sum in another order, which only an average of just a half shows.
        assert differ.sum() <= differ.numel() / 4


@given(crops(shape=st.just((2,)), count=st.sampled_from([1, 2, 3]), hostile=False), st.sampled_from(["binary", "soft"]))
def test_crops_equal_the_loop_over_whole_masks(arguments, convention):
    (bitmaps, offsets, bitmap_boxes, rois, image_sizes), size = arguments
    rois = rois.double() + 0.01234567 * torch.arange(1, 5)
    # The op takes no more samples than the image has pixels.
    rois = torch.cat((rois[..., :2], torch.minimum(rois[..., 2:], rois[..., :2] + 11.9)), dim=-1)
    cropped = ops.crop_masks(bitmaps, offsets, bitmap_boxes, rois, image_sizes, size=size, convention=convention)
    for image in range(2):
        for index, (x1, y1, x2, y2) in enumerate(bitmap_boxes[image].tolist()):
            mask, start, area = torch.zeros(12, 12), int(offsets[image, index]), (x2 - x1) * (y2 - y1)
            if start + area <= len(bitmaps):  # else it cannot be read
                mask[y1:y2, x1:x2] = (bitmaps[start : start + area] != 0).view(y2 - y1, x2 - x1)
            expected = reference_cropping.mask_target(mask, rois[image, index], size, convention)
            torch.testing.assert_close(cropped[image, index], expected, rtol=0, atol=1e-9)


@given(crops(), st.sampled_from(["binary", "soft"]), st.data())
def test_cropping_does_not_see_memory_layouts(arguments, convention, data):
    tensors, size = arguments
    layouts = [data.draw(laid_out(tensor)) for tensor in tensors]
    plain = [tensor.clone(memory_format=torch.contiguous_format) for tensor in layouts]
    settings = {"size": size, "convention": convention}
    assert_same(ops.crop_masks(*layouts, **settings), ops.crop_masks(*plain, **settings))


@given(crops(shape=st.just((3,))), st.sampled_from(["binary", "soft"]), st.permutations(range(3)), st.data())
def test_cropping_does_not_see_other_images_or_rois(arguments, convention, order, data):
    (bitmaps, *tensors), size = arguments
    settings = {"size": size, "convention": convention}
    cropped = ops.crop_masks(bitmaps, *tensors, **settings)
    moved = ops.crop_masks(bitmaps, *(tensor[list(order)] for tensor in tensors), **settings)
    assert_same(moved, cropped[list(order)])
    (_, offsets, bitmap_boxes, rois, _), _ = data.draw(crops(shape=st.just((3,)), count=st.just(2)))
    added = offsets, bitmap_boxes, rois.to(tensors[2])
    padded = [torch.cat(both, dim=1) for both in zip(tensors[:3], added, strict=True)]
    more = ops.crop_masks(bitmaps, *padded, tensors[3], **settings)
    assert_same(more[:, : cropped.shape[1]], cropped)


# Pasting


@st.composite
def pastes(draw, shape=leading_shapes, count=counts, hostile=True, dtype=dtypes):
    """Arguments of `ops.paste_masks`."""
    shape, count, cells = draw(shape), draw(count), draw(st.sampled_from([1, 2, 3, 7]))
    masks = (draw(values(*shape, count, cells, cells, dtype=torch.float64, hostile=hostile)) / 4).to(draw(dtype))
    rectangles = draw(boxes(*shape, count, dtype=draw(dtype), hostile=hostile))
    settings = {
        "height": draw(st.integers(0, 12)),
        "width": draw(st.sampled_from([0, 1, 5, 12, 33])),
        "convention": draw(st.sampled_from(["pixel_centres", "padded_resize"])),
    }
    return masks, rectangles, settings


@given(pastes(shape=st.sampled_from([(), (2,), (2, 2)])))
def test_pastes_equal_the_fallback(arguments):
    masks, rectangles, settings = arguments
    pictures = ops.paste_masks(masks, rectangles, **settings)
    assert pictures.shape == (*masks.shape[:-2], settings["height"], settings["width"]) and pictures.dtype == torch.bool
    dtype = torch.promote_types(torch.promote_types(masks.dtype, rectangles.dtype), torch.float32)
    flat = masks.to(dtype).reshape(-1, *masks.shape[-2:]), rectangles.to(dtype).reshape(-1, 4)
    padded_resize = settings["convention"] == "padded_resize"
    expected = fallback_pasting.paste_masks(*flat, settings["height"], settings["width"], padded_resize)
    assert_same(pictures, expected.reshape(pictures.shape))
    assert not pictures[~rectangles.isfinite().all(dim=-1)].any()


@given(pastes(shape=st.just(()), count=st.sampled_from([1, 2]), hostile=False, dtype=st.just(torch.float64)))
def test_pastes_equal_the_loop(arguments):
    masks, rectangles, settings = arguments
    rectangles = rectangles + 0.01234567 * torch.arange(1, 5)
    pictures = ops.paste_masks(masks, rectangles, **settings)
    for picture, mask, box in zip(pictures, masks, rectangles, strict=True):
        probabilities = reference_pasting.paste_mask(mask, box, *settings.values())
        clear = (probabilities - 0.5).abs() > 1e-9
        assert_same(picture[clear], probabilities[clear] > 0.5)


@given(pastes(shape=st.just(())))
def test_a_paste_stays_within_half_a_cell_of_its_box_and_a_mask_of_ones_fills_it(arguments):
    masks, rectangles, settings = arguments
    settings["convention"] = "pixel_centres"
    wide = rectangles.double()
    slack = 1e-5 * (1 + wide.abs().amax(dim=-1, keepdim=True))
    moderate = (wide.abs() < 1e6).all(dim=-1)[:, None, None]

    def within(cells: float) -> list[torch.Tensor]:
        """Along y (N, H) and x (N, W), the pixels that lie by so many cells inside of the box."""
        sides = []
        for axis, length in ((1, settings["height"]), (0, settings["width"])):
            centres, low, high = torch.arange(length) + 0.5, wide[:, axis, None], wide[:, axis + 2, None]
            margin = cells * (high - low) / masks.shape[-1] + slack * (1 if cells >= 0 else -1)
            sides.append((centres > low + margin) & (centres < high - margin))
        return sides

    (rows, columns), (deep_rows, deep_columns), (near_rows, near_columns) = within(0), within(0.5), within(-0.5)
    # At a corner it fades along both sides, so there the object is rounded off.
    inside = (deep_rows[:, :, None] & columns[:, None]) | (rows[:, :, None] & deep_columns[:, None])
    assert ops.paste_masks(torch.ones_like(masks), rectangles, **settings)[inside & moderate].all()
    far = ~(near_rows[:, :, None] & near_columns[:, None])
    assert not ops.paste_masks(masks, rectangles, **settings)[far & moderate].any()


@given(pastes(), st.data())
def test_pasting_does_not_see_memory_layouts(arguments, data):
    masks, rectangles, settings = arguments
    layouts = data.draw(laid_out(masks)), data.draw(laid_out(rectangles))
    plain = [tensor.clone(memory_format=torch.contiguous_format) for tensor in layouts]
    assert_same(ops.paste_masks(*layouts, **settings), ops.paste_masks(*plain, **settings))


@given(pastes(shape=st.just(())), st.randoms(use_true_random=False))
def test_pasting_does_not_see_other_masks(arguments, random):
    masks, rectangles, settings = arguments
    pictures = ops.paste_masks(masks, rectangles, **settings)
    order = random.sample(range(len(masks)), len(masks))
    assert_same(ops.paste_masks(masks[order], rectangles[order], **settings), pictures[order])
