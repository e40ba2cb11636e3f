"""`python -m maskrcnn demo`."""

from __future__ import annotations

import argparse
from pathlib import Path

from maskrcnn.demo import run_demo

HELP = "train a text detector from nothing in three minutes, score it, draw what it finds"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `demo`."""
    parser.add_argument("--out", default="runs/demo", metavar="DIR", help="where everything goes (default: runs/demo)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of weights and pictures")


def run(arguments: argparse.Namespace) -> None:
    """Leaves curves, a sheet of held-out pictures, metrics.json, weights and report.html in the folder."""
    if arguments.seed < 0:
        raise ValueError(f"--seed: found {arguments.seed}, expected 0 or more")
    run_demo(Path(arguments.out), arguments.seed)
