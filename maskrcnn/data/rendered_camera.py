"""What a camera does to a scene: light, focus, shake, noise, compression."""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageChops, ImageFilter

_NOISE_SIDE = 1024


@lru_cache(maxsize=1)
def _noise_field() -> np.ndarray:
    """(1024, 1024, 3) int16: Gaussian noise of deviation 32, common to the channels in part, as after demosaicing."""
    # Drawn once: drawing noise anew for each picture would take longer than all the rest of this module.
    rng = np.random.default_rng(0)
    common = rng.standard_normal((_NOISE_SIDE, _NOISE_SIDE, 1), np.float32)
    own = rng.standard_normal((_NOISE_SIDE, _NOISE_SIDE, 3), np.float32)
    return np.round(32 * (0.8 * common + 0.6 * own)).astype(np.int16)


def take_photograph(rng: np.random.Generator, scene: Image.Image, dark: bool) -> np.ndarray:
    """(H, W, 3) uint8: an RGB scene as a camera sees it; a dark one has more noise and more shake."""
    scene = _lit(rng, scene, dark)
    if rng.random() < (0.4 if dark else 0.1):
        scene = scene.filter(_shake(rng))
    elif rng.random() < 0.25:
        scene = scene.filter(ImageFilter.BoxBlur(rng.uniform(0.2, 0.7)))
    picture = _noisy(rng, np.asarray(scene), rng.uniform(3, 10) if dark else rng.uniform(0, 6) * rng.random())
    if rng.random() < 0.4:
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "JPEG", quality=int(rng.integers(30, 90)))
        picture = np.array(Image.open(file))
    return picture


def _lit(rng: np.random.Generator, scene: Image.Image, dark: bool) -> Image.Image:
    """The scene under uneven light, with exposure, white balance and gamma."""
    spread = rng.uniform(0.0, 0.45)
    corners = 1 - spread * rng.random((2, 3 if rng.random() < 0.5 else 2))
    light = Image.fromarray((255 * corners).astype(np.uint8)).resize(scene.size, Image.Resampling.BICUBIC)
    scene = ImageChops.multiply(scene, Image.merge("RGB", (light, light, light)))
    gain = rng.uniform(0.5, 0.85) if dark else rng.uniform(0.9, 1.3)
    gamma = rng.uniform(0.85, 1.15)
    levels = (np.arange(256) / 255) ** gamma * 255 * gain
    balance = rng.uniform(0.9, 1.1, 3)
    table = np.clip(balance[:, None] * levels, 0, 255).astype(int)
    return scene.point(table.ravel().tolist())


def _shake(rng: np.random.Generator) -> ImageFilter.Kernel:
    """A short straight smear in one of eight directions."""
    kernel = np.zeros((5, 5))
    dx, dy = ((2, 0), (2, 1), (2, 2), (1, 2), (0, 2), (-1, 2), (-2, 2), (-2, 1))[int(rng.integers(8))]
    for step in np.linspace(-1, 1, 9):
        kernel[2 + round(step * dy), 2 + round(step * dx)] += 1
    return ImageFilter.Kernel((5, 5), kernel.ravel().tolist())


def _noisy(rng: np.random.Generator, picture: np.ndarray, deviation: float) -> np.ndarray:
    """A picture (H, W, 3) uint8 plus a random part of the noise field, scaled to a deviation in grey levels."""
    height, width = picture.shape[:2]
    field = _noise_field()
    if height > _NOISE_SIDE or width > _NOISE_SIDE:
        field = np.tile(field, (-(-height // _NOISE_SIDE), -(-width // _NOISE_SIDE), 1))
    y = int(rng.integers(field.shape[0] - height + 1))
    x = int(rng.integers(field.shape[1] - width + 1))
    noise = field[y : y + height, x : x + width] * np.int16(round(4 * deviation)) >> 7
    return np.clip(picture + noise, 0, 255).astype(np.uint8)
