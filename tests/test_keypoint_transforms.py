"""Keypoints and objects of several parts go where the picture goes: corners by hand; keypoints stay on painted dots."""

from dataclasses import replace

import numpy as np
import pytest
from random_crops import random_crop

from maskrcnn.data import transforms
from maskrcnn.person import mirrored_names
from maskrcnn.structures import Sample

PERSON = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
    "right_ankle",
)  # fmt: skip


def rectangle(x1: float, y1: float, x2: float, y2: float) -> np.ndarray:
    return np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]], dtype=np.float64)


def two_people() -> Sample:
    """A picture of 10 x 20 pixels: one object of two rectangles with two keypoints, and one with a single one."""
    return Sample(
        name="people.jpg",
        image=np.arange(600, dtype=np.uint16).astype(np.uint8).reshape(10, 20, 3),
        polygons=(rectangle(2, 1, 5, 9), rectangle(6, 6, 10, 9), rectangle(12, 2, 16, 6)),
        labels=np.array([1, 1]),
        ignore=np.array([False, False]),
        part_of=np.array([0, 0, 1]),
        keypoints=np.array([[[4.0, 2, 2], [9, 7, 1]], [[13, 3, 1], [0, 0, 0]]]),
        keypoint_names=("left_hand", "right_hand"),
    )


# by hand


def test_the_mirror_order_of_a_person_is_coco_s():
    order = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]
    assert mirrored_names(PERSON) == order


@pytest.mark.parametrize(
    ("names", "order"),
    [
        ((), []),
        (("left_eye", "mouth"), [0, 1]),  # without a right eye, the left one stays what it is
        (("Left Eye", "Right Eye"), [1, 0]),
        (("eye-right", "chin", "eye-left"), [2, 1, 0]),
        (("leftover", "rightover"), [0, 1]),
    ],
)
def test_the_mirror_order_of_other_things(names, order):
    assert mirrored_names(names) == order


def test_a_mirror_image_swaps_left_and_right():
    mirrored = transforms.flip_horizontal(two_people())
    # Of the second person, the left hand at 13, 3 was labelled: now the right one is, and nothing else.
    assert mirrored.keypoints.tolist() == [[[11, 7, 1], [16, 2, 2]], [[0, 0, 0], [7, 3, 1]]]
    assert mirrored.boxes.tolist() == [[10, 1, 18, 9], [4, 2, 8, 6]]
    twice = transforms.flip_horizontal(mirrored)
    assert np.array_equal(twice.keypoints, two_people().keypoints)


def test_keypoints_grow_with_the_picture():
    resized = transforms.resize(two_people(), 30, 40)
    assert resized.keypoints.tolist() == [[[8, 6, 2], [18, 21, 1]], [[26, 9, 1], [0, 0, 0]]]
    assert resized.boxes.tolist() == [[4, 3, 20, 27], [24, 6, 32, 18]]


def test_a_quarter_turn_takes_keypoints_along():
    turned = transforms.rotate(two_people(), 90)  # counter-clockwise: x' = y, y' = W - x
    assert turned.image.shape == (20, 10, 3)
    assert turned.keypoints.tolist() == [[[2, 16, 2], [7, 11, 1]], [[3, 7, 1], [0, 0, 0]]]


def test_keypoints_that_are_cut_off_are_no_longer_labelled():
    cut = transforms.crop(two_people(), 3, 1, 8, 5, minimum_visible=0.0)  # x 3 to 11, y 1 to 6
    # The second part of the first person lies below; the second person is gone.
    assert cut.part_of.tolist() == [0] and cut.boxes.tolist() == [[0, 0, 2, 5]]
    assert cut.keypoints.tolist() == [[[1, 1, 2], [0, 0, 0]]]
    assert cut.keypoint_names == ("left_hand", "right_hand")


def test_a_keypoint_on_the_border_of_the_window_is_inside():
    cut = transforms.crop(two_people(), 4, 2, 5, 5, minimum_visible=0.0)
    assert cut.keypoints.tolist() == [[[0, 0, 2], [5, 5, 1]]]


def test_what_is_visible_of_an_object_is_counted_over_its_parts():
    # Of the first person, 24 + 12 pixels: of the columns up to 5, only the first part, which is two thirds.
    for minimum, ignored in ((0.6, False), (0.7, True)):
        cut = transforms.crop(two_people(), 0, 0, 5, 10, minimum_visible=minimum)
        assert cut.ignore.tolist() == [ignored] and cut.part_of.tolist() == [0]


def test_nothing_visible_leaves_nothing():
    cut = transforms.crop(two_people(), 17, 7, 3, 3)
    assert cut.polygons == () and cut.keypoints.shape == (0, 2, 3) and cut.part_of.tolist() == []


def test_painting_over_takes_all_parts_and_their_keypoints():
    sample = two_people()
    hidden = transforms.paint_out_ignored(replace(sample, ignore=np.array([True, False])))
    changed = (hidden.image != sample.image).any(axis=2)
    assert changed[1:9, 2:5].mean() > 0.9 and changed[6:9, 6:10].mean() > 0.9
    changed[1:9, 2:5] = changed[6:9, 6:10] = False
    assert not changed.any()
    assert hidden.keypoints.tolist() == [[[13, 3, 1], [0, 0, 0]]] and hidden.part_of.tolist() == [0]


# random: a keypoint is painted as a dot, and must stay on it


def dotted(rng: np.random.Generator) -> Sample:
    """A dark picture with one bright dot of 9 x 9 pixels around a keypoint, in the middle of an object."""
    image = np.full((120, 160, 3), 20, np.uint8)
    x, y = int(rng.integers(30, 130)), int(rng.integers(30, 90))
    image[y - 4 : y + 5, x - 4 : x + 5] = 240
    return Sample(
        name="dot.png",
        image=image,
        polygons=(rectangle(x - 20, y - 20, x + 20, y + 20),),
        labels=np.array([1]),
        ignore=np.array([False]),
        keypoints=np.array([[[x + 0.5, y + 0.5, 2.0]]]),
        keypoint_names=("nose",),
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda sample, rng: transforms.resize(sample, *rng.integers(60, 300, 2)),
        lambda sample, rng: transforms.flip_horizontal(sample),
        lambda sample, rng: transforms.rotate(sample, rng.uniform(-180, 180)),
        lambda sample, rng: transforms.crop(sample, *rng.integers(0, 20, 2), 150, 110),
        lambda sample, rng: random_crop(sample, rng, size=128, around_object_probability=1.0),
        lambda sample, rng: random_crop(sample, rng, size=160, degrees=rng.uniform(-180, 180)),
    ],
)
def test_a_keypoint_stays_on_its_dot(change):
    rng = np.random.default_rng(0)
    for _ in range(10):
        changed = change(dotted(rng), rng)
        bright = changed.image[..., 0] > 130
        rows, columns = np.nonzero(bright)
        x, y, visibility = changed.keypoints[0, 0]
        assert visibility == 2 and changed.keypoints.shape == (1, 1, 3)
        assert abs(columns.mean() + 0.5 - x) < 0.6 and abs(rows.mean() + 0.5 - y) < 0.6
