"""Total-Text: words, straight and curved, as polygons of any number of points.

Two kinds of annotations are in use, and each file is read as what its content says it is:

1. Lines `x1,y1,...,xn,yn,transcription`, counter-clockwise in the copies that are in use; `###` is don't-care. The
   transcription may be empty, hold commas, or be a number: coordinates come in pairs, so of an odd run of integers at
   the start of a line the last one is, or begins, the transcription.
2. The original files, printed by a program:
   `x: [[206 251 386]], y: [[633 811 931]], ornt: [u'c'], transcriptions: [u'PETROSAINS']`, one after the other; `#` is
   don't-care. Numbers may go on in the next line.

    Images/Train, Images/Test                                 img11.jpg ...
    Groundtruth/Polygon/Train, Groundtruth/Polygon/Test       poly_gt_img11.txt ...
"""

from __future__ import annotations

import re

import numpy as np

from maskrcnn.data.annotation_files import DONT_CARE, INTEGER, Word, corners, numbered_lines, place, shortened
from maskrcnn.data.numbered_pictures import FileNames, Layout, NumberedPictures

LAYOUTS = {
    split: (
        Layout((f"Images/{folder}",), f"Groundtruth/Polygon/{folder}"),
        Layout((f"Images/{folder}",), f"Groundtruth/{folder}"),
    )
    for split, folder in (("train", "Train"), ("test", "Test"))
}
"""Of each split: where its pictures and its annotations may be; the first that is there is read."""

ORIGINAL_DONT_CARE = "#"

_NUMBERS = r"\[\s*\[([-0-9\s,]*)\]\s*\]"
_STRING = r"""u?('(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*")"""
_ORIGINAL = re.compile(
    rf"x:\s*{_NUMBERS}\s*,\s*y:\s*{_NUMBERS}\s*,\s*ornt:\s*\[\s*(?:{_STRING})?\s*\]\s*,"
    rf"\s*transcriptions:\s*\[\s*{_STRING}\s*\]\s*"
)
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))")
_LETTERS = {"n": "\n", "t": "\t", "r": "\r"}


def parse_total_text(content: bytes, name: str) -> list[Word]:
    """The words of an annotation file of either kind.

    Raises ValueError as `name:line: found ..., expected ...` for what cannot be read.
    """
    lines = list(numbered_lines(content, name))
    if lines and lines[0][1].lstrip().startswith("x:"):
        return _parse_original(lines, name)
    words = []
    for number, line in lines:
        with place(name, number):
            polygon, transcription = parse_total_text_line(line)
        words.append(Word(number, polygon, transcription, transcription == DONT_CARE))
    return words


def parse_total_text_line(line: str) -> tuple[np.ndarray, str]:
    """Points (P >= 3, 2) float64 and transcription of one line without its line end.

    Raises ValueError (found ..., expected ...) for fewer than six integers or no transcription.
    """
    parts = line.split(",")
    leading = next((index for index, part in enumerate(parts) if not INTEGER.fullmatch(part)), len(parts))
    count = leading - leading % 2
    if count < 6:
        end = f", then {shortened(parts[leading])}" if leading < len(parts) else ""
        raise ValueError(f"found {leading} integers{end}, expected at least 3 points x,y and a transcription")
    if count == len(parts):
        raise ValueError(f"found {count} integers and no transcription, expected points x,y and a transcription")
    return corners(parts[:count]), ",".join(parts[count:])


def _parse_original(lines: list[tuple[int, str]], name: str) -> list[Word]:
    text = "\n".join(line for _, line in lines)
    ends = np.cumsum([len(line) + 1 for _, line in lines])
    words, position = [], 0
    while position < len(text):
        number = lines[int(np.searchsorted(ends, position, side="right"))][0]
        with place(name, number):
            match = _ORIGINAL.match(text, position)
            if not match:
                raise ValueError(
                    f"found {shortened(text[position : position + 60])}, expected "
                    "x: [[...]], y: [[...]], ornt: [u'c'], transcriptions: [u'...']"
                )
            xs, ys = (_integers(match[group]) for group in (1, 2))
            if len(xs) != len(ys) or len(xs) < 3:
                raise ValueError(f"found {len(xs)} x and {len(ys)} y, expected at least 3 and as many of both")
            transcription = _unescaped(match[4][1:-1])
        polygon = np.array([xs, ys], dtype=np.float64).T
        words.append(Word(number, polygon, transcription, transcription == ORIGINAL_DONT_CARE))
        position = match.end()
    return words


def _integers(text: str) -> list[int]:
    """The integers of `206 251 386` or `206, 251, 386`."""
    parts = text.replace(",", " ").split()
    for part in parts:
        if not INTEGER.fullmatch(part):
            raise ValueError(f"found {shortened(part)}, expected an integer of at most 6 digits")
    return [int(part) for part in parts]


def _unescaped(text: str) -> str:
    """What Python means by the inside of a string literal."""

    def character(match: re.Match) -> str:
        code = match[1] or match[2] or match[3]
        if code is None:
            return _LETTERS.get(match[4], match[4] if match[4] in "\\'\"" else match[0])
        if int(code, 16) > 0x10FFFF:
            raise ValueError(f"found {match[0]}, expected a character of Unicode")
        return chr(int(code, 16))

    try:
        # Python 2 wrote characters beyond 16 bits as two halves.
        return _ESCAPE.sub(character, text).encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise ValueError(f"found {shortened(text)}, expected a character of Unicode, not half of one") from None


class TotalText(NumberedPictures):
    """The data set. `split` is "train", "test", or a range of the training pictures such as "img_1..img_900"."""

    layouts = LAYOUTS
    picture_names = FileNames(re.compile(r"img_?([0-9]{1,9})\.(?:jpg|jpeg|png)", re.IGNORECASE), "img<number>.jpg")
    annotation_names = FileNames(
        re.compile(r"(?:poly_)?gt_img_?([0-9]{1,9})\.txt", re.IGNORECASE), "poly_gt_img<number>.txt"
    )
    parse = staticmethod(parse_total_text)
