"""Outlines of bitmaps: by hand, and random bitmaps that must come back to the pixel, however they are drawn."""

import numpy as np
import pytest
import shapely

from maskrcnn.data.bitmap_outlines import bitmap_outlines
from maskrcnn.data.polygons import area, clip, rasterize, rasterize_parts
from maskrcnn.data.transforms import resize, rotate
from maskrcnn.ops import run_length
from maskrcnn.structures import Sample


def bitmap(*rows: str) -> np.ndarray:
    return np.array([[character == "#" for character in row] for row in rows])


RING = bitmap("#####", "#...#", "#.#.#", "#...#", "#####")


# by hand


def test_one_pixel():
    (outline,) = bitmap_outlines(bitmap("...", "..#"))
    assert outline.tolist() == [[2, 1], [3, 1], [3, 2], [2, 2]]


def test_corners_only_where_the_outline_turns():
    (outline,) = bitmap_outlines(bitmap("##.", "###"))
    assert outline.tolist() == [[0, 0], [2, 0], [2, 1], [3, 1], [3, 2], [0, 2]]


def test_pixels_that_touch_at_a_corner_are_two_objects():
    outlines = bitmap_outlines(bitmap("#.", ".#"))
    assert [outline.tolist() for outline in outlines] == [
        [[0, 0], [1, 0], [1, 1], [0, 1]],
        [[1, 1], [2, 1], [2, 2], [1, 2]],
    ]
    assert len(bitmap_outlines(bitmap(".#", "#."))) == 2


def test_a_hole_hangs_on_a_bridge_without_width():
    (outline,) = bitmap_outlines(bitmap("###", "#.#", "###"))
    # Along the upper edge to 1, 0; down to the hole; round it, counter-clockwise; back up, and on.
    assert outline.tolist() == [
        [0, 0], [1, 0], [1, 1], [1, 2], [2, 2], [2, 1], [1, 1], [1, 0], [3, 0], [3, 3], [0, 3]
    ]  # fmt: skip
    assert area(outline) == 8


def test_what_lies_in_a_hole_is_another_object():
    outer, inner = bitmap_outlines(RING)
    assert area(outer) == 16 and area(inner) == 1
    assert inner.tolist() == [[2, 2], [3, 2], [3, 3], [2, 3]]


def test_two_holes_below_each_other():
    (outline,) = bitmap_outlines(bitmap("###", "#.#", "###", "#.#", "###"))
    assert area(outline) == 13
    # The lower hole hangs on the upper one: no bridge leads through what is empty.
    np.testing.assert_array_equal(rasterize(outline, (0, 0, 3, 5)), bitmap("###", "#.#", "###", "#.#", "###"))
    assert np.hypot(*(outline - np.roll(outline, 1, axis=0)).T).sum() == 16 + 4 + 4 + 2 + 2


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 3)])
def test_nothing_has_no_outline(shape):
    assert bitmap_outlines(np.zeros(shape, bool)) == []


# random: the bitmap comes back, by every rule, also after being moved as polygons are


def random_bitmaps(seed: int, count: int):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        height, width = (int(side) for side in rng.integers(1, 16, 2))
        yield rng.random((height, width)) < rng.choice([0.1, 0.5, 0.9, 1.0])


def test_random_bitmaps_come_back():
    for expected in random_bitmaps(0, 200):
        outlines, (height, width) = bitmap_outlines(expected), expected.shape
        drawn = np.zeros_like(expected, dtype=np.uint8)
        if outlines:
            drawn = rasterize_parts(outlines, (0, 0, width, height))
        np.testing.assert_array_equal(drawn, expected)
        by_coco = run_length.rasterize_polygons(outlines, height, width)
        np.testing.assert_array_equal(by_coco.any(axis=0) if outlines else drawn, expected)
        assert sum(area(outline) for outline in outlines) == expected.sum()


def test_one_outline_for_each_group_of_pixels():
    for expected in random_bitmaps(1, 60):
        squares = [shapely.box(x, y, x + 1, y + 1) for y, x in np.argwhere(expected)]
        union = shapely.union_all(squares)
        # A union of squares that touch at corners only is several polygons: pixels hang together by their sides.
        groups = [part for part in shapely.get_parts(union) if part.area]
        outlines = bitmap_outlines(expected)
        assert sorted(area(outline) for outline in outlines) == sorted(group.area for group in groups)


def test_a_part_of_a_picture_has_a_part_of_the_bitmap():
    for expected in random_bitmaps(2, 100):
        height, width = expected.shape
        window = (width // 3, height // 3, width, height)
        pieces = [clip(outline, *window) for outline in bitmap_outlines(expected)]
        pieces = [piece for piece in pieces if len(piece)]
        inside = expected[window[1] :, window[0] :]
        drawn = rasterize_parts(pieces, window) if pieces else np.zeros_like(inside)
        np.testing.assert_array_equal(drawn, inside)


@pytest.mark.parametrize("change", [lambda sample: resize(sample, 60, 75), lambda sample: rotate(sample, 33)])
def test_moved_outlines_agree_with_the_moved_picture(change):
    """The ring as a picture and as an object: they stay the same thing. Bridges never show."""
    large = np.kron(RING, np.ones((8, 8), bool))
    image = np.repeat(np.where(large, 250, 0).astype(np.uint8)[:, :, None], 3, axis=2)
    outlines = tuple(bitmap_outlines(large))
    sample = Sample("ring", image, outlines, np.array([1]), np.array([False]), part_of=np.array([0, 0]))
    changed = change(sample)
    height, width = changed.image.shape[:2]
    drawn = rasterize_parts(changed.polygons, (0, 0, width, height)).astype(bool)
    bright = changed.image[:, :, 0] > 125
    assert (drawn & bright).sum() / (drawn | bright).sum() > 0.97
