"""The command line. Each command is a module with `HELP`, `add_arguments(parser)` and `run(arguments)`."""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
from collections.abc import Sequence

COMMANDS = ("demo", "train", "evaluate", "predict", "score", "render", "check", "info")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command. Returns 0, or 2 after a mistake of the user's, which is told in one line."""
    parser = argparse.ArgumentParser(
        prog="python -m maskrcnn", description="Mask R-CNN: train, evaluate and use detectors of text and objects."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        module = importlib.import_module(f"maskrcnn.cli.{name}")
        command = commands.add_parser(name, help=module.HELP, description=module.HELP)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    chosen = parser.parse_args(arguments)
    try:
        chosen.run(chosen)
    except BrokenPipeError:  # `... | head`: nobody reads on, which is no mistake
        sys.stderr.close()
        return 0
    except (ValueError, TypeError, ArithmeticError, OSError) as error:
        message = " ".join(str(error).split())
        print(f"maskrcnn {chosen.command}: {message}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"maskrcnn {chosen.command}: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    return 0
