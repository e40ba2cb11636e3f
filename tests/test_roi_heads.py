"""The second stage: which RoIs it learns from, what it pools for them, its losses and its detections."""

import math
from dataclasses import replace
from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from small_model import SMALL, change, make_batch

from maskrcnn import boxes as box_functions
from maskrcnn.model.box_head import BoxOutputs
from maskrcnn.model.roi_heads import RoIHeads
from maskrcnn.model.rpn import Proposals

STRIDES = (4, 8, 16, 32)
GRIDS = ((16, 24), (8, 12), (4, 6), (2, 3))
EVERYTHING = change(SMALL, "box_head", samples=64, positive_fraction=0.5)
"""More samples than any of these tests has candidates: nothing is left to chance."""
TRUTH, OTHER = (10, 12, 50, 40), (60, 20, 90, 32)
NEAR_TRUTH, NEAR_OTHER, NOWHERE = (12.0, 12, 50, 40), (60.0, 18, 90, 32), (0.0, 44, 60, 64)


def make_heads(config=SMALL):
    torch.manual_seed(0)
    return RoIHeads(config, STRIDES)


def random_features(images=1, channels=16):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(images, channels, *grid, generator=generator) for grid in GRIDS]


def proposals_of(*boxes, slots=None):
    """The proposals of one picture in some number of slots."""
    slots = slots or len(boxes)
    padded = torch.zeros(1, slots, 4)
    if boxes:
        padded[0, : len(boxes)] = torch.tensor(boxes)
    return Proposals(padded, torch.arange(slots)[None] < len(boxes))


def choose(config, proposals, batch):
    return make_heads(config).choose_training_rois(random_features(batch.size), proposals, batch.targets)


def real_rois(rois, image=0):
    """Label, ground truth (None for background) and box of every sampled RoI, as a set."""
    return {
        (int(label), int(truth) if positive else None, tuple(box.tolist()))
        for label, truth, positive, valid, box in zip(
            rois.labels[image], rois.ground_truth[image], rois.positive[image], rois.valid[image], rois.boxes[image],
            strict=True,
        )
        if valid
    }  # fmt: skip


# --- What to learn from -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ground_truths", ["match", "assign"])
def test_proposals_and_ground_truths_become_rois(ground_truths):
    config = change(EVERYTHING, "box_head", ground_truth_proposals=ground_truths)
    batch = make_batch([[(1, TRUTH), (2, OTHER)]], 4)
    rois = choose(config, proposals_of(NOWHERE, NEAR_OTHER, NEAR_TRUTH, slots=6), batch)
    assert real_rois(rois) == {
        (1, 0, TRUTH),
        (1, 0, NEAR_TRUTH),
        (2, 1, OTHER),
        (2, 1, NEAR_OTHER),
        (0, None, NOWHERE),
    }
    assert rois.positive.tolist() == [[True] * 4 + [False] * 60], "positives come first"
    assert rois.valid.tolist() == [[True] * 5 + [False] * 59]
    assert not rois.labels[~rois.positive].any()


def test_a_ground_truth_is_its_own_only_if_assigned():
    """Two objects share one box. As a proposal it matches the first of them; assigned, each finds itself."""
    batch = make_batch([[(1, TRUTH), (2, TRUTH)]], 2)
    for ground_truths, labels in (("match", [1, 1]), ("assign", [1, 2])):
        config = change(EVERYTHING, "box_head", ground_truth_proposals=ground_truths)
        rois = choose(config, proposals_of(slots=2), batch)
        assert sorted(rois.labels[rois.positive].tolist()) == labels


def test_low_quality_matching_gives_a_ground_truth_its_best_proposal():
    """Two objects with overlap: the proposal overlaps the first more, but is the best that the second has."""
    first, second, between = (0, 0, 40, 40), (0, 12, 40, 52), (0.0, 5, 40, 45)
    nearer_first = (0.0, 1, 40, 41)
    batch = make_batch([[(1, first), (2, second)]], 2)
    for low_quality, label in ((False, 1), (True, 2)):
        config = change(EVERYTHING, "box_head", ground_truth_proposals="assign", low_quality=low_quality)
        rois = choose(config, proposals_of(between, nearer_first), batch)
        assert (label, label - 1, between) in real_rois(rois)


def test_positives_are_at_most_their_fraction_and_negatives_fill_up():
    config = change(SMALL, "box_head", samples=8, positive_fraction=0.25)
    batch = make_batch([[(1, TRUTH)]], 1)
    boxes = [(10.0 + 0.1 * step, 12.0, 50.0, 40.0) for step in range(20)]
    boxes += [(0.0, 44.0, 60.0 - step, 64.0) for step in range(20)]
    for sampler in ("random", "hard"):
        rois = choose(change(config, "box_head", sampler=sampler), proposals_of(*boxes), batch)
        assert rois.positive.tolist() == [[True, True] + [False] * 6] and rois.valid.all()
        assert rois.labels.tolist() == [[1, 1] + [0] * 6]


def test_random_sampling_differs_from_step_to_step():
    heads, batch = make_heads(change(SMALL, "box_head", samples=8)), make_batch([[]], 1)
    proposals = proposals_of(*[(0.0, 44.0, 60.0 - step, 64.0) for step in range(30)])
    chosen = [heads.choose_training_rois(random_features(), proposals, batch.targets) for _ in range(5)]
    assert len({frozenset(real_rois(rois)) for rois in chosen}) > 1


def test_hard_examples_are_those_with_the_largest_class_loss():
    """arXiv 1604.03540 as in spec 2.3: ranked by cross-entropy, positives and negatives apart."""
    config = change(SMALL, "box_head", samples=8, positive_fraction=0.25, sampler="hard")
    heads, batch = make_heads(config), make_batch([[(2, TRUTH)]], 1)
    boxes = [(10.0 + 0.1 * step, 12.0, 50.0, 40.0) for step in range(10)]
    boxes += [(0.0, 44.0, 60.0 - step, 64.0) for step in range(20)]
    logits = 3 * torch.randn(1, 31, 3, generator=torch.Generator().manual_seed(2))
    outputs = BoxOutputs(logits, torch.zeros(1, 31, 2, 4))
    with mock.patch.object(heads.box_head, "forward", return_value=outputs):
        rois = heads.choose_training_rois(random_features(), proposals_of(*boxes), batch.targets)
    boxes.append(TRUTH)  # behind the proposals
    labels = [2] * 10 + [0] * 20 + [2]
    loss = [float(-logits[0, index].log_softmax(dim=0)[label]) for index, label in enumerate(labels)]
    ranked = sorted(range(31), key=lambda index: -loss[index])
    expected = [index for index in ranked if labels[index] == 2][:2] + [i for i in ranked if labels[i] == 0][:6]
    torch.testing.assert_close(rois.boxes[0], torch.tensor([boxes[index] for index in expected]))


def test_ranking_hard_examples_leaves_no_gradient():
    config = change(SMALL, "box_head", sampler="hard")
    heads, batch = make_heads(config), make_batch([[(1, TRUTH)]], 1)
    needed_gradient = []
    heads.box_head.register_forward_hook(
        lambda _, inputs, outputs: needed_gradient.append(outputs.logits.requires_grad)
    )
    heads.choose_training_rois(random_features(), proposals_of(NEAR_TRUTH, NOWHERE), batch.targets)
    assert needed_gradient == [False]


def test_proposals_in_dont_care_regions_are_no_negatives():
    batch = make_batch([[(1, TRUTH), (2, OTHER)]], 2, ignored={(0, 1)})
    rois = choose(EVERYTHING, proposals_of(NEAR_OTHER, NOWHERE, NEAR_TRUTH), batch)
    assert real_rois(rois) == {(1, 0, TRUTH), (1, 0, NEAR_TRUTH), (0, None, NOWHERE)}


def test_pictures_do_not_see_each_other():
    batch = make_batch([[(1, TRUTH)], [(2, OTHER)]], 1)
    boxes = torch.tensor([NEAR_TRUTH, NEAR_OTHER]).expand(2, 2, 4)
    rois = choose(EVERYTHING, Proposals(boxes, torch.ones(2, 2, dtype=torch.bool)), batch)
    assert real_rois(rois, 0) == {(1, 0, TRUTH), (1, 0, NEAR_TRUTH), (0, None, NEAR_OTHER)}
    assert real_rois(rois, 1) == {(2, 0, OTHER), (2, 0, NEAR_OTHER), (0, None, NEAR_TRUTH)}


# --- Losses -----------------------------------------------------------------------------------------------------------


def test_losses_against_loops():
    """Cross-entropy and box distance over all RoIs, the mask's over the pixels of positives (spec 2.6)."""
    heads = make_heads(change(EVERYTHING, "mask_head", targets="soft"))
    with torch.no_grad():
        heads.box_head.classes.weight.normal_(std=0.3)
        heads.box_head.deltas.weight.normal_(std=0.3)
    batch = make_batch([[(1, TRUTH), (2, OTHER)]], 3)
    features, proposals = random_features(), proposals_of(NOWHERE, NEAR_TRUTH, NEAR_OTHER, slots=5)
    rois = heads.choose_training_rois(features, proposals, batch.targets)
    with (
        mock.patch.object(heads, "choose_training_rois", return_value=rois),
        mock.patch.object(heads.box_head, "forward", wraps=heads.box_head.forward) as box_head,
        mock.patch.object(heads.mask_head, "forward", wraps=heads.mask_head.forward) as mask_head,
    ):
        losses = heads.losses(features, proposals, batch.targets, batch.image_sizes)
    outputs = heads.box_head(*box_head.call_args.args)
    logits = heads.mask_head(*mask_head.call_args.args)
    masks = batch.targets.full_masks(64, 96).float()
    class_loss, box_loss, mask_loss = 0.0, 0.0, 0.0
    for slot in range(5):
        label = int(rois.labels[0, slot])
        class_loss += F.cross_entropy(outputs.logits[0, slot], rois.labels[0, slot]) / 5
        if label:
            truth, box = int(rois.ground_truth[0, slot]), rois.boxes[0, slot]
            goal = box_functions.encode(batch.targets.boxes[0, truth], box, (10.0, 10.0, 5.0, 5.0))
            deltas = outputs.deltas[0, slot, label - 1]
            box_loss += F.smooth_l1_loss(deltas, goal, beta=1 / 9, reduction="sum") / 5
            goal = soft_target(masks[0, truth], box.tolist())
            mask_loss += F.binary_cross_entropy_with_logits(logits[0, slot], goal, reduction="sum") / (4 * 28 * 28)
    torch.testing.assert_close(losses["class"].value, class_loss)
    torch.testing.assert_close(losses["box"].value, box_loss)
    torch.testing.assert_close(losses["mask"].value, mask_loss)
    assert {name: int(loss.count) for name, loss in losses.items()} == {"class": 5, "box": 5, "mask": 4}


def soft_target(mask, box):
    """RoIAlign of a mask (H, W) to 28 x 28, not aligned, ceil(cell size) points a cell and axis (spec 1.4, 2.6)."""
    x1, y1, x2, y2 = box
    height, width = (y2 - y1) / 28, (x2 - x1) / 28
    down, across = max(1, math.ceil(height)), max(1, math.ceil(width))
    target = torch.zeros(28, 28)
    for row in range(28):
        for column in range(28):
            for j in range(down):
                for i in range(across):
                    y, x = y1 + (row + (j + 0.5) / down) * height, x1 + (column + (i + 0.5) / across) * width
                    top, left = int(y), int(x)
                    upper = mask[top, left] * (1 - (x - left)) + mask[top, left + 1] * (x - left)
                    lower = mask[top + 1, left] * (1 - (x - left)) + mask[top + 1, left + 1] * (x - left)
                    target[row, column] += (upper * (1 - (y - top)) + lower * (y - top)) / (down * across)
    return target


def losses_of(config, proposals, batch):
    heads = make_heads(config)
    found = heads.losses(random_features(batch.size), proposals, batch.targets, batch.image_sizes)
    losses = {name: loss.value for name, loss in found.items()}
    sum(losses.values()).backward()
    return heads, losses


def test_without_objects_everything_is_background():
    heads, losses = losses_of(EVERYTHING, proposals_of(NOWHERE, NEAR_TRUTH), make_batch([[]], 1))
    assert losses["class"] > 0 and losses["box"] == 0 and losses["mask"] == 0
    assert heads.box_head.classes.weight.grad.any() and not heads.box_head.deltas.weight.grad.any()
    assert not heads.mask_head.logits.weight.grad.any()


@pytest.mark.parametrize("sampler", ["random", "hard"])
@pytest.mark.parametrize("ground_truths", ["match", "assign"])
def test_without_any_roi_all_losses_are_zero_and_so_are_their_gradients(sampler, ground_truths):
    config = change(EVERYTHING, "box_head", sampler=sampler, ground_truth_proposals=ground_truths)
    nothing = make_batch([[]], 1)
    only_ignored = make_batch([[(1, (0, 0, 96, 64))]], 1, ignored={(0, 0)})
    for batch, proposals in ((nothing, proposals_of(slots=4)), (only_ignored, proposals_of(NEAR_TRUTH, NOWHERE))):
        heads, losses = losses_of(config, proposals, batch)
        assert losses == {"class": 0, "box": 0, "mask": 0}
        assert all(value.grad is not None and not value.grad.any() for value in heads.parameters())


def test_zero_proposals_still_learn_from_the_ground_truths():
    _, losses = losses_of(EVERYTHING, proposals_of(slots=4), make_batch([[(1, TRUTH)]], 1))
    assert losses["class"] > 0 and losses["mask"] > 0


def test_no_mask_head_no_mask_loss():
    config = change(EVERYTHING, "mask_head", enabled=False)
    heads, losses = losses_of(config, proposals_of(NEAR_TRUTH), make_batch([[(1, TRUTH)]], 1))
    assert heads.mask_head is None and losses.keys() == {"class", "box"}


# --- Pooling ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("side", "level"), [(20, 0), (111, 0), (113, 1), (223, 1), (225, 2), (447, 2), (449, 3)])
def test_rois_are_pooled_from_the_level_of_their_size(side, level):
    """FPN equation 1; each level is filled with its own number here."""
    heads = make_heads()
    features = [torch.full((1, 16, 512 // stride, 512 // stride), float(i)) for i, stride in enumerate(STRIDES)]
    with mock.patch.object(heads.box_head, "forward", wraps=heads.box_head.forward) as box_head:
        batch = replace(make_batch([[]], 1), image_sizes=torch.tensor([[512, 512]]))
        heads.detect(features, proposals_of((10.0, 10.0, 10.0 + side, 10.0 + side)), batch)
    pooled = box_head.call_args.args[0]
    torch.testing.assert_close(pooled, torch.full((1, 1, 16, 7, 7), float(level)))


def test_heads_pool_at_their_own_resolution():
    heads = make_heads(change(change(SMALL, "box_head", pooled_size=5), "mask_head", pooled_size=10))
    with torch.no_grad():
        heads.box_head.classes.bias[1] = 5.0
    found = heads.detect(random_features(), proposals_of(NEAR_TRUTH), make_batch([[]], 1))
    assert heads.box_head.fc1.in_features == 16 * 25 and found.masks.shape == (1, 8, 20, 20)


# --- Detections -------------------------------------------------------------------------------------------------------


def test_detections_by_hand():
    """A head that says "bright, 0.9" to everything and moves nothing: the proposals come back, twice as large."""
    heads, batch = make_heads(), make_batch([[]], 1)
    with torch.no_grad():
        heads.box_head.classes.weight.zero_()
        heads.box_head.deltas.weight.zero_()
        heads.box_head.classes.bias.copy_(torch.tensor([0.05, 0.9, 0.05]).log())
        heads.mask_head.logits.weight.zero_()
        heads.mask_head.logits.bias.copy_(torch.tensor([2.0, -2.0]))
    found = heads.detect(random_features(), proposals_of(TRUTH, OTHER, TRUTH, slots=5), batch)
    assert found.valid.tolist() == [[True, True] + [False] * 6], "the third is the first again"
    boxes = found.boxes[0, :2]
    torch.testing.assert_close(boxes[boxes[:, 0].argsort()], 2 * torch.tensor([TRUTH, OTHER]).float())
    assert found.labels.tolist() == [[1, 1] + [0] * 6]
    torch.testing.assert_close(found.scores[0], torch.tensor([0.9, 0.9] + [0.0] * 6))
    torch.testing.assert_close(found.masks[0, :2], torch.full((2, 28, 28), 2.0).sigmoid())


def test_no_mask_head_no_masks():
    heads = make_heads(change(SMALL, "mask_head", enabled=False))
    assert heads.detect(random_features(), proposals_of(TRUTH), make_batch([[]], 1)).masks is None


def test_zero_proposals_give_zero_detections():
    found = make_heads().detect(random_features(), proposals_of(slots=3), make_batch([[]], 1))
    assert not found.valid.any() and not found.boxes.any() and not found.scores.any() and not found.labels.any()
