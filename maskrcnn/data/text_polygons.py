"""Polygons of text, which have a reading direction: one long side runs along the top of the letters, one back below.

A polygon has P corners, P even: P / 2 along the top in reading direction, as many back along the bottom. Words have
4, curved lines 14 (as in CTW1500).
"""

from __future__ import annotations

from functools import cache

import numpy as np


def long_sides(boxes: np.ndarray, points: int) -> np.ndarray:
    """(N, P, 2): boxes (N, 4) as text polygons with P / 2 = `points` corners on each long side."""
    return boxes[:, None, :2] + _unit_sides(points) * (boxes[:, None, 2:] - boxes[:, None, :2])


@cache
def _unit_sides(points: int) -> np.ndarray:
    steps = np.linspace(0.0, 1.0, points)
    x = np.concatenate([steps, steps[::-1]])
    return np.stack([x, np.repeat([0.0, 1.0], points)], axis=1)


def text_height(polygons: np.ndarray) -> np.ndarray:
    """(N,) mean distance between facing corners of the two long sides of text polygons (N, P, 2)."""
    top, bottom = facing_sides(polygons)
    return np.linalg.norm(top - bottom, axis=-1).mean(axis=1)


def text_rotation(polygons: np.ndarray) -> np.ndarray:
    """(N,) degrees, clockwise from the x axis, to the chord of the middle lines of text polygons (N, P, 2)."""
    middle = np.add(*facing_sides(polygons)) / 2
    chord = middle[:, -1] - middle[:, 0]
    return np.degrees(np.arctan2(chord[:, 1], chord[:, 0]))


def text_bend(polygons: np.ndarray) -> np.ndarray:
    """(N,) greatest distance of the middle lines of text polygons (N, P, 2) from their chords, per chord length."""
    middle = np.add(*facing_sides(polygons)) / 2
    chord = middle[:, -1:] - middle[:, :1]
    away = middle - middle[:, :1]
    cross = chord[..., 0] * away[..., 1] - chord[..., 1] * away[..., 0]
    return np.abs(cross).max(axis=1) / (chord**2).sum(axis=-1)[:, 0]


def resampled_sides(polygon: np.ndarray, points: int) -> np.ndarray:
    """(2 * points, 2): a text polygon (P, 2) with `points` corners on each long side, equally far apart along it.

    The ends of both sides stay where they are, all corners lie on the old sides, and a polygon that has so many
    corners already is returned as it is.
    """
    if len(polygon) == 2 * points:
        return polygon
    sides = []
    for side in facing_sides(polygon[None].astype(np.float64)):
        along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(side[0], axis=0), axis=1))])
        wanted = np.linspace(0.0, along[-1], points)
        sides.append(np.stack([np.interp(wanted, along, axis) for axis in side[0].T], axis=1))
    return np.concatenate([sides[0], sides[1][::-1]])


def facing_sides(polygons: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Top and bottom of text polygons (N, P, 2), (N, P / 2, 2) each, both in reading direction."""
    half = polygons.shape[1] // 2
    return polygons[:, :half], polygons[:, half:][:, ::-1]
