"""The command line. Each command is a module with `HELP`, `DETAILS`, `add_arguments(parser)` and `run(arguments)`.

A module is imported when its command is asked for: most need PyTorch, whose import alone takes longer than all that
some of the others do.

What is wrong with files, settings, disks or numbers is said in one line on standard error, with exit code 2. Any
other error is one of this program: it keeps its traceback, so that it can be reported and repaired.
"""

from __future__ import annotations

import argparse
import importlib
import keyword
import os
import signal
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import NoReturn

from maskrcnn.memory import OutOfMemory, in_one_line, ran_out_of_memory

COMMANDS = (
    "demo", "train", "evaluate", "predict", "explain", "export", "score", "render", "check", "import", "download",
    "bench", "info",
)  # fmt: skip

MISTAKE = 2
"""Exit code after a mistake of the user's, or of a file's."""
NOBODY_READS = 141
"""Exit code after `... | head`: what shells say of programs that the signal of a closed pipe ended."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code: 0, MISTAKE, NOBODY_READS, or 130 after Ctrl-C.

    In Python's development mode (`python -X dev -m maskrcnn ...`) every error keeps its traceback.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    named = [name for name in COMMANDS if name in arguments[:1]]
    chosen, unknown = _parser(named or COMMANDS).parse_known_args(arguments)
    if unknown:
        chosen.refuse(f"unrecognized arguments: {' '.join(unknown)}")
    try:
        with _warnings_in_one_line(chosen.command):
            chosen.run(chosen)
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes once more at its end, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NOBODY_READS
    except KeyboardInterrupt:
        _say(chosen.command, "interrupted")
        return 128 + signal.SIGINT
    except (ValueError, OSError, FloatingPointError, MemoryError, RuntimeError) as error:  # the third: NonFiniteLoss
        message = _message(error)
        if message is None or sys.flags.dev_mode:
            raise
        _say(chosen.command, message)
        return MISTAKE
    return 0


def command_module(name: str) -> ModuleType:
    """The module of a command; that of `import`, which Python has another use for, ends in an underscore."""
    return importlib.import_module(f"maskrcnn.cli.{name}{'_' if keyword.iskeyword(name) else ''}")


class _Parser(argparse.ArgumentParser):
    """Mistakes in the arguments are told in one line, too, instead of below the whole usage."""

    def error(self, message: str) -> NoReturn:
        """Ends the program with one line, as argparse asks of this method."""
        command = self.prog.removeprefix("python -m ")
        self.exit(MISTAKE, f"{command}: {' '.join(message.split())} ({self.prog} --help says more)\n")


def _parser(names: Iterable[str]) -> argparse.ArgumentParser:
    """A parser that knows the commands of these names."""
    parser = _Parser(
        prog="python -m maskrcnn",
        description="Mask R-CNN: train, evaluate and use detectors of text and objects.",
        epilog="COMMAND --help says what a command takes and leaves, with examples.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in names:
        module = command_module(name)
        command = commands.add_parser(
            name,
            help=module.HELP,
            description=f"{module.HELP[0].upper()}{module.HELP[1:]}.",
            epilog=module.DETAILS.strip(),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run, refuse=command.error)
    return parser


def _message(error: Exception) -> str | None:
    """What to tell about an error in one line; None for an error of the program."""
    text = " ".join(str(error).split())
    if ran_out_of_memory(error) and not isinstance(error, OutOfMemory):
        smaller = "a smaller model.image.long_side, data.crop or training.batch_size"
        return in_one_line(error, f"{smaller} (--set) needs less")
    return None if isinstance(error, RuntimeError) else text or type(error).__name__


def _say(command: str, message: str) -> None:
    # In one piece, so that the lines of several processes do not run into each other.
    sys.stderr.write(f"maskrcnn {command}: {message}\n")


@contextmanager
def _warnings_in_one_line(command: str) -> Iterator[None]:
    """Shows a warning without the line of code that gave it, which means nothing to somebody who only runs it."""

    def show(message: Warning | str, *where: object) -> None:
        _say(command, f"warning: {' '.join(str(message).split())}")

    with warnings.catch_warnings():
        if not sys.flags.dev_mode:
            warnings.showwarning = show
        yield
