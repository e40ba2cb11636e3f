"""A picture to draw on: outlines, fills and labels that stay readable from 1 pixel to 8000 x 6000.

Pillow draws lines without anti-aliasing. Each shape is therefore drawn enlarged into a grey mask of its own
bounds, shrunk, and used as the opacity of its colour; nothing the size of the picture is ever allocated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

ORANGE, SKY_BLUE, GREEN, YELLOW = "#E69F00", "#56B4E9", "#009E73", "#F0E442"
BLUE, VERMILLION, PURPLE, GREY = "#0072B2", "#D55E00", "#CC79A7", "#BBBBBB"
"""Okabe and Ito's colours, which people who cannot tell red from green tell apart
(https://jfly.uni-koeln.de/color). Colour never speaks alone: every use has a line style or a word beside it."""

SOLID, DASHED, DOTTED = (), (4.0, 2.5), (1.0, 1.8)
"""Lengths of dashes and gaps in line widths."""

_SMALLEST_LONG_SIDE = 512
_MASK_PIXELS = 4_000_000
_LONGEST_LABEL = 40
_STRIP = "#222222"


@dataclass(frozen=True)
class Stroke:
    """How an outline looks."""

    colour: str
    dashes: tuple[float, ...] = SOLID
    width: float = 1.0
    """In units of the canvas's line width."""


class Canvas:
    """A copy of a picture, and methods that draw on it in the picture's own coordinates.

    Small pictures are enlarged by a whole factor until their long side reaches 512 pixels, so that lines and labels
    do not hide what they mark; line width and font grow with the picture.
    """

    def __init__(self, image: np.ndarray) -> None:
        """`image` (H, W, 3) uint8, RGB. Raises ValueError for anything else."""
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
            raise ValueError(f"a picture must be (H, W, 3) uint8, found {image.shape} {image.dtype}")
        height, width = image.shape[:2]
        long_side = max(height, width)
        self.factor = math.ceil(_SMALLEST_LONG_SIDE / long_side)
        size = (width * self.factor, height * self.factor)
        self.picture = Image.fromarray(image).resize(size, Image.Resampling.NEAREST)
        self.line = max(2.0, long_side * self.factor / 500)
        self.font = typeface(max(12, round(long_side * self.factor / 80)))
        self._labels: list[tuple[float, float, float, float]] = []
        self._outlined: list[tuple[float, float, float, float]] = []

    def outline(self, polygon: np.ndarray, stroke: Stroke) -> None:
        """Draws the closed outline of `polygon` (P, 2) over a dark casing that keeps it visible on any ground."""
        corners = self._corners(polygon)
        bounds = (*corners.min(axis=0), *corners.max(axis=0))
        self._outlined.append(bounds)
        # A word of a few pixels would vanish under a line made for the whole picture.
        short_side = min(bounds[2] - bounds[0], bounds[3] - bounds[1])
        width = stroke.width * self.line * min(1.0, max(0.6, short_side / (12 * self.line)))
        lines = _dashes(corners, [length * width for length in stroke.dashes])
        casing = [_extended(line, width / 2) for line in lines] if stroke.dashes else lines
        self._paint(casing, 1.9 * width, "black", opacity=0.55)
        self._paint(lines, width, stroke.colour, opacity=1.0)

    def path(self, points: np.ndarray, stroke: Stroke, opacity: float = 1.0) -> None:
        """Draws the open line through `points` (P, 2) over a dark casing; `opacity` is that of both."""
        corners, width = self._corners(points), stroke.width * self.line
        lines = _dashes(corners, [length * width for length in stroke.dashes], closed=False)
        self._paint(lines, 1.9 * width, "black", 0.55 * opacity)
        self._paint(lines, width, stroke.colour, opacity)

    def fill(self, polygon: np.ndarray, colour: str, opacity: float, hatched: bool = False) -> None:
        """Tints the inside of `polygon` (P, 2), evenly or in diagonal stripes."""
        corners = self._corners(polygon)
        mask, corner = self._mask([corners], 0.0, filled=True)
        if mask is None:
            return
        if hatched:
            rows, columns = np.ogrid[: mask.height, : mask.width]
            period = max(6.0, 4 * self.line)
            stripes = (rows + columns + sum(corner)) % period < period / 3
            mask = Image.fromarray(np.asarray(mask) * stripes)
        self.picture.paste(colour, corner, mask.point(lambda value: value * opacity))

    def tint(self, mask: np.ndarray, colour: str, opacity: float) -> None:
        """Tints the pixels of `mask` (H, W) bool. Raises ValueError if it is not as large as the picture."""
        width, height = self.picture.size
        if (mask.shape[0] * self.factor, mask.shape[1] * self.factor) != (height, width):
            expected = (height // self.factor, width // self.factor)
            raise ValueError(f"a mask must be as large as its picture, found {mask.shape}, expected {expected}")
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if not len(rows):
            return
        inside = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        level = Image.fromarray(inside.astype(np.uint8) * round(255 * opacity))
        level = level.resize((level.width * self.factor, level.height * self.factor), Image.Resampling.NEAREST)
        self.picture.paste(colour, (int(columns[0]) * self.factor, int(rows[0]) * self.factor), level)

    def label(self, text: str, polygon: np.ndarray, colour: str) -> None:
        """Writes `text` beside `polygon` (P, 2): above, below, right or left.

        It avoids other labels and, where it can, the outlines drawn so far. In a crowd without a place free of labels
        it is left out: a picture of overprinted numbers tells nobody anything.
        """
        text = printable(text)
        corners = self._corners(polygon)
        (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
        margin = self.line
        x1, y1, x2, y2 = self.font.getbbox(text)
        width, height = x2 - x1 + 2 * margin, y2 - y1 + 2 * margin
        gap = 1.5 * self.line
        # Above a tilted outline the label is at its highest corner, below at its lowest: nobody asks whose it is.
        above, below = (
            max(min(corners[corner, 0] - width / 2, right - width), left)
            for corner in (corners[:, 1].argmin(), corners[:, 1].argmax())
        )
        places = []
        for x, y in ((above, top - height - gap), (below, bottom + gap), (right + gap, top), (left - width - gap, top)):
            x = max(min(x, self.picture.width - width), 0.0)
            y = max(min(y, self.picture.height - height), 0.0)
            place = (x, y, x + width, y + height)
            if not any(_overlap(place, taken) for taken in self._labels):
                places.append(place)
        if not places:
            return
        place = min(places, key=lambda place: sum(_overlap(place, bounds) for bounds in self._outlined))
        x, y = place[:2]
        self._labels.append(place)
        draw = ImageDraw.Draw(self.picture)
        draw.rectangle(place, fill=colour)
        draw.text((x + margin - x1, y + margin - y1), text, fill=_ink(colour), font=self.font)

    def with_legend(self, entries: Sequence[tuple[Stroke, str]]) -> Image.Image:
        """The picture with a strip below it that shows each stroke and says what it means."""
        row = round(self.font.size * 1.8)
        sample = 3 * self.font.size
        widths = [sample + self.font.getlength(text) + 2.5 * self.font.size for _, text in entries]
        width = max(self.picture.width, math.ceil(max(widths)))
        places, x, y = [], 0.0, 0
        for entry_width in widths:
            if x > 0 and x + entry_width > width:
                x, y = 0.0, y + row
            places.append((x, y))
            x += entry_width
        strip = Image.new("RGB", (width, y + row), _STRIP)
        draw = ImageDraw.Draw(strip)
        for (stroke, text), (x, y) in zip(entries, places, strict=True):
            middle, start = y + row / 2, x + 0.7 * self.font.size
            line = np.array([[start, middle], [start + sample, middle]])
            lengths = [length * self.line * stroke.width for length in stroke.dashes]
            for dash in _dashes(line, lengths, closed=False):
                flat = [tuple(point) for point in dash]
                draw.line(flat, fill=stroke.colour, width=max(2, round(1.3 * self.line * stroke.width)))
            draw.text((start + sample + 0.5 * self.font.size, middle), text, "white", self.font, anchor="lm")
        sheet = Image.new("RGB", (width, self.picture.height + strip.height), _STRIP)
        sheet.paste(self.picture, (0, 0))
        sheet.paste(strip, (0, self.picture.height))
        return sheet

    def _corners(self, polygon: np.ndarray) -> np.ndarray:
        corners = np.asarray(polygon, dtype=np.float64)
        if corners.ndim != 2 or corners.shape[1] != 2 or len(corners) < 2 or not np.isfinite(corners).all():
            raise ValueError(f"a polygon must be (P, 2) finite coordinates, found {corners.shape}: {corners.tolist()}")
        # A wild coordinate would become a billion dashes; one picture's size beyond the border nobody sees it.
        size = np.array(self.picture.size)
        return np.clip(corners * self.factor, -size, 2 * size)

    def _paint(self, lines: list[np.ndarray], width: float, colour: str, opacity: float) -> None:
        mask, corner = self._mask(lines, width, filled=False)
        if mask is not None:
            self.picture.paste(colour, corner, mask.point(lambda value: value * opacity))

    def _mask(self, lines: list[np.ndarray], width: float, filled: bool) -> tuple[Image.Image | None, tuple[int, int]]:
        """Grey levels of lines `width` wide, or of the polygons they enclose, and the top left corner they are for."""
        points = np.concatenate(lines)
        first = np.maximum(np.floor(points.min(axis=0) - width), 0).astype(int)
        last = np.minimum(np.ceil(points.max(axis=0) + width) + 1, self.picture.size).astype(int)
        size = last - first
        if (size <= 0).any():
            return None, (0, 0)
        enlarged = next((e for e in (4, 2) if size.prod() * e * e <= _MASK_PIXELS), 1)
        mask = Image.new("L", tuple(int(side) * enlarged for side in size))
        draw = ImageDraw.Draw(mask)
        for line in lines:
            flat = [tuple(point) for point in (line - first) * enlarged]
            if filled:
                draw.polygon(flat, fill=255)
            else:
                draw.line(flat, fill=255, width=max(1, round(width * enlarged)), joint="curve")
        return mask.reduce(enlarged), (int(first[0]), int(first[1]))


def printable(text: str) -> str:
    """`text` on one line: control characters become spaces, and what is longer than 40 characters is cut."""
    text = "".join(character if character.isprintable() else " " for character in text)
    return text if len(text) <= _LONGEST_LABEL else text[: _LONGEST_LABEL - 1] + "…"


@lru_cache(maxsize=8)
def typeface(size: int) -> ImageFont.FreeTypeFont:
    """The font of all labels, `size` pixels high."""
    # matplotlib ships it, and it knows the accents and currency signs that transcriptions contain.
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size)


def _ink(colour: str) -> str:
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 110 else "white"


def _dashes(corners: np.ndarray, lengths: list[float], closed: bool = True) -> list[np.ndarray]:
    """The outline as one line that overlaps its own start, or cut into dashes that go round corners."""
    if closed:
        corners = np.concatenate([corners, corners[:1]])
    if not lengths:
        # The second corner again: the join at the first one is drawn like the others.
        return [np.concatenate([corners, corners[1:2]]) if closed else corners]
    steps = np.hypot(*np.diff(corners, axis=0).T)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    dash, gap = lengths
    starts = np.arange(0.0, max(along[-1], 1e-9), dash + gap)
    lines = []
    for start in starts:
        stop = min(start + dash, along[-1])
        inner = along[(along > start) & (along < stop)]
        stations = np.concatenate([[start], inner, [stop]])
        lines.append(np.stack([np.interp(stations, along, corners[:, axis]) for axis in (0, 1)], axis=1))
    return lines


def _extended(line: np.ndarray, by: float) -> np.ndarray:
    """`line` made longer at both ends, so that a dash's casing surrounds it."""
    line = line.copy()
    for end, neighbour in ((0, 1), (-1, -2)):
        step = line[end] - line[neighbour]
        line[end] += step * by / max(float(np.hypot(*step)), 1e-9)
    return line


def _overlap(place: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return place[0] < other[2] and other[0] < place[2] and place[1] < other[3] and other[1] < place[3]
