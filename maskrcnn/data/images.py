"""Reading picture files into arrays: any common format, always 8-bit RGB, and a clear error for anything else."""

from __future__ import annotations

import io
from os import PathLike
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

LARGEST_PICTURE = 144_000_000
"""Pixels, say 12,000 x 12,000 (432 MB decoded). A file of a few bytes can claim any size; larger claims are refused
from the header, before anything is decoded."""

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""What is read. Pillow knows more, but some of those formats start other programs or are seldom tested."""

REDUCTIONS = (8, 4, 2, 1)
"""By what the sides of a JPEG can be divided while it is decoded."""

Box = tuple[float, float, float, float]

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
    with _opened(source, name) as image:
        return np.array(_decoded(image, _name(source, name)))


class DecodedPicture(NamedTuple):
    """The pixels of a picture, of full or of reduced size."""

    image: Image.Image
    """RGB."""
    reduction: int = 1
    """Pixel i of `image` stands for pixels i * reduction to (i + 1) * reduction - 1 of the picture, along each axis."""

    def part(self, box: Box, width: int, height: int) -> Image.Image:
        """What lies in a box of the picture, x1, y1, x2, y2 in its own pixels, at width x height pixels.

        Bilinear with antialiasing: when shrinking, each new pixel averages all the old ones it covers.
        """
        box = tuple(corner / self.reduction for corner in box)
        return self.image.resize((width, height), Image.Resampling.BILINEAR, box=box)


class EncodedPicture:
    """A picture that is still a file: its size is known at once, its pixels are decoded when they are needed.

    A JPEG shows a half, a quarter or an eighth of its size for less work than all of it: its blocks of 8 x 8 pixels are
    sums of waves, and without the shorter ones they are the same blocks in fewer pixels.
    """

    def __init__(self, source: str | PathLike | bytes, name: str | None = None) -> None:
        """Raises ValueError for what is no picture, or too large a one, as `read_image` does."""
        self._source, self.name = source, _name(source, name)
        with _opened(source, name) as image:
            self.width, self.height = _stored_size(image)

    def check_size(self, height: int, width: int, annotated: str) -> None:
        """Raises ValueError for a picture of another size than that of its annotations; `annotated` is what messages
        call them."""
        if (self.height, self.width) != (height, width):
            raise ValueError(
                f"{self.name}: found {self.width} x {self.height} pixels, expected {width} x {height}, "
                f"for which {annotated} is annotated"
            )

    def decoded(self, reduction: int = 1) -> DecodedPicture:
        """The pixels, of the size divided by `reduction` (one of REDUCTIONS) and rounded up, or of a larger one.

        Raises ValueError for a damaged picture, as `read_image` does, and for a file that has become another picture.
        """
        with _opened(self._source, self.name) as image:
            wanted = tuple(max(side // reduction, 1) for side in (self.width, self.height))
            drafted = image.draft(None, wanted) if reduction > 1 else None  # None, too, for what is no JPEG
            reduced = round(self.width / drafted[1][2]) if drafted else 1
            pixels = _decoded(image, self.name)
        expected = tuple(-(-side // reduced) for side in (self.width, self.height))
        if pixels.size != expected:
            found = f"{pixels.width} x {pixels.height} pixels"
            raise ValueError(f"{self.name}: found {found}, expected {expected[0]} x {expected[1]}, as its header said")
        return DecodedPicture(pixels, reduced)

    def reduction(self, box: Box, width: int, height: int) -> int:
        """The greatest of REDUCTIONS at which `box` still has width x height pixels or more."""
        x1, y1, x2, y2 = box
        return next((each for each in REDUCTIONS if each <= min((x2 - x1) / width, (y2 - y1) / height)), 1)

    def part(self, box: Box, width: int, height: int) -> Image.Image:
        """As of `DecodedPicture`, decoded no larger than that needs.

        Raises ValueError as `decoded` does, and for a box that leaves the picture.
        """
        picture = self.decoded(self.reduction(box, width, height))
        try:
            return picture.part(box, width, height)
        except ValueError as error:
            whole = f"{self.width} x {self.height} pixels"
            raise ValueError(f"{self.name}: found box {box}, expected one in its {whole} ({error})") from error


def _name(source: str | PathLike | bytes | BinaryIO, name: str | None) -> str:
    """What errors call a picture."""
    if name or isinstance(source, bytes | bytearray | memoryview):
        return name or "picture"
    return str(source) if isinstance(source, str | PathLike) else str(getattr(source, "name", "picture"))


def _opened(source: str | PathLike | bytes | BinaryIO, name: str | None) -> Image.Image:
    """The picture with its header read and nothing decoded; errors as of `read_image`."""
    name, file = _name(source, name), source
    if isinstance(source, bytes | bytearray | memoryview):
        file = io.BytesIO(source)
    elif isinstance(source, str | PathLike) and not Path(source).is_file():
        found = "a folder" if Path(source).is_dir() else "no such file"
        raise ValueError(f"{name}: found {found}, expected a picture")
    try:
        image = Image.open(file, formats=FORMATS)
    except UnidentifiedImageError:
        raise ValueError(f"{name}: found {_beginning(file)}, expected a picture ({', '.join(FORMATS)})") from None
    except Image.DecompressionBombError as error:
        raise ValueError(f"{name}: found {error} Expected at most {LARGEST_PICTURE:,} pixels") from error
    except Exception as error:
        raise _damaged(name, error) from error
    width, height = image.size
    if width * height > LARGEST_PICTURE:
        image.close()
        raise ValueError(f"{name}: found {width} x {height} pixels, expected at most {LARGEST_PICTURE:,} in all")
    return image


def _stored_size(image: Image.Image) -> tuple[int, int]:
    """Width and height of the pixels as they are stored; Pillow has exchanged those of a TIFF that lies on its side."""
    if image.format == "TIFF":
        return image.tag_v2[ExifTags.Base.ImageWidth], image.tag_v2[ExifTags.Base.ImageLength]
    return image.size


def _decoded(image: Image.Image, name: str) -> Image.Image:
    try:
        return _rgb(image)
    except Exception as error:
        raise _damaged(name, error) from error


def _damaged(name: str, error: Exception) -> ValueError:
    """Decoders meet damaged files with whatever comes first: OSError, SyntaxError, KeyError ..., on many lines."""
    if isinstance(error, MemoryError):
        return ValueError(f"{name}: found a picture that asks for more memory than there is, expected a smaller one")
    what = " ".join(str(error).split()) or type(error).__name__
    return ValueError(f"{name}: found a damaged or truncated picture ({what}), expected a complete one")


def to_rgb(image: Image.Image) -> np.ndarray:
    """(H, W, 3) uint8 RGB pixels of a Pillow image of any mode, by the rules of `read_image`."""
    return np.array(_rgb(image))


def _rgb(image: Image.Image) -> Image.Image:
    """The image itself if it is RGB already: of a photograph, a copy takes as long as a good part of decoding it."""
    orientation = image.getexif().get(ExifTags.Base.Orientation) if image.format == "TIFF" else None
    image.load()
    if orientation in _TIFF_AS_STORED:
        # Of all formats, Pillow turns only TIFF upright by itself.
        image = image.transpose(_TIFF_AS_STORED[orientation])
    if image.mode.startswith("I") or image.mode == "F":
        grey = _to_bytes(np.asarray(image), image.mode)
        return Image.fromarray(grey).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return image if image.mode == "RGB" else image.convert("RGB")


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
