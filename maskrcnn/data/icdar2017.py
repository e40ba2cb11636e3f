"""ICDAR2017-MLT, Multi-Lingual Scene Text: words of nine scripts as quadrilaterals, all of one class.

The layout is the official one; each may be a folder or a zip of that name, and of the eight only those that are there
are read:

    ch8_training_images_1 ... ch8_training_images_8           img_1.jpg ... img_7200.jpg, some .png and .gif
    ch8_training_localization_transcription_gt_v2             gt_img_1.txt ...
    ch8_validation_images                                     img_1.jpg ... img_1800.jpg
    ch8_validation_localization_transcription_gt_v2           gt_img_1.txt ...

A line of annotation is `x1,y1,x2,y2,x3,y3,x4,y4,script,transcription`; `###` stands for what could not be read. There
is no public ground truth of the test pictures.
"""

from __future__ import annotations

import re

import numpy as np

from maskrcnn.data.annotation_files import DONT_CARE, Word, numbered_lines, place, shortened, split_line
from maskrcnn.data.icdar import unquoted
from maskrcnn.data.numbered_pictures import FileNames, Layout, NumberedPictures

SCRIPTS = ("Arabic", "Latin", "Chinese", "Japanese", "Korean", "Bangla", "Symbols", "Mixed", "None")
"""What the eighth comma is followed by."""

LAYOUTS = {
    "train": (
        Layout(
            tuple(f"ch8_training_images_{part}" for part in range(1, 9)),
            "ch8_training_localization_transcription_gt_v2",
        ),
        Layout(("ch8_training_images",), "ch8_training_localization_transcription_gt_v2"),
    ),
    "validation": (Layout(("ch8_validation_images",), "ch8_validation_localization_transcription_gt_v2"),),
}
"""Of each split: where its pictures and its annotations are."""


def parse_icdar2017_line(line: str) -> tuple[np.ndarray, str, str]:
    """Corners (4, 2) float64, script and transcription of one line without its line end.

    Everything after the ninth comma is the transcription, further commas included (see `unquoted`).
    Raises ValueError (found ..., expected ...) for anything but eight integers, one of SCRIPTS and a text.
    """
    polygon, (script, transcription) = split_line(line, 8, ("script", "transcription"))
    if script not in SCRIPTS:
        raise ValueError(f"found script {shortened(script)}, expected one of {', '.join(SCRIPTS)}")
    return polygon, script, unquoted(transcription)


def parse_icdar2017(content: bytes, name: str, script: str | None = None) -> list[Word]:
    """The words of an annotation file, UTF-8; with `script`, those in other scripts are don't-care.

    Raises ValueError as `name:line: found ..., expected ...` for a line that cannot be read.
    """
    words = []
    for number, line in numbered_lines(content, name):
        with place(name, number):
            polygon, written, transcription = parse_icdar2017_line(line)
        ignore = transcription == DONT_CARE or script not in (None, written)
        words.append(Word(number, polygon, transcription, ignore))
    return words


class ICDAR2017(NumberedPictures):
    """The data set. `split` is "train", "validation", or a range of the training pictures: "img_1..img_900"."""

    layouts = LAYOUTS
    picture_names = FileNames(re.compile(r"img_([0-9]{1,9})\.(?:jpg|jpeg|png|gif)", re.IGNORECASE), "img_<number>.jpg")
    annotation_names = FileNames(re.compile(r"gt_img_([0-9]{1,9})\.txt", re.IGNORECASE), "gt_img_<number>.txt")
    parse = staticmethod(parse_icdar2017)
    quadrilaterals = True
