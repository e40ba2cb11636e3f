"""COCO's annotation files: a small one by hand, the real ones, masks from polygons and codes, and what is refused."""

import copy
import json

import numpy as np
import pytest

from maskrcnn.data import json_records
from maskrcnn.data.coco_annotations import CocoCategory, CocoImage, read_annotations, run_lengths
from maskrcnn.ops import run_length
from maskrcnn.reference import polygon_masks
from maskrcnn.reference import run_length as reference

SQUARE = [1, 1, 4, 1, 4, 3, 1, 3]
FILE = {
    "info": "not looked at",
    "images": [
        {"id": 9, "file_name": "b/second.jpg", "height": 6, "width": 6},
        {"id": 0, "file_name": "first.jpg", "height": 3, "width": 4},
    ],
    "categories": [
        {"id": 90, "name": "person", "keypoints": ["head", "foot"], "skeleton": [[1, 2]], "supercategory": "person"},
        {"id": 2, "name": "naïve café"},
    ],
    "annotations": [
        {"id": 0, "image_id": 9, "category_id": 2, "bbox": [1, 1, 3, 2], "area": 6, "iscrowd": 0,
         "segmentation": [SQUARE, [0, 0, 2.5, 0, 2.5, 2.5]]},
        {"id": 7, "image_id": 0, "category_id": 2, "bbox": [1.0, 0.0, 2.0, 3.0], "area": 4.0, "iscrowd": 1,
         "segmentation": {"size": [3, 4], "counts": [4, 4, 4]}},
        {"id": 8, "image_id": 0, "category_id": 90, "bbox": [0, 0, 0, 0], "area": 0, "keypoints": [1, 2, 2, 0, 0, 0],
         "num_keypoints": 1, "segmentation": {"size": [3, 4], "counts": "444"}},
        {"id": -3, "image_id": 9, "category_id": 90, "bbox": [0, 0, 5, 5], "area": 20.5, "segmentation": []},
    ],
}  # fmt: skip


def write(tmp_path, content):
    path = tmp_path / "instances.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


@pytest.fixture
def small(tmp_path):
    return read_annotations(write(tmp_path, FILE))


def test_categories_are_sorted_by_id_and_images_are_not(small):
    assert small.categories == (CocoCategory(2, "naïve café"), CocoCategory(90, "person", ("head", "foot"), ((0, 1),)))
    assert small.images == (CocoImage(9, "b/second.jpg", 6, 6), CocoImage(0, "first.jpg", 3, 4))


def test_objects(small):
    assert [(one.id, one.image_id, one.category_id) for one in small.objects] == [
        (0, 9, 2), (7, 0, 2), (8, 0, 90), (-3, 9, 90),
    ]  # fmt: skip
    assert [one.box for one in small.objects[:2]] == [(1, 1, 3, 2), (1, 0, 2, 3)]
    assert [one.area for one in small.objects] == [6, 4, 0, 20.5]
    assert [one.crowd for one in small.objects] == [False, True, False, False]


def test_polygons_come_as_points_and_codes_as_counts(small):
    first, second, third, fourth = (one.segmentation for one in small.objects)
    assert [part.tolist() for part in first] == [[[1, 1], [4, 1], [4, 3], [1, 3]], [[0, 0], [2.5, 0], [2.5, 2.5]]]
    assert second == third == run_length.RunLengths(3, 4, [4, 4, 4])
    assert fourth is None


def test_keypoints(small):
    assert [one.keypoint_count for one in small.objects] == [0, 0, 1, 0]
    assert small.objects[2].keypoints.tolist() == [[1, 2, 2], [0, 0, 0]]
    assert small.objects[0].keypoints is None and small.objects[3].keypoints is None


def test_an_object_of_several_polygons_is_their_union(small):
    """Both polygons cover the pixel at (1, 1) or so; the loop that walks outlines says which."""
    polygons = small.objects[0].segmentation
    (code,) = run_lengths([polygons], 6, 6)
    expected = [reference.decode(polygon_masks.from_polygon(part, 6, 6), 6, 6) for part in polygons]
    assert (run_length.decode([code])[0] == (expected[0] | expected[1])).all()
    assert run_length.area([code])[0] == 6 + expected[1].sum() - 1


def test_codes_of_several_masks_keep_their_order(small):
    square = np.reshape(SQUARE, (4, 2))
    given = run_length.RunLengths(6, 6, [35, 1])
    one, two, three, four = run_lengths([(square,), given, (square, square + 1), (square + 2,)], 6, 6)
    assert run_length.area([one, two, three, four]).tolist() == [6, 1, 10, 6]
    assert two == given
    with pytest.raises(ValueError, match="found a code of 6 x 6 pixels, expected 5 x 6"):
        run_lengths([given], 5, 6)
    assert run_lengths([], 6, 6) == []


def test_an_empty_file_is_legal(tmp_path):
    empty = read_annotations(write(tmp_path, {"images": [], "categories": [], "annotations": []}))
    assert empty.images == empty.categories == empty.objects == ()


def test_the_real_files(shared_data):
    folder = shared_data / "coco" / "annotations"
    instances = read_annotations(folder / "instances_val2017.json")
    assert (len(instances.categories), len(instances.images), len(instances.objects)) == (80, 79, 624)
    assert instances.categories[0].name == "person" and instances.categories[-1].id == 90
    sizes = {image.id: (image.height, image.width) for image in instances.images}
    assert sum(one.crowd for one in instances.objects) == 5
    codes = [run_lengths([one.segmentation], *sizes[one.image_id])[0] for one in instances.objects]
    declared = np.array([one.box for one in instances.objects])
    declared[:, 2:] += declared[:, :2]
    assert (np.abs(run_length.box(codes) - declared).max(axis=1) <= 1).mean() > 0.9, "boxes are those of the masks"
    people = read_annotations(folder / "person_keypoints_val2017.json")
    assert {one.keypoints.shape for one in people.objects} == {(17, 3)}
    assert [len(category.skeleton) for category in people.categories] == [19]


MISTAKES = [
    ("annotations", 1, {"id": 0}, "annotation[1]: found id 0 a second time, expected ids that differ"),
    ("images", 1, {"id": 9}, "image[1]: found id 9 a second time"),
    ("categories", 1, {"id": 90}, "category[1]: found id 90 a second time"),
    ("annotations", 1, {"id": "7"}, "annotation[1]: found id '7', expected a whole number"),
    ("annotations", 1, {"id": True}, "annotation[1]: found id True"),
    ("annotations", 1, {"id": 2**64}, "annotation[1]: found id 18446744073709551616"),
    ("annotations", 1, {"id": ...}, "annotation[1]: found no id"),
    ("annotations", 1, {"image_id": 4}, "annotation 7: found image_id 4, expected the id of one of the 2 image entrie"),
    ("annotations", 1, {"category_id": 1}, "annotation 7: found category_id 1, expected the id of one of the 2 catego"),
    ("annotations", 1, {"category_id": None}, "annotation 7: found category_id null, expected a whole number"),
    ("annotations", 1, {"bbox": ...}, "annotation 7: found no bbox, expected four finite numbers x, y, width, height"),
    ("annotations", 1, {"bbox": [1, 2, 3]}, "annotation 7: found bbox [1, 2, 3], expected four"),
    ("annotations", 1, {"bbox": [1, 2, -3, 4]}, "annotation 7: found bbox [1.0, 2.0, -3.0, 4.0]"),
    ("annotations", 1, {"bbox": [1, float("nan"), 3, 4]}, "annotation 7: found bbox [1, nan, 3, 4]"),
    ("annotations", 1, {"bbox": [1, 2, 3, float("inf")]}, "annotation 7: found bbox [1, 2, 3, inf]"),
    ("annotations", 1, {"bbox": [1, "2", 3, 4]}, "annotation 7: found bbox [1, '2', 3, 4]"),
    ("annotations", 1, {"bbox": [1, 2, 3, 10**400]}, "annotation 7: found bbox [1, 2, 3, 1000"),
    ("annotations", 1, {"bbox": [1e9, 2, 3, 4]}, "annotation 7: found bbox [1000000000.0, 2, 3, 4]"),
    ("annotations", 1, {"bbox": {"x": 1}}, "annotation 7: found bbox {'x': 1}"),
    ("annotations", 1, {"area": -1}, "annotation 7: found area -1, expected a number, 0 or more"),
    ("annotations", 1, {"area": float("nan")}, "annotation 7: found area NaN"),
    ("annotations", 1, {"area": ...}, "annotation 7: found no area"),
    ("annotations", 1, {"iscrowd": 2}, "annotation 7: found iscrowd 2, expected a whole number from 0 to 1"),
    ("annotations", 0, {"segmentation": [SQUARE[:-1]]}, "annotation 0: found a polygon of 7 numbers, expected a list"),
    ("annotations", 0, {"segmentation": [SQUARE, [1, 1, 2, 2]]}, "annotation 0: found a polygon of 4 numbers"),
    ("annotations", 0, {"segmentation": SQUARE}, "annotation 0: found polygon 1, expected a list x, y, x, y"),
    ("annotations", 0, {"segmentation": [[None] * 6]}, "annotation 0: found polygon [None, None, None, None, None, No"),
    ("annotations", 0, {"segmentation": "444"}, "annotation 0: found segmentation '444', expected a list of polygons"),
    ("annotations", 1, {"segmentation": {"size": [3, 4], "counts": [4, 4, 5]}},
     "annotation 7: run lengths: the counts add up to 13 pixels, expected 12 for 3 x 4"),
    ("annotations", 1, {"segmentation": {"size": [4, 3], "counts": [4, 4, 4]}},
     "annotation 7: found a run-length code of size [4, 3], expected [3, 4] as its image"),
    ("annotations", 1, {"segmentation": {"size": [3, 4], "counts": [4, [4], 4]}}, "annotation 7: found counts [4, [4]"),
    ("annotations", 1, {"segmentation": {"size": [3, 4], "counts": [-4, 12, 4]}}, "annotation 7: run lengths: count 0"),
    ("annotations", 1, {"segmentation": {"size": [3, 4], "counts": []}}, "annotation 7: run lengths: the counts add u"),
    ("annotations", 1, {"segmentation": {"size": [3, 4], "counts": "44o"}}, "annotation 7: run lengths: the string en"),
    ("annotations", 1, {"segmentation": {"size": [3, 4]}}, "annotation 7: found counts null, expected a list of whole"),
    ("annotations", 1, {"segmentation": {"counts": "444"}}, "annotation 7: found a run-length code of size null"),
    ("annotations", 2, {"keypoints": [1, 2, 2]}, "annotation 8: found 3 numbers as keypoints, expected 6, for the 2 n"),
    ("annotations", 1, {"keypoints": [1, 2]}, "annotation 7: found 2 numbers as keypoints, expected x, y, v for each"),
    ("annotations", 2, {"keypoints": [1, 2, 3, 0, 0, 0]}, "annotation 8: found v 3 in the keypoints, expected 0, 1 or"),
    ("annotations", 2, {"keypoints": [1, 2, 2, 0, 0, 1]}, "annotation 8: found num_keypoints 1, expected 2, as many"),
    ("annotations", 2, {"keypoints": [1, float("nan"), 2, 0, 0, 1]}, "annotation 8: found keypoints [1, nan, 2, 0, 0,"),
    ("images", 1, {"height": 0}, "image 0: found height 0, expected a whole number from 1"),
    ("images", 1, {"width": 4.0}, "image 0: found width 4.0"),
    ("images", 1, {"height": 2**20, "width": 2**20}, "image 0: found 1048576 x 1048576 pixels"),
    ("images", 1, {"file_name": "../../secret.jpg"}, "image 0: found file_name '../../secret.jpg', expected a relativ"),
    ("images", 1, {"file_name": "/etc/passwd"}, "image 0: found file_name '/etc/passwd'"),
    ("images", 1, {"file_name": "C:\\x.jpg"}, "image 0: found file_name 'C:"),
    ("images", 1, {"file_name": "a\nb.jpg"}, "image 0: found file_name 'a\\nb.jpg', expected a text of printable"),
    ("images", 1, {"file_name": ""}, "image 0: found file_name ''"),
    ("categories", 1, {"name": 5}, "category 2: found name 5, expected a text"),
    ("categories", 0, {"keypoints": "head"}, "category 90: found keypoints 'head', expected a list of names"),
    ("categories", 0, {"skeleton": [[0, 1]]}, "category 90: found skeleton [[0, 1]], expected pairs of numbers from 1"),
]  # fmt: skip


@pytest.mark.parametrize("part, index, changes, message", MISTAKES)
def test_what_is_wrong_is_named(tmp_path, part, index, changes, message):
    content = copy.deepcopy(FILE)
    for key, value in changes.items():
        if value is ...:
            del content[part][index][key]
        else:
            content[part][index][key] = value
    path = write(tmp_path, content)
    with pytest.raises(ValueError) as error:
        read_annotations(path)
    assert str(error.value).startswith(f"{path}: {message}") and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "content, message",
    [
        (json.dumps(FILE, indent=1)[:66], ":6: found damaged or incomplete JSON ("),
        ("", ":1: found damaged or incomplete JSON (Expecting value, column 1), expected the whole file"),
        ("[" * 100_000, ": found damaged or incomplete JSON ("),
        ('{"images": ' + "1" * 5000 + "}", ": found damaged or incomplete JSON ("),
        ('{"images": [], "images": []}', ": found damaged or incomplete JSON (key 'images' twice in one object)"),
        ("[1, 2]", ": found [1, 2], expected an object with images, categories and annotations"),
        ({"images": [], "annotations": []}, ": found no categories, expected images, categories and annotations"),
        (FILE | {"images": {}}, ": found {}, expected a list of images"),
        (FILE | {"annotations": [None]}, ": annotation[0]: found null, expected an object"),
    ],
)
def test_files_that_are_no_annotations(tmp_path, content, message):
    path = write(tmp_path, content)
    with pytest.raises(ValueError) as error:
        read_annotations(path)
    assert str(error.value).startswith(f"{path}{message}") and "\n" not in str(error.value)


def test_missing_oversized_and_misencoded_files(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="found no such file, expected a JSON file"):
        read_annotations(tmp_path / "nothing.json")
    (tmp_path / "bytes.json").write_bytes(b'{"images": "\xff"}')
    with pytest.raises(ValueError, match=r"bytes\.json:1: found byte 0xff, expected UTF-8"):
        read_annotations(tmp_path / "bytes.json")
    with_mark = write(tmp_path, "\ufeff" + json.dumps(FILE))
    assert len(read_annotations(with_mark).objects) == 4
    monkeypatch.setattr(json_records, "LARGEST_JSON", 10)
    with pytest.raises(ValueError, match="expected at most 10"):
        read_annotations(write(tmp_path, FILE))
