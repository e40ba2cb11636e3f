"""Writing text in COCO's and MMOCR's files: annotations by hand, ids, the layouts, and what they cannot express."""

import json
from dataclasses import replace
from itertools import count

import numpy as np
import pytest
from small_files import every_file
from small_samples import sample_with

from maskrcnn.data.coco import COCO
from maskrcnn.data.instances_writer import coco_annotations, mmocr_annotations, write_coco, write_mmocr
from maskrcnn.data.mmocr import MMOCR
from maskrcnn.ops import run_length
from maskrcnn.reference import polygon_masks

QUAD = np.array([[1.254, 2.0], [31.126, 3.0], [29.0, 12.5], [2.0, 11.0]])
BOX = np.array([[40.0, 5.0], [44.0, 5.0], [44.0, 7.0], [40.0, 7.0]])
LINE = np.array([*([4.0 * x, abs(3 - x)] for x in range(7)), *([4.0 * x, 5 + abs(3 - x)] for x in range(7)[::-1])])


# one picture


def test_coco_by_hand():
    ids = count(5)
    assert coco_annotations(sample_with((QUAD, False, "A"), (BOX, True, "x")), 3, ids) == [
        {
            "segmentation": [[1.25, 2.0, 31.13, 3.0, 29.0, 12.5, 2.0, 11.0]],
            # By the shoelace formula, over rounded corners: (-58.51 + 302.125 + 294 - 9.75) / 2.
            "area": 263.9325,
            "iscrowd": 0,
            "image_id": 3,
            "bbox": [1.25, 2.0, 29.88, 10.5],
            "category_id": 1,
            "id": 5,
        },
        {
            # 40 columns of 32 pixels and five rows above it; two pixels in each of four columns; the rest.
            "segmentation": {"counts": [1285, 2, 30, 2, 30, 2, 30, 2, 153], "size": [32, 48]},
            "area": 8,
            "iscrowd": 1,
            "image_id": 3,
            "bbox": [40, 5, 4, 2],
            "category_id": 1,
            "id": 6,
        },
    ]
    assert next(ids) == 7


def test_numbers_of_a_crowd_are_whole_and_a_code_is_that_of_pycocotools():
    (crowd,) = coco_annotations(sample_with((QUAD, True, "x")), 1, count(1))
    assert crowd["segmentation"]["counts"] == polygon_masks.from_polygon(np.round(QUAD, 2), 32, 48)
    assert type(crowd["area"]) is int and {type(number) for number in crowd["bbox"]} == {int}
    assert crowd["area"] == sum(crowd["segmentation"]["counts"][1::2])


def test_mmocr_by_hand():
    """The example of its files, and a line of CTW1500's kind."""
    corners = np.array([[261, 138], [284, 140], [279, 158], [260, 158]])
    first, second = mmocr_annotations(sample_with((corners + 0.2, True, "x"), (LINE, False, "A")), 0, count())
    assert json.dumps(first) == (
        '{"iscrowd": 1, "category_id": 1, "bbox": [260.0, 138.0, 24.0, 20.0], "area": 402.0, '
        '"segmentation": [[261, 138, 284, 140, 279, 158, 260, 158]], "image_id": 0, "id": 0}'
    )
    assert second["segmentation"] == [LINE.astype(int).ravel().tolist()] and len(second["segmentation"][0]) == 28
    assert (second["area"], second["bbox"], second["iscrowd"], second["id"]) == (120.0, [0.0, 0.0, 24.0, 8.0], 0, 1)


def test_a_picture_without_words_has_no_annotations():
    assert coco_annotations(sample_with(), 1, count(1)) == mmocr_annotations(sample_with(), 0, count()) == []


@pytest.mark.parametrize(
    ("annotations", "polygon", "ignore", "message"),
    [
        (coco_annotations, QUAD[::-1], False, "expected a clockwise quadrilateral"),
        (coco_annotations, QUAD * 0.0001, False, "expected a clockwise quadrilateral"),
        (coco_annotations, LINE[::-1], False, "expected a clockwise outline"),
        (coco_annotations, BOX + 100, True, r"found corners \[\[140.0, 105.0\], .*, expected some pixel between them"),
        (mmocr_annotations, QUAD * 0.01, False, "expected a clockwise quadrilateral"),
    ],
)
def test_what_the_formats_cannot_express(annotations, polygon, ignore, message):
    sample = sample_with((QUAD, True, "x"), (polygon, ignore, "a"))
    with pytest.raises(ValueError, match=f"^img_7.jpg: object 2: .*{message}"):
        annotations(sample, 1, count())


def test_coco_needs_no_transcriptions_and_takes_any():
    sample = sample_with((QUAD, False, "two\nlines"), (QUAD, False, "###"))
    assert coco_annotations(sample, 1, count(1)) == coco_annotations(replace(sample, transcriptions=()), 1, count(1))
    with pytest.raises(ValueError, match=r"^img_7\.jpg: object 1: found transcription 'two"):
        mmocr_annotations(sample, 1, count())  # which writes them, too, beside the JSON


# whole data sets


def write(writer, tmp_path) -> dict[str, bytes]:
    train = [sample_with((QUAD, False, "A"), (BOX, True, "x")), sample_with(), sample_with((LINE, False, "é,a"))]
    writer(train, [sample_with((BOX, False, "B"))], tmp_path / "set")
    return every_file(tmp_path / "set")


def test_the_layout_of_coco(tmp_path):
    files = write(write_coco, tmp_path)
    pictures = [*(f"train2017/00000000000{number}.jpg" for number in (1, 2, 3)), "val2017/000000000004.jpg"]
    assert sorted(files) == ["annotations/instances_train2017.json", "annotations/instances_val2017.json", *pictures]
    assert all(files[name].startswith(b"\xff\xd8\xff") for name in pictures)
    train, val = (json.loads(files[f"annotations/instances_{split}2017.json"]) for split in ("train", "val"))
    for content in (train, val):
        assert list(content) == ["info", "licenses", "images", "annotations", "categories"]
        assert content["categories"] == [{"supercategory": "text", "id": 1, "name": "text"}]
    assert train["images"][1] == {"file_name": "000000000002.jpg", "height": 32, "width": 48, "id": 2}
    assert [image["id"] for image in train["images"] + val["images"]] == [1, 2, 3, 4]
    assert [entry["id"] for entry in train["annotations"] + val["annotations"]] == [1, 2, 3, 4]
    assert [entry["image_id"] for entry in train["annotations"] + val["annotations"]] == [1, 1, 3, 4]


def test_the_layout_of_mmocr(tmp_path):
    files = write(write_mmocr, tmp_path)
    numbers = [("test", 1), *(("training", number) for number in (1, 2, 3))]
    assert sorted(files) == [
        *(f"annotations/{split}/gt_img_{number}.txt" for split, number in numbers),
        *(f"imgs/{split}/img_{number}.jpg" for split, number in numbers),
        "instances_test.json",
        "instances_training.json",
    ]
    training, test = (json.loads(files[f"instances_{split}.json"]) for split in ("training", "test"))
    for content in (training, test):
        assert list(content) == ["images", "categories", "annotations"]
        assert content["categories"] == [{"id": 1, "name": "text"}]
    assert training["images"] == [
        {
            "file_name": f"training/img_{number}.jpg",
            "height": 32,
            "width": 48,
            "segm_file": f"training/gt_img_{number}.txt",
            "id": image_id,
        }
        for image_id, number in ((0, 3), (1, 2), (2, 1))  # not sorted by name
    ]
    assert [(entry["id"], entry["image_id"]) for entry in training["annotations"]] == [(0, 0), (1, 2), (2, 2)]
    assert [(entry["id"], entry["image_id"]) for entry in test["annotations"]] == [(0, 0)]
    assert files["annotations/training/gt_img_1.txt"] == (
        b"\xef\xbb\xbf1,2,31,3,29,12,2,11,A\r\n40,5,44,5,44,7,40,7,###\r\n"
    )
    line = ",".join(map(str, LINE.astype(int).ravel()))
    assert files["annotations/training/gt_img_3.txt"].decode("utf-8-sig") == f"{line},é,a\r\n"
    assert files["annotations/test/gt_img_1.txt"] == b"40,5,44,5,44,7,40,7,B\r\n"


def test_both_are_read_back(tmp_path):
    write(write_coco, tmp_path / "coco")
    data = COCO(tmp_path / "coco" / "set", "train2017")
    assert data.problems == () and data.class_names == ("text",) and [len(one.labels) for one in data] == [2, 0, 1]
    np.testing.assert_array_equal(data[0].polygons[0], np.round(QUAD, 2))
    assert data.file.objects[1].segmentation == run_length.from_polygons([BOX], 32, 48)[0]
    write(write_mmocr, tmp_path / "mmocr")
    data = MMOCR(tmp_path / "mmocr" / "set")
    assert data.problems == () and data.names == [f"training/img_{number}.jpg" for number in (1, 2, 3)]
    assert [len(one.labels) for one in data] == [2, 0, 1] and data[0].ignore.tolist() == [False, True]
    np.testing.assert_array_equal(data[2].polygons[0], LINE)


@pytest.mark.parametrize("writer", [write_coco, write_mmocr])
def test_a_sample_that_cannot_be_written_leaves_nothing(tmp_path, writer):
    with pytest.raises(ValueError, match=r"^img_7\.jpg: object 1: "):
        writer([sample_with((QUAD, False, "A"))], [sample_with((QUAD[::-1], False, "A"))], tmp_path / "set")
    assert list(tmp_path.iterdir()) == []
