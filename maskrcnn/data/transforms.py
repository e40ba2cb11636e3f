"""Moving and cutting pictures with their polygons kept exactly in register.

Each transform is a plain function from one `Sample` to another. Coordinates are continuous (pixel i covers [i, i + 1)),
so a resize by s multiplies them by s, a mirror image is x' = W - x, and nothing anywhere adds half a pixel.
What changes colours only is written in `colours.py`, and can be had from here as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np
from PIL import Image

from maskrcnn.data.colours import change_colour as change_colour
from maskrcnn.data.colours import jitter_colour as jitter_colour
from maskrcnn.data.colours import paint_out_ignored as paint_out_ignored
from maskrcnn.data.polygons import area, clip
from maskrcnn.person import mirrored_names
from maskrcnn.structures import Sample

PADDING = (124, 116, 104)
"""What lies outside a picture: ImageNet's mean colour, so that it is zero once normalised."""


def moved(sample: Sample, image: np.ndarray, move: Callable[[np.ndarray], np.ndarray]) -> Sample:
    """The sample with another image (H, W, 3), to which `move` takes each of its points: from (N, 2) to (N, 2).

    Keypoints that are not labelled stay at 0, 0.
    """
    keypoints = sample.keypoints
    if keypoints is not None:
        keypoints = keypoints.copy()
        labelled = keypoints[..., 2] > 0
        keypoints[labelled, :2] = move(keypoints[labelled, :2])
    return replace(sample, image=image, polygons=tuple(map(move, sample.polygons)), keypoints=keypoints)


def resize(sample: Sample, height: int, width: int) -> Sample:
    """The sample at height x width pixels, each axis scaled by itself.

    Bilinear with antialiasing: when shrinking, each new pixel averages all the old ones it covers, as small text needs.
    Raises ValueError if a side is below 1.
    """
    if height < 1 or width < 1:
        raise ValueError(f"{sample.name}: found a new size of {height} x {width}, expected at least 1 x 1")
    old_height, old_width = sample.image.shape[:2]
    if (height, width) == (old_height, old_width):
        return sample
    scale = np.array([width / old_width, height / old_height])
    resized = Image.fromarray(sample.image).resize((width, height), Image.Resampling.BILINEAR)
    return moved(sample, np.array(resized), lambda points: points * scale)


def fitted_size(
    height: int, width: int, short_side: float, long_side: float, rounding: str = "nearest"
) -> tuple[int, int]:
    """New height and width of a picture scaled up or down until its short or its long side reaches its limit.

    `rounding`: "nearest" as MMDetection does (halves up), or "floor" as torchvision does; each side is at least 1.
    """
    scale = min(short_side / min(height, width), long_side / max(height, width))
    half = 0.5 if rounding == "nearest" else 0.0
    # The last digits of the product must not decide whether a whole number is reached.
    return tuple(max(1, math.floor(round(side * scale, 6) + half)) for side in (height, width))


def resize_to_fit(sample: Sample, short_side: int, long_side: int, rounding: str = "nearest") -> Sample:
    """The sample at `fitted_size`: its proportions kept but for the rounding, enlarged if it is smaller."""
    return resize(sample, *fitted_size(*sample.image.shape[:2], short_side, long_side, rounding))


def crop(
    sample: Sample,
    x: int,
    y: int,
    width: int,
    height: int,
    *,
    minimum_visible: float = 0.5,
    colour: Sequence[int] = PADDING,
) -> Sample:
    """The window of width x height pixels whose top left corner is at x, y; where it leaves the picture, `colour`.

    Polygons are cut at the window, and at the picture's border where that lies inside. An object of whose area less
    than the fraction `minimum_visible` is left becomes don't-care, and one of which nothing is left is dropped.
    Keypoints outside are no longer labelled.
    """
    picture_height, picture_width = sample.image.shape[:2]
    left, right = np.clip([x, x + width], 0, picture_width)
    top, bottom = np.clip([y, y + height], 0, picture_height)
    image = np.empty((height, width, 3), dtype=np.uint8)
    if (right - left, bottom - top) != (width, height):
        image[:] = colour
    image[top - y : bottom - y, left - x : right - x] = sample.image[top:bottom, left:right]
    cut = moved(sample, image, lambda points: points - (x, y))
    return _keep_visible(cut, (left - x, top - y, right - x, bottom - y), minimum_visible)


def flip_horizontal(sample: Sample) -> Sample:
    """The mirror image: x' = W - x.

    The order of the corners is turned round, so that clockwise stays clockwise; and if, as in ICDAR and CTW1500, the
    first half of the corners is the upper edge from left to right and the second half the lower one, it is so again.
    A left hand becomes a right one (`mirrored_names`).
    """
    width = sample.image.shape[1]
    image = Image.fromarray(sample.image).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    mirrored = moved(sample, np.array(image), lambda points: points * (-1.0, 1.0) + (width, 0.0))
    polygons = tuple(np.roll(polygon[::-1], len(polygon) // 2, axis=0) for polygon in mirrored.polygons)
    keypoints = mirrored.keypoints
    if keypoints is not None:
        keypoints = keypoints[:, mirrored_names(sample.keypoint_names)]
    return replace(mirrored, polygons=polygons, keypoints=keypoints)


def rotate(sample: Sample, degrees: float, *, colour: Sequence[int] = PADDING) -> Sample:
    """The sample turned counter-clockwise on the screen about its centre, on a canvas that grows to hold all of it.

    The centre of the picture becomes the centre of the canvas; the corners left over are `colour`. Order and winding
    of the polygons' corners stay. Bilinear, without change of scale.
    """
    height, width = sample.image.shape[:2]
    # Rounded so that quarter turns are exact and need no extra column.
    cosine, sine = (round(value, 15) for value in (math.cos(math.radians(degrees)), math.sin(math.radians(degrees))))
    new_width = math.ceil(round(width * abs(cosine) + height * abs(sine), 6))
    new_height = math.ceil(round(width * abs(sine) + height * abs(cosine), 6))
    centre, new_centre = np.array([width, height]) / 2, np.array([new_width, new_height]) / 2
    forward = np.array([[cosine, sine], [-sine, cosine]])
    # Pillow asks where each new pixel comes from: the inverse, which for a rotation is the transpose.
    back = np.column_stack([forward.T, centre - forward.T @ new_centre])
    image = Image.fromarray(sample.image).transform(
        (new_width, new_height),
        Image.Transform.AFFINE,
        tuple(back.ravel()),
        Image.Resampling.BILINEAR,
        fillcolor=tuple(colour),
    )
    return moved(sample, np.array(image), lambda points: (points - centre) @ forward.T + new_centre)


def random_scale_and_crop(
    sample: Sample,
    rng: np.random.Generator,
    *,
    size: int,
    scale_range: tuple[float, float] = (0.5, 2.0),
    aspect_range: tuple[float, float] = (0.8, 1.25),
    around_object_probability: float = 0.8,
    minimum_visible: float = 0.5,
    colour: Sequence[int] = PADDING,
) -> Sample:
    """A window of size x size pixels out of the picture at a random scale.

    Scale and aspect (a further factor of width over height) are drawn log-uniformly from their ranges. With
    `around_object_probability` the window holds a randomly chosen legible object, or lies within it if the object is
    larger; otherwise, and where there is none, it may be anywhere. A picture that is smaller than the window lies
    somewhere inside it, surrounded by `colour`. For `minimum_visible` see `crop`.

    Cuts first and scales only what was cut: the cost depends on the window and not on the picture.
    """
    scale = math.exp(rng.uniform(*np.log(scale_range)))
    stretch = math.sqrt(math.exp(rng.uniform(*np.log(aspect_range))))
    scales = (scale * stretch, scale / stretch)
    legible = np.flatnonzero(~sample.ignore)
    target = None
    if rng.random() < around_object_probability and len(legible):
        target = sample.boxes[rng.choice(legible)]
    axes = []
    for axis in (0, 1):
        span = (target[axis], target[axis + 2]) if target is not None else None
        axes.append(_random_window(sample.image.shape[1 - axis], size, scales[axis], span, rng))
    (x1, x2, left, right), (y1, y2, top, bottom) = axes
    part = _resize_part(sample.image, (x1, y1, x2, y2), right - left, bottom - top)
    image = part
    if part.shape[:2] != (size, size):
        image = np.empty((size, size, 3), dtype=np.uint8)
        image[:] = colour
        image[top:bottom, left:right] = part
    factor = np.array([(right - left) / (x2 - x1), (bottom - top) / (y2 - y1)])
    cut = moved(sample, image, lambda points: (points - (x1, y1)) * factor + (left, top))
    return _keep_visible(cut, (left, top, right, bottom), minimum_visible)


def scale_aspect_jitter(sample: Sample, rng: np.random.Generator, low: int = 640, high: int = 2560) -> Sample:
    """The sample at a width and a height drawn independently and uniformly from low .. high - 1.

    It destroys the proportions on purpose: the recipe of MMOCR's text detectors (`ScaleAspectJitter`).
    """
    width, height = (int(side) for side in rng.integers(low, high, size=2))
    return resize(sample, height, width)


def _random_window(
    length: int, size: int, scale: float, span: tuple[float, float] | None, rng: np.random.Generator
) -> tuple[float, float, int, int]:
    """Along one axis of a picture: which stretch of it is cut, and which whole pixels of the window that fills.

    `span` is the stretch of the object that the window has to hold, if any.
    """
    window = size / scale
    if window >= length:
        filled = min(max(round(length * scale), 1), size)
        start = int(rng.integers(0, size - filled + 1))
        return 0.0, float(length), start, start + filled
    low, high = 0.0, length - window
    if span is not None:
        # From "its far end just inside" to "its near end just inside"; the other way round if it is larger.
        first, last = sorted((span[1] - window, span[0]))
        low, high = min(max(first, low), high), max(min(last, high), low)
    start = rng.uniform(low, high)
    return start, start + window, 0, size


def _resize_part(image: np.ndarray, box: tuple[float, float, float, float], width: int, height: int) -> np.ndarray:
    """The part `box` (continuous x1, y1, x2, y2) of an image at height x width pixels, bilinear with antialiasing."""
    x1, y1, x2, y2 = box
    # Pillow takes fractional boxes, but copies whatever array it is given: hand it only the pixels that the filter
    # reaches, which is a new pixel's width (at least an old one's) around the box.
    reach_x, reach_y = math.ceil(max((x2 - x1) / width, 1)), math.ceil(max((y2 - y1) / height, 1))
    left, top = max(math.floor(x1) - reach_x, 0), max(math.floor(y1) - reach_y, 0)
    right = min(math.ceil(x2) + reach_x, image.shape[1])
    bottom = min(math.ceil(y2) + reach_y, image.shape[0])
    part = Image.fromarray(np.ascontiguousarray(image[top:bottom, left:right]))
    box = (x1 - left, y1 - top, min(x2 - left, right - left), min(y2 - top, bottom - top))
    return np.array(part.resize((width, height), Image.Resampling.BILINEAR, box=box))


def _keep_visible(sample: Sample, window: tuple[float, float, float, float], minimum_visible: float) -> Sample:
    """What of the sample's objects lies in `window` x1, y1, x2, y2 of its image."""
    kept, hidden, visible = [], [], []
    for index, polygons in enumerate(sample.parts):
        clipped = [clip(polygon, *window) for polygon in polygons]
        if not any(map(len, clipped)):
            continue
        cut = any(part is not polygon for part, polygon in zip(clipped, polygons, strict=True))
        hidden.append(cut and _area(part for part in clipped if len(part)) < minimum_visible * _area(polygons))
        kept.append(index)
        visible.append([part for part in clipped if len(part)])
    rest = sample.only(kept)
    return replace(
        rest,
        polygons=tuple(polygon for polygons in visible for polygon in polygons),
        ignore=rest.ignore | np.array(hidden, dtype=bool),
        part_of=None if rest.part_of is None else np.repeat(np.arange(len(kept)), [len(parts) for parts in visible]),
        keypoints=None if rest.keypoints is None else _labelled_inside(rest.keypoints, window),
    )


def _area(polygons: Iterable[np.ndarray]) -> float:
    return sum(abs(area(polygon)) for polygon in polygons)


def _labelled_inside(keypoints: np.ndarray, window: tuple[float, float, float, float]) -> np.ndarray:
    """Keypoints (G, J, 3), those outside of `window` x1, y1, x2, y2 as if nobody had labelled them."""
    x, y, _ = np.moveaxis(keypoints, -1, 0)
    inside = (window[0] <= x) & (x <= window[2]) & (window[1] <= y) & (y <= window[3])
    return np.where(inside[..., None], keypoints, 0.0)
