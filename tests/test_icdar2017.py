"""ICDAR2017-MLT: lines by hand, the parts and kinds of the pictures, the splits, errors."""

import numpy as np
import pytest
from small_files import picture_bytes, write_archive, write_files

from maskrcnn.data.icdar2017 import ICDAR2017, LAYOUTS, SCRIPTS, parse_icdar2017, parse_icdar2017_line

SQUARE = "10,20,30,20,30,40,10,40"
TEXTS = "ch8_training_localization_transcription_gt_v2"
VALIDATION_TEXTS = "ch8_validation_localization_transcription_gt_v2"


def test_a_line_by_hand():
    polygon, script, transcription = parse_icdar2017_line("695,885,866,888,867,1146,696,1143,Latin,9")
    np.testing.assert_array_equal(polygon, [[695, 885], [866, 888], [867, 1146], [696, 1143]])
    assert (polygon.dtype, script, transcription) == (np.float64, "Latin", "9")


@pytest.mark.parametrize(
    ("written", "meant"),
    [("a,b,,c", "a,b,,c"), ("", ""), ('"SCAN"', "SCAN"), ("مرحبا", "مرحبا"), ("Latin,x", "Latin,x"), ("###", "###")],
)
def test_everything_after_the_ninth_comma_is_the_transcription(written, meant):
    assert parse_icdar2017_line(f"{SQUARE},Mixed,{written}")[2] == meant


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_scripts(script):
    (word,) = parse_icdar2017(f"{SQUARE},{script},###".encode(), "x")
    assert word.ignore and word.transcription == "###"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"{SQUARE},latin,x", "found script 'latin', expected one of Arabic, Latin, Chinese, .* Mixed, None"),
        (f"{SQUARE},word", "found 8 numbers and no transcription, expected 8"),
        (SQUARE, "found 8 numbers and no script"),
        ("1,2,3,4,5,6,7,Latin,x", "found 'Latin' as number 8, expected 8 integers of at most 6 digits, then the"),
        (f"{SQUARE},{'x' * 99},x", r"found script 'x{37}\.\.\.', expected one of"),
    ],
)
def test_bad_lines_are_named(line, message):
    with pytest.raises(ValueError, match=f"^gt_img_3.txt:2: {message}"):
        parse_icdar2017(f"{SQUARE},None,fine\n{line}\n".encode(), "gt_img_3.txt")


def test_other_scripts_can_be_dont_care():
    content = f"\ufeff{SQUARE},Latin,a\r\n{SQUARE},Korean,b\r\n{SQUARE},Latin,###".encode()
    assert [word.ignore for word in parse_icdar2017(content, "x")] == [False, False, True]
    assert [word.ignore for word in parse_icdar2017(content, "x", "Latin")] == [False, True, True]


@pytest.fixture
def small_set(tmp_path):
    """Five training pictures of every kind in two folders and a zip, one validation picture."""
    pictures = {
        "ch8_training_images_1/img_1.jpg": picture_bytes(),
        "ch8_training_images_1/img_2.JPG": picture_bytes(),
        "ch8_training_images_2/img_3.png": picture_bytes(kind="PNG"),
        "ch8_training_images_2/img_10.Gif": picture_bytes(kind="GIF"),
        "ch8_validation_images/img_1.jpg": picture_bytes(80, 60),
    }
    texts = {f"{TEXTS}/gt_img_{n}.txt": f"{SQUARE},Latin,word {n}\n" for n in (1, 2, 3, 10, 11)}
    write_files(tmp_path, pictures | texts | {f"{VALIDATION_TEXTS}/gt_img_1.txt": f"{SQUARE},None,###"})
    write_archive(tmp_path / "ch8_training_images_8.zip", {"img_11.PNG": picture_bytes(kind="PNG")})
    return tmp_path


def test_the_parts_make_one_set(small_set):
    data = ICDAR2017(small_set)
    assert data.names == ["img_1.jpg", "img_2.JPG", "img_3.png", "img_10.Gif", "img_11.PNG"]
    assert data.class_names == ("text",) and data.problems == ()
    for index, number in enumerate((1, 2, 3, 10, 11)):
        sample = data[index]
        assert sample.transcriptions == (f"word {number}",) and sample.labels.tolist() == [1]
        assert sample.image.shape == (48, 64, 3)
        assert np.abs(sample.image.astype(int) - (200, 100, 50)).max() < 12  # also of the gif


def test_the_splits(small_set):
    assert LAYOUTS.keys() == {"train", "validation"}
    validation = ICDAR2017(small_set, "validation")
    assert validation[0].image.shape == (60, 80, 3) and validation[0].ignore.tolist() == [True]
    assert ICDAR2017(small_set, "img_2..img_10").names == ["img_2.JPG", "img_3.png", "img_10.Gif"]
    with pytest.raises(ValueError, match="found split 'test', expected train, validation or a range such as"):
        ICDAR2017(small_set, "test")


def test_a_number_in_two_parts_is_an_error(small_set):
    write_files(small_set, {"ch8_training_images_2/img_1.png": b""})
    with pytest.raises(ValueError, match=r"found img_1\.jpg in ch8_training_images_1 and img_1\.png, expected one"):
        ICDAR2017(small_set)


def test_a_missing_part_is_noticed(small_set):
    (small_set / "ch8_training_images_8.zip").unlink()
    with pytest.raises(ValueError, match=r"found 1 annotation files without a picture there \(gt_img_11\.txt\)"):
        ICDAR2017(small_set)


def test_pictures_in_one_folder_will_do(tmp_path):
    write_files(tmp_path, {"ch8_training_images/img_7.jpg": picture_bytes(), f"{TEXTS}/gt_img_7.txt": ""})
    assert ICDAR2017(tmp_path)[0].polygons == ()
    with pytest.raises(ValueError, match=r"expected ch8_validation_images and ch8_validation_localization"):
        ICDAR2017(tmp_path, "validation")
