"""The files that text detection is scored from: ground truth, results, and the submission to the competition.

Ground truth is a folder or a zip of `gt_img_7.txt`, results are one of `res_img_7.txt`; the number pairs them. A line
of results is `x1,y1,x2,y2,x3,y3,x4,y4`, clockwise integers, and may end with `,score`. Lines that the official
validator refuses are refused here, with the file and the line. Around them more is accepted than there, where results
are a zip with its files at the top: here they may be a folder, or lie in an inner folder of the zip, and hidden files
and those that macOS adds are passed over.

This is not how a data set is read for training: the ground truth takes part in scoring exactly as it stands, also
where `maskrcnn.data.icdar` would leave out a quadrilateral that nobody can learn from.
"""

from __future__ import annotations

import io
import math
import os
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from maskrcnn.data.annotation_files import DONT_CARE, numbered_lines, place, shortened
from maskrcnn.data.archives import Files
from maskrcnn.data.icdar import parse_icdar2015_line
from maskrcnn.data.numbered_pictures import picture_number
from maskrcnn.data.polygons import area, is_simple
from maskrcnn.evaluation.text_scores import ImageTexts
from maskrcnn.files import write_and_rename

_GROUND_TRUTH = re.compile(r"gt_img_([0-9]{1,9})\.txt")
_RESULT = re.compile(r"res_img_([0-9]{1,9})\.txt")
_INTEGER = re.compile(r"\s*-?[0-9]{1,9}\s*")


class GroundTruth(NamedTuple):
    """The words of one picture as they are scored."""

    polygons: tuple[np.ndarray, ...]
    """G quadrilaterals (4, 2) float64, in file order."""
    ignore: np.ndarray
    """(G,) bool: the transcription is exactly `###`."""


class Results(NamedTuple):
    """What a result file says was found in one picture."""

    polygons: tuple[np.ndarray, ...]
    """D polygons (P, 2) float64, in file order."""
    scores: np.ndarray | None
    """(D,) float64, or None if the results declare no scores."""


class Submission(NamedTuple):
    """What `write_submission` wrote."""

    files: int
    quadrilaterals: int
    dropped: tuple[str, ...]
    """One message for each quadrilateral that rounding to integers left without area or crossing itself."""


def read_image_texts(ground_truth: str | os.PathLike, results: str | os.PathLike) -> list[ImageTexts]:
    """Ground truth and results of every picture, paired by number, sorted by number.

    A picture without a result file has no detections: its words are misses.
    Raises ValueError for a result file without ground truth, and whatever the two readers raise.
    """
    truths, found = read_ground_truths(ground_truth), read_results(results)
    extra = sorted(found.keys() - truths.keys())
    if extra:
        more = f" and {len(extra) - 1} more" if len(extra) > 1 else ""
        raise ValueError(
            f"{results}: found res_img_{extra[0]}.txt{more}, expected only pictures of which {ground_truth} has the "
            "ground truth"
        )
    scored = all(result.scores is not None for result in found.values())
    nothing = Results((), np.zeros(0) if scored else None)
    return [ImageTexts(f"img_{number}", *truths[number], *found.get(number, nothing)) for number in sorted(truths)]


def read_ground_truths(path: str | os.PathLike) -> dict[int, GroundTruth]:
    """Number of the picture -> its words, from the `gt_img_<number>.txt` of a folder or zip.

    Every line takes part, whatever the shape or winding of its quadrilateral.
    Raises ValueError for a file of another name, if there is no file at all, and as `file:line: found ..., expected
    ...` for a line that cannot be read.
    """
    truths = {}
    for number, name, content in _numbered_files(path, _GROUND_TRUTH, "gt_img_<number>.txt"):
        words = []
        for position, line in numbered_lines(content, name):
            with place(name, position):
                words.append(parse_icdar2015_line(line))
        ignore = np.array([transcription == DONT_CARE for _, transcription in words], dtype=bool)
        truths[number] = GroundTruth(tuple(polygon for polygon, _ in words), ignore)
    if not truths:
        raise ValueError(f"{path}: found no ground truth, expected files such as gt_img_1.txt")
    return truths


def read_results(path: str | os.PathLike, quadrilaterals: bool = True) -> dict[int, Results]:
    """Number of the picture -> what was found in it, from the `res_img_<number>.txt` of a folder or zip.

    `quadrilaterals` as in `parse_result_line`.
    Raises ValueError for a file of another name, as `file:line: found ..., expected ...` for a line that cannot be
    read, and if some lines have a score and others have none: their order would be anybody's guess.
    """
    parsed: dict[int, list[tuple[np.ndarray, float | None]]] = {}
    first = ""
    declared: bool | None = None
    for number, name, content in _numbered_files(path, _RESULT, "res_img_<number>.txt"):
        parsed[number] = []
        for position, line in numbered_lines(content, name):
            with place(name, position):
                polygon, score = parse_result_line(line, quadrilaterals)
            if declared is None:
                declared, first = score is not None, f"{name}:{position}"
            if declared != (score is not None):
                raise ValueError(
                    f"{name}:{position}: found {'no score' if score is None else 'a score'}, "
                    f"expected {'one' if declared else 'none'} as in {first}"
                )
            parsed[number].append((polygon, score))
    return {
        number: Results(
            tuple(polygon for polygon, _ in found),
            None if declared is False else np.array([score for _, score in found], dtype=np.float64),
        )
        for number, found in parsed.items()
    }


def parse_result_line(line: str, quadrilaterals: bool = True) -> tuple[np.ndarray, float | None]:
    """Polygon (P, 2) float64 and score of one line of results; the score is None if the line has none.

    By default the rules of ICDAR2015: four corners, integers, not counter-clockwise. With `quadrilaterals` False any
    polygon: at least three corners, decimal numbers, any winding; an odd count of numbers ends with the score.
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
    if quadrilaterals and area(polygon) < 0:
        raise ValueError(f"found counter-clockwise corners {polygon.astype(int).ravel().tolist()}, expected clockwise")
    if score is None:
        return polygon, None
    if not 0 <= _number(score) <= 1:
        raise ValueError(f"found score {shortened(score)}, expected a number from 0 to 1")
    return polygon, _number(score)


def write_submission(
    path: str | os.PathLike,
    results: Mapping[int | str, Iterable[tuple[np.ndarray, float]]],
    scores: bool = False,
) -> Submission:
    """Write the zip that the competition takes: one `res_img_<number>.txt` per picture, quadrilaterals best first.

    `results` maps a picture's number, or its name with that number in it (`img_12.jpg`), to its quadrilaterals
    (4, 2) with their scores; pictures without any get an empty file. Corners are rounded to integers and written
    clockwise. `scores` appends the score to each line, which the server refuses but `score --sweep` needs.
    The file appears under its name only when it is complete.

    Raises ValueError for another number of corners, for coordinates that are not finite or scores outside 0..1, for two
    pictures of one number, and for a name without a number; OSError if the file cannot be written.
    """
    texts: dict[str, str] = {}
    dropped: list[str] = []
    count = 0
    for picture, found in results.items():
        number = picture_number(picture) if isinstance(picture, str) else int(picture)
        name = f"res_img_{number}.txt"
        if name in texts:
            raise ValueError(f"{picture}: found number {number} twice, expected pictures with different numbers")
        lines = []
        for polygon, score in sorted(found, key=lambda shape: -shape[1]):
            corners = _whole_corners(polygon, score, name)
            if area(corners) <= 0 or not is_simple(corners):
                dropped.append(f"{name}: found {_decimals(polygon)}, which is no quadrilateral in integers; dropped")
                continue
            end = [f"{score:.6f}"] if scores else []
            lines.append(",".join([str(int(value)) for value in corners.ravel()] + end) + "\n")
        count += len(lines)
        texts[name] = "".join(lines)
    _write_zip(Path(path), texts)
    return Submission(len(texts), count, tuple(dropped))


def _whole_corners(polygon: np.ndarray, score: float, name: str) -> np.ndarray:
    """Corners (4, 2) rounded to integers, in clockwise order if they enclose an area."""
    if np.shape(polygon) != (4, 2):
        raise ValueError(f"{name}: found a polygon {np.shape(polygon)}, expected a quadrilateral (4, 2)")
    if not np.isfinite(polygon).all() or not 0 <= score <= 1:
        raise ValueError(
            f"{name}: found {_decimals(polygon)} with score {score}, expected finite corners and a score from 0 to 1"
        )
    # The winding is that of the exact corners: a sliver that rounding turns inside out is dropped, not mirrored.
    clockwise = polygon if area(polygon) >= 0 else polygon[[0, 3, 2, 1]]
    return np.rint(clockwise)


def _write_zip(path: Path, texts: Mapping[str, str]) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in texts.items():
            # ZipInfo's fixed date makes equal results equal files.
            archive.writestr(zipfile.ZipInfo(name), text, zipfile.ZIP_DEFLATED)
    write_and_rename(path, content.getbuffer())


def _numbered_files(path: str | os.PathLike, pattern: re.Pattern, expected: str) -> Iterator[tuple[int, str, bytes]]:
    """Number, name and content of all files of a folder or zip, each of which must be named as `expected`."""
    files = Files(path)
    numbered: dict[int, str] = {}
    for name in files.names:
        match = pattern.fullmatch(name)
        if not match:
            raise ValueError(f"{path}: found {name}, expected only files named {expected}")
        number = int(match[1])
        if number in numbered:
            raise ValueError(f"{path}: found {numbered[number]} and {name}, expected one file of each number")
        numbered[number] = name
    yield from zip(numbered, numbered.values(), files.read_texts(numbered.values()), strict=True)


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"found {shortened(text)}, expected a number")
    return number


def _decimals(polygon: np.ndarray) -> str:
    return str(np.round(polygon, 2).ravel().tolist())
