"""What the writers of all formats have in common: a folder that appears whole or not at all, and the words in it."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from maskrcnn.data.annotation_files import DONT_CARE
from maskrcnn.data.polygons import area, is_simple
from maskrcnn.sample import Sample

JPEG_QUALITY = 92
"""Of ICDAR2015's pictures, about."""

STAGING = ".unfinished"
"""Where everything is written before it is moved into place."""


class WholeWord(NamedTuple):
    """One object as files have it."""

    where: str
    """What messages call it."""
    corners: np.ndarray
    """(P, 2) int64, clockwise."""
    transcription: str
    """`###` for an ignored object."""
    ignore: bool


def whole_words(sample: Sample, outline: Callable[[np.ndarray], np.ndarray]) -> Iterator[WholeWord]:
    """The objects of a sample in integers; `outline` turns a polygon (P, 2) into the one that the format wants.

    Raises ValueError for what no format can express: what `rounded_outlines` refuses, a missing transcription, one of
    more than one line, or `###` for an object that is not ignored.
    """
    transcriptions = sample.transcriptions or (None,) * len(sample.polygons)
    outlines = rounded_outlines(sample, outline)
    for (where, corners), ignore, text in zip(outlines, sample.ignore, transcriptions, strict=True):
        if ignore:
            text = DONT_CARE
        elif text is None or "\r" in text or "\n" in text or text == DONT_CARE:
            raise ValueError(f"{where}: found transcription {text!r}, expected one line of text, not {DONT_CARE}")
        yield WholeWord(where, corners.astype(int), text, bool(ignore))


def rounded_outlines(
    sample: Sample, outline: Callable[[np.ndarray], np.ndarray], decimals: int = 0
) -> Iterator[tuple[str, np.ndarray]]:
    """Of each object of a sample what messages call it, and its corners (P, 2) float64 with so many decimals.

    `outline` as in `whole_words`. Raises ValueError for corners that, once rounded, are no simple clockwise outline.
    """
    for number, polygon in enumerate(sample.polygons, start=1):
        where = f"{sample.name}: object {number}"
        try:
            corners = np.round(outline(polygon), decimals)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        if not is_simple(corners) or area(corners) < 0:
            noun = "quadrilateral" if len(corners) == 4 else "outline"
            raise ValueError(f"{where}: found corners {corners.tolist()}, expected a clockwise {noun}")
        yield where, corners


def numbers(corners: np.ndarray) -> str:
    """`x1,y1,x2,y2,...`"""
    return ",".join(map(str, corners.ravel().tolist()))


def save_picture(image: np.ndarray, path: Path) -> None:
    """Writes (H, W, 3) uint8 pixels as what the end of the name says; GIF has only 256 colours."""
    Image.fromarray(image).save(path, **({"quality": JPEG_QUALITY} if path.suffix.lower() == ".jpg" else {}))


def write_whole(directory: str | os.PathLike, write: Callable[[Path], None]) -> None:
    """Calls `write` with an empty folder, and moves what is in there then into `directory`, which must be empty or not
    exist yet.

    That folder is `.unfinished` in `directory`. What fails or is interrupted removes what it made, and nothing else:
    another run may be writing to the same directory.
    Raises FileExistsError for a directory with something in it, another OSError if it cannot be written, and what
    `write` raises.
    """
    directory = Path(directory)
    existed = directory.exists()
    staging = directory / STAGING
    if directory.is_dir() and any(directory.iterdir()) and not staging.exists():
        raise FileExistsError(f"{directory}: found a directory with something in it, expected an empty one or none")
    try:
        staging.mkdir(parents=True)
    except FileExistsError as error:
        raise FileExistsError(
            f"{staging}: found an unfinished data set; if no other run is writing it, remove that folder"
        ) from error
    except OSError as error:
        raise type(error)(f"{directory}: cannot be written: {error.strerror or error}") from error
    moved: list[Path] = []
    try:
        write(staging)
        for entry in sorted(staging.iterdir()):
            entry.rename(directory / entry.name)
            moved.append(directory / entry.name)
        staging.rmdir()
    except BaseException as error:  # Ctrl-C, too
        for made in (staging, *moved):
            shutil.rmtree(made, ignore_errors=True)
        if not existed:
            with contextlib.suppress(OSError):  # not empty: somebody else has put something there
                directory.rmdir()
        if isinstance(error, OSError):
            raise type(error)(f"{directory}: cannot be written: {error.strerror or error}") from error
        raise
