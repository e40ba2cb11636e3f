"""Masks to outlines: by hand, against OpenCV's recorded answers, and against plain loops."""

import math

import numpy as np
import pytest
import torch
from small_shapes import drawn, iou, rectangle, rotated_rectangle, soft_mask

from maskrcnn import ops
from maskrcnn.data.polygons import area, bounds, is_simple, minimum_area_rectangle, rasterize
from maskrcnn.text import simplify
from maskrcnn.text_outlines import mask_outlines, mask_to_polygon, mask_to_quadrilateral, paste_around

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


# Pasting around boxes

SIZE = (70, 90)


def pasted_whole(masks, boxes):
    return ops.paste_masks(masks, boxes, height=SIZE[0], width=SIZE[1], convention="pixel_centres").numpy()


def put_back(parts):
    """Pictures (D, H, W) bool from the parts around the boxes."""
    pictures = np.zeros((len(parts), *SIZE), dtype=bool)
    for picture, (mask, (x, y)) in zip(pictures, parts, strict=True):
        picture[y : y + mask.shape[0], x : x + mask.shape[1]] = mask
    return pictures


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_pasting_around_a_box_is_pasting_into_the_whole_picture(dtype):
    generator = torch.Generator().manual_seed(0)
    masks = torch.rand(300, 7, 7, generator=generator).to(dtype)
    centres = torch.rand(300, 2, generator=generator) * torch.tensor([120.0, 100.0]) - 15
    halves = torch.rand(300, 2, generator=generator) ** 2 * 40
    boxes = torch.cat([centres - halves, centres + halves], dim=1).to(dtype)
    parts = list(paste_around(masks, boxes, SIZE))
    whole = pasted_whole(masks, boxes)
    assert np.array_equal(put_back(parts), whole)
    assert whole.any(axis=(1, 2)).mean() > 0.5
    # Most parts are much smaller than the picture.
    assert np.median([part.mask.size for part in parts]) < 0.2 * whole[0].size


def test_boxes_of_every_kind_are_pasted_as_into_the_whole_picture():
    inf, nan = float("inf"), float("nan")
    boxes = torch.tensor(
        [[0, 0, 90, 70], [-1e6, -1e6, 1e6, 1e6], [10, 10, 10, 20], [30, 30, 20, 20], [95, 10, 99, 20],
         [10.25, -9, 20, -1], [0, 0, inf, 10], [-inf, 0, 10, 10], [nan, 0, 10, 10],
         [60.5, 50.5, 200, 200], [7.4999995, 3, 8.5, 5]]
    )  # fmt: skip
    masks = torch.ones(len(boxes), 5, 5)
    parts, whole = list(paste_around(masks, boxes, SIZE)), pasted_whole(masks, boxes)
    assert np.array_equal(put_back(parts), whole)
    assert [bool(picture.any()) for picture in whole] == [True, True, *[False] * 7, True, True]
    assert list(paste_around(masks[:0], boxes[:0], SIZE)) == []


def test_a_mask_reaches_half_a_cell_beyond_its_box():
    """Values above 1 are no probabilities, but nothing else shows what lies out there."""
    (part,) = paste_around(torch.full((1, 2, 2), 1000.0), torch.tensor([[20.0, 20, 40, 40]]), SIZE)
    assert part.corner == (15, 15) and part.mask.shape == (30, 30) and part.mask.all()


def test_shapes_of_a_part_are_those_of_the_picture():
    mask = np.zeros((40, 60), dtype=bool)
    mask[5:15, 10:30] = mask[20:24, 40:50] = True
    part, corner = mask[3:30, 7:55], (7, 3)
    for extent in ("corners", "indices"):
        assert np.array_equal(mask_to_quadrilateral(part, extent, corner), mask_to_quadrilateral(mask, extent))
        for piece in ("largest", "last"):
            assert np.array_equal(mask_to_polygon(part, piece, extent, corner), mask_to_polygon(mask, piece, extent))
