"""Moving and cutting pictures with their polygons kept exactly in register.

Each transform is a plain function from one `Sample` to another. Coordinates are continuous (pixel i covers [i, i + 1)),
so a resize by s multiplies them by s, a mirror image is x' = W - x, and nothing anywhere adds half a pixel.
What changes colours only is written in `colours.py`, and can be had from here as well; the crops that training sees
are in `crops.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from PIL import Image

from maskrcnn.data.colours import change_colour as change_colour
from maskrcnn.data.colours import jitter_colour as jitter_colour
from maskrcnn.data.colours import paint_out_ignored as paint_out_ignored
from maskrcnn.data.polygons import area, clip
from maskrcnn.person import mirrored_names
from maskrcnn.sample import Sample

Cut = Literal["polygons", "boxes"]

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
    cut: Cut = "polygons",
    colour: Sequence[int] = PADDING,
) -> Sample:
    """The window of width x height pixels whose top left corner is at x, y; where it leaves the picture, `colour`.

    Polygons are cut at the picture's border, if that lies inside the window, and at the window's. An object of whose
    area less than the fraction `minimum_visible` is left becomes don't-care, and one of which nothing is left is
    dropped. Keypoints outside are no longer labelled.

    cut: with "boxes", the window cuts boxes only. An object is kept if its box reaches into the window, and its
    polygons stay whole, so that what lies in the window of their box becomes its box: that of a slanted word may be
    loose, or hold nothing of the word at all (MMOCR's `RandomCropInstances`).
    """
    picture_height, picture_width = sample.image.shape[:2]
    left, right = np.clip([x, x + width], 0, picture_width)
    top, bottom = np.clip([y, y + height], 0, picture_height)
    image = np.empty((height, width, 3), dtype=np.uint8)
    if (right - left, bottom - top) != (width, height):
        image[:] = colour
        sample = keep_visible(sample, (0, 0, picture_width, picture_height), minimum_visible)
    image[top - y : bottom - y, left - x : right - x] = sample.image[top:bottom, left:right]
    shifted = moved(sample, image, lambda points: points - (x, y))
    return keep_visible(shifted, (0, 0, width, height), minimum_visible, cut)


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

    The centre of the picture becomes the centre of the canvas; the corners left over are `colour`. Polygons are cut at
    the picture's border, which now lies inside; order and winding of their corners stay. Bilinear, without change of
    scale.
    """
    height, width = sample.image.shape[:2]
    forward = turning(degrees)
    new_width, new_height = (math.ceil(round(side, 6)) for side in (np.abs(forward) @ (width, height)).tolist())
    centre, new_centre = np.array([width, height]) / 2, np.array([new_width, new_height]) / 2
    # Pillow asks where each new pixel comes from: the inverse, which for a rotation is the transpose.
    back = np.column_stack([forward.T, centre - forward.T @ new_centre])
    image = Image.fromarray(sample.image).transform(
        (new_width, new_height),
        Image.Transform.AFFINE,
        tuple(back.ravel()),
        Image.Resampling.BILINEAR,
        fillcolor=tuple(colour),
    )
    sample = keep_visible(sample, (0, 0, width, height), 0.0)
    return moved(sample, np.array(image), lambda points: (points - centre) @ forward.T + new_centre)


def turning(degrees: float) -> np.ndarray:
    """(2, 2) matrix that turns points (x, y) counter-clockwise on the screen; quarter turns are exact."""
    cosine, sine = (round(value, 15) for value in (math.cos(math.radians(degrees)), math.sin(math.radians(degrees))))
    return np.array([[cosine, sine], [-sine, cosine]])


def keep_visible(
    sample: Sample, window: tuple[float, float, float, float], minimum_visible: float, cut: Cut = "polygons"
) -> Sample:
    """What of the sample's objects lies in `window` x1, y1, x2, y2 of its image, by the rules of `crop`."""
    kept, hidden, visible = [], [], []
    for index, (polygons, box) in enumerate(zip(sample.parts, sample.boxes, strict=True)):
        clipped = [clip(polygon, *window) for polygon in polygons]
        shown = [part for part in clipped if len(part)]
        if not (shown if cut == "polygons" else _overlap(box, window)):
            continue
        changed = any(part is not polygon for part, polygon in zip(clipped, polygons, strict=True))
        hidden.append(changed and _area(shown) < minimum_visible * _area(polygons))
        kept.append(index)
        visible.append(shown if cut == "polygons" else polygons)
    rest = sample.only(kept)
    return replace(
        rest,
        polygons=tuple(polygon for polygons in visible for polygon in polygons),
        ignore=rest.ignore | np.array(hidden, dtype=bool),
        part_of=None if rest.part_of is None else np.repeat(np.arange(len(kept)), [len(parts) for parts in visible]),
        keypoints=None if rest.keypoints is None else _labelled_inside(rest.keypoints, window),
    )


def _overlap(box: Sequence[float], other: Sequence[float]) -> bool:
    """Whether two boxes x1, y1, x2, y2 share an area."""
    return all(max(box[axis], other[axis]) < min(box[axis + 2], other[axis + 2]) for axis in (0, 1))


def _area(polygons: Iterable[np.ndarray]) -> float:
    return sum(abs(area(polygon)) for polygon in polygons)


def _labelled_inside(keypoints: np.ndarray, window: tuple[float, float, float, float]) -> np.ndarray:
    """Keypoints (G, J, 3), those outside of `window` x1, y1, x2, y2 as if nobody had labelled them."""
    x, y, _ = np.moveaxis(keypoints, -1, 0)
    inside = (window[0] <= x) & (x <= window[2]) & (window[1] <= y) & (y <= window[3])
    return np.where(inside[..., None], keypoints, 0.0)
