"""`python -m maskrcnn render DIR --format icdar2015 --count N --seed S`."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from maskrcnn.data.icdar_writer import write_icdar2015
from maskrcnn.data.rendered_text import DEMO, RenderedText

HELP = "write rendered text in the files of a public data set"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `render`."""
    parser.add_argument("directory", metavar="DIR", help="where the data set goes; must be empty or not exist yet")
    parser.add_argument("--format", required=True, choices=("icdar2015",), help="in whose layout")
    parser.add_argument("--count", type=int, required=True, metavar="N", help="pictures for training, and half as many for testing")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="the same seed gives the same files")


def run(arguments: argparse.Namespace) -> None:
    """Draws words on quadrilaterals (ICDAR2015 has no curved text) and writes pictures and annotations."""
    if arguments.count < 1 or arguments.seed < 0:
        raise ValueError(f"--count {arguments.count} --seed {arguments.seed}: expected 1 or more, and 0 or more")
    settings = replace(DEMO, curved_fraction=0.0)
    training = RenderedText(arguments.count, 2 * arguments.seed, settings)
    test = RenderedText(max(1, arguments.count // 2), 2 * arguments.seed + 1, settings)
    write_icdar2015(training, test, Path(arguments.directory))
    print(f"{arguments.directory}: {len(training)} pictures for training, {len(test)} for testing")
