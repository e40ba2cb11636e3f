"""Calls of students' functions in processes of their own: `Sandbox.call` gives the value, or says what went wrong."""

from __future__ import annotations

import atexit
import linecache
import os
import pickle
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import CodeType
from typing import Any, BinaryIO, Literal

from maskrcnn.classroom.own_work import Refused, serialise

WORKER = Path(__file__).with_name("worker.py")


@dataclass(frozen=True)
class Limits:
    """What one call may use. A function that passes needs a small part of it."""

    seconds: int = 10
    """Of the processor, so a busy machine does not cut a call short; by the clock it may take three times as long."""
    megabytes: int = 2000
    """Of memory, beyond what Python and PyTorch take. Not limited on macOS."""


USUAL = Limits()
MOST_PRINTED = 1_000_000
"""Bytes that a function may print, or write into any one file."""
SECONDS_FOR_THE_ENDLESS = 1
"""What a function has that has run into its limit once: ten tests of it should not take ten times as long."""


class NotPassed(AssertionError):
    """A function has not done what it was asked for. The text says it to the student."""

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows: the sentence, without the way it took through these modules."""
        return [f"NotPassed: {self}"]


class Sandbox:
    """Where functions run that may use some modules, of those that hold answers, and no others.

    Raises RuntimeError on Windows, where processes cannot be limited in this way (in its Linux subsystem they can).
    """

    def __init__(self, may_use: tuple[str, ...] = ()) -> None:
        if os.name == "nt":
            raise RuntimeError("assignments run on Linux and macOS; on Windows, use its Linux subsystem (WSL)")
        self._may_use = may_use
        self._endless: set[bytes] = set()

    def call(
        self,
        function: Callable,
        arguments: tuple,
        limits: Limits = USUAL,
        answer: Literal["value", "arguments"] = "value",
    ) -> tuple[Any, float]:
        """The value of function(*arguments), and the processor's seconds that it took.

        answer: "arguments" for the arguments as the function has left them, instead of its value.

        Raises NotPassed if there is no value: the function raised, ran into a limit, ended its process, or is not the
        student's own.
        """
        if not callable(function):
            raise NotPassed(f"found {function!r} where a function of yours should be")
        name = getattr(function, "__name__", "function")
        try:
            function_sent, code = serialise(function, name, self._may_use)
            arguments_sent, more_code = serialise(arguments, name, self._may_use)
        except Refused as error:
            raise NotPassed(str(error)) from None
        again = function_sent in self._endless and limits.seconds <= USUAL.seconds
        if again:
            limits = replace(limits, seconds=SECONDS_FOR_THE_ENDLESS)
        reply = shared_worker.ask({
            "function": function_sent,
            "arguments": arguments_sent,
            "answer": answer,
            "may_use": self._may_use,
            "cpu_seconds": limits.seconds,
            "wall_seconds": 3 * limits.seconds,
            "bytes": limits.megabytes * 1_000_000,
            "output_bytes": MOST_PRINTED,
        })  # fmt: skip
        if reply["printed"]:
            print(reply["printed"], end="" if reply["printed"].endswith("\n") else "\n")
        if reply["kind"] == "time":
            self._endless.add(function_sent)
        if reply["kind"] != "value":
            raise NotPassed(_what_happened(name, reply, limits, again, code + more_code))
        return pickle.loads(reply["answer"]), reply["seconds"]


class Worker:
    """The process that forks one for each call. It is begun with the first, and serves all sandboxes."""

    def __init__(self) -> None:
        self.process: subprocess.Popen | None = None
        atexit.register(self.close)

    def close(self) -> None:
        """Ends the process, if there is one."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdin.close()
            self.process.stdout.close()
            self.process = None

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """The reply to a request. Raises NotPassed if the process has ended."""
        if self.process is None or self.process.poll() is not None:
            environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
            self.process = subprocess.Popen(
                [sys.executable, str(WORKER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment,
                start_new_session=True,  # out of reach of what interrupts a notebook
            )
        try:
            _send(self.process.stdin, request)
            return _receive(self.process.stdout)
        except BaseException as error:  # an interrupt, too: what is under way must not answer the next request
            self.close()
            if isinstance(error, OSError | EOFError):
                raise NotPassed("the process that checks functions has ended; run this cell again") from None
            raise


shared_worker = Worker()


def _send(stream: BinaryIO, message: dict[str, Any]) -> None:
    data = pickle.dumps(message)
    stream.write(struct.pack("<Q", len(data)) + data)
    stream.flush()


def _receive(stream: BinaryIO) -> dict[str, Any]:
    header = stream.read(8)
    if len(header) < 8:
        raise EOFError
    return pickle.loads(stream.read(*struct.unpack("<Q", header)))


_SIGNALS = {
    "signal SIGABRT": "gave up ({}): an exception in C++ that nobody caught, or memory that it has damaged",
    "signal SIGKILL": "was ended from outside; did it want more memory than the machine has?",
    "signal SIGFPE": "ended its process ({}): is a whole number divided by 0?",
    "signal SIGSEGV": "ended its process ({}): that is memory it had no right to",
    "signal SIGBUS": "ended its process ({}): that is memory it had no right to",
}


def _what_happened(name: str, reply: dict[str, Any], limits: Limits, again: bool, code: list[CodeType]) -> str:
    kind = reply["kind"]
    if kind == "raised" and reply["name"] == "NotImplementedError" and not reply["text"]:  # PyTorch's have a text
        return f"your {name} is not written yet"
    if kind == "raised":
        return f"your {name} raised {reply['name']}: {reply['text']}{_places(reply['frames'], code)}"
    if kind == "time":
        why = "it ran into its limit before" if again else "is there a loop that does not end?"
        return f"your {name} was still running after {limits.seconds} s; {why}"
    if kind == "memory":
        return f"your {name} wanted more than {limits.megabytes / 1000:g} GB of memory"
    if kind == "output":
        return f"your {name} printed more than {MOST_PRINTED / 1e6:g} MB"
    usual = "ended its process ({})" + ("" if kind.startswith("signal") else " instead of returning")
    return f"your {name} {_SIGNALS.get(kind, usual).format(kind)}"


def _places(frames: list[tuple[str, int]], code: list[CodeType]) -> str:
    """The lines of a student's functions that an exception came through, innermost last."""
    lines = []
    for name, number in frames:
        for one in code:
            if one.co_name == name and number in {line for _, _, line in one.co_lines()}:
                text = linecache.getline(one.co_filename, number).strip()
                lines += [f"\n    line {number} of {name}: {text}"] if text else []
                break
    return "".join(dict.fromkeys(lines))  # a recursion comes through one place many times
