"""MMOCR's converted files: a file by hand, what is left out, hostile entries."""

import copy
import json

import numpy as np
import pytest
from small_files import picture_bytes, write_archive, write_files

from maskrcnn.check_data import check
from maskrcnn.config import AnchorConfig, ImageConfig
from maskrcnn.data.mmocr import MMOCR, parse_instances

QUAD = [261, 138, 284, 140, 279, 158, 260, 158]
LINE = [*(value for x in range(7) for value in (x, 0)), *(value for x in range(7)[::-1] for value in (x, 5))]
NAME = "instances_training.json"


def annotation(number: int, image: int = 0, **changes: object) -> dict:
    entry = {
        "iscrowd": 1,
        "category_id": 1,
        "bbox": [260.0, 138.0, 24.0, 20.0],
        "area": 402.0,
        "segmentation": [QUAD],
        "image_id": image,
        "id": number,
    }
    return entry | changes


def instances() -> dict:
    """Two pictures, not sorted: one word and one don't-care in img_10, nothing in img_2."""
    pictures = [("training/img_10.jpg", 0), ("training/img_2.jpg", 1)]
    return {
        "images": [
            {"file_name": file, "height": 48, "width": 64, "segm_file": file.replace("img", "gt_img"), "id": number}
            for file, number in pictures
        ],
        "categories": [{"id": 1, "name": "text"}],
        "annotations": [annotation(0), annotation(1, iscrowd=0, segmentation=[LINE], text="a line")],
    }


def parse(value: object):
    return parse_instances(json.dumps(value).encode(), NAME)


def test_a_file_by_hand():
    pictures, problems = parse(instances())
    assert problems == []
    (first, words), (second, none) = pictures
    assert (first.file_name, second.file_name, none) == ("training/img_10.jpg", "training/img_2.jpg", [])
    np.testing.assert_array_equal(words[0].polygon, [[261, 138], [284, 140], [279, 158], [260, 158]])
    assert [(word.ignore, word.transcription, len(word.polygon)) for word in words] == [
        (True, "", 4),
        (False, "a line", 14),
    ]


def test_what_mmocr_leaves_out_is_counted_and_said():
    value = instances()
    value["annotations"] = [
        annotation(0, ignore=1),
        annotation(1, area=0),
        annotation(2, bbox=[1, 2, 0.5, 9]),
        annotation(3, bbox=[1, 2, 9, 0]),
        annotation(4, bbox=[1, 2, 1, 1], area=0.1),
    ]
    pictures, problems = parse(value)
    assert len(pictures[0][1]) == 1
    assert [str(problem) for _, problem in problems] == [
        f"{NAME}: training/img_10.jpg: annotations[0]: found ignore; skipped",
        f"{NAME}: training/img_10.jpg: annotations[1]: found area 0; skipped",
        f"{NAME}: training/img_10.jpg: annotations[2]: found a box of 0.5 x 9; skipped",
        f"{NAME}: training/img_10.jpg: annotations[3]: found a box of 9 x 0; skipped",
    ]
    assert all(problem.skipped for _, problem in problems)


@pytest.fixture
def small_set(tmp_path):
    pictures = {f"imgs/training/img_{number}.jpg": picture_bytes() for number in (2, 10)}
    return write_files(tmp_path, pictures | {NAME: json.dumps(instances())})


def test_the_data_set(small_set):
    value = instances()
    flat = [[1, 1, 2, 2, 3, 3]]
    value["annotations"] += [annotation(2, image=1, area=-1), annotation(3, image=1, segmentation=flat)]
    write_files(small_set, {NAME: json.dumps(value)})
    with pytest.warns(UserWarning, match=r"skipped 2: instances_training.json: training/img_2.jpg: annotations\[2\]"):
        data = MMOCR(small_set)
    assert data.names == ["training/img_10.jpg", "training/img_2.jpg"] and data.class_names == ("text",)
    sample = data[0]
    assert sample.image.shape == (48, 64, 3) and sample.ignore.tolist() == [True, False]
    assert data[1].polygons == ()
    assert "without area" in data.problems[1].what
    assert MMOCR(small_set, "img_10..img_20").names == ["training/img_10.jpg"]
    assert MMOCR(small_set, "img_10..img_20").problems == ()


def test_pictures_may_be_in_a_zip_and_must_be_there(small_set):
    files = {path.name: path.read_bytes() for path in (small_set / "imgs/training").iterdir()}
    for path in (small_set / "imgs/training").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match=r"found no imgs/training/img_10\.jpg, imgs/training/img_2\.jpg \(2 in all\)"):
        MMOCR(small_set)
    (small_set / "imgs/training").rmdir()
    write_archive(small_set / "imgs/training.zip", files)
    assert MMOCR(small_set)[1].image.shape == (48, 64, 3)
    with pytest.raises(ValueError, match=r"found imgs, instances_training\.json; expected instances_val\.json"):
        MMOCR(small_set, "validation")


def test_pictures_of_another_size_are_refused_by_name(small_set):
    write_files(small_set, {"imgs/training/img_2.jpg": picture_bytes(60, 50)})
    data = MMOCR(small_set)
    message = (
        "training/img_2.jpg: found 60 x 50 pixels, expected 64 x 48, "
        "for which image 1 of instances_training.json is annotated"
    )
    for read in (data.__getitem__, data.undecoded):
        with pytest.raises(ValueError, match=f"^{message}$"):
            read(1)
    assert data[0].image.shape == (48, 64, 3) and data.picture_size(0) == (48, 64)
    found = check(data, AnchorConfig(), ImageConfig())
    assert found.unreadable == (message,) and not found.problems and found.images == 2


def test_of_many_images_the_one_that_is_there_twice_is_named():
    """60,000 names: each looked for among all the others, they would take a minute."""
    images = [{"id": number, "file_name": f"{number}.jpg", "height": 4, "width": 6} for number in range(60_000)]
    images[59_998]["file_name"] = "59999.jpg"
    with pytest.raises(ValueError, match=rf"^{NAME}: found image '59999\.jpg' twice, expected each once$"):
        parse({"images": images, "categories": [], "annotations": []})


def test_of_an_outline_without_end_a_problem_quotes_the_beginning(small_set):
    value = instances()
    value["annotations"] = [annotation(0, segmentation=[[number % 1000 for number in range(32_000)]])]
    value["annotations"][0]["segmentation"][0][1::2] = [7] * 16_000
    write_files(small_set, {NAME: json.dumps(value)})
    with pytest.warns(UserWarning, match="skipped 1"):
        (problem,) = MMOCR(small_set).problems
    assert problem.what == "found a polygon without area [0, 7, 2, 7, 4, 7, 6, 7, ...]; skipped"


def changed(path: str, value: object) -> dict:
    """The file with one entry exchanged: `path` is keys and indices between dots."""
    whole = copy.deepcopy(instances())
    *way, last = (int(key) if key.isdigit() else key for key in path.split("."))
    entry = whole
    for key in way:
        entry = entry[key]
    if value is KeyError:
        del entry[last]
    else:
        entry[last] = value
    return whole


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("images", KeyError, "found no images, expected one"),
        ("images", {}, "found images: an object, expected a list"),
        ("images.1", 7, r"images\[1\]: found a number, expected an object"),
        ("images.1.id", 0, r"images\[1\]: found id 0 a second time"),
        ("images.1.id", True, r"images\[1\]: found id 'True', expected a whole number from 0 to"),
        ("images.1.id", 10**400, r"images\[1\]: found id '1000.*\.\.\.', expected a whole number from 0 to 9223372036"),
        ("images.1.height", -1, r"images\[1\]: found height '-1'"),
        ("images.1.file_name", "../../etc/passwd", r"images\[1\]: found file_name '../../etc/passwd', expected a"),
        ("images.1.file_name", "/etc/passwd", r"images\[1\]: found file_name"),
        ("images.1.file_name", "c:\\x.jpg", r"images\[1\]: found file_name"),
        ("images.1.file_name", "a\n.jpg", r"images\[1\]: found file_name"),
        ("images.1.file_name", None, r"images\[1\]: found file_name 'None', expected a relative path"),
        ("images.1.file_name", "", r"images\[1\]: found file_name"),
        ("images.1.file_name", ["x"], r"images\[1\]: found file_name a list"),
        ("images.1.file_name", "training/img_10.jpg", "found image 'training/img_10.jpg' twice"),
        ("annotations.1.image_id", 9, r"annotations\[1\]: found image_id 9, expected the id of an image"),
        ("annotations.1.category_id", 9, r"annotations\[1\]: found category_id 9, expected the id of a category"),
        ("annotations.1.iscrowd", 2, r"annotations\[1\]: found iscrowd '2', expected 0 or 1"),
        ("annotations.1.bbox", [1, 2, 3], r"annotations\[1\]: found bbox a list, expected 4 finite numbers"),
        ("annotations.1.bbox", [1, 2, 3, "4"], r"annotations\[1\]: found bbox a list"),
        ("annotations.1.area", [402.0], r"annotations\[1\]: found area a list, expected 1 finite numbers"),
        ("annotations.1.bbox", 4, r"annotations\[1\]: found bbox '4', expected 4 finite numbers"),
        ("annotations.1.area", None, r"annotations\[1\]: found area 'None'"),
        ("annotations.1.segmentation", {"counts": []}, r"annotations\[1\]: found segmentation: an object, expected"),
        ("annotations.1.segmentation", [QUAD, QUAD], r"annotations\[1\]: found segmentation: a list of 2, expected"),
        ("annotations.1.segmentation", [[1, 2, 3]], r"annotations\[1\]: found segmentation of 3 numbers"),
        ("annotations.1.segmentation", [[1, 2, 3, 4, 5, 1e300]], r"annotations\[1\]: found '1e\+300' in segmentation"),
        ("annotations.1.segmentation", [[1, 2, 3, 4, 5, []]], r"annotations\[1\]: found a list in segmentation"),
        ("annotations.1.text", 5, r"annotations\[1\]: found text '5', expected characters of Unicode"),
        ("annotations.1.text", "\ud800", r"annotations\[1\]: found text"),
    ],
)
def test_bad_entries_are_named(path, value, message):
    with pytest.raises(ValueError, match=f"^{NAME}: {message}"):
        parse(changed(path, value))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"images": [],\n "x" 3}', r":2: found damaged or incomplete JSON \(Expecting ':' delimiter, column 6\)"),
        (b"", ":1: found damaged or incomplete JSON"),
        (b'{\n"x": "\xff"}', ":2: found byte 0xff, expected UTF-8"),
        (b'{"images": [NaN], "categories": []}', r": images\[0\]: found a number, expected an object"),
        (b"[" * 100_000, ": found damaged or incomplete JSON .*recursion"),
        (b'{"images": ' + b"9" * 5000 + b"}", r": found damaged or incomplete JSON \(Exceeds the limit"),
        (b'{"images": [], "images": []}', r": found damaged or incomplete JSON \(key 'images' twice in one object\)"),
        (b"[]", ": found a list, expected an object"),
    ],
)
def test_what_is_no_such_file(content, message):
    with pytest.raises(ValueError, match=f"^{NAME}{message}"):
        parse_instances(content, NAME)
