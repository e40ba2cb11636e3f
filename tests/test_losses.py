"""The five losses: by hand, their denominators, their gradients, and what padding and empty images do to them."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from maskrcnn.targets.losses import (
    box_loss,
    class_loss,
    class_loss_each,
    mask_loss,
    rpn_count,
    rpn_objectness_loss,
    total_loss,
)

YES, NO = True, False


def logit(probability: float) -> float:
    return math.log(probability / (1 - probability))


# By hand.


def test_objectness_is_cross_entropy_over_the_sampled_anchors():
    """-ln 0.9 for a sure positive, -ln 0.8 for a fairly sure negative, and a slot that does not count."""
    logits = torch.tensor([[logit(0.9), logit(0.2), 5.0]])
    positive, valid = torch.tensor([[YES, NO, NO]]), torch.tensor([[YES, YES, NO]])
    count = rpn_count(positive, valid, at_least_one_each=False)
    loss = rpn_objectness_loss(logits, positive, valid, count)
    assert_close(loss.item(), -(math.log(0.9) + math.log(0.8)) / 2)


def test_rpn_count_counts_the_samples_of_the_whole_batch():
    positive, valid = torch.tensor([[YES, NO, NO], [NO, NO, NO]]), torch.tensor([[YES, YES, NO], [YES, YES, YES]])
    assert rpn_count(positive, valid, at_least_one_each=False).item() == 5
    # MMDetection: image 0 has 1 + 1, image 1 counts max(0, 1) + 3.
    assert rpn_count(positive, valid, at_least_one_each=True).item() == 6


def test_rpn_count_of_a_batch_without_samples():
    none = torch.zeros(2, 3, dtype=torch.bool)
    assert rpn_count(none, none, at_least_one_each=False).item() == 0
    assert rpn_count(none, none, at_least_one_each=True).item() == 4


def test_smooth_l1_is_a_parabola_below_beta_and_a_line_above():
    """Fast R-CNN equation 3 at distances 0.5 and 2 for beta 1: 0.125 and 1.5."""
    deltas = torch.tensor([[[0.5, -0.5, 2.0, -2.0]]])
    loss = box_loss(deltas, torch.zeros(1, 1, 4), torch.tensor([[YES]]), torch.tensor(1.0), "smooth_l1", 1.0)
    assert_close(loss.item(), 0.125 + 0.125 + 1.5 + 1.5)


def test_smooth_l1_with_a_ninth():
    """torchvision's beta: 0.5 * 9 x^2 at x = 0.1, x - 1/18 at x = 1."""
    deltas = torch.tensor([[[0.1, 0.0, 1.0, 0.0]]])
    loss = box_loss(deltas, torch.zeros(1, 1, 4), torch.tensor([[YES]]), torch.tensor(1.0), "smooth_l1", 1 / 9)
    assert_close(loss.item(), 0.5 * 9 * 0.01 + 1 - 1 / 18)


def test_l1_adds_the_four_coordinates():
    deltas = torch.tensor([[[0.5, -0.5, 2.0, -2.0]]])
    goal = torch.tensor([[[1.0, 1.0, 1.0, 0.0]]])
    loss = box_loss(deltas, goal, torch.tensor([[YES]]), torch.tensor(2.0), "l1", 1.0)
    assert_close(loss.item(), (0.5 + 1.5 + 1.0 + 2.0) / 2)


@pytest.mark.parametrize("kind", ["L1", "smooth-l1", ""])
def test_an_unknown_kind_of_box_loss_is_refused(kind):
    zeros = torch.zeros(1, 1, 4)
    with pytest.raises(ValueError, match=f'found kind {kind!r}, expected "l1" or "smooth_l1"'):
        box_loss(zeros, zeros, torch.tensor([[YES]]), torch.tensor(1.0), kind, 1.0)


def test_box_losses_count_positives_but_divide_by_all_samples():
    """Two samples, one of them positive: the negative's deltas do not matter, its place in the denominator does."""
    deltas = torch.tensor([[[1.0, 1.0, 1.0, 1.0], [9.0, 9.0, 9.0, 9.0]]])
    positive, valid = torch.tensor([[YES, NO]]), torch.tensor([[YES, YES]])
    loss = box_loss(deltas, torch.zeros(1, 2, 4), positive, valid.sum(), "l1", 1.0)
    assert_close(loss.item(), 4.0 / 2)


def test_class_loss_is_the_mean_over_the_sampled_rois_of_the_batch():
    logits = torch.log(torch.tensor([[[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]], [[0.2, 0.2, 0.6], [0.3, 0.3, 0.4]]]))
    labels, valid = torch.tensor([[0, 1], [2, 0]]), torch.tensor([[YES, YES], [YES, NO]])
    loss = class_loss(logits, labels, valid)
    assert_close(loss.item(), -(math.log(0.7) + math.log(0.8) + math.log(0.6)) / 3)


def test_class_loss_each_is_what_hard_example_mining_ranks_by():
    logits = torch.log(torch.tensor([[[0.7, 0.3], [0.4, 0.6]]]))
    assert_close(class_loss_each(logits, torch.tensor([[0, 0]])), -torch.log(torch.tensor([[0.7, 0.4]])))


def test_mask_loss_is_the_mean_over_the_pixels_of_the_positives():
    """Probability 0.9 for pixels that are 1, 1, 1 and 0; the second RoI is none."""
    logits = torch.full((1, 2, 2, 2), logit(0.9))
    targets = torch.tensor([[[[1.0, 1.0], [1.0, 0.0]], [[1.0, 0.0], [0.0, 0.0]]]])
    loss = mask_loss(logits, targets, torch.tensor([[YES, NO]]))
    assert_close(loss.item(), -(3 * math.log(0.9) + math.log(0.1)) / 4)


def test_mask_loss_takes_fractions():
    """torchvision's soft targets: half a pixel of each kind."""
    loss = mask_loss(torch.full((1, 1, 1, 1), logit(0.9)), torch.full((1, 1, 1, 1), 0.5), torch.tensor([[YES]]))
    assert_close(loss.item(), -(math.log(0.9) + math.log(0.1)) / 2)


def test_total_is_the_plain_sum():
    assert total_loss({"a": torch.tensor(1.5), "b": torch.tensor(2.0), "c": torch.tensor(0.25)}).item() == 3.75


# Against other ways to write them.


def random_case(seed: int = 0):
    """Three images with different numbers of samples in 8 slots, 5 classes, float64."""
    generator = torch.Generator().manual_seed(seed)
    valid = torch.arange(8) < torch.tensor([[8], [5], [0]])
    positive = valid & (torch.arange(8) < torch.tensor([[3], [1], [0]]))
    random = {"generator": generator, "dtype": torch.float64}
    return {
        "valid": valid,
        "positive": positive,
        "objectness": torch.randn(3, 8, **random),
        "deltas": torch.randn(3, 8, 4, **random),
        "goal": torch.randn(3, 8, 4, **random),
        "logits": torch.randn(3, 8, 5, **random),
        "labels": torch.randint(0, 5, (3, 8), generator=generator),
        "masks": torch.randn(3, 8, 4, 4, **random),
        "mask_goal": torch.rand(3, 8, 4, 4, **random),
    }


def losses_of(case: dict, padding: int = 0, fill: float = 1e3) -> dict[str, torch.Tensor]:
    """All losses of a case, with so many more empty slots, full of something."""

    def padded(name: str) -> torch.Tensor:
        value = case[name]
        if name in ("valid", "positive"):
            return F.pad(value, (0, padding))
        filling = 0 if name == "labels" else fill
        rest = [0] * 2 * (value.dim() - 2)
        return F.pad(value, (*rest, 0, padding), value=filling)

    positive, valid = padded("positive"), padded("valid")
    count = rpn_count(positive, valid, at_least_one_each=False)
    return {
        "objectness": rpn_objectness_loss(padded("objectness"), positive, valid, count),
        "box": box_loss(padded("deltas"), padded("goal") * 0.5, positive, count, "smooth_l1", 1 / 9),
        "class": class_loss(padded("logits"), padded("labels"), valid),
        "mask": mask_loss(padded("masks"), padded("mask_goal").clamp(max=1.0), positive),
    }


def test_masked_sums_equal_selecting_the_rows():
    case = random_case()
    valid, positive, losses = case["valid"], case["positive"], losses_of(random_case())
    truth = positive.double()
    assert_close(losses["objectness"], F.binary_cross_entropy_with_logits(case["objectness"][valid], truth[valid]))
    smooth = F.smooth_l1_loss(case["deltas"][positive], case["goal"][positive] * 0.5, beta=1 / 9, reduction="sum")
    assert_close(losses["box"], smooth / 13)
    assert_close(losses["class"], F.cross_entropy(case["logits"][valid], case["labels"][valid]))
    assert_close(
        losses["mask"], F.binary_cross_entropy_with_logits(case["masks"][positive], case["mask_goal"][positive])
    )


@pytest.mark.parametrize("fill", [0.0, 1e3])
def test_more_padding_changes_neither_losses_nor_gradients(fill):
    learnt = ("objectness", "deltas", "logits", "masks")
    results = []
    for padding in (0, 5):
        case = random_case()
        for name in learnt:
            case[name].requires_grad_()
        losses = losses_of(case, padding, fill)
        total_loss(losses).backward()
        results.append((losses, [case[name].grad for name in learnt]))
    (losses, gradients), (padded_losses, padded_gradients) = results
    assert_close(padded_losses, losses, rtol=1e-12, atol=0)
    assert_close(padded_gradients, gradients, rtol=1e-12, atol=0)


# Gradients.


@pytest.mark.parametrize("name", ["objectness", "deltas", "logits", "masks"])
def test_gradients(name):
    case = random_case(seed=1)

    def loss(value: torch.Tensor) -> torch.Tensor:
        return total_loss(losses_of({**case, name: value}))

    assert torch.autograd.gradcheck(loss, (case[name].requires_grad_(),))


def test_slots_that_do_not_count_have_no_gradient():
    case = random_case()
    for name in ("objectness", "deltas", "logits", "masks"):
        case[name].requires_grad_()
    total_loss(losses_of(case)).backward()
    for name, counts in (
        ("objectness", case["valid"]),
        ("logits", case["valid"]),
        ("deltas", case["positive"]),
        ("masks", case["positive"]),
    ):
        moved = case[name].grad.flatten(2).abs().sum(-1) if case[name].dim() > 2 else case[name].grad.abs()
        assert torch.equal(moved > 0, counts), name


# Empty and degenerate.


def test_a_batch_without_positives_has_a_box_and_a_mask_loss_of_zero_and_zero_gradients():
    none = torch.zeros(2, 3, dtype=torch.bool)
    deltas, masks = torch.randn(2, 3, 4, requires_grad=True), torch.randn(2, 3, 4, 4, requires_grad=True)
    losses = {
        "box": box_loss(deltas, torch.zeros(2, 3, 4), none, torch.tensor(6), "l1", 1.0),
        "mask": mask_loss(masks, torch.zeros(2, 3, 4, 4), none),
    }
    total_loss(losses).backward()
    assert [loss.item() for loss in losses.values()] == [0.0, 0.0]
    assert not deltas.grad.any() and not masks.grad.any()


def test_a_batch_without_any_sample_has_losses_of_zero():
    case = random_case()
    case["valid"], case["positive"] = torch.zeros(2, 3, 8, dtype=torch.bool)
    assert [loss.item() for loss in losses_of(case).values()] == [0.0] * 4


def test_no_slots_at_all():
    none, four = torch.zeros(2, 0, dtype=torch.bool), torch.zeros(2, 0, 4)
    assert rpn_objectness_loss(torch.zeros(2, 0), none, none, rpn_count(none, none, False)).item() == 0.0
    assert box_loss(four, four, none, torch.tensor(1), "l1", 1.0).item() == 0.0
    assert class_loss(four, torch.zeros(2, 0, dtype=torch.int64), none).item() == 0.0
    assert mask_loss(torch.zeros(2, 0, 4, 4), torch.zeros(2, 0, 4, 4), none).item() == 0.0


def test_very_sure_and_very_wrong_answers_stay_finite():
    yes, one = torch.tensor([[YES]]), torch.tensor(1.0)
    assert rpn_objectness_loss(torch.tensor([[-1e4]]), yes, yes, one).item() == 1e4
    assert mask_loss(torch.full((1, 1, 1, 1), -1e4), torch.ones(1, 1, 1, 1), yes).item() == 1e4
    assert class_loss(torch.tensor([[[1e4, 0.0]]]), torch.tensor([[1]]), yes).item() == 1e4
