"""ICDAR2015: lines by hand, files, the data set from folders and zips, errors, and the real training set."""

import io
import pickle
import shutil
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskrcnn.data import archives
from maskrcnn.data.annotation_files import Problem
from maskrcnn.data.icdar import FOLDERS, ICDAR2015, parse_icdar2015_line
from maskrcnn.data.numbered_pictures import picture_number, select

read_annotations = ICDAR2015.read_annotations

SQUARE = "10,20,30,20,30,40,10,40"


def jpeg(width: int = 64, height: int = 48) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), (200, 100, 50)).save(file, "JPEG")
    return file.getvalue()


def write_split(root, pictures: dict[str, bytes], annotations: dict[str, bytes], split: str = "train") -> None:
    for folder, files in zip(FOLDERS[split], (pictures, annotations), strict=True):
        (root / folder).mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (root / folder / name).write_bytes(content)


@pytest.fixture
def small_set(tmp_path):
    """Pictures 1, 2 and 10: two words and a don't-care; nothing; only a don't-care."""
    words = f"\ufeff{SQUARE},Hello\r\n0,0,5,0,5,5,0,5,###\r\n1,2,3,2,3,4,1,4,$8,888\r\n"
    annotations = {"gt_img_1.txt": words.encode(), "gt_img_2.txt": b"", "gt_img_10.txt": f"{SQUARE},###".encode()}
    write_split(tmp_path, {f"img_{number}.jpg": jpeg() for number in (1, 2, 10)}, annotations)
    return tmp_path


# lines


def test_a_line_by_hand():
    polygon, transcription = parse_icdar2015_line("377,117,463,117,465,130,378,130,Genaxis Theatre")
    np.testing.assert_array_equal(polygon, [[377, 117], [463, 117], [465, 130], [378, 130]])
    assert polygon.dtype == np.float64
    assert transcription == "Genaxis Theatre"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("$8,888", "$8,888"),
        ("$100,000", "$100,000"),
        ("Beanstro,", "Beanstro,"),
        (",", ","),
        ("", ""),
        (" two  words ", " two  words "),
        ('"SCAN"', "SCAN"),
        ('"CARD', '"CARD'),
        ('"We', '"We'),
        (r'"say \"hi\""', 'say "hi"'),
        (r'"a\\b"', r"a\b"),
        ("été", "été"),
        ("a\u2028b\x85c", "a\u2028b\x85c"),
        ("###", "###"),
    ],
)
def test_transcriptions(written, meant):
    assert parse_icdar2015_line(f"{SQUARE},{written}")[1] == meant
    assert read_annotations(f"{SQUARE},{written}\n".encode(), "x").transcriptions == (meant,)


def test_spaces_around_numbers_and_negative_numbers_are_legal():
    polygon, _ = parse_icdar2015_line(" -5, 0 ,4,0, 4,4,0,4,x")
    np.testing.assert_array_equal(polygon, [[-5, 0], [4, 0], [4, 4], [0, 4]])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1,2,3,4,5,6,7,word", "found 'word' as number 8, expected 8 integers"),
        ("1,2,3,4,5,6,7", "found 7 numbers and no transcription, expected 8 integers and a transcription"),
        ("1,2,3,4,5,6,7,8", "found 8 numbers and no transcription, expected 8 integers and a transcription"),
        ("1,2,3.5,4,5,6,7,8,word", r"found '3\.5' as number 3"),
        ("1,,3,4,5,6,7,8,word", "found '' as number 2"),
        ("hello", "found 'hello' as number 1"),
        ("1,2,3,4,5,6,7,1_0,x", "found '1_0' as number 8"),
        ("1,2,3,4,5,6,7,\u0663,x", "found '\u0663' as number 8"),
        ("1,2,3,4,5,6,\x1c7,8,x", "found '.x1c7' as number 7"),
        ("1,2,3,4,5,6,7,1234567,x", "at most 6 digits"),
        ("9" * 10_000 + ",2,3,4,5,6,7,8,x", r"found '9{37}\.\.\.' as number 1"),
        ("nan,2,3,4,5,6,7,8,x", "found 'nan' as number 1"),
    ],
)
def test_a_bad_line_is_reported_with_file_and_number(line, message):
    with pytest.raises(ValueError, match=message):
        parse_icdar2015_line(line)
    with pytest.raises(ValueError, match=rf"^gt_img_3\.txt:2: {message}" if message[0] == "f" else "^gt_img_3.txt:2: "):
        read_annotations(f"{SQUARE},fine\n{line}\n".encode(), "gt_img_3.txt")


# files


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("last_end", [True, False])
def test_byte_order_marks_and_line_ends(mark, line_end, last_end):
    lines = [f"{SQUARE},one".encode(), b"0,0,5,0,5,5,0,5,###"]
    words = read_annotations(mark + line_end.join(lines) + (line_end if last_end else b""), "gt_img_1.txt")
    assert words.transcriptions == ("one", "###")
    np.testing.assert_array_equal(words.ignore, [False, True])
    np.testing.assert_array_equal(words.polygons[0], [[10, 20], [30, 20], [30, 40], [10, 40]])
    assert words.problems == ()


def test_an_empty_file_has_no_words():
    for content in (b"", b"\xef\xbb\xbf", b"\r\n\r\n"):
        polygons, transcriptions, ignore, problems = read_annotations(content, "gt_img_1.txt")
        assert (polygons, transcriptions, problems) == ((), (), ())
        assert ignore.shape == (0,) and ignore.dtype == bool


def test_dont_care_is_exactly_three_hashes():
    content = "\n".join(f"{SQUARE},{text}" for text in ("###", "####", "#", " ###", '"###"', "### ")).encode()
    np.testing.assert_array_equal(read_annotations(content, "x").ignore, [True, False, False, False, True, False])


def test_quadrilaterals_that_cannot_be_used_are_skipped_and_said():
    lines = [
        f"{SQUARE},fine",
        "0,0,10,10,10,0,0,10,no area in all",
        "0,0,60,60,60,0,0,20,crossing itself",
        "0,0,1,1,2,2,3,3,a line",
        "5,5,5,5,5,5,5,5,###",
        "0,40,40,40,40,0,0,0,counter-clockwise",
        "0,0,4,0,4,0,0,4,a triangle",
    ]
    words = read_annotations("\n".join(lines).encode(), "gt_img_3.txt")
    assert words.transcriptions == ("fine", "counter-clockwise", "a triangle")
    np.testing.assert_array_equal(words.polygons[1], [[0, 40], [40, 40], [40, 0], [0, 0]])
    assert [(problem.line, problem.skipped) for problem in words.problems] == [
        (2, True),
        (3, True),
        (4, True),
        (5, True),
        (6, False),
    ]
    assert str(words.problems[1]) == (
        "gt_img_3.txt:3: found a self-crossing quadrilateral [0, 0, 60, 60, 60, 0, 0, 20]; skipped"
    )
    assert "without area" in words.problems[2].what and "without area" in words.problems[3].what
    assert "counter-clockwise" in words.problems[4].what


def test_bytes_that_are_not_utf8_are_reported_with_their_line():
    with pytest.raises(ValueError, match=r"^gt_img_9\.txt:2: found byte 0xe9, expected UTF-8$"):
        read_annotations(f"{SQUARE},ok\n{SQUARE},caf\xe9\n".encode("latin-1"), "gt_img_9.txt")
    with pytest.raises(ValueError, match=r"^gt_img_9\.txt:1: found byte 0xff, expected UTF-8$"):
        read_annotations(f"{SQUARE},ok\n".encode("utf-16"), "gt_img_9.txt")


def test_two_lines_that_became_one_are_said():
    """Everything after the eighth comma is the transcription, so the second word is lost; it must not be in silence."""
    words = read_annotations(f"{SQUARE},a{SQUARE},b\n{SQUARE},1,2,3,4,5,6\n{SQUARE},$8,888".encode(), "gt_img_3.txt")
    assert len(words.polygons) == 3
    assert [str(problem) for problem in words.problems] == [
        f"gt_img_3.txt:1: found corners in the transcription 'a{SQUARE},b', as if two lines were one; kept"
    ]


# names


def test_picture_numbers_and_ranges():
    assert [picture_number(name) for name in ("img_12.jpg", "gt_img_7.txt", "res_img_003.txt")] == [12, 7, 3]
    names = [f"img_{number}.jpg" for number in (10, 9, 1, 2, 11)]
    assert select(names, "img_2..img_10") == ["img_2.jpg", "img_9.jpg", "img_10.jpg"]
    assert select(names, "img_11..img_11") == ["img_11.jpg"]


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("valid", "found split 'valid', expected train, test or a range such as img_1..img_900"),
        ("img_1-img_9", "expected train, test or a range"),
        ("img_3..img_2", r"found numbers 1 to 2, expected some in img_3\.\.img_2"),
        ("img_50..img_60", "found numbers 1 to 2"),
    ],
)
def test_bad_ranges(split, message):
    with pytest.raises(ValueError, match=message):
        select(["img_1.jpg", "img_2.jpg"], split)
    with pytest.raises(ValueError, match="found no number in the name"):
        picture_number("cover.jpg")
    assert picture_number("img_0000000000012.jpg") == 12
    with pytest.raises(ValueError, match=r"^'img_999999999.*found a number of 5000 digits in the name"):
        picture_number(f"img_{'9' * 5000}.txt")  # a zip's entry can be called so


# the data set


def test_samples_in_order_of_their_numbers(small_set):
    data = ICDAR2015(small_set)
    assert data.names == ["img_1.jpg", "img_2.jpg", "img_10.jpg"]
    assert data.class_names == ("text",)
    assert len(data) == 3
    sample = data[0]
    assert sample.name == "img_1.jpg"
    assert sample.image.shape == (48, 64, 3)
    assert sample.transcriptions == ("Hello", "###", "$8,888")
    np.testing.assert_array_equal(sample.labels, [1, 1, 1])
    np.testing.assert_array_equal(sample.ignore, [False, True, False])
    np.testing.assert_array_equal(sample.boxes, [[10, 20, 30, 40], [0, 0, 5, 5], [1, 2, 3, 4]])
    assert data[1].polygons == () and data[1].labels.shape == (0,)
    assert data[2].ignore.all()
    assert [sample.name for sample in data] == data.names  # ends by itself


def test_ranges_select_from_the_training_pictures(small_set):
    assert ICDAR2015(small_set, "img_2..img_10").names == ["img_2.jpg", "img_10.jpg"]
    with pytest.raises(ValueError, match="expected some in"):
        ICDAR2015(small_set, "img_20..img_30")
    with pytest.raises(ValueError, match="expected train, test or a range"):
        ICDAR2015(small_set, "val")


def test_the_test_split(tmp_path):
    write_split(tmp_path, {"img_1.jpg": jpeg()}, {"gt_img_1.txt": f"{SQUARE},word".encode()}, "test")
    assert ICDAR2015(tmp_path, "test")[0].transcriptions == ("word",)
    with pytest.raises(ValueError, match="expected ch4_training_images and ch4_training_localization"):
        ICDAR2015(tmp_path, "train")


@pytest.mark.parametrize("inner", ["", "some folder/"])
def test_zips_read_as_folders(small_set, inner):
    expected = ICDAR2015(small_set)
    expected_samples = [expected[index] for index in range(3)]
    for folder in FOLDERS["train"]:
        with zipfile.ZipFile(small_set / f"{folder}.zip", "w") as archive:
            for path in (small_set / folder).iterdir():
                archive.write(path, inner + path.name)
        shutil.rmtree(small_set / folder)
    data = pickle.loads(pickle.dumps(ICDAR2015(small_set)))  # as workers receive it
    assert data.names == expected.names
    for index, sample in enumerate(expected_samples):
        np.testing.assert_array_equal(data[index].image, sample.image)
        np.testing.assert_array_equal(data[index].boxes, sample.boxes)
        assert data[index].transcriptions == sample.transcriptions


def test_pictures_are_read_only_when_asked_for(small_set):
    (small_set / FOLDERS["train"][0] / "img_2.jpg").write_bytes(jpeg()[:300])
    data = ICDAR2015(small_set)
    assert data.annotations(1).polygons == ()
    data[0]
    with pytest.raises(ValueError, match=r"^img_2\.jpg: found a damaged or truncated picture"):
        data[1]


def test_what_is_skipped_is_warned_of_once_and_listed(small_set):
    folder = small_set / FOLDERS["train"][1]
    (folder / "gt_img_2.txt").write_text("0,0,1,1,2,2,3,3,a line\n0,40,40,40,40,0,0,0,turned\n0,0,9,9,9,0,0,9,crossed")
    (folder / "readme.txt").write_text("not an annotation")
    (folder / "gt_img_3.txt").mkdir()  # a folder is not read, whatever it is called
    with pytest.warns(UserWarning, match=r"skipped 4: gt_img_3\.txt: found in .* and 3 more") as caught:
        data = ICDAR2015(small_set)
    assert len(caught) == 1
    assert [(problem.file, problem.line, problem.skipped) for problem in data.problems] == [
        ("gt_img_3.txt", 0, True),
        ("readme.txt", 0, True),
        ("gt_img_2.txt", 1, True),
        ("gt_img_2.txt", 2, False),
        ("gt_img_2.txt", 3, True),
    ]
    assert isinstance(data.problems[0], Problem)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (folder / "readme.txt").unlink()
        (folder / "gt_img_3.txt").rmdir()
        ICDAR2015(small_set, "img_10..img_10")  # nothing skipped there


# errors


def test_pictures_and_annotations_must_come_in_pairs(tmp_path):
    write_split(tmp_path, {f"img_{n}.jpg": b"" for n in range(1, 9)}, {"gt_img_1.txt": b"", "gt_img_8.txt": b""})
    message = r"found 6 pictures without an annotation file there \(img_2\.jpg, .*img_6\.jpg, \.\.\.\), expected one"
    with pytest.raises(ValueError, match=message):
        ICDAR2015(tmp_path)
    (tmp_path / FOLDERS["train"][1] / "gt_img_20.txt").write_bytes(b"")
    with pytest.raises(ValueError, match=r"found 1 annotation files without a picture there \(gt_img_20.txt\)"):
        ICDAR2015(tmp_path, "img_8..img_30")


def test_a_number_must_not_come_twice(small_set):
    (small_set / FOLDERS["train"][0] / "img_01.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"found img_01\.png and img_1\.jpg, expected one file of each number"):
        ICDAR2015(small_set)


def test_a_folder_that_is_not_the_data_set(tmp_path):
    with pytest.raises(ValueError, match=r"found nothing; expected ch4_training_images and .*, each a folder or a zip"):
        ICDAR2015(tmp_path)
    (tmp_path / "holiday.jpg").write_bytes(b"")
    (tmp_path / "ch4_training_images").mkdir()
    with pytest.raises(ValueError, match=r"found ch4_training_images, holiday\.jpg; expected"):
        ICDAR2015(tmp_path)
    (tmp_path / FOLDERS["train"][1]).mkdir()
    with pytest.raises(ValueError, match=r"found no pictures, expected files such as img_<number>\.jpg"):
        ICDAR2015(tmp_path)
    with pytest.raises(ValueError, match="found nothing, expected the data set's folder"):
        ICDAR2015(tmp_path / "missing")
    with pytest.raises(ValueError, match="found a file, expected the data set's folder"):
        ICDAR2015(tmp_path / "holiday.jpg")


def test_a_bad_annotation_file_stops_with_its_line(small_set):
    (small_set / FOLDERS["train"][1] / "gt_img_2.txt").write_text(f"{SQUARE},ok\n1,2,3,4,5,6,7,word\n")
    with pytest.raises(ValueError, match=r"^gt_img_2\.txt:2: found 'word' as number 8"):
        ICDAR2015(small_set)


def test_annotations_that_are_too_large_are_refused(small_set, monkeypatch):
    monkeypatch.setattr(archives, "LARGEST_TEXTS", 100)
    with pytest.raises(ValueError, match=r"found 106 bytes up to gt_img_10\.txt, expected at most 100 in all"):
        ICDAR2015(small_set)
    monkeypatch.setattr(archives, "LARGEST_TEXT", 70)
    with pytest.raises(ValueError, match=r"gt_img_1\.txt: found 79 bytes, expected at most 70$"):
        ICDAR2015(small_set)
    assert len(ICDAR2015(small_set, "img_2..img_10")) == 2  # what is not asked for is not read


# pictures of one's own


def test_the_folders_that_the_readme_shows_can_be_read(tmp_path):
    readme = (Path(__file__).parent.parent / "datasets" / "README.md").read_text(encoding="utf-8")
    shown = [line[4:] for line in readme.splitlines() if line.startswith("    ")]
    tree = shown[shown.index("ch4_training_images/") :][:4]
    words = [line for line in shown if line.count(",") == 8]
    for folder, file in (tree[:2], tree[2:]):
        (tmp_path / folder).mkdir()
        content = jpeg() if file.endswith(".jpg") else "\n".join(words).encode()
        (tmp_path / folder / file.strip()).write_bytes(content)
    data = ICDAR2015(tmp_path)
    assert data.names == ["img_7.jpg"] and data.problems == ()
    assert data[0].transcriptions == ("Bakery", "###")


# the real training set


def test_the_real_training_set(shared_data):
    data = ICDAR2015(shared_data / "icdar2015")
    words = [data.annotations(index) for index in range(len(data))]
    assert len(data) == 1000
    assert data.names[:3] == ["img_1.jpg", "img_2.jpg", "img_3.jpg"] and data.names[-1] == "img_1000.jpg"
    assert sum(len(found.polygons) for found in words) == 11_886
    assert sum(int(found.ignore.sum()) for found in words) == 7_418
    assert sum("," in text for found in words for text in found.transcriptions) == 18
    assert sum(bool(found.ignore.all()) for found in words) == 21
    assert data.problems == ()
    assert words[0].transcriptions[0] == "Genaxis Theatre"
    assert data[0].image.shape == (720, 1280, 3)


def test_real_ranges(shared_data):
    assert len(ICDAR2015(shared_data / "icdar2015", "img_1..img_900")) == 900
    data = ICDAR2015(shared_data / "icdar2015", "img_901..img_1000")
    assert (len(data), data.names[0], data.names[-1]) == (100, "img_901.jpg", "img_1000.jpg")
