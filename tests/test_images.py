"""Reading pictures: every mode and format as 8-bit RGB, sizes from 1 pixel up, and one-line errors."""

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFilter

from maskrcnn.data.images import LARGEST_PICTURE, EncodedPicture, read_image


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


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["TIFF", "JPEG", "PNG", "WEBP"])
def test_however_a_picture_lies_its_header_has_the_size_of_its_pixels(format, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(Image.fromarray(photograph()), format, exif=exif)
    picture, whole = EncodedPicture(content), read_image(content)
    assert (picture.width, picture.height) == (64, 48)
    assert picture.decoded().image.size == (64, 48)
    np.testing.assert_array_equal(np.array(picture.decoded().image), whole)
    # Right of the middle, which would not be there in a picture of 48 x 64.
    np.testing.assert_array_equal(np.array(picture.part((40, 8, 64, 40), 24, 32)), whole[8:40, 40:64])


def test_a_tiff_whose_orientation_stands_in_its_xmp_has_the_size_of_its_pixels():
    """Pillow turns that upright, too, but does not exchange the sides in the header."""
    packet = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    content = encoded(Image.fromarray(photograph()), "TIFF", tiffinfo={700: packet})
    with Image.open(io.BytesIO(content)) as image:
        assert image.getexif()[0x0112] == 6
    picture = EncodedPicture(content)
    assert (picture.width, picture.height) == (64, 48)
    assert picture.decoded().image.size == (64, 48)
    np.testing.assert_array_equal(np.array(picture.decoded().image), photograph())


def test_one_pixel_and_very_large():
    np.testing.assert_array_equal(read_image(encoded(Image.new("RGB", (1, 1), (1, 2, 3)), "PNG")), [[[1, 2, 3]]])
    large = Image.new("L", (8000, 6000), 7)
    large.putpixel((7999, 5999), 200)
    read = read_image(encoded(large, "PNG", compress_level=1))
    assert read.shape == (6000, 8000, 3)
    np.testing.assert_array_equal(read[5999, 7998:], [[7, 7, 7], [200, 200, 200]])


# decoded when needed, and no larger


def scene(height: int, width: int) -> np.ndarray:
    """Blots of all colours and sizes, the stronger the larger, as in photographs."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))
    mixed = np.zeros((height, width, 3))
    for radius in (2, 4, 8, 16, 32):
        blots = np.asarray(noise.filter(ImageFilter.GaussianBlur(radius)))
        mixed += (radius + 4) ** 0.5 * (blots - blots.mean()) / blots.std()
    return (128 + 5 * mixed).clip(0, 255).astype(np.uint8)


def test_of_an_encoded_picture_the_size_is_known_and_the_pixels_are_those_of_the_file(tmp_path):
    path = tmp_path / "x.jpg"
    path.write_bytes(encoded(Image.fromarray(photograph()), "JPEG"))
    for picture, name in ((EncodedPicture(path), str(path)), (EncodedPicture(path.read_bytes(), "x"), "x")):
        assert (picture.height, picture.width, picture.name) == (48, 64, name)
        for _ in range(2):  # as often as one likes
            np.testing.assert_array_equal(np.array(picture.decoded().image), read_image(path))


@pytest.mark.parametrize(("height", "width"), [(128, 192), (125, 187), (121, 185), (9, 3)])
@pytest.mark.parametrize("reduction", [2, 4, 8])
def test_a_reduced_jpeg_has_the_means_of_blocks_for_pixels(height, width, reduction):
    """Also at the lower and right border, where the last block reaches beyond the picture."""
    smooth = np.array(Image.fromarray(scene(height, width)).filter(ImageFilter.GaussianBlur(4)))
    content = encoded(Image.fromarray(smooth), "JPEG", quality=98, subsampling=0)
    image, found = EncodedPicture(content).decoded(reduction)
    if min(height, width) < reduction:  # not even one pixel: then larger than asked for
        assert found < reduction
        return
    assert found == reduction and image.size == (-(-width // reduction), -(-height // reduction))
    below = np.arange(0, height, reduction)
    means = np.add.reduceat(smooth.astype(float), below, axis=0)
    means = np.add.reduceat(means, np.arange(0, width, reduction), axis=1)
    means /= np.diff(below, append=height)[:, None, None]
    means /= np.diff(np.arange(0, width, reduction), append=width)[None, :, None]
    assert np.abs(np.array(image) - means).mean() < 1.5


@pytest.mark.parametrize(("progressive", "subsampling"), [(False, 2), (True, 0)])
@pytest.mark.parametrize("scale", [0.5, 0.45, 0.3, 0.25, 0.2, 0.125, 0.1])
def test_a_part_of_a_reduced_jpeg_is_that_of_the_whole_picture(scale, progressive, subsampling):
    """517 x 389 pixels, no multiple of 8. Where things lie is the same to a fiftieth of a new pixel.

    What is reduced by exactly as much as it is scaled is sharper: no filter comes after.
    """
    content = encoded(
        Image.fromarray(scene(389, 517)), "JPEG", quality=92, progressive=progressive, subsampling=subsampling
    )
    picture, whole = EncodedPicture(content), EncodedPicture(content).decoded()
    for x1, y1, x2, y2 in ((0, 0, 517, 389), (3.3, 5.1, 400, 300), (100.7, 60.2, 517, 389)):
        width, height = int((x2 - x1) * scale), int((y2 - y1) * scale)
        box = (x1, y1, x2, y2)
        reduction = picture.reduction(box, width, height)
        assert reduction == 2 ** int(np.log2(1 / scale) + 1e-9)
        expected = np.array(whole.part(box, width, height)).astype(float)
        difference = np.array(picture.part(box, width, height)) - expected
        assert np.abs(difference).mean() < {2: 1.6, 4: 1.9, 8: 5}[reduction] and expected.std() > 50
        slopes = np.stack(np.gradient(expected, axis=(0, 1)), axis=-1).reshape(-1, 2)
        shift = np.linalg.lstsq(slopes, difference.ravel(), rcond=None)[0]
        assert np.abs(shift).max() < 0.02


def test_a_picture_is_reduced_only_as_far_as_both_sides_allow():
    picture = EncodedPicture(encoded(Image.new("RGB", (64, 64)), "JPEG"))
    for size, reduction in (((32, 32), 2), ((33, 16), 1), ((16, 32), 2), ((8, 8), 8), ((9, 8), 4), ((1, 1), 8)):
        assert picture.reduction((0, 0, 64, 64), *size) == reduction
    assert picture.reduction((10.5, 3, 26.5, 40), 8, 8) == 2


def test_what_is_no_jpeg_is_decoded_whole():
    for format in ("PNG", "WEBP", "TIFF", "BMP", "GIF"):
        image, reduction = EncodedPicture(encoded(Image.fromarray(photograph()), format)).decoded(4)
        assert image.size == (64, 48) and image.mode == "RGB" and reduction == 1


def test_reduced_grey_and_cmyk_become_rgb():
    for mode in ("L", "CMYK"):
        flat = Image.new("RGB", (40, 40), (90, 90, 90)).convert(mode)
        image, reduction = EncodedPicture(encoded(flat, "JPEG", quality=95)).decoded(8)
        assert image.size == (5, 5) and reduction == 8
        np.testing.assert_allclose(np.array(image), 90, atol=2)


# errors


@pytest.mark.parametrize("format", ["JPEG", "PNG", "BMP", "TIFF", "WEBP", "PPM"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_truncated_file_is_named(format, share):
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), format)
    for read in (read_image, lambda *file: EncodedPicture(*file).decoded(2)):
        with pytest.raises(ValueError, match=r"^img_7\.jpg: found .*, expected a (complete one|picture)") as caught:
            read(data[: int(len(data) * share)], "img_7.jpg")
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


def test_a_part_outside_names_the_picture():
    picture = EncodedPicture(encoded(Image.fromarray(photograph()), "JPEG"), "img_7.jpg")
    message = r"^img_7\.jpg: found box \(0, 0, 65, 48\), expected one in its 64 x 48 pixels"
    with pytest.raises(ValueError, match=message):
        picture.part((0, 0, 65, 48), 65, 48)


@pytest.mark.parametrize("reduction", [1, 2])
def test_a_file_that_became_another_picture_is_named(tmp_path, reduction):
    path = tmp_path / "img_7.jpg"
    path.write_bytes(encoded(Image.fromarray(photograph()), "JPEG"))
    picture = EncodedPicture(path, "img_7.jpg")
    path.write_bytes(encoded(Image.new("RGB", (64, 40)), "JPEG"))
    with pytest.raises(ValueError, match=r"^img_7\.jpg: found .* pixels, expected .*, as its header said$"):
        picture.decoded(reduction)


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


def test_a_picture_that_memory_has_no_room_for_is_not_called_damaged(tmp_path, monkeypatch):
    Image.new("RGB", (8, 8)).save(tmp_path / "large.png")
    monkeypatch.setattr("maskrcnn.data.images._rgb", lambda image: bytearray(2**60))
    with pytest.raises(ValueError, match=r"large\.png: found a picture that asks for more memory than there is"):
        read_image(tmp_path / "large.png")


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
