"""ICDAR2015, Incidental Scene Text: words as quadrilaterals in photographs that nobody aimed at text.

The layout is the official one; each of the four may be a folder or a zip of that name:

    ch4_training_images                           img_1.jpg ... img_1000.jpg
    ch4_training_localization_transcription_gt    gt_img_1.txt ...
    ch4_test_images                               img_1.jpg ... img_500.jpg
    Challenge4_Test_Task1_GT                      gt_img_1.txt ...

A line of annotation is `x1,y1,x2,y2,x3,y3,x4,y4,transcription`; a word whose transcription is `###` could not be
read by the annotators and counts neither as an object nor as background.
"""

from __future__ import annotations

import re

import numpy as np

from maskrcnn.data.annotation_files import DONT_CARE, Word, numbered_lines, place, split_line
from maskrcnn.data.numbered_pictures import FileNames, Layout, NumberedPictures

FOLDERS = {
    "train": ("ch4_training_images", "ch4_training_localization_transcription_gt"),
    "test": ("ch4_test_images", "Challenge4_Test_Task1_GT"),
}
"""Of each split: where its pictures and its annotations are."""

_LAYOUTS = {split: (Layout((pictures,), words),) for split, (pictures, words) in FOLDERS.items()}
_QUOTED = re.compile(r'\s*"(.*)"\s*')


def parse_icdar2015_line(line: str) -> tuple[np.ndarray, str]:
    """Corners (4, 2) float64 and transcription of one line without its line end.

    Everything after the eighth comma is the transcription, further commas included (see `unquoted`).
    Raises ValueError (found ..., expected ...) for anything but eight integers of at most six digits and a text.
    """
    polygon, (transcription,) = split_line(line, 8, ("transcription",))
    return polygon, unquoted(transcription)


def parse_icdar2015(content: bytes, name: str) -> list[Word]:
    """The words of an annotation file: UTF-8 with or without a byte order mark, with CR LF or LF line ends.

    Blank lines mean nothing and an empty file is a picture without words. `name` is what messages call the file.
    Raises ValueError as `name:line: found ..., expected ...` for a line that cannot be read.
    """
    words = []
    for number, line in numbered_lines(content, name):
        with place(name, number):
            polygon, transcription = parse_icdar2015_line(line)
        words.append(Word(number, polygon, transcription, transcription == DONT_CARE))
    return words


def unquoted(transcription: str) -> str:
    """A transcription without the double quotes around it, where \\" and \\\\ mean one character, if there are any.

    The official evaluation scripts of ICDAR read it so.
    """
    quoted = _QUOTED.fullmatch(transcription)
    return quoted[1].replace("\\\\", "\\").replace('\\"', '"') if quoted else transcription


class ICDAR2015(NumberedPictures):
    """The data set. `split` is "train", "test", or a range of the training pictures such as "img_1..img_900"."""

    layouts = _LAYOUTS
    picture_names = FileNames(re.compile(r"img_([0-9]{1,9})\.(?:jpg|jpeg|png)", re.IGNORECASE), "img_<number>.jpg")
    annotation_names = FileNames(re.compile(r"gt_img_([0-9]{1,9})\.txt", re.IGNORECASE), "gt_img_<number>.txt")
    parse = staticmethod(parse_icdar2015)
    quadrilaterals = True
