"""Ink on a picture: plates, colours with a chosen contrast, outlines, shadows, and words spoilt beyond reading."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from maskrcnn.data.rendered_background import random_color
from maskrcnn.data.rendered_layout import Block

_LUMINANCE = np.array([0.299, 0.587, 0.114])  # as Pillow's mode L


def draw_block(rng: np.random.Generator, picture: Image.Image, block: Block, light: float) -> None:
    """Draws a plate if there is one, then the ink of all words of a block."""
    style = block.style
    # Room for what spreads beyond the sheet: blur, outline, shadow.
    room = 2 + math.ceil(0.35 * block.height) if style.blur or style.decoration != "plain" else 2
    low = np.maximum(np.floor(block.outline.min(axis=0)).astype(int) - room, 0)
    high = np.minimum(np.ceil(block.outline.max(axis=0)).astype(int) + room, picture.size)
    window = (*low.tolist(), *high.tolist())
    behind = picture.crop(window)
    grey = np.asarray(behind.convert("L"))
    level, texture = float(grey.mean()), float(grey.std())
    if style.plate or (style.low_contrast and texture > 10):  # low contrast on texture would be no contrast
        plate = random_color(rng, 25, 230)
        mask = Image.new("L", behind.size)
        ImageDraw.Draw(mask).polygon((block.outline - low).ravel().tolist(), fill=255)
        behind.paste(plate, (0, 0), mask.filter(ImageFilter.BoxBlur(0.5)))
        level, texture = float(_LUMINANCE @ plate), 0.0
    # Thin strokes and poor light take contrast away, which is made up for; and ink must stand out from texture.
    contrast = abs(style.contrast) * (1 + 6 / block.height) / min(light, 1.0)
    if not style.low_contrast:
        contrast = max(contrast, 2 * texture)
    color = _ink_color(rng, level, math.copysign(contrast, style.contrast), style.low_contrast)
    ink = _ink(rng, block, window)
    size = max(1.0, 0.06 * block.height)
    if style.decoration == "outline":
        behind.paste(_opposite(rng, color), (0, 0), _widened(ink, size))
    elif style.decoration == "glow":
        behind.paste(_opposite(rng, color), (0, 0), _widened(ink, 3 * size))
    elif style.decoration == "shadow":
        dx, dy = (int(value) for value in np.rint(size * rng.uniform(-1.8, 1.8, 2)))
        shadow = ImageChops.offset(ink, dx, dy).filter(ImageFilter.BoxBlur(rng.uniform(0, size)))
        behind.paste(random_color(rng, 0, 40), (0, 0), Image.blend(Image.new("L", ink.size), shadow, 0.7))
    if style.decoration == "gradient":
        behind.paste(_ramp(rng, color, behind.size), (0, 0), ink)
    else:
        behind.paste(color, (0, 0), ink)
    picture.paste(behind, window[:2])


def _ink(rng: np.random.Generator, block: Block, window: tuple[int, int, int, int]) -> Image.Image:
    """How much ink covers each pixel of a window of the picture, mode L."""
    sheet_height = float(np.mean(block.sheet.boxes[:, 3] - block.sheet.boxes[:, 1]))
    shrink = max(1, int(sheet_height / block.height))
    sheet = block.sheet.reduced(shrink)
    if block.style.damage == "scrambled":
        sheet = _scrambled(rng, sheet, block.sheet.boxes / shrink)
    ink = block.surface.photograph(sheet, shrink, window)
    if block.style.blur:
        ink = ink.filter(ImageFilter.GaussianBlur(max(0.7, block.style.blur * block.height)))
    return ink


def _scrambled(rng: np.random.Generator, sheet: Image.Image, boxes: np.ndarray) -> Image.Image:
    """The sheet with the ink in each box (N, 4) cut into squares that are turned over and moved along their rows."""
    ink = np.array(sheet)
    for x1, y1, x2, y2 in boxes.astype(int):
        side = max(2, (y2 - y1) // 4)
        rows, columns = (y2 - y1) // side, (x2 - x1) // side
        word = ink[y1 : y1 + rows * side, x1 : x1 + columns * side]
        squares = word.reshape(rows, side, columns, side).swapaxes(1, 2)
        moved = np.stack([rng.permutation(row) for row in squares])[:, :, ::-1]
        word[...] = moved.swapaxes(1, 2).reshape(word.shape)
    return Image.fromarray(ink)


def _widened(ink: Image.Image, radius: float) -> Image.Image:
    """Ink that reaches about `radius` pixels further, with a soft end."""
    wide = ink.filter(ImageFilter.BoxBlur(radius))
    return ImageChops.add(wide, wide, scale=0.4)


def _opposite(rng: np.random.Generator, color: tuple[int, int, int]) -> tuple[int, int, int]:
    """A dark colour for light ink, a light one for dark ink."""
    return random_color(rng, 0, 60) if sum(color) > 380 else random_color(rng, 195, 255)


def _ramp(rng: np.random.Generator, color: tuple[int, int, int], size: tuple[int, int]) -> Image.Image:
    """A picture that goes from one colour to a neighbouring one, in one of four directions."""
    ends = np.clip(np.array(color) + rng.uniform(-60, 60, (2, 3)), 0, 255).astype(np.uint8)
    shape = (1, 2, 3) if rng.random() < 0.5 else (2, 1, 3)
    return Image.fromarray(ends.reshape(shape)).resize(size, Image.Resampling.BILINEAR)


def _ink_color(rng: np.random.Generator, level: float, contrast: float, muted: bool) -> tuple[int, int, int]:
    """A colour whose grey level is `contrast` from that of what is behind; on its other side where there is no room."""
    if not 0 <= level + contrast <= 255 and (level > 127) == (contrast > 0):
        contrast = -contrast
    wanted = min(max(level + contrast, 0.0), 255.0)
    color = np.full(3, wanted) + rng.uniform(-12, 12, 3) if muted else np.array(random_color(rng), float)
    for _ in range(3):  # a colour that is cut off at 0 or 255 has moved less than it should
        color = np.clip(color + (wanted - color @ _LUMINANCE), 0, 255)
    return tuple(int(channel) for channel in color)
