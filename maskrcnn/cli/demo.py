"""`python -m maskrcnn demo`."""

from __future__ import annotations

import argparse
from pathlib import Path

from maskrcnn.cli.numbers import whole_number
from maskrcnn.demo import run_demo

HELP = "train a text detector from nothing in three minutes, score it, and draw what it finds"
DETAILS = """
What is left in the folder, replacing an earlier demo:
  report.html        all of it on one page: look here first
  curves.png         each loss against the training steps
  held_out.png       pictures that it never saw, with what it finds in them
  metrics.json       recall, precision, hmean, threshold, images, train_seconds
  model.safetensors  the weights, for `predict` and `evaluate`
  thresholds.png, log.csv, checkpoint.pt  scores at each threshold, losses of each step, the end of the training

example:
  python -m maskrcnn demo --out runs/demo
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `demo`."""
    parser.add_argument("--out", default="runs/demo", metavar="DIR", help="where everything goes (default: runs/demo)")
    parser.add_argument(
        "--seed", type=whole_number(0), default=0, metavar="N", help="of weights and pictures (default: 0)"
    )


def run(arguments: argparse.Namespace) -> None:
    """Leaves curves, a sheet of held-out pictures, metrics.json, weights and report.html in the folder."""
    run_demo(Path(arguments.out), arguments.seed)
