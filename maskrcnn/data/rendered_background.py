"""Scenes without text: what photographs have behind words, made from noise, gradients and texture."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from PIL import Image, ImageChops, ImageDraw


def random_color(rng: np.random.Generator, low: float = 0.0, high: float = 255.0) -> tuple[int, int, int]:
    """A colour whose mean level lies between low and high; most are muted, as in photographs, and some are not."""
    level, hue, vivid = rng.random(3)
    level = low + level * (high - low)
    spread = 20 + 160 * vivid**4
    return tuple(
        min(255, max(0, int(level + spread * math.cos(6.2832 * (hue + third))))) for third in (0, 1 / 3, 2 / 3)
    )


_FIELD_SIDE = 768


@cache
def _noise_field(roughness: int) -> Image.Image:
    """(768, 768) fractal noise, mode F, mean 0 and deviation near 1; `roughness` 0 (smooth) to 3."""
    # Made once, of octaves that are each twice as fine and weaker; a random part at a random zoom is as good as new.
    rng = np.random.default_rng(roughness)
    fall = (0.45, 0.55, 0.65, 0.8)[roughness]
    total = np.zeros((_FIELD_SIDE, _FIELD_SIDE), np.float32)
    weight = power = 1.0
    cells = 6
    while cells <= _FIELD_SIDE:
        octave = Image.fromarray(rng.standard_normal((cells, cells), np.float32))
        total += weight * np.asarray(octave.resize((_FIELD_SIDE, _FIELD_SIDE), Image.Resampling.BICUBIC))
        power += weight**2
        weight *= fall
        cells *= 2
    return Image.fromarray(total * np.float32(1.6 / math.sqrt(power)))


def fractal_noise(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """(height, width) float32 of mean 0 and deviation near 1: stone, clouds, foliage; brushed or grained at times."""
    field = _noise_field(int(rng.integers(4)))
    zoom = rng.uniform(0.25, 1.0)
    squeeze = 2.0 ** rng.uniform(-3, 3) if rng.random() < 0.4 else 1.0
    across = _FIELD_SIDE * zoom * min(1.0, squeeze)
    down = _FIELD_SIDE * zoom * min(1.0, 1 / squeeze)
    x, y = rng.random(2) * (_FIELD_SIDE - across, _FIELD_SIDE - down)
    part = field.resize((width, height), Image.Resampling.BILINEAR, (x, y, x + across, y + down))
    return np.asarray(part)


def draw_background(rng: np.random.Generator, height: int, width: int) -> Image.Image:
    """An RGB picture without text or objects."""
    # Half size, then enlarged: cameras do not resolve single pixels either, and it is four times less work.
    rows, columns = (height + 1) // 2, (width + 1) // 2
    noise = fractal_noise(rng, rows, columns)
    kind = rng.random()
    if kind < 0.35:
        picture = _clouds(rng, noise)
    elif kind < 0.75:
        picture = _shade(_facade(rng, 2 * rows, 2 * columns).reduce(2), noise, rng.uniform(3, 16))
    else:
        picture = _shade(_tiles(rng, 2 * rows, 2 * columns).reduce(2), noise, rng.uniform(3, 16))
    return picture.resize((width, height), Image.Resampling.BILINEAR)


def _clouds(rng: np.random.Generator, noise: np.ndarray) -> Image.Image:
    """Noise (H, W) as a walk through a few colours: sky, stone, cloth, foliage out of focus."""
    stops = np.array([random_color(rng, 20, 235) for _ in range(int(rng.integers(2, 5)))], float)
    levels = np.linspace(0, 255, len(stops))
    palette = np.stack([np.interp(np.arange(256), levels, stops[:, channel]) for channel in range(3)], axis=1)
    index = np.clip(128 + rng.uniform(20, 70) * noise, 0, 255).astype(np.uint8)
    return Image.fromarray(palette.astype(np.uint8)[index])


def _facade(rng: np.random.Generator, rows: int, columns: int) -> Image.Image:
    """Areas that share edges, drawn slanted, as on buildings, shelves and rooms."""
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
    slant, lean = rng.uniform(-0.4, 0.4, 2)
    for x1, y1, x2, y2 in areas:
        # Lines across meet at a vanishing point, lines down all lean alike.
        corners = [
            (x + lean * (y - rows / 2), y + 2 * slant * (x - columns / 2) * (y / rows - 0.4))
            for x, y in ((x1, y1), (x2, y1), (x2, y2), (x1, y2))
        ]
        pen.polygon(corners, fill=random_color(rng), outline=random_color(rng) if rng.random() < 0.3 else None)
    return picture


def _tiles(rng: np.random.Generator, rows: int, columns: int) -> Image.Image:
    """Bricks, planks or tiles."""
    face = random_color(rng, 30, 225)
    joint_level = rng.uniform(0.5, 0.95)
    picture = Image.new("RGB", (columns, rows), tuple(int(value * joint_level) for value in face))
    pen = ImageDraw.Draw(picture)
    tall = rng.uniform(12, 60)
    wide = tall * rng.uniform(0.8, 6)
    joint = rng.uniform(1, 4)
    offset = wide / 2 if rng.random() < 0.5 else 0.0
    variety = rng.uniform(0, 25)
    for row in range(int(rows / tall) + 2):
        y = (row - 1 + rng.random() * 0.02) * tall
        for column in range(int(columns / wide) + 2):
            x = (column - 1) * wide + row % 2 * offset
            change = int(variety * (rng.random() - 0.5))
            color = tuple(value + change for value in face)
            pen.rectangle((x + joint, y + joint, x + wide, y + tall), fill=color)
    return picture


def _shade(picture: Image.Image, noise: np.ndarray, strength: float) -> Image.Image:
    """The picture with noise (H, W) added to all channels, `strength` grey levels strong."""
    shade = Image.fromarray(np.clip(128 + strength * noise, 0, 255).astype(np.uint8))
    return ImageChops.add(picture, Image.merge("RGB", (shade, shade, shade)), offset=-128)
