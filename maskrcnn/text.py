"""From masks to the shapes that text benchmarks score: quadrilaterals and polygons.

`TextConfig` says which of the outlines in `maskrcnn/text_outlines.py` a text gets, and what becomes of it.

All shapes run clockwise on the screen, in continuous pixels (pixel i covers [i, i + 1)), and start at the corner
nearest the top left, the one with the smallest x + y.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import shapely

from maskrcnn.config import TextConfig
from maskrcnn.data.polygons import area, from_top_left, minimum_area_rectangle
from maskrcnn.evaluation.text_scores import polygon_geometries, polygon_iou
from maskrcnn.plane_clustering import pyramid_bases
from maskrcnn.structures import Detections
from maskrcnn.text_outlines import (
    PastedMask,
    last_contour,
    mask_outlines,
    mask_to_polygon,
    mask_to_quadrilateral,
    paste_around,
)

SIMPLIFICATION = 0.05
"""How far a simplified outline may leave the contour, as a share of the height of the text."""
_NO_AREA = 1e-6
"""Square pixels: a rectangle around a slanted line of pixels has less, by rounding."""


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
    """Detections left out because nothing of their mask reaches the threshold, or what does has no area."""
    unfitted: int = 0
    """Detections whose pyramid is none: no four planes fit it, and its shape is the rectangle around a contour."""


def text_shapes(
    detections: Detections,
    image_index: int,
    picture_size: tuple[int, int],
    text: TextConfig,
    score_threshold: float = 0.0,
    label: int = 1,
) -> TextShapes:
    """The texts of one image of the batch: detections of class `label` with score >= `score_threshold`, best first.

    picture_size (H, W). Corners outside the picture are moved to its nearest points, but not those of outlines through
    pixels, which are as MMOCR leaves them: a rectangle may stick out. A shape without area is left out and counted,
    for nothing can match it. (MMOCR keeps rectangles without width, each of which counts as a false one.) Detections
    without masks have their box for an outline.
    """
    chosen = detections.valid[image_index] & (detections.labels[image_index] == label)
    # In float64, like every other comparison with a threshold: in float32 a score of 0.69999999 reaches 0.7.
    chosen &= detections.scores[image_index].double() >= score_threshold
    scores = detections.scores[image_index][chosen].double().cpu().numpy()
    boxes = detections.boxes[image_index][chosen].cpu()
    masks = None if detections.masks is None else detections.masks[image_index][chosen].cpu()
    unfitted = 0
    if masks is None:
        corners = boxes.double().numpy()[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)
        polygons = [_around_contours([box], text, picture_size) for box in corners]
    elif text.outlines == "pixels":
        polygons = [_through_pixels(pasted, text) for pasted in paste_around(masks, boxes, picture_size)]
    elif text.outlines == "planes":
        bases = pyramid_bases(masks.double().numpy(), boxes.double().numpy())
        unfitted = sum(base is not None and not base.fitted for base in bases)
        polygons = [None if base is None else from_top_left(_in_picture(base.corners, picture_size)) for base in bases]
    else:
        contours = mask_outlines(masks.double().numpy(), boxes.double().numpy(), text.mask_threshold)
        polygons = [_around_contours(found, text, picture_size) for found in contours]
    shapes = [
        TextShape(polygons[index], float(scores[index]))
        for index in np.argsort(-scores, kind="stable")
        if polygons[index] is not None and area(polygons[index]) > _NO_AREA
    ]
    return TextShapes(tuple(shapes), len(scores) - len(shapes), unfitted)


def _around_contours(contours: list[np.ndarray], text: TextConfig, picture_size: tuple[int, int]) -> np.ndarray | None:
    """The shape (P, 2) of a text with these contours (P', 2); None if there are none."""
    if not contours:
        return None
    if text.piece == "all":
        outline = np.concatenate(contours)
    else:
        outline = last_contour(contours) if text.piece == "last" else max(contours, key=area)
    if text.shape == "polygon":
        return simplify(_in_picture(outline, picture_size))
    return from_top_left(_in_picture(minimum_area_rectangle(outline), picture_size))


def _through_pixels(pasted: PastedMask, text: TextConfig) -> np.ndarray | None:
    """The shape (P, 2) of a text with these pixels, by MMOCR's rules; None if there are none, or too few for one."""
    if text.piece == "all":
        return mask_to_quadrilateral(pasted.mask, "indices", pasted.corner)
    polygon = mask_to_polygon(pasted.mask, text.piece, "indices", pasted.corner)
    if polygon is None:
        return None
    if text.shape == "polygon":
        return polygon if len(polygon) >= 4 else None  # MMOCR wants eight numbers, the score among them
    return minimum_area_rectangle(polygon)


def _in_picture(outline: np.ndarray, picture_size: tuple[int, int]) -> np.ndarray:
    """Points (P, 2), those outside of the picture moved to its border."""
    height, width = picture_size
    return np.clip(outline, 0, (width, height))


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
    return from_top_left(corners if area(corners) > 0 else corners[::-1])


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


