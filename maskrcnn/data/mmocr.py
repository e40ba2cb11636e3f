"""The files that MMOCR 0.x converts text data sets into: one `instances_*.json` a split, in COCO's manner.

    imgs/training/img_1.jpg ...      pictures, in the folders that `file_name` names; each folder may be a zip
    instances_training.json          {"images": [...], "categories": [...], "annotations": [...]}
    instances_test.json
    instances_val.json

An image has `id`, `file_name` ("training/img_1.jpg"), and the picture's `height` and `width`; an annotation has
`image_id`, `category_id`, `iscrowd`, `bbox` (x, y, width, height), `area`, and `segmentation`, one polygon in a list.
Ids begin at 0 and images come in the order in which a folder happened to be listed. `iscrowd` marks don't-care words.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from maskrcnn.data.annotation_files import Annotations, Problem, Word, shortened, usable_words
from maskrcnn.data.archives import LARGEST_TEXTS, Files, find_files
from maskrcnn.data.images import EncodedPicture
from maskrcnn.data.json_records import parse_json
from maskrcnn.data.numbered_pictures import check_folder, listed, select, warn_of_skipped
from maskrcnn.data.undecoded import UndecodedSample
from maskrcnn.sample import Sample

ANNOTATION_FILES = {
    "train": "instances_training.json",
    "test": "instances_test.json",
    "validation": "instances_val.json",
}
"""Of each split: where its annotations are."""

LARGEST_WHOLE = 2**63 - 1
LARGEST_COORDINATE = 999_999
LARGEST_AREA = LARGEST_COORDINATE**2


class Picture(NamedTuple):
    """An entry of `images`."""

    id: int
    file_name: str
    height: int
    width: int


class MMOCR:
    """The data set; pictures are sorted by name, words in the order of the file.

    `split` is one of ANNOTATION_FILES, or a range of the training pictures such as "img_1..img_900".
    """

    class_names = ("text",)

    def __init__(self, root: str | os.PathLike, split: str = "train") -> None:
        """Reads the annotations below `root`; warns once if something had to be skipped (see `problems`).

        Left out, as MMOCR does, are annotations that are marked with `ignore` or have an area of 0 or less or a box
        less than a pixel wide or high, and polygons without area.
        Raises ValueError if `root` does not hold this data set, if a picture is missing, or for entries that are not
        as above.
        """
        root = Path(root)
        check_folder(root)
        part = split if split in ANNOTATION_FILES else "train"
        name = ANNOTATION_FILES[part]
        if not (root / name).is_file():
            inside = listed(sorted(entry.name for entry in root.iterdir())) or "nothing"
            raise ValueError(f"{root}: found {inside}; expected {name} and the folder imgs")
        parsed, problems = parse_instances(Files(root).read(name, LARGEST_TEXTS), name)
        self.names: list[str] = sorted(picture.file_name for picture, _ in parsed)
        if split != part:
            self.names = select(self.names, split, ANNOTATION_FILES)
        self._files = _find_pictures(root, self.names)
        self._annotation_file, entries = name, {picture.file_name: (picture, words) for picture, words in parsed}
        self._pictures = [entries[file][0] for file in self.names]
        self._annotations = [usable_words(entries[file][1], f"{name}: {file}", False) for file in self.names]
        chosen = set(self.names)
        self.problems = (
            *(problem for file, problem in problems if file in chosen),
            *(problem for found in self._annotations for problem in found.problems),
        )
        """Everything odd that was found, skipped or not."""
        warn_of_skipped(root, self.problems)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        """The sample, with its picture freshly read.

        Raises ValueError for a picture that cannot be read, or is not of the size that the annotations are for.
        """
        return self.undecoded(index).decoded()

    def picture_size(self, index: int) -> tuple[int, int]:
        """Height and width for which a picture is annotated."""
        return self._pictures[index].height, self._pictures[index].width

    def undecoded(self, index: int) -> UndecodedSample:
        """The sample, of whose picture nothing is decoded. Raises ValueError as for the sample itself, but for pixels
        that are damaged."""
        entry = self._pictures[index]
        picture = EncodedPicture(self._files[index].source(PurePosixPath(entry.file_name).name), entry.file_name)
        picture.check_size(entry.height, entry.width, f"image {entry.id} of {self._annotation_file}")
        return self.annotations(index).undecoded(picture)

    def annotations(self, index: int) -> Annotations:
        """The words of one picture, without reading the picture. `text` is there for some sets, else empty."""
        return self._annotations[index]


def parse_instances(
    content: bytes, name: str
) -> tuple[list[tuple[Picture, list[Word]]], list[tuple[str, Problem]]]:
    """The pictures of a file with the words of each, and a problem with its picture's name for what was left out.

    The line of a word is 0: lines mean nothing in JSON.
    Raises ValueError as `parse_json` does, and `name: annotations[3]: found ..., expected ...`.
    """
    file = _Entry(parse_json(content, name), name)
    categories = {entry.whole("id") for entry in file.entries("categories")}
    pictures: dict[int, Picture] = {}
    for entry in file.entries("images"):
        number = entry.whole("id")
        if number in pictures:
            raise entry.error(f"found id {number} a second time, expected a different one for each image")
        size = entry.whole("height"), entry.whole("width")
        pictures[number] = Picture(number, entry.relative_path("file_name"), *size)
    counts = Counter(picture.file_name for picture in pictures.values())
    twice = sorted(file for file, count in counts.items() if count > 1)
    if twice:
        raise ValueError(f"{name}: found image {shortened(twice[0])} twice, expected each once")
    words: dict[int, list[Word]] = {number: [] for number in pictures}
    problems = []
    for entry in file.entries("annotations"):
        image = entry.whole("image_id")
        if image not in pictures:
            raise entry.error(f"found image_id {image}, expected the id of an image")
        if entry.whole("category_id") not in categories:
            raise entry.error(f"found category_id {entry.whole('category_id')}, expected the id of a category")
        reason = _reason_to_skip(entry)
        if reason:
            file_name = pictures[image].file_name
            problems.append((file_name, Problem(f"{name}: {file_name}", 0, f"{entry.where}: {reason}; skipped", True)))
            continue
        text = entry.value.get("text", "")
        if not isinstance(text, str) or any("\ud800" <= character <= "\udfff" for character in text):
            raise entry.error(f"found text {_shown(text)}, expected characters of Unicode")
        words[image].append(Word(0, entry.polygon("segmentation"), text, entry.flag("iscrowd")))
    return [(picture, words[number]) for number, picture in pictures.items()], problems


def _reason_to_skip(entry: _Entry) -> str:
    """Why MMOCR's loader would leave an annotation out; empty if it would not."""
    _, _, width, height = entry.numbers("bbox", 4)
    (size,) = entry.numbers("area", 1)
    if entry.flag("ignore"):
        return "found ignore"
    if size <= 0:
        return f"found area {size:g}"
    return f"found a box of {width:g} x {height:g}" if width < 1 or height < 1 else ""


class _Entry:
    """A JSON object, and where it stands, for messages."""

    def __init__(self, value: Any, name: str, where: str = "") -> None:
        self.value, self.name, self.where = value, name, where
        if not isinstance(value, dict):
            raise self.error(f"found {_kind(value)}, expected an object")

    def error(self, what: str) -> ValueError:
        return ValueError(f"{self.name}: {self.where}: {what}" if self.where else f"{self.name}: {what}")

    def get(self, key: str) -> Any:
        if key not in self.value:
            raise self.error(f"found no {key}, expected one")
        return self.value[key]

    def entries(self, key: str) -> Iterator[_Entry]:
        """The objects of a list."""
        values = self.get(key)
        if not isinstance(values, list):
            raise self.error(f"found {key}: {_kind(values)}, expected a list")
        for index, value in enumerate(values):
            yield _Entry(value, self.name, f"{key}[{index}]")

    def whole(self, key: str) -> int:
        value = self.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LARGEST_WHOLE:
            raise self.error(f"found {key} {_shown(value)}, expected a whole number from 0 to {LARGEST_WHOLE}")
        return value

    def flag(self, key: str) -> bool:
        value = self.value.get(key, 0)
        if value not in (0, 1) or isinstance(value, float):
            raise self.error(f"found {key} {_shown(value)}, expected 0 or 1")
        return bool(value)

    def numbers(self, key: str, count: int) -> list[float]:
        """`count` numbers, in a list if there is more than one."""
        value = self.get(key)
        values = [value] if count == 1 else value
        right = isinstance(values, list) and len(values) == count
        if not right or not all(_is_number(number, LARGEST_AREA) for number in values):
            raise self.error(f"found {key} {_shown(value)}, expected {count} finite numbers")
        return values

    def polygon(self, key: str) -> np.ndarray:
        """(P >= 3, 2) float64 from `[[x1, y1, x2, y2, ...]]`."""
        value = self.get(key)
        if not isinstance(value, list) or len(value) != 1 or not isinstance(value[0], list):
            found = f"a list of {len(value)}" if isinstance(value, list) else _kind(value)
            raise self.error(f"found {key}: {found}, expected one polygon in a list")
        flat = value[0]
        if len(flat) < 6 or len(flat) % 2:
            raise self.error(f"found {key} of {len(flat)} numbers, expected x, y of at least 3 points")
        wrong = [number for number in flat if not _is_number(number, LARGEST_COORDINATE)]
        if wrong:
            raise self.error(f"found {_shown(wrong[0])} in {key}, expected numbers of at most 6 digits")
        return np.array(flat, dtype=np.float64).reshape(-1, 2)

    def relative_path(self, key: str) -> str:
        """A path below a folder, which leads nowhere else."""
        value = self.get(key)
        path = PurePosixPath(value) if isinstance(value, str) and value.isprintable() else PurePosixPath()
        if not path.parts or path.is_absolute() or ".." in path.parts or any(sign in str(path) for sign in "\\:"):
            raise self.error(f"found {key} {_shown(value)}, expected a relative path such as training/img_1.jpg")
        return str(path)


def _is_number(value: Any, limit: float) -> bool:
    # Not a number (NaN) is below no limit.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= limit


def _kind(value: Any) -> str:
    return {dict: "an object", list: "a list", str: "text", type(None): "null"}.get(type(value), "a number")


def _shown(value: Any) -> str:
    return _kind(value) if isinstance(value, dict | list) else shortened(str(value))


def _find_pictures(root: Path, names: list[str]) -> list[Files]:
    """The folder or zip of each picture. Raises ValueError if one is not there."""
    folders: dict[str, Files | None] = {}
    present: dict[str, set[str]] = {}
    found, missing = [], []
    for name in names:
        path = PurePosixPath("imgs") / name
        folder = str(path.parent)
        if folder not in folders:
            folders[folder] = files = find_files(root, folder)
            present[folder] = set(files.names) if files else set()
        if path.name not in present[folder]:
            missing.append(str(path))
        found.append(folders[folder])
    if missing:
        raise ValueError(f"{root}: found no {listed(missing)} ({len(missing)} in all), expected every picture")
    return found
