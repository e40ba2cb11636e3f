"""The training loop: one step on one page, and around it what keeps hours of work safe.

A run is a function of its configuration, its data set and its first weights: the batch and the random numbers of step
k follow from (seed, k). An interrupted and resumed run therefore ends, on a CPU, with the same weights to the last bit.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from maskrcnn.config import Config, TrainingConfig
from maskrcnn.structures import Batch
from maskrcnn.targets.losses import total_loss
from maskrcnn.training.checkpoint import (
    Checkpoint,
    check_fit,
    check_optimiser,
    check_settings,
    load_checkpoint,
    load_into,
    save_checkpoint,
)
from maskrcnn.training.optimiser import WeightAverage, make_optimiser
from maskrcnn.training.progress import ProgressLine, StepReport, TrainingLog
from maskrcnn.training.schedule import learning_rate
from maskrcnn.training.stopping import StopSignals

CHECKPOINT_NAME = "checkpoint.pt"
LOG_NAME = "log.csv"
WEIGHTS_NAME = "model.safetensors"
"""What callers of `train` save the weights as."""


class NonFiniteLoss(ArithmeticError):
    """A loss or the gradient became infinite or NaN. The text names every loss and the batch's images."""


@dataclass(frozen=True)
class TrainingSummary:
    """How a training run, or a part of it, ended."""

    steps: int
    """Steps done, those of earlier parts included."""
    train_seconds: float
    """Wall clock from the first to the last step, waiting for data included, over all parts of the run."""
    stopped_by: str
    """What ended it before its last step: SIGINT, SIGTERM, "time"; empty if nothing did."""
    weights: dict[str, Tensor]
    """What to evaluate and ship: the moving average of the weights, or the weights themselves without one."""

    @property
    def stopped_early(self) -> bool:
        """Whether steps are left for `resume`."""
        return bool(self.stopped_by)


def training_step(
    model: nn.Module, batch: Batch, optimiser: torch.optim.Optimizer, training: TrainingConfig, step: int
) -> tuple[dict[str, Tensor], Tensor]:
    """One update of the weights from one batch; `step` counts from 0.

    Returns the losses (0-dim each) and the norm of the gradient (0-dim, before clipping), all still on the device.
    If one of them is not finite, the weights stay as they were.
    """
    rate = learning_rate(step, training)
    for group in optimiser.param_groups:
        group["lr"] = rate
    torch.manual_seed(_step_seed(training.seed, step))

    with torch.autocast(batch.images.device.type, torch.bfloat16, enabled=training.precision == "bfloat16"):
        losses = model(batch).losses
    total = total_loss(losses)
    optimiser.zero_grad()
    total.backward()
    norm = nn.utils.clip_grad_norm_(model.parameters(), training.gradient_clip or math.inf)

    # The optimiser reads this flag on the device, so a GPU does not wait for Python to look at it (torch's
    # GradScaler speaks to optimisers in the same way).
    optimiser.found_inf = (~(torch.isfinite(total) & torch.isfinite(norm))).float()
    optimiser.step()
    return {name: loss.detach() for name, loss in losses.items()}, norm.detach()


def train(
    model: nn.Module,
    batches: Callable[[int], Iterable[Batch]],
    config: Config,
    directory: Path,
    *,
    resume: bool = False,
    on_checkpoint: Callable[[int, dict[str, Tensor]], None] | None = None,
    stop_after_seconds: float = math.inf,
) -> TrainingSummary:
    """Trains a model for `config.training.steps` steps; checkpoint.pt and log.csv go to `directory`.

    batches: called with the number of steps already done, gives the batches from there on (`training_loader`).
    resume: go on from the checkpoint in `directory`.
    on_checkpoint: called after each checkpoint with the number of steps done and the weights to evaluate (those of
    `TrainingSummary.weights`); it may use the model and random numbers as it likes. A finished run that is resumed
    calls it once more: it may have been killed between its last checkpoint and this.
    stop_after_seconds: of this call; then the run is saved and stops, as it does on SIGINT and SIGTERM (a second
    Ctrl-C stops at once).

    Raises ValueError if there is nothing to resume, if the checkpoint was made with other settings, or if there is
    one and `resume` is False; NonFiniteLoss, with the last checkpoint untouched; OSError, in one line, if a
    checkpoint cannot be saved.
    """
    training, device = config.training, next(model.parameters()).device
    model.to(memory_format=torch.channels_last)
    optimiser = make_optimiser(model, training)
    average = WeightAverage(model, training.average_decay)
    directory = Path(directory)
    path = directory / CHECKPOINT_NAME
    steps_done, seconds_before = 0, 0.0
    if resume:
        steps_done, seconds_before = _restore(path, config, model, optimiser, average)
    elif path.exists() or (directory / LOG_NAME).exists():
        raise ValueError(f"{directory} already holds a training run: resume it (--resume) or use another folder")
    directory.mkdir(parents=True, exist_ok=True)
    if steps_done == training.steps and on_checkpoint is not None:
        on_checkpoint(steps_done, model.state_dict() if average.weights is None else average.weights)

    with (
        StopSignals() as stop,
        closing(_Reports(directory / LOG_NAME, training, steps_done, seconds_before)) as reports,
    ):
        started = time.perf_counter()
        stream = iter(batches(steps_done)) if steps_done < training.steps else iter(())
        stopped = False
        while steps_done < training.steps and not stopped:
            batch = next(stream, None)
            if batch is None:
                raise ValueError(f"the batches ended after step {steps_done}, expected {training.steps}")
            model.train()
            batch = batch.to(device, non_blocking=device.type == "cuda")
            losses, norm = training_step(model, batch, optimiser, training, steps_done)
            average.update(model, steps_done)
            steps_done += 1
            reports.add(_Outcome(steps_done, batch.names, losses, norm))

            if time.perf_counter() - started >= stop_after_seconds:
                stop.reason = stop.reason or "time"
            stopped = bool(stop.reason)  # looked at once: a signal that comes after this ends the next step
            due = training.checkpoint_every > 0 and steps_done % training.checkpoint_every == 0
            if due or stopped or steps_done == training.steps:
                reports.read_all()  # Weights are saved only once their losses are known to be finite.
                checkpoint = Checkpoint(
                    step=steps_done,
                    seconds=reports.seconds,
                    config=config,
                    model=model.state_dict(),
                    average=average.weights,
                    optimiser=optimiser.state_dict(),
                )
                save_checkpoint(path, checkpoint)
                if on_checkpoint is not None:
                    on_checkpoint(steps_done, checkpoint.weights)
    return TrainingSummary(
        steps=steps_done,
        train_seconds=reports.seconds,
        stopped_by=stop.reason if steps_done < training.steps else "",
        weights=model.state_dict() if average.weights is None else average.weights,
    )


class _Outcome:
    """The losses of a step on their way from the device to Python."""

    def __init__(self, step: int, names: tuple[str, ...], losses: dict[str, Tensor], norm: Tensor) -> None:
        self.step, self.names, self.on_gpu, self._keys = step, names, norm.is_cuda, list(losses)
        self.done_at = time.perf_counter()
        # Copied to pinned memory while the GPU works on; `_arrived` says when the copy is there.
        self._values = torch.stack([norm, *losses.values()]).float().to("cpu", non_blocking=self.on_gpu)
        self._arrived = torch.cuda.Event() if self.on_gpu else None
        if self._arrived is not None:
            self._arrived.record()

    def read(self, rate: float) -> dict[str, float]:
        """The losses as numbers. Raises NonFiniteLoss; `rate`, the learning rate, is for its text."""
        if self._arrived is not None:
            self._arrived.synchronize()
        norm, *values = self._values.tolist()
        losses = dict(zip(self._keys, values, strict=True))
        if not all(map(math.isfinite, (norm, *values))):
            raise NonFiniteLoss(
                f"step {self.step}: a loss or the gradient is not finite: "
                + ", ".join(f"{name} {value:g}" for name, value in losses.items())
                + f", gradient norm {norm:g}; learning rate {rate:g}; images {', '.join(self.names)}; "
                "training stopped, the last checkpoint is untouched"
            )
        return losses


class _Reports:
    """Tells log and terminal about each step, on a GPU one step late: reading a number at once would wait for it."""

    def __init__(self, log: Path, training: TrainingConfig, steps_done: int, seconds_before: float) -> None:
        self.seconds = seconds_before
        self._training = training
        self._log, self._progress = TrainingLog(log, steps_done), ProgressLine(training.steps)
        self._unread: deque[_Outcome] = deque()
        self._zero = time.perf_counter() - seconds_before

    def add(self, outcome: _Outcome) -> None:
        """Takes in a step and reports what is to be read by now. Raises NonFiniteLoss."""
        self._unread.append(outcome)
        self._read(keep=1 if outcome.on_gpu else 0)

    def read_all(self) -> None:
        """Reports every step taken in so far, waiting for it. Raises NonFiniteLoss."""
        self._read(keep=0)

    def close(self) -> None:
        """Ends the progress line and closes the log."""
        self._progress.close()
        self._log.close()

    def _read(self, keep: int) -> None:
        while len(self._unread) > keep:
            outcome = self._unread.popleft()
            rate = learning_rate(outcome.step - 1, self._training)
            losses = outcome.read(rate)
            before, self.seconds = self.seconds, outcome.done_at - self._zero
            report = StepReport(
                step=outcome.step,
                seconds=self.seconds,
                step_seconds=self.seconds - before,
                images=len(outcome.names),
                learning_rate=rate,
                losses=losses,
            )
            self._log.write(report)
            self._progress.show(report)


def _restore(
    path: Path, config: Config, model: nn.Module, optimiser: torch.optim.Optimizer, average: WeightAverage
) -> tuple[int, float]:
    """Puts a checkpoint into a run; returns the steps and seconds it has behind it."""
    if not path.exists():
        raise ValueError(f"{path.parent}: nothing to resume: there is no {path.name}")
    checkpoint = load_checkpoint(path)
    check_settings(checkpoint.config, config, path)
    check_fit(model, checkpoint.model, str(path))  # load_into would, too, but not before the optimiser is looked at
    check_optimiser(optimiser, checkpoint.optimiser, str(path))
    if average.weights is not None:
        check_fit(model, checkpoint.average or {}, f"{path}: its average")
    load_into(model, checkpoint.model, str(path))
    optimiser.load_state_dict(checkpoint.optimiser)
    if average.weights is not None:
        for name, value in average.weights.items():
            value.copy_(checkpoint.average[name])
    return checkpoint.step, checkpoint.seconds


def _step_seed(seed: int, step: int) -> int:
    # Mixed: PyTorch's CPU generator looks at the low 32 bits of a seed only.
    return int(np.random.SeedSequence([seed, step]).generate_state(1)[0])
