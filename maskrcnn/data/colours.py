"""Changing what a picture looks like without moving anything: colours, blur, noise, and painting over."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from PIL import Image, ImageFilter

from maskrcnn.data.polygons import pixel_box, rasterize_parts
from maskrcnn.sample import Sample

_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
"""From RGB to how bright a colour looks (first row) and two differences that are 0 for every grey (NTSC)."""


def change_colour(
    sample: Sample, *, brightness: float = 1.0, contrast: float = 1.0, saturation: float = 1.0, hue: float = 0.0
) -> Sample:
    """The sample with its colours changed; 1, 1, 1, 0 change nothing.

    `saturation` scales the distance of each pixel from its own grey (0: a grey picture), `hue` turns colours around
    the grey axis, in full turns from red over green to blue; `brightness` scales everything; `contrast` scales the
    distance from the picture's mean grey. All are linear: they become one matrix, rounded and cut to 0..255 only once.
    """
    image = Image.fromarray(sample.image)
    # The mean of a small copy: a grey level is wanted, not its digits.
    small = np.asarray(image.reduce(max(min(image.size) // 64, 1)))
    mean_grey = float(small.reshape(-1, 3).mean(axis=0) @ _YIQ[0])
    cosine, sine = saturation * np.cos(2 * np.pi * hue), saturation * np.sin(2 * np.pi * hue)
    turn = np.array([[1.0, 0.0, 0.0], [0.0, cosine, sine], [0.0, -sine, cosine]])
    matrix = contrast * brightness * np.linalg.inv(_YIQ) @ turn @ _YIQ
    # Only brightness moves the mean grey, so it is known without looking again.
    offset = np.full(3, (1 - contrast) * brightness * mean_grey)
    changed = image.convert("RGB", tuple(np.column_stack([matrix, offset]).ravel()))
    return replace(sample, image=np.array(changed))


def jitter_colour(
    sample: Sample,
    rng: np.random.Generator,
    *,
    brightness: float = 0.3,
    contrast: float = 0.3,
    saturation: float = 0.4,
    hue: float = 0.05,
    grey_probability: float = 0.05,
    blur_probability: float = 0.1,
    blur_radius: float = 1.5,
    noise_probability: float = 0.1,
    noise_deviation: float = 10.0,
) -> Sample:
    """The sample with random colours, sometimes grey, blurred or noisy; the polygons stay.

    Brightness, contrast and saturation are factors 1 - value .. 1 + value and hue is -hue .. hue turns, all uniform.
    The Gaussian blur has a standard deviation of up to `blur_radius` pixels, the noise of each pixel and channel one
    of up to `noise_deviation` levels of 255.
    """
    sample = change_colour(
        sample,
        brightness=rng.uniform(1 - brightness, 1 + brightness),
        contrast=rng.uniform(1 - contrast, 1 + contrast),
        saturation=0.0 if rng.random() < grey_probability else rng.uniform(1 - saturation, 1 + saturation),
        hue=rng.uniform(-hue, hue),
    )
    image = sample.image
    if rng.random() < blur_probability:
        blurred = Image.fromarray(image).filter(ImageFilter.GaussianBlur(rng.uniform(0, blur_radius)))
        image = np.array(blurred)
    if rng.random() < noise_probability:
        noisy = rng.standard_normal(image.shape, dtype=np.float32)
        # In place: each further array of this size takes longer to come by than to fill.
        noisy *= np.float32(rng.uniform(0, noise_deviation))
        noisy += image
        image = np.clip(np.rint(noisy, out=noisy), 0, 255, out=noisy).astype(np.uint8)
    return replace(sample, image=image)


def paint_out_ignored(sample: Sample, *, margin: int = 4) -> Sample:
    """The sample with its don't-care regions painted over and taken off its list: what is gone is background.

    Each is filled with the typical colour of the background up to `margin` pixels around its box, and as much noise.
    Pixels that belong to an object as well are left alone. The same sample always becomes the same.
    """
    if not sample.ignore.any():
        return sample
    height, width = sample.image.shape[:2]
    image, rng = sample.image.copy(), np.random.default_rng(0)
    objects, regions = (_cover(sample, flag, height, width) for flag in (False, True))
    parts = sample.parts
    for index in np.flatnonzero(sample.ignore):
        x1, y1, x2, y2 = box = pixel_box(np.concatenate(parts[index]), height, width)
        around = np.s_[max(y1 - margin, 0) : y2 + margin, max(x1 - margin, 0) : x2 + margin]
        background = sample.image[around][~(objects[around] | regions[around])]
        if len(background) == 0:
            background = sample.image[around].reshape(-1, 3)
        painted = rasterize_parts(parts[index], box).astype(bool) & ~objects[y1:y2, x1:x2]
        count = int(painted.sum())
        if count == 0:
            continue
        # Medians: an edge or a letter that reaches into the margin neither tints nor roughens the paint.
        typical = np.median(background, axis=0)
        deviation = 1.4826 * np.median(np.abs(background - typical), axis=0)
        colours = rng.normal(typical, deviation, size=(count, 3))
        image[y1:y2, x1:x2][painted] = np.clip(np.rint(colours), 0, 255).astype(np.uint8)
    return replace(sample.only(np.flatnonzero(~sample.ignore)), image=image)


def _cover(sample: Sample, ignored: bool, height: int, width: int) -> np.ndarray:
    """(H, W) bool: the pixels of all don't-care regions, or of all other objects."""
    cover = np.zeros((height, width), dtype=bool)
    parts = sample.parts
    for index in np.flatnonzero(sample.ignore == ignored):
        x1, y1, x2, y2 = box = pixel_box(np.concatenate(parts[index]), height, width)
        cover[y1:y2, x1:x2] |= rasterize_parts(parts[index], box).astype(bool)
    return cover
