"""Writes a data set in the official files of ICDAR2015, as `icdar.py` reads them."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from maskrcnn.data.annotation_files import DONT_CARE
from maskrcnn.data.icdar import FOLDERS
from maskrcnn.data.loader import Samples
from maskrcnn.data.polygons import area, is_simple
from maskrcnn.structures import Sample

JPEG_QUALITY = 92
"""Of the official pictures, about."""

STAGING = ".unfinished"
"""Where both splits are written before they are moved into place."""


def annotation_lines(sample: Sample) -> str:
    """The annotation file of a sample: `x1,y1,...,x4,y4,transcription` and CR LF for each object.

    Corners are rounded to integers, and must run clockwise as the format demands; ignored objects get `###`.
    Raises ValueError for what the format cannot express: an object that is no quadrilateral or, once rounded, not a
    clockwise one with an area; a missing transcription, one of more than one line, or `###` for an object that is
    not ignored.
    """
    lines = []
    transcriptions = sample.transcriptions or (None,) * len(sample.polygons)
    for number, (polygon, ignore, text) in enumerate(
        zip(sample.polygons, sample.ignore, transcriptions, strict=True), start=1
    ):
        where = f"{sample.name}: object {number}"
        if len(polygon) != 4:
            raise ValueError(f"{where}: found {len(polygon)} corners, expected 4: ICDAR2015 has quadrilaterals only")
        corners = np.rint(polygon).astype(int)
        if not is_simple(corners) or area(corners) < 0:
            raise ValueError(f"{where}: found corners {corners.tolist()}, expected a clockwise quadrilateral")
        if ignore:
            text = DONT_CARE
        elif text is None or "\r" in text or "\n" in text or text == DONT_CARE:
            raise ValueError(f"{where}: found transcription {text!r}, expected one line of text, not {DONT_CARE}")
        elif text.strip()[:1] == text.strip()[-1:] == '"':  # readers take such quotes off, so there must be two pairs
            text = '"' + text.replace("\\", r"\\").replace('"', r"\"") + '"'
        lines.append(",".join(map(str, corners.ravel().tolist())) + f",{text}\r\n")
    return "".join(lines)


def write_icdar2015(train: Samples, test: Samples, directory: str | os.PathLike) -> None:
    """Writes both splits below `directory`, which must be empty or not exist yet; pictures are numbered from 1.

    As in the official files, lines end with CR LF and only the training annotations start with a byte order mark.
    Everything is written aside, into the folder `.unfinished`, and moved into place at the end. What fails or is
    interrupted removes what it made, and nothing else: another run may be writing to the same directory.
    Raises FileExistsError for a directory with something in it, another OSError if it cannot be written, and
    ValueError for a sample that the format cannot express (see `annotation_lines`).
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
        for split, samples in (("train", train), ("test", test)):
            _write_split(samples, *(staging / name for name in FOLDERS[split]), byte_order_mark=split == "train")
        for folder in sorted(staging.iterdir()):
            folder.rename(directory / folder.name)
            moved.append(directory / folder.name)
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


def _write_split(samples: Samples, pictures: Path, annotations: Path, byte_order_mark: bool) -> None:
    pictures.mkdir()
    annotations.mkdir()
    for index in range(len(samples)):
        sample = samples[index]
        lines = annotation_lines(sample).encode("utf-8-sig" if byte_order_mark else "utf-8")
        (annotations / f"gt_img_{index + 1}.txt").write_bytes(lines)
        Image.fromarray(sample.image).save(pictures / f"img_{index + 1}.jpg", quality=JPEG_QUALITY)
