"""A data set of text that needs no download: each picture is rendered when it is asked for.

The plan of a picture (`rendered_layout`) says what stands where; a background (`rendered_background`), the inked
sheets seen at an angle (`rendered_sheet`, `rendered_surface`) and a camera (`rendered_camera`) make the picture.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageStat

from maskrcnn.data.rendered_background import draw_background, draw_clutter, random_color
from maskrcnn.data.rendered_camera import take_photograph
from maskrcnn.data.rendered_layout import Block, PicturePlan, plan_picture
from maskrcnn.data.rendered_settings import DEMO, SCENE, RenderSettings
from maskrcnn.structures import Sample

__all__ = ["DEMO", "SCENE", "RenderSettings", "RenderedText"]


class RenderedText:
    """`count` pictures of words and curved lines; picture i depends on the seed, the settings and i alone."""

    class_names = ("text",)

    def __init__(self, count: int, seed: int, settings: RenderSettings = DEMO) -> None:
        if count < 0 or seed < 0:
            raise ValueError(f"count and seed: expected 0 or more, found {count}, {seed}")
        self.seed = seed
        self.settings = settings
        self.names = [f"rendered_{index:06}.png" for index in range(count)]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        rng, plan = self._start(index)
        texts = plan.texts
        return Sample(
            name=self.names[index],
            image=draw_picture(rng, plan),
            polygons=tuple(text.polygon for text in texts),
            labels=np.ones(len(texts), np.int64),
            ignore=np.array([text.ignore for text in texts], bool),
            transcriptions=tuple(text.transcription for text in texts),
        )

    def describe(self, index: int) -> PicturePlan:
        """The plan that picture `index` is drawn from: its clutter, and for each annotation its height, rotation,
        perspective and whether it is curved, low in contrast or blurred."""
        return self._start(index)[1]

    def _start(self, index: int) -> tuple[np.random.Generator, PicturePlan]:
        if not 0 <= index < len(self):
            raise IndexError(f"picture {index} of {len(self)}")
        rng = np.random.default_rng([self.seed, index])
        return rng, plan_picture(rng, self.settings)


def draw_picture(rng: np.random.Generator, plan: PicturePlan) -> np.ndarray:
    """(H, W, 3) uint8: a photograph of what was planned. Colours, background and camera are drawn by lot."""
    picture = draw_background(rng, plan.height, plan.width)
    for kind in plan.clutter:
        draw_clutter(rng, picture, kind)
    for block in plan.blocks:
        _draw_block(rng, picture, block)
    return take_photograph(rng, picture, plan.dark)


def _draw_block(rng: np.random.Generator, picture: Image.Image, block: Block) -> None:
    """Draws a plate if there is one, then the ink of all words of a block."""
    style = block.style
    room = 2 + math.ceil(0.35 * block.height)  # for what spreads beyond the sheet: blur, outline, shadow
    low = np.maximum(np.floor(block.outline.min(axis=0)).astype(int) - room, 0)
    high = np.minimum(np.ceil(block.outline.max(axis=0)).astype(int) + room, picture.size)
    window = (*low.tolist(), *high.tolist())
    behind = picture.crop(window)
    if style.plate or style.low_contrast:
        behind = _draw_plate(rng, behind, block.outline - low, style.low_contrast)
    ink = _ink(rng, block, window)
    seen = ImageStat.Stat(behind.convert("L"))
    color = _ink_color(rng, behind, style.contrast, seen.mean[0], seen.stddev[0], style.low_contrast)
    other = random_color(rng, 0, 60) if sum(color) > 380 else random_color(rng, 195, 255)
    size = max(1.0, 0.06 * block.height)
    decoration = style.decoration
    if decoration == "plain" and seen.stddev[0] > 45:
        decoration = "outline"
    if decoration == "outline":
        behind.paste(other, (0, 0), _widened(ink, size))
    elif decoration == "shadow":
        dx, dy = (int(v) for v in np.rint(size * rng.uniform(-1.8, 1.8, 2)))
        shadow = ImageChops.offset(ink, dx, dy).filter(ImageFilter.BoxBlur(rng.uniform(0, size)))
        behind.paste(random_color(rng, 0, 40), (0, 0), shadow.point([int(0.7 * v) for v in range(256)]))
    elif decoration == "glow":
        behind.paste(other, (0, 0), _widened(ink.filter(ImageFilter.BoxBlur(2 * size)), size))
    if decoration == "gradient":
        end = tuple(int(v) for v in np.clip(np.array(color) + rng.uniform(-60, 60, 3), 0, 255))
        ramp = Image.linear_gradient("L").rotate(90 * int(rng.integers(4))).resize(behind.size)
        fill = Image.composite(Image.new("RGB", behind.size, color), Image.new("RGB", behind.size, end), ramp)
        behind.paste(fill, (0, 0), ink)
    else:
        behind.paste(color, (0, 0), ink)
    picture.paste(behind, window[:2])


def _ink(rng: np.random.Generator, block: Block, window: tuple[int, int, int, int]) -> Image.Image:
    """How much ink covers each pixel of a window of the picture, mode L."""
    sheet_height = float(np.mean(block.sheet.boxes[:, 3] - block.sheet.boxes[:, 1]))
    shrink = max(1, int(sheet_height / block.height))
    sheet = block.sheet.reduced(shrink)
    if block.style.damage == "scrambled":
        sheet = _scrambled(rng, sheet)
    ink = block.surface.photograph(sheet, shrink, window)
    if block.style.blur:
        ink = ink.filter(ImageFilter.GaussianBlur(max(0.7, block.style.blur * block.height)))
    return ink


def _scrambled(rng: np.random.Generator, sheet: Image.Image) -> Image.Image:
    """The sheet cut into squares that are mirrored, turned over and moved along their rows."""
    ink = np.array(sheet)
    side = max(2, min(ink.shape) // 4)
    rows, columns = ink.shape[0] // side, ink.shape[1] // side
    cells = ink[: rows * side, : columns * side].reshape(rows, side, columns, side).swapaxes(1, 2)
    cells = rng.permuted(cells.reshape(rows, columns, -1), axis=1).reshape(cells.shape)[..., ::-1, :]
    ink[: rows * side, : columns * side] = cells.swapaxes(1, 2).reshape(rows * side, columns * side)
    return Image.fromarray(ink)


def _widened(ink: Image.Image, radius: float) -> Image.Image:
    """Ink that reaches about `radius` pixels further."""
    return ink.filter(ImageFilter.BoxBlur(radius)).point([min(255, 5 * value) for value in range(256)])


def _draw_plate(rng: np.random.Generator, behind: Image.Image, outline: np.ndarray, calm: bool) -> Image.Image:
    """A plate under the text. A calm one has the colour of what it covers: a wall, not a sign."""
    mask = Image.new("L", behind.size)
    ImageDraw.Draw(mask).polygon(outline.ravel().tolist(), fill=255)
    if calm:
        color = tuple(int(v) for v in ImageStat.Stat(behind, mask).mean)
        mask = mask.filter(ImageFilter.BoxBlur(3)).point([int(0.85 * value) for value in range(256)])
    else:
        color = random_color(rng)
        mask = mask.filter(ImageFilter.BoxBlur(0.5))
    behind.paste(color, (0, 0), mask)
    return behind


def _ink_color(
    rng: np.random.Generator, behind: Image.Image, contrast: float, mean: float, deviation: float, muted: bool
) -> tuple[int, int, int]:
    """A colour `contrast` grey levels from what is behind, on the other side where there is no room on this one."""
    if not muted:  # ink must stand out from texture, too
        contrast = math.copysign(max(abs(contrast), 2.0 * deviation), contrast)
    if not 0 <= mean + contrast <= 255 and min(mean, 255 - mean) < abs(contrast) + mean * (contrast < 0):
        contrast = -contrast
    level = min(max(mean + contrast, 0.0), 255.0)
    if muted:
        base = np.array(ImageStat.Stat(behind).mean) + rng.uniform(-8, 8, 3)
    else:
        base = np.array(random_color(rng), float)
    weights = np.array([0.299, 0.587, 0.114])
    for _ in range(3):  # clipping changes the level, so shift again
        base = np.clip(base + (level - base @ weights), 0, 255)
    return tuple(int(v) for v in base)
