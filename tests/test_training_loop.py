"""The training loop: its arithmetic by hand, and that nothing which interrupts it changes where it ends."""

import csv
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from maskrcnn.config import Config, ImageConfig, TrainingConfig
from maskrcnn.data.loader import TrainingBatches, training_loader
from maskrcnn.structures import Batch, Sample
from maskrcnn.training.checkpoint import load_checkpoint, save_checkpoint
from maskrcnn.training.loop import NonFiniteLoss, TrainingSummary, train, training_step
from maskrcnn.training.optimiser import make_optimiser

TRAINING = TrainingConfig(
    steps=12, batch_size=2, learning_rate=0.05, warmup_steps=4, average_decay=0.9, checkpoint_every=5, workers=0
)


class StandIn(nn.Module):
    """Behaves as MaskRCNN does in training: losses by name, random choices, buffers that change."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 8, 3, stride=4)
        self.norm = nn.BatchNorm2d(8)
        self.box = nn.Linear(8, 4)

    def forward(self, batch: Batch, detect: bool = False) -> SimpleNamespace:
        features = nn.functional.dropout(self.norm(self.convolution(batch.images)).relu(), 0.3, self.training)
        boxes = self.box(features.mean(dim=(2, 3)))
        wanted = batch.targets.boxes[:, 0] / 16
        losses = {"class": boxes.square().mean(), "box": (boxes - wanted).abs().mean()}
        return SimpleNamespace(losses=losses, detections=None)


class Words:
    """Seven grey pictures with one object each."""

    def __len__(self) -> int:
        return 7

    def __getitem__(self, index: int) -> Sample:
        corners = np.array([[2, 2], [9 + index, 2], [9 + index, 6], [2, 6]], dtype=np.float64)
        image = np.full((16, 16, 3), 30 * index, np.uint8)
        return Sample(f"img_{index}.jpg", image, (corners,), np.ones(1, np.int64), np.zeros(1, bool))


def noisy(sample: Sample, random: np.random.Generator) -> Sample:
    return replace(sample, image=sample.image + random.integers(0, 50, sample.image.shape, dtype=np.uint8))


def run(directory: Path, training: TrainingConfig = TRAINING, model: nn.Module | None = None, **arguments):
    """Trains the stand-in; returns the summary and the model."""
    torch.manual_seed(training.seed)
    model = model or StandIn()
    batches = TrainingBatches(Words(), noisy, ImageConfig(), batch_size=training.batch_size, seed=training.seed)

    def stream(start: int) -> Iterator[Batch]:
        return training_loader(batches, steps=training.steps, start=start, workers=training.workers)

    config = Config(name="tests", training=training)
    return train(model, arguments.pop("batches", stream), config, directory, **arguments), model


def same(left: dict, right: dict) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def same_checkpoints(left: Path, right: Path) -> bool:
    """Whether two runs left the same weights, averages and optimiser states, to the last bit."""
    a, b = load_checkpoint(left / "checkpoint.pt"), load_checkpoint(right / "checkpoint.pt")
    states = a.optimiser["state"].keys() == b.optimiser["state"].keys()
    states = states and all(same(a.optimiser["state"][key], b.optimiser["state"][key]) for key in a.optimiser["state"])
    averages = same(a.average, b.average) if a.average else a.average == b.average
    return a.step == b.step and same(a.model, b.model) and averages and states


def log_rows(directory: Path) -> list[dict[str, str]]:
    with (directory / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


# One step, by hand


class Slope(nn.Module):
    """One weight w, whose loss is `factor * w`: the gradient is `factor`, wherever w is."""

    def __init__(self, factor: float = 2.0) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(1, 1))
        self.factor = factor

    def forward(self, batch: Batch, detect: bool = False) -> SimpleNamespace:
        half = self.factor / 2 * self.w.sum()
        return SimpleNamespace(losses={"class": half, "box": half.clone()}, detections=None)


@pytest.fixture
def batch() -> Batch:
    return TrainingBatches(Words(), noisy, ImageConfig(), batch_size=2, seed=0)[0]


def weights_after(model: Slope, batch: Batch, training: TrainingConfig, steps: int) -> list[float]:
    optimiser = make_optimiser(model, training)
    weights = []
    for step in range(steps):
        losses, norm = training_step(model, [batch], optimiser, training, step)
        weights.append(model.w.item())
        assert norm.item() == pytest.approx(abs(model.factor)) and set(losses) == {"class", "box"}
    return weights


PLAIN_SGD = TrainingConfig(
    steps=10, learning_rate=0.1, momentum=0.0, weight_decay=0.0, warmup_steps=0, milestones=(), batch_size=2
)


def test_a_step_moves_against_the_gradient_of_the_sum_of_the_losses(batch):
    assert weights_after(Slope(2.0), batch, PLAIN_SGD, 2) == pytest.approx([1 - 0.1 * 2, 1 - 0.1 * 4])


def test_momentum_adds_up_gradients(batch):
    # Velocities 2, 0.9 * 2 + 2 = 3.8, 0.9 * 3.8 + 2 = 5.42.
    expected = [1 - 0.2, 1 - 0.2 - 0.38, 1 - 0.2 - 0.38 - 0.542]
    assert weights_after(Slope(2.0), batch, replace(PLAIN_SGD, momentum=0.9), 3) == pytest.approx(expected)


def test_weight_decay_of_sgd_is_a_part_of_the_gradient(batch):
    expected = [1 - 0.1 * (2 + 0.5 * 1)]
    assert weights_after(Slope(2.0), batch, replace(PLAIN_SGD, weight_decay=0.5), 1) == pytest.approx(expected)


def test_adamw_steps_by_the_rate_and_decays_apart_from_the_gradient(batch):
    # The first AdamW step has the length of the rate whatever the gradient; the decay multiplies by 1 - 0.1 * 0.5.
    adamw = replace(PLAIN_SGD, optimiser="adamw", weight_decay=0.5)
    assert weights_after(Slope(1000.0), batch, adamw, 1) == pytest.approx([0.95 - 0.1], abs=1e-5)


def test_clipping_shortens_the_gradient_to_the_limit(batch):
    assert weights_after(Slope(8.0), batch, replace(PLAIN_SGD, gradient_clip=4.0), 1) == pytest.approx([1 - 0.1 * 4])
    assert weights_after(Slope(8.0), batch, replace(PLAIN_SGD, gradient_clip=9.0), 1) == pytest.approx([1 - 0.1 * 8])


def test_the_rate_follows_the_schedule(batch):
    training = replace(PLAIN_SGD, warmup_steps=2, warmup_factor=0.5, milestones=(0.3,))
    # Rates 0.05, 0.075, 0.1, 0.01.
    expected = np.cumsum([0.05, 0.075, 0.1, 0.01]) * -2 + 1
    assert weights_after(Slope(2.0), batch, training, 4) == pytest.approx(expected.tolist())


def test_bfloat16_is_used_where_it_is_asked_for(batch):
    seen = []
    for precision in ("float32", "bfloat16"):
        model = StandIn()
        model.convolution.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
        training = replace(TRAINING, precision=precision)
        losses, _ = training_step(model, [batch], make_optimiser(model, training), training, 0)
        assert model.convolution.weight.dtype == torch.float32 and all(loss.isfinite() for loss in losses.values())
    assert seen == [torch.float32, torch.bfloat16]


# A whole run


def test_a_run_learns_and_leaves_log_and_checkpoint(tmp_path):
    training = replace(TRAINING, steps=60, optimiser="adamw", learning_rate=0.02)
    summary, model = run(tmp_path, training)
    assert (summary.steps, summary.stopped_by, summary.stopped_early) == (60, "", False)
    assert sorted(os.listdir(tmp_path)) == ["checkpoint.pt", "log.csv"]
    rows = log_rows(tmp_path)
    assert list(rows[0]) == ["step", "seconds", "learning_rate", "images_per_second", "total", "class", "box"]
    assert [int(row["step"]) for row in rows] == list(range(1, 61))
    assert float(rows[0]["learning_rate"]) == pytest.approx(0.02 * 0.001)
    for row in rows:
        assert float(row["total"]) == pytest.approx(float(row["class"]) + float(row["box"]), rel=1e-4)
    totals = [float(row["total"]) for row in rows]
    assert np.mean(totals[-10:]) < 0.7 * np.mean(totals[:10])
    assert float(rows[-1]["seconds"]) == pytest.approx(summary.train_seconds, rel=1e-4)
    assert float(rows[9]["images_per_second"]) == pytest.approx(
        2 / (float(rows[9]["seconds"]) - float(rows[8]["seconds"])), rel=0.1
    )
    checkpoint = load_checkpoint(tmp_path / "checkpoint.pt")
    assert checkpoint.step == 60 and same(checkpoint.model, model.state_dict())
    assert same(summary.weights, checkpoint.average) and not same(summary.weights, checkpoint.model)
    assert model.convolution.weight.is_contiguous(memory_format=torch.channels_last)


def test_without_an_average_the_weights_themselves_are_shipped(tmp_path):
    summary, model = run(tmp_path, replace(TRAINING, average_decay=0.0))
    assert same(summary.weights, model.state_dict())


def test_the_average_follows_the_weights_of_every_step(tmp_path):
    seen = []
    model = StandIn()
    model.register_forward_pre_hook(lambda module, inputs: seen.append(module.box.weight.detach().clone()))
    summary, _ = run(tmp_path, model=model)
    expected = seen[0]
    for step, weight in enumerate([*seen[1:], model.box.weight.detach()]):
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * weight
    torch.testing.assert_close(summary.weights["box.weight"], expected)


def test_seconds_count_the_wait_for_data_and_not_the_end(tmp_path):
    loaded = list(run_batches(3))

    def slow(start: int) -> Iterator[Batch]:
        for batch in loaded:
            time.sleep(0.2)
            yield batch

    started = time.perf_counter()
    summary, _ = run(
        tmp_path, replace(TRAINING, steps=3), batches=slow, on_checkpoint=lambda step, weights: time.sleep(0.5)
    )
    assert 0.6 <= summary.train_seconds <= time.perf_counter() - started - 0.5


def run_batches(count: int, start: int = 0) -> Iterator[Batch]:
    batches = TrainingBatches(Words(), noisy, ImageConfig(), batch_size=2, seed=0)
    return (batches[step] for step in range(start, count))


def test_checkpoints_come_at_their_steps_and_at_the_end(tmp_path):
    seen = []

    def look(step: int, weights: dict) -> None:
        checkpoint = load_checkpoint(tmp_path / "checkpoint.pt")
        assert checkpoint.step == step == len(log_rows(tmp_path)) and same(weights, checkpoint.average)
        seen.append(step)

    run(tmp_path, on_checkpoint=look)
    assert seen == [5, 10, 12]
    seen.clear()
    run(tmp_path / "b", replace(TRAINING, checkpoint_every=0), on_checkpoint=lambda step, weights: seen.append(step))
    assert seen == [12]


def test_the_model_trains_on_whatever_a_callback_did_to_it(tmp_path):
    modes = []
    model = StandIn()
    model.register_forward_pre_hook(lambda module, inputs: modes.append(module.training))
    run(tmp_path, model=model, on_checkpoint=lambda step, weights: model.eval())
    assert modes == [True] * 12


def test_frozen_parameters_stay(tmp_path):
    torch.manual_seed(0)
    model = StandIn()
    model.convolution.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    summary, _ = run(tmp_path, model=model)
    assert torch.equal(model.convolution.weight, before["convolution.weight"])
    assert torch.equal(summary.weights["convolution.weight"], before["convolution.weight"])
    assert not torch.equal(model.box.weight, before["box.weight"])


# Interrupted and resumed


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
@pytest.mark.parametrize("average_decay", [0.0, 0.9])
def test_a_resumed_run_ends_with_the_same_bits(tmp_path, optimiser, average_decay):
    training = replace(TRAINING, optimiser=optimiser, average_decay=average_decay, gradient_clip=1.0)
    whole, _ = run(tmp_path / "whole", training)
    part, _ = run(tmp_path / "parts", training, stop_after_seconds=0)
    assert (part.steps, part.stopped_by, part.stopped_early) == (1, "time", True)
    while part.stopped_early:
        part, _ = run(tmp_path / "parts", training, resume=True, stop_after_seconds=0)
    assert part.steps == 12 and same(part.weights, whole.weights)
    assert same_checkpoints(tmp_path / "whole", tmp_path / "parts")
    without_clock = [
        [{k: v for k, v in row.items() if k not in ("seconds", "images_per_second")} for row in log_rows(tmp_path / d)]
        for d in ("whole", "parts")
    ]
    assert without_clock[0] == without_clock[1]
    seconds = [float(row["seconds"]) for row in log_rows(tmp_path / "parts")]
    assert seconds == sorted(seconds) and seconds[-1] == pytest.approx(part.train_seconds, rel=1e-4)


def test_random_numbers_drawn_between_steps_change_nothing(tmp_path):
    whole, _ = run(tmp_path / "whole")
    drawing, _ = run(tmp_path / "drawing", on_checkpoint=lambda step, weights: torch.rand(step))
    assert same(whole.weights, drawing.weights)


def test_another_seed_ends_elsewhere(tmp_path):
    model, other = StandIn(), StandIn()
    other.load_state_dict(model.state_dict())
    first, _ = run(tmp_path / "a", model=model)
    second, _ = run(tmp_path / "b", replace(TRAINING, seed=1), model=other)
    assert not same(first.weights, second.weights)


def test_a_run_killed_between_checkpoints_repeats_those_steps_once(tmp_path):
    whole, _ = run(tmp_path / "whole")
    run(tmp_path / "killed", stop_after_seconds=0)  # saves after step 1 ...
    with (tmp_path / "killed" / "log.csv").open("a") as log:  # ... and then writes two and a half rows
        log.write("2,9,9,9,9,9,9\n3,9,9,9,9,9,9\n4,9,9")
    resumed, _ = run(tmp_path / "killed", resume=True)
    assert [int(row["step"]) for row in log_rows(tmp_path / "killed")] == list(range(1, 13))
    assert log_rows(tmp_path / "killed")[1]["total"] == log_rows(tmp_path / "whole")[1]["total"]
    assert same(resumed.weights, whole.weights)


def test_workers_and_checkpoint_steps_may_change_when_resuming(tmp_path):
    whole, _ = run(tmp_path / "whole")
    run(tmp_path / "parts", stop_after_seconds=0)
    resumed, _ = run(tmp_path / "parts", replace(TRAINING, workers=1, checkpoint_every=2), resume=True)
    assert same(resumed.weights, whole.weights)


def test_a_finished_run_has_nothing_left_to_resume(tmp_path):
    whole, _ = run(tmp_path)
    content = (tmp_path / "checkpoint.pt").read_bytes()
    again, _ = run(tmp_path, resume=True)
    assert (again.steps, again.stopped_early, again.train_seconds) == (12, False, whole.train_seconds)
    assert same(again.weights, whole.weights) and (tmp_path / "checkpoint.pt").read_bytes() == content
    assert len(log_rows(tmp_path)) == 12


def test_resuming_nothing_and_starting_over_something_are_errors(tmp_path):
    with pytest.raises(ValueError, match=r"nothing to resume: there is no checkpoint.pt$"):
        run(tmp_path, resume=True)
    assert os.listdir(tmp_path) == []
    run(tmp_path)
    content = (tmp_path / "checkpoint.pt").read_bytes()
    with pytest.raises(ValueError, match="already holds a training run: resume it"):
        run(tmp_path)
    with pytest.raises(ValueError, match=r"training\.learning_rate was 0\.05, now 0\.1 "):
        run(tmp_path, replace(TRAINING, learning_rate=0.1), resume=True)
    assert (tmp_path / "checkpoint.pt").read_bytes() == content and len(log_rows(tmp_path)) == 12


def test_a_run_killed_before_its_first_checkpoint_begins_anew(tmp_path):
    whole, _ = run(tmp_path / "whole")
    run(tmp_path / "killed", stop_after_seconds=0)
    (tmp_path / "killed" / "checkpoint.pt").rename(tmp_path / "killed" / "checkpoint.pt.partial")
    resumed, _ = run(tmp_path / "killed", resume=True)
    assert same(resumed.weights, whole.weights) and same_checkpoints(tmp_path / "whole", tmp_path / "killed")
    assert sorted(os.listdir(tmp_path / "killed")) == ["checkpoint.pt", "log.csv"]
    assert [int(row["step"]) for row in log_rows(tmp_path / "killed")] == list(range(1, 13))


def test_a_run_whose_checkpoint_is_lost_does_not_begin_anew_over_its_weights(tmp_path):
    run(tmp_path, on_checkpoint=lambda step, weights: (tmp_path / "model.safetensors").write_bytes(b"weights"))
    (tmp_path / "checkpoint.pt").unlink()
    with pytest.raises(ValueError, match=r"nothing to resume: there is no checkpoint.pt$"):
        run(tmp_path, resume=True)
    assert len(log_rows(tmp_path)) == 12


def test_resuming_with_another_network_lists_what_does_not_fit(tmp_path):
    run(tmp_path, stop_after_seconds=0)
    with pytest.raises(ValueError, match=r"checkpoint.pt: 10 tensors do not fit this model: box.bias is not expected"):
        run(tmp_path, model=Slope(), resume=True)


def shrink(values: dict, name: str) -> None:
    values[name] = values[name][:1].clone()


ADAMW = replace(TRAINING, optimiser="adamw")


def refused(directory: Path, training: TrainingConfig, damage) -> str:
    """What a run says, in one line, that is to go on from a checkpoint after `damage` was done to that."""
    run(directory, training, stop_after_seconds=0)
    checkpoint = load_checkpoint(directory / "checkpoint.pt")
    damage(checkpoint)
    save_checkpoint(directory / "checkpoint.pt", checkpoint)
    model = StandIn()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ValueError) as error:
        run(directory, training, model, resume=True)
    assert str(error.value).isprintable() and same(model.state_dict(), before)
    return str(error.value).removeprefix(f"{directory / 'checkpoint.pt'}: its ")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda saved: saved.pop("param_groups"), "found no groups of parameters with a state for each"),
        (lambda saved: saved.update(state=5), "found no groups of parameters with a state for each"),
        (lambda saved: saved.update(param_groups=5), "found int of parameters, expected 2"),
        (lambda saved: saved["param_groups"].pop(), "found 1 groups of parameters, expected 2"),
        (lambda saved: saved["param_groups"][1].pop("betas"), "group 1 has no betas"),
        (lambda saved: saved["param_groups"][0].update(betas=7), "betas of group 0 is not (0.9, 0.999)"),
        (lambda saved: saved["param_groups"][0]["params"].pop(), "params of group 0 is not [0, 1]"),
        (lambda saved: saved["param_groups"][0].update(x=1), "'x' of group 0 is not expected"),
        (lambda saved: saved["state"].clear(), "found no state of any parameter"),
        (lambda saved: saved["state"].update({"a\nb": {}}), "state of parameter 'a\\nb' is not expected"),
        (
            lambda saved: saved["state"].update({1: None}),
            "state of parameter 1 is NoneType, expected ['exp_avg', 'exp_avg_sq', 'step']",
        ),
        (
            lambda saved: saved["state"][1].pop("exp_avg_sq"),
            "state of parameter 1 is ['exp_avg', 'step'], expected ['exp_avg', 'exp_avg_sq', 'step']",
        ),
        (
            lambda saved: shrink(saved["state"][1], "exp_avg"),
            "exp_avg of parameter 1 is (1, 8) float32, expected (4, 8) float32",
        ),
        (
            lambda saved: saved["state"][1].update(step=3),
            "step of parameter 1 is no plain tensor, expected () float32",
        ),
    ],
)
def test_resuming_a_damaged_optimiser_is_refused(tmp_path, damage, message):
    said = refused(tmp_path, ADAMW, lambda checkpoint: damage(checkpoint.optimiser))
    assert said == f"optimiser does not fit: {message}"


def test_resuming_damaged_momentum_is_refused(tmp_path):
    said = refused(tmp_path, TRAINING, lambda saved: shrink(saved.optimiser["state"][3], "momentum_buffer"))
    assert said == "optimiser does not fit: momentum_buffer of parameter 3 is (1,) float32, expected (8,) float32"


def test_resuming_a_damaged_average_is_refused(tmp_path):
    said = refused(tmp_path / "shape", TRAINING, lambda saved: shrink(saved.average, "box.weight"))
    assert said == "average: 1 tensors do not fit this model: box.weight is (1, 8), expected (4, 8)"
    said = refused(tmp_path / "names", TRAINING, lambda saved: saved.average.clear())
    assert said.startswith("average: 9 tensors do not fit this model: box.bias is missing; ")


def test_a_parameter_that_never_had_a_gradient_has_no_state_to_resume(tmp_path):
    class Unused(StandIn):
        def __init__(self) -> None:
            super().__init__()
            self.unused = nn.Parameter(torch.ones(3))

    whole, _ = run(tmp_path / "whole", ADAMW, Unused())
    run(tmp_path / "parts", ADAMW, Unused(), stop_after_seconds=0)
    resumed, _ = run(tmp_path / "parts", ADAMW, Unused(), resume=True)
    assert resumed.steps == whole.steps == 12


def test_batches_that_end_early_are_an_error(tmp_path):
    with pytest.raises(ValueError, match="the batches ended after step 3, expected 12"):
        run(tmp_path, batches=lambda start: run_batches(3))


# Stopped by a signal


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_the_step_saves_and_stops(tmp_path, number):
    whole, _ = run(tmp_path / "whole")
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def interrupted(start: int) -> Iterator[Batch]:
        for step, batch in enumerate(run_batches(12, start), start=start):
            if step == 6:
                os.kill(os.getpid(), number)
            yield batch

    part, _ = run(tmp_path / "parts", batches=interrupted)
    assert (part.steps, part.stopped_by) == (7, signal.Signals(number).name)
    assert load_checkpoint(tmp_path / "parts" / "checkpoint.pt").step == 7 == len(log_rows(tmp_path / "parts"))
    assert {number: signal.getsignal(number) for number in before} == before
    resumed, _ = run(tmp_path / "parts", resume=True)
    assert same(resumed.weights, whole.weights) and not resumed.stopped_early


def test_a_second_ctrl_c_stops_at_once_but_an_echo_of_the_first_does_not(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("maskrcnn.training.stopping.time.monotonic", lambda: clock[0])

    def impatient(start: int) -> Iterator[Batch]:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        clock[0] += 2
        reached.append("after the echo")
        os.kill(os.getpid(), signal.SIGINT)
        yield from run_batches(12)

    reached, before = [], signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, batches=impatient)
    assert reached == ["after the echo"] and signal.getsignal(signal.SIGINT) == before
    assert not (tmp_path / "checkpoint.pt").exists()


def test_a_signal_during_the_last_step_is_not_an_early_stop(tmp_path):
    def interrupted(start: int) -> Iterator[Batch]:
        for step, batch in enumerate(run_batches(12)):
            if step == 11:
                os.kill(os.getpid(), signal.SIGTERM)
            yield batch

    summary, _ = run(tmp_path, batches=interrupted)
    assert summary.steps == 12 and not summary.stopped_early


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_whole_process_group_saves_and_resumes_to_the_same_bits(tmp_path, number):
    training = replace(TRAINING, steps=150, workers=1, checkpoint_every=1000)
    whole, _ = run(tmp_path / "whole", training)
    script = (
        "import time, test_training_loop as t\n"
        "from pathlib import Path\n"
        f"training = t.replace(t.TRAINING, steps=150, workers=1, checkpoint_every=1000)\n"
        "noisy = t.noisy\n"
        "def slow(sample, random):\n"
        "    time.sleep(0.05)\n"
        "    return noisy(sample, random)\n"
        "t.noisy = slow\n"
        f"summary, _ = t.run(Path({str(tmp_path / 'parts')!r}), training)\n"
        "print('STOPPED', summary.stopped_by, summary.steps)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *sys.path])}
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    log, deadline = tmp_path / "parts" / "log.csv", time.monotonic() + 120
    while (not log.exists() or log.read_text().count("\n") < 4) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, number)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 0 and "Traceback" not in errors, errors
    _, reason, steps = out.splitlines()[-1].split()
    assert reason == signal.Signals(number).name and 3 <= int(steps) < 150
    assert load_checkpoint(tmp_path / "parts" / "checkpoint.pt").step == int(steps)
    resumed, _ = run(tmp_path / "parts", training, resume=True)
    assert same(resumed.weights, whole.weights)
    assert same_checkpoints(tmp_path / "whole", tmp_path / "parts")


# Not finite


class Breaks(StandIn):
    """Its losses are as usual until the eighth step."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.calls = kind, 0

    def forward(self, batch: Batch, detect: bool = False) -> SimpleNamespace:
        output = super().forward(batch)
        self.calls += 1
        self.batch = batch
        if self.calls == 8:
            self.before = [parameter.detach().clone() for parameter in self.parameters()]
            if self.kind == "gradient":  # The square root of 0 is fine; its slope is not.
                output.losses["box"] = output.losses["box"] + (0 * output.losses["box"]).sqrt()
            else:
                output.losses["box"] = output.losses["box"] * float(self.kind)
        return output


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
@pytest.mark.parametrize("kind", ["nan", "inf", "gradient"])
def test_a_loss_that_is_not_finite_stops_at_once(tmp_path, optimiser, kind):
    torch.manual_seed(0)
    model = Breaks(kind)
    steps = []
    with pytest.raises(NonFiniteLoss) as error:
        run(
            tmp_path,
            replace(TRAINING, optimiser=optimiser),
            model=model,
            on_checkpoint=lambda step, weights: steps.append(step),
        )
    message = str(error.value)
    assert "\n" not in message and message.startswith("step 8: a loss or the gradient is not finite: class 0.")
    assert all(name in message for name in model.batch.names) and "learning rate 0.0" in message
    assert ("box nan" in message, "box inf" in message) == (kind == "nan", kind == "inf")
    assert "gradient norm nan" in message
    # Not one weight has moved, and what was saved before is what is there.
    assert all(torch.equal(now, before) for now, before in zip(model.parameters(), model.before, strict=True))
    assert steps == [5] and load_checkpoint(tmp_path / "checkpoint.pt").step == 5
    assert [int(row["step"]) for row in log_rows(tmp_path)] == list(range(1, 8))
    assert math.isfinite(float(log_rows(tmp_path)[-1]["total"]))


# A failing disk


def test_a_checkpoint_that_cannot_be_written_is_one_line_and_the_last_one_survives(tmp_path, monkeypatch):
    calls = []

    def refuse(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 3:  # Each save makes two: of the file and of its folder.
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("maskrcnn.files.os.fsync", refuse)
    with pytest.raises(OSError, match=r"checkpoint.pt: cannot be saved: No space left on device; the previous file"):
        run(tmp_path)
    assert load_checkpoint(tmp_path / "checkpoint.pt").step == 5
    monkeypatch.undo()
    resumed, _ = run(tmp_path, resume=True)
    assert isinstance(resumed, TrainingSummary) and resumed.steps == 12


def test_a_folder_that_cannot_be_made_is_found_before_the_first_step(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="Not a directory"):
        run(tmp_path / "file" / "run", batches=lambda start: pytest.fail("a step was asked for"))
