"""From heat maps to points: where the enlarged map is highest, for all RoIs at once (spec 4.1)."""

import math
from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from random_inputs import random_boxes

from maskrcnn.model import keypoint_decoding
from maskrcnn.model.keypoint_decoding import decode_each, decode_keypoints, scale_keypoints
from maskrcnn.reference.keypoints import decode_keypoints as reference_decode
from maskrcnn.targets.keypoints import keypoint_cells


def batched(heat_maps, rois):
    """All at once, with room for RoIs larger than any."""
    height, width = ((rois[:, 2:] - rois[:, :2]).amax(dim=0).clamp(min=1).ceil().int() + 5).flip(0).tolist()
    return decode_keypoints(heat_maps, rois, (height, width))


def all_but_one(heat_maps, rois):
    """With so little memory allowed that only a few rows exist at a time."""
    with mock.patch.object(keypoint_decoding, "MOST_VALUES", 7 * heat_maps.shape[0] * heat_maps.shape[1] * 100):
        return batched(heat_maps, rois)


WAYS = pytest.mark.parametrize("decode", [batched, decode_each, all_but_one])


def peak(row, column, size=56):
    """One heat map (1, 1, size, size) with a single high cell."""
    heat_map = torch.zeros(1, 1, size, size)
    heat_map[0, 0, row, column] = 1.0
    return heat_map


# --- Worked by hand ---------------------------------------------------------------------------------------------------


@WAYS
def test_a_map_as_large_as_its_roi_is_left_as_it_is(decode):
    """56 pixels for 56 cells: the point is the middle of the highest cell, and its score that cell's logit."""
    roi = torch.tensor([[10.0, 20.0, 66.0, 76.0]])
    assert decode(peak(3, 40), roi).tolist() == [[[10 + 40.5, 20 + 3.5, 1.0]]]


@WAYS
def test_x_comes_from_the_column_and_y_from_the_row(decode):
    roi = torch.tensor([[0.0, 0.0, 28.0, 112.0]])
    ((x, y, _),) = decode(peak(40, 10), roi)[0].tolist()
    assert x == pytest.approx((10 + 0.5) / 2, abs=0.5) and y == pytest.approx((40 + 0.5) * 2, abs=1)


@WAYS
@pytest.mark.parametrize("cell", [1, 27, 54])
def test_three_pixels_a_cell(decode, cell):
    """The highest is the middle one of the highest cell."""
    roi = torch.tensor([[5.0, 7.0, 5.0 + 168, 7.0 + 168]])
    x, y, score = decode(peak(cell, cell), roi)[0, 0].tolist()
    assert x == pytest.approx(5 + 3 * cell + 1.5) and y == pytest.approx(7 + 3 * cell + 1.5)
    assert score == pytest.approx(1.0)


@WAYS
def test_the_outermost_cells_go_on_beyond_the_map(decode):
    """So the first and the last pixel have two cells of 1 around them, and a cubic is higher there than in a centre."""
    roi = torch.tensor([[5.0, 7.0, 5.0 + 168, 7.0 + 168]])
    (first,), (last,) = decode(peak(0, 0), roi)[0].tolist(), decode(peak(55, 55), roi)[0].tolist()
    assert first[:2] == [5.5, 7.5] and last[:2] == [172.5, 174.5]
    assert first[2] == pytest.approx(last[2]) and first[2] > 1


@WAYS
def test_pixels_fill_an_roi_whose_sides_are_no_whole_numbers(decode):
    """Width 27.3 is 28 pixels of 27.3 / 28: with 56 cells, every second pair of them meets in the middle of a pixel."""
    roi = torch.tensor([[1.25, 2.0, 1.25 + 27.3, 2.0 + 56]])
    heat_map = peak(9, 20) + peak(9, 21)
    x, y, _ = decode(heat_map, roi)[0, 0].tolist()
    assert x == pytest.approx(1.25 + 10.5 * 27.3 / 28) and y == pytest.approx(2 + 9.5)


@WAYS
def test_between_two_cells_a_cubic_is_higher_than_either(decode):
    """With three pixels a cell, the pixels beside the middle are a third of a cell from one centre."""
    roi = torch.tensor([[0.0, 0.0, 168.0, 56.0]])
    heat_map = peak(9, 20) + peak(9, 21)
    score = decode(heat_map, roi)[0, 0, 2].item()
    third = 1 / 3
    weight = (1.25 * third - 2.25) * third**2 + 1
    other = (1.25 * (1 - third) - 2.25) * (1 - third) ** 2 + 1
    assert score == pytest.approx(weight + other) and score > 1


@WAYS
def test_the_first_of_equals_wins(decode):
    flat = torch.ones(1, 1, 56, 56)
    roi = torch.tensor([[0.0, 0.0, 56.0, 56.0]])
    assert decode(flat, roi).tolist() == [[[0.5, 0.5, 1.0]]]
    assert decode(peak(4, 9) + peak(4, 30) + peak(20, 2), roi).tolist() == [[[9.5, 4.5, 1.0]]]


@WAYS
def test_an_roi_of_less_than_a_pixel_counts_as_one(decode):
    rois = torch.tensor([[3.0, 4.0, 3.0, 4.0], [3.0, 4.0, 3.25, 4.5]])
    found = decode(peak(0, 0).expand(2, 1, -1, -1), rois)
    assert found[..., :2].tolist() == [[[3.5, 4.5]], [[3.5, 4.5]]]


# --- Against the loop, which asks PyTorch to enlarge each map ---------------------------------------------------------


@WAYS
def test_agrees_with_the_loop(decode):
    """RoIs from a fraction of a pixel to twice the map's size, in float64, where no two values are equal."""
    torch.manual_seed(0)
    rois = torch.cat((random_boxes(12, seed=0, extent=120.0), random_boxes(4, seed=1, extent=2.0)))
    heat_maps = torch.randn(16, 5, 56, 56, dtype=torch.float64)
    expected = torch.stack([reference_decode(*pair) for pair in zip(heat_maps, rois, strict=True)])
    torch.testing.assert_close(decode(heat_maps, rois), expected, rtol=0, atol=1e-10)


@WAYS
@pytest.mark.parametrize("size", [8, 28, 56])
def test_agrees_with_the_loop_in_float32(decode, size):
    """Smooth maps as a network makes them: coarse ones, doubled. The values agree to rounding, and so do the points."""
    torch.manual_seed(size)
    coarse = torch.randn(10, 4, size // 2, size // 2)
    heat_maps = F.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)
    rois = random_boxes(10, seed=size, extent=90.0).float()
    expected = torch.stack([reference_decode(*pair) for pair in zip(heat_maps, rois, strict=True)])
    torch.testing.assert_close(decode(heat_maps, rois), expected, rtol=1e-5, atol=1e-4)


def test_cells_and_points_are_inverse():
    """A map that is high where the target says gives the point back, to half a cell and half a pixel."""
    rois = random_boxes(6, seed=3, extent=90.0).float() + torch.tensor([0.0, 0.0, 60.0, 60.0])
    share = 0.05 + 0.9 * torch.rand(6, 5, 2, generator=torch.Generator().manual_seed(0))
    points = rois[:, None, :2] + share * (rois[:, 2:] - rois[:, :2])[:, None]
    keypoints = torch.cat((points, torch.full((6, 5, 1), 2.0)), dim=-1)
    target = keypoint_cells(keypoints, rois, 56)
    heat_maps = F.one_hot(target.cell, 56 * 56).float().view(6, 5, 56, 56)
    found = decode_each(heat_maps, rois)[..., :2]
    allowed = (rois[:, 2:] - rois[:, :2])[:, None] / 56 / 2 + 0.5
    assert ((found - points).abs() <= allowed + 1e-4).all()


# --- Room, memory, precision ------------------------------------------------------------------------------------------


def test_more_room_changes_nothing():
    """Rows and columns that an RoI does not have are copies of its last, never points of their own."""
    torch.manual_seed(0)
    heat_maps, rois = torch.randn(6, 3, 56, 56, dtype=torch.float64), random_boxes(6, seed=2, extent=60.0)
    heat_maps[0, :, -1, -1] = 10.0  # the highest value is in the cell that is repeated
    exact = decode_each(heat_maps, rois)
    torch.testing.assert_close(decode_keypoints(heat_maps, rois, (60, 60)), exact, rtol=0, atol=1e-12)
    torch.testing.assert_close(decode_keypoints(heat_maps, rois, (100, 75)), exact, rtol=0, atol=1e-12)


def test_memory_is_bounded_by_bands_of_rows():
    """No tensor holds the enlarged maps, however large the RoIs."""
    largest = 0

    class Largest(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            result = func(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor):
                largest = max(largest, result.numel())
            return result

    heat_maps, rois = torch.zeros(2, 17, 56, 56), torch.tensor([[0.0, 0.0, 400.0, 300.0]]).expand(2, 4)
    with mock.patch.object(keypoint_decoding, "MOST_VALUES", 200_000), Largest():
        decode_keypoints(heat_maps, rois, (300, 400))
    assert 100_000 < largest <= 200_000 < 2 * 17 * 300 * 400


def test_autocast_changes_nothing():
    torch.manual_seed(0)
    heat_maps, rois = torch.randn(4, 3, 56, 56), random_boxes(4, seed=2, extent=60.0).float()
    expected = decode_each(heat_maps, rois)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(decode_each(heat_maps, rois), expected)


@WAYS
def test_one_roi_and_no_points(decode):
    assert decode(torch.zeros(1, 0, 56, 56), torch.tensor([[0.0, 0.0, 9.0, 9.0]])).shape == (1, 0, 3)


def test_no_rois():
    nothing = torch.zeros(0, 3, 56, 56), torch.zeros(0, 4)
    assert decode_each(*nothing).shape == decode_keypoints(*nothing, (20, 30)).shape == (0, 3, 3)


def test_pictures_that_no_machine_holds_are_refused():
    with pytest.raises(ValueError, match=r"largest must be at most 1,048,576 pixels, found \(9, 2147483648\)"):
        decode_keypoints(torch.zeros(1, 3, 56, 56), torch.tensor([[0.0, 0.0, 9.0, 9.0]]), (9, 2**31))


def test_a_map_that_is_not_a_number_says_so_in_its_score():
    heat_maps = torch.full((1, 1, 56, 56), math.nan)
    assert decode_each(heat_maps, torch.tensor([[0.0, 0.0, 9.0, 9.0]]))[0, 0, 2].isnan()


# --- Original pixels --------------------------------------------------------------------------------------------------


def test_each_axis_is_scaled_by_its_own_factor_and_the_score_is_not():
    keypoints = torch.tensor([[[[10.0, 20.0, 3.0]]], [[[1.0, 2.0, -4.0]]]])
    scaled = scale_keypoints(keypoints, torch.tensor([[100, 50], [10, 10]]), torch.tensor([[200, 150], [5, 20]]))
    assert scaled.tolist() == [[[[30.0, 40.0, 3.0]]], [[[2.0, 1.0, -4.0]]]]
