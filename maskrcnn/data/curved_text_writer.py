"""Writes data sets in the files of CTW1500 and Total-Text, as `ctw1500.py` and `total_text.py` read them."""

from __future__ import annotations

import os
import re
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from maskrcnn.data import ctw1500, total_text
from maskrcnn.data.ctw1500 import PREFIX
from maskrcnn.data.data_set_writer import WholeWord, numbers, save_picture, whole_words, write_whole
from maskrcnn.data.loader import Samples
from maskrcnn.data.text_polygons import facing_sides, resampled_sides
from maskrcnn.data.total_text import parse_total_text_line
from maskrcnn.sample import Sample

FIRST_TEST_PICTURE = 1001
"""CTW1500's training pictures are numbered from 1 to 1000, and its test pictures go on from there."""

_NOT_IN_XML = re.compile("[^\t\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def ctw1500_xml(sample: Sample, file_name: str) -> str:
    """The training label file of a sample (see `ctw1500_xml.py`): 7 points along the top of each text, 7 back below.

    `pts` are where the characters would be if all were equally wide. Raises ValueError for what `whole_words` refuses,
    and for characters that XML has not.
    """
    lines = ["<Annotations>", f"  <image file={quoteattr(file_name)}>"]
    for word in whole_words(sample, _fourteen_points):
        strange = _NOT_IN_XML.search(word.transcription)
        if strange:
            raise ValueError(f"{word.where}: found character {strange[0]!r}, expected those that XML allows")
        left, top = word.corners.min(axis=0).tolist()
        width, height = np.ptp(word.corners, axis=0).tolist()
        lines += [
            f'    <box height="{height}" left="{left}" top="{top}" width="{width}">',
            f"      <label>{escape(word.transcription)}</label>",
            f"      <segs>{numbers(word.corners)}</segs>",
            *(f'      <pts x="{x}" y="{y}"/>' for x, y in _character_centres(word)),
            "    </box>",
        ]
    return "\n".join([*lines, "  </image>", "</Annotations>", ""])


def ctw1500_lines(sample: Sample) -> str:
    """The test label file of a sample: 28 integers, `,####` and the transcription, for each text. Raises ValueError for
    what `whole_words` refuses."""
    words = whole_words(sample, _fourteen_points)
    return "".join(f"{numbers(word.corners)},{PREFIX}{word.transcription}\n" for word in words)


def total_text_lines(sample: Sample) -> str:
    """The annotation file of a sample: `x,y,...,transcription`, corners counter-clockwise, as many as there are.

    Raises ValueError for what `whole_words` refuses, and for a transcription that would be read as a corner.
    """
    lines = []
    for word in whole_words(sample, lambda polygon: polygon):
        line = f"{numbers(word.corners[::-1])},{word.transcription}"
        try:
            read = parse_total_text_line(line)[1]
        except ValueError:
            read = None
        if read != word.transcription:
            raise ValueError(f"{word.where}: found transcription {word.transcription!r}, which reads as a corner")
        lines.append(line + "\n")
    return "".join(lines)


def write_ctw1500(train: Samples, test: Samples, directory: str | os.PathLike) -> None:
    """Writes both splits below `directory`, which must be empty or not exist yet, with the current labels.

    Raises what `write_whole` raises, and ValueError for a sample that the format cannot express.
    """

    def write(folder: Path) -> None:
        for split, samples, first in (
            ("train", train, 1),
            ("test", test, max(FIRST_TEST_PICTURE, len(train) + 1)),
        ):
            layout = ctw1500.LAYOUTS[split][0]
            pictures, labels = folder / layout.pictures[0], folder / layout.annotations
            pictures.mkdir()
            labels.mkdir()
            for index in range(len(samples)):
                sample, number = samples[index], first + index
                if split == "train":
                    text = ctw1500_xml(sample, f"{number:04}.jpg")
                    (labels / f"{number:04}.xml").write_bytes(text.encode())
                else:
                    (labels / f"000{number:04}.txt").write_bytes(ctw1500_lines(sample).encode())
                save_picture(sample.image, pictures / f"{number:04}.jpg")

    write_whole(directory, write)


def write_total_text(train: Samples, test: Samples, directory: str | os.PathLike) -> None:
    """Writes both splits below `directory`, which must be empty or not exist yet; pictures are numbered from 1.

    Raises what `write_whole` raises, and ValueError for a sample that the format cannot express.
    """

    def write(folder: Path) -> None:
        for split, samples in (("train", train), ("test", test)):
            layout = total_text.LAYOUTS[split][0]
            pictures, annotations = folder / layout.pictures[0], folder / layout.annotations
            pictures.mkdir(parents=True)
            annotations.mkdir(parents=True)
            for index in range(len(samples)):
                sample = samples[index]
                lines = total_text_lines(sample).encode()
                (annotations / f"poly_gt_img{index + 1}.txt").write_bytes(lines)
                save_picture(sample.image, pictures / f"img{index + 1}.jpg")

    write_whole(directory, write)


def _fourteen_points(polygon: np.ndarray) -> np.ndarray:
    if len(polygon) % 2 or len(polygon) < 4:
        raise ValueError(f"found {len(polygon)} corners, expected an even number: as many along the top as below")
    return resampled_sides(polygon, ctw1500.POINTS // 2)


def _character_centres(word: WholeWord) -> list[list[int]]:
    top, bottom = facing_sides(word.corners[None])
    middle = (top + bottom)[0] / 2
    count = len(word.transcription)
    where = (np.arange(count) + 0.5) / max(count, 1) * (len(middle) - 1)
    steps = np.arange(len(middle))
    return np.rint(np.stack([np.interp(where, steps, axis) for axis in middle.T], axis=1)).astype(int).tolist()
