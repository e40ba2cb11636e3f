"""Samples refuse what does not fit together; padded targets can be read back; everything moves to a device at once."""

import dataclasses

import numpy as np
import pytest
import torch

from maskrcnn.structures import Batch, Detections, Sample, Targets


def sample(**changes) -> Sample:
    """A picture of 4 x 6 pixels with a triangle and a square."""
    values = {
        "name": "img_1.jpg",
        "image": np.zeros((4, 6, 3), np.uint8),
        "polygons": (np.array([[0.0, 0], [3, 0], [1, 2]]), np.array([[2.5, 1], [4, 1], [4, 3], [2.5, 3]])),
        "labels": np.array([1, 1]),
        "ignore": np.array([False, True]),
    }
    return Sample(**{**values, **changes})


def two_by_two_targets() -> Targets:
    """Image 0: a bitmap of 2 rows and 3 columns at (1, 2), and an empty slot; image 1: one of 2 x 1 at (4, 0)."""
    return Targets(
        boxes=torch.tensor([[[1.0, 2, 4, 4], [0, 0, 0, 0]], [[4.0, 0, 5, 2], [0, 0, 0, 0]]]),
        labels=torch.tensor([[1, 0], [1, 0]]),
        valid=torch.tensor([[True, False], [False, False]]),
        ignore=torch.tensor([[False, False], [True, False]]),
        bitmaps=torch.tensor([1, 0, 1, 0, 1, 1, 1, 0], dtype=torch.uint8),
        bitmap_boxes=torch.tensor([[[1, 2, 4, 4], [0, 0, 0, 0]], [[4, 0, 5, 2], [0, 0, 0, 0]]]),
        bitmap_offsets=torch.tensor([[0, 0], [6, 0]]),
    )


def test_boxes_of_a_sample_are_the_bounds_of_its_polygons():
    assert sample().boxes.tolist() == [[0, 0, 3, 2], [2.5, 1, 4, 3]]


def test_a_sample_without_objects_has_no_boxes():
    empty = sample(polygons=(), labels=np.zeros(0, np.int64), ignore=np.zeros(0, bool))
    assert empty.boxes.shape == (0, 4)


def test_an_object_of_several_parts_has_one_box_around_them():
    square, triangle = np.array([[2.5, 1], [4, 1], [4, 3], [2.5, 3]]), np.array([[0.0, 0], [3, 0], [1, 2]])
    three = sample(polygons=(square, triangle, square + 1), part_of=np.array([0, 1, 1]))
    assert three.boxes.tolist() == [[2.5, 1, 4, 3], [0, 0, 5, 4]]
    assert [len(parts) for parts in three.parts] == [1, 2] and three.parts[1][1] is three.polygons[2]
    assert [len(parts) for parts in sample().parts] == [1, 1]


def test_no_objects_have_no_parts():
    empty = {"polygons": (), "labels": np.zeros(0, np.int64), "ignore": np.zeros(0, bool)}
    for part_of in (None, np.zeros(0, np.int64)):
        assert sample(**empty, part_of=part_of).parts == ()
        assert sample(**empty, part_of=part_of).boxes.shape == (0, 4)


@pytest.mark.parametrize("part_of", ([1, 1], [0, 0], [1, 0], [0, 2], [0], [-1, 0], [0, 1, 1]))
def test_parts_must_belong_to_objects_in_their_order(part_of):
    with pytest.raises(ValueError, match=r"^img_1.jpg: part_of must name the object of each of 2 polygons, ascending"):
        sample(part_of=np.array(part_of))


def test_a_choice_of_objects_keeps_everything_that_is_theirs():
    square = np.array([[2.5, 1], [4, 1], [4, 3], [2.5, 3]])
    three = sample(
        polygons=(square, square + 1, square + 2, square + 3),
        part_of=np.array([0, 1, 1, 2]),
        labels=np.array([4, 5, 6]),
        ignore=np.array([False, True, False]),
        transcriptions=("a", "b", "c"),
        keypoints=np.arange(9.0).reshape(3, 1, 3),
        keypoint_names=("nose",),
    )
    chosen = three.only([1, 2])
    assert chosen.polygons == three.polygons[1:] and chosen.part_of.tolist() == [0, 0, 1]
    assert chosen.labels.tolist() == [5, 6] and chosen.ignore.tolist() == [True, False]
    assert chosen.transcriptions == ("b", "c") and chosen.keypoints[:, 0, 0].tolist() == [3, 6]
    assert three.only([]).polygons == () and three.only([]).keypoints.shape == (0, 1, 3)
    assert sample().only([1]).part_of is None


def test_keypoints_come_with_their_names():
    points = np.array([[[1.0, 2, 2], [0, 0, 0]], [[3, 1, 1], [3, 2, 2]]])
    named = sample(keypoints=points, keypoint_names=("left_eye", "right_eye"))
    assert named.keypoints is points
    for changes in ({"keypoint_names": ("nose",)}, {"keypoints": points[:1]}, {"keypoints": points[..., :2]}):
        with pytest.raises(ValueError, match=r"^img_1.jpg: keypoints must be \(2, [12], 3\) for 2 objects and"):
            sample(**{"keypoints": points, "keypoint_names": ("left_eye", "right_eye"), **changes})


def test_full_masks_put_each_bitmap_into_its_box():
    masks = two_by_two_targets().full_masks(5, 6)
    assert masks.shape == (2, 2, 5, 6) and masks.dtype == torch.bool
    expected = torch.zeros(5, 6, dtype=torch.bool)
    expected[2, 1] = expected[2, 3] = expected[3, 2] = expected[3, 3] = True
    assert torch.equal(masks[0, 0], expected)
    assert masks[1, 0].nonzero().tolist() == [[0, 4]]
    assert not masks[:, 1].any()


def test_full_masks_of_a_smaller_picture_are_cut():
    masks = two_by_two_targets().full_masks(3, 3)
    assert masks[0, 0].nonzero().tolist() == [[2, 1]]
    assert not masks[1, 0].any()


def test_the_size_of_a_batch_is_its_number_of_images():
    images, sizes = torch.zeros(2, 3, 32, 32), torch.tensor([[30, 32], [32, 20]])
    assert Batch(images, sizes, sizes, ("a", "b")).size == 2


def test_to_moves_every_tensor_also_those_inside():
    """The meta device stands for a GPU: it is a device that every machine has."""
    images, sizes = torch.zeros(2, 3, 32, 32), torch.tensor([[30, 32], [32, 20]])
    batch = Batch(images, sizes, sizes, ("a", "b"), two_by_two_targets()).to("meta")
    moved = [batch.images, batch.image_sizes, batch.original_sizes]
    of_targets = {field.name: getattr(batch.targets, field.name) for field in dataclasses.fields(Targets)}
    assert {name for name, value in of_targets.items() if value is None} == {"keypoints", "quadrilaterals", "seeds"}
    moved += [value for value in of_targets.values() if value is not None]
    assert [tensor.device.type for tensor in moved] == ["meta"] * 10
    assert batch.names == ("a", "b")


def test_to_leaves_what_is_absent_absent():
    detections = Detections(torch.zeros(1, 2, 4), torch.zeros(1, 2), torch.zeros(1, 2), torch.zeros(1, 2))
    moved = detections.to("meta")
    assert moved.masks is None and moved.keypoints is None and moved.boxes.device.type == "meta"
    assert detections.boxes.device.type == "cpu"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": np.zeros((4, 6), np.uint8)}, r"img_1.jpg: image must be \(H, W, 3\) uint8, found \(4, 6\) uint8"),
        ({"image": np.zeros((4, 6, 3))}, r"img_1.jpg: image must be \(H, W, 3\) uint8, found \(4, 6, 3\) float64"),
        ({"labels": np.array([1])}, r"img_1.jpg: 2 polygons need as many labels and ignore flags, found \(1,\) and"),
        ({"ignore": np.array([[True], [False]])}, r"img_1.jpg: 2 polygons .* found \(2,\) and \(2, 1\)"),
        ({"transcriptions": ("one",)}, r"img_1.jpg: 2 polygons but 1 transcriptions"),
        ({"polygons": (np.zeros((2, 2)), np.zeros((4, 2)))}, r"img_1.jpg: a polygon must be \(P >= 3, 2\), found \(2"),
        ({"polygons": (np.zeros((4, 3)), np.zeros((4, 2)))}, r"img_1.jpg: a polygon must be \(P >= 3, 2\), found \(4"),
    ],
)
def test_samples_that_do_not_fit_together_are_refused_by_name(changes, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        sample(**changes)
