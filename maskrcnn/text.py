"""From masks to the shapes that text benchmarks score: quadrilaterals and polygons.

A mask head gives each detection m x m probabilities over its box. They are values at the centres of a grid of cells,
so their contour at 1/2, interpolated between the centres, is the outline of the text with sub-pixel accuracy: no mask
of the size of the picture is needed (`text_shapes`). The functions for full-size masks do the same to a bitmap, and
know MMOCR's way too: pixel indices instead of pixel corners, the last contour instead of the largest.

All shapes run clockwise on the screen, in continuous pixels (pixel i covers [i, i + 1)), and start at the corner
nearest the top left, the one with the smallest x + y.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import shapely
from contourpy import LineType, contour_generator

from maskrcnn.data.polygons import area
from maskrcnn.evaluation.text_scores import polygon_geometries, polygon_iou
from maskrcnn.structures import Detections

SIMPLIFICATION = 0.05
"""How far a simplified outline may leave the contour, as a share of the height of the text."""

Representation = Literal["quadrilateral", "polygon"]
Extent = Literal["corners", "indices"]


class TextShape(NamedTuple):
    """One text that was found."""

    polygon: np.ndarray
    """(P, 2) float64, in pixels of the picture."""
    score: float


class TextShapes(NamedTuple):
    """The texts that were found in one picture."""

    shapes: tuple[TextShape, ...]
    """Best first."""
    empty: int
    """Detections left out because nothing of their mask reaches the threshold, or their box has no area."""


def text_shapes(
    detections: Detections,
    image_index: int,
    picture_size: tuple[int, int],
    representation: Representation = "quadrilateral",
    mask_threshold: float = 0.5,
    score_threshold: float = 0.0,
    label: int = 1,
) -> TextShapes:
    """The texts of one image of the batch: detections of class `label` with score >= `score_threshold`, best first.

    "quadrilateral" is the minimum-area rectangle of the outline, its corners moved to the nearest points of the
    picture, `picture_size` = (H, W); "polygon" the outline itself, simplified to the corners that matter. Of a mask
    in several pieces only the largest counts: a stray cell at the edge of a box would otherwise turn the rectangle.
    Detections without masks have their box for an outline. Raises ValueError for another representation.
    """
    if representation not in ("quadrilateral", "polygon"):
        raise ValueError(f'representation must be "quadrilateral" or "polygon", found {representation!r}')
    chosen = detections.valid[image_index] & (detections.labels[image_index] == label)
    # In float64, like every other comparison with a threshold: in float32 a score of 0.69999999 reaches 0.7.
    chosen &= detections.scores[image_index].double() >= score_threshold
    scores, boxes = (
        values[image_index][chosen].double().cpu().numpy() for values in (detections.scores, detections.boxes)
    )
    if detections.masks is None:
        outlines = [[corners] for corners in boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)]
    else:
        outlines = mask_outlines(detections.masks[image_index][chosen].double().cpu().numpy(), boxes, mask_threshold)
    shapes = []
    height, width = picture_size
    for index in np.argsort(-scores, kind="stable"):
        outline = max(outlines[index], key=area, default=None)
        if outline is None:
            continue
        if representation == "quadrilateral":
            polygon = _from_top_left(np.clip(minimum_area_rectangle(outline), 0, (width, height)))
        else:
            polygon = simplify(np.clip(outline, 0, (width, height)))
        if polygon is not None and area(polygon) > 0:
            shapes.append(TextShape(polygon, float(scores[index])))
    return TextShapes(tuple(shapes), len(scores) - len(shapes))


def mask_outlines(masks: np.ndarray, boxes: np.ndarray, threshold: float = 0.5) -> list[list[np.ndarray]]:
    """The outlines (P, 2) of what reaches `threshold` in each of D masks (D, m, m), probabilities over boxes (D, 4).

    Values between the centres of the cells are interpolated, and outside of the box everything is 0, as when the
    mask is pasted into the picture. Only outer outlines: holes are filled. None where nothing reaches the threshold.
    """
    # "Reaches" includes equality; contour lines run below what lies above them.
    contours = _contours(masks, np.nextafter(threshold, 0))
    scales = (boxes[:, 2:] - boxes[:, :2]) / (masks.shape[2], masks.shape[1])
    # The centre of cell 0 is half a cell inside the box.
    return [
        [box[:2] + (contour + 0.5) * scale for contour in found]
        for found, box, scale in zip(contours, boxes, scales, strict=True)
    ]


def mask_to_quadrilateral(mask: np.ndarray, extent: Extent = "corners") -> np.ndarray | None:
    """The minimum-area rectangle (4, 2) of all true pixels of a mask (H, W) bool, or None if there are none.

    Extent "corners" encloses the pixels: a block of 20 x 10 pixels gives 20 x 10. "indices" is MMOCR's rectangle
    around the pixels' integer coordinates: 19 x 9, half a pixel up and to the left, and without any width for a
    line of pixels.
    """
    mask = mask.astype(bool)
    rows = np.flatnonzero(mask.any(axis=1))
    if not len(rows):
        return None
    # The hull needs only the two ends of each row.
    first = mask[rows].argmax(axis=1)
    last = mask.shape[1] - 1 - mask[rows, ::-1].argmax(axis=1)
    ends = np.concatenate([np.stack([first, rows], axis=1), np.stack([last, rows], axis=1)]).astype(np.float64)
    if extent == "corners":
        ends = np.concatenate([ends + step for step in ((0, 0), (1, 0), (0, 1), (1, 1))])
    return minimum_area_rectangle(ends)


def mask_to_polygon(
    mask: np.ndarray, contour: Literal["largest", "last"] = "largest", extent: Extent = "corners"
) -> np.ndarray | None:
    """The outer outline (P, 2) of one piece of a mask (H, W) bool, or None if there is none or it has no area.

    contour "largest" takes the piece with the largest outline; "last" the one whose top row is the lowest, which is
    contour number 0 of OpenCV and what MMOCR takes, small as it may be.
    Extent "corners" runs half-way between inner and outer pixels, along the pixels' edges with corners cut by half a
    pixel; "indices" runs through the outer pixels' integer coordinates, as OpenCV does, so that a line of pixels has
    no area. Corners on a straight line are left out.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    # Only the part with something in it becomes floating point numbers: pictures may have 50 million pixels.
    part = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(bool)
    # Just below 1/2, pixels that touch at a corner hang together, as they do in OpenCV.
    contours = [np.rint(2 * found) / 2 for found in _contours(part[None].astype(np.float64), np.nextafter(0.5, 0))[0]]
    chosen = max(contours, key=area) if contour == "largest" else _last(contours)
    outline = chosen + 0.5 if extent == "corners" else _inner_pixels(chosen, part)
    if area(outline) <= 0:
        return None
    return _from_top_left(_without_straight_corners(outline) + np.array([columns[0], rows[0]]))


def minimum_area_rectangle(points: np.ndarray) -> np.ndarray:
    """The rectangle (4, 2) of least area around points (N >= 1, 2); points on a line give one without width.

    One side of it lies on a side of the convex hull (Freeman and Shapira, "Determining the minimum-area encasing
    rectangle for an arbitrary closed curve", 1975), so each side of the hull is tried as direction.
    """
    # A closed line, because a line of one point is none.
    hull = shapely.get_coordinates(shapely.convex_hull(shapely.linestrings(np.concatenate([points, points[:1]]))))
    sides = np.diff(hull, axis=0)
    if not len(sides):
        return np.repeat(hull, 4, axis=0)
    along = sides / np.hypot(*sides.T)[:, None]
    across = np.stack([-along[:, 1], along[:, 0]], axis=1)
    # (sides, points): how far each point lies along and across each direction.
    u, v = along @ hull.T, across @ hull.T
    left, right, top, bottom = u.min(axis=1), u.max(axis=1), v.min(axis=1), v.max(axis=1)
    best = ((right - left) * (bottom - top)).argmin()
    left, right, top, bottom = left[best], right[best], top[best], bottom[best]
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    return _from_top_left(corners @ np.stack([along[best], across[best]]))


def simplify(polygon: np.ndarray, tolerance: float = SIMPLIFICATION) -> np.ndarray | None:
    """Fewer corners (P', 2) for an outline (P, 2), none of them further from it than `tolerance` heights of the text.

    The height of a band of length L and height h is taken as 2 area / perimeter = h L / (L + h), which holds for
    curved lines of text too. Outlines that cross themselves are repaired first; of several parts the largest stays.
    None if there is no area.
    """
    repaired = polygon_geometries([polygon])[0]
    if repaired.area == 0:
        return None
    largest = max(shapely.get_parts(repaired), key=shapely.area)
    height = 2 * shapely.area(largest) / shapely.length(largest)
    simple = shapely.simplify(shapely.polygons(shapely.get_exterior_ring(largest)), tolerance * height)
    corners = shapely.get_coordinates(simple)[:-1]
    return _from_top_left(corners if area(corners) > 0 else corners[::-1])


def polygon_nms(shapes: Sequence[TextShape], iou_threshold: float) -> list[TextShape]:
    """The shapes that overlap no better one by an IoU above `iou_threshold`, best first.

    Box NMS lets crossing or slanted words suppress each other and parallel curved ones pass; PMTD (arXiv 1903.11800)
    therefore repeats it on the shapes, at 0.1 to 0.3.
    """
    ranked = sorted(shapes, key=lambda shape: -shape.score)
    polygons = [shape.polygon for shape in ranked]
    overlapping = polygon_iou(polygons, polygons) > iou_threshold
    kept: list[int] = []
    for index in range(len(ranked)):
        if not overlapping[index, kept].any():
            kept.append(index)
    return [ranked[index] for index in kept]


def _contours(masks: np.ndarray, level: float) -> list[list[np.ndarray]]:
    """For each of masks (D, h, w) its outer contours (P, 2), 0 all around; value [d, i, j] stands at x = j, y = i."""
    contours: list[list[np.ndarray]] = [[] for _ in masks]
    if not len(masks):
        return contours
    # With a frame of zeros each, all masks stand on top of one another without touching, and are traced in one call.
    framed = np.pad(masks, ((0, 0), (1, 1), (1, 1)))
    _, height, width = framed.shape
    for line in contour_generator(z=framed.reshape(-1, width), line_type=LineType.Separate).lines(level):
        # The frame closes every contour: its last point repeats its first. Around holes it runs the other way.
        contour = line[:-1]
        if area(contour) > 0:
            index = int(contour[0, 1] // height)
            contours[index].append(contour - (1, 1 + index * height))
    return contours


def _inner_pixels(contour: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The true pixels (P, 2) along a contour (P, 2), each point of which is half-way from a true to a false pixel."""
    low, high = np.floor(contour).astype(int).clip(min=0), np.ceil(contour).astype(int)
    return np.where(mask[low[:, 1], low[:, 0]][:, None], low, high).astype(np.float64)


def _without_straight_corners(polygon: np.ndarray) -> np.ndarray:
    """The corners at which the outline changes its direction; of repeated ones, one."""
    polygon = polygon[(polygon != np.roll(polygon, 1, axis=0)).any(axis=1)]
    before, after = polygon - np.roll(polygon, 1, axis=0), np.roll(polygon, -1, axis=0) - polygon
    turn = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
    # The tip of a line of pixels, where the outline comes back the same way, is a corner too.
    return polygon[(turn != 0) | ((before * after).sum(axis=1) < 0)]


def _last(contours: list[np.ndarray]) -> np.ndarray:
    """The contour whose first pixel, row by row, comes last, of those that do not lie in a hole of another."""
    geometries = polygon_geometries(contours)
    # A piece in a hole lies inside the contour around the hole; each contour contains itself.
    outermost = shapely.contains(geometries[:, None], geometries[None, :]).sum(axis=0) == 1
    return max(
        (contour for contour, outer in zip(contours, outermost, strict=True) if outer),
        key=lambda contour: (contour[:, 1].min(), contour[contour[:, 1].argmin(), 0]),
    )


def _from_top_left(polygon: np.ndarray) -> np.ndarray:
    """The same corners, starting with the smallest x + y; of equals, as in a square on its tip, the upper one."""
    x, y = polygon.T
    return np.roll(polygon, -np.lexsort((y, np.round(x + y, 6)))[0], axis=0)
