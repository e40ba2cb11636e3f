"""From samples to a batch: by hand, and against independent implementations."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import shapely
import torch
from small_samples import IMAGE, PLAIN, a_sample, rectangle

from maskrcnn.config import ImageConfig
from maskrcnn.data.collate import (
    ObjectsLeftOut,
    collate,
    inference_batch,
    network_size,
    normalise,
    to_network_size,
)
from maskrcnn.structures import Sample

# Pictures, by hand


def test_normalising_by_hand():
    pixels = np.array([[[0, 255, 51]]], dtype=np.uint8)
    expected = [(0 - 0.485) / 0.229, (1 - 0.456) / 0.224, (0.2 - 0.406) / 0.225]
    found = normalise(pixels, IMAGE)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [[expected]], rtol=1e-6)


@pytest.mark.parametrize(
    ("height", "width", "short", "long", "rounding", "expected"),
    [
        (480, 640, 800, 1333, "floor", (800, 1066)),  # spec 2.7, torchvision
        (480, 640, 800, 1333, "nearest", (800, 1067)),  # spec 2.7, MMDetection
        (720, 1280, 1920, 1920, "nearest", (1080, 1920)),  # ICDAR2015: the long side decides, and enlarges
        (1000, 4000, 800, 1333, "nearest", (333, 1333)),
        (6000, 8000, 800, 1333, "floor", (800, 1066)),
        (1, 1, 800, 1333, "nearest", (800, 800)),
        (1, 6000, 800, 1333, "floor", (1, 1333)),  # 0.22 pixels high, but a picture has at least one row
    ],
)
def test_network_sizes(height, width, short, long, rounding, expected):
    image = ImageConfig(short_side=short, long_side=long, rounding=rounding)
    assert network_size(height, width, image) == expected


@pytest.mark.parametrize(
    ("height", "width", "largest", "expected"),
    [(100, 200, 2.0, (200, 400)), (100, 200, 0.0, (800, 1600)), (720, 1280, 2.0, (900, 1600)), (3, 5, 1.5, (5, 8))],
)
def test_small_pictures_are_enlarged_by_no_more_than_the_largest_factor(height, width, largest, expected):
    image = ImageConfig(short_side=1600, long_side=1600, largest_enlargement=largest)
    assert network_size(height, width, image) == expected


def scaled_row(row: list[int], width: int, interpolation: str) -> list[float]:
    """A picture one pixel high is scaled to a width; its red channel comes back."""
    pixels = np.repeat(np.array(row, np.uint8)[None, :, None], 3, axis=2)
    sample = Sample("row", pixels, (), np.zeros(0, np.int64), np.zeros(0, bool))
    image = replace(PLAIN, short_side=1000, long_side=width, interpolation=interpolation)
    return to_network_size(sample, image)[0][0, :, 0].tolist()


def test_float_interpolation_keeps_fractions():
    # Twice as wide: pixel centres fall a quarter of a pixel beside the old ones; the border repeats.
    expected = [10, 10 * 0.75 + 21 * 0.25, 10 * 0.25 + 21 * 0.75, 21]
    assert scaled_row([10, 21], 4, "float") == pytest.approx(expected, abs=1e-4)


def test_bytes_interpolation_rounds_them():
    assert scaled_row([10, 21], 4, "bytes") == pytest.approx([10, 13, 18, 21], abs=1e-4)
    assert scaled_row([10, 12], 4, "bytes") == pytest.approx([10, 11, 12, 12], abs=1e-4)  # a half goes up


def test_antialias_sees_every_pixel_and_plain_interpolation_does_not():
    stripes = [0, 0, 0, 240] * 8
    assert set(scaled_row(stripes, 8, "float")) == {0.0}  # each fourth pixel is missed altogether
    assert 55 <= np.mean(scaled_row(stripes, 8, "antialias")) <= 65


def test_interpolation_against_a_loop():
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    sample = Sample("random", pixels, (), np.zeros(0, np.int64), np.zeros(0, bool))
    found, _ = to_network_size(sample, replace(IMAGE, short_side=13, long_side=100, interpolation="float"))
    assert found.shape == (13, 18, 3)
    expected = np.zeros((13, 18, 3))
    values = (pixels / 255 - np.array(IMAGE.mean)) / np.array(IMAGE.deviation)
    for row in range(13):
        for column in range(18):
            y, x = max((row + 0.5) * 5 / 13 - 0.5, 0), max((column + 0.5) * 7 / 18 - 0.5, 0)
            top, left = int(y), int(x)
            bottom, right = min(top + 1, 4), min(left + 1, 6)
            upper = values[top, left] * (1 - (x - left)) + values[top, right] * (x - left)
            lower = values[bottom, left] * (1 - (x - left)) + values[bottom, right] * (x - left)
            expected[row, column] = upper * (1 - (y - top)) + lower * (y - top)
    np.testing.assert_allclose(found, expected, atol=1e-5)


# Batches, by hand


def test_a_batch_by_hand():
    first = a_sample(20, 40, rectangle(2, 3, 10, 8), rectangle(30.5, 10.25, 50, 30), name="a", value=255)
    second = a_sample(33, 10, name="b", value=51)
    batch = collate([first, second], IMAGE, ignored="ignore")
    assert batch.names == ("a", "b")
    assert batch.images.shape == (2, 3, 64, 64) and batch.images.dtype == torch.float32
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert batch.image_sizes.tolist() == batch.original_sizes.tolist() == [[20, 40], [33, 10]]
    white = torch.tensor([(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225])
    torch.testing.assert_close(batch.images[0, :, :20, :40], white[:, None, None].expand(3, 20, 40))
    assert batch.images[0, :, 20:].abs().sum() == batch.images[0, :, :, 40:].abs().sum() == 0
    assert batch.images[1, :, :33, :10].count_nonzero() == 3 * 33 * 10 == batch.images[1].count_nonzero()

    targets = batch.targets
    # The second object is cut off at the picture's border; its bitmap covers the whole pixels it touches.
    assert targets.boxes.tolist() == [[[2, 3, 10, 8], [30.5, 10.25, 40, 20]], [[0] * 4, [0] * 4]]
    assert targets.labels.tolist() == [[1, 2], [0, 0]]
    assert targets.valid.tolist() == [[True, True], [False, False]]
    assert not targets.ignore.any()
    assert targets.bitmap_boxes.tolist() == [[[2, 3, 10, 8], [30, 10, 40, 20]], [[0] * 4, [0] * 4]]
    assert targets.bitmap_offsets.tolist() == [[0, 40], [0, 0]]
    assert targets.bitmaps.shape == (40 + 100,) and targets.bitmaps.dtype == torch.uint8
    masks = targets.full_masks(64, 64)
    assert masks[0, 0, 3:8, 2:10].all() and masks[0, 0].sum() == 40
    # The centre of pixel 30 is 30.5, on the left outline, and inside; that of pixel 10 is 10.5.
    assert masks[0, 1, 10:20, 30:40].all() and masks[0, 1].sum() == 100
    assert not masks[1].any()


def test_dtypes_of_targets():
    targets = collate([a_sample(8, 8, rectangle(1, 1, 5, 5))], IMAGE, ignored="ignore").targets
    assert targets.boxes.dtype == torch.float32
    assert targets.labels.dtype == targets.bitmap_boxes.dtype == targets.bitmap_offsets.dtype == torch.int64
    assert targets.valid.dtype == targets.ignore.dtype == torch.bool


@pytest.mark.parametrize(("divisor", "expected"), [(32, (64, 64)), (1, (33, 50)), (64, (64, 64))])
def test_padding(divisor, expected):
    batch = collate([a_sample(33, 50)], replace(IMAGE, size_divisor=divisor), ignored="ignore")
    assert batch.images.shape[-2:] == expected


@pytest.mark.parametrize(
    ("ignored", "valid", "ignore"),
    [
        ("ignore", [True, False, True], [False, True, False]),
        ("paint", [True, False, True], [False, True, False]),
        ("background", [True, True], [False, False]),
    ],
)
def test_dont_care_regions(ignored, valid, ignore):
    polygons = [rectangle(5 * i, 5, 5 * i + 4, 9) for i in range(3)]
    targets = collate([a_sample(20, 20, *polygons, ignore=[1])], IMAGE, ignored=ignored).targets
    assert targets.valid.tolist() == [valid] and targets.ignore.tolist() == [ignore]
    assert targets.labels.tolist() == [[1, 2, 3] if len(valid) == 3 else [1, 3]]
    assert targets.bitmap_offsets.tolist() == [[0, 16, 32][: len(valid)]]


def test_slots_are_a_minimum_and_nothing_is_dropped():
    polygons = [rectangle(i, i, i + 3, i + 3) for i in range(5)]
    samples = [a_sample(20, 20, *polygons), a_sample(20, 20)]
    for slots, expected in ((None, 5), (8, 8), (2, 5)):
        targets = collate(samples, IMAGE, ignored="ignore", slots=slots).targets
        assert targets.valid.shape == (2, expected) and targets.valid.sum() == 5


def test_objects_without_area_in_the_picture_are_left_out_and_counted():
    sample = a_sample(
        20, 20, rectangle(25, 2, 30, 8), rectangle(2, 2, 8, 8), rectangle(20, 2, 30, 8), rectangle(3, 5, 9, 5)
    )
    with pytest.warns(ObjectsLeftOut, match=r"^img_1.jpg: 3 of 4 objects show no area inside the picture"):
        targets = collate([sample], IMAGE, ignored="ignore").targets
    assert targets.labels.tolist() == [[2]] and targets.boxes.tolist() == [[[2, 2, 8, 8]]]


# Random cases


def test_bitmaps_against_pixel_centres():
    random = np.random.default_rng(3)
    for _ in range(20):
        angles = np.sort(random.uniform(0, 2 * np.pi, 7))
        polygon = random.uniform(-5, 45, 2) + np.stack([np.cos(angles), np.sin(angles)], 1) * random.uniform(3, 20)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ObjectsLeftOut)
            targets = collate([a_sample(40, 40, polygon)], IMAGE, ignored="ignore").targets
        y, x = np.mgrid[:64, :64] + 0.5
        inside = shapely.contains_xy(shapely.Polygon(polygon), x, y) & (x < 40) & (y < 40)
        np.testing.assert_array_equal(targets.full_masks(64, 64)[0, 0].numpy(), inside)


def test_an_image_is_the_same_alone_and_in_a_batch():
    random = np.random.default_rng(4)
    samples = []
    for number, (height, width, count) in enumerate([(30, 50, 3), (60, 20, 0), (45, 45, 6)]):
        corners = random.uniform(0, 15, (count, 2))
        polygons = [rectangle(x, y, x + 5, y + 3) for x, y in corners]
        sample = a_sample(height, width, *polygons, name=str(number))
        samples.append(replace(sample, image=random.integers(0, 256, (height, width, 3), dtype=np.uint8)))
    together = collate(samples, IMAGE, ignored="ignore")
    for index, sample in enumerate(samples):
        alone = collate([sample], IMAGE, ignored="ignore")
        height, width = alone.images.shape[-2:]
        slots = alone.targets.labels.shape[1]
        assert torch.equal(together.images[index, :, :height, :width], alone.images[0])
        assert torch.equal(together.targets.boxes[index, :slots], alone.targets.boxes[0])
        assert torch.equal(together.targets.valid[index, :slots], alone.targets.valid[0])
        masks = together.targets.full_masks(64, 64)[index]
        assert torch.equal(masks[:slots], alone.targets.full_masks(64, 64)[0])
        assert not masks[slots:].any()


# One picture to look at


def test_a_test_batch_scales_picture_and_targets_and_remembers_the_original():
    sample = a_sample(10, 20, rectangle(5, 2, 10, 6), rectangle(1, 1, 3, 3), ignore=[1])
    batch = inference_batch(sample, ImageConfig(short_side=40, long_side=100))
    assert batch.images.shape == (1, 3, 64, 96)
    assert batch.image_sizes.tolist() == [[40, 80]] and batch.original_sizes.tolist() == [[10, 20]]
    assert batch.targets.boxes.tolist() == [[[20, 8, 40, 24], [4, 4, 12, 12]]]
    assert batch.targets.valid.tolist() == [[True, False]] and batch.targets.ignore.tolist() == [[False, True]]
    assert batch.targets.full_masks(64, 96)[0, 0].sum() == 20 * 16
    assert inference_batch(sample, IMAGE, targets=False).targets is None


def test_axes_scale_separately_when_rounding_differs():
    # 3 x 7 to a short side of 10: the width is 23, not 23.333.
    image = ImageConfig(short_side=10, long_side=100, rounding="floor")
    pixels, scale = to_network_size(a_sample(3, 7), image)
    assert pixels.shape == (10, 23, 3)
    np.testing.assert_allclose(scale, [23 / 7, 10 / 3])


@pytest.mark.parametrize("interpolation", ["antialias", "float", "bytes"])
def test_a_picture_of_the_right_size_is_only_normalised(interpolation):
    random = np.random.default_rng(0)
    sample = replace(a_sample(24, 24), image=random.integers(0, 256, (24, 24, 3), dtype=np.uint8))
    image = ImageConfig(short_side=24, long_side=24, interpolation=interpolation)
    np.testing.assert_array_equal(to_network_size(sample, image)[0], normalise(sample.image, image))


@pytest.mark.parametrize("interpolation", ["antialias", "float", "bytes"])
def test_one_pixel(interpolation):
    image = ImageConfig(short_side=50, long_side=50, interpolation=interpolation)
    batch = inference_batch(a_sample(1, 1, value=255), image)
    assert batch.image_sizes.tolist() == [[50, 50]]
    torch.testing.assert_close(batch.images[0, 0, :50, :50], torch.full((50, 50), (1 - 0.485) / 0.229))


# Empty and wrong


def test_images_without_objects_keep_one_empty_slot():
    targets = collate([a_sample(8, 8), a_sample(8, 8)], IMAGE, ignored="ignore").targets
    assert targets.boxes.shape == (2, 1, 4) and targets.bitmaps.shape == (0,) and not targets.valid.any()


def test_only_dont_care_regions():
    targets = collate([a_sample(8, 8, rectangle(1, 1, 4, 4), ignore=[0])], IMAGE, ignored="ignore").targets
    assert not targets.valid.any() and targets.ignore.tolist() == [[True]]
    left_out = collate([a_sample(8, 8, rectangle(1, 1, 4, 4), ignore=[0])], IMAGE, ignored="background").targets
    assert not left_out.valid.any() and not left_out.ignore.any() and left_out.labels.tolist() == [[0]]


def test_wrong_samples_are_named():
    broken = rectangle(1, 1, 4, 4)
    broken[2, 0] = np.nan
    with pytest.raises(ValueError, match=r"^img_1.jpg: found a corner that is not finite"):
        collate([a_sample(8, 8, broken)], IMAGE, ignored="ignore")
    sample = replace(a_sample(8, 8, rectangle(1, 1, 4, 4)), labels=np.array([0]))
    with pytest.raises(ValueError, match=r"^img_1.jpg: found label 0, expected 1 or more"):
        collate([sample], IMAGE, ignored="ignore")
    with pytest.raises(ValueError, match="at least one sample"):
        collate([], IMAGE, ignored="ignore")


SIZES = [(32, 64), (64, 32), (64, 64)]


@pytest.mark.parametrize(
    ("pictures", "expected"),
    [
        ([(20, 50)], (32, 64)),
        ([(32, 64), (1, 1)], (32, 64)),
        ([(50, 20), (64, 32)], (64, 32)),
        ([(20, 20)], (32, 64)),
        ([(20, 50), (50, 20)], (64, 64)),
        ([(65, 20)], (96, 32)),
    ],
)
def test_batches_are_padded_to_the_first_size_that_holds_them_or_else_to_the_divisor(pictures, expected):
    samples = [a_sample(height, width, rectangle(0, 0, 1, 1)) for height, width in pictures]
    batch = collate(samples, PLAIN, ignored="ignore", padded_sizes=SIZES)
    assert tuple(batch.images.shape[2:]) == expected and batch.image_sizes.tolist() == [list(size) for size in pictures]
    for image, (height, width) in zip(batch.images, pictures, strict=True):
        assert not image[:, height:].any() and not image[:, :, width:].any()


# Parts and keypoints


PERSON = Sample(
    name="person.jpg",
    image=np.zeros((10, 20, 3), np.uint8),
    # An L of two overlapping rectangles, and a square.
    polygons=(rectangle(2, 1, 5, 9), rectangle(3, 6, 9, 9), rectangle(12, 2, 16, 6)),
    labels=np.array([1, 1]),
    ignore=np.array([False, False]),
    part_of=np.array([0, 0, 1]),
    keypoints=np.array([[[4.0, 2, 2], [0, 0, 0]], [[13, 3, 1], [15, 5, 2]]]),
    keypoint_names=("left_hand", "right_hand"),
)


def test_the_parts_of_an_object_become_one_bitmap():
    targets = collate([PERSON], IMAGE, ignored="ignore").targets
    assert targets.boxes[0].tolist() == [[2, 1, 9, 9], [12, 2, 16, 6]]
    masks = targets.full_masks(10, 20)[0]
    expected = torch.zeros(10, 20, dtype=torch.bool)
    expected[1:9, 2:5] = expected[6:9, 3:9] = True  # or-ed: the pixels that both cover stay
    assert torch.equal(masks[0], expected) and masks[1].sum() == 16


def test_keypoints_fill_the_slots_of_their_objects():
    empty = PERSON.only([])
    targets = collate([empty, PERSON.only([1])], IMAGE, ignored="ignore", slots=2).targets
    assert targets.keypoints.shape == (2, 2, 2, 3) and targets.keypoints.dtype == torch.float32
    assert targets.keypoints[1, 0].tolist() == [[13, 3, 1], [15, 5, 2]]
    assert targets.keypoints[0].count_nonzero() == targets.keypoints[1, 1].count_nonzero() == 0
    assert collate([a_sample(3, 7)], IMAGE, ignored="ignore").targets.keypoints is None


def test_quadrilaterals_are_the_corners_of_words():
    """Of a word that is no quadrilateral, here with five corners, those of the least rectangle around it."""
    slanted = np.array([[2.0, 3], [9, 1], [10, 4], [3, 6]])
    cut = np.array([[12.0, 2], [18, 2], [18, 5], [17, 6], [12, 6]])
    batch = collate([a_sample(8, 20), a_sample(8, 20, cut, slanted)], IMAGE, ignored="ignore", slots=3)
    found = batch.targets.quadrilaterals
    assert found.shape == (2, 3, 4, 2) and found.dtype == torch.float32
    assert found[1, 0].tolist() == [[12, 2], [18, 2], [18, 6], [12, 6]]
    assert found[1, 1].tolist() == slanted.tolist()
    assert not found[0].any() and not found[1, 2].any()
    scaled = inference_batch(a_sample(10, 20, slanted), ImageConfig(short_side=20, long_side=60)).targets
    assert scaled.quadrilaterals[0, 0].tolist() == (2 * slanted).tolist()


def test_objects_of_several_parts_have_no_quadrilaterals():
    assert collate([PERSON], IMAGE, ignored="ignore").targets.quadrilaterals is None
    mixed = [replace(a_sample(8, 20, rectangle(1, 1, 5, 5)), keypoints=None), replace(PERSON, keypoints=None)]
    mixed[1] = replace(mixed[1], keypoint_names=())
    assert collate(mixed, IMAGE, ignored="ignore").targets.quadrilaterals is None


def test_keypoints_are_scaled_with_the_picture():
    targets = inference_batch(PERSON, replace(IMAGE, short_side=30, long_side=60)).targets
    assert targets.keypoints[0].tolist() == [[[12, 6, 2], [0, 0, 0]], [[39, 9, 1], [45, 15, 2]]]
    assert targets.boxes[0, 0].tolist() == [6, 3, 27, 27]


def test_keypoints_of_two_kinds_do_not_go_into_one_batch():
    with pytest.raises(ValueError, match=r"^person.jpg and .*: found different keypoints, expected those of one data"):
        collate([PERSON, replace(a_sample(3, 7), keypoints=None)], IMAGE, ignored="ignore")
