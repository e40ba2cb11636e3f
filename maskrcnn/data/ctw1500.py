"""CTW1500, Curve Text in the Wild: lines of text, straight and curved, as polygons of 14 points.

Three kinds of labels are in use, and each file is read as what its content says it is:

1. Training labels, `NNNN.xml`: `Annotations > image > box`, each box with a `label`, the text, and `segs`, 28 integers.
2. Test labels, `000NNNN.txt`: lines of 28 integers and `####`, the text glued to it: `...,####Bakery`. A copy that is
   used for scoring has `CARE` there.
3. The original labels of 2017, `.txt`: lines of 32 integers. The first four are a box, the others 14 offsets from its
   top left corner. They know no text.

The points run along one long side of the text and back along the other, clockwise in some copies and counter-clockwise
in others. `###` as the text (so `#######` in the second kind) marks what is not to be read.

Pictures and labels of a split may lie, as folders or zips, in the places that LAYOUTS names.
"""

from __future__ import annotations

import re

import numpy as np

from maskrcnn.data.annotation_files import (
    DONT_CARE,
    INTEGER,
    Word,
    corners,
    numbered_lines,
    place,
    shortened,
    split_line,
)
from maskrcnn.data.ctw1500_xml import parse_ctw1500_xml
from maskrcnn.data.numbered_pictures import FileNames, Layout, NumberedPictures

POINTS = 14
PREFIX = "####"
"""What every transcription of the test labels begins with."""
CARE = "CARE"
"""What the scoring copy has in place of a transcription."""

LAYOUTS = {
    "train": (
        Layout(("train_images",), "ctw1500_train_labels"),
        Layout(("train/text_image",), "train/text_label_curve"),
    ),
    "test": (
        Layout(("test_images",), "gt_ctw1500"),
        Layout(("test_images",), "ctw1500_test_labels"),
        Layout(("test/text_image",), "test/text_label_curve"),
    ),
}
"""Of each split: where its pictures and its labels may be; the first that is there is read."""


def parse_ctw1500(content: bytes, name: str) -> list[Word]:
    """The lines of text in a label file of any of the three kinds; all lines of a file are of one kind.

    Raises ValueError as `name:line: found ..., expected ...` for what cannot be read.
    """
    if content.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"<":
        return parse_ctw1500_xml(content, name)
    words: list[Word] = []
    parse_line = None
    for number, line in numbered_lines(content, name):
        with place(name, number):
            if parse_line is None:
                parse_line = parse_original_line if _is_original(line) else parse_ctw1500_line
            polygon, transcription, ignore = parse_line(line)
        words.append(Word(number, polygon, transcription, ignore))
    return words


def parse_ctw1500_line(line: str) -> tuple[np.ndarray, str, bool]:
    """Points (14, 2) float64, transcription and don't-care flag of a line of the test labels.

    Everything after the 28th comma is the transcription, behind `####`. Without that prefix there may stand `CARE`,
    which gives an empty transcription, or `###`.
    Raises ValueError (found ..., expected ...).
    """
    polygon, (text,) = split_line(line, 2 * POINTS, ("transcription",))
    if text.startswith(PREFIX):
        text = text.removeprefix(PREFIX)
        return polygon, text, text == DONT_CARE
    if text.strip() == DONT_CARE:
        return polygon, DONT_CARE, True
    if text.strip() == CARE:
        return polygon, "", False
    raise ValueError(f"found {shortened(text)} after the points, expected {PREFIX} and the text, {CARE} or {DONT_CARE}")


def parse_original_line(line: str) -> tuple[np.ndarray, str, bool]:
    """Points (14, 2) float64, an empty transcription and False from a line of the original labels.

    Raises ValueError (found ..., expected ...) for anything but 32 integers.
    """
    parts = line.split(",")
    wrong = [part for part in parts if not INTEGER.fullmatch(part)]
    if wrong or len(parts) != 4 + 2 * POINTS:
        found = shortened(wrong[0]) if wrong else f"{len(parts)} integers"
        raise ValueError(f"found {found}, expected 32 integers of at most 6 digits: a box and 14 offsets")
    numbers = corners(parts)
    return numbers[0] + numbers[2:], "", False


def _is_original(line: str) -> bool:
    parts = line.split(",")
    return len(parts) == 4 + 2 * POINTS and all(INTEGER.fullmatch(part) for part in parts)


class CTW1500(NumberedPictures):
    """The data set. `split` is "train", "test", or a range of the training pictures such as "1..900"."""

    layouts = LAYOUTS
    picture_names = FileNames(re.compile(r"([0-9]{1,9})\.(?:jpg|jpeg|png)", re.IGNORECASE), "<number>.jpg")
    annotation_names = FileNames(
        re.compile(r"([0-9]{1,9})\.(?:txt|xml)", re.IGNORECASE), "<number>.xml or <number>.txt"
    )
    parse = staticmethod(parse_ctw1500)
