"""`python -m maskrcnn render DIR --format FORMAT --count N --seed S`."""

from __future__ import annotations

import argparse
import re
from dataclasses import replace
from pathlib import Path

from maskrcnn.cli.numbers import whole_number
from maskrcnn.data.curved_text_writer import write_ctw1500, write_total_text
from maskrcnn.data.icdar_writer import write_icdar2015, write_icdar2017
from maskrcnn.data.rendered_text import SCENE, RenderedText

STRAIGHT = replace(SCENE, height=(720, 720), width=(1280, 1280), curved_fraction=0.0)
"""The size of ICDAR2015's pictures, and no curved text, of which quadrilaterals know nothing."""
CURVED = replace(SCENE, height=(480, 720), width=(480, 960), curved_fraction=0.5, ignored=(0, 2))

FORMATS = {
    "icdar2015": (write_icdar2015, STRAIGHT),
    "icdar2017": (write_icdar2017, STRAIGHT),
    "ctw1500": (write_ctw1500, CURVED),
    "totaltext": (write_total_text, CURVED),
}

HELP = "write rendered text in the files of a public data set"
DETAILS = """
The folder then holds the official layout, which datasets/README.md describes for each format: icdar2015 and icdar2017
have quadrilaterals, ctw1500 polygons of 14 points, totaltext polygons of any number of points. It can be checked,
trained on and evaluated like the real one. ICDAR2017-MLT has a validation split in place of a test split.

examples:
  python -m maskrcnn render data/rendered --format icdar2015 --count 20 --seed 1
  python -m maskrcnn render data/curved --format ctw1500 --count 20 --size 320x240
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `render`."""
    parser.add_argument("directory", metavar="DIR", help="where the data set goes; must be empty or not exist yet")
    parser.add_argument(
        "--format",
        required=True,
        choices=tuple(FORMATS),
        metavar="FORMAT",
        help=f"in whose layout: {', '.join(FORMATS)}",
    )
    parser.add_argument(
        "--count", type=whole_number(1), required=True, metavar="N", help="training pictures; half as many for testing"
    )
    parser.add_argument(
        "--seed", type=whole_number(0), default=0, metavar="S", help="the same seed gives the same files (default: 0)"
    )
    parser.add_argument(
        "--size", type=_size, metavar="WxH", help="of the pictures, in pixels (default: about that of the real ones)"
    )


def run(arguments: argparse.Namespace) -> None:
    """Draws the pictures of both splits and writes them in the format's files."""
    write, settings = FORMATS[arguments.format]
    if arguments.size:
        width, height = arguments.size
        settings = replace(settings, width=(width, width), height=(height, height))
    training = RenderedText(arguments.count, 2 * arguments.seed, settings)
    test = RenderedText(max(1, arguments.count // 2), 2 * arguments.seed + 1, settings)
    write(training, test, Path(arguments.directory))
    print(f"{arguments.directory}: {len(training)} pictures for training, {len(test)} for testing")


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([0-9]{2,4})x([0-9]{2,4})", text)
    if not match:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected width x height such as 320x240")
    return int(match[1]), int(match[2])
