"""One run, killed without warning again and again, at random moments and at the worst ones.

After each kill everything in its folder can be read, nothing that stood on the disk before is lost, and `--resume`
goes on. In the end the run has the weights of one that nobody disturbed, to the last bit, and has left the same files.
"""

from __future__ import annotations

import csv
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from multiprocessing.context import BaseContext
from pathlib import Path

import pytest
import torch
from small_text import SETTINGS, write_icdar2015

from maskrcnn.cli import main
from maskrcnn.training.checkpoint import load_checkpoint, load_weights

SEED = 20
STEPS = 120
"""More than are done in all parts that end with a kill."""
SETTINGS_OF_THE_RUN = [
    *SETTINGS, f"training.steps={STEPS}", "training.checkpoint_every=4", "training.warmup_steps=20",
    "training.optimiser=adamw", "training.average_decay=0.9",
]  # fmt: skip
LEFT = ["checkpoint.pt", "curves.png", "log.csv", "model.safetensors"]
WAIT = 240
"""Seconds after which a run that does not do what is waited for has failed."""


@dataclass
class Killed:
    """A moment at which the run was killed, and what was found then."""

    what: str
    step: int
    """Of the checkpoint that was left; 0: none."""
    partial: str
    """Names of unfinished files that were left."""


def command(data: Path, out: Path) -> list[str]:
    resumes = ["--resume"] if (out / "log.csv").exists() else []
    return ["train", "text_small", "--data", str(data), "--out", str(out), *resumes, "--set", *SETTINGS_OF_THE_RUN]


def quietly(arguments: list[str], said: Path) -> None:
    """The command in a process that has imported everything already. What it says goes to a file."""
    for stream in (1, 2):
        os.dup2(os.open(said, os.O_CREAT | os.O_WRONLY | os.O_APPEND), stream)
    torch.set_num_threads(1)
    sys.exit(main(arguments))


class Process:
    """A training in progress: either as users start it, or from a process that has PyTorch in memory already."""

    def __init__(self, data: Path, out: Path, said: Path, warm: BaseContext | None) -> None:
        arguments, self.began = command(data, out), time.time()
        if warm is None:
            with said.open("ab") as file:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "maskrcnn", *arguments, "training.workers=1"],
                    env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=file, stderr=file,
                )  # fmt: skip
        else:
            self._process = warm.Process(target=quietly, args=(arguments, said))
            self._process.start()
        self.pid, self._warm = self._process.pid, warm is not None

    @property
    def exit_code(self) -> int | None:
        return self._process.exitcode if self._warm else self._process.poll()

    def kill(self) -> None:
        """kill -9, and waits for the end."""
        os.kill(self.pid, signal.SIGKILL)
        self.end()

    def end(self) -> int:
        """Waits for the end, and returns the exit code."""
        if self._warm:
            self._process.join(WAIT)
        else:
            self._process.wait(WAIT)
        return self.exit_code


def until(process: Process, seen: Callable[[], bool]) -> bool:
    """Looks again and again until something is `seen`; False if the run has ended before."""
    deadline = time.monotonic() + WAIT
    while not seen():
        assert time.monotonic() < deadline, "what was waited for has not come"
        if process.exit_code is not None:
            return False
        time.sleep(1e-4)
    return True


def at_a_random_moment(process: Process, out: Path, chance: random.Random) -> str:
    steps, seconds, log = chance.randrange(8), chance.uniform(0, 0.2), out / "log.csv"
    until(process, lambda: log.exists() and log.stat().st_mtime > process.began)
    begins_with = log.read_bytes().count(b"\n")
    until(process, lambda: log.read_bytes().count(b"\n") >= begins_with + steps)
    time.sleep(seconds)
    return f"after {steps} steps and {seconds:.3f} s"


def while_it_starts(process: Process, out: Path, chance: random.Random) -> str:
    seconds = chance.uniform(0, 0.5)
    until(process, lambda: time.time() - process.began > seconds)
    return f"after {seconds:.3f} s, as it starts"


def while_a_file_is_written(name: str) -> Callable[[Process, Path, random.Random], str]:
    """While what is to become `name` is half written: the process is stopped when that appears, and stays so."""

    def choose(process: Process, out: Path, chance: random.Random) -> str:
        partial, saves, seconds = out / f"{name}.partial", chance.randrange(3), chance.uniform(0, 2e-3)
        for number in count():
            if not until(process, partial.exists):
                return f"while {name} is written, which has ended"
            if number >= saves:
                time.sleep(seconds)
                os.kill(process.pid, signal.SIGSTOP)
                if partial.exists():
                    return f"while {name} is written, {partial.stat().st_size} bytes"
                os.kill(process.pid, signal.SIGCONT)
            until(process, lambda: not partial.exists())

    return choose


def after_the_checkpoint(process: Process, out: Path, chance: random.Random) -> str:
    """When a checkpoint has just been saved, and the weights beside it are still those of the one before."""
    path, before = out / "checkpoint.pt", None
    until(process, path.exists)
    before = path.stat().st_ino
    until(process, lambda: path.stat().st_ino != before)
    seconds = chance.uniform(0, 0.05)
    time.sleep(seconds)
    return f"{1000 * seconds:.1f} ms after a checkpoint"


MOMENTS = [
    *[while_it_starts] * 3,
    *[at_a_random_moment] * 8,
    *[while_a_file_is_written("checkpoint.pt")] * 4,
    *[while_a_file_is_written("model.safetensors")] * 2,
    *[after_the_checkpoint] * 3,
]


def step_on_disk(out: Path) -> int:
    path = out / "checkpoint.pt"
    return load_checkpoint(path).step if path.exists() else 0


def rows(out: Path) -> list[list[str]]:
    """The lines of the log that are complete, without what the clock says."""
    text = (out / "log.csv").read_text()
    complete = text[: text.rfind("\n") + 1].splitlines()
    return [[row[0], row[2], *row[4:]] for row in csv.reader(complete)]


def check_what_is_left(out: Path, before: int) -> int:
    """Everything that a kill has left can be read; returns the step of the checkpoint."""
    step = step_on_disk(out)
    assert step >= before
    if (out / "log.csv").exists():
        steps = [int(row[0]) for row in rows(out)[1:]]
        assert steps == list(range(1, len(steps) + 1)) and len(steps) >= step
    if (out / "model.safetensors").exists():
        saved = int(load_weights(out / "model.safetensors")[2]["steps"])
        assert saved <= step < saved + 9  # those of this checkpoint, or of one before
    assert set(os.listdir(out)) - set(LEFT) <= {"checkpoint.pt.partial", "model.safetensors.partial"}
    return step


@pytest.fixture
def warm(monkeypatch) -> BaseContext:
    """What starts processes that have PyTorch in memory already."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["maskrcnn.cli.train", "small_text"])
    return context


def test_a_run_killed_twenty_times_ends_as_if_nothing_had_been(tmp_path, warm):
    data = write_icdar2015(tmp_path / "data", training=6)
    whole, out, said = tmp_path / "whole", tmp_path / "killed", tmp_path / "said"
    undisturbed = Process(data, whole, said, warm)
    chance, kills = random.Random(SEED), []
    moments = [*MOMENTS]
    chance.shuffle(moments)
    as_users_do = set(chance.sample(range(len(moments)), 3))
    assert undisturbed.end() == 0, said.read_text()
    try:
        for number, choose in enumerate(moments):
            real = number in as_users_do
            process = Process(data, out, said, None if real else warm)
            if real:  # Importing takes longer than all that comes after it.
                assert until(process, lambda process=process: time.time() - process.began > 2.5)
            what = choose(process, out, chance)
            if process.exit_code is not None:  # It was too fast for this moment.
                break
            before = step_on_disk(out)
            process.kill()
            assert process.exit_code == -signal.SIGKILL
            partial = " ".join(path.name for path in out.glob("*.partial"))
            kills.append(Killed(what + " from its start as a command" * real, check_what_is_left(out, before), partial))
        last = Process(data, out, said, warm)
        assert last.end() == 0, "the last part of the run has failed"
    except BaseException as error:
        error.add_note(f"seed {SEED}; killed " + "\n  ".join(map(str, kills)) + f"\nsaid:\n{said.read_text()[-3000:]}")
        raise
    assert len(kills) >= 15, kills
    assert sorted(os.listdir(out)) == sorted(os.listdir(whole)) == LEFT
    assert any("checkpoint.pt.partial" in kill.partial for kill in kills), kills
    assert any("model.safetensors.partial" in kill.partial for kill in kills), kills
    assert len({kill.step for kill in kills}) >= 8, kills
    found, expected = load_checkpoint(out / "checkpoint.pt"), load_checkpoint(whole / "checkpoint.pt")
    assert found.step == expected.step == STEPS
    for name in ("model", "average"):
        same_tensors(getattr(found, name), getattr(expected, name))
    for index, state in expected.optimiser["state"].items():
        same_tensors(found.optimiser["state"][index], state)
    same_tensors(load_weights(out / "model.safetensors")[0], load_weights(whole / "model.safetensors")[0])
    assert rows(out) == rows(whole) and len(rows(out)) == 1 + STEPS
    assert not children_with(str(out)), "processes that prepare pictures have outlived their run"


def same_tensors(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name in expected:
        assert torch.equal(found[name], expected[name]), name


def children_with(word: str) -> list[int]:
    """Processes that have a word in their command line; those whose parent was killed have some seconds to notice."""
    deadline = time.monotonic() + 15
    while True:
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if word in (folder / "cmdline").read_text(errors="replace"):
                    found.append(int(folder.name))
            except OSError:
                continue
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.5)
