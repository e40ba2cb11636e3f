"""Texts that were found: outlines to shapes by hand and against plain loops."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_shapes import (
    corner_distance,
    curved_band,
    drawn,
    iou,
    pyramid,
    random_quadrilateral,
    rectangle,
    rotated_rectangle,
    soft_mask,
)

from maskrcnn.config import TextConfig
from maskrcnn.data.polygons import area, bounds, is_simple, minimum_area_rectangle
from maskrcnn.reference.pasting import paste_mask
from maskrcnn.structures import Detections
from maskrcnn.text import TextShape, polygon_nms, simplify, text_shapes
from maskrcnn.text_outlines import mask_outlines

# Simplifying


def test_a_curved_band_keeps_the_corners_that_matter():
    band = curved_band(200)
    simple = simplify(band)
    assert 12 <= len(simple) <= 40
    assert iou(simple, band) > 0.95
    assert area(simple) > 0 and simple[0].sum() == simple.sum(axis=1).min()
    # No corner of the outline is further from what is left than the tolerance, 5 % of 2 area / perimeter.
    height = 2 * area(band) / np.linalg.norm(band - np.roll(band, 1, axis=0), axis=1).sum()
    assert 15 < height < 20
    for point in band:
        start, side = simple, np.roll(simple, -1, axis=0) - simple
        t = (((point - start) * side).sum(axis=1) / (side**2).sum(axis=1)).clip(0, 1)
        assert np.linalg.norm(start + t[:, None] * side - point, axis=1).min() <= 0.05 * height + 1e-9


def test_simplifying_repairs_and_turns_clockwise():
    crossing = np.array([[0.0, 0], [40, 0], [40, 20], [20, -2], [0, 20]])
    assert is_simple(simplify(crossing)) and area(simplify(crossing)) > 0
    assert simplify(rectangle(0, 0, 9, 5)[::-1]).tolist() == rectangle(0, 0, 9, 5).tolist()
    assert simplify(np.array([[0.0, 0], [5, 5], [9, 9]])) is None


# Detections to text shapes


def detections(boxes, masks, scores, labels=None, valid=None):
    """One image's detections as a batch of one, behind an image without any."""
    count = len(boxes)
    size = masks[0].shape[-1] if count else 28
    stacked = torch.as_tensor(np.array(masks, dtype=np.float32).reshape(count, size, size))
    return Detections(
        boxes=torch.stack([torch.zeros(count, 4), torch.tensor(boxes, dtype=torch.float32).reshape(count, 4)]),
        scores=torch.stack([torch.zeros(count), torch.tensor(scores, dtype=torch.float32)]),
        labels=torch.stack([torch.zeros(count), torch.tensor(labels or [1] * count)]).long(),
        valid=torch.stack([torch.zeros(count).bool(), torch.tensor(valid or [True] * count, dtype=torch.bool)]),
        masks=torch.stack([torch.zeros_like(stacked), stacked]),
    )


FULL, EMPTY = np.ones((28, 28)), np.zeros((28, 28))


def shapes_of(found: Detections, size: tuple[int, int], score_threshold: float = 0.0, label: int = 1, **settings):
    """The texts of the image that has detections, by TextConfig(**settings)."""
    return text_shapes(found, 1, size, TextConfig(**settings), score_threshold, label)


def test_shapes_come_best_first_and_empty_masks_are_counted():
    found = detections(
        [[0, 0, 10, 10], [20, 0, 40, 10], [50, 0, 60, 10], [70, 5, 70, 5]],
        [FULL, FULL, EMPTY, FULL],
        [0.5, 0.9, 0.8, 0.7],
    )
    shapes, empty, _ = shapes_of(found, (100, 100))
    assert [shape.score for shape in shapes] == pytest.approx([0.9, 0.5])
    assert shapes[0].polygon == pytest.approx(rectangle(20, 0, 40, 10), abs=1e-6)
    assert shapes[0].polygon.dtype == np.float64
    assert empty == 2
    assert text_shapes(found, 0, (100, 100), TextConfig()) == ((), 0, 0)


def test_only_valid_detections_of_text_above_the_threshold_are_taken():
    boxes = [[0, 0, 10, 10]] * 4
    found = detections(boxes, [FULL] * 4, [0.9, 0.7, 0.6, 0.5], [1, 1, 2, 1], [True, True, True, False])
    assert [round(shape.score, 3) for shape in shapes_of(found, (50, 50)).shapes] == [0.9, 0.7]
    assert len(shapes_of(found, (50, 50), label=2).shapes) == 1
    # 0.7 in float32 is 0.69999999, below the threshold; so says maskrcnn.evaluation.text_scores too.
    assert len(shapes_of(found, (50, 50), score_threshold=0.7).shapes) == 1


def test_quadrilaterals_and_polygons_of_a_curved_word():
    band = curved_band(60)
    box = bounds(band)
    found = detections([box.tolist()], [soft_mask(band, box)], [0.9])
    quadrilateral = shapes_of(found, (200, 300)).shapes[0].polygon
    polygon = shapes_of(found, (200, 300), shape="polygon").shapes[0].polygon
    assert quadrilateral.shape == (4, 2) and 8 < len(polygon) < 40
    assert iou(polygon, band) > 0.9 > 0.7 > iou(quadrilateral, band)


def test_shapes_stay_in_the_picture():
    # A diagonal band to the very corner of its box: the rectangle around it leaves the box.
    y, x = np.mgrid[:28, :28]
    diagonal = (abs(x - y) < 6).astype(float)
    found = detections([[0, 0, 50, 50]], [diagonal], [0.9])
    free = minimum_area_rectangle(mask_outlines(diagonal[None], np.array([[0.0, 0, 50, 50]]))[0][0])
    assert free.min() < -1
    for representation in ("quadrilateral", "polygon"):
        polygon = shapes_of(found, (48, 50), shape=representation).shapes[0].polygon
        assert polygon.min() >= 0 and polygon[:, 0].max() <= 50 and polygon[:, 1].max() <= 48
        assert area(polygon) > 0
    # Nothing is left of a detection outside of the picture.
    assert shapes_of(detections([[60, 0, 80, 9]], [FULL], [0.9]), (50, 50)) == ((), 1, 0)
    assert shapes_of(detections([[60, 0, 80, 9]], [FULL], [0.9]), (50, 50), shape="polygon") == ((), 1, 0)


def test_a_stray_cell_does_not_turn_the_rectangle():
    mask = np.zeros((28, 28))
    mask[10:18] = 1
    mask[27, 27] = 0.9
    polygon = shapes_of(detections([[0, 0, 28, 28]], [mask], [0.9]), (50, 50)).shapes[0].polygon
    assert polygon == pytest.approx(rectangle(0, 10, 28, 18), abs=1e-6)


@pytest.mark.parametrize("representation", ["quadrilateral", "polygon"])
def test_without_masks_an_outline_is_the_box(representation):
    """A detector without a mask head is a Faster R-CNN."""
    found = detections([[2, 3, 12, 10], [-5, 4, 8, 60], [7, 7, 7, 9]], [FULL] * 3, [0.8, 0.9, 0.7])
    shapes = shapes_of(replace(found, masks=None), (50, 40), shape=representation)
    assert [shape.score for shape in shapes.shapes] == pytest.approx([0.9, 0.8])
    assert shapes.shapes[0].polygon == pytest.approx(rectangle(0, 4, 8, 50))
    assert shapes.shapes[1].polygon == pytest.approx(rectangle(2, 3, 12, 10))
    assert shapes.empty == 1, "a box without area has no outline"


def test_half_precision_masks():
    found = detections([[0, 0, 10, 10]], [FULL], [0.9])
    found = Detections(found.boxes, found.scores.bfloat16(), found.labels, found.valid, found.masks.bfloat16())
    assert shapes_of(found, (50, 50)).shapes[0].polygon == pytest.approx(rectangle(0, 0, 10, 10), abs=1e-6)


# MMOCR's outlines

MMOCR = {"outlines": "pixels", "piece": "all"}
MMOCR_POLYGONS = {"shape": "polygon", "outlines": "pixels", "piece": "last"}


def only(found: Detections, size: tuple[int, int], **settings) -> np.ndarray:
    """The polygon of the only text."""
    (shape,) = shapes_of(found, size, **settings).shapes
    return shape.polygon


def test_a_full_mask_by_pixels_ends_at_the_indices_of_its_first_and_last_pixels():
    found = detections([[10, 5, 30, 15]], [FULL], [0.9])
    assert only(found, (50, 50), **MMOCR).tolist() == rectangle(10, 5, 29, 14).tolist()
    assert only(found, (50, 50), **MMOCR_POLYGONS).tolist() == rectangle(10, 5, 29, 14).tolist()
    assert only(found, (50, 50)) == pytest.approx(rectangle(10, 5, 30, 15), abs=1e-6)


def blocks(*windows):
    """A mask of 28 x 28 cells, 1 in windows of rows and columns."""
    mask = np.zeros((28, 28))
    for rows, columns in windows:
        mask[rows, columns] = 1
    return mask


TWO = blocks((slice(2, 12), slice(2, 24)), (slice(18, 24), slice(16, 26)))
"""The larger piece above, the lower one to the right."""
LARGE, LOW, BOTH = (2, 2, 24, 12), (16, 18, 26, 24), (2, 2, 26, 24)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"piece": "largest"}, LARGE),
        ({"piece": "last"}, LOW),
        ({"piece": "all"}, BOTH),
        ({"shape": "polygon", "piece": "largest"}, LARGE),
        ({"shape": "polygon", "piece": "last"}, LOW),
    ],
)
def test_each_setting_can_be_changed_alone(settings, expected):
    """A box of 28 x 28 pixels has a cell in each: contours run along the pixels' edges, the others half a pixel in."""
    found = detections([[0, 0, 28, 28]], [TWO], [0.9])
    x1, y1, x2, y2 = expected
    contour, pixels = (only(found, (40, 40), outlines=outlines, **settings) for outlines in ("contour", "pixels"))
    assert bounds(contour) == pytest.approx(expected, abs=1e-6)
    assert pixels.tolist() == rectangle(x1, y1, x2 - 1, y2 - 1).tolist()
    assert len(contour) == (8 if settings.get("shape") == "polygon" else 4)


def points_of(mask: np.ndarray, box: np.ndarray, height: int, width: int) -> np.ndarray:
    """Integer x, y of every pixel whose centre finds a half or more in a mask over a box, pixel by pixel."""
    pasted = paste_mask(torch.from_numpy(mask), torch.from_numpy(box), height, width, "pixel_centres")
    return np.array([(x, y) for y in range(height) for x in range(width) if pasted[y, x] >= 0.5])


def trace(points: np.ndarray) -> np.ndarray:
    """OpenCV's contour number 0 of pixels: the corners (P, 2) of the outline of the piece that is found last.

    The border of each piece is followed from its first pixel, row by row, with the outside always on the left
    (Moore's neighbour tracing); a piece is one whose pixels touch, if only at corners.
    """
    clockwise = [(1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1)]
    left, pieces = {tuple(point) for point in points.tolist()}, []
    while left:
        waiting, piece = [left.pop()], set()
        while waiting:
            x, y = waiting.pop()
            piece.add((x, y))
            around = {(x + dx, y + dy) for dx, dy in clockwise} & left
            left -= around
            waiting += around
        pieces.append(piece)
    piece = max(pieces, key=lambda piece: min((y, x) for x, y in piece))
    start = min(piece, key=lambda point: (point[1], point[0]))
    here, towards, line = start, 0, []
    while True:
        for turn in range(8):
            direction = (towards + 5 + turn) % 8  # from the neighbour after the one we came from, clockwise
            neighbour = (here[0] + clockwise[direction][0], here[1] + clockwise[direction][1])
            if neighbour in piece:
                break
        if here == start and line and (neighbour, direction) == line[0]:
            break
        line.append((neighbour, direction))
        here, towards = neighbour, direction
    corners = [line[i - 1][0] for i in range(len(line)) if line[i][1] != line[i - 1][1]]
    return np.array(corners, dtype=np.float64)


def least_rectangle_area(points: np.ndarray) -> float:
    """Of all rectangles with a side along a line through two of the points; no hull, no theorem."""
    least = math.inf
    ends = np.concatenate([points[points[:, 1] == y][[0, -1]] for y in np.unique(points[:, 1])]).astype(float)
    for first in ends:
        for second in ends:
            if (first != second).any():
                along = (second - first) / np.linalg.norm(second - first)
                across = np.array([-along[1], along[0]])
                least = min(least, np.ptp(ends @ along) * np.ptp(ends @ across))
    return least


@pytest.mark.parametrize("seed", range(4))
def test_quadrilaterals_and_polygons_by_pixels_are_those_of_a_loop(seed):
    """Of a slanted word with a ragged edge, and something else in a corner of its box."""
    rng = np.random.default_rng(seed)
    word = rotated_rectangle((32, 24), 34, 12, rng.uniform(-1, 1))
    box = bounds(word) + rng.uniform(-1, 1, 4)
    mask = (0.8 * soft_mask(word, box) + 0.4 * rng.random((28, 28))).clip(0, 1)
    mask[23:, :4] = 0.9
    found = detections([box.tolist()], [mask], [0.9])
    seen = found.masks[1, 0].double().numpy(), found.boxes[1, 0].double().numpy()
    points = points_of(*seen, 50, 64)
    quadrilateral = only(found, (50, 64), **MMOCR)
    assert area(quadrilateral) == pytest.approx(least_rectangle_area(points), abs=1e-6)
    for side in np.roll(quadrilateral, -1, axis=0) - quadrilateral:
        along = (points - quadrilateral.mean(axis=0)) @ side / np.linalg.norm(side)
        assert np.abs(along).max() == pytest.approx(np.linalg.norm(side) / 2, abs=1e-6)
    polygon, expected = only(found, (50, 64), **MMOCR_POLYGONS), trace(points)
    assert {tuple(corner) for corner in polygon.tolist()} == {tuple(corner) for corner in expected.tolist()}
    assert len(polygon) == len(expected) and area(polygon) == pytest.approx(abs(area(expected)))


def test_rectangles_by_pixels_may_leave_the_picture():
    """As in MMOCR; around contours, corners are moved into it (`test_shapes_stay_in_the_picture`)."""
    y, x = np.mgrid[:28, :28]
    found = detections([[0, 0, 50, 50]], [(abs(x - y) < 6).astype(float)], [0.9])
    polygon = only(found, (48, 50), **MMOCR)
    assert polygon.min() < -1 and polygon.max() > 50


def test_what_has_no_area_by_pixels_is_left_out_and_counted():
    line = blocks((slice(3, 4), slice(2, 20)))
    slanted = np.eye(28)  # at half a pixel for a cell every other pixel is true, a line from corner to corner
    found = detections([[0, 0, 28, 28], [0, 0, 28, 28], [0, 0, 20, 20]], [line, slanted, FULL], [0.9, 0.8, 0.7])
    for settings in (MMOCR, MMOCR_POLYGONS, {**MMOCR, "piece": "largest"}):
        shapes = shapes_of(found, (40, 40), **settings)
        assert [round(shape.score, 3) for shape in shapes.shapes] == [0.7] and shapes.empty == 2
    assert shapes_of(found, (40, 40)).empty == 0


def test_a_polygon_by_pixels_has_four_corners_or_more():
    """MMOCR drops what has fewer than eight numbers with the score."""
    triangle = np.zeros((28, 28))
    triangle[:3, :3] = drawn("#.. ##. ###")
    found = detections([[0, 0, 28, 28]], [triangle], [0.9])
    assert shapes_of(found, (40, 40), **MMOCR_POLYGONS) == ((), 1, 0)
    assert len(only(found, (40, 40), **MMOCR)) == 4
    triangle[3, :3] = 1
    found = detections([[0, 0, 28, 28]], [triangle], [0.9])
    assert len(only(found, (40, 40), **MMOCR_POLYGONS)) == 4


def test_without_masks_pixels_make_no_difference():
    found = replace(detections([[2.5, 3, 12, 10]], [FULL], [0.8]), masks=None)
    assert only(found, (50, 40), **MMOCR) == pytest.approx(rectangle(2.5, 3, 12, 10))


# The planes of pyramids


def test_the_planes_of_pyramids_are_quadrilaterals_in_the_picture():
    """A word in perspective, one that is cut by the border of the picture, one without planes, and nothing."""
    word, cut = random_quadrilateral(4), rotated_rectangle((300, 380), 60, 20, 0.4)
    boxes = [bounds(word), bounds(cut), np.array([10.0, 10, 38, 38]), np.array([60.0, 10, 88, 38])]
    cell = np.zeros((28, 28))
    cell[20, 7] = 1
    masks = [pyramid(word, boxes[0]), pyramid(cut, boxes[1]), cell, np.full((28, 28), 0.19)]
    found = detections([box.tolist() for box in boxes], masks, [0.9, 0.8, 0.7, 0.6])
    shapes, empty, unfitted = shapes_of(found, (384, 320), outlines="planes")
    assert (len(shapes), empty, unfitted) == (3, 1, 1)
    assert corner_distance(shapes[0].polygon, word) < 0.01 and iou(shapes[0].polygon, word) > 0.999
    assert corner_distance(shapes[1].polygon, np.clip(cut, 0, (320, 384))) < 0.01
    assert shapes[2].polygon.mean(axis=0) == pytest.approx((10 + 7.5, 10 + 20.5), abs=1e-6)
    for shape in shapes:
        corner = shape.polygon[0]
        assert area(shape.polygon) > 0 and corner.sum() <= shape.polygon.sum(axis=1).min() + 1e-6


def test_the_contour_of_a_pyramid_at_one_half_is_half_the_text():
    """Why a network that learns pyramids has planes for outlines, or none."""
    word = rotated_rectangle((100, 100), 80, 30, 0.0)
    found = detections([bounds(word).tolist()], [pyramid(word, bounds(word))], [0.9])
    assert area(only(found, (200, 200))) == pytest.approx(area(word) / 4, rel=0.02)
    assert area(only(found, (200, 200), outlines="planes")) == pytest.approx(area(word), rel=1e-4)


# Polygon NMS


def test_polygon_nms_by_hand():
    shapes = [
        TextShape(rectangle(0, 0, 10, 10), 0.7),
        TextShape(rectangle(0, 0, 10, 5), 0.9),  # IoU 1/2 with the first
        TextShape(rectangle(0, 4, 10, 10), 0.8),  # 1/10 with the second, 6/10 with the first
    ]
    assert [shape.score for shape in polygon_nms(shapes, 0.3)] == [0.9, 0.8]
    assert [shape.score for shape in polygon_nms(shapes, 0.55)] == [0.9, 0.8]
    assert [shape.score for shape in polygon_nms(shapes, 0.6)] == [0.9, 0.8, 0.7]
    assert [shape.score for shape in polygon_nms(shapes, 0.05)] == [0.9]
    assert polygon_nms([], 0.3) == []


def test_slanted_words_whose_boxes_overlap_are_both_kept():
    shapes = [TextShape(rotated_rectangle((50, y), 60, 8, 0.7), score) for y, score in ((50, 0.9), (62, 0.8))]
    first, second = (bounds(shape.polygon) for shape in shapes)
    assert iou(rectangle(*first), rectangle(*second)) > 0.5
    assert polygon_nms(shapes, 0.1) == shapes


def test_polygon_nms_of_random_shapes_is_the_loop():
    rng = np.random.default_rng(0)
    shapes = [
        TextShape(rotated_rectangle(rng.uniform(0, 60, 2), *rng.uniform(5, 40, 2), rng.uniform(0, 3)), float(score))
        for score in rng.permutation(60)
    ]
    kept = []
    for shape in sorted(shapes, key=lambda shape: shape.score, reverse=True):
        if all(iou(shape.polygon, other.polygon) <= 0.2 for other in kept):
            kept.append(shape)
    found = polygon_nms(shapes, 0.2)
    assert 5 < len(kept) < 50
    assert [shape.score for shape in found] == [shape.score for shape in kept]
