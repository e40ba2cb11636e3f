"""Things in a picture that are not text, some of which a detector takes for it: bars, grids, leaves, signs."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from PIL import Image, ImageDraw

from maskrcnn.data.rendered_background import random_color

CLUTTER_KINDS = (
    "rectangle",
    "ellipse",
    "polygon",
    "line",
    "ring",
    "arrow",
    "cross",
    "star",
    "grating",
    "lattice",
    "dots",
    "leaves",
    "waves",
)
"""Gratings, lattices, leaves and waves have strokes as wide as those of letters."""

_SIDE = 160
"""Shapes are drawn once at this size and transformed when they are used."""
_VARIANTS = 24


def draw_clutter(rng: np.random.Generator, picture: Image.Image, kind: str) -> None:
    """Draws one of `CLUTTER_KINDS` somewhere on the picture, stretched and turned, at times partly outside."""
    shape = _shape(kind, int(rng.integers(_VARIANTS)))
    side = min(picture.size) * 2.0 ** rng.uniform(-4, -1)
    wide, tall = side * 2.0 ** rng.uniform(-0.8, 0.8, 2)
    angle = rng.uniform(-math.pi / 2, math.pi / 2) if rng.random() < 0.6 else 0.0
    sine, cosine = math.sin(angle), math.cos(angle)
    width = math.ceil(abs(wide * cosine) + abs(tall * sine))
    height = math.ceil(abs(wide * sine) + abs(tall * cosine))
    # Edges as soft as those of text, or sharpness alone would give text away: reduce first where much is lost.
    shrink = max(1, int(_SIDE / max(wide, tall)))
    if shrink > 1:
        shape = shape.reduce(shrink)
    across = np.array([cosine, sine]) * shape.width / wide
    down = np.array([-sine, cosine]) * shape.height / tall
    middle = np.array([width, height]) / 2
    to_shape = (*across, shape.width / 2 - across @ middle, *down, shape.height / 2 - down @ middle)
    mask = shape.transform((width, height), Image.Transform.AFFINE, to_shape, Image.Resampling.BILINEAR)
    if rng.random() < 0.4:
        mask = Image.blend(Image.new("L", mask.size), mask, rng.uniform(0.3, 1))
    x = int(rng.uniform(-0.5 * width, picture.width - 0.5 * width))
    y = int(rng.uniform(-0.5 * height, picture.height - 0.5 * height))
    picture.paste(random_color(rng), (x, y), mask)


@cache
def _shape(kind: str, variant: int) -> Image.Image:
    """One variant of a kind of clutter as a mask (mode L) of `_SIDE` pixels, with an empty border."""
    rng = np.random.default_rng([CLUTTER_KINDS.index(kind), variant])
    large = Image.new("L", (2 * _SIDE, 2 * _SIDE))
    _draw_shape(rng, ImageDraw.Draw(large), kind, 2 * _SIDE)
    shape = large.reduce(2)
    ImageDraw.Draw(shape).rectangle((0, 0, _SIDE - 1, _SIDE - 1), outline=0)
    return shape


def _draw_shape(rng: np.random.Generator, pen: ImageDraw.ImageDraw, kind: str, side: int) -> None:
    """Draws a kind of clutter in white on a black square mask."""
    stroke = int(rng.integers(6, 32))
    box = (2, 2, side - 3, side - 3)

    def scattered(points: int) -> list[float]:
        return (rng.random((points, 2)) * side).ravel().tolist()

    if kind == "rectangle":
        pen.rounded_rectangle(box, radius=rng.uniform(0, 0.3) * side, fill=255)
    elif kind == "ellipse":
        pen.ellipse(box, fill=255)
    elif kind == "polygon":
        pen.polygon(scattered(int(rng.integers(3, 7))), fill=255)
    elif kind == "line":
        pen.line(scattered(int(rng.integers(2, 5))), fill=255, width=stroke)
    elif kind == "ring":
        pen.ellipse(box, outline=255, width=stroke)
    elif kind == "arrow":
        corners = [(0, 0.3), (0.6, 0.3), (0.6, 0), (1, 0.5), (0.6, 1), (0.6, 0.7), (0, 0.7)]
        pen.polygon([(x * side, y * side) for x, y in corners], fill=255)
    elif kind == "cross":
        pen.line((0, 0, side, side), fill=255, width=stroke)
        pen.line((0, side, side, 0), fill=255, width=stroke)
    elif kind == "star":
        points = int(rng.integers(4, 9))
        turns = np.arange(2 * points)
        reach = np.where(turns % 2, rng.uniform(0.3, 0.7), 1.0) * side / 2
        x, y = (side / 2 + reach * wave(turns * math.pi / points) for wave in (np.cos, np.sin))
        pen.polygon(np.stack([x, y], axis=1).ravel().tolist(), fill=255)
    elif kind in ("grating", "lattice"):
        step = stroke * rng.uniform(1.6, 3.5)
        for x in np.arange(0, side, step).tolist():
            pen.line((x, 0, x, side), fill=255, width=stroke)
        if kind == "lattice":
            for y in np.arange(0, side, step * rng.uniform(0.7, 2.5)).tolist():
                pen.line((0, y, side, y), fill=255, width=max(2, int(stroke * rng.uniform(0.5, 1))))
    elif kind == "dots":
        step = stroke * rng.uniform(1.5, 3)
        for y in np.arange(0, side, step).tolist():
            for x in np.arange(0, side, step).tolist():
                pen.ellipse((x, y, x + stroke, y + stroke), fill=255)
    elif kind == "leaves":
        for x, y, a, b in rng.random((int(rng.integers(20, 70)), 4)).tolist():
            x, y = x * side, y * side
            pen.ellipse((x, y, x + stroke * (0.3 + a), y + stroke * (0.3 + b)), fill=255)
    else:
        x = np.linspace(0, side, 64)
        step = stroke * rng.uniform(2, 4)
        rise = 0.4 * step * np.sin(x * rng.uniform(4, 30) / side)
        for y in np.arange(0, side, step).tolist():
            pen.line(np.stack([x, y + rise], axis=1).ravel().tolist(), fill=255, width=stroke)
