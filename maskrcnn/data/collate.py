"""From samples to a batch: scaling, normalising, padding to one size, targets."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from maskrcnn.config import ImageConfig
from maskrcnn.data.batch_targets import Ignored, batch_targets
from maskrcnn.data.batch_targets import ObjectsLeftOut as ObjectsLeftOut
from maskrcnn.data.transforms import fitted_size, moved
from maskrcnn.structures import Batch, Sample


def normalise(pixels: np.ndarray, image: ImageConfig) -> np.ndarray:
    """(H, W, 3) float32: (rgb / 255 - mean) / deviation of pixels (H, W, 3) from 0 to 255."""
    height, width, channels = pixels.shape
    rows = np.empty((height, width * channels), np.float32)
    _normalise_into(rows, pixels, image)
    return rows.reshape(height, width, channels)


def _normalise_into(rows: np.ndarray, pixels: np.ndarray, image: ImageConfig) -> None:
    """Writes normalised pixels (H, W, 3) to rows (H, W * 3), which may be a part of a batch.

    Whole rows at once, since numpy is several times slower on an innermost dimension of three; and where they are to
    stay, since fresh memory takes longer than the arithmetic.
    """
    height, width, channels = pixels.shape
    deviation = np.array(image.deviation)
    scale, shift = 1 / (255 * deviation), np.array(image.mean) / deviation
    np.multiply(pixels.reshape(height, width * channels), np.tile(scale.astype(np.float32), width), out=rows)
    rows -= np.tile(shift.astype(np.float32), width)


def network_size(height: int, width: int, image: ImageConfig) -> tuple[int, int]:
    """Height and width of a picture scaled until its short or its long side reaches its limit (spec 2.7).

    Pictures are enlarged as well, by at most `image.largest_enlargement`; no side becomes less than one pixel.
    """
    largest = image.largest_enlargement or math.inf
    short_side = min(image.short_side, largest * min(height, width))
    long_side = min(image.long_side, largest * max(height, width))
    return fitted_size(height, width, short_side, long_side, image.rounding)


def to_network_size(sample: Sample, image: ImageConfig) -> tuple[np.ndarray, tuple[float, float]]:
    """A picture as the network wants it when looking for objects: normalised and scaled.

    Returns pixels (H, W, 3) float32 of `network_size`, and the factors by which x and y of its points grow.
    """
    pixels, scale = _scaled(sample, image)
    return normalise(pixels, image), scale


def _scaled(sample: Sample, image: ImageConfig) -> tuple[np.ndarray, tuple[float, float]]:
    """As `to_network_size`, with pixels from 0 to 255."""
    height, width = sample.image.shape[:2]
    new_height, new_width = network_size(height, width, image)
    if (new_height, new_width) == (height, width):
        pixels = sample.image
    elif image.interpolation == "antialias":
        picture = Image.fromarray(sample.image)
        pixels = np.asarray(picture.resize((new_width, new_height), Image.Resampling.BILINEAR))
    else:
        channels = torch.from_numpy(sample.image.astype(np.float32)).permute(2, 0, 1)[None]
        # Normalising is affine and bilinear weights sum to one: it makes no difference which of the two comes first.
        channels = functional.interpolate(channels, (new_height, new_width), mode="bilinear", align_corners=False)
        pixels = channels[0].permute(1, 2, 0).numpy()
        if image.interpolation == "bytes":
            pixels = np.floor(pixels + 0.5)
    return pixels, (new_width / width, new_height / height)


def inference_batch(sample: Sample, image: ImageConfig, *, targets: bool = True) -> Batch:
    """A batch of one picture at the size at which objects are looked for; its detections come in original pixels.

    Its targets (don't-care regions are ignored) make a validation loss possible; without them, the model saves
    the work.
    """
    pixels, scale = _scaled(sample, image)
    images, sizes = _normalised_and_padded([pixels], image, ())
    scaled = moved(sample, sample.image, lambda points: points * scale)
    return Batch(
        images=images,
        image_sizes=sizes,
        original_sizes=torch.tensor([sample.image.shape[:2]]),
        names=(sample.name,),
        targets=batch_targets([scaled], sizes.tolist(), "ignore", None) if targets else None,
    )


def collate(
    samples: Sequence[Sample],
    image: ImageConfig,
    *,
    ignored: Ignored,
    slots: int | None = None,
    padded_sizes: Sequence[tuple[int, int]] = (),
) -> Batch:
    """One batch of B samples as they are: normalised, padded to a common size, objects in G slots.

    ignored: what becomes of don't-care regions. ignore: they go to `Targets.ignore`; background: they are left out
    of the targets; paint, object: as ignore, for those that remain after a transform has painted over the data set's
    own or made objects of them, such as words that a crop cut in two.
    slots: G. None: as many as the fullest image needs, at least 1. An image with more objects than slots gets more
    slots: nothing is dropped.
    padded_sizes: the common size is the first of these (height, width) that holds all samples; without one, it is that
    of the largest sample, up to the next multiple of `image.size_divisor`.

    Objects of which the picture shows no area cannot become targets; a warning `ObjectsLeftOut` counts them.
    Raises ValueError, naming the picture, for a corner that is not finite or a label below 1.
    """
    if not samples:
        raise ValueError("a batch needs at least one sample")
    images, sizes = _normalised_and_padded([sample.image for sample in samples], image, padded_sizes)
    return Batch(
        images=images,
        image_sizes=sizes,
        original_sizes=sizes.clone(),
        names=tuple(sample.name for sample in samples),
        targets=batch_targets(samples, sizes.tolist(), ignored, slots),
    )


def first_that_holds(sizes: Sequence[tuple[int, int]], height: int, width: int) -> int | None:
    """The number of the first of `sizes` (height, width) in which a picture has room; None if there is none."""
    return next((number for number, (h, w) in enumerate(sizes) if h >= height and w >= width), None)


def _normalised_and_padded(
    pictures: Sequence[np.ndarray], image: ImageConfig, padded_sizes: Sequence[tuple[int, int]]
) -> tuple[Tensor, Tensor]:
    """(B, 3, H, W) channels-last with zeros below and to the right, and (B, 2) sizes, of pictures (h, w, 3)."""
    sizes = np.array([picture.shape[:2] for picture in pictures])
    largest = sizes.max(axis=0)
    size = first_that_holds(padded_sizes, *largest.tolist())
    divisor = image.size_divisor
    height, width = (-(-largest // divisor) * divisor).tolist() if size is None else padded_sizes[size]
    # Rows of pixels, each three values side by side, are what channels-last means: no transposition anywhere.
    batch = np.zeros((len(pictures), height, width * 3), dtype=np.float32)
    for rows, picture in zip(batch, pictures, strict=True):
        _normalise_into(rows[: picture.shape[0], : 3 * picture.shape[1]], picture, image)
    images = torch.from_numpy(batch.reshape(len(pictures), height, width, 3))
    return images.permute(0, 3, 1, 2), torch.from_numpy(sizes)
