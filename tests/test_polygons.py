"""Polygons on a pixel grid: worked by hand, against shapely and a loop, degenerate cases, errors."""

import math
import time

import numpy as np
import pytest
import shapely
from small_shapes import iou, rotated_rectangle

from maskrcnn.data.polygons import (
    area,
    bounds,
    clip,
    convex_quadrilateral,
    is_simple,
    minimum_area_rectangle,
    pixel_box,
    rasterize,
)


def polygon(*corners) -> np.ndarray:
    return np.array(corners, dtype=np.float64).reshape(-1, 2)


def random_star(rng: np.random.Generator, corners: int, scale: float = 20.0) -> np.ndarray:
    """A simple polygon, usually bent inwards: random distances from a centre at rising angles."""
    angles = np.sort(rng.uniform(0, 2 * np.pi, corners - 3))
    angles = np.sort(np.concatenate([angles, [0.1, 2.2, 4.3]]))
    distances = rng.uniform(0.2, 1.0, corners) * scale
    centre = rng.uniform(-5, 35, 2)
    return centre + distances[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def inside_by_loop(corners: np.ndarray, x: float, y: float) -> bool:
    """Even-odd rule, one ray to the left, one edge at a time."""
    inside = False
    for i in range(len(corners)):
        (xa, ya), (xb, yb) = corners[i], corners[(i + 1) % len(corners)]
        if (ya <= y) != (yb <= y) and xa + (y - ya) * (xb - xa) / (yb - ya) <= x:
            inside = not inside
    return inside


# area, bounds, is_simple


def test_area_is_positive_for_corners_clockwise_on_the_screen():
    square = polygon(0, 0, 2, 0, 2, 2, 0, 2)  # right, down, left: clockwise, since y points down
    assert area(square) == 4.0
    assert area(square[::-1]) == -4.0
    assert area(polygon(0, 0, 4, 0, 0, 3)) == 6.0


def test_area_of_a_figure_of_eight_cancels():
    assert area(polygon(0, 0, 2, 2, 2, 0, 0, 2)) == 0.0


def test_area_keeps_its_digits_far_from_the_origin():
    square = polygon(0, 0, 0.25, 0, 0.25, 0.25, 0, 0.25)
    assert area(square + 2.0**27) == 0.0625


def test_area_agrees_with_shapely():
    rng = np.random.default_rng(0)
    for _ in range(50):
        star = random_star(rng, 9)
        assert abs(area(star)) == pytest.approx(shapely.Polygon(star).area, rel=1e-12)


def test_bounds():
    np.testing.assert_array_equal(bounds(polygon(3, 1, 7.5, 2, 4, -6)), [3.0, -6.0, 7.5, 2.0])


@pytest.mark.parametrize(
    ("corners", "simple"),
    [
        ((0, 0, 4, 0, 4, 4, 0, 4), True),
        ((0, 4, 4, 4, 4, 0, 0, 0), True),  # counter-clockwise
        ((0, 0, 4, 0, 1, 1, 0, 4), True),  # bent inwards
        ((0, 0, 4, 0, 4, 0, 0, 4), True),  # a corner given twice
        ((0, 0, 4, 4, 4, 0, 0, 4), False),  # figure of eight with area 0
        ((0, 0, 6, 6, 6, 0, 0, 2), False),  # figure of eight with area
        ((0, 0, 1, 0, 2, 0, 3, 0), False),  # a line
        ((1, 1, 1, 1, 1, 1, 1, 1), False),  # a point
        ((0, 0, 8, 0, 4, 0, 4, 4), False),  # a spike: an edge runs back on another
        ((0, 0, 4, 0, 2, 0, 4, 4), False),  # a corner on another edge
    ],
)
def test_is_simple(corners, simple):
    assert is_simple(polygon(*corners)) is simple


# clip


def test_clip_returns_what_lies_inside_as_it_is():
    square = polygon(1, 1, 3, 1, 3, 3, 1, 3)
    assert clip(square, 1, 1, 3, 3) is square


def test_clip_keeps_order_and_winding():
    square = polygon(0, 0, 4, 0, 4, 4, 0, 4)
    np.testing.assert_array_equal(clip(square, 1, -1, 9, 9), polygon(1, 0, 4, 0, 4, 4, 1, 4))
    np.testing.assert_array_equal(clip(square[::-1], -1, -1, 9, 3), polygon(4, 3, 4, 0, 0, 0, 0, 3))


def test_clip_cuts_a_diamond_to_an_octagon():
    diamond = polygon(2, -1, 5, 2, 2, 5, -1, 2)
    cut = clip(diamond, 0, 0, 4, 4)
    np.testing.assert_array_equal(
        cut, polygon(1, 0, 3, 0, 4, 1, 4, 3, 3, 4, 1, 4, 0, 3, 0, 1)[[1, 2, 3, 4, 5, 6, 7, 0]]
    )
    assert area(cut) == 16 - 4 * 0.5


def test_clip_to_a_window_inside_the_polygon_is_the_window():
    cut = clip(polygon(-9, -9, 30, -9, 30, 30, -9, 30), 1, 2, 5, 7)
    assert area(cut) == 20.0
    np.testing.assert_array_equal(bounds(cut), [1, 2, 5, 7])


@pytest.mark.parametrize("window", [(4, 0, 9, 9), (0, 4, 9, 9), (-5, 0, 0, 9), (20, 20, 30, 30)])
def test_clip_leaves_nothing_of_a_polygon_outside_or_merely_touching(window):
    assert clip(polygon(0, 0, 4, 0, 4, 4, 0, 4), *window).shape == (0, 2)


def test_clip_leaves_nothing_when_only_bounds_overlap():
    assert clip(polygon(0, 0, 10, 10, 0, 10), 6, 0, 10, 4).shape == (0, 2)


def test_clip_keeps_all_parts_of_a_bent_polygon():
    letter_u = polygon(0, 0, 2, 0, 2, 6, 4, 6, 4, 0, 6, 0, 6, 8, 0, 8)
    cut = clip(letter_u, 0, 0, 6, 4)  # two separate stems
    assert area(cut) == 16.0
    expected = np.zeros((4, 6), dtype=np.uint8)
    expected[:, :2] = expected[:, 4:] = 1
    np.testing.assert_array_equal(rasterize(cut, (0, 0, 6, 4)), expected)


def test_clip_leaves_no_spike_where_a_part_was():
    # The border x = 4 parts both stems of a lying U from its bottom; y = 5 then takes the lower stem away.
    lying_u = polygon(0, 0, 8, 0, 8, 8, 0, 8, 0, 6, 6, 6, 6, 2, 0, 2)
    np.testing.assert_array_equal(clip(lying_u, -1, -1, 4, 5), polygon(0, 0, 4, 0, 4, 2, 0, 2))


def test_clip_agrees_with_shapely():
    rng = np.random.default_rng(1)
    for _ in range(500):
        star = random_star(rng, int(rng.integers(4, 15)))
        window = np.sort(rng.uniform(-20, 50, (2, 2)), axis=0)
        cut = clip(star, *window.ravel())
        expected = shapely.Polygon(star).intersection(shapely.box(*window.ravel()))
        assert (abs(area(cut)) if len(cut) else 0.0) == pytest.approx(expected.area, abs=1e-9)
        if len(cut) and expected.area > 1e-6:
            assert np.sign(area(cut)) == np.sign(area(star))
            np.testing.assert_allclose(bounds(cut), expected.bounds, atol=1e-9)


def test_what_is_clipped_lies_inside_to_the_last_bit():
    rng = np.random.default_rng(2)
    for _ in range(200):
        x1, y1, x2, y2 = np.sort(rng.uniform(0, 30, (2, 2)), axis=0).ravel()
        cut = clip(random_star(rng, 8), x1, y1, x2, y2)
        assert ((cut >= (x1, y1)) & (cut <= (x2, y2))).all()


# rasterize


def test_rasterize_an_integer_rectangle_exactly():
    expected = np.zeros((6, 7), dtype=np.uint8)
    expected[1:3, 1:4] = 1
    bitmap = rasterize(polygon(1, 1, 4, 1, 4, 3, 1, 3), (0, 0, 7, 6))
    assert bitmap.dtype == np.uint8
    np.testing.assert_array_equal(bitmap, expected)


def test_rasterize_a_rectangle_through_pixel_centres_takes_left_and_top():
    bitmap = rasterize(polygon(1.5, 1.5, 4.5, 1.5, 4.5, 3.5, 1.5, 3.5), (0, 0, 6, 6))
    rows, columns = np.nonzero(bitmap)
    assert set(rows) == {1, 2}
    assert set(columns) == {1, 2, 3}
    assert bitmap.sum() == 6


def test_rasterize_a_triangle_by_hand():
    bitmap = rasterize(polygon(0, 0, 4, 0, 0, 4), (0, 0, 4, 4))  # centres on the slanted edge are on its left: out
    np.testing.assert_array_equal(bitmap, [[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]])


def test_rasterize_follows_the_even_odd_rule():
    angles = np.pi * (0.5 + 0.8 * np.arange(5))
    pentagram = 50 + 45 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    bitmap = rasterize(pentagram, (0, 0, 100, 100))
    assert bitmap[50, 50] == 0  # enclosed twice
    assert bitmap[85, 50] == 1  # in a tip


def test_rasterize_agrees_with_the_loop():
    rng = np.random.default_rng(3)
    for trial in range(24):
        corners = random_star(rng, int(rng.integers(4, 12)), scale=12)
        if trial % 3 == 0:
            corners = np.rint(corners * 2) / 2  # corners and edges on pixel centres and borders
        if trial % 4 == 0:
            corners = rng.permutation(corners)  # crossing itself
        x1, y1, x2, y2 = box = (-4, -7, 26, 19)
        expected = [[inside_by_loop(corners, x + 0.5, y + 0.5) for x in range(x1, x2)] for y in range(y1, y2)]
        np.testing.assert_array_equal(rasterize(corners, box), np.array(expected, dtype=np.uint8))


def test_rasterize_agrees_with_shapely():
    rng = np.random.default_rng(4)
    x, y = np.meshgrid(np.arange(40) + 0.5, np.arange(30) + 0.5)
    for _ in range(50):
        star = random_star(rng, 14)
        np.testing.assert_array_equal(rasterize(star, (0, 0, 40, 30)), shapely.contains_xy(shapely.Polygon(star), x, y))


def test_neighbours_share_no_pixel_and_leave_no_gap():
    rng = np.random.default_rng(5)
    corners = polygon(0, 0, 30, 0, 30, 20, 0, 20)
    for _ in range(50):
        middle = np.rint(rng.uniform((1, 1), (29, 19)) * 2) / 2
        parts = [np.stack([corners[i], corners[(i + 1) % 4], middle]) for i in range(4)]
        total = sum(rasterize(part, (0, 0, 30, 20)).astype(int) for part in parts)
        assert (total == 1).all()


def test_rasterize_does_not_depend_on_winding_or_first_corner():
    star = random_star(np.random.default_rng(6), 11)
    bitmap = rasterize(star, (0, 0, 40, 40))
    assert bitmap.sum() > 0
    np.testing.assert_array_equal(rasterize(star[::-1], (0, 0, 40, 40)), bitmap)
    np.testing.assert_array_equal(rasterize(np.roll(star, 3, axis=0), (0, 0, 40, 40)), bitmap)


def test_rasterize_a_box_is_a_part_of_the_whole():
    star = random_star(np.random.default_rng(7), 11)
    whole = rasterize(star, (-30, -30, 70, 70))
    assert whole.sum() > 0
    np.testing.assert_array_equal(rasterize(star, (3, 8, 21, 19)), whole[38:49, 33:51])


def test_rasterize_degenerate_input():
    square = polygon(0, 0, 4, 0, 4, 4, 0, 4)
    assert rasterize(square, (2, 2, 2, 9)).shape == (7, 0)
    assert rasterize(square, (2, 2, 9, 2)).shape == (0, 7)
    assert rasterize(square, (5, 5, 9, 9)).sum() == 0
    assert rasterize(polygon(1, 1, 3, 3, 1, 1), (0, 0, 4, 4)).sum() == 0
    assert rasterize(square * 1e6 - 1e6, (0, 0, 3, 3)).sum() == 9  # far larger than the box
    with pytest.raises(ValueError, match="found box"):
        rasterize(square, (3, 0, 2, 4))
    with pytest.raises(ValueError, match="not finite"):
        rasterize(polygon(0, 0, np.nan, 0, 4, 4), (0, 0, 4, 4))


def test_rasterize_is_fast_enough_for_every_word_of_every_picture():
    word = polygon(3.2, 1.1, 103, 5, 101, 34, 1, 30)
    seconds = []
    for _ in range(50):
        start = time.perf_counter()
        rasterize(word, (0, 0, 105, 36))
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.5e-3  # usually 0.1 ms


def test_pixel_box_covers_every_touched_pixel_of_the_picture():
    assert pixel_box(polygon(1.2, 2.7, 4, 3, 3.1, 6.01), 50, 50) == (1, 2, 4, 7)
    assert pixel_box(polygon(-3, -3, 60, 2, 5, 90), 50, 40) == (0, 0, 40, 50)
    x1, y1, x2, y2 = pixel_box(polygon(60, 60, 70, 60, 65, 70), 50, 50)
    assert (x2 - x1) * (y2 - y1) == 0


# minimum_area_rectangle


def test_a_square_on_its_tip_starts_with_its_upper_corner():
    tips = np.array([[5.0, 0], [10, 5], [5, 10], [0, 5]])
    found = minimum_area_rectangle(np.concatenate([tips, [[5, 5], [4, 6]]])[::-1])
    assert found == pytest.approx(tips, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_the_rectangle_is_least_among_all_directions(seed):
    points = np.random.default_rng(seed).normal(size=(30, 2)) * (5, 2)
    found = minimum_area_rectangle(points)
    # It contains every point ...
    along, across = found[1] - found[0], found[3] - found[0]
    assert abs(along @ across) < 1e-9
    for side in (along, across):
        where = (points - found[0]) @ side / (side @ side)
        assert where.min() > -1e-9 and where.max() < 1 + 1e-9
    # ... and no rectangle of any of 1000 directions is smaller.
    for angle in np.linspace(0, np.pi / 2, 1000):
        u = points @ (math.cos(angle), math.sin(angle))
        v = points @ (-math.sin(angle), math.cos(angle))
        assert np.ptp(u) * np.ptp(v) >= area(found) - 1e-9


def test_rectangles_run_clockwise_from_the_top_left():
    for angle in np.linspace(-np.pi, np.pi, 33):
        corners = rotated_rectangle((50, 40), 30, 8, angle)
        found = minimum_area_rectangle(np.random.default_rng(0).permutation(corners))
        assert area(found) == pytest.approx(240)
        assert iou(found, corners) == pytest.approx(1)
        assert found[0].sum() <= found.sum(axis=1).min() + 1e-6


def test_rectangles_of_points_without_area():
    assert minimum_area_rectangle(np.array([[3.0, 4]])).tolist() == [[3, 4]] * 4
    assert minimum_area_rectangle(np.array([[3.0, 4]] * 3)).tolist() == [[3, 4]] * 4
    assert minimum_area_rectangle(np.array([[7.0, 4], [3, 4], [5, 4]])).tolist() == [[3, 4], [7, 4], [7, 4], [3, 4]]


# convex_quadrilateral


def test_a_convex_quadrilateral_is_itself_whichever_way_it_runs():
    word = polygon(2, 3, 9, 1, 10, 4, 3, 6)
    assert convex_quadrilateral(word) is word
    backwards = word[::-1]
    assert convex_quadrilateral(backwards) is backwards


@pytest.mark.parametrize(
    "corners",
    [
        (0, 0, 8, 0, 8, 4, 4, 1),  # bent inwards
        (0, 0, 8, 4, 8, 0, 0, 4),  # crossing itself
        (0, 0, 4, 0, 8, 0, 8, 4),  # a triangle: one corner lies on a side
        (0, 0, 8, 0, 8, 4, 8, 4),  # a triangle: two corners are one
        (0, 0, 8, 0, 8, 4),
        (0, 0, 8, 0, 8, 3, 7, 4, 0, 4),
    ],
)
def test_of_anything_else_it_is_the_least_rectangle(corners):
    shape = polygon(*corners)
    found = convex_quadrilateral(shape)
    np.testing.assert_array_equal(found, minimum_area_rectangle(shape))
    assert area(found) <= 32 + 1e-9


def test_a_line_has_a_quadrilateral_without_area():
    assert area(convex_quadrilateral(polygon(0, 0, 4, 4, 8, 8, 2, 2))) == pytest.approx(0, abs=1e-12)
