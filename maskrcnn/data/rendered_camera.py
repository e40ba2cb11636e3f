"""What a camera does to a scene: light, focus, shake, noise, compression."""

from __future__ import annotations

import io
from functools import cache

import numpy as np
from PIL import Image, ImageFilter

DARK = 0.85
"""Exposures below this make a picture dark."""
_NOISE_SIDE = 1280


def take_photograph(rng: np.random.Generator, scene: Image.Image, light: float) -> np.ndarray:
    """(H, W, 3) uint8: an RGB scene, its levels multiplied by `light`; little light adds noise and shake."""
    dark = light < DARK
    focus = rng.random()
    if focus < (0.4 if dark else 0.1):
        shake = rng.uniform(0.7, 2.0)
        scene = scene.filter(ImageFilter.BoxBlur((shake, 0.3) if rng.random() < 0.5 else (0.3, shake)))
    elif focus < 0.35:
        scene = scene.filter(ImageFilter.BoxBlur(rng.uniform(0.2, 0.7)))
    picture = _exposed(rng, scene, light)
    deviation = rng.uniform(3, 10) if dark else rng.uniform(0, 6) * rng.random()
    picture += _noise(rng, scene.height, scene.width) * np.int16(4 * deviation) >> 7
    picture = np.clip(picture, 0, 255, out=picture).astype(np.uint8)
    if rng.random() < 0.25:
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "JPEG", quality=int(rng.integers(30, 90)))
        picture = np.array(Image.open(file))
    return picture


def _exposed(rng: np.random.Generator, scene: Image.Image, light: float) -> np.ndarray:
    """(H, W, 3) int16 grey levels: the scene under uneven and coloured light."""
    down, across = (
        np.linspace(1.0, 1.0 - rng.uniform(0, 0.3), side)[:: 1 if rng.random() < 0.5 else -1]
        for side in (scene.height, scene.width)
    )
    tint = light * rng.uniform(0.93, 1.07, 3)
    # In steps of 1/128, so that 255 times 1.9 fits 16 bits: twice as fast as floating point.
    field = np.multiply.outer((128 * down).astype(np.float32), np.multiply.outer(across, tint).astype(np.float32))
    return (field.astype(np.uint16) * np.asarray(scene) >> 7).astype(np.int16)


def _noise(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """(height, width, 3) int8: a random part of the noise field."""
    field = _noise_field()
    if height > _NOISE_SIDE or width > _NOISE_SIDE:
        field = np.tile(field, (-(-height // _NOISE_SIDE), -(-width // _NOISE_SIDE), 1))
    y = int(rng.integers(field.shape[0] - height + 1))
    x = int(rng.integers(field.shape[1] - width + 1))
    return field[y : y + height, x : x + width]


@cache
def _noise_field() -> np.ndarray:
    """(1280, 1280, 3) int8: Gaussian noise of deviation 32, partly common to the channels, as after demosaicing."""
    # Drawn once: fresh noise for each picture would take longer than the rest of the picture.
    rng = np.random.default_rng(0)
    common = rng.standard_normal((_NOISE_SIDE, _NOISE_SIDE, 1), np.float32)
    own = rng.standard_normal((_NOISE_SIDE, _NOISE_SIDE, 3), np.float32)
    return np.clip(32 * (0.8 * common + 0.6 * own), -127, 127).astype(np.int8)
