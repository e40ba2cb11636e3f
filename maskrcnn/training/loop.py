"""The training loop: one step on one page, and around it what keeps hours of work safe.

A run is a function of its configuration, its data set and its first weights: the batch and the random numbers of step
k follow from (seed, k). An interrupted and resumed run therefore ends, on a CPU, with the same weights to the last bit.
Several processes (`maskrcnn.training.distributed`) share each batch, and take the same steps as one would.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from maskrcnn.config import Config, TrainingConfig
from maskrcnn.memory import out_of_memory_told
from maskrcnn.precision import computing_in
from maskrcnn.structures import Batch
from maskrcnn.targets.losses import total_loss
from maskrcnn.training.checkpoint import (
    Checkpoint,
    check_fit,
    check_optimiser,
    check_settings,
    load_checkpoint,
    save_checkpoint,
)
from maskrcnn.training.compiling import compiled, with_changing_sizes
from maskrcnn.training.distributed import ALONE, Ranks
from maskrcnn.training.freed_memory import return_freed_memory
from maskrcnn.training.optimiser import WeightAverage, make_optimiser
from maskrcnn.training.reports import NonFiniteLoss as NonFiniteLoss
from maskrcnn.training.reports import Outcome, Reports, needs_less
from maskrcnn.training.schedule import learning_rate
from maskrcnn.training.stopping import StopSignals

CHECKPOINT_NAME = "checkpoint.pt"
LOG_NAME = "log.csv"
WEIGHTS_NAME = "model.safetensors"
"""What callers of `train` save the weights as."""


@dataclass(frozen=True)
class TrainingSummary:
    """How a training run, or a part of it, ended."""

    steps: int
    """Steps done, those of earlier parts included."""
    train_seconds: float
    """Wall clock from the first to the last step, waiting for data included, over all parts of the run."""
    stopped_by: str
    """What ended it before its last step: SIGINT, SIGTERM, "time", "another process"; empty if nothing did."""
    weights: dict[str, Tensor]
    """What to evaluate and ship: the moving average of the weights, or the weights themselves without one."""

    @property
    def stopped_early(self) -> bool:
        """Whether steps are left for `resume`."""
        return bool(self.stopped_by)


def training_step(
    model: nn.Module,
    parts: Sequence[Batch],
    optimiser: torch.optim.Optimizer,
    training: TrainingConfig,
    step: int,
    ranks: Ranks = ALONE,
) -> tuple[dict[str, Tensor], Tensor]:
    """One update of the weights from one batch, in one or more parts; `step` counts from 0.

    Returns the losses (0-dim each, the mean over the parts) and the norm of the gradient (0-dim, before clipping), all
    still on the device. If one of them is not finite, the weights stay as they were; statistics of norms, if there are
    any, have moved on. Of several ranks, `model` is what `ranks.wrapped` gave, `parts` is this rank's share, and the
    losses are this rank's.
    """
    rate = learning_rate(step, training)
    for group in optimiser.param_groups:
        group["lr"] = rate
    torch.manual_seed(_step_seed(training.seed, step))

    optimiser.zero_grad()
    of_parts: list[dict[str, Tensor]] = []
    for part in parts:
        with ranks.averaging(model, last_part=part is parts[-1]):
            with computing_in(training.precision, part.images.device.type):
                output = model(part)
            losses = output.losses
            if ranks.count > 1 and training.denominators == "all_ranks":
                losses = ranks.normalised(losses, output.counts)
            (total_loss(losses) / len(parts)).backward()
        of_parts.append({name: loss.detach() for name, loss in losses.items()})
    mean_losses = {name: torch.stack([of_part[name] for of_part in of_parts]).mean() for name in losses}
    norm = nn.utils.clip_grad_norm_(model.parameters(), training.gradient_clip or math.inf).detach()

    # The optimiser reads this flag on the device, so a GPU does not wait for Python to look at it (torch's
    # GradScaler speaks to optimisers in the same way). The gradient, and with it the flag, is that of all ranks.
    optimiser.found_inf = (~(torch.isfinite(total_loss(mean_losses)) & torch.isfinite(norm))).float()
    optimiser.step()
    return mean_losses, norm


def train(
    model: nn.Module,
    batches: Callable[[int], Iterable[Batch]],
    config: Config,
    directory: Path,
    *,
    resume: bool = False,
    on_checkpoint: Callable[[int, dict[str, Tensor]], None] | None = None,
    stop_after_seconds: float = math.inf,
    ranks: Ranks = ALONE,
    compile: bool = False,
) -> TrainingSummary:
    """Trains a model for `config.training.steps` steps; checkpoint.pt and log.csv go to `directory`.

    batches: called with the number of steps already done, gives the batches from there on (`training_loader`), in
    `config.training.parts` parts each.
    resume: go on from the checkpoint in `directory`; a run that was killed before its first begins anew.
    on_checkpoint: called after each checkpoint with the number of steps done and the weights to evaluate (those of
    `TrainingSummary.weights`); it may use the model and random numbers as it likes. A finished run that is resumed
    calls it once more: it may have been killed between its last checkpoint and this.
    stop_after_seconds: of this call; then the run is saved and stops, as it does on SIGINT and SIGTERM (a second
    Ctrl-C stops at once). What stops one rank stops all after the same step.
    ranks: the processes that train together; only the first writes files, speaks, and calls `on_checkpoint`.
    compile: the model runs through `torch.compile`, which changes results by rounding (`maskrcnn.training.compiling`).

    Raises ValueError if there is nothing to resume, if the checkpoint was made with other settings, if there is one and
    `resume` is False, or for settings without a number of steps; NonFiniteLoss or OutOfMemory, with the last checkpoint
    untouched; OSError, in one line, if a checkpoint cannot be saved.
    """
    training, device = config.training, next(model.parameters()).device
    if training != training.for_pictures(1):
        raise ValueError("the settings speak of epochs, expected steps (Config.for_pictures)")
    return_freed_memory()
    model.to(memory_format=torch.channels_last)
    optimiser = make_optimiser(model, training)
    average = WeightAverage(model, training.average_decay)
    directory = Path(directory)
    path = directory / CHECKPOINT_NAME
    before = ranks.from_first(lambda: _checkpoint_before(path, config, model, optimiser, average, resume))
    steps_done, seconds_before = 0, 0.0
    if before is not None:
        steps_done, seconds_before = before.step, before.seconds
        _restore(before, model, optimiser, average)
    if ranks.is_first and steps_done == training.steps and on_checkpoint is not None:
        on_checkpoint(steps_done, model.state_dict() if average.weights is None else average.weights)
    run = ranks.wrapped(model)
    if compile:
        run = compiled(run)

    log = directory / LOG_NAME if ranks.is_first else None
    out_of_memory = out_of_memory_told(lambda: f"step {steps_done + 1}", needs_less(config, ranks))
    with out_of_memory, StopSignals() as stop, closing(Reports(log, training, steps_done, seconds_before)) as reports:
        started = time.perf_counter()
        stream = iter(batches(steps_done)) if steps_done < training.steps else iter(())
        stopped = False
        while steps_done < training.steps and not stopped:
            parts = list(islice(stream, training.parts))
            if len(parts) < training.parts:
                raise ValueError(f"the batches ended after step {steps_done}, expected {training.steps}")
            run.train()
            parts = [part.to(device, non_blocking=device.type == "cuda") for part in parts]
            if compile:
                parts = [with_changing_sizes(part) for part in parts]
            losses, norm = training_step(run, parts, optimiser, training, steps_done, ranks)
            average.update(model, steps_done)
            steps_done += 1
            if time.perf_counter() - started >= stop_after_seconds:
                stop.reason = stop.reason or "time"
            names = tuple(name for part in parts for name in part.names)
            reports.add(Outcome(steps_done, names, losses, norm, bool(stop.reason), ranks))

            stopped = reports.somebody_stops
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
                if ranks.is_first:
                    save_checkpoint(path, checkpoint)
                    if on_checkpoint is not None:
                        on_checkpoint(steps_done, checkpoint.weights)
    return TrainingSummary(
        steps=steps_done,
        train_seconds=reports.seconds,
        stopped_by=(stop.reason or "another process") if steps_done < training.steps else "",
        weights=model.state_dict() if average.weights is None else average.weights,
    )


def begins_anew(directory: Path) -> bool:
    """Whether a run in this folder was killed before its first checkpoint: it has left a log and nothing to lose."""
    checkpoint, log, weights = ((directory / name).exists() for name in (CHECKPOINT_NAME, LOG_NAME, WEIGHTS_NAME))
    return log and not checkpoint and not weights


def _checkpoint_before(
    path: Path,
    config: Config,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    average: WeightAverage,
    resume: bool,
) -> Checkpoint | None:
    """What a run goes on from, which fits model, optimiser and average; None for one that begins, in a folder that is
    there then."""
    directory = path.parent
    if not resume:
        if path.exists() or (directory / LOG_NAME).exists():
            raise ValueError(f"{directory} already holds a training run: resume it (--resume) or use another folder")
        directory.mkdir(parents=True, exist_ok=True)
        return None
    if not path.exists():
        if begins_anew(directory):
            return None
        raise ValueError(f"{directory}: nothing to resume: there is no {path.name}")
    checkpoint = load_checkpoint(path)
    check_settings(checkpoint.config, config, path)
    check_fit(model, checkpoint.model, str(path))
    check_optimiser(optimiser, checkpoint.optimiser, str(path))
    if average.weights is not None:
        check_fit(model, checkpoint.average or {}, f"{path}: its average")
    return checkpoint


def _restore(
    checkpoint: Checkpoint, model: nn.Module, optimiser: torch.optim.Optimizer, average: WeightAverage
) -> None:
    model.load_state_dict(checkpoint.model)
    optimiser.load_state_dict(checkpoint.optimiser)
    if average.weights is not None:
        for name, value in average.weights.items():
            value.copy_(checkpoint.average[name])


def _step_seed(seed: int, step: int) -> int:
    # Mixed: PyTorch's CPU generator looks at the low 32 bits of a seed only.
    return int(np.random.SeedSequence([seed, step]).generate_state(1)[0])
