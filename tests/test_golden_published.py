"""Imported networks of full size against torchvision's, on pictures of real sizes, from file to detections and losses.

The numbers in tests/golden/published.npz come from torchvision itself (tests/golden/make_golden_published.py).
"""

import pathlib

import numpy as np
import pytest
from golden import published_case as case
from published_tensors import torchvision

FILE = pathlib.Path(__file__).parent / "golden" / "published.npz"


@pytest.fixture(scope="module")
def golden():
    with np.load(FILE, allow_pickle=False) as stored:
        return dict(stored)


@pytest.fixture(scope="module")
def mask_rcnn(tmp_path_factory):
    return case.imported(case.weights(), tmp_path_factory.mktemp("mask"))


@pytest.fixture(scope="module")
def keypoint_rcnn(tmp_path_factory):
    return case.imported(case.keypoint_weights(), tmp_path_factory.mktemp("keypoint"), case.KEYPOINT_SIDES)


def test_the_case_is_not_trivial(golden):
    for name in (*case.SIZES, *case.KEYPOINT_SIZES):
        assert golden[f"{name}_boxes"].shape == (case.COMPARED, 4)
        assert (golden[f"{name}_scores"] > 0.5).sum() >= 12, "dozens of confident detections in all"
        sides = golden[f"{name}_boxes"][:, 2:] - golden[f"{name}_boxes"][:, :2]
        assert sides.max() > 3 * sides.min() > 0
    assert all(len(np.unique(golden[f"{name}_labels"])) > 2 for name in case.SIZES)
    assert all(golden[f"{name}_masks"].std() > 0.15 for name in case.SIZES)
    assert all(golden[f"{name}_keypoints"].std() > 20 for name in case.KEYPOINT_SIZES)
    assert all(golden[name] > 1e-3 for name in golden if "loss" in name)
    assert len(torchvision(legacy=True)) == 307 and FILE.stat().st_size < 200 * 1024


@pytest.mark.slow
@pytest.mark.parametrize("name", case.SIZES)
def test_mask_rcnn_finds_what_torchvisions_does(golden, mask_rcnn, name):
    """Boxes within a thousandth of a pixel, scores within 1e-5, masks within 1e-4, and every label the same."""
    values = case.found_by_us(mask_rcnn, name, case.SIZES[name])
    assert len(values) == 4 and case.disagreements(values, golden) == []


@pytest.mark.slow
def test_mask_rcnn_loses_what_torchvisions_does(golden, mask_rcnn):
    """All five losses within 1e-5 of themselves, with samplers that take what comes first."""
    losses = case.losses_of(mask_rcnn, case.OBJECTS)
    assert len(losses) == 5 and case.disagreements(losses, golden) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", case.KEYPOINT_SIZES)
def test_keypoint_rcnn_finds_what_torchvisions_does(golden, keypoint_rcnn, name):
    """Boxes and points within a thousandth of a pixel: every map is highest at the same cell."""
    values = case.found_by_us(keypoint_rcnn, name, case.KEYPOINT_SIZES[name])
    assert len(values) == 5 and case.disagreements(values, golden) == []


@pytest.mark.slow
def test_keypoint_rcnn_loses_what_torchvisions_does(golden, keypoint_rcnn):
    losses = case.losses_of(keypoint_rcnn, case.PERSONS)
    expected = {name.removeprefix("keypoint_"): value for name, value in golden.items() if "keypoint_loss" in name}
    assert losses.keys() == expected.keys() and len(losses) == 5 and case.disagreements(losses, expected) == []
