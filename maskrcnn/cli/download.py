"""`python -m maskrcnn download NAME`."""

from __future__ import annotations

import argparse
import difflib
import sys
from pathlib import Path

from maskrcnn.training.download import PUBLIC_FILES, download
from maskrcnn.training.progress import DownloadLine

HELP = "fetch published weights and check them"
_WIDTH = max(map(len, PUBLIC_FILES))
DETAILS = f"""
names:
{chr(10).join(f"  {name:{_WIDTH}}  {file.what} ({file.name})" for name, file in PUBLIC_FILES.items())}

The file is checked against its published SHA-256, or the part of it that its name holds, before it gets its name. An
interrupted download leaves NAME.part; the same command goes on from there.

examples:
  python -m maskrcnn download resnet50
  python -m maskrcnn download mmocr_icdar2015 --out weights
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `download`."""
    parser.add_argument("name", metavar="NAME", help=f"one of: {', '.join(PUBLIC_FILES)}")
    parser.add_argument("--out", default="downloads", metavar="DIR", help="where it goes (default: downloads)")


def run(arguments: argparse.Namespace) -> None:
    """Fetches a file unless it is there, and says how to import it."""
    if arguments.name not in PUBLIC_FILES:
        near = difflib.get_close_matches(arguments.name, PUBLIC_FILES, n=2, cutoff=0.0)
        raise ValueError(f"{arguments.name}: no such file; nearest: {', '.join(near)}; all: {', '.join(PUBLIC_FILES)}")
    file = PUBLIC_FILES[arguments.name]
    line = DownloadLine(file.name, sys.stderr)
    try:
        path = download(file, Path(arguments.out), line.show)
    finally:
        line.close()
    print(f"{path}: its SHA-256 is the published one")
    print(f"import it: python -m maskrcnn import {path} --from {file.family} --out {arguments.name}.safetensors")
