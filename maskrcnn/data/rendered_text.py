"""A data set of text that needs no download: each picture is rendered when it is asked for.

The plan of a picture (`rendered_layout`) says what stands where; a background (`rendered_background`), the inked
sheets seen at an angle (`rendered_sheet`, `rendered_surface`) and a camera (`rendered_camera`) make the picture.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from maskrcnn.data.rendered_background import draw_background, random_color
from maskrcnn.data.rendered_camera import take_photograph
from maskrcnn.data.rendered_clutter import draw_clutter
from maskrcnn.data.rendered_layout import Block, PicturePlan, Style, plan_picture
from maskrcnn.data.rendered_settings import DEMO, SCENE, RenderSettings
from maskrcnn.structures import Sample

_LUMINANCE = np.array([0.299, 0.587, 0.114])  # as Pillow's mode L

__all__ = ["DEMO", "SCENE", "RenderSettings", "RenderedText"]


class RenderedText:
    """`count` pictures of words and curved lines; picture i depends on the seed, the settings and i alone."""

    class_names = ("text",)

    def __init__(self, count: int, seed: int, settings: RenderSettings = DEMO) -> None:
        if count < 0 or seed < 0:
            raise ValueError(f"count and seed: expected 0 or more, found {count}, {seed}")
        self.count = count
        self.seed = seed
        self.settings = settings

    def __len__(self) -> int:
        return self.count

    @property
    def names(self) -> list[str]:
        """The name of every picture."""
        return [_name(index) for index in range(self.count)]

    def __getitem__(self, index: int) -> Sample:
        """The sample, drawn afresh: the same each time. Raises IndexError beyond the last picture."""
        rng, plan = self._start(index)
        texts = plan.texts
        return Sample(
            name=_name(index),
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
        if not 0 <= index < self.count:
            raise IndexError(f"found picture {index}, expected 0 to {self.count - 1}")
        rng = np.random.default_rng([self.seed, index])
        return rng, plan_picture(rng, self.settings)


def _name(index: int) -> str:
    return f"rendered_{index:06}.png"


def draw_picture(rng: np.random.Generator, plan: PicturePlan) -> np.ndarray:
    """(H, W, 3) uint8: a photograph of what was planned. Colours, background and camera are drawn by lot."""
    picture = draw_background(rng, plan.height, plan.width)
    for kind in plan.clutter:
        draw_clutter(rng, picture, kind)
    for block in plan.blocks:
        _draw_block(rng, picture, block, plan.light)
    return take_photograph(rng, picture, plan.light)


def _draw_block(rng: np.random.Generator, picture: Image.Image, block: Block, light: float) -> None:
    """Draws a plate if there is one, then the ink of all words of a block."""
    style = block.style
    # Room for what spreads beyond the sheet: blur, outline, shadow.
    room = 2 + math.ceil(0.35 * block.height) if style.blur or style.decoration != "plain" else 2
    low = np.maximum(np.floor(block.outline.min(axis=0)).astype(int) - room, 0)
    high = np.minimum(np.ceil(block.outline.max(axis=0)).astype(int) + room, picture.size)
    window = (*low.tolist(), *high.tolist())
    behind = picture.crop(window)
    texture = float(np.asarray(behind.convert("L")).std())
    if style.plate or (style.low_contrast and texture > 10):  # low contrast on texture would be no contrast
        mask = Image.new("L", behind.size)
        ImageDraw.Draw(mask).polygon((block.outline - low).ravel().tolist(), fill=255)
        behind.paste(random_color(rng, 25, 230), (0, 0), mask.filter(ImageFilter.BoxBlur(0.5)))
    ink = _ink(rng, block, window)
    color = _ink_color(rng, behind, style, (1 + 6 / block.height) / min(light, 1.0))
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


def _ink_color(rng: np.random.Generator, behind: Image.Image, style: Style, gain: float) -> tuple[int, int, int]:
    """A colour `gain` times the style's contrast from what is behind, on its side of it if there is so much room."""
    grey = np.asarray(behind.convert("L"))
    mean = float(grey.mean())
    contrast = gain * style.contrast
    if not style.low_contrast:  # ink must stand out from texture, too
        contrast = math.copysign(max(abs(contrast), 2 * float(grey.std())), contrast)
    if not 0 <= mean + contrast <= 255 and (mean > 127) == (contrast > 0):
        contrast = -contrast
    level = min(max(mean + contrast, 0.0), 255.0)
    if style.low_contrast:
        base = np.asarray(behind.resize((1, 1), Image.Resampling.BOX), float)[0, 0] + rng.uniform(-8, 8, 3)
    else:
        base = np.array(random_color(rng), float)
    for _ in range(3):  # a colour that is cut off at 0 or 255 has moved less than it should
        base = np.clip(base + (level - base @ _LUMINANCE), 0, 255)
    return tuple(int(value) for value in base)
