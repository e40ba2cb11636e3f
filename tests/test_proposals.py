"""Proposals: from the RPN's answers to boxes worth a second look, batched and one image at a time."""

import pytest
import torch
from random_inputs import random_boxes
from torch.testing import assert_close

from maskrcnn import boxes as box_functions
from maskrcnn.config import BackboneConfig, BoxHeadConfig, ModelConfig, RPNConfig
from maskrcnn.model.rpn import RPN, RPNOutputs
from maskrcnn.reference import proposals as reference

SQUARES = torch.tensor([[0.0, 0.0, 16.0, 16.0], [20.0, 0.0, 36.0, 16.0], [40.0, 0.0, 56.0, 16.0]])
"""Three boxes that do not overlap."""


def rpn(**settings) -> RPN:
    """An RPN of which only `propose` is used."""
    return RPN(
        ModelConfig(backbone=BackboneConfig(pyramid_channels=4), rpn=RPNConfig(**settings)), strides=(4, 8, 16, 32, 64)
    )


def outputs_of(anchors: list[torch.Tensor], scores: list[list[float]]) -> RPNOutputs:
    """One image in which every anchor stays where it is."""
    deltas = [torch.zeros(1, len(level), 4) for level in anchors]
    return RPNOutputs([torch.tensor([level]) for level in scores], deltas, anchors)


def propose(network: RPN, outputs: RPNOutputs, size: tuple[int, int] = (100, 100), for_training: bool = False):
    """The real proposals (R, 4) of one image."""
    proposals = network.propose(outputs, torch.tensor([size]), for_training)
    return proposals.boxes[0][proposals.valid[0]]


# By hand.


def test_best_first_and_empty_slots_are_zeros():
    proposals = rpn(proposals_test=5).propose(
        outputs_of([SQUARES], [[0.5, 2.0, -1.0]]), torch.tensor([[100, 100]]), for_training=False
    )
    assert proposals.boxes.shape == (1, 5, 4)
    assert proposals.boxes[0, :3].tolist() == SQUARES[[1, 0, 2]].tolist()
    assert proposals.valid.tolist() == [[True, True, True, False, False]]
    assert not proposals.boxes[0, 3:].any()


def test_deltas_move_anchors():
    """dx = 0.5 of a width of 16, dh = ln 2."""
    outputs = RPNOutputs(
        [torch.tensor([[1.0]])], [torch.tensor([[[0.5, 0.0, 0.0, 0.6931471805599453]]])], [SQUARES[1:2]]
    )
    assert_close(propose(rpn(), outputs, (100, 100)), torch.tensor([[28.0, 0.0, 44.0, 24.0]]))  # y1 is cut at -8


def test_overlapping_boxes_of_one_level_are_suppressed_those_of_two_levels_are_not():
    boxes = torch.tensor([[0.0, 0.0, 16.0, 16.0], [0.0, 0.0, 16.0, 15.0]])  # IoU 15 / 16
    one_level = propose(rpn(), outputs_of([boxes], [[1.0, 2.0]]))
    two_levels = propose(rpn(), outputs_of([boxes[:1], boxes[1:]], [[1.0], [2.0]]))
    assert one_level.tolist() == [boxes[1].tolist()]
    assert two_levels.tolist() == [boxes[1].tolist(), boxes[0].tolist()]


def test_an_iou_equal_to_the_threshold_does_not_suppress():
    boxes = torch.tensor([[0.0, 0.0, 16.0, 16.0], [0.0, 0.0, 16.0, 12.0]])  # IoU 0.75
    assert len(propose(rpn(nms_iou=0.75), outputs_of([boxes], [[2.0, 1.0]]))) == 2
    assert len(propose(rpn(nms_iou=0.74), outputs_of([boxes], [[2.0, 1.0]]))) == 1


def test_candidates_are_counted_for_each_level_and_proposals_for_all_together():
    outputs = outputs_of([SQUARES, SQUARES + 50], [[3.0, 2.0, 1.0], [0.3, 0.2, 0.1]])
    found = propose(rpn(candidates_test=2), outputs, (200, 200))
    assert found.tolist() == torch.cat((SQUARES[:2], SQUARES[:2] + 50)).tolist()
    found = propose(rpn(candidates_test=2, proposals_test=3), outputs, (200, 200))
    assert found.tolist() == torch.cat((SQUARES[:2], SQUARES[:1] + 50)).tolist()


def test_training_and_testing_have_their_own_numbers():
    network = rpn(candidates_train=2, proposals_train=7, candidates_test=3, proposals_test=9)
    outputs, size = outputs_of([SQUARES], [[3.0, 2.0, 1.0]]), torch.tensor([[100, 100]])
    for for_training, slots, found in ((True, 7, 2), (False, 9, 3)):
        proposals = network.propose(outputs, size, for_training)
        assert proposals.valid.shape == (1, slots) and int(proposals.valid.sum()) == found


def test_boxes_are_clipped_to_their_own_image_and_tiny_ones_dropped():
    """Of the three squares, an image of 30 pixels width holds one and a half: nothing of the third is left."""
    outputs = outputs_of([SQUARES], [[1.0, 2.0, 3.0]])
    twice = RPNOutputs(*(([level.expand(2, *level.shape[1:]) for level in part]) for part in outputs[:2]), [SQUARES])
    proposals = rpn().propose(twice, torch.tensor([[10, 30], [100, 100]]), for_training=False)
    assert proposals.boxes[0][proposals.valid[0]].tolist() == [[20, 0, 30, 10], [0, 0, 16, 10]]
    assert int(proposals.valid[1].sum()) == 3


def test_a_side_as_long_as_the_minimum_is_long_enough():
    boxes = torch.tensor([[0.0, 0.0, 8.0, 2.0], [20.0, 0.0, 28.0, 1.75], [40.0, 0.0, 41.75, 8.0]])
    found = propose(rpn(minimum_size=2.0), outputs_of([boxes], [[1.0, 2.0, 3.0]]))
    assert found.tolist() == [boxes[0].tolist()]


def test_tiny_boxes_take_no_candidates_place_after_nms_only():
    """As published: the best `candidates` are chosen before the small ones among them are dropped."""
    boxes = torch.tensor([[0.0, 0.0, 0.0, 16.0], [20.0, 0.0, 36.0, 16.0]])
    assert len(propose(rpn(candidates_test=1), outputs_of([boxes], [[2.0, 1.0]]))) == 0


def test_clamping_of_the_box_head_counts_for_the_rpn_too():
    outputs = RPNOutputs([torch.tensor([[1.0]])], [torch.tensor([[[0.0, 0.0, -9.0, 0.0]]])], [SQUARES[1:2]])
    for clamp, width in ((True, 16 * 16 / 1000), (False, 16 * 2.718281828459045**-9)):
        config = ModelConfig(
            backbone=BackboneConfig(pyramid_channels=4), rpn=RPNConfig(minimum_size=0.0),
            box_head=BoxHeadConfig(clamp_both_sides=clamp),
        )  # fmt: skip
        ((x1, _, x2, _),) = propose(RPN(config, (4, 8, 16, 32, 64)), outputs).tolist()
        assert x2 - x1 == pytest.approx(width, abs=1e-5)


# Gradients.


def test_proposals_carry_no_gradient():
    """The second stage must not train the RPN through the coordinates of its RoIs."""
    outputs = outputs_of([SQUARES], [[1.0, 2.0, 3.0]])
    for part in (*outputs.objectness, *outputs.deltas):
        part.requires_grad_()
    proposals = rpn().propose(outputs, torch.tensor([[100, 100]]), for_training=True)
    assert proposals.valid.any() and not proposals.boxes.requires_grad


# Against the loop reference.


def random_outputs(seed: int, images: int) -> RPNOutputs:
    """Three levels of crowded anchors, some of them mostly outside the image, with deltas that move them a little."""
    generator = torch.Generator().manual_seed(seed)
    anchors = [random_boxes(count, seed=seed + count, extent=70.0) - 8 for count in (60, 30, 8)]
    objectness = [torch.randn(images, len(level), generator=generator, dtype=torch.float64) for level in anchors]
    deltas = [torch.randn(images, len(level), 4, generator=generator, dtype=torch.float64) * 0.3 for level in anchors]
    return RPNOutputs(objectness, deltas, anchors)


@pytest.mark.parametrize("clamp_both_sides", [True, False])
def test_each_image_of_a_batch_proposes_as_the_reference_does_alone(clamp_both_sides):
    sizes = torch.tensor([[60, 50], [64, 64], [12, 64]])
    rules = {"nms_iou": 0.5, "minimum_size": 4.0}
    config = ModelConfig(
        backbone=BackboneConfig(pyramid_channels=4),
        rpn=RPNConfig(candidates_train=40, proposals_train=25, **rules),
        box_head=BoxHeadConfig(clamp_both_sides=clamp_both_sides),
    )
    outputs = random_outputs(1, images=3)
    outputs.deltas[0][:, 5, 2:] = torch.tensor([9.0, -9.0])  # beyond the clamp, to both sides
    proposals = RPN(config, (4, 8, 16, 32, 64)).propose(outputs, sizes, for_training=True)
    for image in range(3):
        expected = reference.propose(
            [level[image] for level in outputs.objectness], [level[image] for level in outputs.deltas],
            outputs.anchors, sizes[image], candidates=40, kept=25, clamp_both_sides=clamp_both_sides, **rules,
        )  # fmt: skip
        assert_close(proposals.boxes[image][proposals.valid[image]], expected)
        assert not proposals.boxes[image][~proposals.valid[image]].any()
    counts = proposals.valid.sum(dim=1)
    assert counts.max() == 25 and counts.min() < 25  # one image has more than there is room for, one has fewer


def test_no_two_proposals_of_a_level_overlap_more_than_allowed():
    """With one level, the promise of NMS itself."""
    outputs = random_outputs(2, images=1)
    one_level = RPNOutputs(outputs.objectness[:1], outputs.deltas[:1], outputs.anchors[:1])
    found = propose(rpn(nms_iou=0.3), one_level, (64, 64))
    overlaps = box_functions.iou(found, found).fill_diagonal_(0)
    assert len(found) > 5 and overlaps.max() <= 0.3


# Empty.


def test_nothing_large_enough_is_no_proposal():
    proposals = rpn(minimum_size=50.0).propose(
        outputs_of([SQUARES], [[1.0, 2.0, 3.0]]), torch.tensor([[100, 100]]), for_training=False
    )
    assert not proposals.valid.any() and not proposals.boxes.any()


def test_the_reference_too_finds_nothing_in_nothing():
    found = reference.propose(
        [torch.tensor([1.0])], [torch.zeros(1, 4)], [SQUARES[:1]], torch.tensor([9, 9]),
        candidates=5, kept=5, nms_iou=0.7, minimum_size=50.0,
    )  # fmt: skip
    assert found.shape == (0, 4)
