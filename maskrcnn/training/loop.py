"""The training loop: one step on one page, and around it what keeps hours of work safe.

A run is a function of its configuration, its data set and its first weights: the batch and the random numbers of step
k follow from (seed, k). An interrupted and resumed run therefore ends, on a CPU, with the same weights to the last bit.
"""

from __future__ import annotations

import math
import signal
import threading
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
from maskrcnn.training.checkpoint import Checkpoint, check_settings, load_checkpoint, load_into, save_checkpoint
from maskrcnn.training.progress import ProgressLine, StepReport, TrainingLog
from maskrcnn.training.schedule import learning_rate

CHECKPOINT_NAME = "checkpoint.pt"
LOG_NAME = "log.csv"


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


class WeightAverage:
    """Exponential moving average of a model's weights (Polyak and Juditsky, 1992): less noise than any one step.

    With average_decay 0 there is none, and `weights` is None.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._decay = decay
        self.weights: dict[str, Tensor] | None = None
        if decay > 0:
            self.weights = {name: value.detach().clone() for name, value in model.state_dict().items()}

    def update(self, model: nn.Module, step: int) -> None:
        """Moves the average towards the weights after `step`, counted from 0; buffers are copied.

        The first steps count for more, decay = (1 + step) / (10 + step) until that reaches the setting: otherwise a
        short run would end with an average that still remembers its random start.
        """
        if self.weights is None:
            return
        decay = min(self._decay, (1 + step) / (10 + step))
        parameters = {name for name, _ in model.named_parameters()}
        for name, value in model.state_dict().items():
            if name in parameters:
                self.weights[name].lerp_(value.detach(), 1 - decay)
            else:
                self.weights[name].copy_(value)


def make_optimiser(model: nn.Module, training: TrainingConfig) -> torch.optim.Optimizer:
    """SGD with momentum, or AdamW with `momentum` as its first beta, over all parameters that learn.

    SGD decays every parameter, as the published recipes do. AdamW does not decay vectors (biases, scales and shifts
    of norms): its decay does not depend on the gradient, and would draw the scales of norm layers, which weights
    behind them can undo, to zero for nothing (arXiv 1711.05101; usual since arXiv 1706.05350).
    """
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    # fused: one pass over memory, and it can be told on the device not to make a step (`training_step`).
    if training.optimiser == "sgd":
        return torch.optim.SGD(
            learning, lr=0.0, momentum=training.momentum, weight_decay=training.weight_decay, fused=True
        )
    groups = [
        {"params": [parameter for parameter in learning if parameter.ndim > 1], "weight_decay": training.weight_decay},
        {"params": [parameter for parameter in learning if parameter.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=0.0, betas=(training.momentum, 0.999), fused=True)


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
    total = torch.stack(list(losses.values())).sum()
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
    `TrainingSummary.weights`); it may use the model and random numbers as it likes.
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
    elif path.exists():
        raise ValueError(f"{directory} already holds a training run: resume it (--resume) or use another folder")
    directory.mkdir(parents=True, exist_ok=True)

    started = last_report = time.perf_counter()
    seconds = seconds_before
    unread: deque[_Outcome] = deque()
    with (
        _StopSignals() as stop,
        closing(TrainingLog(directory / LOG_NAME, steps_done)) as log,
        closing(ProgressLine(training.steps)) as progress,
    ):
        stream = iter(batches(steps_done)) if steps_done < training.steps else iter(())
        while steps_done < training.steps and not stop.reason:
            batch = next(stream, None)
            if batch is None:
                raise ValueError(f"the batches ended after step {steps_done}, expected {training.steps}")
            model.train()
            losses, norm = training_step(model, batch.to(device, non_blocking=True), optimiser, training, steps_done)
            average.update(model, steps_done)
            steps_done += 1
            unread.append(_Outcome(steps_done, batch.names, losses, norm))

            if time.perf_counter() - started >= stop_after_seconds and not stop.reason:
                stop.reason = "time"
            last = steps_done == training.steps or bool(stop.reason)
            save = last or (training.checkpoint_every > 0 and steps_done % training.checkpoint_every == 0)
            # Reading a number makes Python wait for the GPU. One step later it is there anyway.
            while len(unread) > (1 if device.type == "cuda" and not save else 0):
                outcome = unread.popleft()
                numbers = outcome.read(training)
                now = time.perf_counter()
                seconds = seconds_before + now - started
                rate = learning_rate(outcome.step - 1, training)
                report = StepReport(outcome.step, seconds, now - last_report, len(outcome.names), rate, numbers)
                last_report = now
                log.write(report)
                progress.show(report)
            if save:
                own = model.state_dict()
                checkpoint = Checkpoint(steps_done, seconds, config, own, average.weights, optimiser.state_dict())
                save_checkpoint(path, checkpoint)
                if on_checkpoint is not None:
                    on_checkpoint(steps_done, checkpoint.weights)
    stopped_by = stop.reason if steps_done < training.steps else ""
    weights = model.state_dict() if average.weights is None else average.weights
    return TrainingSummary(steps_done, seconds, stopped_by, weights)


class _Outcome:
    """The losses of a step on their way from the device to Python."""

    def __init__(self, step: int, names: tuple[str, ...], losses: dict[str, Tensor], norm: Tensor) -> None:
        self.step, self.names, self._keys = step, names, list(losses)
        # Copied to pinned memory while the GPU works on; `_arrived` says when the copy is there.
        self._values = torch.stack([norm, *losses.values()]).float().to("cpu", non_blocking=True)
        self._arrived = torch.cuda.Event() if norm.is_cuda else None
        if self._arrived is not None:
            self._arrived.record()

    def read(self, training: TrainingConfig) -> dict[str, float]:
        """The losses as numbers. Raises NonFiniteLoss."""
        if self._arrived is not None:
            self._arrived.synchronize()
        norm, *values = self._values.tolist()
        losses = dict(zip(self._keys, values, strict=True))
        if all(map(math.isfinite, (norm, *values))):
            return losses
        raise NonFiniteLoss(
            f"step {self.step}: the loss or its gradient is not finite: "
            + ", ".join(f"{name} {value:g}" for name, value in losses.items())
            + f", gradient norm {norm:g}; learning rate {learning_rate(self.step - 1, training):g}; "
            f"images {', '.join(self.names)}; training stopped, the last checkpoint is untouched"
        )


class _StopSignals:
    """While active, SIGINT and SIGTERM only set `reason`; the previous handlers come back afterwards."""

    def __init__(self) -> None:
        self.reason = ""
        self._since = 0.0
        self._previous: dict[int, object] = {}

    def __enter__(self) -> _StopSignals:
        if threading.current_thread() is threading.main_thread():  # Python allows handlers nowhere else.
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._previous.items():
            # None: a handler that was not installed from Python cannot be put back from Python.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _receive(self, number: int, frame: object) -> None:
        # One Ctrl-C may arrive twice, from the terminal and from a wrapper that passes it on.
        if self.reason and number == signal.SIGINT and time.monotonic() - self._since > 1:
            raise KeyboardInterrupt
        if not self.reason:
            self.reason, self._since = signal.Signals(number).name, time.monotonic()


def _restore(
    path: Path, config: Config, model: nn.Module, optimiser: torch.optim.Optimizer, average: WeightAverage
) -> tuple[int, float]:
    """Puts a checkpoint into a run; returns the steps and seconds it has behind it."""
    if not path.exists():
        raise ValueError(f"{path.parent}: nothing to resume: there is no {path.name}")
    checkpoint = load_checkpoint(path)
    check_settings(checkpoint.config, config, path)
    load_into(model, checkpoint.model, str(path))
    try:
        optimiser.load_state_dict(checkpoint.optimiser)
        if average.weights is not None:
            for name, value in average.weights.items():
                value.copy_(checkpoint.average[name])
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        raise ValueError(f"{path}: its optimiser or average does not fit this model: {error}") from error
    return checkpoint.step, checkpoint.seconds


def _step_seed(seed: int, step: int) -> int:
    # Mixed: PyTorch's CPU generator looks at the low 32 bits of a seed only.
    return int(np.random.SeedSequence([seed, step]).generate_state(1)[0])
