"""What a rendered picture holds and where: the plan, made by lot before anything is drawn in colour.

The plan is also the picture's description. Nothing in it is estimated from pixels, and the drawing changes nothing
in it, so what a test finds true of the plan is true of the picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import shapely

from maskrcnn.data.rendered_clutter import CLUTTER_KINDS
from maskrcnn.data.rendered_settings import RenderSettings
from maskrcnn.data.rendered_sheet import FONT_FILES, Sheet, random_word, set_sheet
from maskrcnn.data.rendered_surface import Arc, Surface, Wave, tilted_plane
from maskrcnn.data.text_polygons import long_sides, text_bend, text_height, text_rotation

CURVE_POINTS = 7
"""Points on each long side of a curved line, as in CTW1500."""
LEAST_BEND = 0.06
"""How far a curved line's middle leaves its chord at least, as a part of the chord."""
DAMAGES = {"tiny": (4.0, 8.0), "smeared": (8.0, 32.0), "scrambled": (8.0, 32.0)}
"""What makes a word don't-care, and the least and the greatest height of such words in pixels."""


@dataclass(frozen=True)
class TextPlan:
    """One annotation, and what is special about it."""

    transcription: str
    polygon: np.ndarray
    """(4, 2) or (14, 2) float64: along the top in reading direction, back along the bottom."""
    ignore: bool
    height: float
    """Mean distance between the polygon's long sides, pixels."""
    rotation: float
    """Degrees from the horizontal to the reading direction, positive clockwise."""
    curved: bool
    low_contrast: bool
    blurred: bool
    perspective: float
    """How much larger the nearest corner of the sheet appears than the farthest: 0.2 is a fifth."""


@dataclass(frozen=True)
class Style:
    """How the ink of a block is laid on."""

    contrast: float
    """Grey levels from what lies behind to large ink, in the photograph; positive for lighter ink."""
    decoration: str
    """`plain`, `outline`, `shadow`, `glow` or `gradient`."""
    plate: bool
    low_contrast: bool
    blur: float
    """Radius as a part of the text height; 0 for sharp text."""
    damage: str
    """Empty for legible text, else one of `DAMAGES`."""


@dataclass(frozen=True)
class Block:
    """Words on one surface, drawn together."""

    sheet: Sheet
    surface: Surface
    outline: np.ndarray
    """(N, 2) float64: the border of the sheet in the picture. The outlines of two blocks never touch."""
    style: Style
    texts: tuple[TextPlan, ...]

    @property
    def height(self) -> float:
        """Mean height of the texts, pixels."""
        return sum(text.height for text in self.texts) / len(self.texts)


@dataclass(frozen=True)
class PicturePlan:
    """All that one picture holds."""

    height: int
    width: int
    light: float
    """What exposure multiplies all levels by; below 0.85 the picture is dark, with more noise and shake."""
    clutter: tuple[str, ...]
    """The kind of each background object."""
    blocks: tuple[Block, ...]

    @property
    def texts(self) -> tuple[TextPlan, ...]:
        """The annotations, in the order in which the sample has them."""
        return tuple(text for block in self.blocks for text in block.texts)


def plan_picture(rng: np.random.Generator, settings: RenderSettings) -> PicturePlan:
    """Draws a plan by lot. It has at least one legible text."""
    height = int(rng.integers(settings.height[0], settings.height[1] + 1))
    width = int(rng.integers(settings.width[0], settings.width[1] + 1))
    light = float(rng.uniform(0.45, 0.8) if rng.random() < settings.dark_fraction else rng.uniform(0.9, 1.25))
    objects = int(rng.integers(settings.clutter[0], settings.clutter[1] + 1))
    clutter = tuple(CLUTTER_KINDS[kind] for kind in rng.integers(len(CLUTTER_KINDS), size=objects))
    wanted = int(rng.integers(settings.texts[0], settings.texts[1] + 1))
    space = _Space(height, width)
    blocks: list[Block | None] = []
    # Curved lines need the most room and go first. One that finds no place is not replaced by straight words,
    # which would lower the share of curved lines in crowded pictures.
    curved = int(rng.binomial(wanted, settings.curved_fraction))
    for _ in range(curved):
        blocks.append(_place_block(rng, settings, space, 1, curved=True))
    remaining = wanted - curved
    while remaining > 0:
        block = _place_block(rng, settings, space, remaining)
        blocks.append(block)
        remaining -= len(block.texts) if block else 1
    while not any(blocks):
        blocks.append(_place_block(rng, settings, space, 1, longest=4))
    for _ in range(int(rng.integers(settings.ignored[0], settings.ignored[1] + 1))):
        damage = tuple(DAMAGES)[int(rng.integers(len(DAMAGES)))]
        blocks.append(_place_block(rng, settings, space, 2, damage=damage))
    return PicturePlan(height, width, light, clutter, tuple(block for block in blocks if block))


class _Space:
    """Which parts of the picture are taken."""

    MARGIN = 2.0
    """Pixels along the border of the picture that stay free."""

    def __init__(self, height: int, width: int) -> None:
        self.size = np.array([width, height]) - 2 * self.MARGIN
        self.taken: list[shapely.Polygon] = []

    def take(self, rng: np.random.Generator, outline: np.ndarray) -> np.ndarray | None:
        """Takes a place where an outline (P, 2) touches nothing: the first such of a few drawn by lot.

        Returns how far the outline has to be shifted to get there, (2,), or None if all of the few are taken.
        """
        low, high = outline.min(axis=0), outline.max(axis=0)
        shifts = self.MARGIN - low + rng.random((4, 2)) * (self.size - (high - low))
        places = shapely.polygons(outline + shifts[:, None])
        free = ~shapely.intersects(places[:, None], np.array(self.taken, object)[None]).any(axis=1)
        if not free.any():
            return None
        chosen = int(free.argmax())
        self.taken.append(places[chosen])
        return shifts[chosen]


def _place_block(
    rng: np.random.Generator,
    settings: RenderSettings,
    space: _Space,
    most_words: int,
    curved: bool = False,
    damage: str = "",
    longest: int = 10,
) -> Block | None:
    """Words on a surface in a free place, or None where the place first chosen cannot hold them at any size."""
    style = _random_style(rng, settings, damage)
    sheet = _random_sheet(rng, settings, most_words, curved, longest)
    surface = _random_surface(rng, settings, sheet, curved)
    sides = long_sides(sheet.boxes, CURVE_POINTS if curved else 2)
    border = long_sides(np.array([[0.0, 0.0, *sheet.image.size]]), 2 * CURVE_POINTS if curved else 2)[0]
    points = np.concatenate([sides.reshape(-1, 2), border])
    # The tilt turns the reading direction by itself; what is missing to the angle wanted is added.
    wanted = settings.rotation * rng.triangular(-1, 0, 1)
    found = text_rotation(surface.to_picture(points)[: -len(border)].reshape(sides.shape)).mean()
    surface = surface.moved(turn=math.radians(wanted - float(found)))
    seen = surface.to_picture(points)
    polygons, outline = seen[: -len(border)].reshape(sides.shape), seen[-len(border) :]
    rotations = text_rotation(polygons)
    if np.abs(rotations).max() > settings.rotation + 1e-6 or (curved and text_bend(polygons)[0] < LEAST_BEND):
        return None
    # Size comes last: as large as the settings and the picture allow, or less.
    heights = text_height(polygons)
    low, high = DAMAGES.get(damage, settings.text_height)
    smallest = low / heights.min()
    largest = min(high / heights.max(), float((space.size / np.ptp(outline, axis=0)).min()))
    for _ in range(4):
        if smallest > largest:
            return None
        scale = smallest * (largest / smallest) ** (rng.random() ** (0.3 if curved else 0.5))
        shift = space.take(rng, scale * outline)
        if shift is not None:
            break
        largest = scale
    else:
        return None
    depth = surface.project(border)[:, 2]
    texts = tuple(
        TextPlan(
            transcription="###" if damage else word,
            polygon=scale * polygon + shift,
            ignore=bool(damage),
            height=float(scale * tall),
            rotation=float(rotation),
            curved=curved,
            low_contrast=style.low_contrast,
            blurred=style.blur > 0,
            perspective=float(depth.max() / depth.min() - 1),
        )
        for word, polygon, tall, rotation in zip(sheet.words, polygons, heights, rotations, strict=True)
    )
    return Block(sheet, surface.moved(scale, 0.0, *shift.tolist()), scale * outline + shift, style, texts)


def _sign(rng: np.random.Generator) -> float:
    return 1.0 if rng.random() < 0.5 else -1.0


def _random_style(rng: np.random.Generator, settings: RenderSettings, damage: str) -> Style:
    low_contrast = rng.random() < settings.low_contrast_fraction
    blurred = rng.random() < settings.blurred_fraction
    blur = rng.uniform(0.045, 0.075) if blurred and not low_contrast else 0.0
    if damage == "smeared":  # until the letters run together
        blur = rng.uniform(0.24, 0.34)
    contrast = rng.uniform(28, 40) if low_contrast else rng.uniform(70, 200)
    decorations = ("plain",) if low_contrast else ("plain", "plain", "plain", "outline", "shadow", "glow", "gradient")
    return Style(
        contrast=float(contrast) * _sign(rng),
        decoration=decorations[int(rng.integers(len(decorations)))],
        plate=bool(rng.random() < settings.plate_fraction),
        low_contrast=bool(low_contrast),
        blur=float(blur),
        damage=damage,
    )


def _random_sheet(
    rng: np.random.Generator, settings: RenderSettings, most_words: int, curved: bool, longest: int
) -> Sheet:
    font = FONT_FILES[int(rng.integers(len(FONT_FILES)))]
    letter_gap = int(rng.integers(0, 24)) if rng.random() < 0.15 else 0
    if curved:
        words = [random_word(rng) for _ in range(int(rng.integers(1, 4)))]
        if len(words) == 1:
            words[0] += random_word(rng).lower() if words[0].islower() else random_word(rng).upper()
        lines = [[" ".join(words)]]
    else:
        lines = []
        left = most_words
        for _ in range(int(rng.integers(1, settings.block_lines + 1))):
            count = min(int(rng.integers(1, settings.line_words + 1)), left)
            if count:
                lines.append([random_word(rng, longest) for _ in range(count)])
            left -= count
    return set_sheet(
        lines,
        font,
        letter_gap=letter_gap,
        align=(0.0, 0.5, 1.0)[int(rng.integers(3))],
        line_gap=int(rng.integers(8, 48)),
        margin=int(rng.integers(6, 20)),
    )


def _random_surface(rng: np.random.Generator, settings: RenderSettings, sheet: Sheet, curved: bool) -> Surface:
    """A bent or flat surface of the sheet's size, centred on the origin and tilted."""
    width, height = sheet.image.size
    bend: Arc | Wave | None = None
    if curved and rng.random() < 0.65:
        angle = rng.uniform(0.7, 2.1)
        bend = Arc(float(max(width / angle, 1.5 * height)) * _sign(rng))
    elif curved:
        wavelength = width * rng.uniform(1.1, 2.2)
        slope = rng.uniform(0.3, 0.65)
        bend = Wave(float(slope * wavelength / (2 * math.pi)), float(wavelength), float(rng.uniform(0, 2 * math.pi)))
    # Most signs face the camera more or less: the sum of two draws prefers small angles.
    yaw, pitch = np.radians(settings.tilt * (rng.random(2) + rng.random(2) - 1))
    distance = max(width, height) * rng.uniform(1.1, 3.0)
    plane = tilted_plane(float(yaw), float(pitch), float(distance), float(rng.uniform(0.75, 1.25)))
    return Surface((width / 2, height / 2), bend, plane)
