"""The file that a competition takes: a zip with the results of each picture in a text file, and nothing else."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import shapely

from maskrcnn.data.numbered_pictures import picture_number
from maskrcnn.data.polygons import area, is_simple
from maskrcnn.evaluation.protocols import ICDAR2015, Protocol
from maskrcnn.evaluation.text_scores import polygon_geometries
from maskrcnn.files import write_and_rename


class Submission(NamedTuple):
    """What `write_submission` wrote."""

    files: int
    texts: int
    dropped: tuple[str, ...]
    """One message for each text that rounding to integers left without area or crossing itself."""


def write_submission(
    path: str | os.PathLike,
    results: Mapping[int | str, Iterable[tuple[np.ndarray, float]]],
    scores: bool = False,
    protocol: Protocol = ICDAR2015,
) -> Submission:
    """Write the zip that a competition takes: one file per picture, named as in `protocol`, with its texts best first.

    `results` maps a picture's number, or its name with that number in it (`img_12.jpg`), to polygons (P, 2), where the
    protocol wants quadrilaterals (4, 2), with their scores; pictures without any get an empty file. Corners are rounded
    to integers and written clockwise. `scores` appends the score to each line, which the server of ICDAR2015 refuses
    but `score --sweep` needs. The file appears under its name only when it is complete.

    Raises ValueError for another number of corners, for coordinates that are not finite or scores outside 0..1, for two
    pictures of one number, and for a name without a number; OSError if the file cannot be written.
    """
    texts: dict[str, str] = {}
    dropped: list[str] = []
    count = 0
    for picture, found in results.items():
        number = picture_number(picture) if isinstance(picture, str) else int(picture)
        name = protocol.result_name.format(number)
        if name in texts:
            raise ValueError(f"{picture}: found number {number} twice, expected pictures with different numbers")
        lines = []
        for polygon, score in sorted(found, key=lambda shape: -shape[1]):
            corners = _whole_corners(polygon, score, name, protocol.quadrilaterals)
            if corners is None:
                noun = "quadrilateral" if protocol.quadrilaterals else "polygon"
                dropped.append(f"{name}: found {_decimals(polygon)}, which is no {noun} in integers; dropped")
                continue
            end = [f"{score:.6f}"] if scores else []
            lines.append(",".join([str(int(value)) for value in corners.ravel()] + end) + "\n")
        count += len(lines)
        texts[name] = "".join(lines)
    _write_zip(Path(path), texts)
    return Submission(len(texts), count, tuple(dropped))


def _whole_corners(polygon: np.ndarray, score: float, name: str, quadrilaterals: bool) -> np.ndarray | None:
    """Corners (P, 2) rounded to integers, in clockwise order; None if they are no outline of an area."""
    shape = np.shape(polygon)
    if quadrilaterals and shape != (4, 2):
        raise ValueError(f"{name}: found a polygon {shape}, expected a quadrilateral (4, 2)")
    if len(shape) != 2 or shape[0] < 3 or shape[1] != 2:
        raise ValueError(f"{name}: found a polygon {shape}, expected (P >= 3, 2)")
    if not np.isfinite(polygon).all() or not 0 <= score <= 1:
        raise ValueError(
            f"{name}: found {_decimals(polygon)} with score {score}, expected finite corners and a score from 0 to 1"
        )
    # The winding is that of the exact corners: a sliver that rounding turns inside out is dropped, not mirrored.
    clockwise = polygon if area(polygon) >= 0 else np.roll(polygon[::-1], 1, axis=0)
    corners = np.rint(clockwise)
    if not quadrilaterals and area(corners) > 0 and not is_simple(corners):
        corners = _without_touching(corners)
    return corners if area(corners) > 0 and is_simple(corners) else None


def _without_touching(corners: np.ndarray) -> np.ndarray:
    """The largest part of an outline whose bends touch or cross where rounding brought them together.

    The outline itself if nothing but lines would be left.
    """
    largest = max(shapely.get_parts(polygon_geometries([corners])[0]), key=shapely.area, default=shapely.Polygon())
    if largest.is_empty:
        return corners
    ring = np.rint(shapely.get_coordinates(shapely.get_exterior_ring(largest))[:-1])
    return ring if area(ring) > 0 else ring[::-1]


def _write_zip(path: Path, texts: Mapping[str, str]) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in texts.items():
            # ZipInfo's fixed date makes equal results equal files.
            archive.writestr(zipfile.ZipInfo(name), text, zipfile.ZIP_DEFLATED)
    write_and_rename(path, content.getbuffer())


def _decimals(polygon: np.ndarray) -> str:
    return str(np.round(polygon, 2).ravel().tolist())
