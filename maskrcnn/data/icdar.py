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

import os
import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from maskrcnn.data.archives import Files, find_files
from maskrcnn.data.images import read_image
from maskrcnn.data.polygons import area, is_simple
from maskrcnn.structures import Sample

DONT_CARE = "###"

FOLDERS = {
    "train": ("ch4_training_images", "ch4_training_localization_transcription_gt"),
    "test": ("ch4_test_images", "Challenge4_Test_Task1_GT"),
}
"""Of each split: where its pictures and its annotations are."""

_INTEGER = re.compile(r"\s*-?[0-9]{1,6}\s*")
_QUOTED = re.compile(r'\s*"(.*)"\s*')
_PICTURE = re.compile(r"img_([0-9]{1,9})\.(jpg|jpeg|png)", re.IGNORECASE)
_ANNOTATION = re.compile(r"gt_img_([0-9]{1,9})\.txt", re.IGNORECASE)
_RANGE = re.compile(r"img_([0-9]{1,9})\.\.img_([0-9]{1,9})")


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


class Annotations(NamedTuple):
    """The words of one picture."""

    polygons: tuple[np.ndarray, ...]
    """G quadrilaterals (4, 2), float64 x, y in continuous pixels, corners in the order of the file."""
    transcriptions: tuple[str, ...]
    ignore: np.ndarray
    """(G,) bool: the transcription is exactly `###`."""
    problems: tuple[Problem, ...]


def parse_icdar2015_line(line: str) -> tuple[np.ndarray, str]:
    """Corners (4, 2) float64 and transcription of one line without its line end.

    Everything after the eighth comma is the transcription, further commas included; if it stands in double quotes,
    these are taken off, and \\" and \\\\ inside mean one character, as in the official evaluation script.
    Raises ValueError (found ..., expected ...) for anything but eight integers of at most six digits and a text.
    """
    parts = line.split(",", 8)
    for position, part in enumerate(parts[:8], start=1):
        if not _INTEGER.fullmatch(part):
            raise ValueError(
                f"found {_shortened(part)} as number {position}, "
                "expected 8 integers of at most 6 digits, then the transcription"
            )
    if len(parts) < 9:
        raise ValueError(f"found {len(parts)} numbers and no transcription, expected 8 integers and a transcription")
    quoted = _QUOTED.fullmatch(parts[8])
    transcription = quoted[1].replace("\\\\", "\\").replace('\\"', '"') if quoted else parts[8]
    return np.array([int(part) for part in parts[:8]], dtype=np.float64).reshape(4, 2), transcription


def read_annotations(content: bytes, name: str) -> Annotations:
    """The words of one annotation file, UTF-8 with or without a byte order mark, with CR LF or LF line ends.

    Blank lines mean nothing and an empty file is a picture without words. A quadrilateral without area or one that
    crosses or touches itself is left out and reported as a problem; one whose corners run counter-clockwise is kept
    as it is and reported. `name` is what messages call the file.
    Raises ValueError as `name:line: found ..., expected ...` for a line that cannot be read.
    """
    polygons, transcriptions, problems = [], [], []
    for number, line in enumerate(_decode(content, name).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            polygon, transcription = parse_icdar2015_line(line)
        except ValueError as error:
            raise ValueError(f"{name}:{number}: {error}") from None
        corners, size = polygon.astype(int).ravel().tolist(), area(polygon)
        if size == 0:
            problems.append(Problem(name, number, f"found a quadrilateral without area {corners}; skipped", True))
            continue
        if not is_simple(polygon):
            problems.append(Problem(name, number, f"found a self-crossing quadrilateral {corners}; skipped", True))
            continue
        if size < 0:
            problems.append(Problem(name, number, f"found a counter-clockwise quadrilateral {corners}; kept", False))
        polygons.append(polygon)
        transcriptions.append(transcription)
    ignore = np.array([text == DONT_CARE for text in transcriptions], dtype=bool)
    return Annotations(tuple(polygons), tuple(transcriptions), ignore, tuple(problems))


def picture_number(name: str) -> int:
    """The last whole number in a file name, by which ICDAR pairs its files: 12 for `img_12.jpg`, `gt_img_12.txt`.

    Raises ValueError if there is none.
    """
    numbers = re.findall(r"[0-9]+", Path(name).stem)
    if not numbers:
        raise ValueError(f"{name}: found no number in the name, expected one such as img_12")
    return int(numbers[-1])


def select(names: Iterable[str], split: str) -> list[str]:
    """The names whose number lies in a range such as "img_1..img_900", both ends included, sorted by number.

    Raises ValueError if the range cannot be read or holds none of the names.
    """
    match = _RANGE.fullmatch(split)
    if not match:
        raise ValueError(f"found split {split!r}, expected train, test or a range such as img_1..img_900")
    first, last = int(match[1]), int(match[2])
    numbered = sorted((picture_number(name), name) for name in names)
    selected = [name for number, name in numbered if first <= number <= last]
    if not selected:
        found = f"numbers {numbered[0][0]} to {numbered[-1][0]}" if numbered else "no files"
        raise ValueError(f"found {found}, expected some in {split}")
    return selected


class ICDAR2015:
    """The data set: annotations are read and checked at once, a picture when its sample is asked for.

    `split` is "train", "test", or a range of the training pictures such as "img_1..img_900".
    """

    class_names = ("text",)

    def __init__(self, root: str | os.PathLike, split: str = "train") -> None:
        """Reads the annotations below `root`; warns once if something had to be skipped (see `problems`).

        Raises ValueError if `root` does not hold this data set, if a picture has no annotation file or the reverse,
        or for an annotation that cannot be read.
        """
        part = split if split in FOLDERS else "train"
        self._pictures, annotation_files = _find_split(Path(root), part)
        problems: list[Problem] = []
        pictures = _numbered(self._pictures, _PICTURE, "img_<number>.jpg", problems)
        annotations = _numbered(annotation_files, _ANNOTATION, "gt_img_<number>.txt", problems)
        if split != part:
            chosen = {picture_number(name) for name in select([*pictures.values(), *annotations.values()], split)}
            pictures = {number: name for number, name in pictures.items() if number in chosen}
            annotations = {number: name for number, name in annotations.items() if number in chosen}
        _check_pairs(pictures, annotations, self._pictures.path, annotation_files.path)
        numbers = sorted(pictures)
        self.names: list[str] = [pictures[number] for number in numbers]
        names = [annotations[number] for number in numbers]
        self._annotations = list(map(read_annotations, annotation_files.read_texts(names), names))
        self.problems = (*problems, *(problem for found in self._annotations for problem in found.problems))
        """Everything odd that was found, skipped or not, in order of the files."""
        skipped = [problem for problem in self.problems if problem.skipped]
        if skipped:
            more = f" and {len(skipped) - 1} more" if len(skipped) > 1 else ""
            warnings.warn(f"{root}: skipped {len(skipped)}: {skipped[0]}{more}", stacklevel=2)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        """The sample, with its picture freshly read. Raises ValueError for a picture that cannot be read."""
        name, words = self.names[index], self.annotations(index)
        return Sample(
            name=name,
            image=read_image(self._pictures.read(name), name),
            polygons=words.polygons,
            labels=np.ones(len(words.polygons), dtype=np.int64),
            ignore=words.ignore,
            transcriptions=words.transcriptions,
        )

    def annotations(self, index: int) -> Annotations:
        """The words of one picture, without reading the picture."""
        return self._annotations[index]


def _decode(content: bytes, name: str) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{name}:{line}: found byte 0x{error.object[error.start]:02x}, expected UTF-8") from None
    # Not str.splitlines: it also splits at characters that may stand in a transcription.
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _shortened(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")


def _first_few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def _find_split(root: Path, part: str) -> tuple[Files, Files]:
    if not root.is_dir():
        raise ValueError(f"{root}: found {'a file' if root.exists() else 'nothing'}, expected the data set's folder")
    found = [find_files(root, name) for name in FOLDERS[part]]
    if found[0] is None or found[1] is None:
        inside = _first_few(sorted(entry.name for entry in root.iterdir())) or "nothing"
        expected = " and ".join(FOLDERS[part])
        raise ValueError(f"{root}: found {inside}; expected {expected}, each a folder or a zip of that name")
    return found[0], found[1]


def _numbered(files: Files, pattern: re.Pattern, expected: str, problems: list[Problem]) -> dict[int, str]:
    """The files that are named as `expected`, by number; the others become problems."""
    names: dict[int, str] = {}
    for name in files.names:
        match = pattern.fullmatch(name)
        if not match:
            problems.append(Problem(name, 0, f"found in {files.path.name}, expected {expected}; skipped", True))
            continue
        number = int(match[1])
        if number in names:
            raise ValueError(f"{files.path}: found {names[number]} and {name}, expected one file of each number")
        names[number] = name
    return names


def _check_pairs(pictures: dict[int, str], annotations: dict[int, str], picture_path: Path, path: Path) -> None:
    if not pictures and not annotations:
        raise ValueError(f"{picture_path}: found no pictures, expected files such as img_1.jpg")
    for names, others, kind, where in (
        (pictures, annotations, "pictures without an annotation file", path),
        (annotations, pictures, "annotation files without a picture", picture_path),
    ):
        alone = [names[number] for number in sorted(names.keys() - others.keys())]
        if alone:
            raise ValueError(f"{where}: found {len(alone)} {kind} there ({_first_few(alone)}), expected one for each")
