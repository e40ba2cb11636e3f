"""What training does to each picture: each change by itself, all of them together, how often, and on odd pictures."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from small_text import small_config, small_model

from maskrcnn.config import ConfigurationError, DataConfig, ImageConfig
from maskrcnn.data import transforms
from maskrcnn.data.augmentation import Augmentation
from maskrcnn.data.images import EncodedPicture
from maskrcnn.data.loader import collate
from maskrcnn.data.undecoded import UndecodedSample, black
from maskrcnn.structures import Sample

NOTHING = DataConfig(crop=0, flip_probability=0.0, rotation_degrees=0.0, colour_probability=0.0)
IMAGE = ImageConfig(short_side=100, long_side=200, rounding="floor")
WORD = np.array([[30.0, 20.0], [90.0, 24.0], [88.0, 44.0], [28.0, 40.0]])
SMUDGE = np.array([[20.0, 60.0], [50.0, 60.0], [50.0, 70.0], [20.0, 70.0]])


def sample(height: int = 80, width: int = 120) -> Sample:
    """A white word and a grey don't-care word on black."""
    image = Image.new("RGB", (width, height))
    for polygon, colour in ((WORD, "white"), (SMUDGE, (90, 90, 90))):
        # Pillow draws through pixel centres; half a pixel makes them continuous coordinates.
        ImageDraw.Draw(image).polygon([tuple(point - 0.5) for point in polygon], fill=colour)
    return Sample("drawn", np.array(image), (WORD, SMUDGE), np.ones(2, np.int64), np.array([False, True]))


def changed(data: DataConfig, seed: int = 0, before: Sample | UndecodedSample | None = None) -> Sample:
    return Augmentation(data, IMAGE)(sample() if before is None else before, np.random.default_rng(seed))


def same(first: Sample, second: Sample) -> bool:
    polygons = zip(first.polygons, second.polygons, strict=True)
    return np.array_equal(first.image, second.image) and all(np.array_equal(*pair) for pair in polygons)


# Each change by itself


def test_nothing_is_asked_for_and_nothing_happens():
    assert same(changed(NOTHING), sample())


def test_flip():
    assert same(changed(replace(NOTHING, flip_probability=1.0)), transforms.flip_horizontal(sample()))


def test_rotation_draws_an_angle_within_its_range():
    angles = []
    for seed in range(60):
        turned = changed(replace(NOTHING, rotation_degrees=10.0), seed)
        along = turned.polygons[0][1] - turned.polygons[0][0]
        angles.append(np.degrees(np.arctan2(4, 60) - np.arctan2(along[1], along[0])))
    assert -10 <= min(angles) < -8 and 8 < max(angles) <= 10
    assert abs(np.mean(angles)) < 2.5  # of 60 uniform draws the mean has a standard deviation of 0.75


def test_whole_pictures_are_scaled_to_a_short_side_out_of_a_list():
    sides = dict.fromkeys((40, 60, 120), 0)
    for seed in range(60):
        scaled = changed(replace(NOTHING, short_sides=tuple(sides)), seed)
        height = scaled.image.shape[0]
        short_side = next(side for side in sides if height == min(side, 133))  # 200 / 120 x 80: the long side limits
        assert same(scaled, transforms.resize(sample(), height, min(short_side * 3 // 2, 200)))
        sides[short_side] += 1
    assert min(sides.values()) > 10


def test_the_long_side_has_its_limit():
    wide = changed(replace(NOTHING, short_sides=(100,)), before=sample(height=80, width=240))
    assert wide.image.shape == (66, 200, 3)  # 66.67, rounded as when looking for objects


def test_scaled_crops_and_whole_pictures_exclude_each_other():
    message = r"DataConfig.short_sides: found \(800,\) with crops of 512, expected one of the two"
    with pytest.raises(ConfigurationError, match=message):
        DataConfig(short_sides=(800,))


def test_crop_has_the_side_that_is_asked_for_and_the_word_in_it():
    data = replace(NOTHING, crop=64, around_object_probability=1.0, scale_range=(0.5, 0.5), aspect_range=(1.0, 1.0))
    cut = changed(data)
    assert cut.image.shape == (64, 64, 3)
    # 80 x 120 pixels at half their size fit into the window as a whole.
    moved = cut.polygons[0] - 0.5 * WORD
    assert np.allclose(moved, moved[0])


def test_what_a_crop_cuts_becomes_dont_care_below_the_visible_fraction():
    data = replace(NOTHING, crop=16, around_object_probability=0.0, scale_range=(1.0, 1.0), aspect_range=(1.0, 1.0))
    for fraction, expected in ((0.0, {False}), (1.0, {True})):
        found = set()
        for seed in range(40):
            cut = changed(replace(data, minimum_visible_fraction=fraction), seed)
            legible = [i for i, polygon in enumerate(cut.polygons) if cut.image[polygon_pixel(polygon)].min() > 150]
            found |= {bool(cut.ignore[index]) for index in legible}
        assert found == expected


def polygon_pixel(polygon: np.ndarray) -> tuple[int, int]:
    x, y = polygon.mean(axis=0).astype(int)
    return int(y), int(x)


def test_each_rule_of_mmocr_reaches_the_crop_by_itself():
    """All in one; of a picture of 120 x 80 pixels and crops of 40 x 40."""
    still = replace(NOTHING, crop=40, scale_range=(1.0, 1.0), aspect_range=(1.0, 1.0), around_object_probability=1.0)

    def views(**rule):
        augmentation = Augmentation(replace(still, **rule), IMAGE)
        return [augmentation.view(sample(), np.random.default_rng(seed)) for seed in range(30)]

    def whole_pixels(**rule):
        return all(np.allclose(view.corner, np.rint(view.corner)) for view in views(**rule))

    sides = np.array([view.scale * (120, 80) for view in views(independent_sides=(80, 160))])
    assert np.allclose(sides, np.rint(sides)) and sides.min() < 90 and 150 < sides.max() < 160
    assert all((view.scale == 1).all() for view in views(crop_around="all_objects"))
    assert whole_pixels(crop_around="all_objects") and not whole_pixels(independent_sides=(80, 160))
    for cut, outside in (("polygons", False), ("boxes", True)):
        crops = [changed(replace(still, cut=cut), seed) for seed in range(30)]
        assert any((crop.boxes < -1e-6).any() or (crop.boxes > 40 + 1e-6).any() for crop in crops) == outside


def test_an_undecoded_picture_is_cut_and_changed_like_any_other(tmp_path):
    Image.fromarray(sample().image).save(tmp_path / "drawn.png")
    annotated = replace(sample(), image=black(80, 120))
    undecoded = UndecodedSample(annotated, EncodedPicture(tmp_path / "drawn.png"))
    whole = replace(EVERYTHING, crop=0, rotation_degrees=20.0, short_sides=(60,), colour_probability=1.0)
    for data in (EVERYTHING, whole, NOTHING, replace(NOTHING, ignored="paint")):
        for seed in range(3):
            found, expected = changed(data, seed, undecoded), changed(data, seed)
            assert np.abs(found.image.astype(int) - expected.image).max() <= 1
            assert same(replace(found, image=expected.image), expected)


def test_colour_changes_pixels_only():
    jittered = changed(replace(NOTHING, colour_probability=1.0))
    assert not np.array_equal(jittered.image, sample().image)
    assert same(replace(jittered, image=sample().image), sample())


def test_ignored_regions_are_painted_over_only_when_asked_for():
    painted = changed(replace(NOTHING, ignored="paint"))
    assert painted.image[62:68, 25:45].max() < 60 and painted.image[65, 35].max() != sample().image[65, 35].max()
    assert [polygon.tolist() for polygon in painted.polygons] == [WORD.tolist()]
    for ignored in ("ignore", "background"):
        assert same(changed(replace(NOTHING, ignored=ignored)), sample())


# All of them together

EVERYTHING = DataConfig(
    crop=96,
    scale_range=(0.7, 1.5),
    aspect_range=(0.8, 1.25),
    around_object_probability=1.0,
    flip_probability=0.5,
    rotation_degrees=20.0,
    colour_probability=0.0,
)


@pytest.mark.parametrize("seed", range(8))
def test_the_word_stays_on_its_pixels(seed):
    result = changed(EVERYTHING, seed)
    drawn = Image.new("L", (96, 96))
    for polygon, ignored in zip(result.polygons, result.ignore, strict=True):
        if not ignored:
            ImageDraw.Draw(drawn).polygon([tuple(point - 0.5) for point in polygon], fill=255)
    expected, white = np.array(drawn) > 0, result.image.min(axis=2) > 127
    # The padding is grey, and so is the don't-care word; only the word is white.
    assert expected.any()
    assert (expected & white).sum() / (expected | white).sum() > 0.85


def test_the_generator_is_all_the_randomness_there_is():
    data = replace(EVERYTHING, colour_probability=0.5, ignored="paint")
    np.random.seed(1)  # noqa: NPY002 (the point is that the old global generator plays no part)
    first = [changed(data, seed) for seed in range(5)]
    np.random.seed(2)  # noqa: NPY002
    again = [changed(data, seed) for seed in range(5)]
    assert all(same(*pair) for pair in zip(first, again, strict=True))
    assert not any(np.array_equal(first[0].image, other.image) for other in first[1:])


def test_the_sample_that_is_handed_in_stays_as_it_was():
    before = sample()
    changed(replace(EVERYTHING, colour_probability=1.0, ignored="paint"), before=before)
    assert same(before, sample())


# From boxes that are cut to what is learnt from them

SLANTED = np.array([[12.0, 28], [40, 0], [44, 4], [16, 32]])
"""Beside the window of 20 x 20 pixels at 0, 0, into which its box reaches: x 12 to 20, y 0 to 20."""


def test_an_object_seen_in_its_box_alone_has_a_loose_box_and_an_empty_bitmap():
    slanted = replace(sample(), polygons=(SLANTED, SLANTED[::-1]), ignore=np.zeros(2, bool))
    cut = transforms.crop(slanted, 0, 0, 20, 20, minimum_visible=0.0, cut="boxes")
    targets = collate([cut], IMAGE, ignored="background").targets
    assert targets.boxes.tolist() == [[[12, 0, 20, 20]] * 2] and targets.valid.all()
    assert targets.bitmap_boxes.tolist() == [[[12, 0, 20, 20]] * 2]
    assert targets.bitmaps.shape == (2 * 8 * 20,) and not targets.bitmaps.any()


@pytest.mark.parametrize(
    "settings",
    [
        (),
        ("model.box_head.sampler=hard", "model.box_head.low_quality=True", "model.box_head.box_loss=l1"),
        ("model.mask_head.targets=soft", "model.mask_head.aligned=False"),
    ],
    ids=["small", "as MMOCR", "as torchvision"],
)
def test_every_loss_survives_an_empty_bitmap(settings):
    """Also where it is all there is to learn from, and where the object's box is a sliver of 0.001 pixels."""
    config = small_config(*settings)
    for x in (0, -24, 11.999):
        shifted = SLANTED * 4 + (x, 0)
        window = transforms.crop(
            Sample("slanted", np.full((96, 96, 3), 90, np.uint8), (shifted,), np.ones(1, np.int64), np.zeros(1, bool)),
            0, 0, 60, 60, minimum_visible=0.0, cut="boxes",
        )  # fmt: skip
        batch = collate([window], config.model.image, ignored="background")
        assert batch.targets.valid.sum() == 1 and not batch.targets.bitmaps.any()
        model = small_model(config).train()
        losses = model(batch).losses
        sum(losses.values()).backward()
        assert losses.keys() == {"rpn_objectness", "rpn_box", "class", "box", "mask"}
        assert all(torch.isfinite(loss) for loss in losses.values()) and losses["mask"] > 0
        for parameter in model.parameters():
            assert parameter.grad is None or torch.isfinite(parameter.grad).all()


# How often


@pytest.mark.parametrize("name", ["flip_probability", "colour_probability"])
def test_a_probability_is_met(name):
    data = replace(NOTHING, **{name: 0.3})
    hits = sum(not np.array_equal(changed(data, seed).image, sample().image) for seed in range(300))
    # 300 draws: 90 expected, standard deviation 8.
    assert 58 < hits < 122


# Odd pictures


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (7, 5)])
def test_tiny_pictures_without_words(size):
    empty = Sample("empty", np.full((*size, 3), 200, np.uint8), (), np.zeros(0, np.int64), np.zeros(0, bool))
    data = replace(EVERYTHING, colour_probability=1.0, ignored="paint")
    for seed in range(4):
        result = changed(data, seed, empty)
        assert result.image.shape == (96, 96, 3) and not result.polygons
