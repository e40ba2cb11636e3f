"""`python -m maskrcnn render DIR --format FORMAT --count N --seed S`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from maskrcnn.cli.numbers import fraction, picture_size, whole_number
from maskrcnn.data.curved_text_writer import write_ctw1500, write_total_text
from maskrcnn.data.icdar_writer import write_icdar2015, write_icdar2017
from maskrcnn.data.instances_writer import write_coco, write_mmocr
from maskrcnn.data.rendered_text import SCENE, RenderedText, RenderSettings
from maskrcnn.wording import counted

STRAIGHT = replace(SCENE, height=(720, 720), width=(1280, 1280), curved_fraction=0.0)
"""The size of ICDAR2015's pictures, and no curved text, of which quadrilaterals know nothing."""
CURVED = replace(SCENE, height=(480, 720), width=(480, 960), curved_fraction=0.5, ignored=(0, 2))
SNAPSHOT = replace(CURVED, height=(427, 480), width=(640, 640))
"""The size of COCO's pictures."""


class Format(NamedTuple):
    """How rendered text is written, and what it is like unless something else is asked for."""

    write: Callable[[RenderedText, RenderedText, Path], None]
    settings: RenderSettings
    quadrilaterals: bool
    """Whether the files have four corners for each word, and no room for curved text."""
    second_split: str = "testing"
    """What the pictures are for that are not for training."""


FORMATS = {
    "icdar2015": Format(write_icdar2015, STRAIGHT, quadrilaterals=True),
    "icdar2017": Format(write_icdar2017, STRAIGHT, quadrilaterals=True, second_split="validation"),
    "ctw1500": Format(write_ctw1500, CURVED, quadrilaterals=False),
    "totaltext": Format(write_total_text, CURVED, quadrilaterals=False),
    "mmocr": Format(write_mmocr, STRAIGHT, quadrilaterals=False),
    "coco": Format(write_coco, SNAPSHOT, quadrilaterals=False, second_split="validation"),
}

HELP = "write rendered text in the files of a public data set"
DETAILS = """
The folder then holds the official layout, which datasets/README.md describes for each format: icdar2015 and icdar2017
have quadrilaterals, ctw1500 polygons of 14 points, totaltext, mmocr and coco polygons of any number of points. It can
be checked, trained on and evaluated like the real one. ICDAR2017-MLT and COCO have a validation split in place of a
test split. COCO's files do not say what is written, and don't-care words are crowds there. Nor do MMOCR's say it, but
beside them, in annotations/, are the text files from which MMOCR would have made them, which do.

examples:
  python -m maskrcnn render data/rendered --format icdar2015 --count 20 --seed 1
  python -m maskrcnn render data/curved --format ctw1500 --count 20 --size 320x240 --curved 0.9
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
        "--count",
        type=whole_number(1),
        required=True,
        metavar="N",
        help="training pictures; half as many for testing or validation",
    )
    parser.add_argument(
        "--seed", type=whole_number(0), default=0, metavar="S", help="the same seed gives the same files (default: 0)"
    )
    parser.add_argument(
        "--curved",
        type=fraction,
        metavar="FRACTION",
        help="share of curved lines, from 0 to 1, among the legible texts (default: ctw1500, totaltext and coco 0.5, "
        "mmocr 0; icdar2015 and icdar2017 have none)",
    )
    parser.add_argument(
        "--size",
        type=picture_size,
        metavar="WxH",
        help="of the pictures, in pixels (default: about that of the real ones)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Draws the pictures of both splits and writes them in the format's files.

    Raises ValueError for `--curved` with a format of quadrilaterals.
    """
    write, settings, quadrilaterals, second_split = FORMATS[arguments.format]
    if arguments.curved is not None:
        if quadrilaterals:
            others = " or ".join(name for name, form in FORMATS.items() if not form.quadrilaterals)
            raise ValueError(f"--curved: found {arguments.format}, which has quadrilaterals only, expected {others}")
        settings = replace(settings, curved_fraction=arguments.curved)
    if arguments.size:
        width, height = arguments.size
        settings = replace(settings, width=(width, width), height=(height, height))
    training = RenderedText(arguments.count, 2 * arguments.seed, settings)
    second = RenderedText(max(1, arguments.count // 2), 2 * arguments.seed + 1, settings)
    write(training, second, Path(arguments.directory))
    pictures = counted(len(training), "pictures")
    print(f"{arguments.directory}: {pictures} for training, {len(second):,} for {second_split}")
