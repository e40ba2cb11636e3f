"""Transforms: corners by hand; painted polygons that must stay on their pixels; colours, don't-care, errors."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter
from random_crops import random_crop
from random_inputs import random_quadrilateral

from maskrcnn.data import transforms
from maskrcnn.data.polygons import area, pixel_box, rasterize
from maskrcnn.structures import Sample

BACKGROUND, FOREGROUND = 40, 220


def make_sample(image: np.ndarray, *polygons, ignore=None, words: bool = False) -> Sample:
    polygons = tuple(np.array(polygon, dtype=np.float64).reshape(-1, 2) for polygon in polygons)
    flags = np.zeros(len(polygons), dtype=bool) if ignore is None else np.array(ignore, dtype=bool)
    texts = tuple(f"word {index}" for index in range(len(polygons))) if words else ()
    return Sample("img_1.jpg", image, polygons, np.arange(1, len(polygons) + 1), flags, texts)


def blank(height: int, width: int, value: int = BACKGROUND) -> np.ndarray:
    return np.full((height, width, 3), value, dtype=np.uint8)


def painted(polygon: np.ndarray, height: int, width: int) -> Sample:
    """A picture in which exactly the pixels of one polygon are bright, drawn smoothly at 8 x the size."""
    canvas = Image.new("L", (width * 8, height * 8), BACKGROUND)
    ImageDraw.Draw(canvas).polygon([tuple(corner * 8 - 0.5) for corner in polygon], fill=FOREGROUND)
    image = np.array(canvas.reduce(8))
    return make_sample(np.repeat(image[:, :, None], 3, axis=2), polygon)


def register(sample: Sample) -> float:
    """IoU of the bright pixels of a painted picture with the bitmap of its only polygon."""
    height, width = sample.image.shape[:2]
    # Outside the picture is the padding colour, darker than half-way.
    bright = sample.image[:, :, 0] > (BACKGROUND + FOREGROUND) / 2
    bitmap = np.zeros((height, width), dtype=bool)
    for polygon in sample.polygons:
        x1, y1, x2, y2 = box = pixel_box(polygon, height, width)
        bitmap[y1:y2, x1:x2] |= rasterize(polygon, box).astype(bool)
    union = (bright | bitmap).sum()
    return (bright & bitmap).sum() / union if union else 1.0


def textured(height: int, width: int, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return np.array(Image.fromarray(noise).filter(ImageFilter.GaussianBlur(2)))


# by hand


def test_resize_by_hand():
    sample = make_sample(blank(10, 20), [2, 3, 12, 3, 12, 8, 2, 8], words=True)
    resized = transforms.resize(sample, 5, 60)
    assert resized.image.shape == (5, 60, 3)
    np.testing.assert_array_equal(resized.polygons[0], [[6, 1.5], [36, 1.5], [36, 4], [6, 4]])
    assert resized.transcriptions == sample.transcriptions and resized.name == sample.name


def test_resize_averages_what_it_covers():
    image = np.zeros((1, 4, 3), np.uint8)
    image[0, ::2] = 200  # a pattern that picking single pixels would lose
    shrunk = transforms.resize(make_sample(image), 1, 1)
    np.testing.assert_allclose(shrunk.image, 100, atol=1)


def test_resize_does_not_touch_its_input():
    sample = make_sample(textured(20, 30), [2, 3, 12, 3, 12, 8, 2, 8])
    before = sample.image.copy(), sample.polygons[0].copy()
    for change in (
        lambda: transforms.resize(sample, 10, 10),
        lambda: transforms.flip_horizontal(sample),
        lambda: transforms.crop(sample, -3, 4, 12, 12),
        lambda: transforms.rotate(sample, 30),
        lambda: transforms.paint_out_ignored(replace(sample, ignore=np.array([True]))),
        lambda: transforms.jitter_colour(sample, np.random.default_rng(0), noise_probability=1, blur_probability=1),
        lambda: random_crop(sample, np.random.default_rng(0), size=16),
    ):
        changed = change()
        changed.image[:] = 0
        np.testing.assert_array_equal(sample.image, before[0])
        np.testing.assert_array_equal(sample.polygons[0], before[1])


@pytest.mark.parametrize(
    ("size", "limits", "rounding", "expected"),
    [
        ((480, 640), (800, 1333), "nearest", (800, 1067)),
        ((480, 640), (800, 1333), "floor", (800, 1066)),
        ((720, 1280), (1920, 1920), "nearest", (1080, 1920)),  # enlarged: the long side decides
        ((720, 1280), (360, 1333), "nearest", (360, 640)),
        ((300, 1000), (800, 1333), "nearest", (400, 1333)),
        ((1, 4000), (100, 100), "nearest", (1, 100)),  # no side vanishes
        ((700, 700), (490, 490), "floor", (490, 490)),  # 700 * 0.7 is 489.99999999999994
    ],
)
def test_fitted_size_by_hand(size, limits, rounding, expected):
    assert transforms.fitted_size(*size, *limits, rounding) == expected


def test_resize_to_fit_by_hand():
    sample = make_sample(blank(10, 20), [2, 3, 12, 3, 12, 8, 2, 8])
    fitted = transforms.resize_to_fit(sample, 40, 50)
    assert fitted.image.shape == (25, 50, 3)
    np.testing.assert_array_equal(fitted.polygons[0], [[5, 7.5], [30, 7.5], [30, 20], [5, 20]])


def test_flip_by_hand():
    image = textured(10, 20)
    sample = make_sample(image, [2, 3, 12, 3, 14, 8, 2, 8], np.arange(28), words=True)
    flipped = transforms.flip_horizontal(sample)
    np.testing.assert_array_equal(flipped.image, image[:, ::-1])
    # Top left, top right, bottom right, bottom left, as before.
    np.testing.assert_array_equal(flipped.polygons[0], [[8, 3], [18, 3], [18, 8], [6, 8]])
    assert area(flipped.polygons[0]) == area(sample.polygons[0]) > 0
    assert flipped.transcriptions == sample.transcriptions


def test_flip_keeps_the_upper_edge_of_fourteen_points_first():
    x = np.linspace(0, 60, 7)
    upper, lower = np.stack([x, np.sin(x) + 5], axis=1), np.stack([x, np.sin(x) + 15], axis=1)
    sample = make_sample(blank(20, 100), np.concatenate([upper, lower[::-1]]))
    flipped = transforms.flip_horizontal(sample).polygons[0]
    np.testing.assert_allclose(flipped[:7], (upper * (-1, 1) + (100, 0))[::-1])
    np.testing.assert_allclose(flipped[7:], lower * (-1, 1) + (100, 0))


def test_flip_twice_is_nothing():
    sample = make_sample(textured(11, 17), [2, 3, 12, 3, 14, 8, 2, 8])
    twice = transforms.flip_horizontal(transforms.flip_horizontal(sample))
    np.testing.assert_array_equal(twice.image, sample.image)
    np.testing.assert_array_equal(twice.polygons[0], sample.polygons[0])


def test_quarter_turns_by_hand():
    image = textured(4, 6)
    sample = make_sample(image, [1, 0, 5, 0, 5, 2, 1, 2])
    for quarters in (1, 2, 3, -1):
        turned = transforms.rotate(sample, 90 * quarters)
        np.testing.assert_array_equal(turned.image, np.rot90(image, quarters))  # counter-clockwise, as here
    turned = transforms.rotate(sample, 90)
    np.testing.assert_allclose(turned.polygons[0], [[0, 5], [0, 1], [2, 1], [2, 5]], atol=1e-12)


def test_rotation_by_45_degrees_by_hand():
    turned = transforms.rotate(make_sample(blank(10, 10), [0, 0, 10, 0, 10, 10, 0, 10]), 45, colour=(1, 2, 3))
    assert turned.image.shape == (15, 15, 3)  # the diagonal, 14.14
    half = np.sqrt(50)
    np.testing.assert_allclose(
        turned.polygons[0] - 7.5, [[-half, 0], [0, -half], [half, 0], [0, half]], atol=1e-9
    )  # the top left corner goes to the left
    np.testing.assert_array_equal(turned.image[0, 0], [1, 2, 3])
    np.testing.assert_array_equal(turned.image[7, 7], [BACKGROUND] * 3)


def test_crop_by_hand():
    image = textured(20, 30)
    sample = make_sample(
        image,
        [12, 6, 18, 6, 18, 10, 12, 10],  # inside
        [6, 6, 16, 6, 16, 10, 6, 10],  # 60 % inside
        [2, 6, 14, 6, 14, 10, 2, 10],  # a third inside
        [0, 0, 5, 0, 5, 5, 0, 5],  # outside
        [6, 6, 10, 6, 10, 10, 6, 10],  # touches
        [8, 12, 18, 12, 18, 14, 8, 14],  # already don't-care
        ignore=[False, False, False, False, False, True],
        words=True,
    )
    cropped = transforms.crop(sample, 10, 5, 12, 11, minimum_visible=0.5)
    np.testing.assert_array_equal(cropped.image, image[5:16, 10:22])
    np.testing.assert_array_equal(cropped.boxes, [[2, 1, 8, 5], [0, 1, 6, 5], [0, 1, 4, 5], [0, 7, 8, 9]])
    np.testing.assert_array_equal(cropped.labels, [1, 2, 3, 6])
    np.testing.assert_array_equal(cropped.ignore, [False, False, True, True])
    assert cropped.transcriptions == ("word 0", "word 1", "word 2", "word 5")
    assert not transforms.crop(sample, 10, 5, 12, 11, minimum_visible=0.3).ignore[2]
    assert transforms.crop(sample, 10, 5, 12, 11, minimum_visible=0.61).ignore[1]


def test_crop_pads_outside_and_cuts_polygons_at_the_picture():
    image = textured(6, 8)
    sample = make_sample(image, [-4, 1, 4, 1, 4, 3, -4, 3])
    cropped = transforms.crop(sample, -2, -3, 12, 11, colour=(9, 8, 7))
    assert cropped.image.shape == (11, 12, 3)
    np.testing.assert_array_equal(cropped.image[3:9, 2:10], image)
    mask = np.ones((11, 12), dtype=bool)
    mask[3:9, 2:10] = False
    assert (cropped.image[mask] == (9, 8, 7)).all()
    np.testing.assert_array_equal(cropped.boxes, [[2, 4, 6, 6]])
    np.testing.assert_array_equal(cropped.ignore, [False])  # exactly half


def test_a_window_wholly_outside_is_empty():
    sample = make_sample(textured(6, 8), [1, 1, 4, 1, 4, 3, 1, 3], words=True)
    for x, y in ((100, 0), (-50, 0), (0, 100), (0, -50)):
        cropped = transforms.crop(sample, x, y, 5, 4, colour=(9, 8, 7))
        assert (cropped.image == (9, 8, 7)).all() and cropped.image.shape == (4, 5, 3)
        assert cropped.polygons == () and cropped.transcriptions == () and cropped.ignore.dtype == bool


# in register with the pixels


@pytest.mark.parametrize(
    "transform",
    [
        lambda sample, rng: transforms.resize(sample, int(rng.integers(80, 500)), int(rng.integers(120, 700))),
        lambda sample, rng: transforms.resize_to_fit(sample, int(rng.integers(100, 500)), 700),
        lambda sample, rng: transforms.crop(sample, *rng.integers(-60, 100, 2), *rng.integers(120, 300, 2)),
        lambda sample, rng: transforms.flip_horizontal(sample),
        lambda sample, rng: transforms.rotate(sample, rng.uniform(-180, 180)),
        lambda sample, rng: random_crop(sample, rng, size=256, scale_range=(0.5, 3.0)),
        lambda sample, rng: random_crop(sample, rng, size=97, around_object_probability=0.0),
        lambda sample, rng: random_crop(sample, rng, size=150, independent_sides=(150, 600)),
        lambda sample, rng: random_crop(sample, rng, size=200, degrees=rng.uniform(-180, 180)),
        lambda sample, rng: transforms.jitter_colour(sample, rng, brightness=0.1, contrast=0.1, blur_radius=0.5),
    ],
    ids=["resize", "fit", "crop", "flip", "rotate", "random crop", "small crop", "sides", "turned crop", "colour"],
)
def test_a_painted_polygon_stays_on_its_pixels(transform):
    rng = np.random.default_rng(0)
    compared = 0
    for _ in range(25):
        sample = painted(random_quadrilateral(rng, 180, 240), 180, 240)
        assert register(sample) > 0.97
        changed = transform(sample, rng)
        if sum(abs(area(polygon)) for polygon in changed.polygons) < 300:
            continue  # a sliver: one row of pixels decides
        assert register(changed) > 0.95
        assert all(area(polygon) > 0 for polygon in changed.polygons)  # clockwise as before
        compared += 1
    assert compared >= 8


def blob(x: float, y: float, height: int, width: int) -> np.ndarray:
    """A smooth bright spot at continuous coordinates x, y."""
    columns, rows = np.arange(width) + 0.5 - x, np.arange(height) + 0.5 - y
    spot = 250 * np.exp(-(rows[:, None] ** 2 + columns[None, :] ** 2) / (2 * 8.0**2))
    return np.repeat(np.rint(spot)[:, :, None], 3, axis=2).astype(np.uint8)


def centre_of(image: np.ndarray) -> np.ndarray:
    """Where the bright spot of an image is."""
    # Without its faint rim, in which the rounding to whole levels shows.
    weights = np.maximum(image[:, :, 0].astype(np.float64) - 20, 0)
    rows, columns = np.mgrid[: weights.shape[0], : weights.shape[1]] + 0.5
    return np.array([(weights * columns).sum(), (weights * rows).sum()]) / weights.sum()


@pytest.mark.parametrize(
    "transform",
    [
        lambda sample, rng: transforms.rotate(sample, rng.uniform(-180, 180), colour=(0, 0, 0)),
        lambda sample, rng: transforms.resize(sample, int(rng.integers(100, 500)), int(rng.integers(100, 500))),
        lambda sample, rng: transforms.flip_horizontal(sample),
        lambda sample, rng: random_crop(
            sample, rng, size=300, scale_range=(0.7, 1.6), around_object_probability=1.0, colour=(0, 0, 0)
        ),
    ],
    ids=["rotate", "resize", "flip", "random crop"],
)
def test_polygons_are_exact_to_a_hundredth_of_a_pixel(transform):
    rng = np.random.default_rng(1)
    for _ in range(10):
        image = blob(*rng.uniform(70, 130, 2), 200, 210)
        # Around where the spot is after rounding to whole levels, not where it was meant to be.
        sample = make_sample(image, np.array([[-60, -60], [60, -60], [60, 60], [-60, 60]]) + centre_of(image))
        changed = transform(sample, rng)
        assert len(changed.polygons[0]) == 4 and not changed.ignore[0]
        np.testing.assert_allclose(centre_of(changed.image), changed.polygons[0].mean(axis=0), atol=0.01)


# colour


def test_change_colour_by_hand():
    image = np.array([[[100, 50, 200], [0, 0, 0]], [[60, 60, 60], [120, 130, 140]]], np.uint8)
    sample = make_sample(image)
    np.testing.assert_array_equal(transforms.change_colour(sample).image, image)
    np.testing.assert_allclose(
        transforms.change_colour(sample, brightness=0.5).image, np.rint(image * 0.5 + 1e-9), atol=1
    )
    grey = transforms.change_colour(sample, saturation=0.0).image
    expected = image @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(grey, np.repeat(expected[:, :, None], 3, axis=2), atol=1)
    mean = expected.mean()
    contrast = transforms.change_colour(sample, contrast=0.5).image
    np.testing.assert_allclose(contrast, mean + 0.5 * (image - mean), atol=1)
    both = transforms.change_colour(sample, contrast=0.5, brightness=0.6).image
    np.testing.assert_allclose(both, 0.6 * (mean + 0.5 * (image - mean)), atol=1)


def test_hue_turns_colours_around_the_greys():
    red = make_sample(np.array([[[150, 90, 90], [77, 77, 77]]], np.uint8))
    for hue, strongest in ((0.0, 0), (1 / 3, 1), (2 / 3, 2)):
        image = transforms.change_colour(red, hue=hue).image
        assert image[0, 0].argmax() == strongest
        np.testing.assert_allclose(image[0, 0] @ [0.299, 0.587, 0.114], 107.94, atol=1.5)  # as bright as before
        np.testing.assert_allclose(image[0, 1], 77, atol=1)
    np.testing.assert_allclose(transforms.change_colour(red, hue=1.0).image, red.image, atol=1)


def test_colours_stop_at_black_and_white():
    sample = make_sample(np.array([[[250, 5, 128]]], np.uint8))
    image = transforms.change_colour(sample, brightness=1.5, contrast=3.0).image
    assert image[0, 0, 0] == 255 and image[0, 0, 1] == 0


def test_jitter_changes_colours_and_nothing_else():
    sample = make_sample(textured(40, 60), [2, 3, 12, 3, 12, 8, 2, 8], words=True)
    rng = np.random.default_rng(9)
    changed = [transforms.jitter_colour(sample, rng) for _ in range(20)]
    assert len({image.image.tobytes() for image in changed}) == 20
    for other in changed:
        assert other.image.shape == sample.image.shape and other.image.dtype == np.uint8
        assert other.polygons is sample.polygons and other.transcriptions == sample.transcriptions


def test_grey_blur_and_noise_do_what_they_are_called():
    still = {"brightness": 0, "contrast": 0, "saturation": 0, "hue": 0, "grey_probability": 0}
    never = still | {"blur_probability": 0, "noise_probability": 0}
    sample = make_sample(textured(64, 64))
    rng = np.random.default_rng(10)
    np.testing.assert_array_equal(transforms.jitter_colour(sample, rng, **never).image, sample.image)
    grey = transforms.jitter_colour(sample, rng, **never | {"grey_probability": 1}).image.astype(int)
    assert np.abs(grey - grey[:, :, :1]).max() <= 1
    blurred = transforms.jitter_colour(sample, rng, **never | {"blur_probability": 1, "blur_radius": 5}).image
    assert blurred.std() < 0.9 * sample.image.std()
    flat = make_sample(blank(64, 64, 128))
    deviations = [
        transforms.jitter_colour(flat, rng, **never | {"noise_probability": 1, "noise_deviation": 20}).image.std()
        for _ in range(30)
    ]
    assert 14 < max(deviations) < 20.5 and min(deviations) < 6


# don't-care painted over


def test_ignored_regions_are_painted_with_their_surroundings_and_leave():
    rng = np.random.default_rng(11)
    image = blank(60, 80, 100) + rng.integers(-4, 5, (60, 80, 3)).astype(np.int8).view(np.uint8)
    image[20:30, 10:40] = 250  # the illegible word
    image[40:50, 50:70] = 5  # a legible one
    sample = make_sample(
        image, [10, 20, 40, 20, 40, 30, 10, 30], [50, 40, 70, 40, 70, 50, 50, 50], ignore=[True, False], words=True
    )
    clean = transforms.paint_out_ignored(sample)
    patch = clean.image[20:30, 10:40].astype(float)
    assert abs(patch.mean() - 100) < 1 and 1 < patch.std() < 6
    untouched = np.ones((60, 80), dtype=bool)
    untouched[20:30, 10:40] = False
    np.testing.assert_array_equal(clean.image[untouched], image[untouched])
    assert clean.transcriptions == ("word 1",) and clean.labels.tolist() == [2]
    np.testing.assert_array_equal(clean.polygons[0], sample.polygons[1])
    np.testing.assert_array_equal(transforms.paint_out_ignored(sample).image, clean.image)


def test_painting_spares_legible_words_that_overlap():
    image = blank(40, 40, 100)
    image[10:20, 10:30] = 250
    sample = make_sample(image, [5, 5, 35, 5, 35, 35, 5, 35], [10, 10, 30, 10, 30, 20, 10, 20], ignore=[True, False])
    np.testing.assert_array_equal(transforms.paint_out_ignored(sample).image, image)


def test_painting_degenerate_regions():
    image = textured(20, 20)
    everything, outside, sliver = [-5, -5, 30, -5, 30, 30, -5, 30], [50, 50, 60, 50, 60, 60], [3, 3, 3.1, 3, 3.1, 9]
    clean = transforms.paint_out_ignored(make_sample(image, everything, ignore=[True]))
    assert clean.polygons == () and clean.image.shape == image.shape
    for polygon in (outside, sliver):
        clean = transforms.paint_out_ignored(make_sample(image, polygon, ignore=[True]))
        np.testing.assert_array_equal(clean.image, image)
        assert clean.polygons == ()
    plain = make_sample(image, sliver)
    assert transforms.paint_out_ignored(plain) is plain


# empty, tiny, wrong


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1)])
@pytest.mark.parametrize("word", [True, False])
def test_tiny_pictures_and_pictures_without_words(size, word):
    height, width = size
    polygons = [[0, 0, width, 0, width, height, 0, height]] if word else []
    sample = make_sample(blank(height, width), *polygons)
    rng = np.random.default_rng(12)
    for changed, shape in (
        (transforms.resize(sample, 7, 9), (7, 9)),
        (transforms.resize_to_fit(sample, 64, 64), None),
        (transforms.crop(sample, -1, -1, 3, 4), (4, 3)),
        (transforms.flip_horizontal(sample), size),
        (transforms.rotate(sample, 33), None),
        (random_crop(sample, rng, size=32, scale_range=(0.01, 100)), (32, 32)),
        (random_crop(sample, rng, size=1), (1, 1)),
        (random_crop(sample, rng, size=5, independent_sides=(5, 9), crop_around="all_objects"), (5, 5)),
        (random_crop(sample, rng, size=20, degrees=33), (20, 20)),
        (transforms.jitter_colour(sample, rng, blur_probability=1, noise_probability=1), size),
        (transforms.paint_out_ignored(replace(sample, ignore=~sample.ignore)), size),
    ):
        assert changed.image.dtype == np.uint8 and changed.image.flags.c_contiguous
        assert shape is None or changed.image.shape[:2] == tuple(shape)
        assert all(np.isfinite(polygon).all() for polygon in changed.polygons)


def test_a_size_below_one_pixel_is_an_error():
    with pytest.raises(ValueError, match=r"img_1\.jpg: found a new size of 0 x 5"):
        transforms.resize(make_sample(blank(4, 4)), 0, 5)
