"""COCO: a small set by hand, the real one against pycocotools' rules, layouts, and what is wrong with a file."""

import json

import numpy as np
import pytest
from PIL import Image
from small_coco import HOLE, small_coco, write_coco

from maskrcnn.data.coco import COCO
from maskrcnn.data.coco_annotations import run_lengths
from maskrcnn.data.polygons import rasterize_parts
from maskrcnn.ops import run_length

NAMES = ("left_hand", "right_hand", "nose")


def with_keypoints() -> dict:
    """The small set, its cat with three keypoints, two of them labelled, and its second cat with none."""
    content = small_coco()
    content["categories"][0] |= {"keypoints": list(NAMES), "skeleton": [[1, 3], [2, 3]]}
    # What is not labelled should be zeros; some tools leave numbers there.
    content["annotations"][0] |= {"keypoints": [4, 5, 2, 9, 9, 0, 15, 15, 1], "num_keypoints": 2}
    return content


# by hand


def test_labels_count_from_one_in_the_order_of_the_ids(tmp_path):
    data = COCO(write_coco(tmp_path))
    assert data.class_names == ("dog", "cat") and data.category_ids == (3, 7)
    assert data[0].labels.tolist() == [2, 1] and data[1].labels.tolist() == [1, 2]


def test_pictures_come_in_the_order_of_the_file(tmp_path):
    data = COCO(write_coco(tmp_path))
    assert len(data) == 3 and data.names == ["b.png", "a.png", "c.png"] and data.image_ids == (30, 10, 20)
    expected = np.array(Image.open(tmp_path / "train2017" / "b.png"))
    np.testing.assert_array_equal(data[0].image, expected)


def test_an_object_of_two_polygons(tmp_path):
    sample = COCO(write_coco(tmp_path))[0]
    assert sample.part_of.tolist() == [0, 0, 1] and sample.boxes[0].tolist() == [2, 4, 20, 20]
    assert [polygon.tolist() for polygon in sample.parts[0]] == [
        [[2, 4], [10, 4], [10, 12], [2, 12]],
        [[12, 12], [20, 12], [20, 20], [12, 20]],
    ]


def test_crowds_are_to_be_ignored(tmp_path):
    sample = COCO(write_coco(tmp_path))[0]
    assert sample.ignore.tolist() == [False, True]
    assert sample.boxes[1].tolist() == [30, 10, 50, 20]


def test_run_length_codes_keep_every_pixel(tmp_path):
    sample = COCO(write_coco(tmp_path))[1]
    assert sample.boxes.tolist() == [[1, 1, 5, 4]] * 2
    for parts in sample.parts:  # counts, and the compressed string
        np.testing.assert_array_equal(rasterize_parts(parts, (0, 0, 6, 5)), HOLE)


def test_pictures_without_objects_are_there_unless_for_training(tmp_path):
    empty = COCO(write_coco(tmp_path))[2]
    assert empty.polygons == () and empty.labels.shape == (0,) and empty.keypoints is None
    with pytest.warns(UserWarning, match=r"left out 1 of 3 pictures without an object to be found$"):
        training = COCO(tmp_path, for_training=True)
    assert training.names == ["b.png", "a.png"] and training.image_ids == (30, 10)


def test_a_picture_with_nothing_but_a_crowd_teaches_nothing(tmp_path):
    content = small_coco()
    del content["annotations"][0]
    with pytest.warns(UserWarning, match="left out 2 of 3 pictures"):
        assert COCO(write_coco(tmp_path, content), for_training=True).names == ["a.png"]


def test_keypoints_only_when_asked_for(tmp_path):
    write_coco(tmp_path, with_keypoints(), "annotations/person_keypoints_train2017.json")
    sample = COCO(tmp_path, keypoints=True)[0]
    assert sample.keypoint_names == NAMES
    assert COCO(tmp_path, keypoints=True).skeleton == (("left_hand", "nose"), ("right_hand", "nose"))
    assert sample.keypoints.tolist() == [[[4, 5, 2], [0, 0, 0], [15, 15, 1]], [[0, 0, 0]] * 3]
    assert COCO(tmp_path, keypoints=True)[2].keypoints.shape == (0, 3, 3)
    with pytest.raises(ValueError, match="no instances annotations; expected one for the split train"):
        COCO(tmp_path)


def test_pictures_with_too_few_keypoints_teach_nothing(tmp_path):
    content = with_keypoints()
    content["annotations"][3] |= {"keypoints": [1, 1, 2, 2, 2, 1, 3, 3, 2]}  # with b.png's two: three are enough
    write_coco(tmp_path, content, "people.json", "images")
    with pytest.warns(UserWarning, match="left out 2 of 3 pictures without enough keypoints"):
        assert COCO(tmp_path, keypoints=True, for_training=True).names == ["a.png"]


def test_an_object_without_a_mask_has_its_box_for_one(tmp_path):
    content = small_coco()
    del content["annotations"][0]["segmentation"]
    content["annotations"][2]["segmentation"] = []
    data = COCO(write_coco(tmp_path, content))
    assert data[0].polygons[0].tolist() == [[2, 4], [20, 4], [20, 20], [2, 20]]
    assert data[1].polygons[0].tolist() == [[1, 1], [5, 1], [5, 4], [1, 4]]
    found = "instances_train2017.json: found 2 objects without a mask, the first of them annotation 1: boxes instead"
    assert [str(problem) for problem in data.problems] == [found]


def test_a_sample_without_its_picture_takes_no_memory(tmp_path):
    data = COCO(write_coco(tmp_path))
    sample, blank = data[0], data.annotated(0)
    assert blank.image.shape == (40, 60, 3) and blank.image.strides == (0, 0, 0) and not blank.image.any()
    np.testing.assert_array_equal(blank.boxes, sample.boxes)


# layouts


@pytest.mark.parametrize(
    ("annotations", "pictures", "split"),
    [
        ("annotations/instances_val2017.json", "val2017", "val"),
        ("annotations/instances_val2017.json", "val2017", "test"),  # COCO keeps the truth about its test pictures
        ("annotations/instances_val2017.json", "val2017", "val2017"),
        ("annotations/instances_val2017.json", "val2017", "validation"),
        ("annotations/instances_minival.json", "images", "minival"),
        ("annotations/instances_val2017.json", "images/val2017", "val"),
        ("annotations/instances_default.json", "images", "train"),
        ("annotations/instances_default.json", "", "val"),
        ("train/_annotations.coco.json", "train", "train"),
        ("valid/_annotations.coco.json", "valid", "val"),
        ("valid/_annotations.coco.json", "valid", "valid"),
        ("instances_training.json", "imgs", "train"),
        ("instances_train.json", "imgs", "training"),
        ("train.json", "images/train", "train"),
        ("labels.json", "data", "train"),
        ("labels.json", "", "test"),
    ],
)
def test_layouts(tmp_path, annotations, pictures, split):
    data = COCO(write_coco(tmp_path, None, annotations, pictures), split)
    assert data[1].image.shape == (5, 6, 3)


def test_the_annotation_file_itself_may_be_named(tmp_path):
    write_coco(tmp_path, None, "mine/labels_v2.json", "mine")
    write_coco(tmp_path, None, "mine/labels_v1.json", "mine")
    assert len(COCO(tmp_path / "mine" / "labels_v2.json")) == 3


def test_other_annotation_files_of_coco_are_not_in_the_way(tmp_path):
    write_coco(tmp_path)
    for name in ("captions_train2017.json", "person_keypoints_train2017.json", "image_info_test2017.json"):
        (tmp_path / "annotations" / name).write_text("{}")
    assert len(COCO(tmp_path)) == 3


@pytest.mark.parametrize(
    ("files", "split", "message"),
    [
        ((), "train", r"found no instances annotations; expected one for the split train, such as annotations/inst"),
        (("train2014.json", "train2017.json"), "train", r"found train2014.json, train2017.json for the split train; n"),
        (("train.json",), "val", r"found train.json; expected one for the split val, such as"),
        (("a.json", "b.json"), "train", r"found a.json, b.json; expected one for the split train"),
    ],
)
def test_files_that_are_missing_or_not_clear(tmp_path, files, split, message):
    for name in files:
        write_coco(tmp_path, None, name, "images")
    with pytest.raises(ValueError, match=f"^{tmp_path}: {message}"):
        COCO(tmp_path, split)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match="nowhere: found nothing, expected a folder with a COCO annotation file"):
        COCO(tmp_path / "nowhere")


def test_missing_pictures_are_named(tmp_path):
    write_coco(tmp_path)
    (tmp_path / "train2017" / "a.png").unlink()
    with pytest.raises(ValueError, match=r"found 3 pictures, 1 of them missing in .*train2017: a.png$"):
        COCO(tmp_path)


def test_a_name_longer_than_files_can_have_is_a_missing_picture(tmp_path):
    content = small_coco()
    write_coco(tmp_path, content)
    content["images"][1]["file_name"] = "a" * 300
    (tmp_path / "annotations" / "instances_train2017.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"found 3 pictures, 1 of them missing in .*train2017: a{300}$"):
        COCO(tmp_path)


# what is wrong


def changed(**changes) -> dict:
    content = small_coco()
    content["annotations"][0] |= changes
    return content


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bbox": [2, 4, 0.5, 16]}, "annotation 1: found a box of 0.5 x 16 pixels, too small to be seen; skipped"),
        ({"area": 0}, "annotation 1: found a mask without area; skipped"),
        ({"segmentation": {"size": [40, 60], "counts": [2400]}}, "annotation 1: found a mask without area; skipped"),
        ({"segmentation": [[2, 4, 10, 4, 20, 4]]}, "annotation 1: found a mask without area; skipped"),
    ],
)
def test_objects_of_which_nothing_can_be_seen_are_left_out_and_counted(tmp_path, changes, message):
    message = f"instances_train2017.json: {message}"
    with pytest.warns(UserWarning) as warned:
        data = COCO(write_coco(tmp_path, changed(**changes)))
    assert str(warned[0].message).endswith(f"instances_train2017.json: left out 1 of 4 objects ({message})")
    assert data[0].ignore.tolist() == [True]
    assert [(str(problem), problem.skipped) for problem in data.problems] == [(message, True)]


def test_boxes_that_contradict_their_masks_are_reported(tmp_path):
    """Corners instead of width and height, say."""
    data = COCO(write_coco(tmp_path, changed(bbox=[2, 4, 20, 20])))
    (problem,) = data.problems
    expected = "found bbox [2.0, 4.0, 20.0, 20.0], but its mask reaches over [2.0, 4.0, 18.0, 16.0], which is taken"
    assert str(problem).endswith(f"annotation 1: {expected}") and not problem.skipped
    assert data[0].boxes[0].tolist() == [2, 4, 20, 20]


def test_pictures_of_another_size_are_refused_by_name(tmp_path):
    data = COCO(write_coco(tmp_path))
    Image.new("RGB", (60, 41)).save(tmp_path / "train2017" / "b.png")
    message = r"^b.png: found 60 x 41 pixels, expected 60 x 40, for which image 30 of instances_train2017.json is annot"
    with pytest.raises(ValueError, match=message):
        data[0]
    with pytest.raises(ValueError, match=message):
        data.check_picture(0)
    data.check_picture(1)
    (tmp_path / "train2017" / "b.png").write_bytes(b"nonsense")
    with pytest.raises(ValueError, match=r"^b.png: found .* expected a picture"):
        data.check_picture(0)


def test_categories_of_one_name_are_refused(tmp_path):
    content = small_coco()
    content["categories"].append({"id": 9, "name": "dog"})
    with pytest.raises(ValueError, match="found categories 3, 9 all called 'dog', expected different names"):
        COCO(write_coco(tmp_path, content))


def test_no_categories_are_no_classes(tmp_path):
    content = small_coco() | {"categories": [], "annotations": []}
    with pytest.raises(ValueError, match="found no categories, expected at least one class"):
        COCO(write_coco(tmp_path, content))


def test_keypoints_must_exist_and_be_of_one_kind(tmp_path):
    content = small_coco()
    write_coco(tmp_path, content, "people.json", "images")
    with pytest.raises(ValueError, match="found no category with keypoints"):
        COCO(tmp_path, keypoints=True)
    content["categories"][0]["keypoints"], content["categories"][1]["keypoints"] = ["nose"], ["nose", "tail"]
    write_coco(tmp_path, content, "people.json", "images")
    with pytest.raises(ValueError, match=r"found categories with different keypoints \(1 and 2\)"):
        COCO(tmp_path, keypoints=True)


def test_what_the_file_says_is_checked(tmp_path):
    with pytest.raises(ValueError, match="annotation 1: found bbox"):
        COCO(write_coco(tmp_path, changed(bbox=[2, 4, -18, 16])))
    path = tmp_path / "annotations" / "instances_train2017.json"
    path.write_text(json.dumps(small_coco())[:-20])
    with pytest.raises(ValueError, match=r"instances_train2017\.json"):
        COCO(tmp_path)


# the real files


@pytest.mark.parametrize(("split", "images", "objects"), [("train", 32, 288), ("val", 79, 624)])
def test_the_real_files_have_nothing_odd(shared_data, split, images, objects):
    data = COCO(shared_data / "coco", split)
    assert len(data) == images and len(data.class_names) == 80 and data.problems == ()
    assert sum(len(data.annotated(index).labels) for index in range(len(data))) == objects
    for index in range(len(data)):
        data.check_picture(index)
        sample = data.annotated(index)
        bounds, sizes = sample.boxes, sample.image.shape[1::-1]
        assert (bounds[:, :2] >= 0).all() and (bounds[:, 2:] <= sizes).all()


def test_real_masks_agree_with_pycocotools_drawing(shared_data):
    """Bitmaps to the pixel; polygons but for pixels on their outline, which the two rules halve differently."""
    data = COCO(shared_data / "coco", "val")
    masks = {found.id: found for found in data.file.objects}
    crowds = 0
    for index in range(len(data)):
        sample = data.annotated(index)
        height, width = sample.image.shape[:2]
        objects = [found for found in masks.values() if found.image_id == data.image_ids[index]]
        for found, parts in zip(objects, sample.parts, strict=True):
            (code,) = run_lengths([found.segmentation], height, width)
            different = rasterize_parts(parts, (0, 0, width, height)).astype(bool) ^ run_length.decode([code])[0]
            outline = sum(np.abs(np.diff(part, axis=0)).sum() for part in parts)
            assert different.sum() <= 0.2 * outline if not found.crowd else not different.any()
            crowds += found.crowd
    assert crowds == 5


def test_the_real_keypoints(shared_data):
    data = COCO(shared_data / "coco", "val", keypoints=True)
    assert data.class_names == ("person",) and len(data.keypoint_names) == 17
    keypoints = [data.annotated(index).keypoints for index in range(len(data))]
    assert sum(map(len, keypoints)) == 118
    assert sum((points[..., 2] > 0).any(axis=1).sum() for points in keypoints) == 68
