"""Measures of text polygons, each worked by hand."""

import numpy as np

from maskrcnn.data.text_polygons import long_sides, text_bend, text_height, text_rotation

UPRIGHT = [[10.0, 10.0], [50.0, 10.0], [50.0, 30.0], [10.0, 30.0]]
SLANTED = [[0.0, 0.0], [30.0, 30.0], [26.0, 36.0], [-4.0, 6.0]]
"""At 45 degrees; its short sides are (-4, 6)."""
TAPERED = [[0.0, 0.0], [40.0, 5.0], [40.0, 15.0], [0.0, 20.0]]


def test_long_sides_run_along_the_top_and_back_along_the_bottom():
    boxes = np.array([[10.0, 10.0, 50.0, 30.0], [0.0, 0.0, 6.0, 1.0]])
    np.testing.assert_array_equal(long_sides(boxes, 2)[0], UPRIGHT)
    np.testing.assert_array_equal(
        long_sides(boxes, 4)[1], [[0, 0], [2, 0], [4, 0], [6, 0], [6, 1], [4, 1], [2, 1], [0, 1]]
    )


def test_heights():
    heights = text_height(np.array([UPRIGHT, SLANTED, TAPERED]))
    np.testing.assert_allclose(heights, [20, np.hypot(4, 6), 15])


def test_rotations():
    upside_down = UPRIGHT[2:] + UPRIGHT[:2]
    rotations = text_rotation(np.array([UPRIGHT, SLANTED, TAPERED, upside_down]))
    np.testing.assert_allclose(rotations, [0, 45, 0, 180])


def test_a_half_circle_bends_by_half_its_chord():
    angles = np.linspace(np.pi, 2 * np.pi, 7)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    polygon = np.concatenate([11 * circle, 9 * circle[::-1]])[None]
    np.testing.assert_allclose(text_bend(polygon), [0.5])
    np.testing.assert_allclose(text_height(polygon), [2])
    np.testing.assert_allclose(text_rotation(polygon), [0], atol=1e-12)


def test_straight_text_does_not_bend():
    np.testing.assert_allclose(text_bend(np.array([UPRIGHT, SLANTED, TAPERED])), 0, atol=1e-12)
