"""Our keypoint detector against torchvision's, stage by stage, with the same weights (design decision 6).

The numbers come from torchvision itself (tests/golden/make_golden_keypoints.py); up to the boxes it is the detector of
test_golden.py.
"""

import importlib.util
import pathlib

import numpy as np
import pytest
from golden import keypoint_case as case
from golden.torchvision_case import BACKWARD_ROUNDING, FORWARD_ROUNDING, disagreement

from maskrcnn.config import Config

FILE = pathlib.Path(__file__).parent / "golden" / "torchvision_keypoints.npz"
VERSIONS = ("torch_version", "torchvision_version")


@pytest.fixture(scope="module")
def golden():
    with np.load(FILE, allow_pickle=False) as stored:
        return dict(stored)


@pytest.fixture(scope="module")
def ours():
    return case.our_stages(case.build_model(), case.build_batch())


def expect(ours, golden, *names):
    found = {}
    for name in names:
        rounding = BACKWARD_ROUNDING if "gradient" in name else FORWARD_ROUNDING
        found[name] = disagreement(ours[name], golden[name], rounding)
    assert not any(found.values()), found


def test_the_file_holds_exactly_the_stages(golden, ours):
    assert golden.keys() - set(VERSIONS) == ours.keys()
    assert FILE.stat().st_size < 100 * 1024


def test_the_case_is_not_trivial(golden):
    cells = golden["cells"]
    learned = (cells >= 0).any(axis=(0, 1))
    assert learned.all() and (cells < 0).any(axis=(0, 1)).all(), "each point is a target of some RoIs and not of others"
    assert (cells == 56 * 56 - 1).any(), "a point on the edges"
    points = golden["keypoints"][..., :2] - golden["detection_boxes"][:, :, None, :2]
    found = golden["detection_boxes"].any(axis=-1)
    assert len(np.unique(points[found].round(2))) > found.sum(), "peaks in many places"


def test_heat_maps(golden, ours):
    expect(ours, golden, "heat_maps")


def test_targets(golden, ours):
    expect(ours, golden, "cells")


def test_loss_and_gradients(golden, ours):
    """The last layer's bias raises all cells of a map alike: a softmax does not feel it, and its gradient is 0."""
    expect(ours, golden, "loss_keypoint", "gradient_norms")
    np.testing.assert_allclose(ours["gradient_norms"], golden["gradient_norms"], rtol=1e-3, atol=1e-6)
    assert (golden["gradient_norms"] < 1e-6).sum() == 1


def test_keypoints(golden, ours):
    """x, y within a thousandth of a pixel, and their scores."""
    expect(ours, golden, "detection_boxes", "keypoints")
    np.testing.assert_allclose(ours["keypoints"], golden["keypoints"], rtol=0, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("setting", "stage"),
    [
        ("keypoint_head.aligned=True", "heat_maps"),
        ("keypoint_head.sampling_ratio=1", "loss_keypoint"),
    ],
)
def test_conventions_matter(golden, setting, stage):
    config = Config(model=case.CONFIG).override([f"model.{setting}"]).model
    changed = case.our_stages(case.build_model(config), case.build_batch())
    assert disagreement(changed[stage], golden[stage])


if importlib.util.find_spec("torchvision"):

    def test_torchvision_still_says_the_same(golden):
        from golden.make_golden_keypoints import torchvision_stages

        expect(torchvision_stages(case.build_model()), golden, *(golden.keys() - set(VERSIONS)))
