"""Figures of joints and limbs on a picture: keypoints as people read them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from maskrcnn.person import side_of
from maskrcnn.visualize.canvas import SKY_BLUE, VERMILLION, YELLOW, Canvas, Stroke

CONFIDENT_SCORE = 2.0
"""A keypoint with a lower score, a logit, is drawn faintly (the threshold of Detectron's pictures)."""

_COLOURS = {"left": SKY_BLUE, "right": VERMILLION, "middle": YELLOW}
_CORNERS = {"left": 16, "right": 4, "middle": 3}
"""A left joint is a disc, a right one a square, one in the middle a triangle: colour never speaks alone."""
_FAINT = 0.35


def draw_keypoints(
    image: np.ndarray,
    keypoints: np.ndarray,
    names: Sequence[str],
    skeleton: Sequence[tuple[str, str]],
    score_threshold: float | None = None,
) -> Image.Image:
    """The picture with the figure of each object, and a legend where names tell left from right.

    image (H, W, 3) uint8; the others as in `draw_figures`, which raises ValueError.
    """
    canvas = Canvas(image)
    draw_figures(canvas, keypoints, names, skeleton, score_threshold)
    present = {side_of(name) for name in names}
    entries = [(Stroke(_COLOURS[side]), side) for side in ("left", "right") if side in present]
    return canvas.with_legend(entries) if entries else canvas.picture


def draw_figures(
    canvas: Canvas,
    keypoints: np.ndarray,
    names: Sequence[str],
    skeleton: Sequence[tuple[str, str]],
    score_threshold: float | None = None,
) -> None:
    """Draws limbs and joints of each of N objects on a canvas; large figures first, so that none hides a small one.

    keypoints (N, J, 3) in pixels: x, y and, with `score_threshold`, a score: below it a point is faint. Without, the
    third number is the visibility of ground truth: 0 is not drawn, 1, hidden, is faint. names: of the J points;
    skeleton: pairs of names. A limb is as faint as the fainter of its ends. Raises ValueError for other shapes.
    """
    keypoints = np.asarray(keypoints, dtype=np.float64)
    if keypoints.ndim != 3 or keypoints.shape[1:] != (len(names), 3):
        raise ValueError(f"keypoints must be (N, {len(names)}, 3) for {len(names)} names, found {keypoints.shape}")
    if score_threshold is None:
        opacity = np.select([keypoints[..., 2] >= 2, keypoints[..., 2] >= 1], [1.0, _FAINT], 0.0)
    else:
        opacity = np.where(keypoints[..., 2] >= score_threshold, 1.0, _FAINT)
    number = {name: index for index, name in enumerate(names)}
    limbs = [(number[start], number[end], _side_of_limb(start, end)) for start, end in skeleton]
    extents = [_extent(points[drawn, :2]) for points, drawn in zip(keypoints, opacity > 0, strict=True)]
    for figure in np.argsort(extents)[::-1]:
        extent, points, levels = extents[figure], keypoints[figure, :, :2], opacity[figure]
        # In units of the canvas's line; a figure of twenty pixels would vanish under lines made for a large one.
        width = min(1.0, max(0.6, extent * canvas.factor / (60 * canvas.line)))
        for start, end, side in limbs:
            level = min(levels[start], levels[end])
            if level > 0:
                canvas.path(points[[start, end]], Stroke(_COLOURS[side], width=width), level)
        radius = 1.3 * width * canvas.line / canvas.factor
        for name, point, level in zip(names, points, levels, strict=True):
            if level > 0:
                side = side_of(name)
                canvas.fill(_marker(point, 1.4 * radius, _CORNERS[side]), "black", 0.6 * level)
                canvas.fill(_marker(point, radius, _CORNERS[side]), _COLOURS[side], level)


def _side_of_limb(start: str, end: str) -> str:
    """The side of a limb with both ends on one side, or one there and one in the middle; else the middle."""
    sides = {side_of(start), side_of(end)} - {"middle"}
    return sides.pop() if len(sides) == 1 else "middle"


def _extent(points: np.ndarray) -> float:
    """The longer side of the box around points (N, 2), in pixels; 0 without any."""
    return float(np.ptp(points, axis=0).max()) if len(points) else 0.0


def _marker(centre: np.ndarray, radius: float, corners: int) -> np.ndarray:
    """(corners, 2): a regular polygon that stands on its lower side and is as large as a circle of the radius."""
    angles = np.pi / 2 + np.pi / corners * (1 + 2 * np.arange(corners))
    area_of_unit = corners / 2 * np.sin(2 * np.pi / corners)
    return centre + radius * np.sqrt(np.pi / area_of_unit) * np.stack([np.cos(angles), np.sin(angles)], axis=1)
