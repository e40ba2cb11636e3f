"""Figures of keypoints: judged by eye, but joints must be where they are and left must not look like right."""

import numpy as np
import pytest

from maskrcnn.objects import FoundObject
from maskrcnn.person import PERSON_KEYPOINTS, PERSON_SKELETON
from maskrcnn.structures import Sample
from maskrcnn.visualize import CONFIDENT_SCORE, draw_figures, draw_keypoints, draw_objects, draw_sample
from maskrcnn.visualize.canvas import SKY_BLUE, VERMILLION, YELLOW, Canvas

NAMES = ("left_hand", "right_hand", "nose", "left_foot")
LIMBS = (("left_hand", "left_foot"), ("left_hand", "right_hand"), ("right_hand", "nose"))
PLACES = np.array([[100.5, 100.5], [500.5, 100.5], [500.5, 400.5], [100.5, 400.5]])


def figure(thirds=(2, 2, 2, 2), shift=(0, 0)):
    """One object (1, 4, 3): a square of 400 x 300 pixels."""
    return np.concatenate([PLACES + shift, np.array(thirds, float)[:, None]], axis=1)[None]


def drawn(keypoints, score_threshold=None, names=NAMES, limbs=LIMBS, size=600):
    """The picture's pixels, on grey."""
    canvas = Canvas(np.full((size, size, 3), 128, np.uint8))
    draw_figures(canvas, keypoints, names, limbs, score_threshold)
    return np.asarray(canvas.picture).astype(int)


def is_colour(pixel, colour):
    return (np.abs(pixel - [int(colour[start : start + 2], 16) for start in (1, 3, 5)]) <= 3).all(axis=-1)


def test_limbs_are_in_the_colour_of_their_side():
    pixels = drawn(figure())
    assert is_colour(pixels[150:350, 100], SKY_BLUE).all(), "left to left"
    assert is_colour(pixels[100, 150:450], YELLOW).all(), "left to right: the middle"
    assert is_colour(pixels[150:350, 500], VERMILLION).all(), "right to the middle"
    assert (pixels[400, 150:450] == 128).all(), "no limb there"


def test_joints_are_where_the_points_are():
    pixels = drawn(figure(), limbs=())
    for (x, y), colour in zip(PLACES.astype(int), (SKY_BLUE, VERMILLION, YELLOW, SKY_BLUE), strict=True):
        assert is_colour(pixels[y, x], colour)
        pixels[y - 12 : y + 13, x - 12 : x + 13] = 128
    assert (pixels == 128).all()


def test_the_shape_of_a_joint_tells_its_side_too():
    """A square's corner is covered, that of a disc of the same area is not, nor is that of a triangle on its base."""
    pixels = drawn(figure(), limbs=())
    shapes = [~(pixels[y - 12 : y + 13, x - 12 : x + 13] == 128).all(axis=-1) for x, y in PLACES.astype(int)]
    left, right, middle = (shape[np.ix_(shape.any(axis=1), shape.any(axis=0))] for shape in shapes[:3])
    assert right[0, 0] and right[-1, -1] and not left[0, 0] and not left[-1, -1]
    assert middle[-1].mean() > 0.7 > 0.5 > middle[0].mean(), "wide below, pointed above"


def contrast(pixels, row, column):
    return np.abs(pixels[row, column] - 128).sum()


def test_hidden_points_are_faint_and_unlabelled_ones_are_not_drawn():
    seen, hidden, unlabelled = (drawn(figure((v, 2, 2, v))) for v in (2, 1, 0))
    for row, column in ((100, 100), (250, 100)):  # the joint, and the limb between two of them
        assert contrast(seen, row, column) > 2 * contrast(hidden, row, column) > 0
        assert contrast(unlabelled, row, column) == 0
    assert is_colour(hidden[100, 500], VERMILLION), "the others are as before"


def test_low_scores_are_faint():
    pixels = drawn(figure((CONFIDENT_SCORE, CONFIDENT_SCORE - 0.1, -9.0, CONFIDENT_SCORE)), CONFIDENT_SCORE)
    assert is_colour(pixels[250, 100], SKY_BLUE), "both ends are sure"
    assert not is_colour(pixels[100, 300], YELLOW) and contrast(pixels, 100, 300) > 0, "one end is"
    assert not is_colour(pixels[400, 500], YELLOW) and contrast(pixels, 400, 500) > 0


def test_small_figures_have_thin_lines_and_are_on_top():
    small = figure() * [0.1, 0.1, 1] + [260.45, 80.45, 0]  # its right side crosses the large one's upper limb
    pixels, alone = drawn(np.concatenate([small, figure()])), drawn(figure())
    assert is_colour(alone[100, 310], YELLOW) and is_colour(pixels[100, 310], VERMILLION)
    assert (drawn(small) != 128).sum() < (alone != 128).sum() / 5


def test_no_objects_and_figures_without_any_point():
    assert (drawn(np.zeros((0, 4, 3))) == 128).all()
    assert (drawn(figure((0, 0, 0, 0))) == 128).all()


def test_points_far_outside_cost_nothing():
    pixels = drawn(figure(shift=(1e9, -1e9)))
    assert (pixels[300:] == 128).all()


def test_a_legend_says_which_side_is_which():
    image = np.full((600, 600, 3), 128, np.uint8)
    picture = draw_keypoints(image, figure(), NAMES, LIMBS)
    assert picture.height > 600 and picture.width == 600
    strip = np.asarray(picture)[600:]
    assert is_colour(strip, SKY_BLUE).any() and is_colour(strip, VERMILLION).any()
    otherwise = draw_keypoints(image, figure(), ("eye-left", "eye-right", "Nose", "leftover"), ())  # as a mirror has it
    strip = np.asarray(otherwise)[600:]
    assert is_colour(strip, SKY_BLUE).any() and is_colour(strip, VERMILLION).any()
    sideless = draw_keypoints(image, figure(), ("a", "b", "c", "d"), ())
    assert sideless.size == (600, 600)


def test_figures_of_samples_and_of_objects_that_were_found():
    """On top of outlines and masks; an object without keypoints has none."""
    image = np.full((600, 600, 3), 128, np.uint8)
    square = np.array([[50.0, 50], [550, 50], [550, 450], [50, 450]])
    one = (square,), np.ones(1, np.int64), np.zeros(1, bool)
    sample = Sample("a.jpg", image, *one, keypoints=figure((2, 2, 0, 2)), keypoint_names=NAMES)
    pixels = np.asarray(draw_sample(sample, skeleton=LIMBS))
    assert is_colour(pixels[150:350, 100].astype(int), SKY_BLUE).all()
    assert not is_colour(pixels[150:350, 500].astype(int), VERMILLION).any(), "the nose is not labelled"

    box = np.array([50.0, 50, 550, 450])
    found = FoundObject(1, "person", 0.9, box, None, figure((9, 9, -9, 9))[0])
    pixels = np.asarray(draw_objects(image, [found], NAMES, LIMBS)).astype(int)
    assert is_colour(pixels[150:350, 100], SKY_BLUE).all() and not is_colour(pixels[150:350, 500], VERMILLION).any()
    assert (np.asarray(draw_objects(image, [found._replace(keypoints=None)]))[150:350, 100] == 128).all()


def test_other_shapes_are_errors():
    with pytest.raises(ValueError, match=r"^keypoints must be \(N, 17, 3\) for 17 names, found \(1, 4, 3\)"):
        draw_keypoints(np.zeros((9, 9, 3), np.uint8), figure(), PERSON_KEYPOINTS, PERSON_SKELETON)
