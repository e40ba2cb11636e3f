"""`python -m maskrcnn check DATASET DIR`."""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

from maskrcnn.check_data import check, write_pictures
from maskrcnn.cli.arguments import add_settings, add_split
from maskrcnn.data.sources import FORMATS, open_files
from maskrcnn.model.parts import region_strides
from maskrcnn.recipes import RECIPES, recipe
from maskrcnn.wording import counted

HELP = "look through a data set before training on it"
DETAILS = """
Prints how many words or objects there are and how large, what had to be skipped (file:line, or the annotation's id)
and how well the anchors of a recipe reach them, by their size. What is left in the folder:
  examples.jpg         pictures with what is in them
  anchor_coverage.png  what the anchors reach

Exit code 2 says that training would stop: at pictures that cannot be read, which are all listed (of COCO's, only the
beginning is looked at), or at a line or file that is no annotation, the first of which ends the check, too. What is
skipped stops nobody and leaves the exit code at 0.

examples:
  python -m maskrcnn check icdar2015 data/icdar2015
  python -m maskrcnn check icdar2015 data/icdar2015 --split img_1..img_900 --recipe text_small \\
      --set model.image.long_side=1280
  python -m maskrcnn check coco data/coco --split val2017
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `check`."""
    parser.add_argument(
        "dataset", metavar="DATASET", choices=tuple(FORMATS), help=f"in whose layout: {', '.join(FORMATS)}"
    )
    parser.add_argument("directory", metavar="DIR", help="the folder of the data set")
    add_split(parser, default="train")
    parser.add_argument(
        "--recipe",
        metavar="RECIPE",
        help=f"whose anchors, one of: {', '.join(RECIPES)} (default: that of the data set's name, or icdar2015)",
    )
    parser.add_argument(
        "--out", default="runs/check", metavar="DIR", help="where the pictures go (default: runs/check)"
    )
    add_settings(parser)


def run(arguments: argparse.Namespace) -> None:
    """Prints counts, sizes, problems and anchor coverage; draws samples with their boxes.

    Raises ValueError for what training would refuse, of pictures after all the others have been looked at.
    """
    default = arguments.dataset if arguments.dataset in RECIPES else "icdar2015"
    model = recipe(arguments.recipe or default).override(arguments.settings).model
    with warnings.catch_warnings(action="ignore"):  # what is skipped is listed below
        samples = open_files(arguments.directory, arguments.split, arguments.dataset)
    found = check(samples, model.anchors, model.image, region_strides(model))
    print(found.text())
    for path in write_pictures(samples, found, Path(arguments.out)):
        print(path)
    if found.unreadable:
        more = f"; and {len(found.unreadable) - 1:,} more" if len(found.unreadable) > 1 else ""
        share = f"{len(found.unreadable):,} of {counted(found.images, 'pictures')} cannot be read"
        raise ValueError(f"{arguments.directory}: {share}, and training stops there: {found.unreadable[0]}{more}")
