"""Which cell of its RoI's heat map each keypoint asks for, and the loss that asks (paper section 5, spec 2.6)."""

import math

import pytest
import torch
import torch.nn.functional as F
from random_inputs import random_boxes

from maskrcnn.reference import keypoints as reference_keypoints
from maskrcnn.targets.keypoints import keypoint_cells
from maskrcnn.targets.losses import keypoint_loss

ROI = torch.tensor([10.0, 20.0, 66.0, 132.0])
"""Cells of 1 x 2 pixels in a grid of 56 x 56."""


def cells(points, roi=ROI, size=56):
    """Cell numbers of (x, y, visibility) triples, None where there is nothing to learn."""
    target = keypoint_cells(torch.tensor(points), roi, size)
    assert not target.cell[~target.valid].any()
    return [cell if valid else None for cell, valid in zip(target.cell.tolist(), target.valid.tolist(), strict=True)]


# --- Cells, worked by hand --------------------------------------------------------------------------------------------


def test_a_point_asks_for_the_cell_it_lies_in():
    points = [(10.0, 20.0, 2.0), (10.9, 21.9, 2.0), (11.0, 22.0, 2.0), (40.5, 75.0, 2.0)]
    assert cells(points) == [0, 0, 1 * 56 + 1, 27 * 56 + 30]


def test_rows_count_56_and_columns_1():
    assert cells([(13.5, 20.5, 2.0), (10.5, 27.0, 2.0)]) == [3, 3 * 56]


def test_the_right_and_the_lower_edge_belong_to_the_last_cell():
    assert cells([(66.0, 132.0, 2.0), (66.0, 20.0, 2.0), (10.0, 132.0, 2.0)]) == [56 * 56 - 1, 55, 55 * 56]


def test_a_hidden_point_is_a_target_and_an_unlabelled_one_is_not():
    assert cells([(12.5, 20.0, 1.0), (12.5, 20.0, 2.0), (12.5, 20.0, 0.0), (0.0, 0.0, 0.0)]) == [2, 2, None, None]


@pytest.mark.parametrize("point", [(9.9, 50.0), (66.1, 50.0), (40.0, 19.9), (40.0, 132.1), (-5.0, -5.0)])
def test_a_point_outside_the_roi_is_no_target(point):
    assert cells([(*point, 2.0)]) == [None]


def test_the_grid_is_a_setting():
    assert cells([(38.5, 20.0, 2.0)], size=28) == [14]


# --- Against the loop, and what is degenerate -------------------------------------------------------------------------


def test_agrees_with_the_loop():
    """On random RoIs, with points on cell borders and on the RoIs' edges among them."""
    generator = torch.Generator().manual_seed(0)
    rois = random_boxes(3, 40, seed=1)
    share = torch.rand(3, 40, 17, 2, generator=generator, dtype=torch.float64) * 1.4 - 0.2
    share[:, :10] = (share[:, :10] * 56).round() / 56
    points = rois[..., None, :2] + share * (rois[..., 2:] - rois[..., :2])[..., None, :]
    points[:, 10:14] = rois[:, 10:14, None, 2:]
    visibility = torch.randint(0, 3, (3, 40, 17, 1), generator=generator)
    keypoints = torch.cat((points, visibility), dim=-1)
    found = keypoint_cells(keypoints, rois, 56)
    for image in range(3):
        for roi in range(40):
            expected = reference_keypoints.keypoint_cells(keypoints[image, roi], rois[image, roi], 56)
            assert found.valid[image, roi].tolist() == [cell is not None for cell in expected]
            assert found.cell[image, roi].tolist() == [cell or 0 for cell in expected]
    assert 0.3 < found.valid.double().mean() < 0.7


def test_every_cell_is_asked_for_by_its_centre():
    row, column = torch.meshgrid(torch.arange(56), torch.arange(56), indexing="ij")
    points = torch.stack((10 + column + 0.5, 20 + 2 * row + 1.0, torch.full((56, 56), 2.0)), dim=-1).flatten(0, 1)
    found = keypoint_cells(points, ROI, 56)
    assert found.valid.all() and found.cell.tolist() == list(range(56 * 56))


def test_an_roi_without_area():
    """Its edges are one: a point on it is in the last cell, any other outside; nothing is NaN."""
    nothing = torch.tensor([5.0, 5.0, 5.0, 5.0])
    assert cells([(5.0, 5.0, 2.0), (6.0, 5.0, 2.0), (0.0, 0.0, 0.0)], roi=nothing) == [56 * 56 - 1, None, None]
    assert cells([(0.0, 0.0, 0.0)], roi=torch.zeros(4)) == [None], "an empty slot"


def test_nowhere_is_no_target():
    assert cells([(math.nan, 30.0, 2.0), (math.inf, 30.0, 2.0)]) == [None, None]


def test_no_rois_and_no_points():
    assert keypoint_cells(torch.zeros(2, 0, 17, 3), torch.zeros(2, 0, 4), 56).cell.shape == (2, 0, 17)
    assert keypoint_cells(torch.zeros(2, 5, 0, 3), torch.zeros(2, 5, 4), 56).valid.shape == (2, 5, 0)


# --- The loss ---------------------------------------------------------------------------------------------------------


def test_a_flat_map_costs_the_logarithm_of_its_cells():
    loss = keypoint_loss(torch.zeros(1, 2, 3, 56, 56), torch.zeros(1, 2, 3, dtype=torch.int64), torch.ones(1, 2, 3) > 0)
    assert loss.item() == pytest.approx(math.log(3136), rel=1e-6)


def test_the_mean_is_over_all_valid_points_of_the_batch():
    """Not over RoIs, nor over images: a person of whom one joint is seen pulls as hard as one joint."""
    logits = torch.zeros(2, 1, 3, 2, 2)
    logits[0, 0, :, 0, 1] = math.log(5.0)  # probabilities 1/8, 5/8, 1/8, 1/8
    cell = torch.tensor([[[1, 0, 0]], [[0, 2, 3]]])
    valid = torch.tensor([[[True, True, False]], [[False, False, True]]])
    expected = -(math.log(5 / 8) + math.log(1 / 8) + math.log(1 / 4)) / 3
    assert keypoint_loss(logits, cell, valid).item() == pytest.approx(expected, rel=1e-6)


def test_rows_and_columns_of_a_map_are_not_swapped():
    logits = torch.zeros(1, 1, 1, 56, 56)
    logits[0, 0, 0, 3, 50] = 100.0
    target = keypoint_cells(torch.tensor([[[[60.5, 27.0, 2.0]]]]), ROI, 56)
    assert keypoint_loss(logits, target.cell, target.valid).item() < 1e-6


def test_agrees_with_a_selection_of_the_valid_points():
    torch.manual_seed(0)
    logits, cell = torch.randn(2, 5, 4, 7, 7), torch.randint(0, 49, (2, 5, 4))
    valid = torch.rand(2, 5, 4) < 0.4
    expected = F.cross_entropy(logits[valid].flatten(1), cell[valid])
    torch.testing.assert_close(keypoint_loss(logits, cell, valid), expected)


def test_nothing_valid_gives_0_and_a_gradient_of_zeros():
    logits = torch.randn(2, 3, 4, 7, 7, requires_grad=True)
    loss = keypoint_loss(logits, torch.zeros(2, 3, 4, dtype=torch.int64), torch.zeros(2, 3, 4, dtype=torch.bool))
    loss.backward()
    assert loss == 0 and not logits.grad.any()
    none = keypoint_loss(logits[:, :0], torch.zeros(2, 0, 4, dtype=torch.int64), torch.zeros(2, 0, 4) > 0)
    assert none == 0 and none.requires_grad


def test_gradient():
    torch.manual_seed(0)
    logits = torch.randn(1, 2, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    cell = torch.tensor([[[0, 5], [8, 2]]])
    valid = torch.tensor([[[True, False], [True, True]]])
    assert torch.autograd.gradcheck(lambda x: keypoint_loss(x, cell, valid), (logits,))
