"""Pyramid targets: by hand, against the loop that asks for triangles, in a batch, degenerate, errors."""

from dataclasses import replace

import pytest
import torch
from small_model import make_batch
from small_shapes import random_quadrilateral

from maskrcnn.reference.pyramids import pyramid_height, pyramid_target
from maskrcnn.slots import gather_rows
from maskrcnn.targets.mask_targets import mask_targets
from maskrcnn.targets.pyramids import pyramid_heights

SQUARE = torch.tensor([[0.0, 0], [8, 0], [8, 8], [0, 8]])

# --- By hand ----------------------------------------------------------------------------------------------------------


def test_a_pyramid_over_a_square():
    """Of 4 x 4 cells the outer ones have their centres a quarter of the way up, the inner ones three quarters."""
    found = pyramid_heights(SQUARE, torch.tensor([0.0, 0, 8, 8]), 4)
    outer, inner = 0.25, 0.75
    assert found.tolist() == [
        [outer, outer, outer, outer],
        [outer, inner, inner, outer],
        [outer, inner, inner, outer],
        [outer, outer, outer, outer],
    ]


def test_the_height_is_1_at_the_centre_and_0_at_the_border_and_outside():
    rois = torch.tensor([[3.0, 3, 5, 5], [7, 3, 9, 5], [-1, -1, 1, 1], [8, 8, 30, 30]])
    found = pyramid_heights(SQUARE, rois, 1).flatten().tolist()
    assert found == [1, 0, 0, 0]
    # One cell more on each side of the border.
    assert pyramid_heights(SQUARE, torch.tensor([6.0, 3, 10, 5]), 2)[:, :].tolist() == [[0.25, 0]] * 2


def test_an_roi_that_shows_a_part_shows_the_same_slopes():
    """The box need not hold the whole text: what is in it still says where the sides are."""
    whole = pyramid_heights(SQUARE, torch.tensor([0.0, 0, 8, 8]), 8)
    part = pyramid_heights(SQUARE, torch.tensor([2.0, 1, 6, 5]), 4)
    assert torch.equal(part, whole[1:5, 2:6])


def test_the_centre_is_the_mean_of_the_corners():
    """That of a trapezium is not where its diagonals cross, nor its centre of gravity."""
    trapezium = torch.tensor([[0.0, 0], [12, 0], [8, 4], [4, 4]])
    assert pyramid_heights(trapezium, torch.tensor([5.0, 1, 7, 3]), 1).item() == 1
    assert pyramid_heights(trapezium, torch.tensor([5.0, 0, 7, 2]), 1).item() == 0.5


def test_the_loop_by_hand():
    for x, y, expected in ((4, 4, 1), (2, 4, 0.5), (6, 7, 0.25), (0, 0, 0), (9, 4, 0)):
        assert pyramid_height(SQUARE, x, y) == pytest.approx(expected)


# --- Against the loop -------------------------------------------------------------------------------------------------


def test_agrees_with_the_loop_that_asks_for_triangles():
    """For quadrilaterals in perspective, either way round, and RoIs that miss parts of them."""
    quadrilaterals = torch.stack([torch.from_numpy(random_quadrilateral(seed)) for seed in range(12)])
    quadrilaterals[::2] = quadrilaterals[::2].flip(1)
    low, high = quadrilaterals.amin(dim=1), quadrilaterals.amax(dim=1)
    shift = (torch.rand(12, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 0.5) / 2
    rois = torch.cat((low, high), dim=1) + shift * (high - low).repeat(1, 2)
    found = pyramid_heights(quadrilaterals.view(3, 4, 4, 2), rois.view(3, 4, 4), 9)
    assert found.shape == (3, 4, 9, 9)
    for heights, quadrilateral, roi in zip(found.flatten(0, 1), quadrilaterals, rois, strict=True):
        torch.testing.assert_close(heights, pyramid_target(quadrilateral, roi, 9), rtol=0, atol=1e-12)
    assert found.min() == 0 and found.max() > 0.8


def test_single_precision_is_enough_far_from_the_origin():
    roi = torch.tensor([0.0, 0, 8, 8])
    moved, expected = pyramid_heights(SQUARE + 3000, roi + 3000, 7), pyramid_heights(SQUARE, roi, 7)
    torch.testing.assert_close(moved, expected, rtol=0, atol=1e-3)


# --- In a batch -------------------------------------------------------------------------------------------------------


def test_each_roi_gets_the_pyramid_of_its_ground_truth():
    targets = make_batch([[(1, (0, 0, 20, 10)), (1, (30, 20, 60, 50))], [(2, (8, 8, 40, 40))]], 3).targets
    rois = torch.tensor([[[30.0, 20, 60, 50], [0, 0, 20, 10]], [[8, 8, 40, 40], [0, 0, 9, 9]]])
    chosen = torch.tensor([[1, 0], [0, 2]])
    found = mask_targets(targets, chosen, rois, torch.tensor([[64, 96], [64, 96]]), 4, "pyramid")
    expected = pyramid_heights(gather_rows(targets.quadrilaterals, chosen), rois, 4)
    assert torch.equal(found, expected) and found.shape == (2, 2, 4, 4)
    full = pyramid_heights(SQUARE, torch.tensor([0.0, 0, 8, 8]), 4)
    assert all(torch.equal(found[image, roi], full) for image, roi in ((0, 0), (0, 1), (1, 0)))
    assert not found[1, 1].any(), "an empty slot"


def test_objects_of_several_polygons_have_no_pyramids():
    targets = replace(make_batch([[(1, (0, 0, 20, 10))]], 1).targets, quadrilaterals=None)
    arguments = (targets, torch.zeros(1, 1, dtype=torch.int64), torch.zeros(1, 1, 4), torch.tensor([[64, 96]]), 4)
    with pytest.raises(ValueError, match="found objects of several polygons, expected texts of one each for pyramid"):
        mask_targets(*arguments, "pyramid")


# --- Degenerate -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "corners",
    [[[0.0, 0]] * 4, [[5.0, 5]] * 4, [[0.0, 0], [8, 0], [8, 0], [0, 0]], [[0.0, 0], [4, 4], [8, 8], [4, 4]]],
    ids=["empty slot", "point", "level line", "slanted line"],
)
def test_what_has_no_area_has_no_height(corners):
    found = pyramid_heights(torch.tensor(corners), torch.tensor([0.0, 0, 8, 8]), 5)
    assert not found.any()


def test_an_roi_without_area_looks_at_one_point():
    assert pyramid_heights(SQUARE, torch.tensor([4.0, 2, 4, 2]), 3).tolist() == [[0.5] * 3] * 3


def test_no_rois():
    assert pyramid_heights(torch.zeros(2, 0, 4, 2), torch.zeros(2, 0, 4), 7).shape == (2, 0, 7, 7)
