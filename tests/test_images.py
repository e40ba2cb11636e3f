"""Reading pictures: every mode and format as 8-bit RGB, sizes from 1 pixel up, and one-line errors."""

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from maskrcnn.data.images import LARGEST_PICTURE, read_image


def encoded(image: Image.Image, format: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def colours() -> np.ndarray:
    """(2, 3, 3): six colours that differ in every position and channel."""
    return np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[10, 20, 30], [255, 255, 255], [0, 0, 0]]], np.uint8)


def photograph() -> np.ndarray:
    """(48, 64, 3): smooth, so that JPEG keeps it nearly as it is."""
    y, x = np.mgrid[0:48, 0:64]
    return np.stack([x * 4, y * 5, 255 - x * 2 - y], axis=2).astype(np.uint8)


@pytest.mark.parametrize("format", ["BMP", "PNG", "PPM", "TIFF"])
def test_lossless_colour_comes_back_exactly(format):
    read = read_image(encoded(Image.fromarray(colours()), format))
    assert read.dtype == np.uint8 and read.flags.writeable and read.flags.c_contiguous
    np.testing.assert_array_equal(read, colours())


def test_jpeg_and_webp_come_back_nearly():
    for format in ("JPEG", "WEBP"):
        read = read_image(encoded(Image.fromarray(photograph()), format, quality=95))
        assert np.abs(read.astype(int) - photograph()).mean() < 4


def test_a_path_bytes_and_an_open_file_give_the_same(tmp_path):
    path = tmp_path / "x.png"
    path.write_bytes(encoded(Image.fromarray(colours()), "PNG"))
    with open(path, "rb") as file:
        for source in (path, str(path), path.read_bytes(), file):
            np.testing.assert_array_equal(read_image(source), colours())


def test_grey_and_one_bit():
    grey = np.array([[0, 128], [200, 255]], np.uint8)
    read = read_image(encoded(Image.fromarray(grey), "PNG"))
    np.testing.assert_array_equal(read, np.repeat(grey[:, :, None], 3, axis=2))
    bits = Image.fromarray(grey).convert("1", dither=Image.Dither.NONE)
    np.testing.assert_array_equal(read_image(encoded(bits, "PNG"))[:, :, 1], [[0, 255], [255, 255]])


def test_palette():
    image = Image.fromarray(colours()).quantize(6, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    expected = np.array(image.convert("RGB"))
    assert image.mode == "P" and len(np.unique(expected.reshape(-1, 3), axis=0)) >= 5
    np.testing.assert_array_equal(read_image(encoded(image, "PNG")), expected)


def test_transparency_is_laid_on_white():
    pixels = np.array([[[0, 0, 0, 0], [0, 0, 0, 255], [100, 0, 200, 51]]], np.uint8)
    read = read_image(encoded(Image.fromarray(pixels), "PNG"))
    np.testing.assert_array_equal(read[0, :2], [[255, 255, 255], [0, 0, 0]])
    np.testing.assert_allclose(read[0, 2], [0.2 * 100 + 0.8 * 255, 0.8 * 255, 0.2 * 200 + 0.8 * 255], atol=1)
    grey_alpha = Image.fromarray(np.array([[[50, 255], [50, 0]]], np.uint8), mode="LA")
    np.testing.assert_array_equal(read_image(encoded(grey_alpha, "PNG"))[0, :, 0], [50, 255])


def test_palette_and_rgb_with_one_transparent_colour():
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putdata([0, 1])
    for format in ("PNG", "GIF"):
        read = read_image(encoded(palette, format, transparency=0))
        np.testing.assert_array_equal(read, [[[255, 255, 255], [40, 50, 60]]])
    colour = Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8))
    read = read_image(encoded(colour, "PNG", transparency=(1, 2, 3)))
    np.testing.assert_array_equal(read, [[[255, 255, 255], [4, 5, 6]]])


def test_sixteen_bits_use_the_whole_range():
    values = np.array([[0, 257, 128 * 257], [65535, 128, 129]], np.uint16)
    expected = [[0, 1, 128], [255, 0, 1]]  # 128 / 257 rounds down, 129 / 257 up
    for format in ("PNG", "TIFF"):
        read = read_image(encoded(Image.fromarray(values), format))
        np.testing.assert_array_equal(read, np.repeat(np.array(expected)[:, :, None], 3, axis=2))
    portable_grey = b"P5 3 2 65535 " + values.astype(">u2").tobytes()
    np.testing.assert_array_equal(read_image(portable_grey)[:, :, 0], expected)
    big_endian = encoded(Image.frombytes("I;16B", (3, 2), values.astype(">u2").tobytes()), "TIFF")
    np.testing.assert_array_equal(read_image(big_endian)[:, :, 0], expected)


def test_wider_integers_are_stretched():
    values = np.array([[-1000, 0, 1000]], np.int32)
    np.testing.assert_array_equal(read_image(encoded(Image.fromarray(values), "TIFF"))[0, :, 0], [0, 128, 255])
    constant = np.full((1, 2), 100_000, np.int32)
    np.testing.assert_array_equal(read_image(encoded(Image.fromarray(constant), "TIFF"))[0, :, 0], [0, 0])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([0.0, 100.4, 255.0], [0, 100, 255]),
        ([-2.0, 0.0, 2.0], [0, 128, 255]),
        ([0.0, np.nan, 1.0], [0, 0, 255]),
        ([0.0, np.inf, 1.0], [0, 0, 255]),
        ([-3e38, 0.0, 3e38], [0, 128, 255]),
    ],
)
def test_floats(values, expected):
    image = Image.fromarray(np.array([values], np.float32))
    np.testing.assert_array_equal(read_image(encoded(image, "TIFF"))[0, :, 2], expected)


def test_cmyk():
    image = Image.fromarray(np.array([[[0, 255, 255, 0], [255, 255, 0, 0], [0, 0, 0, 255]]], np.uint8), mode="CMYK")
    np.testing.assert_array_equal(read_image(encoded(image, "TIFF")), [[[255, 0, 0], [0, 0, 255], [0, 0, 0]]])
    flat = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    assert np.abs(read_image(encoded(flat, "JPEG", quality=95)).astype(int) - (255, 0, 0)).max() < 8


def test_of_an_animation_the_first_frame():
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    for format in ("GIF", "PNG", "WEBP", "TIFF", "MPO"):  # MPO: what 3D cameras call JPEG
        options = {"lossless": True} if format == "WEBP" else {}
        read = read_image(encoded(frames[0], format, save_all=True, append_images=frames[1:], **options))
        np.testing.assert_allclose(read[0, 0], [255, 0, 0], atol=2)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_ignored(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    for format in ("JPEG", "PNG", "WEBP"):
        data = encoded(Image.fromarray(photograph()), format, exif=exif)
        assert Image.open(io.BytesIO(data)).getexif()[0x0112] == orientation
        assert read_image(data).shape == (48, 64, 3)
    tiff = encoded(Image.fromarray(colours()), "TIFF", tiffinfo={0x0112: orientation})
    np.testing.assert_array_equal(read_image(tiff), colours())


def test_one_pixel_and_very_large():
    np.testing.assert_array_equal(read_image(encoded(Image.new("RGB", (1, 1), (1, 2, 3)), "PNG")), [[[1, 2, 3]]])
    large = Image.new("L", (8000, 6000), 7)
    large.putpixel((7999, 5999), 200)
    read = read_image(encoded(large, "PNG", compress_level=1))
    assert read.shape == (6000, 8000, 3)
    np.testing.assert_array_equal(read[5999, 7998:], [[7, 7, 7], [200, 200, 200]])


# errors


@pytest.mark.parametrize("format", ["JPEG", "PNG", "BMP", "TIFF", "WEBP", "PPM"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_truncated_file_is_named(format, share):
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), format)
    with pytest.raises(ValueError, match=r"^img_7\.jpg: found .*, expected a (complete one|picture)") as caught:
        read_image(data[: int(len(data) * share)], "img_7.jpg")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_picture_is_quoted(tmp_path):
    path = tmp_path / "img_3.jpg"
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(
        ValueError, match=r"img_3\.jpg: found a file that begins b'<html>not found<', expected a picture"
    ):
        read_image(path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"img_3\.jpg: found an empty file, expected a picture"):
        read_image(path)


def test_what_is_no_file_is_said(tmp_path):
    with pytest.raises(ValueError, match=r"none\.jpg: found no such file, expected a picture"):
        read_image(tmp_path / "none.jpg")
    with pytest.raises(ValueError, match="found a folder, expected a picture"):
        read_image(tmp_path)


def test_formats_that_start_other_programs_are_refused():
    with pytest.raises(ValueError, match="expected a picture"):
        read_image(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n", "x.eps")


@pytest.mark.parametrize(("width", "height"), [(12_001, 12_000), (60_000, 60_000)])
def test_a_header_that_claims_too_much_is_refused_before_decoding(width, height):
    assert width * height > LARGEST_PICTURE
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    data += struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    with warnings.catch_warnings(), pytest.raises(ValueError, match=r"^bomb\.png: found .*xpected at most 144,000,000"):
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        read_image(data, "bomb.png")


def test_damaged_files_raise_nothing_but_value_error():
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8))
    refused = 0
    for format in ("JPEG", "PNG", "TIFF", "WEBP"):
        original = encoded(noise, format)
        for _ in range(60):
            data = bytearray(original)
            for position in rng.integers(0, min(len(data), 400), size=4):
                data[position] = rng.integers(0, 256)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    assert read_image(bytes(data), "damaged").shape[2] == 3
                except ValueError as error:
                    assert str(error).startswith("damaged: found") and "\n" not in str(error)
                    refused += 1
    assert refused > 60
