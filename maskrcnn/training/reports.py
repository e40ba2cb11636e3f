"""What becomes of the losses of each step: numbers, once the device has them, for log and terminal; or the end."""

from __future__ import annotations

import math
import time
from collections import deque
from pathlib import Path

import torch
from torch import Tensor

from maskrcnn.config import Config, TrainingConfig
from maskrcnn.training.distributed import ALONE, Ranks
from maskrcnn.training.progress import ProgressLine, StepReport, TrainingLog
from maskrcnn.training.schedule import learning_rate


class NonFiniteLoss(FloatingPointError):
    """A loss or the gradient became infinite or NaN. The text names every loss and the batch's images."""


class Outcome:
    """The losses of a step on their way from the device to Python, and whether some process wants to stop after it."""

    def __init__(
        self,
        step: int,
        names: tuple[str, ...],
        losses: dict[str, Tensor],
        norm: Tensor,
        stop: bool = False,
        ranks: Ranks = ALONE,
    ) -> None:
        """step: counted from 1; names: of the images on this rank, whose losses these are; norm: of the gradient."""
        self.step, self.names, self.on_gpu, self._keys = step, names, norm.is_cuda, list(losses)
        self.done_at = time.perf_counter()
        own = torch.stack([norm.new_tensor(float(stop)), norm, *losses.values()]).float()
        # Copied to pinned memory while the GPU works on; `_arrived` says when the copy is there.
        self._values = torch.stack((own, ranks.mean(own))).to("cpu", non_blocking=self.on_gpu)
        self._arrived = torch.cuda.Event() if self.on_gpu else None
        if self._arrived is not None:
            self._arrived.record()

    def read(self, rate: float) -> tuple[dict[str, float], bool]:
        """The losses as numbers, means over all ranks, and whether one of these wants to stop.

        Raises NonFiniteLoss; `rate`, the learning rate, is for its text.
        """
        if self._arrived is not None:
            self._arrived.synchronize()
        (_, _, *own), (stop, norm, *mean) = self._values.tolist()
        if not all(map(math.isfinite, (norm, *mean))):
            # The images matter where the number went wrong; other processes only hear of it.
            here = not all(map(math.isfinite, own)) or all(map(math.isfinite, mean))
            where = f"images {', '.join(self.names)}" if here else "in another process"
            told = own if here else mean
            raise NonFiniteLoss(
                f"step {self.step}: a loss or the gradient is not finite: "
                + ", ".join(f"{name} {value:g}" for name, value in zip(self._keys, told, strict=True))
                + f", gradient norm {norm:g}; learning rate {rate:g}; {where}; "
                "training stopped, the last checkpoint is untouched"
            )
        return dict(zip(self._keys, mean, strict=True)), stop > 0


class Reports:
    """Tells log and terminal about each step, on a GPU one step late: reading a number at once would wait for it."""

    def __init__(self, log: Path | None, training: TrainingConfig, steps_done: int, seconds_before: float) -> None:
        """log: None on ranks that tell nobody."""
        self.seconds = seconds_before
        """Of training up to the last step that was read."""
        self.somebody_stops = False
        """Whether the steps that were read say so. On all ranks this becomes true after the same step."""
        self._training = training
        self._log = None if log is None else TrainingLog(log, steps_done)
        self._progress = None if log is None else ProgressLine(training.steps)
        self._unread: deque[Outcome] = deque()
        self._zero = time.perf_counter() - seconds_before

    def add(self, outcome: Outcome) -> None:
        """Takes in a step and reports what is to be read by now. Raises NonFiniteLoss."""
        self._unread.append(outcome)
        self._read(keep=1 if outcome.on_gpu else 0)

    def read_all(self) -> None:
        """Reports every step taken in so far, waiting for it. Raises NonFiniteLoss."""
        self._read(keep=0)

    def close(self) -> None:
        """Ends the progress line and closes the log."""
        if self._log is not None:
            self._progress.close()
            self._log.close()

    def _read(self, keep: int) -> None:
        while len(self._unread) > keep:
            outcome = self._unread.popleft()
            rate = learning_rate(outcome.step - 1, self._training)
            losses, stop = outcome.read(rate)
            self.somebody_stops |= stop
            before, self.seconds = self.seconds, outcome.done_at - self._zero
            if self._log is None:
                continue
            report = StepReport(
                step=outcome.step,
                seconds=self.seconds,
                step_seconds=self.seconds - before,
                images=self._training.batch_size,
                learning_rate=rate,
                losses=losses,
            )
            self._log.write(report)
            self._progress.show(report)


def needs_less(config: Config, ranks: Ranks) -> str:
    """What to do about a training that runs out of memory, as the end of a message: the settings that need less."""
    training, data, advice = config.training, config.data, []
    pictures = training.batch_size // ranks.count
    parts = next((n for n in range(training.parts + 1, pictures + 1) if pictures % n == 0), None)
    if parts is not None:
        advice.append(f"training.parts={parts} (almost the same steps)")
    if training.batch_size > ranks.count:
        advice.append("a smaller training.batch_size")
    if data.crop or data.short_sides:
        advice.append("a smaller data.crop" if data.crop else "a smaller model.image.long_side")
    else:
        advice.append("crops of the pictures (data.crop)")
    advice.append("training.precision=bfloat16" if training.precision != "bfloat16" else "a smaller network")
    return (
        f"less is needed with {', '.join(advice[:-1])} or {advice[-1]}; training stopped, the last checkpoint is "
        "untouched (--resume goes on, with the same settings)"
    )
