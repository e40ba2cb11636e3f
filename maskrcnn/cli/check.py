"""`python -m maskrcnn check DATASET DIR`."""

from __future__ import annotations

import argparse
from pathlib import Path

from maskrcnn.check_data import check, write_pictures
from maskrcnn.data.icdar import ICDAR2015
from maskrcnn.recipes import RECIPES, recipe

HELP = "look through a data set before training on it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `check`."""
    parser.add_argument("dataset", choices=("icdar2015",), help="in whose layout the files are")
    parser.add_argument("directory", metavar="DIR", help="the folder of the data set")
    parser.add_argument("--split", default="train", help="train (default), test, or a range such as img_1..img_900")
    parser.add_argument("--recipe", default="icdar2015", help=f"whose anchors to measure, one of: {', '.join(RECIPES)}")
    parser.add_argument("--out", default="runs/check", metavar="DIR", help="where the pictures go")


def run(arguments: argparse.Namespace) -> None:
    """Prints counts, sizes, problems and anchor coverage; draws samples with their boxes."""
    model = recipe(arguments.recipe).model
    samples = ICDAR2015(arguments.directory, arguments.split)
    found = check(samples, model.anchors, model.image)
    print(found.text())
    for path in write_pictures(samples, found, Path(arguments.out)):
        print(path)
