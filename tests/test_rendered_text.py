"""Rendered text: the same picture every time, exact annotations, and held-out pictures that are not easy.

What is claimed of the pictures is measured on their polygons and pixels; the plan is only asked for what cannot be.
"""

import hashlib
import itertools
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely
from PIL import Image, ImageFilter

from maskrcnn.data.polygons import area, rasterize
from maskrcnn.data.rendered_clutter import CLUTTER_KINDS
from maskrcnn.data.rendered_text import DEMO, SCENE, RenderedText, RenderSettings
from maskrcnn.demo import held_out_pictures

SMALL = replace(DEMO, height=(140, 160), width=(200, 220))


def fingerprint(sample) -> str:
    content = [sample.name, sample.image.tobytes(), *(polygon.tobytes() for polygon in sample.polygons)]
    content += [sample.labels.tobytes(), sample.ignore.tobytes(), *sample.transcriptions]
    return hashlib.sha256(repr(content).encode()).hexdigest()


# the same picture every time


def test_a_picture_depends_on_seed_settings_and_number_alone():
    prints = [fingerprint(sample) for sample in map(RenderedText(6, 3, SMALL).__getitem__, range(6))]
    assert len(set(prints)) == 6
    longer = RenderedText(1000, 3, SMALL)
    assert [fingerprint(longer[index]) for index in (4, 1, 4)] == [prints[4], prints[1], prints[4]]
    others = (RenderedText(6, 4, SMALL), RenderedText(6, 3, replace(SMALL, clutter=(20, 20))))
    assert not {fingerprint(other[1]) for other in others} & set(prints)


def test_another_process_draws_the_same_picture():
    here = RenderedText(3, 11, SMALL)
    code = (
        "from test_rendered_text import RenderedText, SMALL, fingerprint; data = RenderedText(3, 11, SMALL); "
        "print(fingerprint(data[2]), fingerprint(data[0]))"
    )
    paths = [str(Path(__file__).parent), *sys.path]
    run = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:] = {paths!r}; {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.split() == [fingerprint(here[2]), fingerprint(here[0])]


def test_samples_are_what_the_plan_says():
    data = RenderedText(4, 5, SMALL)
    assert data.class_names == ("text",)
    assert data.names == [sample.name for sample in map(data.__getitem__, range(4))]
    assert data.names[2] == "rendered_000002.png"
    for index in range(4):
        sample, plan = data[index], data.describe(index)
        assert sample.image.shape == (plan.height, plan.width, 3)
        assert len(sample.polygons) == len(plan.texts) > 0
        for polygon, ignore, transcription, text in zip(
            sample.polygons, sample.ignore, sample.transcriptions, plan.texts, strict=True
        ):
            np.testing.assert_array_equal(polygon, text.polygon)
            assert polygon.dtype == np.float64
            assert ignore == text.ignore == (transcription == "###")
            assert transcription == text.transcription
        np.testing.assert_array_equal(sample.labels, 1)


# exact annotations


def ink_and_window(block) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    """(H, W) how much ink a block lays on each pixel of a window of the picture, and that window."""
    low = np.floor(block.outline.min(axis=0)).astype(int) - 2
    high = np.ceil(block.outline.max(axis=0)).astype(int) + 2
    window = (*low.tolist(), *high.tolist())
    shrink = max(1, int(40 / block.height))
    return np.asarray(block.surface.photograph(block.sheet.reduced(shrink), shrink, window)) / 255, window


@pytest.mark.parametrize("curved_fraction", [0.0, 1.0])
def test_the_ink_of_a_word_fills_its_polygon_and_nothing_else(curved_fraction):
    data = RenderedText(15, 8, replace(DEMO, curved_fraction=curved_fraction, ignored=(0, 0)))
    for block in (block for picture in range(15) for block in data.describe(picture).blocks):
        ink, window = ink_and_window(block)
        polygons = [text.polygon for text in block.texts]
        # Ink covers parts of the pixels along the border; and seven corners cut a little off a strong bend.
        wider = [np.array(shapely.Polygon(polygon).buffer(1).exterior.coords) for polygon in polygons]
        outside = ~np.any([rasterize(polygon, window) for polygon in wider], axis=0)
        assert ink[outside].sum() <= (0.04 if block.texts[0].curved else 0.001) * ink.sum()
        for polygon in polygons:
            inside = rasterize(polygon, window).astype(bool)
            assert 0.1 * inside.sum() < ink[inside].sum() < 0.8 * inside.sum()
            if len(polygon) == 4:  # tight: each side has ink within 1.5 pixels
                for start, end in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
                    near = np.array(shapely.LineString([start, end]).buffer(1.5).exterior.coords)
                    assert ink[rasterize(near, window).astype(bool)].max() > 0.1


def test_the_picture_has_the_ink_where_the_plan_has_it():
    """Grey levels go with the planned ink, and do so best when it is not moved by a single pixel."""
    settings = replace(DEMO, ignored=(0, 0), plate_fraction=1.0, blurred_fraction=0.0)
    data = RenderedText(20, 9, settings)
    right = []
    for index in range(len(data)):
        grey = np.asarray(Image.fromarray(data[index].image).convert("L"), float)
        for block in data.describe(index).blocks:
            if block.style.decoration not in ("plain", "gradient"):
                continue
            ink, (x1, y1, x2, y2) = ink_and_window(block)
            inside = np.any([rasterize(text.polygon, (x1, y1, x2, y2)) for text in block.texts], axis=0)
            likeness = {}
            for dx, dy in itertools.product((-1, 0, 1), repeat=2):
                moved = np.roll(ink, (dy, dx), axis=(0, 1))
                here = grey[max(y1, 0) : y2, max(x1, 0) : x2]
                assert here.shape == ink.shape
                likeness[dx, dy] = abs(np.corrcoef(moved[inside], here[inside])[0, 1])
            right.append(max(likeness, key=likeness.get) == (0, 0))
            assert likeness[0, 0] > 0.5, (index, likeness)
    assert len(right) > 25
    assert np.mean(right) > 0.97


# held-out pictures that are not easy


def measured_height(polygon: np.ndarray) -> float:
    """Pixels: area over length, so not the formula that the plan uses."""
    half = len(polygon) // 2
    middle = (polygon[:half] + polygon[::-1][:half]) / 2
    return area(polygon) / np.linalg.norm(np.diff(middle, axis=0), axis=1).sum()


def measured_rotation(polygon: np.ndarray) -> float:
    """Degrees from the horizontal to the line between the middles of the two ends."""
    half = len(polygon) // 2
    across = (polygon[half - 1] + polygon[half] - polygon[0] - polygon[-1]) / 2
    return float(np.degrees(np.arctan2(across[1], across[0])))


def leaves_its_chord(polygon: np.ndarray) -> bool:
    """Whether a polygon has 14 corners and the middle of some of them is off the chord by 1/20 of its length."""
    if len(polygon) != 14:
        return False
    middle = (polygon[:7] + polygon[:6:-1]) / 2
    chord = middle[6] - middle[0]
    along = chord / np.linalg.norm(chord)
    off = (middle - middle[0]) @ np.array([-along[1], along[0]])
    return bool(np.abs(off).max() > 0.05 * np.linalg.norm(chord))


def legibility(sample) -> list[tuple[float, float]]:
    """For each text, from its pixels: the grey levels that it spans, and the steepest edge as a part of these."""
    height, width = sample.image.shape[:2]
    grey = np.asarray(Image.fromarray(sample.image).convert("L").filter(ImageFilter.BoxBlur(0.5)), float)
    slope = np.hypot(*np.gradient(grey))
    measures = []
    for polygon in sample.polygons:
        inside = rasterize(polygon, (0, 0, width, height)).astype(bool)
        low, high = np.percentile(grey[inside], (5, 95))
        measures.append((high - low, np.percentile(slope[inside], 95) / (high - low)))
    return measures


@pytest.fixture(scope="module")
def held_out():
    """The demo's 200 held-out pictures, each sample with its plan."""
    data = held_out_pictures(0)
    assert len(data) == 200
    return [(data[index], data.describe(index)) for index in range(len(data))]


@pytest.fixture(scope="module")
def legible(held_out):
    """All texts of these pictures that count: polygon, plan, grey levels, steepness."""
    return [
        (polygon, text, *pixels)
        for sample, plan in held_out
        for polygon, text, ignore, pixels in zip(
            sample.polygons, plan.texts, sample.ignore, legibility(sample), strict=True
        )
        if not ignore
    ]


def test_held_out_pictures_have_256_pixels_and_1_to_8_texts(held_out):
    assert all(min(sample.image.shape[:2]) >= 256 for sample, _ in held_out)
    counts = [int((~sample.ignore).sum()) for sample, _ in held_out]
    assert (min(counts), max(counts)) == (1, 8)
    assert np.mean(counts) > 3


def test_held_out_texts_are_10_to_64_pixels_high(legible):
    heights = [text.height for _, text, _, _ in legible]
    assert 10 - 1e-6 <= min(heights) < 11
    assert 50 < max(heights) <= 64 + 1e-6
    # Across the reading direction; where a tilt slants the letters, they are longer than that.
    ratios = np.array([measured_height(polygon) for polygon, *_ in legible]) / heights
    assert ratios.min() > 0.75 and ratios.max() < 1.03
    assert np.median(ratios) > 0.97


def test_held_out_texts_are_rotated_by_up_to_30_degrees(legible):
    rotations = np.array([measured_rotation(polygon) for polygon, *_ in legible])
    np.testing.assert_allclose(rotations, [text.rotation for _, text, _, _ in legible], atol=1e-6)
    assert rotations.min() < -25 and rotations.max() > 25
    assert np.abs(rotations).max() <= 30 + 1e-5
    assert np.mean(np.abs(rotations) > 10) > 0.3


def test_a_third_of_the_held_out_texts_are_curved(legible):
    assert np.mean([leaves_its_chord(polygon) for polygon, *_ in legible]) >= 1 / 3
    assert all(leaves_its_chord(polygon) == text.curved == (len(polygon) == 14) for polygon, text, _, _ in legible)


def test_held_out_texts_are_seen_in_perspective(legible):
    """Opposite sides of a rectangle seen straight on are equally long."""
    ratios = []
    for polygon, *_ in legible:
        if len(polygon) == 4:
            top, right, bottom, left = np.linalg.norm(np.roll(polygon, -1, axis=0) - polygon, axis=1)
            ratios.append(max(top / bottom, bottom / top, left / right, right / left))
    assert np.mean(np.array(ratios) > 1.1) > 0.2
    assert np.mean([text.perspective > 0.1 for _, text, _, _ in legible]) > 0.5


def test_a_fifth_of_the_held_out_texts_are_low_in_contrast_or_blurred(legible):
    assert np.mean([text.low_contrast or text.blurred for _, text, _, _ in legible]) >= 1 / 5
    levels, steepness = np.array([pixels for _, _, *pixels in legible]).T
    low = np.array([text.low_contrast for _, text, _, _ in legible])
    blurred = np.array([text.blurred for _, text, _, _ in legible])
    plain = ~low & ~blurred
    assert min(low.mean(), blurred.mean()) > 0.1
    # Low in contrast, yet there to be seen: between 15 and 55 of 255 grey levels, with nearly all others above.
    assert np.mean((levels[low] > 15) & (levels[low] < 55)) > 0.9
    assert np.mean(levels[plain] > 55) > 0.9
    # Blurred edges rise more gently.
    assert np.median(steepness[blurred]) < 0.8 * np.median(steepness[plain])


def test_held_out_pictures_have_dont_care_words_and_clutter(held_out):
    assert np.mean([sample.ignore.any() for sample, _ in held_out]) > 0.5
    damages = {block.style.damage for _, plan in held_out for block in plan.blocks}
    assert damages == {"", "tiny", "smeared", "scrambled"}
    assert all(len(plan.clutter) >= DEMO.clutter[0] >= 2 for _, plan in held_out)
    assert {kind for _, plan in held_out for kind in plan.clutter} == set(CLUTTER_KINDS)


def test_no_two_held_out_texts_overlap_and_all_lie_in_the_picture(held_out):
    for sample, _ in held_out:
        height, width = sample.image.shape[:2]
        polygons = [shapely.Polygon(polygon) for polygon in sample.polygons]
        assert all(polygon.is_valid for polygon in polygons)
        assert all(area(polygon) > 0 for polygon in sample.polygons), "clockwise"
        assert all(first.intersection(second).area == 0 for first, second in itertools.combinations(polygons, 2))
        boxes = sample.boxes
        assert boxes[:, :2].min() >= 0 and boxes[:, 2].max() <= width and boxes[:, 3].max() <= height


# other settings


def test_scenes_keep_to_their_settings():
    data = RenderedText(6, 2, SCENE)
    for index in range(6):
        texts = [text for text in data.describe(index).texts if not text.ignore]
        assert 1 <= len(texts) <= 12
        assert all(8 - 1e-6 <= text.height <= 80 + 1e-6 and abs(text.rotation) <= 25 + 1e-5 for text in texts)
    assert data[0].image.shape == (512, 512, 3)


@pytest.mark.parametrize("size", [(48, 60), (720, 1280), (1500, 300)])
def test_pictures_of_any_size(size):
    height, width = size
    settings = replace(SCENE, height=(height, height), width=(width, width), text_height=(4.0, 80.0))
    sample = RenderedText(1, 0, settings)[0]
    assert sample.image.shape == (height, width, 3)
    assert not sample.ignore.all()


def test_there_is_a_text_even_where_hardly_anything_fits():
    """Straight reading only, in the smallest picture: most tries break the limit of the angle or find no place."""
    settings = RenderSettings(
        height=(120, 120), width=(120, 120), text_height=(10.0, 10.5), rotation=0.0, tilt=60.0, curved_fraction=1.0
    )
    data = RenderedText(30, 0, settings)
    for index in range(30):
        texts = [text for text in data.describe(index).texts if not text.ignore]
        assert texts
        assert all(abs(text.rotation) <= 1e-5 for text in texts)


def test_a_data_set_may_be_empty():
    assert len(RenderedText(0, 1)) == 0
    assert RenderedText(0, 1).names == []


@pytest.mark.parametrize("index", [-1, 2, 100])
def test_there_is_no_picture_beyond_the_last(index):
    with pytest.raises(IndexError, match=f"found picture {index}, expected 0 to 1"):
        RenderedText(2, 0)[index]


@pytest.mark.parametrize(("count", "seed"), [(-1, 0), (1, -1)])
def test_counts_and_seeds_are_not_negative(count, seed):
    with pytest.raises(ValueError, match=f"expected 0 or more, found {count}, {seed}"):
        RenderedText(count, seed)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"height": (300, 200)}, "height: expected 0 <= least <= most, found (300, 200)"),
        ({"texts": (0, 4)}, "texts: expected at least 1, found (0, 4)"),
        ({"curved_fraction": 1.5}, "curved_fraction: expected 0 to 1, found 1.5"),
        ({"dark_fraction": -0.1}, "dark_fraction: expected 0 to 1, found -0.1"),
        ({"line_words": 0}, "line_words: expected at least 1, found 0"),
        ({"rotation": 120.0}, "rotation: expected 0 to 90 degrees, found 120.0"),
        ({"tilt": 80.0}, "tilt: expected 0 to 60 degrees, found 80.0"),
        ({"text_height": (2.0, 20.0)}, "text_height: expected at least 4 pixels, found (2.0, 20.0)"),
        ({"height": (100, 300)}, "the smallest picture must be 12 times the smallest text_height 10.0 or more"),
    ],
)
def test_settings_that_make_no_sense(change, message):
    with pytest.raises(ValueError) as error:
        replace(DEMO, **change)
    assert str(error.value).startswith(message)
