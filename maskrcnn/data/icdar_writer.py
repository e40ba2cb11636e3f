"""Writes data sets in the official files of ICDAR2015 and ICDAR2017-MLT, as `icdar.py` and `icdar2017.py` read them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from maskrcnn.data.data_set_writer import numbers, save_picture, whole_words, write_whole
from maskrcnn.data.icdar import FOLDERS
from maskrcnn.data.icdar2017 import LAYOUTS
from maskrcnn.data.loader import Samples
from maskrcnn.sample import Sample

MIXED_KINDS = ("jpg", "gif", "png", "jpg", "JPG", "jpg", "jpg", "jpg")
"""Endings of the pictures of ICDAR2017-MLT, in turn."""


def quadrilateral(polygon: np.ndarray) -> np.ndarray:
    """The polygon (4, 2) itself. Raises ValueError for another number of corners."""
    if len(polygon) != 4:
        raise ValueError(f"found {len(polygon)} corners, expected 4: this format has quadrilaterals only")
    return polygon


def annotation_lines(sample: Sample, outline: Callable[[np.ndarray], np.ndarray] = quadrilateral) -> str:
    """ICDAR2015's annotation file of a sample: `x1,y1,...,x4,y4,transcription` and CR LF for each object.

    Corners are rounded to integers, and must run clockwise as the format demands; ignored objects get `###`.
    Raises ValueError for what the format cannot express: an object that is no quadrilateral or, once rounded, not a
    clockwise one with an area; a missing transcription, one of more than one line, or `###` for an object that is
    not ignored. With another `outline` (see `whole_words`) lines may have other corners than ICDAR2015's.
    """
    words = whole_words(sample, outline)
    return "".join(f"{numbers(word.corners)},{_quoted(word.transcription)}\r\n" for word in words)


def icdar2017_lines(sample: Sample) -> str:
    """ICDAR2017-MLT's annotation file: as `annotation_lines`, with a script before each transcription.

    That is Latin for anything with a letter or a digit, Symbols for other text, None for don't-care; other scripts are
    not told apart. Raises ValueError like `annotation_lines`.
    """
    lines = []
    for word in whole_words(sample, quadrilateral):
        legible = "Latin" if any(map(str.isalnum, word.transcription)) else "Symbols"
        script = "None" if word.ignore else legible
        lines.append(f"{numbers(word.corners)},{script},{_quoted(word.transcription)}\r\n")
    return "".join(lines)


def write_icdar2015(train: Samples, test: Samples, directory: str | os.PathLike) -> None:
    """Writes both splits below `directory`, which must be empty or not exist yet; pictures are numbered from 1.

    As in the official files, lines end with CR LF and only the training annotations start with a byte order mark.
    Raises what `write_whole` raises, and ValueError for a sample that the format cannot express.
    """

    def write(folder: Path) -> None:
        for split, samples in (("train", train), ("test", test)):
            pictures, annotations = (folder / name for name in FOLDERS[split])
            pictures.mkdir()
            annotations.mkdir()
            encoding = "utf-8-sig" if split == "train" else "utf-8"
            for number, sample in enumerate(_each(samples), start=1):
                lines = annotation_lines(sample).encode(encoding)
                (annotations / f"gt_img_{number}.txt").write_bytes(lines)
                save_picture(sample.image, pictures / f"img_{number}.jpg")

    write_whole(directory, write)


def write_icdar2017(train: Samples, validation: Samples, directory: str | os.PathLike) -> None:
    """Writes both splits below `directory`, which must be empty or not exist yet; pictures are numbered from 1.

    The training pictures are spread over the eight official folders, as far as there are enough of them, and some are
    PNG or GIF. No file starts with a byte order mark.
    Raises what `write_whole` raises, and ValueError for a sample that the format cannot express.
    """

    def write(folder: Path) -> None:
        for split, samples in (("train", train), ("validation", validation)):
            layout = LAYOUTS[split][0]
            (folder / layout.annotations).mkdir()
            for index, sample in enumerate(_each(samples)):
                lines = icdar2017_lines(sample).encode()
                (folder / layout.annotations / f"gt_img_{index + 1}.txt").write_bytes(lines)
                part = layout.pictures[index * len(layout.pictures) // len(samples)]
                (folder / part).mkdir(exist_ok=True)
                kind = MIXED_KINDS[index % len(MIXED_KINDS)]
                save_picture(sample.image, folder / part / f"img_{index + 1}.{kind}")

    write_whole(directory, write)


def _each(samples: Samples):
    # Not every data set ends by itself when it is iterated over.
    return (samples[index] for index in range(len(samples)))


def _quoted(text: str) -> str:
    """Readers take quotes around a transcription off, so text with such quotes needs two pairs."""
    if text.strip()[:1] == text.strip()[-1:] == '"':
        return '"' + text.replace("\\", r"\\").replace('"', r"\"") + '"'
    return text
