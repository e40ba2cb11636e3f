"""Words and fonts: what is written, and sheets of it, drawn flat and large before a `Surface` puts them in place."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

FONT_SIZE = 64
"""All sheets are set at one size and reduced afterwards, so that each letter of a font is drawn only once."""

FONT_FILES = (
    *(f"DejaVuSans{style}.ttf" for style in ("", "-Bold", "-Oblique", "-BoldOblique")),
    *(f"DejaVuSansMono{style}.ttf" for style in ("", "-Bold", "-Oblique")),
    *(f"DejaVuSerif{style}.ttf" for style in ("", "-Bold", "-Italic", "-BoldItalic")),
    *(f"STIXGeneral{style}.ttf" for style in ("", "Bol", "Italic", "BolIta")),
    *(f"cm{style}10.ttf" for style in ("r", "b", "ss", "ti", "tt")),
)
"""The fonts that ship with matplotlib and hold a whole Latin alphabet (the others are symbols)."""

_SIGNS = """
exit open sale stop shop bank hotel cafe park bus taxi entrance way out no smoking parking push pull lift level ticket
office menu coffee fresh new free sport fashion books water fire danger station road street north south east west left
right keep clear private staff only customer service centre gate platform city market food drink home store super best
price off discount welcome please thank you caution wet floor emergency call police the and for with your our from this
"""
_SYLLABLES = """
a an ar ba be bo ca ce ch co da de di do ed el en er es fa fi fo ga ge gi gr ha he hi ho il in ing is ja ke ki la le li
lo ma me mi mo na ne ni no ol on or ou pa pe pi pl po pr qu ra re ri ro sa se sh si so st ta te th ti to tr u un ur va
ve vi wa we wi xe ya zo
"""
_SIGN_WORDS = tuple(_SIGNS.split())
_WORD_PARTS = tuple(_SYLLABLES.split())
_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


@dataclass(frozen=True)
class Glyph:
    """One letter cropped to its ink, in pixels relative to the pen at the top of the line."""

    ink: np.ndarray | None
    """(H, W) uint8; None for a space."""
    left: int
    top: int
    advance: int
    """How far the pen moves on."""


@cache
def _load_font(file: str) -> ImageFont.FreeTypeFont:
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / file
    return ImageFont.truetype(path, FONT_SIZE, layout_engine=ImageFont.Layout.BASIC)


@cache
def glyph(font: str, letter: str) -> Glyph:
    """A letter of one of `FONT_FILES`; kept, because drawing outlines is what rendering text would spend most on."""
    face = _load_font(font)
    # The boxes that a font reports include side bearings, so the ink is measured on the drawing itself.
    room = FONT_SIZE
    canvas = Image.new("L", (3 * room, 3 * room))
    ImageDraw.Draw(canvas).text((room, room), letter, fill=255, font=face)
    box = canvas.getbbox()
    advance = round(face.getlength(letter))
    if box is None:
        return Glyph(None, 0, 0, advance)
    return Glyph(np.array(canvas.crop(box)), box[0] - room, box[1] - room, advance)


def random_word(rng: np.random.Generator, longest: int = 10) -> str:
    """A word off a sign, a made-up word, a number, a price or a code: 2 to `longest` >= 4 characters."""
    kind, case, mark = rng.random(3)
    length = int(min(2 + rng.geometric(0.22), longest))
    if kind < 0.35:
        word = _SIGN_WORDS[rng.integers(len(_SIGN_WORDS))][:longest]
    elif kind < 0.75:
        word = "".join(_WORD_PARTS[int(pick * len(_WORD_PARTS))] for pick in rng.random(length))[:length]
    elif kind < 0.85:
        number = int(10 ** rng.uniform(1, min(length, 5)))
        forms = (f"{number}", f"{number % 100}%", f"${number % 90 + 10}", f"{number % 24:02}:{number % 60:02}")
        return forms[rng.integers(len(forms))][:longest]
    else:
        return "".join(_CHARACTERS[int(pick * len(_CHARACTERS))] for pick in rng.random(length))
    if case < 0.5:
        word = word.upper()
    elif case < 0.8:
        word = word.capitalize()
    if mark < 0.08 and len(word) < longest:
        word += "!?.,:&"[int(mark / 0.08 * 6)]
    return word


@dataclass(frozen=True)
class Sheet:
    """Words set flat in one font, in sheet pixels with the origin at the top left."""

    image: Image.Image
    """The ink, mode L: 0 paper, 255 ink."""
    words: tuple[str, ...]
    boxes: np.ndarray
    """(N, 4) float64: the box x1, y1, x2, y2 that the ink of each word fills exactly."""

    def reduced(self, factor: int) -> Image.Image:
        """The ink averaged over factor x factor pixels; coordinates on it are those of the sheet / factor."""
        return self.image if factor == 1 else self.image.reduce(factor)


def set_sheet(
    lines: list[list[str]],
    font: str,
    *,
    letter_gap: int = 0,
    align: float = 0.0,
    line_gap: int = 20,
    margin: int = 8,
) -> Sheet:
    """Sets lines of words in a font of `FONT_FILES`; gaps and margin in sheet pixels.

    `letter_gap` widens the spaces between letters, `line_gap` is the empty space from the ink of one line to the ink
    of the next, `align` runs from 0 (left) to 1 (right), `margin` surrounds everything. A word may hold spaces.
    """
    word_gap = glyph(font, " ").advance + 2 * letter_gap
    rows = []
    for line in lines:
        x = 0
        row = []
        for word in line:
            ink, rise = _ink_of(font, word, letter_gap)
            row.append((ink, x, rise))
            x += ink.shape[1] + word_gap
        rows.append((row, x - word_gap))
    width = max(length for _, length in rows)
    placed = []
    y = margin
    for row, length in rows:
        left = margin + int(align * (width - length))
        highest = min(rise for _, _, rise in row)
        placed += [(ink, left + x, y + rise - highest) for ink, x, rise in row]
        y += max(rise + ink.shape[0] for ink, _, rise in row) - highest + line_gap
    image = np.zeros((y - line_gap + margin, width + 2 * margin), np.uint8)
    for ink, x, y in placed:
        image[y : y + ink.shape[0], x : x + ink.shape[1]] = ink
    boxes = np.array([(x, y, x + ink.shape[1], y + ink.shape[0]) for ink, x, y in placed], dtype=np.float64)
    return Sheet(Image.fromarray(image), tuple(word for line in lines for word in line), boxes)


def _ink_of(font: str, word: str, letter_gap: int) -> tuple[np.ndarray, int]:
    """A word cropped to its ink (H, W), and how far below the top of the line the ink starts."""
    placed = []
    pen = 0
    for letter in word:
        shape = glyph(font, letter)
        if shape.ink is not None:
            placed.append((shape.ink, pen + shape.left, shape.top))
        pen += shape.advance + letter_gap
    if not placed:
        raise ValueError(f"a word without ink cannot be set: {word!r}")
    left = min(x for _, x, _ in placed)
    top = min(y for _, _, y in placed)
    right = max(x + ink.shape[1] for ink, x, _ in placed)
    bottom = max(y + ink.shape[0] for ink, _, y in placed)
    word_ink = np.zeros((bottom - top, right - left), np.uint8)
    for ink, x, y in placed:
        # Not plain assignment: italic letters reach into each other's boxes.
        area = word_ink[y - top : y - top + ink.shape[0], x - left : x - left + ink.shape[1]]
        np.maximum(area, ink, out=area)
    return word_ink, top
