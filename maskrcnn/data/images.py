"""Reading picture files into arrays: any common format, always 8-bit RGB, and a clear error for anything else."""

from __future__ import annotations

import io
from os import PathLike
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

LARGEST_PICTURE = 144_000_000
"""Pixels, say 12,000 x 12,000 (432 MB decoded). A file of a few bytes can claim any size; larger claims are refused
from the header, before anything is decoded."""

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""What is read. Pillow knows more, but some of those formats start other programs or are seldom tested."""

_TIFF_AS_STORED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def read_image(source: str | PathLike | bytes | BinaryIO, name: str | None = None) -> np.ndarray:
    """(H, W, 3) uint8 RGB pixels of a picture: a path, the bytes of a file, or an open binary file.

    The pixels are taken as they are stored: an EXIF orientation is ignored, because annotations are made on stored
    pixels. Transparent pictures are laid on white, 16-bit values are divided by 257, other integers and floats are
    scaled as `_to_bytes` says, and of an animation the first frame is taken.

    `name` is what errors call the picture; by default its path.
    Raises ValueError, in one line with the name, if there is no such file, if it is not one of FORMATS, damaged or
    truncated, or larger than LARGEST_PICTURE.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        name, file = name or "picture", io.BytesIO(source)
    elif isinstance(source, str | PathLike):
        name, file = name or str(source), source
        if not Path(source).is_file():
            found = "a folder" if Path(source).is_dir() else "no such file"
            raise ValueError(f"{name}: found {found}, expected a picture")
    else:
        name, file = name or str(getattr(source, "name", "picture")), source
    try:
        image = Image.open(file, formats=FORMATS)
    except UnidentifiedImageError:
        raise ValueError(f"{name}: found {_beginning(file)}, expected a picture ({', '.join(FORMATS)})") from None
    except Image.DecompressionBombError as error:
        raise ValueError(f"{name}: found {error} Expected at most {LARGEST_PICTURE:,} pixels") from error
    except Exception as error:
        raise _damaged(name, error) from error
    with image:
        width, height = image.size
        if width * height > LARGEST_PICTURE:
            raise ValueError(f"{name}: found {width} x {height} pixels, expected at most {LARGEST_PICTURE:,} in all")
        try:
            return to_rgb(image)
        except Exception as error:
            raise _damaged(name, error) from error


def _damaged(name: str, error: Exception) -> ValueError:
    """Decoders meet damaged files with whatever comes first: OSError, SyntaxError, KeyError ..., on many lines."""
    what = " ".join(str(error).split()) or type(error).__name__
    return ValueError(f"{name}: found a damaged or truncated picture ({what}), expected a complete one")


def to_rgb(image: Image.Image) -> np.ndarray:
    """(H, W, 3) uint8 RGB pixels of a Pillow image of any mode, by the rules of `read_image`."""
    orientation = image.getexif().get(ExifTags.Base.Orientation) if image.format == "TIFF" else None
    image.load()
    if orientation in _TIFF_AS_STORED:
        # Of all formats, Pillow turns only TIFF upright by itself.
        image = image.transpose(_TIFF_AS_STORED[orientation])
    if image.mode.startswith("I") or image.mode == "F":
        grey = _to_bytes(np.asarray(image), image.mode)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return np.array(image.convert("RGB"))


def _to_bytes(values: np.ndarray, mode: str) -> np.ndarray:
    """Grey values (H, W) of more than 8 bits as uint8.

    16-bit files use their whole range, so does everything integer within it: 65535 becomes 255. Floats in [0, 1]
    are multiplied by 255, others up to 255 are taken as they are. Whatever exceeds this is stretched from its least
    to its greatest value. NaN counts as 0.
    """
    if mode == "F":
        values = np.nan_to_num(values.astype(np.float64), posinf=0.0, neginf=0.0)
    low, high = values.min(), values.max()
    if mode == "F" and low >= 0 and high <= 255:
        values = np.rint(values * 255 if high <= 1 else values)
    elif mode != "F" and low >= 0 and high <= 65535:
        values = (values.astype(np.uint32) + 128) // 257
    else:
        values = np.rint((values.astype(np.float64) - low) * (255 / max(float(high) - float(low), 1e-300)))
    return values.astype(np.uint8)


def _beginning(file: str | PathLike | BinaryIO) -> str:
    """What a file that is no picture begins with, for the error message."""
    if isinstance(file, str | PathLike):
        with open(file, "rb") as opened:
            start = opened.read(16)
    else:
        file.seek(0)
        start = file.read(16)
    return f"a file that begins {start!r}" if start else "an empty file"
