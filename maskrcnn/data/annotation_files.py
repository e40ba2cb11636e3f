"""What the text files of all data sets have in common: lines, encodings, corners, and words that cannot be used.

A format's own module says what a line means; here is what is the same for all of them. Everything raises ValueError as
`file:line: found ..., expected ...`.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from maskrcnn.data.images import EncodedPicture
from maskrcnn.data.polygons import area, is_simple
from maskrcnn.data.undecoded import UndecodedSample, black
from maskrcnn.sample import Sample

DONT_CARE = "###"
"""The transcription of what the annotators could not read: neither text nor background."""

INTEGER = re.compile(r"[ \t]*-?[0-9]{1,6}[ \t]*")
"""A coordinate. Six digits are more than any picture needs. (\\s would match characters that int() refuses.)"""
_CORNERS_IN_TEXT = re.compile(r"(?:-?[0-9]{1,6}[ \t]*,[ \t]*){6}")
"""What a transcription holds that has swallowed the next line: six integers or more, and something after them."""
_CORNERS = reprlib.Repr()
_CORNERS.maxlist = 8
"""So many numbers of an outline are quoted: a whole quadrilateral, and of a polygon enough to find it by."""


@dataclass(frozen=True)
class Problem:
    """Something odd in the data that does not stop anybody, and what was done about it."""

    file: str
    line: int
    """Counted from 1; 0 means the whole file."""
    what: str
    skipped: bool
    """Whether the word or file was left out."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.what}" if self.line else f"{self.file}: {self.what}"


class Word(NamedTuple):
    """One annotation, exactly as the file has it."""

    line: int
    """Counted from 1."""
    polygon: np.ndarray
    """(P, 2), float64 x, y in continuous pixels, corners in the order of the file."""
    transcription: str
    """Empty where the format has none."""
    ignore: bool
    """A don't-care word: neither object nor background."""


class Annotations(NamedTuple):
    """The words of one picture that can be used."""

    polygons: tuple[np.ndarray, ...]
    """G polygons (P, 2), float64 x, y in continuous pixels, corners in the order of the file."""
    transcriptions: tuple[str, ...]
    ignore: np.ndarray
    """(G,) bool."""
    problems: tuple[Problem, ...]

    def sample(self, name: str, image: np.ndarray) -> Sample:
        """The words in a picture (H, W, 3) uint8 called `name`; all are of the one class, text."""
        return Sample(
            name=name,
            image=image,
            polygons=self.polygons,
            labels=np.ones(len(self.polygons), dtype=np.int64),
            ignore=self.ignore,
            transcriptions=self.transcriptions,
        )

    def undecoded(self, picture: EncodedPicture) -> UndecodedSample:
        """The words with their picture."""
        return UndecodedSample(self.sample(picture.name, black(picture.height, picture.width)), picture)


ParseFile = Callable[[bytes, str], list[Word]]
"""From the content and the name of an annotation file to its words, all of them."""


def numbered_lines(content: bytes, name: str) -> Iterator[tuple[int, str]]:
    """Number, from 1, and text of each line that is not blank; UTF-8, with or without byte order mark, any line end.

    Raises ValueError for bytes that are not UTF-8.
    """
    # Not str.splitlines: it also splits at characters that may stand in a transcription.
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").splitlines(), start=1):
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{name}:{number}: found byte 0x{line[error.start]:02x}, expected UTF-8") from None
        if text.strip():
            yield number, text


@contextmanager
def place(name: str, line: int) -> Iterator[None]:
    """Puts file and line in front of what a parser found wrong."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{name}:{line}: {error}") from None


def split_line(line: str, count: int, then: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """The `count` / 2 corners (P, 2) float64 that a line begins with, and the fields after them, named by `then`.

    Everything after the last comma that separates fields belongs to the last field, further commas included.
    Raises ValueError (found ..., expected ...) for anything but `count` integers and those fields.
    """
    parts = line.split(",", count + len(then) - 1)
    for position, part in enumerate(parts[:count], start=1):
        if not INTEGER.fullmatch(part):
            raise ValueError(
                f"found {shortened(part)} as number {position}, "
                f"expected {count} integers of at most 6 digits, then the {' and the '.join(then)}"
            )
    if len(parts) < count + len(then):
        missing = then[max(len(parts) - count, 0)]
        raise ValueError(
            f"found {min(len(parts), count)} numbers and no {missing}, "
            f"expected {count} integers and a {' and a '.join(then)}"
        )
    return corners(parts[:count]), parts[count:]


def corners(numbers: Iterable[str]) -> np.ndarray:
    """(P, 2) float64 from integers in the order x1, y1, x2, y2 ..., each of which matches INTEGER."""
    return np.array([int(number) for number in numbers], dtype=np.float64).reshape(-1, 2)


def usable_words(words: Iterable[Word], name: str, quadrilaterals: bool) -> Annotations:
    """The words that something can be learnt from, and what is odd about the others.

    A polygon without area is left out and reported. Of `quadrilaterals`, a self-crossing one is a slip of the
    annotator's and left out, too, and a counter-clockwise one is kept and reported; outlines of more corners may run
    either way, and one that crosses itself at a bend still shows where the text is: it is kept and reported. So is a
    transcription in which corners stand, as if two lines had become one: the second word would be missing.
    """
    kept, problems = [], []
    noun = "quadrilateral" if quadrilaterals else "polygon"
    for word in words:
        numbers, size = word.polygon.astype(int).ravel().tolist(), area(word.polygon)
        what, skipped = "", False
        if size == 0:
            what, skipped = f"a {noun} without area", True
        elif not is_simple(word.polygon):
            what, skipped = f"a self-crossing {noun}", quadrilaterals
        elif size < 0 and quadrilaterals:
            what = f"a counter-clockwise {noun}"
        if what:
            done = "skipped" if skipped else "kept"
            problems.append(Problem(name, word.line, f"found {what} {_CORNERS.repr(numbers)}; {done}", skipped))
        if _CORNERS_IN_TEXT.search(word.transcription):
            what = f"found corners in the transcription {shortened(word.transcription)}, as if two lines were one; kept"
            problems.append(Problem(name, word.line, what, False))
        if not skipped:
            kept.append(word)
    return Annotations(
        polygons=tuple(word.polygon for word in kept),
        transcriptions=tuple(word.transcription for word in kept),
        ignore=np.array([word.ignore for word in kept], dtype=bool),
        problems=tuple(problems),
    )


def shortened(text: str) -> str:
    """Text from a file in quotes for a message, however long it is."""
    return repr(text if len(text) <= 40 else text[:37] + "...")
