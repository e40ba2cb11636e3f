"""Data sets whose pictures and annotation files share a number: img_7.jpg and gt_img_7.txt, 0007.jpg and 0007.xml.

ICDAR2015, ICDAR2017-MLT, CTW1500 and Total-Text differ in names, folders and in what an annotation says; how files are
found, paired, selected and read is the same, and stands here.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

from maskrcnn.data.annotation_files import Annotations, ParseFile, Problem, shortened, usable_words
from maskrcnn.data.archives import Files, find_files
from maskrcnn.data.images import EncodedPicture
from maskrcnn.data.undecoded import UndecodedSample
from maskrcnn.sample import Sample

_NUMBER = re.compile(r"img_?([0-9]+)", re.IGNORECASE)
_MOST_DIGITS = 18
_RANGE = re.compile(r"(?:img_?)?([0-9]{1,9})\.\.(?:img_?)?([0-9]{1,9})")


class Layout(NamedTuple):
    """Where a split is. Each name is that of a folder or, with .zip after it, of an archive."""

    pictures: tuple[str, ...]
    """Folders that hold the pictures together; not all of them need be there."""
    annotations: str


class FileNames(NamedTuple):
    """How the files of one kind are named."""

    pattern: re.Pattern
    """Matches a whole name; its first group is the number."""
    example: str
    """What messages say is expected."""


def picture_number(name: str) -> int:
    """The number by which files are paired: 12 for `img_12.jpg`, `poly_gt_img12.txt`, `0012.jpg`, `res_img_12.txt`.

    It is the one after the last `img`, or else the last in the name. Raises ValueError if there is none, or if nobody
    can have counted so far.
    """
    stem = Path(name).stem
    numbers = _NUMBER.findall(stem) or re.findall(r"[0-9]+", stem)
    if not numbers:
        raise ValueError(f"{name}: found no number in the name, expected one such as img_12")
    if len(numbers[-1]) > _MOST_DIGITS:
        raise ValueError(f"{shortened(name)}: found a number of {len(numbers[-1])} digits in the name, expected img_12")
    return int(numbers[-1])


def select(names: Iterable[str], split: str, splits: Iterable[str] = ("train", "test")) -> list[str]:
    """The names whose number lies in a range such as "img_1..img_900", both ends included, sorted by number.

    Raises ValueError if the range cannot be read, naming `splits` as what else there is, or holds none of the names.
    """
    match = _RANGE.fullmatch(split)
    if not match:
        raise ValueError(f"found split {split!r}, expected {', '.join(splits)} or a range such as img_1..img_900")
    first, last = int(match[1]), int(match[2])
    numbered = sorted((picture_number(name), name) for name in names)
    selected = [name for number, name in numbered if first <= number <= last]
    if not selected:
        found = f"numbers {numbered[0][0]} to {numbered[-1][0]}" if numbered else "no files"
        raise ValueError(f"found {found}, expected some in {split}")
    return selected


class NumberedPictures:
    """The data set: annotations are read and checked at once, a picture when its sample is asked for.

    `split` is one of `layouts`, or a range of the training pictures such as "img_1..img_900".
    A format says the five things below.
    """

    class_names = ("text",)
    layouts: ClassVar[Mapping[str, Sequence[Layout]]]
    """Of each split: the layouts it may come in; the first that is there is read."""
    picture_names: ClassVar[FileNames]
    annotation_names: ClassVar[FileNames]
    parse: ClassVar[ParseFile]
    """A staticmethod."""
    quadrilaterals: ClassVar[bool] = False
    """See `usable_words`."""

    def __init__(self, root: str | os.PathLike, split: str = "train") -> None:
        """Reads the annotations below `root`; warns once if something had to be skipped (see `problems`).

        Raises ValueError if `root` does not hold this data set, if a picture has no annotation file or the reverse,
        or for an annotation that cannot be read.
        """
        part = split if split in self.layouts else "train"
        picture_files, annotation_files = _find_split(Path(root), self.layouts[part])
        problems: list[Problem] = []
        pictures = _numbered(picture_files, self.picture_names, problems)
        annotations = _numbered([annotation_files], self.annotation_names, problems)
        if split != part:
            names = [name for name, _ in (*pictures.values(), *annotations.values())]
            chosen = {picture_number(name) for name in select(names, split, self.layouts)}
            pictures = {number: found for number, found in pictures.items() if number in chosen}
            annotations = {number: found for number, found in annotations.items() if number in chosen}
        _check_pairs(pictures, annotations, picture_files[0].path, annotation_files.path, self.picture_names)
        numbers = sorted(pictures)
        self.names: list[str] = [pictures[number][0] for number in numbers]
        self._files = [pictures[number][1] for number in numbers]
        names = [annotations[number][0] for number in numbers]
        self._annotations = list(map(self.read_annotations, annotation_files.read_texts(names), names))
        self.problems = (*problems, *(problem for found in self._annotations for problem in found.problems))
        """Everything odd that was found, skipped or not, in order of the files."""
        warn_of_skipped(root, self.problems)

    @classmethod
    def read_annotations(cls, content: bytes, name: str) -> Annotations:
        """The usable words of one annotation file, which messages call `name`; ValueError if it cannot be read."""
        return usable_words(cls.parse(content, name), name, cls.quadrilaterals)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        """The sample, with its picture freshly read. Raises ValueError for a picture that cannot be read."""
        return self.undecoded(index).decoded()

    def picture_size(self, index: int) -> tuple[int, int]:
        """Height and width of a picture, from the beginning of its file. Raises ValueError if that cannot be read.

        Of a zip, the whole picture is unpacked for it.
        """
        picture = self.undecoded(index).picture
        return picture.height, picture.width

    def undecoded(self, index: int) -> UndecodedSample:
        """The sample, of whose picture nothing is decoded. Raises ValueError if its header cannot be read."""
        name = self.names[index]
        return self.annotations(index).undecoded(EncodedPicture(self._files[index].source(name), name))

    def annotations(self, index: int) -> Annotations:
        """The words of one picture, without reading the picture."""
        return self._annotations[index]


def warn_of_skipped(root: str | os.PathLike, problems: Sequence[Problem]) -> None:
    """One warning for all that a reader left out, naming the first."""
    skipped = [problem for problem in problems if problem.skipped]
    if skipped:
        more = f" and {len(skipped) - 1} more" if len(skipped) > 1 else ""
        warnings.warn(f"{root}: skipped {len(skipped)}: {skipped[0]}{more}", stacklevel=3)


def check_folder(root: Path) -> None:
    """Raises ValueError unless `root` is a folder."""
    if not root.is_dir():
        raise ValueError(f"{root}: found {'a file' if root.exists() else 'nothing'}, expected the data set's folder")


def listed(names: Sequence[str]) -> str:
    """The first few names, for a message."""
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def _find_split(root: Path, layouts: Sequence[Layout]) -> tuple[list[Files], Files]:
    check_folder(root)
    for layout in layouts:
        pictures = [files for name in layout.pictures if (files := find_files(root, name))]
        annotations = find_files(root, layout.annotations)
        if pictures and annotations:
            return pictures, annotations
    inside = listed(sorted(entry.name for entry in root.iterdir())) or "nothing"
    expected = ", or ".join(f"{layout.pictures[0]} and {layout.annotations}" for layout in layouts)
    raise ValueError(f"{root}: found {inside}; expected {expected}, each a folder or a zip of that name")


def _numbered(places: Sequence[Files], names: FileNames, problems: list[Problem]) -> dict[int, tuple[str, Files]]:
    """Name and place of each file that is named as `names` says, by number; the others become problems."""
    found: dict[int, tuple[str, Files]] = {}
    for files in places:
        others = list(files.others)
        for name in files.names:
            match = names.pattern.fullmatch(name)
            if not match:
                others.append(name)
                continue
            number = int(match[1])
            if number in found:
                other, where = found[number]
                there = "" if where is files else f" in {where.path.name}"
                raise ValueError(f"{files.path}: found {other}{there} and {name}, expected one file of each number")
            found[number] = name, files
        what = f"found in {files.path.name}, expected {names.example}; skipped"
        problems += [Problem(name, 0, what, True) for name in sorted(others)]
    return found


def _check_pairs(
    pictures: dict[int, tuple[str, Files]],
    annotations: dict[int, tuple[str, Files]],
    picture_path: Path,
    path: Path,
    names: FileNames,
) -> None:
    if not pictures and not annotations:
        raise ValueError(f"{picture_path}: found no pictures, expected files such as {names.example}")
    for these, others, kind, where in (
        (pictures, annotations, "pictures without an annotation file", path),
        (annotations, pictures, "annotation files without a picture", picture_path),
    ):
        alone = [these[number][0] for number in sorted(these.keys() - others.keys())]
        if alone:
            raise ValueError(f"{where}: found {len(alone)} {kind} there ({listed(alone)}), expected one for each")
