"""Optimisers and the moving average of the weights."""

import pytest
import torch
from torch import nn

from maskrcnn.config import TrainingConfig
from maskrcnn.training.optimiser import WeightAverage, make_optimiser


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.Conv2d(4, 2, 1)).to(
        memory_format=torch.channels_last
    )


def test_adamw_decays_matrices_only():
    model = network()
    nn.init.ones_(model[0].bias)
    optimiser = make_optimiser(model, TrainingConfig(optimiser="adamw", weight_decay=0.5))
    before = {name: value.clone() for name, value in model.named_parameters()}
    for group in optimiser.param_groups:
        group["lr"] = 0.1
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step()
    for name, value in model.named_parameters():
        torch.testing.assert_close(value, before[name] * (0.95 if value.ndim > 1 else 1.0))


def test_sgd_decays_everything():
    model = network()
    nn.init.ones_(model[0].bias)
    optimiser = make_optimiser(model, TrainingConfig(optimiser="sgd", weight_decay=0.5))
    before = {name: value.clone() for name, value in model.named_parameters()}
    optimiser.param_groups[0]["lr"] = 0.1
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step()
    for name, value in model.named_parameters():
        torch.testing.assert_close(value, before[name] * 0.95)


def by_hand(kind: str, weight: torch.Tensor, gradients: list[torch.Tensor]) -> torch.Tensor:
    """Ten lines of each paper, in float64: rate 0.1, momentum 0.9, decay 0.01."""
    weight, first, second = weight.double(), 0.0, 0.0
    for step, gradient in enumerate((g.double() for g in gradients), start=1):
        if kind == "sgd":
            first = 0.9 * first + gradient + 0.01 * weight
            weight = weight - 0.1 * first
        else:
            first = 0.9 * first + 0.1 * gradient
            second = 0.999 * second + 0.001 * gradient**2
            weight = weight * (1 - 0.1 * 0.01)
            weight = weight - 0.1 * (first / (1 - 0.9**step)) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
    return weight


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_five_steps_against_the_papers_formulas(kind):
    # On channels-last weights: a fused optimiser that mixed up memory layouts would differ here.
    model = network()
    optimiser = make_optimiser(model, TrainingConfig(optimiser=kind, momentum=0.9, weight_decay=0.01))
    weight, gradients = model[0].weight, [torch.randn(4, 3, 3, 3) for _ in range(5)]
    expected = by_hand(kind, weight.detach().clone(), gradients)
    for group in optimiser.param_groups:
        group["lr"] = 0.1
    for gradient in gradients:
        weight.grad = gradient.to(memory_format=torch.channels_last)
        optimiser.step()
    torch.testing.assert_close(weight.detach().double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_a_flagged_step_changes_neither_weights_nor_state(kind):
    model = network()
    optimiser = make_optimiser(model, TrainingConfig(optimiser=kind))
    for group in optimiser.param_groups:
        group["lr"] = 0.1
    optimiser.found_inf = torch.tensor(0.0)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimiser.step()
    weights = [parameter.detach().clone() for parameter in model.parameters()]
    states = [
        {name: value.clone() for name, value in optimiser.state[parameter].items()} for parameter in model.parameters()
    ]
    optimiser.found_inf = torch.tensor(1.0)
    for parameter in model.parameters():
        parameter.grad.fill_(float("nan"))
    optimiser.step()
    for parameter, weight, state in zip(model.parameters(), weights, states, strict=True):
        assert torch.equal(parameter, weight)
        assert all(torch.equal(optimiser.state[parameter][name], value) for name, value in state.items())


def test_the_average_by_hand():
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    average = WeightAverage(model, decay=0.25)
    nn.init.ones_(model.weight)
    average.update(model, step=0)  # decay 1 / 10
    assert average.weights["weight"].item() == pytest.approx(0.9)
    average.update(model, step=1)  # decay 2 / 11
    assert average.weights["weight"].item() == pytest.approx(0.9 * 2 / 11 + 9 / 11)
    now = average.weights["weight"].item()
    nn.init.zeros_(model.weight)
    average.update(model, step=2)  # decay 3 / 12, and from here on as set
    average.update(model, step=3)
    assert average.weights["weight"].item() == pytest.approx(now * 0.25 * 0.25)


def test_buffers_are_copied_and_the_model_is_left_alone():
    model = nn.BatchNorm1d(2)
    average = WeightAverage(model, decay=0.9)
    model(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    expected = {name: value.clone() for name, value in model.state_dict().items()}
    average.update(model, step=100)
    assert torch.equal(average.weights["running_mean"], model.running_mean)
    assert average.weights["num_batches_tracked"].item() == 1
    average.weights["weight"].zero_()
    assert all(torch.equal(model.state_dict()[name], value) for name, value in expected.items())


def test_no_average_without_a_decay():
    average = WeightAverage(nn.Linear(1, 1), decay=0.0)
    average.update(nn.Linear(1, 1), step=0)
    assert average.weights is None
