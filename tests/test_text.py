"""Masks to quadrilaterals and polygons: by hand, against OpenCV's recorded answers, and against plain loops."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from maskrcnn.data.polygons import area, bounds, is_simple, rasterize
from maskrcnn.evaluation.text_scores import polygon_iou
from maskrcnn.structures import Detections
from maskrcnn.text import (
    TextShape,
    mask_outlines,
    mask_to_polygon,
    mask_to_quadrilateral,
    minimum_area_rectangle,
    polygon_nms,
    simplify,
    text_shapes,
)


def drawn(text):
    """The mask of a drawing in which # is true."""
    return np.array([[character == "#" for character in line] for line in text.split()])


def rectangle(x1, y1, x2, y2):
    return np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]], dtype=np.float64)


def rotated_rectangle(centre, width, height, angle):
    """Corners (4, 2), clockwise, `angle` in radians, clockwise on the screen."""
    along, across = np.array([math.cos(angle), math.sin(angle)]), np.array([-math.sin(angle), math.cos(angle)])
    signs = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) / 2
    return centre + signs[:, :1] * width * along + signs[:, 1:] * height * across


def iou(polygon, other):
    return polygon_iou([polygon], [other])[0, 0]


def soft_mask(polygon, box, cells=28, oversampling=8):
    """What a perfect mask head predicts: the share (cells, cells) of each cell of a box that a polygon covers."""
    size = cells * oversampling
    local = (polygon - box[:2]) / (box[2:] - box[:2]) * size
    return rasterize(local, (0, 0, size, size)).reshape(cells, oversampling, cells, oversampling).mean(axis=(1, 3))


# Full-size masks to quadrilaterals


def test_a_block_of_20_x_10_pixels():
    mask = np.zeros((40, 60), dtype=bool)
    mask[5:15, 10:30] = True
    assert mask_to_quadrilateral(mask).tolist() == [[10, 5], [30, 5], [30, 15], [10, 15]]
    # By MMOCR's convention 19 x 9, centred at the mean of the indices.
    by_indices = mask_to_quadrilateral(mask, "indices")
    assert by_indices.tolist() == [[10, 5], [29, 5], [29, 14], [10, 14]]
    rows, columns = np.nonzero(mask)
    assert by_indices.mean(axis=0).tolist() == [columns.mean(), rows.mean()] == [19.5, 9.5]


def test_masks_of_a_pixel_and_of_a_line():
    mask = np.zeros((6, 8), dtype=bool)
    mask[2, 3] = True
    assert mask_to_quadrilateral(mask).tolist() == [[3, 2], [4, 2], [4, 3], [3, 3]]
    assert mask_to_quadrilateral(mask, "indices").tolist() == [[3, 2]] * 4
    mask[2, 3:7] = True
    assert mask_to_quadrilateral(mask).tolist() == [[3, 2], [7, 2], [7, 3], [3, 3]]
    assert area(mask_to_quadrilateral(mask, "indices")) == 0
    diagonal = mask_to_quadrilateral(np.eye(5, dtype=bool), "indices")
    assert diagonal == pytest.approx(np.array([[0, 0], [4, 4], [4, 4], [0, 0]]), abs=1e-12)


def test_an_empty_mask_has_no_quadrilateral():
    assert mask_to_quadrilateral(np.zeros((4, 5), dtype=bool)) is None
    assert mask_to_quadrilateral(np.zeros((0, 0), dtype=bool)) is None


def test_a_quadrilateral_encloses_all_pieces():
    mask = drawn("#.... ....# #....")
    assert mask_to_quadrilateral(mask).tolist() == [[0, 0], [5, 0], [5, 3], [0, 3]]


# The minimum-area rectangle


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


# Full-size masks to polygons

OPENCV = {
    # Contour number 0 of OpenCV 5.0.0, RETR_EXTERNAL and CHAIN_APPROX_SIMPLE, of each drawing.
    "..####...... ..####...... ............ ......###### ......###### ......######": [
        [6, 3],
        [6, 5],
        [11, 5],
        [11, 3],
    ],
    ".########. .#......#. .#.##...#. .#.##...#. .#......#. .########.": [[1, 0], [1, 5], [8, 5], [8, 0]],
    "###..... .###.... ..###... .....### ......##": [
        [0, 0],
        [2, 2],
        [4, 2],
        [6, 4],
        [7, 4],
        [7, 3],
        [5, 3],
        [2, 0],
    ],
    ".....#.... .....#.... ..######.. ..######.. ..####....": [
        [5, 0],
        [5, 1],
        [4, 2],
        [2, 2],
        [2, 4],
        [5, 4],
        [6, 3],
        [7, 3],
        [7, 2],
        [6, 2],
        [5, 1],
    ],
}


@pytest.mark.parametrize("drawing", OPENCV)
def test_polygons_by_indices_are_those_of_opencv(drawing):
    found = mask_to_polygon(drawn(drawing), contour="last", extent="indices")
    expected = np.array(OPENCV[drawing], dtype=np.float64)[::-1]  # OpenCV runs counter-clockwise on the screen
    assert np.array_equal(found, np.roll(expected, -expected.sum(axis=1).argmin(), axis=0))


def test_the_last_contour_is_not_the_largest():
    mask = drawn("######.. ######.. ######.. ........ .....##. .....##.")
    assert mask_to_polygon(mask, "largest", "indices").tolist() == [[0, 0], [5, 0], [5, 2], [0, 2]]
    assert mask_to_polygon(mask, "last", "indices").tolist() == [[5, 4], [6, 4], [6, 5], [5, 5]]
    # Of two that begin in the same row, the right one is the last.
    mask = drawn("##..## ##..## ##....")
    assert mask_to_polygon(mask, "last", "indices").tolist() == [[4, 0], [5, 0], [5, 1], [4, 1]]


def test_the_outline_of_pixels_has_corners_cut_by_half_a_pixel():
    mask = drawn("...... .####. .####. ......")
    corners = [[1.5, 1], [4.5, 1], [5, 1.5], [5, 2.5], [4.5, 3], [1.5, 3], [1, 2.5], [1, 1.5]]
    assert mask_to_polygon(mask).tolist() == corners
    # 8 pixels, less an eighth for each convex corner.
    assert area(mask_to_polygon(mask)) == 7.5
    assert area(mask_to_polygon(drawn("#"))) == 0.5


def test_holes_are_filled_and_the_border_of_the_picture_is_no_border_of_the_outline():
    ring = drawn("##### #...# #...# #####")
    assert area(mask_to_polygon(ring)) == 5 * 4 - 0.5
    assert bounds(mask_to_polygon(ring)).tolist() == [0, 0, 5, 4]


def test_masks_without_a_polygon():
    assert mask_to_polygon(np.zeros((4, 5), dtype=bool)) is None
    assert mask_to_polygon(np.zeros((0, 0), dtype=bool)) is None
    for line in (drawn("..#.."), drawn(".###."), np.eye(4, dtype=bool)):
        assert mask_to_polygon(line, extent="indices") is None
        assert area(mask_to_polygon(line)) > 0


def test_random_masks_and_their_polygons_cover_the_same_pixels():
    rng = np.random.default_rng(3)
    for _ in range(20):
        mask = np.zeros((50, 70), dtype=bool)
        for _ in range(3):
            corners = rotated_rectangle(rng.uniform(20, 40, 2), *rng.uniform(6, 30, 2), rng.uniform(0, np.pi))
            mask |= rasterize(corners, (0, 0, 70, 50)).astype(bool)
        polygon = mask_to_polygon(mask)
        filled = rasterize(polygon, (0, 0, 70, 50)).astype(bool)
        # All centres of true pixels lie inside; more only where there are holes or other pieces.
        assert filled[mask].mean() > 0.5
        again = mask_to_polygon(filled)
        assert np.array_equal(again, polygon)
        assert is_simple(polygon) and area(polygon) > 0


# Probabilities to outlines


def test_a_full_mask_gives_its_box():
    (outlines,) = mask_outlines(np.ones((1, 28, 28)), np.array([[10.0, 20, 66, 34]]))
    assert minimum_area_rectangle(outlines[0]) == pytest.approx(rectangle(10, 20, 66, 34), abs=1e-9)
    # Only the four corners are cut, by half a cell of 2 x 0.5 pixels each way.
    assert area(outlines[0]) == pytest.approx(56 * 14 - 4 * (1 * 0.25) / 2, abs=1e-9)


def test_probabilities_between_the_centres_of_cells_are_interpolated():
    # Along the middle row: 0 at -0.5, 0.8 at 0.5, 0 at 1.5 cells. It is 1/2 after 5/8 of the way up, 3/8 down.
    (outlines,) = mask_outlines(np.array([[[0.8]]]), np.array([[0.0, 0, 10, 10]]))
    half = 10 * (1 - 0.5 / 0.8)
    expected = np.array([[5 - half, 5], [5, 5 - half], [5, 5 + half], [5 + half, 5]])
    assert outlines[0][np.lexsort(outlines[0].round(6).T[::-1])] == pytest.approx(expected, abs=1e-9)
    (outlines,) = mask_outlines(np.array([[[0.8]]]), np.array([[0.0, 0, 10, 10]]), threshold=0.2)
    assert bounds(outlines[0]) == pytest.approx([-2.5, -2.5, 12.5, 12.5], abs=1e-9)


def test_the_threshold_itself_is_inside():
    boxes = np.array([[0.0, 0, 4, 4]])
    assert len(mask_outlines(np.full((1, 4, 4), 0.5), boxes)[0]) == 1
    assert mask_outlines(np.full((1, 4, 4), np.nextafter(0.5, 0) - 1e-12), boxes) == [[]]


def test_holes_are_no_outlines_and_pieces_are_one_each():
    masks = np.zeros((3, 7, 7))
    masks[0, 1:6, 1:6] = 1
    masks[0, 3, 3] = 0
    masks[2, 0, 0] = masks[2, 4:, 4:] = 1
    found = mask_outlines(masks, np.tile([0.0, 0, 7, 7], (3, 1)))
    assert [len(outlines) for outlines in found] == [1, 0, 2]
    assert sorted(area(outline) for outline in found[2]) == pytest.approx([0.5, 8.5])
    assert mask_outlines(np.zeros((0, 28, 28)), np.zeros((0, 4))) == []


def paste(mask, box, height, width):
    """A mask pasted into a picture at the centres of its pixels, loop by loop, outside of the box 0."""
    size = len(mask)
    result = np.zeros((height, width))
    for row in range(height):
        for column in range(width):
            x = (column + 0.5 - box[0]) / (box[2] - box[0]) * size - 0.5
            y = (row + 0.5 - box[1]) / (box[3] - box[1]) * size - 0.5
            for i in (math.floor(y), math.floor(y) + 1):
                for j in (math.floor(x), math.floor(x) + 1):
                    if 0 <= i < size and 0 <= j < size:
                        result[row, column] += mask[i, j] * (1 - abs(y - i)) * (1 - abs(x - j))
    return result


@pytest.mark.parametrize("seed", range(3))
def test_an_outline_is_that_of_the_pasted_mask(seed):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:14, :14]
    angle = rng.uniform(0, np.pi)
    distance = abs((x - 6.5) * math.sin(angle) - (y - 6.5) * math.cos(angle))
    mask = 1 / (1 + np.exp(distance - 4 + rng.normal(0, 0.3, distance.shape)))
    box = np.array([3.3, 2.1, 56.7, 44.8])
    pasted = paste(mask, box, 48, 60) >= 0.5
    (outlines,) = mask_outlines(mask[None], box[None])
    filled = sum(rasterize(outline, (0, 0, 60, 48)) for outline in outlines).astype(bool)
    # A contour is straight inside a cell, the interpolated surface is not: pixels on the edge may differ.
    assert (filled != pasted).sum() < 0.01 * pasted.sum()


@pytest.mark.parametrize("seed", range(3))
def test_rotated_words_come_back(seed):
    rng = np.random.default_rng(seed)
    for _ in range(20):
        height = rng.uniform(10, 40)
        word = rotated_rectangle((150, 150), height * rng.uniform(1, 4), height, rng.uniform(-np.pi / 2, np.pi / 2))
        box = bounds(word)
        (outlines,) = mask_outlines(soft_mask(word, box)[None], box[None])
        assert iou(minimum_area_rectangle(outlines[0]), word) > 0.9
        assert iou(simplify(outlines[0]), word) > 0.9
        bitmap = rasterize(word, (0, 0, 300, 300)).astype(bool)
        for extent in ("corners", "indices"):
            shift = 0.5 if extent == "indices" else 0
            assert iou(mask_to_quadrilateral(bitmap, extent) + shift, word) > 0.78
            assert iou(mask_to_polygon(bitmap, extent=extent) + shift, word) > 0.78


# Simplifying


def curved_band(corners):
    """A text of height 20 along half a circle of radius 60, with `corners` corners on each side."""
    angle = np.linspace(math.pi, 2 * math.pi, corners)[:, None]
    direction = np.concatenate([np.cos(angle), np.sin(angle)], axis=1)
    return np.concatenate([(100, 100) + 70 * direction, (100, 100) + 50 * direction[::-1]])


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


def test_shapes_come_best_first_and_empty_masks_are_counted():
    found = detections(
        [[0, 0, 10, 10], [20, 0, 40, 10], [50, 0, 60, 10], [70, 5, 70, 5]],
        [FULL, FULL, EMPTY, FULL],
        [0.5, 0.9, 0.8, 0.7],
    )
    shapes, empty = text_shapes(found, 1, (100, 100))
    assert [shape.score for shape in shapes] == pytest.approx([0.9, 0.5])
    assert shapes[0].polygon == pytest.approx(rectangle(20, 0, 40, 10), abs=1e-6)
    assert shapes[0].polygon.dtype == np.float64
    assert empty == 2
    assert text_shapes(found, 0, (100, 100)) == ((), 0)


def test_only_valid_detections_of_text_above_the_threshold_are_taken():
    boxes = [[0, 0, 10, 10]] * 4
    found = detections(boxes, [FULL] * 4, [0.9, 0.7, 0.6, 0.5], [1, 1, 2, 1], [True, True, True, False])
    assert [round(shape.score, 3) for shape in text_shapes(found, 1, (50, 50)).shapes] == [0.9, 0.7]
    assert len(text_shapes(found, 1, (50, 50), label=2).shapes) == 1
    # 0.7 in float32 is 0.69999999, below the threshold; so says maskrcnn.evaluation.text_scores too.
    assert len(text_shapes(found, 1, (50, 50), score_threshold=0.7).shapes) == 1


def test_quadrilaterals_and_polygons_of_a_curved_word():
    band = curved_band(60)
    box = bounds(band)
    found = detections([box.tolist()], [soft_mask(band, box)], [0.9])
    quadrilateral = text_shapes(found, 1, (200, 300)).shapes[0].polygon
    polygon = text_shapes(found, 1, (200, 300), "polygon").shapes[0].polygon
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
        polygon = text_shapes(found, 1, (48, 50), representation).shapes[0].polygon
        assert polygon.min() >= 0 and polygon[:, 0].max() <= 50 and polygon[:, 1].max() <= 48
        assert area(polygon) > 0
    # Nothing is left of a detection outside of the picture.
    assert text_shapes(detections([[60, 0, 80, 9]], [FULL], [0.9]), 1, (50, 50)) == ((), 1)
    assert text_shapes(detections([[60, 0, 80, 9]], [FULL], [0.9]), 1, (50, 50), "polygon") == ((), 1)


def test_a_stray_cell_does_not_turn_the_rectangle():
    mask = np.zeros((28, 28))
    mask[10:18] = 1
    mask[27, 27] = 0.9
    polygon = text_shapes(detections([[0, 0, 28, 28]], [mask], [0.9]), 1, (50, 50)).shapes[0].polygon
    assert polygon == pytest.approx(rectangle(0, 10, 28, 18), abs=1e-6)


@pytest.mark.parametrize("representation", ["quadrilateral", "polygon"])
def test_without_masks_an_outline_is_the_box(representation):
    """A detector without a mask head is a Faster R-CNN."""
    found = detections([[2, 3, 12, 10], [-5, 4, 8, 60], [7, 7, 7, 9]], [FULL] * 3, [0.8, 0.9, 0.7])
    shapes = text_shapes(replace(found, masks=None), 1, (50, 40), representation)
    assert [shape.score for shape in shapes.shapes] == pytest.approx([0.9, 0.8])
    assert shapes.shapes[0].polygon == pytest.approx(rectangle(0, 4, 8, 50))
    assert shapes.shapes[1].polygon == pytest.approx(rectangle(2, 3, 12, 10))
    assert shapes.empty == 1, "a box without area has no outline"


def test_half_precision_masks():
    found = detections([[0, 0, 10, 10]], [FULL], [0.9])
    found = Detections(found.boxes, found.scores.bfloat16(), found.labels, found.valid, found.masks.bfloat16())
    assert text_shapes(found, 1, (50, 50)).shapes[0].polygon == pytest.approx(rectangle(0, 0, 10, 10), abs=1e-6)


def test_wrong_arguments_are_errors():
    found = detections([[0, 0, 10, 10]], [FULL], [0.9])
    with pytest.raises(ValueError, match='representation must be "quadrilateral" or "polygon", found \'quad\''):
        text_shapes(found, 1, (50, 50), "quad")


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
