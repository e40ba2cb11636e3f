"""Arguments that several commands take."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import get_args

from maskrcnn.data.sources import FORMATS
from maskrcnn.precision import Precision


def add_data(parser: argparse.ArgumentParser, split: str) -> None:
    """`--data`, `--split`, whose default is `split`, and `--format`."""
    parser.add_argument("--data", required=True, metavar="DIR", help='folder of a data set, or the word "rendered"')
    add_split(parser, split)
    add_format(parser, f"in whose layout the folder is: {', '.join(FORMATS)}")


def add_format(parser: argparse.ArgumentParser, meaning: str) -> None:
    """`--format`, which is short for a setting (see `all_settings`)."""
    parser.add_argument(
        "--format", choices=tuple(FORMATS), metavar="FORMAT", help=f"{meaning} (default: data.format of the recipe)"
    )


def all_settings(arguments: argparse.Namespace) -> list[str]:
    """What `--set` and `--format` change, for `Config.override`."""
    return [*arguments.settings, *([f"data.format={arguments.format}"] if arguments.format else [])]


def add_split(parser: argparse.ArgumentParser, default: str) -> None:
    """`--split`."""
    parser.add_argument(
        "--split",
        default=default,
        metavar="S",
        help=f"train, test, validation, a range of training pictures such as img_1..img_900, or a name of COCO such as "
        f"val2017 (default: {default})",
    )


def add_compile(parser: argparse.ArgumentParser) -> None:
    """`--compile`."""
    parser.add_argument(
        "--compile",
        action="store_true",
        help="run the network through torch.compile: minutes to start, and no gain on a processor",
    )


def add_precision(parser: argparse.ArgumentParser) -> None:
    """`--precision`."""
    parser.add_argument(
        "--precision",
        choices=get_args(Precision),
        default="float32",
        help="bfloat16: 16 bits, faster where the processor or GPU has instructions for it (default: float32)",
    )


def add_settings(parser: argparse.ArgumentParser) -> None:
    """`--set`, as `arguments.settings`: a list of "section.key=value"."""
    parser.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        dest="settings",
        metavar="section.key=value",
        help="change settings (`info RECIPE` lists them; what they mean is in maskrcnn/config.py and model_config.py); "
        "may be given several times",
    )


def output_file(path: str, ending: str) -> Path:
    """The file that a command is to write. Raises ValueError, before any work is done, for a name without `ending`."""
    file = Path(path)
    if file.suffix != ending:
        raise ValueError(f"{file}: found the ending {file.suffix!r}, expected {ending}")
    return file
