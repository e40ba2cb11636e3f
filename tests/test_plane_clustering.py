"""Plane clustering: exact pyramids come back, noise is borne better than by contours, and nothing crashes it."""

import numpy as np
import pytest
from small_shapes import corner_distance, iou, pyramid, random_quadrilateral, rotated_rectangle, soft_mask

from maskrcnn.data.polygons import area, bounds, minimum_area_rectangle
from maskrcnn.plane_clustering import START_HEIGHT, fit_planes, pyramid_bases
from maskrcnn.text_outlines import mask_outlines

SEEDS = range(20)


def grown(box, share):
    """A box longer by a share of its sides at each end; a negative one cuts off."""
    sides = np.tile((box[2:] - box[:2]) * share, 2)
    return box + sides * (-1, -1, 1, 1)


def base_of(heights, box):
    (base,) = pyramid_bases(heights[None], box[None])
    return base


# --- Exact pyramids ---------------------------------------------------------------------------------------------------


def test_a_pyramid_over_a_square_by_hand():
    """Heights by the distance from the nearest side, in a mask of 8 x 8 cells of 2 x 2 pixels."""
    steps = np.minimum(np.arange(8), np.arange(8)[::-1]) + 0.5
    heights = np.minimum(steps[:, None], steps) / 4
    base = base_of(heights, np.array([10.0, 20, 26, 36]))
    assert base.fitted
    np.testing.assert_allclose(base.corners, [[10, 20], [26, 20], [26, 36], [10, 36]], atol=1e-9)
    # In cells, from a start that is too small and beside the middle.
    start = np.array([[1.0, 1], [6, 1], [6, 5], [1, 5]])
    np.testing.assert_allclose(fit_planes(heights, start), [[0, 0], [8, 0], [8, 8], [0, 8]], atol=1e-9)


@pytest.mark.parametrize("share", [0.0, 0.1, -0.1], ids=["tight box", "wide box", "narrow box"])
def test_exact_pyramids_come_back(share):
    """To a millionth of a pixel; also where the box cuts a tenth off each side, of which no mask shows anything."""
    for seed in SEEDS:
        word = random_quadrilateral(seed)
        box = grown(bounds(word), share)
        base = base_of(pyramid(word, box), box)
        assert base.fitted and area(base.corners) > 0
        assert corner_distance(base.corners, word) < 1e-6, seed


# --- Noise ------------------------------------------------------------------------------------------------------------


def test_with_noise_planes_beat_the_contour_at_one_half():
    """Of a mask as Mask R-CNN learns it, with the same noise in its cells: a fifth of the IoU that contours lose.

    Most of that is the shape, for words in perspective are no rectangles; but of rectangles, too, planes lose less.
    """
    rng = np.random.default_rng(0)
    losses = {"words": [], "rectangles": []}
    for seed in SEEDS:
        size = rng.uniform(20, 200), rng.uniform(10, 50)
        shapes = {
            "words": random_quadrilateral(seed),
            "rectangles": rotated_rectangle((200, 200), *size, rng.uniform(-1.5, 1.5)),
        }
        for kind, shape in shapes.items():
            box, noise = bounds(shape), rng.normal(0, 0.05, (28, 28))
            base = base_of((pyramid(shape, box) + noise).clip(0, 1), box)
            (outlines,) = mask_outlines((soft_mask(shape, box) + noise).clip(0, 1)[None], box[None])
            rectangle = minimum_area_rectangle(max(outlines, key=area))
            losses[kind].append((1 - iou(base.corners, shape), 1 - iou(rectangle, shape)))
    planes, contours = np.mean(losses["words"], axis=0)
    assert planes < 0.025 and contours > 0.1
    planes, contours = np.mean(losses["rectangles"], axis=0)
    assert planes < 0.025 and contours > 0.03


def test_a_neighbour_in_the_same_box_does_not_pull_the_planes():
    """What is not over the text, as the planes have it, does not count; the smaller piece is no start either."""
    word = rotated_rectangle((60, 40), 80, 24, 0.3)
    box = grown(bounds(word), 0.15)
    heights = pyramid(word, box)
    heights[:4, -8:] = 0.4
    base = base_of(heights, box)
    assert base.fitted and corner_distance(base.corners, word) < 1e-6


# --- What is no pyramid -----------------------------------------------------------------------------------------------


def test_without_planes_the_rectangle_around_the_contour_stays():
    """A single cell: three of the four planes find none that is theirs."""
    heights = np.zeros((8, 8))
    heights[3, 4] = 1
    base = base_of(heights, np.array([0.0, 0, 8, 8]))
    assert not base.fitted
    # The contour of one cell at a fifth is a square on its tip, 4/5 of a cell from its centre, and the base reaches 1.
    np.testing.assert_allclose(base.corners, [[4.5, 2.5], [5.5, 3.5], [4.5, 4.5], [3.5, 3.5]], atol=1e-9)


def test_nothing_reaches_the_height_of_the_start():
    assert base_of(np.full((28, 28), START_HEIGHT - 1e-6), np.array([0.0, 0, 28, 28])) is None
    assert base_of(np.zeros((28, 28)), np.array([0.0, 0, 28, 28])) is None
    assert pyramid_bases(np.zeros((0, 28, 28)), np.zeros((0, 4))) == []


@pytest.mark.parametrize(
    "heights",
    [
        np.ones((28, 28)),
        np.eye(28),
        np.eye(28)[::-1] * 0.3,
        np.tile(np.arange(28) / 27, (28, 1)),
        np.indices((28, 28)).sum(axis=0) % 2,
        np.random.default_rng(0).random((28, 28)),
        np.where(np.arange(28) == 14, 1.0, 0.0)[:, None] * np.ones(28),
        np.ones((1, 1)),
        np.ones((2, 2)),
    ],
    ids=["flat", "diagonal", "other diagonal", "ramp", "chequered", "noise", "line", "one cell", "four cells"],
)
def test_masks_that_are_no_pyramids_have_a_base_all_the_same(heights):
    base = base_of(heights, np.array([10.0, 20, 66, 34]))
    assert base.corners.shape == (4, 2) and np.isfinite(base.corners).all() and area(base.corners) > 0
    assert (base.corners > (10 - 56, 20 - 28)).all() and (base.corners < (66 + 56, 34 + 28)).all()


def test_boxes_without_area_have_a_base_without():
    for box in ([5.0, 5, 5, 9], [5, 5, 9, 5], [5, 5, 5, 5]):
        base = base_of(np.ones((28, 28)), np.array(box))
        assert not base.fitted and area(base.corners) == pytest.approx(0, abs=1e-9)


def test_each_mask_has_its_own_base():
    words = [random_quadrilateral(seed) for seed in range(3)]
    boxes = np.stack([bounds(word) for word in words])
    masks = np.stack([pyramid(word, box) for word, box in zip(words, boxes, strict=True)])
    masks[1] = 0
    first, none, third = pyramid_bases(masks, boxes)
    assert none is None
    assert corner_distance(first.corners, words[0]) < 1e-6 and corner_distance(third.corners, words[2]) < 1e-6
