"""Anchors of both published families, number by number, and the order in which the RPN speaks about them."""

import math

import pytest
import torch
from torch.testing import assert_close

from maskrcnn.config import AnchorConfig
from maskrcnn.model.anchors import AnchorGenerator, cell_anchors, grid_anchors

STRIDES = (4, 8, 16, 32, 64)
TEXT_RATIOS = (0.17, 0.44, 1.13, 2.90, 7.46)


def sizes_of(anchors: torch.Tensor) -> torch.Tensor:
    """Widths and heights (N, 2)."""
    return anchors[:, 2:] - anchors[:, :2]


# By hand.


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (32, [[-23, -11, 23, 11], [-16, -16, 16, 16], [-11, -23, 11, 23]]),
        (128, [[-91, -45, 91, 45], [-64, -64, 64, 64], [-45, -91, 45, 91]]),
    ],
)
def test_rounded_anchors_of_torchvision(size, expected):
    assert cell_anchors(size, (0.5, 1.0, 2.0), round_to_pixels=True).tolist() == expected


def test_halves_round_to_even():
    """Half extents of 2.5, 3.5 and 0.5 pixels."""
    for size, half in ((5, 2.0), (7, 4.0), (1, 0.0)):
        assert cell_anchors(size, (1.0,), round_to_pixels=True).tolist() == [[-half, -half, half, half]]


def test_text_anchors_of_pmtd():
    expected = torch.tensor([[38.81, 6.60], [24.12, 10.61], [15.05, 17.01], [9.40, 27.25], [5.86, 43.70]])
    for level, size in enumerate((16, 32, 64, 128, 256)):
        anchors = cell_anchors(size, TEXT_RATIOS, round_to_pixels=False)
        assert_close(sizes_of(anchors), expected * 2**level, atol=0.006 * 2**level, rtol=0)


def test_each_anchor_has_the_area_of_its_size_and_the_ratio_of_height_to_width():
    width, height = sizes_of(cell_anchors(64.0, TEXT_RATIOS, round_to_pixels=False)).T
    assert_close(width * height, torch.full((5,), 64.0**2))
    assert_close(height / width, torch.tensor(TEXT_RATIOS))


def test_anchors_are_centred_on_the_corner_of_their_cell():
    """Not on its middle: nothing is added to column * stride."""
    anchors = grid_anchors(cell_anchors(8.0, (1.0,), round_to_pixels=False), (2, 3), (16.0, 10.0))
    centres = (anchors[:, :2] + anchors[:, 2:]) / 2
    assert centres.tolist() == [[0, 0], [10, 0], [20, 0], [0, 16], [10, 16], [20, 16]]


def test_order_is_row_then_column_then_anchor():
    cell = cell_anchors(32.0, (0.5, 1.0, 2.0), round_to_pixels=False)
    anchors = grid_anchors(cell, (4, 5), (8.0, 8.0))
    for row in range(4):
        for column in range(5):
            for index in range(3):
                offset = torch.tensor([column * 8.0, row * 8.0, column * 8.0, row * 8.0])
                assert_close(anchors[(row * 5 + column) * 3 + index], cell[index] + offset)


# A whole pyramid.


def grids_of(height: int, width: int) -> list[tuple[int, int]]:
    """Feature map sizes: five halvings that round up, then every second cell."""
    return [(math.ceil(height / stride), math.ceil(width / stride)) for stride in STRIDES]


def test_a_pyramid_has_an_anchor_for_every_cell_and_ratio():
    levels = AnchorGenerator(AnchorConfig(), STRIDES)(grids_of(800, 1088), (800, 1088))
    assert [len(level) for level in levels] == [200 * 272 * 3, 100 * 136 * 3, 50 * 68 * 3, 25 * 34 * 3, 13 * 17 * 3]
    for level, size in zip(levels, (32, 64, 128, 256, 512), strict=True):
        assert_close(sizes_of(level[1::3]), torch.full((len(level) // 3, 2), float(size)))


def test_stride_trap_of_torchvision():
    """800 rows of pixels make 13 rows of P6, 61 pixels apart by floor division and 64 by the network's stride."""
    grids = grids_of(800, 1120)
    assert grids[-1] == (13, 18)
    fixed = AnchorGenerator(AnchorConfig(), STRIDES)(grids, (800, 1120))
    divided = AnchorGenerator(AnchorConfig(stride_from_feature_size=True), STRIDES)(grids, (800, 1120))
    next_row, next_column = 18 * 3, 3
    assert (fixed[-1][next_row] - fixed[-1][0]).tolist() == [0, 64, 0, 64]
    assert (divided[-1][next_row] - divided[-1][0]).tolist() == [0, 800 // 13, 0, 800 // 13] == [0, 61, 0, 61]
    assert (divided[-1][next_column] - divided[-1][0]).tolist() == [1120 // 18, 0, 1120 // 18, 0] == [62, 0, 62, 0]
    for level in range(4):  # 800 and 1120 are multiples of 32, so on the finer levels both rules agree
        assert torch.equal(fixed[level], divided[level])


def test_anchors_outside_the_image_are_kept():
    (level,) = AnchorGenerator(AnchorConfig(sizes=(512.0,)), (64,))([(1, 1)], (64, 64))
    assert len(level) == 3 and level.min() < -100


def test_anchors_move_with_the_model_but_are_not_in_its_checkpoints():
    generator = AnchorGenerator(AnchorConfig(), STRIDES)
    assert generator.state_dict() == {}
    assert generator.to("meta")(grids_of(64, 64), (64, 64))[0].device.type == "meta"


def test_a_level_that_is_alone_has_all_sizes():
    """Faster R-CNN section 3.1.1: at each cell, every size in every ratio; the sizes one after another."""
    generator = AnchorGenerator(AnchorConfig(), (16,))
    (level,) = generator([(2, 3)], (32, 48))
    assert generator.anchors_per_cell == 15 and len(level) == 2 * 3 * 15
    areas = sizes_of(level[:15]).prod(dim=1)
    assert_close(areas.sqrt(), torch.tensor([32.0, 64, 128, 256, 512]).repeat_interleave(3), atol=1e-3, rtol=0)
    assert_close(level[5 * 15 :] - level[:15], torch.tensor([32.0, 16, 32, 16]).expand(15, 4))


def test_every_level_needs_a_size():
    with pytest.raises(ValueError, match=r"^anchors.sizes: found 5, expected one for each of the 4 levels"):
        AnchorGenerator(AnchorConfig(), STRIDES[:4])
