"""The shortcut (one grid position for each level and ratio) against all anchors, and what is said about them."""

import dataclasses

import numpy as np
import pytest
import torch

from maskrcnn.anchor_coverage import STRIDES, best_anchor_iou, measure_coverage, network_boxes
from maskrcnn.boxes import iou
from maskrcnn.config import AnchorConfig, ImageConfig
from maskrcnn.model.anchors import AnchorGenerator

ANCHORS = AnchorConfig()
AS_THEY_ARE = ImageConfig(short_side=800, long_side=800, size_divisor=32)


def centred(x, y, width, height):
    return [x - width / 2, y - height / 2, x + width / 2, y + height / 2]


def best_of_all(boxes, image_size, anchors, strides=STRIDES):
    """Every anchor of the image, formed and compared."""
    grids = [(-(-image_size[0] // stride), -(-image_size[1] // stride)) for stride in strides]
    every = torch.cat(AnchorGenerator(anchors, strides)(grids, image_size)).double()
    return iou(torch.from_numpy(boxes), every).amax(dim=1).numpy()


def measured(boxes, anchors=ANCHORS, image=AS_THEY_ARE, size=(800, 800)):
    boxes = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    return measure_coverage(boxes, np.tile(size, (len(boxes), 1)), anchors, image)


def test_best_iou_by_hand():
    sizes = np.array([[800, 800]] * 4)
    boxes = np.array(
        [
            centred(400, 400, 64, 64),  # an anchor itself
            centred(400, 400, 16, 16),  # a quarter of the smallest anchor
            centred(402, 400, 32, 32),  # half-way between two grid positions of P2: 30 * 32 shared
            centred(400, 400, 256, 32),  # the 181 x 91 anchor of size 128 covers the middle of it
        ]
    )
    half, double = 128 * 0.5**0.5, 128 * 2**0.5
    shared = 32 * double
    expected = [1, 0.25, 30 * 32 / (2 * 32 * 32 - 30 * 32), shared / (256 * 32 + half * double - shared)]
    np.testing.assert_allclose(best_anchor_iou(boxes, sizes, ANCHORS), expected, rtol=1e-6)


@pytest.mark.parametrize("ratios", [(0.5, 1.0, 2.0), (0.17, 0.44, 1.13, 2.9, 7.46)])
@pytest.mark.parametrize("rounded", [False, True])
@pytest.mark.parametrize("from_feature_size", [False, True])
@pytest.mark.parametrize("image_size", [(416, 288), (224, 500)])
def test_best_iou_is_that_of_all_anchors(ratios, rounded, from_feature_size, image_size):
    anchors = AnchorConfig(ratios=ratios, round_to_pixels=rounded, stride_from_feature_size=from_feature_size)
    rng = np.random.default_rng(0)
    height, width = image_size
    # Also across the borders, where the grid ends.
    centres = rng.uniform(-0.05, 1.05, (100, 2)) * (width, height)
    sides = np.exp(rng.uniform(np.log(3), np.log(700), (100, 2)))
    boxes = np.concatenate([centres - sides / 2, centres + sides / 2], axis=1)
    found = best_anchor_iou(boxes, np.tile(image_size, (100, 1)), anchors)
    np.testing.assert_allclose(found, best_of_all(boxes, image_size, anchors), atol=1e-5)  # anchors are float32


@pytest.mark.parametrize("stride", [16, 32])
def test_a_single_map_has_anchors_of_all_sizes(stride):
    rng = np.random.default_rng(1)
    sides = np.exp(rng.uniform(np.log(3), np.log(700), (100, 2)))
    low = rng.uniform(0, 400, (100, 2))
    boxes = np.concatenate([low, low + sides], axis=1)
    found = best_anchor_iou(boxes, np.tile((416, 500), (100, 1)), ANCHORS, (stride,))
    np.testing.assert_allclose(found, best_of_all(boxes, (416, 500), ANCHORS, (stride,)), atol=1e-5)
    small, size = np.array([[180.0, 180, 212, 212]]), np.array([[800, 800]])  # its centre is 4 pixels from a cell of C5
    coverages = [measure_coverage(small, size, ANCHORS, AS_THEY_ARE, strides) for strides in (STRIDES, (32,))]
    assert [coverage.good for coverage in coverages] == [1.0, 0.0]


def test_boxes_are_measured_at_the_size_that_the_network_sees():
    image = ImageConfig(short_side=800, long_side=1333)
    boxes, padded = network_boxes(np.array([[10.0, 20, 30, 40]] * 2), np.array([[720, 1280], [400, 400]]), image)
    # 720 x 1280 becomes 750 x 1333, padded to 768 x 1344; 400 x 400 becomes 800 x 800.
    np.testing.assert_allclose(boxes[0], np.array([10, 20, 30, 40]) * np.array([1333 / 1280, 750 / 720] * 2))
    np.testing.assert_allclose(boxes[1], [20, 40, 60, 80])
    assert padded.tolist() == [[768, 1344], [800, 800]]


def test_objects_are_counted_by_size():
    coverage = measured([centred(400, 400, 64, 64), centred(400, 400, 100, 100), centred(400, 400, 12, 12)])
    # 100 x 100 in 128 x 128 has IoU 0.61: fair, but not good.
    rows = [(bucket.name, bucket.objects, bucket.fair, bucket.good) for bucket in coverage.buckets]
    assert rows == [("8 to 16", 1, 0, 0), ("16 to 32", 0, 0, 0), ("32 to 64", 0, 0, 0), ("64 to 128", 2, 2, 1)]
    assert (coverage.objects, coverage.fair, coverage.good) == (3, 2 / 3, 1 / 3)


def test_bucket_names():
    coverage = measured([[0, 0, 1, 1], [0, 0, 512, 512]])
    assert [bucket.name for bucket in coverage.buckets][::7] == ["under 8", "512 or more"]


def test_what_keeps_objects_from_being_reached():
    # 12 x 12 and 790 x 790 are less than half and more than twice any anchor's area; 260 x 16 has the area of an anchor
    # but eight times its ratio; 32 x 32 has the shape of one, half-way between the grid positions of P6.
    small, large, wide = centred(400, 400, 12, 12), centred(400, 400, 790, 790), centred(400, 400, 260, 16)
    coverage = measured([small, large, wide, wide])
    assert (coverage.wrong_size, coverage.wrong_ratio, coverage.off_grid) == (2, 2, 0)
    only_coarse = dataclasses.replace(ANCHORS, sizes=(700.0, 700.0, 700.0, 700.0, 32.0))
    coverage = measured([centred(416, 416, 32, 32)], only_coarse)
    assert (coverage.wrong_size, coverage.wrong_ratio, coverage.off_grid) == (0, 0, 1)


def test_alternatives_say_what_they_would_reach():
    small = [centred(x, x, 20, 20) for x in range(100, 700, 10)]
    coverage = measured(small)
    assert coverage.fair == 0
    assert [(other.what, other.fair) for other in coverage.alternatives[:2]] == [
        ("pictures 1.5 times as large (train so, too)", 1.0),
        ("anchors of half the size", 1.0),
    ]
    halved = next(other for other in coverage.alternatives if other.what == "anchors of half the size")
    assert halved.settings == ("model.anchors.sizes=(16,32,64,128,256)",)
    again = measured(small, dataclasses.replace(ANCHORS, sizes=(16.0, 32.0, 64.0, 128.0, 256.0)))
    assert (halved.fair, halved.good) == (again.fair, again.good)


def test_wide_words_are_offered_their_own_ratios():
    coverage = measured([centred(x, 400, 160, 20) for x in range(100, 700, 7)])
    assert coverage.fair == 0 and coverage.wrong_ratio == coverage.objects
    assert coverage.alternatives[0].what == "ratios as these objects have them"
    assert coverage.alternatives[0].settings == ("model.anchors.ratios=(0.12)",)
    assert coverage.alternatives[0].fair == 1


def test_nothing_is_suggested_where_nothing_is_missing():
    coverage = measured([centred(400, 400, 64, 64)] * 10)
    assert (coverage.alternatives, coverage.wrong_size, coverage.wrong_ratio, coverage.off_grid) == ((), 0, 0, 0)


def test_without_objects_and_without_area():
    for boxes in ([], [[5, 5, 5, 9]]):
        coverage = measured(boxes)
        assert (coverage.buckets, coverage.objects, coverage.fair, coverage.alternatives) == ((), 0, 1.0, ())


def test_every_level_needs_a_size():
    with pytest.raises(ValueError, match="found 3 sizes, expected one for each of 5 levels"):
        measured([[0, 0, 9, 9]], AnchorConfig(sizes=(8.0, 16.0, 32.0)))
