"""The region proposal network: order of its outputs, proposals, losses."""

from dataclasses import replace
from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from small_model import SMALL, change, make_batch

from maskrcnn import boxes as box_functions
from maskrcnn.model.rpn import RPN, RPNHead, RPNOutputs

STRIDES = (4, 8, 16, 32, 64)
GRIDS = ((16, 24), (8, 12), (4, 6), (2, 3), (1, 2))
"""Rows and columns of the feature maps of a picture of 64 x 96 pixels."""
EVERYTHING = change(SMALL, "rpn", samples=4096)
"""Samples all anchors, so that nothing is left to chance."""


def make_rpn(config=SMALL):
    torch.manual_seed(0)
    return RPN(config, STRIDES)


def random_features(images=2, channels=16):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(images, channels, *grid, generator=generator) for grid in GRIDS]


def empty_batch(images=2):
    return make_batch([[] for _ in range(images)], 1)


def handmade_outputs(rpn, batch):
    """Outputs of an indifferent head: no anchor is any good, none is to be moved."""
    outputs = rpn(batch, random_features(batch.size))
    low = [torch.full_like(level, -10.0) for level in outputs.objectness]
    return RPNOutputs(low, [torch.zeros_like(level) for level in outputs.deltas], outputs.anchors)


# --- The head ---------------------------------------------------------------------------------------------------------


def test_outputs_are_listed_by_row_column_and_anchor():
    """Spec 1.3: row-major over y, then x, then anchor; of the delta maps, anchor-major."""
    torch.manual_seed(0)
    head = RPNHead(channels=6, anchors=3)
    features = [torch.randn(2, 6, 4, 5), torch.randn(2, 6, 2, 3)]
    objectness, deltas = head(features)
    for level, feature in enumerate(features):
        hidden = F.conv2d(feature, head.convolution.weight, head.convolution.bias, padding=1).clamp(min=0)
        scores = F.conv2d(hidden, head.objectness.weight, head.objectness.bias)
        shifts = F.conv2d(hidden, head.deltas.weight, head.deltas.bias)
        position = 0
        for row in range(feature.shape[2]):
            for column in range(feature.shape[3]):
                for anchor in range(3):
                    torch.testing.assert_close(objectness[level][:, position], scores[:, anchor, row, column])
                    torch.testing.assert_close(
                        deltas[level][:, position], shifts[:, 4 * anchor : 4 * anchor + 4, row, column]
                    )
                    position += 1
        assert objectness[level].shape == (2, position) and deltas[level].shape == (2, position, 4)


def test_channels_last_gives_the_same():
    head = RPNHead(channels=8, anchors=3)
    features = [torch.randn(2, 8, 5, 7)]
    expected = head(features)
    last = head.to(memory_format=torch.channels_last)
    found = last([feature.to(memory_format=torch.channels_last) for feature in features])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_few_anchors_are_told_what_all_are_told():
    rpn = make_rpn()
    features = random_features()
    everything = [torch.cat(levels, dim=1) for levels in rpn.head(features)]
    count = everything[0].shape[1]
    index = torch.stack((torch.arange(count), torch.arange(count).flip(0)))
    for found, expected in zip(rpn.head.at(features, index), everything, strict=True):
        torch.testing.assert_close(found, expected[torch.arange(2)[:, None], index], rtol=1e-4, atol=1e-6)


def test_initialisation():
    head = RPNHead(channels=64, anchors=5)
    for layer in (head.convolution, head.objectness, head.deltas):
        assert layer.weight.std().item() == pytest.approx(0.01, rel=0.1) and not layer.bias.any()


def test_one_score_and_four_deltas_for_every_anchor():
    config = change(SMALL, "anchors", ratios=(0.17, 0.44, 1.13, 2.9, 7.46))
    outputs = make_rpn(config)(empty_batch(), random_features())
    for grid, objectness, deltas, anchors in zip(GRIDS, *outputs, strict=True):
        count = grid[0] * grid[1] * 5
        assert (objectness.shape, deltas.shape, anchors.shape) == ((2, count), (2, count, 4), (count, 4))


def test_outputs_are_float32_under_autocast():
    rpn = make_rpn()
    with torch.autocast("cpu", torch.bfloat16):
        outputs = rpn(empty_batch(), random_features())
    assert {value.dtype for group in outputs for value in group} == {torch.float32}


# --- Proposals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "row", "column", "anchor"), [(0, 3, 5, 0), (0, 15, 23, 2), (2, 1, 4, 1), (3, 1, 2, 2)]
)
def test_a_proposal_starts_from_the_anchor_that_its_score_belongs_to(level, row, column, anchor):
    rpn, batch = make_rpn(), empty_batch()
    outputs = handmade_outputs(rpn, batch)
    index = (row * GRIDS[level][1] + column) * 3 + anchor
    outputs.objectness[level][1, index] = 5.0
    outputs.deltas[level][1, index] = torch.tensor([0.5, 0.0, 0.0, 0.0])
    proposals = rpn.propose(outputs, batch.image_sizes, for_training=True)
    size, ratio, stride = SMALL.anchors.sizes[level], SMALL.anchors.ratios[anchor], STRIDES[level]
    width, height = size / ratio**0.5, size * ratio**0.5
    x, y = column * stride + 0.5 * width, row * stride
    expected = torch.tensor([x - width / 2, y - height / 2, x + width / 2, y + height / 2])
    torch.testing.assert_close(proposals.boxes[1, 0], box_functions.clip(expected[None], torch.tensor([64, 96]))[0])


@pytest.mark.parametrize(("for_training", "slots"), [(True, 40), (False, 30)])
def test_slots_in_training_and_at_test(for_training, slots):
    proposals = make_rpn().propose(
        make_rpn()(empty_batch(), random_features()), empty_batch().image_sizes, for_training=for_training
    )
    assert proposals.boxes.shape == (2, slots, 4) and proposals.valid.shape == (2, slots)


def test_each_picture_clips_to_its_own_size():
    rpn, batch = make_rpn(), empty_batch()
    sizes = torch.tensor([[64, 96], [40, 50]])
    proposals = rpn.propose(rpn(batch, random_features()), sizes, for_training=True)
    furthest = proposals.boxes.amax(dim=1)
    assert furthest[0, 2:].tolist() == [96, 64] and furthest[1, 2:].tolist() == [50, 40]
    assert (proposals.boxes >= 0).all()
    sides = (proposals.boxes[..., 2:] - proposals.boxes[..., :2])[proposals.valid]
    assert (sides >= SMALL.rpn.minimum_size).all(), "anchors outside the smaller picture are not proposed"


def test_suppression_stays_within_a_level():
    """The same box may be proposed by two levels; by one level only once."""
    rpn, batch = make_rpn(change(SMALL, "rpn", nms_iou=0.0)), empty_batch(1)
    outputs = handmade_outputs(rpn, batch)
    box = torch.tensor([10.0, 10.0, 40.0, 40.0])
    weights = (1.0, 1.0, 1.0, 1.0)
    for level, index, score in ((0, 0, 3.0), (0, 7, 2.5), (1, 0, 2.0)):
        outputs.objectness[level][0, index] = score
        outputs.deltas[level][0, index] = box_functions.encode(box, outputs.anchors[level][index], weights)
    proposals = rpn.propose(outputs, batch.image_sizes, for_training=True)
    same = ((proposals.boxes[0] - box).abs() < 1e-3).all(dim=-1)
    assert same.nonzero().flatten().tolist() == [0, 1]


def test_empty_slots_are_zeros_behind_the_real_ones():
    rpn, batch = make_rpn(change(SMALL, "rpn", nms_iou=0.0, candidates_train=10)), empty_batch()
    proposals = rpn.propose(rpn(batch, random_features()), batch.image_sizes, for_training=True)
    count = proposals.valid.sum(dim=1)
    assert ((count > 0) & (count < 40)).all()
    assert torch.equal(proposals.valid, torch.arange(40) < count[:, None])
    assert not proposals.boxes[~proposals.valid].any()


def test_proposals_carry_no_gradient():
    rpn, batch = make_rpn(), empty_batch()
    outputs = rpn(batch, random_features())
    assert outputs.deltas[0].requires_grad
    assert not rpn.propose(outputs, batch.image_sizes, for_training=True).boxes.requires_grad


# --- Losses -----------------------------------------------------------------------------------------------------------


def losses_by_loops(rpn, outputs, batch):
    """Faster R-CNN equation 1 anchor by anchor, over all anchors; smooth L1, FPN's thresholds."""
    config = rpn.config
    anchors = torch.cat(outputs.anchors).double()
    objectness, box, count = 0.0, 0.0, 0
    for image in range(batch.size):
        targets = batch.targets
        truths = [targets.boxes[image, slot].double() for slot in targets.valid[image].nonzero().flatten()]
        logits = torch.cat([level[image] for level in outputs.objectness]).double()
        deltas = torch.cat([level[image] for level in outputs.deltas]).double()
        overlaps = [box_functions.iou(anchors, truth[None])[:, 0] for truth in truths]
        for index in range(len(anchors)):
            own = [float(overlap[index]) for overlap in overlaps]
            best = max(range(len(own)), key=lambda slot: own[slot]) if own else None
            forced = [slot for slot in range(len(own)) if own[slot] == overlaps[slot].max() and own[slot] >= 0.3]
            best = forced[-1] if forced else best
            positive = bool(forced) or (best is not None and own[best] >= config.positive_iou)
            if not positive and own and max(own) >= config.negative_iou:
                continue
            count += 1
            objectness += F.softplus(-logits[index] if positive else logits[index])
            if positive:
                goal = box_functions.encode(truths[best], anchors[index], (1.0, 1.0, 1.0, 1.0))
                for difference in (deltas[index] - goal).abs():
                    beta = config.box_loss_beta
                    box += 0.5 * difference**2 / beta if difference < beta else difference - 0.5 * beta
    return {"rpn_objectness": objectness / count, "rpn_box": box / count}


def test_losses_against_loops():
    rpn = make_rpn(EVERYTHING)
    batch = make_batch([[(1, (10, 12, 44, 44)), (2, (60, 20, 90, 32))], [], [(2, (3, 3, 12, 11))]], 2)
    with torch.no_grad():
        rpn.head.objectness.weight.normal_(std=0.3)
        rpn.head.deltas.weight.normal_(std=0.1)
        outputs = rpn(batch, random_features(3))
        losses = values(rpn.losses(outputs, batch.targets))
        expected = losses_by_loops(rpn, outputs, batch)
    assert losses.keys() == expected.keys()
    for name, value in expected.items():
        assert value > 0 and losses[name].item() == pytest.approx(float(value), rel=1e-5)


def test_outputs_without_gradients_and_features_give_the_same_losses_and_gradients():
    """As `MaskRCNN` does it, beside what the definition says: a gradient through the outputs of every anchor."""
    rpn = make_rpn(change(SMALL, "rpn", samples=512))
    batch = make_batch([[(1, (10, 12, 44, 44)), (2, (60, 20, 90, 32))], [(2, (3, 3, 12, 11))]], 2)
    found = []
    for again in (False, True):
        features = [level.requires_grad_() for level in random_features()]
        rpn.zero_grad()
        torch.manual_seed(0)  # the same sample
        with torch.set_grad_enabled(not again):
            outputs = rpn(batch, features)
        losses = values(rpn.losses(outputs, batch.targets, features if again else None))
        sum(losses.values()).backward()
        learnt = {name: parameter.grad for name, parameter in rpn.named_parameters()}
        found.append(losses | learnt | {f"level {place}": level.grad for place, level in enumerate(features)})
    assert not [name for name, gradient in found[0].items() if not gradient.any()]
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-6)


def values(losses):
    return {name: loss.value for name, loss in losses.items()}


def test_a_picture_without_objects_is_all_background():
    rpn, batch = make_rpn(EVERYTHING), empty_batch(1)
    outputs = rpn(batch, random_features(1))
    losses = values(rpn.losses(outputs, batch.targets))
    logits = torch.cat(outputs.objectness, dim=1)
    torch.testing.assert_close(losses["rpn_objectness"], F.softplus(logits).mean())
    assert losses["rpn_box"] == 0
    sum(losses.values()).backward()
    assert not rpn.head.deltas.weight.grad.any() and rpn.head.objectness.weight.grad.any()


def test_anchors_in_dont_care_regions_teach_nothing():
    """A picture of nothing but one don't-care region: no anchor is sampled, both losses are 0."""
    rpn = make_rpn(EVERYTHING)
    batch = make_batch([[(1, (0, 0, 96, 64))]], 1, ignored={(0, 0)})
    targets = replace(batch.targets, boxes=torch.tensor([[[-500.0, -500.0, 500.0, 500.0]]]))
    losses = values(rpn.losses(rpn(batch, random_features(1)), targets))
    assert losses["rpn_objectness"] == 0 and losses["rpn_box"] == 0


def test_half_a_region_is_ignored():
    """Only the anchors of which most lies left of x = 48 are left out of the mean."""
    rpn = make_rpn(EVERYTHING)
    batch = make_batch([[(1, (0, 0, 48, 64))]], 1, ignored={(0, 0)})
    targets = replace(batch.targets, boxes=torch.tensor([[[-500.0, -500.0, 48.0, 500.0]]]))
    outputs = rpn(batch, random_features(1))
    anchors, logits = torch.cat(outputs.anchors), torch.cat(outputs.objectness, dim=1)[0]
    background = (anchors[:, 0] + anchors[:, 2]) / 2 >= 48
    assert 0 < background.sum() < len(anchors)
    expected = F.softplus(logits[background]).mean()
    torch.testing.assert_close(rpn.losses(outputs, targets)["rpn_objectness"].value, expected)


@pytest.mark.parametrize(("denominator", "expected"), [("samples", 64), ("at_least_one_each", 65)])
def test_denominator_without_positives(denominator, expected):
    """64 negatives are sampled; MMDetection counts one positive that is not there."""
    rpn, batch = make_rpn(change(SMALL, "rpn", denominator=denominator)), empty_batch(1)
    outputs = rpn(batch, random_features(1))
    outputs = RPNOutputs([torch.zeros_like(level) for level in outputs.objectness], outputs.deltas, outputs.anchors)
    loss = rpn.losses(outputs, batch.targets)["rpn_objectness"]
    assert loss.value.item() == pytest.approx(64 * 0.693147 / expected, rel=1e-5)
    assert loss.count == expected


def test_sampling_is_half_and_half_at_most():
    """With one big object whose anchors are many, 32 of 64 samples are positive, not more."""
    config = change(SMALL, "rpn", positive_iou=0.05, negative_iou=0.05)
    rpn = make_rpn(config)
    batch = make_batch([[(1, (8, 8, 88, 56))]], 1)
    with mock.patch("maskrcnn.targets.losses.rpn_objectness_loss", return_value=torch.zeros(())) as loss:
        rpn.losses(rpn(batch, random_features(1)), batch.targets)
    _, positive, valid, denominator = loss.call_args.args
    assert positive.sum() == 32 and valid.sum() == 64 and denominator == 64


def test_gradients_reach_the_head_from_both_losses():
    rpn = make_rpn()
    batch = make_batch([[(1, (10, 12, 44, 44))]], 1)
    for name, layer in (("rpn_objectness", rpn.head.objectness), ("rpn_box", rpn.head.deltas)):
        rpn.zero_grad()
        rpn.losses(rpn(batch, random_features(1)), batch.targets)[name].value.backward()
        assert layer.weight.grad.any() and rpn.head.convolution.weight.grad.any()
