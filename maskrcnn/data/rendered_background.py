"""Scenes without text: what photographs have behind words, made from noise, gradients and texture, and clutter."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageChops, ImageDraw

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
"""Things that are not text; gratings, lattices and leaves have strokes as wide as those of letters."""


def random_color(rng: np.random.Generator, low: float = 0.0, high: float = 255.0) -> tuple[int, int, int]:
    """A colour whose mean level lies between low and high; most are muted, as in photographs."""
    hue, saturation = rng.random(2)
    level = rng.uniform(low, high)
    spread = 160.0 * saturation**2
    angles = 2 * math.pi * (hue + np.array([0.0, 1 / 3, 2 / 3]))
    return tuple(np.clip(level + spread * np.cos(angles), 0, 255).astype(int).tolist())


def fractal_noise(rng: np.random.Generator, height: int, width: int, finest: int = 64) -> np.ndarray:
    """(height, width) float32 of mean 0 and deviation near 1: octaves of smooth noise, each twice as fine."""
    fall = rng.uniform(0.45, 0.85)
    along = 2.0 ** rng.uniform(-2, 2) if rng.random() < 0.4 else 1.0  # brushed, wood-like
    total = np.zeros((height, width), np.float32)
    weight = power = 1.0
    cells = 2
    while cells <= finest:
        rows = max(2, round(cells * along))
        columns = max(2, round(cells / along))
        octave = Image.fromarray(rng.standard_normal((rows, columns), np.float32))
        total += weight * np.asarray(octave.resize((width, height), Image.Resampling.BILINEAR))
        power += weight**2
        weight *= fall
        cells *= 2
    return total * (1.6 / math.sqrt(power))


def draw_background(rng: np.random.Generator, height: int, width: int) -> Image.Image:
    """An RGB picture without text or objects."""
    # Half size, then enlarged: cameras do not resolve single pixels either, and it is four times less work.
    rows, columns = (height + 1) // 2, (width + 1) // 2
    noise = fractal_noise(rng, rows, columns)
    kind = rng.random()
    if kind < 0.35:
        picture = _clouds(rng, noise)
    elif kind < 0.75:
        picture = _shade(_facade(rng, rows, columns), noise, rng.uniform(3, 16))
    else:
        picture = _shade(_tiles(rng, rows, columns), noise, rng.uniform(3, 16))
    return picture.resize((width, height), Image.Resampling.BILINEAR)


def _clouds(rng: np.random.Generator, noise: np.ndarray) -> Image.Image:
    """Noise (H, W) as a walk through a few colours: sky, stone, cloth, foliage out of focus."""
    stops = [random_color(rng, 20, 235) for _ in range(int(rng.integers(2, 5)))]
    levels = np.linspace(0, 255, len(stops))
    palette = np.stack([np.interp(np.arange(256), levels, [stop[c] for stop in stops]) for c in range(3)], axis=1)
    index = np.clip(128 + rng.uniform(20, 70) * noise, 0, 255).astype(np.uint8)
    picture = Image.fromarray(index)
    return Image.merge("RGB", [picture.point(palette[:, c].astype(np.uint8).tolist()) for c in range(3)])


def _facade(rng: np.random.Generator, rows: int, columns: int) -> Image.Image:
    """Rectangles that share edges and vanishing points, as on buildings, shelves and rooms."""
    picture = Image.new("RGB", (columns, rows), random_color(rng))
    pen = ImageDraw.Draw(picture)
    areas = [(-0.3 * columns, -0.3 * rows, 1.3 * columns, 1.3 * rows)]
    for _ in range(int(rng.integers(2, 9))):
        x1, y1, x2, y2 = areas.pop(int(rng.integers(len(areas))))
        cut = rng.uniform(0.2, 0.8)
        if (x2 - x1) * rng.uniform(0.5, 2) > y2 - y1:
            x = x1 + cut * (x2 - x1)
            areas += [(x1, y1, x, y2), (x, y1, x2, y2)]
        else:
            y = y1 + cut * (y2 - y1)
            areas += [(x1, y1, x2, y), (x1, y, x2, y2)]
    slant, lean = rng.uniform(-0.3, 0.3, 2)
    for x1, y1, x2, y2 in areas:
        corners = [(x, y) for x, y in ((x1, y1), (x2, y1), (x2, y2), (x1, y2))]
        corners = [
            (x + lean * (y - rows / 2), y + slant * (x - columns / 2) * (y / rows - 0.4) * 2) for x, y in corners
        ]
        pen.polygon(corners, fill=random_color(rng), outline=random_color(rng) if rng.random() < 0.3 else None)
    return picture


def _tiles(rng: np.random.Generator, rows: int, columns: int) -> Image.Image:
    """Bricks, planks or tiles."""
    face = random_color(rng, 30, 225)
    picture = Image.new("RGB", (columns, rows), tuple(int(v * rng.uniform(0.5, 0.95)) for v in face))
    pen = ImageDraw.Draw(picture)
    tall = rng.uniform(4, 28)
    wide = tall * rng.uniform(0.8, 6)
    joint = rng.uniform(0.5, 2)
    offset = rng.choice((0.0, 0.5)) * wide
    variety = rng.uniform(0, 25)
    row = 0
    y = -rng.uniform(0, tall)
    while y < rows:
        x = -rng.uniform(0, 0.2) * wide - wide + (row % 2) * offset
        while x < columns:
            change = int(rng.uniform(-variety, variety))
            pen.rectangle((x + joint, y + joint, x + wide, y + tall), fill=tuple(v + change for v in face))
            x += wide
        y += tall
        row += 1
    return picture


def _shade(picture: Image.Image, noise: np.ndarray, strength: float) -> Image.Image:
    """The picture with noise (H, W) of mean 0 added to all channels, `strength` grey levels."""
    shade = Image.fromarray(np.clip(128 + strength * noise, 0, 255).astype(np.uint8))
    return ImageChops.add(picture, Image.merge("RGB", (shade, shade, shade)), offset=-128)


def draw_clutter(rng: np.random.Generator, picture: Image.Image, kind: str) -> None:
    """Draws one of `CLUTTER_KINDS` somewhere on the picture, partly outside at times."""
    side = int(min(picture.size) * 2 ** rng.uniform(-4, -0.7))
    wide = max(6, int(side * rng.uniform(0.5, 2)))
    tall = max(6, int(side * rng.uniform(0.5, 2)))
    # Twice the size, then reduced: edges as soft as those of text, or sharpness alone would give text away.
    mask = Image.new("L", (2 * wide, 2 * tall))
    _draw_shape(rng, ImageDraw.Draw(mask), kind, 2 * wide, 2 * tall)
    if rng.random() < 0.7:
        mask = mask.rotate(rng.uniform(-90, 90), Image.Resampling.BILINEAR, expand=True)
    mask = mask.reduce(2)
    if rng.random() < 0.4:
        opacity = rng.uniform(0.3, 1)
        mask = mask.point([int(value * opacity) for value in range(256)])
    x = int(rng.uniform(-0.5 * mask.width, picture.width - 0.5 * mask.width))
    y = int(rng.uniform(-0.5 * mask.height, picture.height - 0.5 * mask.height))
    picture.paste(random_color(rng), (x, y), mask)


def _draw_shape(rng: np.random.Generator, pen: ImageDraw.ImageDraw, kind: str, wide: int, tall: int) -> None:
    """One kind of clutter, white on a black mask of wide x tall pixels."""
    stroke = int(rng.integers(2, 12))
    box = (0, 0, wide - 1, tall - 1)
    if kind == "rectangle":
        pen.rounded_rectangle(box, radius=rng.uniform(0, 0.3) * min(wide, tall), fill=255)
    elif kind == "ellipse":
        pen.ellipse(box, fill=255)
    elif kind == "polygon":
        pen.polygon((rng.random((int(rng.integers(3, 7)), 2)) * (wide, tall)).ravel().tolist(), fill=255)
    elif kind == "line":
        pen.line((rng.random((int(rng.integers(2, 5)), 2)) * (wide, tall)).ravel().tolist(), fill=255, width=stroke)
    elif kind == "ring":
        pen.ellipse(box, outline=255, width=stroke)
    elif kind == "arrow":
        pen.polygon([(0, 0.3 * tall), (0.6 * wide, 0.3 * tall), (0.6 * wide, 0), (wide, 0.5 * tall),
                     (0.6 * wide, tall), (0.6 * wide, 0.7 * tall), (0, 0.7 * tall)], fill=255)  # fmt: skip
    elif kind == "cross":
        pen.line((0, 0, wide, tall), fill=255, width=stroke)
        pen.line((0, tall, wide, 0), fill=255, width=stroke)
    elif kind == "star":
        points = int(rng.integers(4, 9))
        angles = np.arange(2 * points) * math.pi / points
        reach = np.where(np.arange(2 * points) % 2, rng.uniform(0.3, 0.7), 1.0) / 2
        corners = (0.5 + reach[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)) * (wide, tall)
        pen.polygon(corners.ravel().tolist(), fill=255)
    elif kind in ("grating", "lattice"):
        step = stroke * rng.uniform(1.6, 3.5) + 1
        for x in np.arange(0, wide, step).tolist():
            pen.line((x, 0, x, tall), fill=255, width=stroke)
        if kind == "lattice":
            for y in np.arange(0, tall, step * rng.uniform(0.7, 2.5)).tolist():
                pen.line((0, y, wide, y), fill=255, width=stroke)
    elif kind == "dots":
        step = stroke * rng.uniform(2.5, 5)
        for y in np.arange(0, tall, max(step, tall / 12)).tolist():
            for x in np.arange(0, wide, max(step, wide / 12)).tolist():
                pen.ellipse((x, y, x + 1.5 * stroke, y + 1.5 * stroke), fill=255)
    elif kind == "leaves":
        size = 2 + 2 * stroke
        for x, y, a, b in (rng.random((int(rng.integers(10, 40)), 4)) * (wide, tall, size, size)).tolist():
            pen.ellipse((x, y, x + 2 + a, y + 2 + b), fill=255)
    else:
        x = np.linspace(0, wide, 24)
        step = stroke * rng.uniform(2, 5) + 2
        rise = rng.uniform(0.2, 0.6) * step * np.sin(x * rng.uniform(0.02, 0.15))
        for y in np.arange(0, tall, step).tolist():
            pen.line(np.stack([x, y + rise], 1).ravel().tolist(), fill=255, width=stroke)
