"""Surfaces: bends and tilts by hand, inverses, and that drawn ink lies where its annotation says."""

import math

import numpy as np
import pytest
from PIL import Image

from maskrcnn.data.polygons import rasterize
from maskrcnn.data.rendered_surface import Arc, Surface, Wave, tilted_plane
from maskrcnn.data.text_polygons import long_sides

BENDS = [None, Arc(90.0), Arc(-90.0), Arc(300.0), Wave(12.0, 150.0, 0.5)]


def surface(bend: Arc | Wave | None) -> Surface:
    """A tilted and turned sheet of 160 x 40 pixels, in the middle of a picture of 200 x 160."""
    plane = tilted_plane(yaw=0.5, pitch=-0.3, distance=250.0, stretch=0.9)
    return Surface((80.0, 20.0), bend, plane).moved(scale=0.9, turn=0.2, x=100.0, y=80.0)


def test_an_arc_by_hand():
    up = Arc(10.0)
    quarter = 10 * math.pi / 2
    # The middle stays; a quarter of the circle to the right is 10 right and 10 down; a point 2 above it is further out.
    points = np.array([[0.0, 0.0], [0.0, -2.0], [quarter, 0.0], [quarter, -2.0], [-quarter, 0.0]])
    expected = np.array([[0.0, 0.0], [0.0, -2.0], [10.0, 10.0], [12.0, 10.0], [-10.0, 10.0]])
    np.testing.assert_allclose(up.bend(points), expected, atol=1e-12)
    # Hanging down, it is the same upside down.
    np.testing.assert_allclose(Arc(-10.0).bend(points * (1, -1)), expected * (1, -1), atol=1e-12)


def test_a_wave_by_hand():
    wave = Wave(amplitude=3.0, wavelength=8.0, phase=0.0)
    points = np.array([[0.0, 1.0], [2.0, 1.0], [4.0, 1.0], [6.0, 1.0]])
    np.testing.assert_allclose(wave.bend(points), [[0, 1], [2, 4], [4, 1], [6, -2]], atol=1e-12)


@pytest.mark.parametrize("bend", BENDS[1:])
def test_unbending_undoes_bending(bend):
    points = np.random.default_rng(0).uniform((-80, -20), (80, 20), (50, 2))
    x, y = bend.unbend(*bend.bend(points).T)
    np.testing.assert_allclose(np.stack([x, y], axis=1), points, atol=1e-9)


def test_a_plane_that_is_not_tilted_is_only_stretched():
    np.testing.assert_allclose(tilted_plane(0.0, 0.0, 100.0, 0.8), np.diag([0.8, 1.0, 1.0]))


def test_a_turned_plane_by_hand():
    """Turned 30 degrees about the vertical, points 10 to each side come to 10 cos 30, and 5 nearer or farther."""
    flat = Surface((0.0, 0.0), None, tilted_plane(math.radians(30), 0.0, 100.0, 1.0))
    right, left = flat.project(np.array([[10.0, 4.0], [-10.0, 4.0]]))
    np.testing.assert_allclose(right, [10 * math.cos(math.radians(30)), 4.0, 1 - 5 / 100])
    np.testing.assert_allclose(left, [-10 * math.cos(math.radians(30)), 4.0, 1 + 5 / 100])
    np.testing.assert_allclose(flat.to_picture(np.array([10.0, 4.0])), right[:2] / right[2])


def test_moving_scales_turns_and_shifts_what_is_seen():
    start = surface(Arc(90.0))
    points = np.array([[0.0, 0.0], [160.0, 0.0], [30.0, 40.0]])
    x, y = start.to_picture(points).T
    moved = start.moved(scale=2.0, turn=math.pi / 2, x=5.0, y=-7.0).to_picture(points)
    np.testing.assert_allclose(moved, np.stack([-2 * y + 5, 2 * x - 7], axis=1))


@pytest.mark.parametrize("shrunk", [1, 2])
@pytest.mark.parametrize("bend", BENDS)
def test_ink_lies_where_the_annotation_says(bend, shrunk):
    """A box full of ink, photographed, against the polygon of that box filled by an independent rasteriser."""
    sheet = Image.new("L", (160, 40))
    sheet.paste(255, (20, 8, 140, 32))
    window = (4, 6, 190, 150)
    seen = np.asarray(surface(bend).photograph(sheet.reduce(shrunk), shrunk, window)) / 255
    polygon = surface(bend).to_picture(long_sides(np.array([[20.0, 8.0, 140.0, 32.0]]), 200))[0]
    expected = rasterize(polygon, window)
    assert expected.sum() > 1500
    # Pixels on the border are partly covered, so compare the amount of ink, and its place to a tenth of a pixel.
    assert seen.sum() == pytest.approx(expected.sum(), rel=0.01)
    assert np.abs((seen >= 0.5).astype(int) - expected).sum() < 0.02 * expected.sum()
    for axis in (0, 1):
        places = np.arange(seen.shape[axis])
        centre = [np.average(places, weights=ink.sum(axis=1 - axis)) for ink in (seen, expected)]
        assert centre[0] == pytest.approx(centre[1], abs=0.1)


@pytest.mark.parametrize("bend", BENDS)
def test_nothing_is_seen_beyond_the_sheet(bend):
    sheet = Image.new("L", (160, 40), 255)
    seen = np.asarray(surface(bend).photograph(sheet, 1, (0, 0, 200, 160)))
    border = surface(bend).to_picture(long_sides(np.array([[-2.0, -2.0, 162.0, 42.0]]), 200))[0]
    outside = rasterize(border, (0, 0, 200, 160)) == 0
    assert outside.sum() > 10000
    assert seen[outside].max() == 0
