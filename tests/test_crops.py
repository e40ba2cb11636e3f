"""Crops: where they may lie, by hand and in distribution; that cutting first gives the pixels of scaling the whole."""

import numpy as np
import pytest
from PIL import Image
from random_crops import random_crop
from random_inputs import random_quadrilateral
from test_images import scene
from test_transforms import BACKGROUND, blank, make_sample, textured

from maskrcnn.data import transforms
from maskrcnn.data.crops import View, random_view, seen
from maskrcnn.data.images import EncodedPicture
from maskrcnn.data.polygons import area
from maskrcnn.data.undecoded import UndecodedSample, black

# around one object


def test_the_window_holds_the_chosen_object_and_is_filled():
    rng = np.random.default_rng(2)
    image = textured(300, 400)
    pink = (255, 0, 255)
    assert not (image == pink).all(axis=2).any()
    for _ in range(60):
        word = random_quadrilateral(rng, 300, 400)
        sample = make_sample(image, word, [0, 0, 300, 0, 300, 200, 0, 200], ignore=[False, True])
        changed = random_crop(
            sample, rng, size=160, scale_range=(0.8, 1), aspect_range=(1, 1), around_object_probability=1.0, colour=pink
        )
        assert changed.image.shape == (160, 160, 3)
        assert not (changed.image == pink).all(axis=2).any()
        # 110 pixels of width, turned, always fit into 160: nothing is cut off.
        assert len(changed.polygons[0]) == 4 and not changed.ignore[0]
        scale = np.sqrt(area(changed.polygons[0]) / area(word))
        assert 0.799 < scale < 1.001
        edges = np.diff(changed.polygons[0], axis=0) / np.diff(word, axis=0)
        np.testing.assert_allclose(edges, scale, rtol=1e-6)


def test_an_object_larger_than_the_window_fills_it():
    rng = np.random.default_rng(3)
    sample = make_sample(textured(300, 400), [20, 30, 380, 30, 380, 270, 20, 270])
    for _ in range(30):
        changed = random_crop(
            sample, rng, size=64, scale_range=(0.5, 1.0), around_object_probability=1.0, minimum_visible=0.9
        )
        np.testing.assert_allclose(changed.boxes, [[0, 0, 64, 64]])
        assert changed.ignore[0]  # most of it is outside


def test_scale_and_aspect_cover_their_ranges_evenly_in_the_logarithm():
    rng = np.random.default_rng(4)
    sample = make_sample(blank(200, 200), [95, 95, 105, 95, 105, 105, 95, 105])
    widths, heights = [], []
    for _ in range(400):
        changed = random_crop(
            sample, rng, size=64, scale_range=(0.5, 2.0), aspect_range=(0.5, 2.0), around_object_probability=1.0
        )
        x1, y1, x2, y2 = changed.boxes[0]
        widths.append(x2 - x1)
        heights.append(y2 - y1)
    scales = np.log2(np.sqrt(np.array(widths) * heights) / 10)
    aspects = np.log2(np.array(widths) / heights)
    for values in (scales, aspects):
        assert -1.001 < values.min() < -0.95 and 0.95 < values.max() < 1.001
        # Uniform on [-1, 1]: mean 0, standard deviation 0.577; five standard errors.
        assert abs(values.mean()) < 0.15 and abs(values.std() - 0.577) < 0.08


def test_aspect_is_width_over_height():
    sample = make_sample(blank(200, 200), [95, 95, 105, 95, 105, 105, 95, 105])
    changed = random_crop(
        sample,
        np.random.default_rng(0),
        size=64,
        scale_range=(1, 1),
        aspect_range=(4, 4),
        around_object_probability=1.0,
    )
    x1, y1, x2, y2 = changed.boxes[0]
    np.testing.assert_allclose([x2 - x1, y2 - y1], [20, 5])


def test_without_the_object_the_window_may_be_anywhere():
    rng = np.random.default_rng(5)
    image = blank(100, 1000, 0)
    image[:, :, 0] = np.arange(1000) // 4
    sample = make_sample(image, [0, 0, 20, 0, 20, 20, 0, 20])
    starts, seen = [], 0
    for _ in range(200):
        changed = random_crop(
            sample, rng, size=50, scale_range=(1, 1), aspect_range=(1, 1), around_object_probability=0.0
        )
        starts.append(int(changed.image[0, 0, 0]) * 4)
        seen += len(changed.polygons)
    assert min(starts) < 60 and max(starts) > 890 and abs(np.mean(starts) - 475) < 100
    assert seen < 40


def test_a_smaller_picture_lies_somewhere_in_the_padding():
    rng = np.random.default_rng(6)
    starts = set()
    for _ in range(40):
        sample = make_sample(blank(20, 30), [0, 0, 30, 0, 30, 20, 0, 20])
        changed = random_crop(
            sample, rng, size=64, scale_range=(0.9, 1.1), aspect_range=(0.9, 1.1), colour=(1, 2, 3)
        )
        # The polygon is the whole picture: it must be exactly what is not padding.
        x1, y1, x2, y2 = changed.boxes[0]
        inside = np.zeros((64, 64), dtype=bool)
        inside[round(y1) : round(y2), round(x1) : round(x2)] = True
        np.testing.assert_allclose(changed.boxes[0], np.rint(changed.boxes[0]), atol=1e-9)
        assert (changed.image[inside] == BACKGROUND).all() and (changed.image[~inside] == (1, 2, 3)).all()
        starts.add((round(x1), round(y1)))
    assert len(starts) > 20


def test_cutting_first_gives_the_same_pixels_as_scaling_the_whole():
    rng = np.random.default_rng(7)
    image = textured(120, 160)
    for scale in (0.31, 0.5, 0.75, 1.0, 1.7) * 4:
        word = np.array([[0, 0], [6, 0], [6, 6], [0, 6]]) + np.rint(rng.uniform((0, 0), (154, 114)))
        changed = random_crop(
            make_sample(image, word),
            rng,
            size=24,
            scale_range=(scale, scale),
            aspect_range=(1, 1),
            around_object_probability=1.0,
        )
        x, y = word[0] - changed.polygons[0][0] / scale  # where the window was cut
        side = 24 / scale
        box = (max(x, 0), max(y, 0), min(x + side, 160), min(y + side, 120))
        expected = Image.fromarray(image).resize((24, 24), Image.Resampling.BILINEAR, box=box)
        assert np.abs(changed.image.astype(int) - np.array(expected)).max() <= 1


def test_random_crops_repeat_with_their_generator():
    sample = make_sample(textured(90, 120), [20, 30, 80, 30, 80, 60, 20, 60])
    first, second, other = (
        random_crop(sample, np.random.default_rng(seed), size=64) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first.image, second.image)
    assert not np.array_equal(first.image, other.image)


# the rules of MMOCR

SIDES = (640, 2560)


def views(sample, count: int, seed: int = 0, **drawn) -> list[View]:
    rng = np.random.default_rng(seed)
    return [random_view(sample, rng, **{"size": 640, "independent_sides": SIDES} | drawn) for _ in range(count)]


def sides_of(views: list[View], height: int, width: int) -> np.ndarray:
    """(N, 2) width and height to which each view scales a picture."""
    return np.rint([view.scale * (width, height) for view in views]).astype(int)


def assert_uniform(values: np.ndarray, low: int, high: int) -> None:
    """Integers from low to high - 1, all equally likely, by the test of Kolmogorov and Smirnov at 0.1 %."""
    assert low <= values.min() and values.max() < high
    found = np.searchsorted(np.sort(values), np.arange(low, high), side="right") / len(values)
    expected = np.arange(1, high - low + 1) / (high - low)
    assert np.abs(found - expected).max() * np.sqrt(len(values)) < 1.95


def test_width_and_height_are_drawn_uniformly_and_each_for_itself():
    """Of 1,920 values each; with 3,000 draws the correlation of independent ones has a standard deviation of 0.018."""
    sides = sides_of(views(make_sample(blank(720, 1280)), 3000), 720, 1280)
    for axis in (0, 1):
        assert_uniform(sides[:, axis], *SIDES)
        assert abs(sides[:, axis].mean() - (640 + 2559) / 2) < 40  # four standard errors of 554 / sqrt(3000)
        assert sides[:, axis].min() < 645 and sides[:, axis].max() > 2554
    assert abs(np.corrcoef(sides.T)[0, 1]) < 0.07
    # Independent, not only uncorrelated: all 8 x 8 cells of a table are equally full (63 degrees of freedom).
    cells = np.bincount((sides - 640) // 240 @ [8, 1], minlength=64)
    chi_squared = ((cells - 3000 / 64) ** 2).sum() / (3000 / 64)
    assert chi_squared < 63 + 4 * np.sqrt(2 * 63)


def test_both_ends_of_the_sides_are_as_in_a_range():
    found = sides_of(views(make_sample(blank(10, 10)), 300, size=5, independent_sides=(10, 13)), 10, 10)
    assert set(found[:, 0]) == set(found[:, 1]) == {10, 11, 12}


def starts_of(views: list[View]) -> np.ndarray:
    """(N, 2) where each window begins in the scaled picture."""
    starts = np.array([-view.corner for view in views])
    np.testing.assert_allclose(starts, np.rint(starts), atol=1e-9)
    return np.rint(starts).astype(int)


def allowed(length: int, size: int, first: int, last: int) -> tuple[int, int]:
    """The rule of `RandomCropInstances` for one axis, word for word: offsets from low to high - 1, or 0."""
    low = max(0, first - size)
    high = min(max(0, last - size), length - size)
    return (low, high) if low < high else (0, 1)


# Of two rectangles and what does not count, in a picture of 400 x 300 that keeps its size: a crowd, and a word that
# lies outside. Their masks begin at pixel 150, 120 and end at pixel 279, 219.
WORDS = ([150, 120, 200, 120, 200, 140, 150, 140], [260, 200, 280, 200, 280, 220, 260, 220])
CROWD, OUTSIDE = [0, 0, 400, 0, 400, 300, 0, 300], [-30, 10, 0, 10, 0, 20, -30, 20]


@pytest.mark.parametrize("size", [64, 100, 200])
def test_windows_around_all_objects_begin_where_mmocr_s_begin(size):
    sample = make_sample(blank(300, 400), *WORDS, CROWD, OUTSIDE, ignore=[False, False, True, False])
    still = {"size": size, "scale_range": (1, 1), "aspect_range": (1, 1), "independent_sides": ()}
    around = {"crop_around": "all_objects", "around_object_probability": 1.0}
    starts = starts_of(views(sample, 1200, **still, **around))
    for axis, (length, first, last) in enumerate([(400, 150, 279), (300, 120, 219)]):
        low, high = allowed(length, size, first, last)
        assert_uniform(starts[:, axis], low, high)
        assert {low, high - 1} <= set(starts[:, axis])
    assert abs(np.corrcoef(starts.T)[0, 1]) < 0.12 or starts.std(axis=0).min() == 0


def test_windows_anywhere_begin_anywhere_but_at_the_very_end():
    sample = make_sample(blank(300, 400), *WORDS)
    still = {"size": 200, "scale_range": (1, 1), "aspect_range": (1, 1), "independent_sides": ()}
    empty = make_sample(blank(300, 400), CROWD, OUTSIDE, ignore=[True, False])
    for which, probability in ((sample, 0.0), (empty, 1.0), (make_sample(blank(300, 400)), 1.0)):
        found = views(which, 1200, **still, crop_around="all_objects", around_object_probability=probability)
        for axis, high in enumerate((200, 100)):
            assert_uniform(starts_of(found)[:, axis], 0, high)
            assert {0, high - 1} <= set(starts_of(found)[:, axis])


def test_five_windows_in_eight_are_placed_by_the_objects():
    """The word lies at the lower right end: windows around it begin 35 to 22 pixels before that, others anywhere."""
    sample = make_sample(blank(1000, 1000), [985, 985, 1000, 985, 1000, 1000, 985, 1000])
    still = {"size": 20, "scale_range": (1, 1), "aspect_range": (1, 1), "independent_sides": ()}
    found = views(sample, 2000, **still, crop_around="all_objects", around_object_probability=5 / 8)
    placed = (starts_of(found) >= 965).all(axis=1).mean()
    # 5 / 8, and of the rest next to none; the standard deviation is 0.011.
    assert abs(placed - 5 / 8) < 0.035


def test_the_whole_rule_for_a_photograph():
    """Window and sides as the recipe draws them: each offset lies in the range that belongs to its own sides."""
    word = [300, 200, 460, 210, 455, 250, 295, 240]
    sample = make_sample(blank(720, 1280), word)
    found = views(sample, 1200, crop_around="all_objects", around_object_probability=1.0)
    box = sample.boxes[0]
    places, sides, starts = [], sides_of(found, 720, 1280), starts_of(found)
    for view, sides_, starts_ in zip(found, sides, starts, strict=True):
        for axis in (0, 1):
            # The first and the last pixel with its centre between the word's ends.
            first, last = np.ceil(box[axis::2] * view.scale[axis] - 0.5).astype(int) - (0, 1)
            low, high = allowed(sides_[axis], 640, first, last)
            assert low <= starts_[axis] < high
            if high - low > 20:
                places.append((starts_[axis] - low + 0.5) / (high - low))
    assert len(places) > 400
    assert_uniform(np.floor(np.array(places) * 1000).astype(int), 0, 1000)


@pytest.mark.parametrize("crop_around", ["one_object", "all_objects"])
def test_a_mirrored_window_is_that_of_the_mirrored_picture(crop_around):
    """As in MMOCR, whose windows lie rather before the objects: half of them then lie behind."""
    rng = np.random.default_rng(0)
    for seed in range(12):
        sample = make_sample(textured(90, 130, seed), random_quadrilateral(rng, 90, 130))
        drawn = {"size": 60, "independent_sides": (60, 240), "crop_around": crop_around, "cut": "boxes"}
        found = random_crop(sample, np.random.default_rng(seed), **drawn, flip_probability=1.0)
        expected = random_crop(transforms.flip_horizontal(sample), np.random.default_rng(seed), **drawn)
        assert np.abs(found.image.astype(int) - expected.image).max() <= 1
        for polygon, other in zip(found.polygons, expected.polygons, strict=True):
            np.testing.assert_allclose(polygon, other, atol=1e-9)


def test_as_many_windows_are_mirrored_as_should_be():
    found = views(make_sample(blank(300, 400), *WORDS), 1200, flip_probability=0.3)
    assert abs(np.mean([view.mirrored for view in found]) - 0.3) < 0.05  # the standard deviation is 0.013


def test_a_picture_of_the_size_of_the_window_is_seen_whole():
    sample = make_sample(textured(60, 90), [10, 10, 50, 10, 50, 30, 10, 30])
    rng = np.random.default_rng(0)
    for crop_around in ("one_object", "all_objects"):
        found = random_crop(sample, rng, size=64, independent_sides=(64, 65), crop_around=crop_around)
        np.testing.assert_array_equal(found.image, transforms.resize(sample, 64, 64).image)
        np.testing.assert_allclose(found.boxes, [np.array([10, 10, 50, 30]) * np.tile([64 / 90, 64 / 60], 2)])


def test_independent_sides_cut_first_give_the_pixels_of_scaling_the_whole():
    rng = np.random.default_rng(0)
    for seed in range(12):
        sample = make_sample(textured(90, 130, seed), random_quadrilateral(rng, 90, 130))
        drawn = {"size": 60, "independent_sides": (60, 240), "crop_around": "all_objects"}
        view = random_view(sample, np.random.default_rng(seed), **drawn)
        found = random_crop(sample, np.random.default_rng(seed), **drawn, cut="boxes")
        (width, height), (x, y) = sides_of([view], 90, 130)[0].tolist(), starts_of([view])[0].tolist()
        expected = transforms.crop(transforms.resize(sample, height, width), x, y, 60, 60, cut="boxes")
        assert np.abs(found.image.astype(int) - expected.image).max() <= 1
        assert len(found.polygons) == len(expected.polygons)
        for polygon, other in zip(found.polygons, expected.polygons, strict=True):
            np.testing.assert_allclose(polygon, other, atol=1e-9)


def test_boxes_are_cut_and_polygons_are_not():
    """A window of 20 x 20: the slanted word reaches into it with its box alone, its neighbour with a corner."""
    sample = make_sample(
        blank(100, 100),
        [12, 28, 40, 0, 44, 4, 16, 32],  # misses the window, its box does not
        [15, 10, 35, 10, 35, 14, 15, 14],  # a quarter inside
        [20, 0, 30, 0, 30, 20, 20, 20],  # touches
        [60, 60, 70, 60, 70, 70, 60, 70],  # outside
        words=True,
    )
    found = transforms.crop(sample, 0, 0, 20, 20, minimum_visible=0.0, cut="boxes")
    assert found.transcriptions == ("word 0", "word 1") and not found.ignore.any()
    np.testing.assert_array_equal(found.boxes.clip(0, 20), [[12, 0, 20, 20], [15, 10, 20, 14]])
    np.testing.assert_array_equal(found.polygons[0], sample.polygons[0])
    # What is visible of an object is counted on its polygon all the same.
    found = transforms.crop(sample, 0, 0, 20, 20, minimum_visible=0.25, cut="boxes")
    np.testing.assert_array_equal(found.ignore, [True, False])
    tight = transforms.crop(sample, 0, 0, 20, 20, minimum_visible=0.0)
    assert tight.transcriptions == ("word 1",)


# turned


def test_a_turned_view_is_the_whole_picture_scaled_turned_and_cropped():
    rng = np.random.default_rng(0)
    for seed in range(20):
        sample = make_sample(textured(90, 130, seed), random_quadrilateral(rng, 90, 130))
        sides, degrees = rng.integers(60, 240, 2), float(rng.choice([90, -90, 180, *rng.uniform(-180, 180, 5)]))
        turned = transforms.rotate(transforms.resize(sample, *sides.tolist()), degrees)
        x, y = rng.integers(-20, 40, 2).tolist()
        expected = transforms.crop(turned, x, y, 100, 100, minimum_visible=0.0)
        # The middle of the picture is in the middle of the canvas.
        view = View(100, sides[::-1] / (130, 90), degrees, np.zeros(2))
        middle = np.array(turned.image.shape[1::-1]) / 2 - (x, y)
        view = View(100, view.scale, degrees, middle - view.points(np.array([[65.0, 45.0]]))[0])
        found = seen(sample, view, minimum_visible=0.0)
        difference = np.abs(found.image.astype(int) - expected.image)
        # Their pixels are not the same before they are turned, so that they blend differently.
        assert difference.mean() < 3 and np.percentile(difference, 95) < 12
        assert len(found.polygons) == len(expected.polygons)
        for polygon, other in zip(found.polygons, expected.polygons, strict=True):
            assert area(polygon) == pytest.approx(area(other)) and len(polygon) == len(other)


def test_a_turned_window_lies_within_the_canvas_and_holds_its_object():
    rng = np.random.default_rng(1)
    for _ in range(60):
        word = random_quadrilateral(rng, 300, 400)
        sample = make_sample(textured(300, 400), word)
        view = random_view(
            sample, rng, size=160, degrees=rng.uniform(-45, 45), scale_range=(0.6, 1.2), aspect_range=(1, 1),
            around_object_probability=1.0,
        )  # fmt: skip
        canvas = view.points(np.array([[0.0, 0], [400, 0], [400, 300], [0, 300]]))
        assert (canvas.min(axis=0) <= 1e-9).all() and (canvas.max(axis=0) >= 160 - 1e-9).all()
        held = view.points(word)
        assert (held > -1e-9).all() and (held < 160 + 1e-9).all()
        np.testing.assert_allclose(view.back(held), word)


def test_a_window_in_the_corner_of_a_turned_canvas_shows_padding():
    sample = make_sample(textured(40, 400), [0, 0, 20, 0, 20, 20, 0, 20])
    view = View(50, np.ones(2), 45.0, np.array([60.0, 0.0]))
    found = seen(sample, view, colour=(1, 2, 3))
    assert (found.image == (1, 2, 3)).all() and found.polygons == ()


def test_what_a_turned_picture_does_not_show_is_cut_at_its_border():
    """Half of the word lies outside of the picture, to the left; turned by a quarter, below."""
    sample = make_sample(blank(40, 40), [-10, 10, 10, 10, 10, 20, -10, 20])
    for found in (transforms.rotate(sample, 90), seen(sample, View(60, np.ones(2), 90.0, np.array([0.0, 40.0])))):
        np.testing.assert_allclose(found.boxes, [[10, 30, 20, 40]])


# of pictures that are not decoded yet


def jpeg_sample(image: np.ndarray, tmp_path, *polygons) -> tuple[UndecodedSample, UndecodedSample]:
    """The same picture twice: a JPEG as it is, and what a decoder makes of it, without loss."""
    Image.fromarray(image).save(tmp_path / "x.jpg", quality=95)
    Image.open(tmp_path / "x.jpg").save(tmp_path / "x.png")
    sample = make_sample(black(*image.shape[:2]), *polygons)
    return tuple(UndecodedSample(sample, EncodedPicture(tmp_path / f"x.{kind}")) for kind in ("jpg", "png"))


@pytest.mark.parametrize("degrees", [0.0, 8.0])
@pytest.mark.parametrize("sides", [(60, 240), (450, 700)])
def test_an_undecoded_picture_gives_the_same_crop(tmp_path, sides, degrees):
    """Of 517 x 389 pixels, no multiple of 8; at a quarter of that, the decoder leaves out three pixels in four."""
    rng = np.random.default_rng(0)
    word = random_quadrilateral(rng, 389, 517)
    encoded, lossless = jpeg_sample(scene(389, 517), tmp_path, word)
    for seed in range(6):
        drawn = {"size": 60, "independent_sides": sides, "crop_around": "all_objects", "degrees": degrees}
        view = random_view(encoded.annotated, np.random.default_rng(seed), **drawn)
        found, same, whole = (seen(sample, view) for sample in (encoded, lossless, lossless.decoded()))
        assert np.abs(same.image.astype(int) - whole.image).max() <= 1  # a whole array is cut before it is scaled
        assert np.abs(found.image.astype(int) - whole.image).mean() < 2 and whole.image.std() > 15
        for sample in (found, same):
            assert [polygon.tolist() for polygon in sample.polygons] == [other.tolist() for other in whole.polygons]


def test_of_a_large_picture_at_a_small_scale_little_is_decoded(tmp_path, monkeypatch):
    encoded, _ = jpeg_sample(textured(300, 400), tmp_path)
    reductions, decoded = [], EncodedPicture.decoded

    def watched(picture, reduction):
        reductions.append(reduction)
        return decoded(picture, reduction)

    monkeypatch.setattr(EncodedPicture, "decoded", watched)
    for scale in (1.0, 0.5, 0.3, 0.2, 0.1):
        seen(encoded, View(30, np.full(2, scale), 0.0, np.zeros(2)))
    assert reductions == [1, 2, 2, 4, 8]
