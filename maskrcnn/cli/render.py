"""`python -m maskrcnn render DIR --format icdar2015 --count N --seed S`."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from maskrcnn.cli.arguments import whole_number
from maskrcnn.data.icdar_writer import write_icdar2015
from maskrcnn.data.rendered_text import SCENE, RenderedText

HELP = "write rendered text in the files of a public data set"
DETAILS = """
The folder then holds the official layout: ch4_training_images, ch4_training_localization_transcription_gt,
ch4_test_images and Challenge4_Test_Task1_GT. It can be checked, trained on and evaluated like the real one.

example:
  python -m maskrcnn render data/rendered --format icdar2015 --count 20 --seed 1
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `render`."""
    parser.add_argument("directory", metavar="DIR", help="where the data set goes; must be empty or not exist yet")
    parser.add_argument(
        "--format", required=True, choices=("icdar2015",), metavar="FORMAT", help="in whose layout: icdar2015"
    )
    parser.add_argument(
        "--count", type=whole_number(1), required=True, metavar="N", help="training pictures; half as many for testing"
    )
    parser.add_argument(
        "--seed", type=whole_number(0), default=0, metavar="S", help="the same seed gives the same files (default: 0)"
    )


def run(arguments: argparse.Namespace) -> None:
    """Draws pictures of the size of ICDAR2015's, without curved text, of which its quadrilaterals know nothing."""
    settings = replace(SCENE, height=(720, 720), width=(1280, 1280), curved_fraction=0.0)
    training = RenderedText(arguments.count, 2 * arguments.seed, settings)
    test = RenderedText(max(1, arguments.count // 2), 2 * arguments.seed + 1, settings)
    write_icdar2015(training, test, Path(arguments.directory))
    print(f"{arguments.directory}: {len(training)} pictures for training, {len(test)} for testing")
