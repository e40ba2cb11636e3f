"""Outlines of masks: contours between the cells of a mask over its box, and outlines through the pixels of a picture.

A mask head gives each detection m x m probabilities over its box. They are values at the centres of a grid of cells,
so their contour at 1/2, interpolated between the centres, is the outline of the object with sub-pixel accuracy: no mask
of the size of the picture is needed (`mask_outlines`). The functions for masks of pixels do the same to a bitmap, and
know MMOCR's way too: pixel indices instead of pixel corners, the last contour instead of the largest.

All outlines run clockwise on the screen, in continuous pixels (pixel i covers [i, i + 1)); those of pixels start at the
corner nearest the top left, the one with the smallest x + y.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
import shapely
import torch
from contourpy import LineType, contour_generator
from torch import Tensor

from maskrcnn import ops
from maskrcnn.data.polygons import area, from_top_left, minimum_area_rectangle, pixel_box
from maskrcnn.evaluation.text_scores import polygon_geometries

Extent = Literal["corners", "indices"]


class PastedMask(NamedTuple):
    """The part of a picture's mask that holds all of its true pixels."""

    mask: np.ndarray
    """(h, w) bool; no pixel beside it is true."""
    corner: tuple[int, int]
    """x, y of its first pixel in the picture."""


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


def paste_around(masks: Tensor, boxes: Tensor, picture_size: tuple[int, int]) -> Iterator[PastedMask]:
    """What `maskrcnn.ops.paste_masks` makes of each of masks (D, m, m) over boxes (D, 4), pixel by pixel the same.

    picture_size (H, W); both on the CPU; by the convention "pixel_centres". A mask is pasted only around its own box: a
    hundred words fill a small part of a hundred pictures of 12 million pixels.
    """
    boxes = boxes.to(torch.promote_types(boxes.dtype, torch.float32))
    for mask, box in zip(masks, boxes, strict=True):
        x1, y1, x2, y2 = _reach(box.double().numpy().reshape(2, 2), len(mask), picture_size)
        # Exact in any precision: towards 0 and by whole pixels, so that no digit is lost.
        moved = box - box.new_tensor([x1, y1, x1, y1])
        size = {"height": y2 - y1, "width": x2 - x1}
        pasted = ops.paste_masks(mask[None], moved[None], **size, convention="pixel_centres")
        yield PastedMask(pasted[0].numpy(), (x1, y1))


def mask_to_quadrilateral(
    mask: np.ndarray, extent: Extent = "corners", corner: tuple[int, int] = (0, 0)
) -> np.ndarray | None:
    """The minimum-area rectangle (4, 2) of all true pixels of a mask (H, W) bool, or None if there are none.

    Extent "corners" encloses the pixels: a block of 20 x 10 pixels gives 20 x 10. "indices" is MMOCR's rectangle
    around the pixels' integer coordinates: 19 x 9, half a pixel up and to the left, and without any width for a
    line of pixels. corner: x, y of the mask's first pixel in the picture.
    """
    mask = mask.astype(bool)
    rows = np.flatnonzero(mask.any(axis=1))
    if not len(rows):
        return None
    # The hull needs only the two ends of each row.
    first = mask[rows].argmax(axis=1)
    last = mask.shape[1] - 1 - mask[rows, ::-1].argmax(axis=1)
    ends = np.concatenate([np.stack([first, rows], axis=1), np.stack([last, rows], axis=1)]).astype(np.float64)
    ends += corner
    if extent == "corners":
        ends = np.concatenate([ends + step for step in ((0, 0), (1, 0), (0, 1), (1, 1))])
    return minimum_area_rectangle(ends)


def mask_to_polygon(
    mask: np.ndarray,
    contour: Literal["largest", "last"] = "largest",
    extent: Extent = "corners",
    corner: tuple[int, int] = (0, 0),
) -> np.ndarray | None:
    """The outer outline (P, 2) of one piece of a mask (H, W) bool, or None if there is none or it has no area.

    contour "largest" takes the piece with the largest outline; "last" the one whose top row is the lowest, which is
    contour number 0 of OpenCV and what MMOCR takes, small as it may be.
    Extent "corners" runs half-way between inner and outer pixels, along the pixels' edges with corners cut by half a
    pixel; "indices" runs through the outer pixels' integer coordinates, as OpenCV does, so that a line of pixels has
    no area. Corners on a straight line are left out. corner: x, y of the mask's first pixel in the picture.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    # Only the part with something in it becomes floating point numbers: pictures may have 50 million pixels.
    part = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(bool)
    # Just below 1/2, pixels that touch at a corner hang together, as they do in OpenCV.
    contours = [np.rint(2 * found) / 2 for found in _contours(part[None].astype(np.float64), np.nextafter(0.5, 0))[0]]
    chosen = max(contours, key=area) if contour == "largest" else last_contour(contours)
    outline = chosen + 0.5 if extent == "corners" else _inner_pixels(chosen, part)
    if area(outline) <= 0:
        return None
    return from_top_left(_without_straight_corners(outline) + np.array([columns[0], rows[0]]) + corner)


def last_contour(contours: list[np.ndarray]) -> np.ndarray:
    """The contour whose first pixel, row by row, comes last, of those that do not lie in a hole of another."""
    geometries = polygon_geometries(contours)
    # A piece in a hole lies inside the contour around the hole; each contour contains itself, if it has any area.
    outermost = shapely.contains(geometries[:, None], geometries[None, :]).sum(axis=0) <= 1
    return max(
        (contour for contour, outer in zip(contours, outermost, strict=True) if outer),
        key=lambda contour: (contour[:, 1].min(), contour[contour[:, 1].argmin(), 0]),
    )


def _reach(corners: np.ndarray, cells: int, picture_size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The pixels x1, y1, x2, y2 of a picture that a mask of cells x cells over a box may reach; corners (2, 2)."""
    if not np.isfinite(corners).all():
        return 0, 0, 0, 0
    fading = (corners[1] - corners[0]) / (2 * cells)  # half a cell beyond the box
    return pixel_box(corners + np.stack([-fading, fading]), *picture_size)


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
