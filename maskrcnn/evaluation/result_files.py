"""The files that text detection is scored from: ground truth and results.

Each is a folder or a zip with a file for each picture. They are paired by the picture's number in their names,
whatever stands around it: `gt_img_7.txt` and `res_img_7.txt`, `poly_gt_img7.txt` and `img7.txt`, `0001001.txt` and
`1001.txt`. A line of results is `x1,y1,x2,y2,...` and may end with `,score`. Where the official validator refuses a
line, it is refused here, with the file and the line (`Protocol.quadrilaterals`). Around the lines more is accepted than
there, where results are a zip with its files at the top: here they may be a folder, or lie in an inner folder of the
zip, and hidden files and those that macOS adds are passed over.

This is not how a data set is read for training: the ground truth takes part in scoring exactly as it stands, also
where a reader in `maskrcnn.data` would leave out a polygon that nobody can learn from.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from maskrcnn.data.annotation_files import ParseFile, numbered_lines, place, shortened
from maskrcnn.data.archives import Files
from maskrcnn.data.numbered_pictures import picture_number
from maskrcnn.data.polygons import area
from maskrcnn.evaluation.protocols import ICDAR2015, Protocol
from maskrcnn.evaluation.text_scores import ImageTexts

_FARTHEST = 999_999_999
"""Of a coordinate in pixels, in integers of 9 digits as in other numbers; beyond any picture, areas overflow."""
_INTEGER = re.compile(r"[ \t]*-?[0-9]{1,9}[ \t]*")
_NUMBER = re.compile(r"[ \t]*[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?[ \t]*")


class GroundTruth(NamedTuple):
    """The words of one picture as they are scored."""

    polygons: tuple[np.ndarray, ...]
    """G polygons (P, 2) float64, in file order."""
    ignore: np.ndarray
    """(G,) bool: the don't-care words."""


class Results(NamedTuple):
    """What a result file says was found in one picture."""

    polygons: tuple[np.ndarray, ...]
    """D polygons (P, 2) float64, in file order."""
    scores: np.ndarray | None
    """(D,) float64, or None if the results declare no scores."""
    file: str = ""
    """The name of the result file."""


def read_image_texts(
    ground_truth: str | os.PathLike, results: str | os.PathLike, protocol: Protocol = ICDAR2015
) -> list[ImageTexts]:
    """Ground truth and results of every picture, paired by number, sorted by number.

    A picture without a result file has no detections: its words are misses.
    Raises ValueError for a result file without ground truth, and whatever the two readers raise.
    """
    truths = read_ground_truths(ground_truth, protocol.parse)
    found = read_results(results, protocol.quadrilaterals)
    extra = sorted(found.keys() - truths.keys())
    if extra:
        more = f" and {len(extra) - 1} more" if len(extra) > 1 else ""
        raise ValueError(
            f"{results}: found {found[extra[0]].file}{more}, expected only pictures of which {ground_truth} has the "
            "ground truth"
        )
    scored = all(result.scores is not None for result in found.values())
    nothing = Results((), np.zeros(0) if scored else None)
    return [ImageTexts(f"img_{number}", *truths[number], *found.get(number, nothing)[:2]) for number in sorted(truths)]


def read_ground_truths(path: str | os.PathLike, parse: ParseFile = ICDAR2015.parse) -> dict[int, GroundTruth]:
    """Number of the picture -> its words, from the files of a folder or zip.

    Every line takes part, whatever the shape or winding of its polygon.
    Raises ValueError for a file without a number or of another kind, if there is no file at all, and as
    `path/file:line: found ..., expected ...` for a line that cannot be read.
    """
    truths = {}
    for number, name, content in _numbered_files(path, (".txt", ".xml")):
        words = parse(content, f"{path}/{name}")
        ignore = np.array([word.ignore for word in words], dtype=bool)
        truths[number] = GroundTruth(tuple(word.polygon for word in words), ignore)
    if not truths:
        raise ValueError(f"{path}: found no ground truth, expected files such as gt_img_1.txt")
    return truths


def read_results(path: str | os.PathLike, quadrilaterals: bool = True) -> dict[int, Results]:
    """Number of the picture -> what was found in it, from the files of a folder or zip.

    `quadrilaterals` as in `parse_result_line`.
    Raises ValueError for a file without a number or of another kind, as `path/file:line: found ..., expected ...` for a
    line that cannot be read, and if some lines have a score and others have none: their order would be anybody's guess.
    """
    parsed: dict[int, list[tuple[np.ndarray, float | None]]] = {}
    names: dict[int, str] = {}
    first = ""
    declared: bool | None = None
    for number, name, content in _numbered_files(path, (".txt",)):
        parsed[number], names[number], where = [], name, f"{path}/{name}"
        for position, line in numbered_lines(content, where):
            with place(where, position):
                polygon, score = parse_result_line(line, quadrilaterals)
            if declared is None:
                declared, first = score is not None, f"{name}:{position}"
            if declared != (score is not None):
                raise ValueError(
                    f"{where}:{position}: found {'no score' if score is None else 'a score'}, "
                    f"expected {'one' if declared else 'none'} as in {first}"
                )
            parsed[number].append((polygon, score))
    return {
        number: Results(
            tuple(polygon for polygon, _ in found),
            None if declared is False else np.array([score for _, score in found], dtype=np.float64),
            names[number],
        )
        for number, found in parsed.items()
    }


def parse_result_line(line: str, quadrilaterals: bool = True) -> tuple[np.ndarray, float | None]:
    """Polygon (P, 2) float64 and score of one line of results; the score is None if the line has none.

    By default the rules of ICDAR2015: four corners, integers, not counter-clockwise. With `quadrilaterals` False any
    polygon: at least three corners, decimal numbers, any winding; an odd count of numbers ends with the score. No
    coordinate has more than nine digits before the point.
    Raises ValueError (found ..., expected ...).
    """
    parts = line.split(",")
    if quadrilaterals and len(parts) not in (8, 9):
        raise ValueError(f"found {len(parts)} numbers, expected 8 integers, or 8 integers and a score")
    if len(parts) < 6:
        raise ValueError(f"found {len(parts)} numbers, expected at least 3 corners x,y")
    corners, score = (parts[:-1], parts[-1]) if len(parts) % 2 else (parts, None)
    if quadrilaterals:
        for part in corners:
            if not _INTEGER.fullmatch(part):
                raise ValueError(f"found {shortened(part)}, expected an integer of at most 9 digits")
    polygon = np.array([_number(part) for part in corners]).reshape(-1, 2)
    if np.abs(polygon).max() > _FARTHEST:
        far = max(corners, key=lambda part: abs(float(part)))
        raise ValueError(f"found {shortened(far)}, expected a coordinate of at most {_FARTHEST:,} pixels")
    if quadrilaterals and area(polygon) < 0:
        raise ValueError(f"found counter-clockwise corners {polygon.astype(int).ravel().tolist()}, expected clockwise")
    if score is None:
        return polygon, None
    if not 0 <= _number(score) <= 1:
        raise ValueError(f"found score {shortened(score)}, expected a number from 0 to 1")
    return polygon, _number(score)


def _numbered_files(path: str | os.PathLike, endings: tuple[str, ...]) -> Iterator[tuple[int, str, bytes]]:
    """Picture number, name and content of all files of a folder or zip."""
    files = Files(path)
    for name in files.others[:1]:
        raise ValueError(f"{path}: found {name}, which is no file, expected {endings[0]} files in {path} itself")
    numbered: dict[int, str] = {}
    for name in files.names:
        if not name.lower().endswith(endings) or not any(map(str.isdigit, name)):
            raise ValueError(f"{path}: found {name}, expected only {endings[0]} files named by their pictures' numbers")
        number = picture_number(name)
        if number in numbered:
            raise ValueError(f"{path}: found {numbered[number]} and {name}, expected one file of each number")
        numbered[number] = name
    yield from zip(numbered, numbered.values(), files.read_texts(numbered.values()), strict=True)


def _number(text: str) -> float:
    # float() alone would take "1_0", digits of all scripts and "inf".
    number = float(text) if _NUMBER.fullmatch(text) else math.nan
    if not math.isfinite(number):
        raise ValueError(f"found {shortened(text)}, expected a number")
    return number
