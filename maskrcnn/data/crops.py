"""The square crops that training sees: drawn first, then made of no more of the picture than they show.

How much a picture is scaled, how far it is turned, where the window lies and whether it is mirrored is a `View`; to
draw one takes the picture's size and its objects, not its pixels. They may not even be decoded yet: the cost of a crop
depends on the window and hardly on the picture, however much that is enlarged.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
from PIL import Image

from maskrcnn.data.images import Box, DecodedPicture
from maskrcnn.data.transforms import PADDING, Cut, flip_horizontal, keep_visible, moved, turning
from maskrcnn.data.undecoded import UndecodedSample
from maskrcnn.sample import Sample

ROUNDING = 1e-6
"""Pixels by which corners may differ from what they are meant to be."""

Around = Literal["one_object", "all_objects"]


@dataclass(frozen=True)
class View:
    """How a picture is seen in a square window: scaled, then turned, then moved."""

    size: int
    """Side of the window in pixels."""
    scale: np.ndarray
    """(2,) the factors of x and y."""
    degrees: float
    """By which the scaled picture is turned, counter-clockwise on the screen."""
    corner: np.ndarray
    """(2,) where its upper left corner is then, in pixels of the window, often outside of it."""
    mirrored: bool = False
    """Whether what the window shows is mirrored in the end. `points`, `back` and `part` are about the time before."""

    def points(self, points: np.ndarray) -> np.ndarray:
        """Where points (N, 2) of the picture are in the window."""
        return points * self.scale @ turning(self.degrees).T + self.corner

    def back(self, points: np.ndarray) -> np.ndarray:
        """The inverse of `points`."""
        return (points - self.corner) @ turning(self.degrees) / self.scale

    def leaves(self, height: int, width: int) -> bool:
        """Whether the window shows something beyond the borders of a picture."""
        corners = self.back(_corners(self.size, self.size))
        return bool((corners < -ROUNDING).any() or (corners > (width + ROUNDING, height + ROUNDING)).any())

    def part(self, height: int, width: int) -> tuple[Box, int, int]:
        """The smallest box x1, y1, x2, y2 of a picture that holds all the window shows, and its width and height once
        it is scaled, in whole pixels. The box is empty if the window shows nothing of the picture."""
        corners = self.back(_corners(self.size, self.size)).clip(0, (width, height))
        low, high = corners.min(axis=0), corners.max(axis=0)
        scaled = np.maximum(np.rint((high - low) * self.scale), 1).astype(int)
        return (*low.tolist(), *high.tolist()), *scaled.tolist()


def random_view(
    sample: Sample,
    rng: np.random.Generator,
    *,
    size: int,
    scale_range: tuple[float, float] = (0.5, 2.0),
    aspect_range: tuple[float, float] = (0.8, 1.25),
    independent_sides: Sequence[int] = (),
    degrees: float = 0.0,
    crop_around: Around = "one_object",
    around_object_probability: float = 0.8,
    flip_probability: float = 0.0,
) -> View:
    """A window of size x size pixels at a random place of the picture, which is scaled at random and turned.

    Scale and aspect (a further factor of width over height) are drawn log-uniformly from their ranges; or, where there
    are `independent_sides`, the new width and the new height, whole pixels each, uniformly from the first of them to
    one less than the second, whatever becomes of the proportions (`ScaleAspectJitter` of MMOCR).

    With `around_object_probability` the window is placed by legible objects; otherwise, and where there are none, it
    may be anywhere. With "one_object" it holds an object chosen at random, or lies within it if the object is larger.
    "all_objects" is the rule of MMOCR's `RandomCropInstances`: see `_start_around_all`.
    A picture that is smaller than the window lies somewhere inside it.

    With `flip_probability` the picture is mirrored before the window is placed, as in MMOCR. That its pixels are
    mirrored after the crop, as is cheaper, makes no difference to what the window shows.
    """
    height, width = sample.image.shape[:2]
    sides = np.array([width, height])
    if independent_sides:
        scale = rng.integers(*independent_sides, size=2) / sides
    else:
        factor = math.exp(rng.uniform(*np.log(scale_range)))
        stretch = math.sqrt(math.exp(rng.uniform(*np.log(aspect_range))))
        scale = np.array([factor * stretch, factor / stretch])
    if degrees == 0:
        # A side that is shorter than the window's fills whole pixels of it.
        scale = np.where(sides * scale <= size, np.maximum(np.rint(sides * scale), 1) / sides, scale)
    view = View(size, scale, degrees, np.zeros(2))
    canvas = view.points(_corners(height, width))  # what holds the turned picture
    origin, lengths = canvas.min(axis=0), np.ptp(canvas, axis=0)
    legible, span = sample.only(np.flatnonzero(~sample.ignore)), None
    if rng.random() < around_object_probability and len(legible.labels):
        boxes = moved(legible, legible.image, view.points).boxes - np.tile(origin, 2)
        span = boxes[rng.integers(len(boxes))] if crop_around == "one_object" else _union(boxes, lengths)
    mirrored = bool(rng.random() < flip_probability)
    if mirrored and span is not None:
        span = np.array([lengths[0] - span[2], span[1], lengths[0] - span[0], span[3]])
    starts = [
        _random_start(crop_around, length, size, None if span is None else span[axis::2].tolist(), rng)
        for axis, length in enumerate(lengths.tolist())
    ]
    if mirrored:
        starts[0] = lengths[0] - size - starts[0]
    return replace(view, corner=-origin - starts, mirrored=mirrored)


def seen(
    sample: Sample | UndecodedSample,
    view: View,
    *,
    minimum_visible: float = 0.5,
    cut: Cut = "polygons",
    colour: Sequence[int] = PADDING,
) -> Sample:
    """What a view shows of a sample; where the window leaves the picture, `colour`.

    `minimum_visible` and `cut`: see `transforms.crop`. Raises ValueError for a damaged picture.
    """
    if isinstance(sample, UndecodedSample):
        known, part = sample.annotated, sample.picture.part
    else:
        known, part = sample, partial(_part, sample.image)
    height, width = known.image.shape[:2]
    if view.leaves(height, width):
        known = keep_visible(known, (0, 0, width, height), minimum_visible)
    shown = moved(known, _pixels(part, view, *view.part(height, width), tuple(colour)), view.points)
    shown = keep_visible(shown, (0, 0, view.size, view.size), minimum_visible, cut)
    return flip_horizontal(shown) if view.mirrored else shown


def _pixels(
    part: Callable[[Box, int, int], Image.Image], view: View, box: Box, width: int, height: int, colour: tuple[int, ...]
) -> np.ndarray:
    """(size, size, 3) uint8: the window; `part` gives a box of the picture, scaled. For the others see `View.part`."""
    shape, corner, opposite = (view.size, view.size), np.array(box[:2]), np.array(box[2:])
    if (corner >= opposite).any():
        return np.array(Image.new("RGB", shape, colour))
    scaled = part(box, width, height)
    if view.degrees == 0 and scaled.size == shape:
        return np.array(scaled)
    if view.degrees == 0:
        window = Image.new("RGB", shape, colour)
        window.paste(scaled, tuple(np.rint(view.points(corner)).astype(int).tolist()))
        return np.array(window)
    # Pillow asks where in `scaled` each new pixel comes from. The scale of that is not exactly the one that was drawn,
    # since it has a whole number of pixels.
    stretch = (width, height) / (opposite - corner)
    origin, right, down = (view.back(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])) - corner) * stretch
    affine = np.column_stack([right - origin, down - origin, origin])
    turned = scaled.transform(
        shape, Image.Transform.AFFINE, tuple(affine.ravel()), Image.Resampling.BILINEAR, fillcolor=colour
    )
    return np.array(turned)


def _part(pixels: np.ndarray, box: Box, width: int, height: int) -> Image.Image:
    """As of `DecodedPicture`, of an image (H, W, 3)."""
    x1, y1, x2, y2 = box
    # Pillow copies whatever array it is given: hand it only the pixels that the filter reaches, which is a new pixel's
    # width (at least an old one's) around the box.
    reach_x, reach_y = math.ceil(max((x2 - x1) / width, 1)), math.ceil(max((y2 - y1) / height, 1))
    left, top = max(math.floor(x1) - reach_x, 0), max(math.floor(y1) - reach_y, 0)
    right = min(math.ceil(x2) + reach_x, pixels.shape[1])
    bottom = min(math.ceil(y2) + reach_y, pixels.shape[0])
    near = DecodedPicture(Image.fromarray(np.ascontiguousarray(pixels[top:bottom, left:right])))
    return near.part((x1 - left, y1 - top, x2 - left, y2 - top), width, height)


def _random_start(
    crop_around: Around, length: float, size: int, span: Sequence[float] | None, rng: np.random.Generator
) -> float:
    """Where, along one axis of a picture of that length, a window begins; below 0 if it holds all of the picture."""
    if length <= size:
        return -float(rng.integers(0, size - math.ceil(round(length, 6)) + 1))
    start = _start_around_one if crop_around == "one_object" else _start_around_all
    return start(length, size, span, rng)


def _start_around_one(length: float, size: int, span: Sequence[float] | None, rng: np.random.Generator) -> float:
    """Where a window begins that holds `span`, or lies within it; anywhere without one."""
    low, high = 0.0, length - size
    if span is not None:
        # From "its far end just inside" to "its near end just inside"; the other way round if it is larger.
        first, last = sorted((span[1] - size, span[0]))
        low, high = min(max(first, low), high), max(min(last, high), low)
    return rng.uniform(low, high)


def _start_around_all(length: float, size: int, span: Sequence[float] | None, rng: np.random.Generator) -> float:
    """Where a window begins, a whole pixel, by the rule of MMOCR's `RandomCropInstances`.

    Of the pixels that `span` covers let the first be a and the last b: from max(0, a - size) to one less than
    min(max(0, b - size), length - size), uniformly; without a span, from 0 to one less than length - size; and 0
    where that leaves nothing. So the window often lies before the objects, and may miss them.
    """
    low, high = 0, math.floor(round(length, 6)) - size
    if span is not None:
        first, last = math.ceil(span[0] - 0.5), math.ceil(span[1] - 0.5) - 1
        low, high = max(0, first - size), min(max(0, last - size), high)
    return float(rng.integers(low, high)) if low < high else 0.0


def _union(boxes: np.ndarray, lengths: np.ndarray) -> np.ndarray | None:
    """(4,) what boxes (G, 4) reach over inside of a picture of these lengths (2,); None if all lie outside."""
    boxes = boxes.clip(0, np.tile(lengths, 2))
    boxes = boxes[(boxes[:, :2] < boxes[:, 2:]).all(axis=1)]
    return np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)]) if len(boxes) else None


def _corners(height: int, width: int) -> np.ndarray:
    return np.array([[0.0, 0.0], [width, 0.0], [width, height], [0.0, height]])
