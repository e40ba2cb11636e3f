"""What a training run says while it runs: one line on the terminal, and one row a step in a CSV file."""

from __future__ import annotations

import csv
import shutil
import sys
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO


@dataclass(frozen=True)
class StepReport:
    """One step in numbers."""

    step: int
    """Steps done, with this one."""
    seconds: float
    """Of training up to the end of this step, over all parts of a resumed run."""
    step_seconds: float
    """Of this step alone, with the wait for its batch."""
    images: int
    learning_rate: float
    losses: dict[str, float]

    @property
    def total(self) -> float:
        """The sum of all losses."""
        return sum(self.losses.values())


class TrainingLog:
    """A CSV file with a row for each step: step, seconds, learning_rate, images_per_second, total, each loss.

    steps_done: rows of later steps, left by a run that went on after its last checkpoint, are removed; so the log of
    a resumed run has each step once. With 0 the log starts anew.
    """

    def __init__(self, path: Path, steps_done: int) -> None:
        self._file = path.open("a", newline="", encoding="utf-8", buffering=1)
        kept = _length_until(path, steps_done)
        self._file.truncate(kept)
        self._rows = csv.writer(self._file, lineterminator="\n")
        self._has_header = kept > 0

    def write(self, report: StepReport) -> None:
        """Adds a row; it is in the file when this returns, whatever happens to the process afterwards."""
        if not self._has_header:
            header = ["step", "seconds", "learning_rate", "images_per_second", "total", *report.losses]
            self._rows.writerow(header)
            self._has_header = True
        numbers = (report.seconds, report.learning_rate, report.images / report.step_seconds, report.total)
        self._rows.writerow([report.step, *(f"{number:.6g}" for number in (*numbers, *report.losses.values()))])

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


class ProgressLine:
    """Step, time left, images per second, learning rate and each loss, means over the last 20 steps.

    On a terminal one line is rewritten in place; anywhere else (a file, a pipe, a notebook) a plain line is printed
    every five seconds and for the last step.
    """

    def __init__(self, steps: int, stream: TextIO | None = None) -> None:
        self._steps, self._stream = steps, stream or sys.stdout
        self._terminal = self._stream.isatty()
        self._interval = 0.1 if self._terminal else 5.0
        self._recent: deque[StepReport] = deque(maxlen=20)
        self._shown_at, self._shown_step = -float("inf"), 0

    def show(self, report: StepReport) -> None:
        """Takes in a step and prints it when it is time."""
        self._recent.append(report)
        if time.monotonic() - self._shown_at >= self._interval:
            self._print()

    def close(self) -> None:
        """Shows the last step, if it has not been shown, and leaves the line."""
        if self._recent and self._shown_step != self._recent[-1].step:
            self._print()
        if self._recent and self._terminal:
            self._stream.write("\n")
            self._stream.flush()

    def _line(self) -> str:
        recent, last = self._recent, self._recent[-1]
        seconds = sum(report.step_seconds for report in recent)
        left = (self._steps - last.step) * seconds / len(recent)
        images = sum(report.images for report in recent) / seconds
        losses = {name: sum(report.losses[name] for report in recent) / len(recent) for name in last.losses}
        parts = " ".join(f"{name} {value:.3f}" for name, value in losses.items())
        return (
            f"step {last.step}/{self._steps}  {_clock(left)} left  {images:.1f} images/s  "
            f"rate {last.learning_rate:.2e}  loss {sum(losses.values()):.3f} = {parts}"
        )

    def _print(self) -> None:
        self._shown_at, self._shown_step = time.monotonic(), self._recent[-1].step
        line = self._line()
        if self._terminal:
            width = shutil.get_terminal_size().columns - 1
            self._stream.write(f"\r{line[:width]}\x1b[K")
        else:
            self._stream.write(line + "\n")
        self._stream.flush()


class DownloadLine:
    """How much of a file has arrived, how fast, and how long the rest takes; printed as `ProgressLine` does."""

    def __init__(self, name: str, stream: TextIO | None = None) -> None:
        self._name, self._stream = name, stream or sys.stdout
        self._terminal = self._stream.isatty()
        self._interval = 0.1 if self._terminal else 5.0
        self._first: tuple[float, int] | None = None
        self._shown_at = -float("inf")

    def show(self, done: int, total: int | None) -> None:
        """Prints, when it is time, that `done` bytes have arrived, of `total` if that is known."""
        now = time.monotonic()
        if self._first is None or done < self._first[1]:
            self._first = now, done
        if now - self._shown_at < self._interval and done != total:
            return
        self._shown_at = now
        started, already = self._first
        speed = (done - already) / max(now - started, 1e-3)
        line = f"{self._name}  {done / 2**20:.1f}"
        if total is not None:
            line += f" of {total / 2**20:.1f} MiB  {_clock((total - done) / speed) if speed else '-'} left"
        line += f"  {speed / 2**20:.1f} MiB/s"
        width = shutil.get_terminal_size().columns - 1
        self._stream.write(f"\r{line[:width]}\x1b[K" if self._terminal else line + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Leaves the line."""
        if self._first is not None and self._terminal:
            self._stream.write("\n")
            self._stream.flush()


def _length_until(path: Path, steps_done: int) -> int:
    """How many bytes of a log are its header and the rows of the first `steps_done` steps; 0 if there are none."""
    with path.open("rb") as file:
        header = file.readline()
        if steps_done == 0 or not header.startswith(b"step,") or not header.endswith(b"\n"):
            return 0
        length = len(header)
        for row in file:
            number = row.partition(b",")[0]
            # A row that a crash cut short has no line end.
            if not row.endswith(b"\n") or not number.isdigit() or int(number) > steps_done:
                break
            length += len(row)
    return length


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
