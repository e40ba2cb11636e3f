"""Our NMS, RoIPool and RoIAlign against torchvision's, on random and hostile boxes.

The numbers in tests/golden/torchvision_ops.npz come from torchvision itself (tests/golden/make_ops_golden.py). Where it
is installed, the last test asks it again.
"""

import importlib.util
import pathlib

import numpy as np
import pytest
from golden import ops_case as case

FILE = pathlib.Path(__file__).parent / "golden" / "torchvision_ops.npz"
VERSIONS = ("torch_version", "torchvision_version")


@pytest.fixture(scope="module")
def golden():
    with np.load(FILE, allow_pickle=False) as stored:
        return dict(stored)


@pytest.fixture(scope="module")
def ours():
    return case.our_results()


def of_op(golden, op):
    return [name for name in golden if name.startswith(f"{op}_")]


def test_the_file_says_what_made_it_and_holds_exactly_the_cases(golden, ours):
    assert str(golden["torch_version"]).startswith("2.") and str(golden["torchvision_version"]).startswith("0.")
    assert golden.keys() - set(VERSIONS) == ours.keys()
    assert FILE.stat().st_size < 400 * 1024


def test_nms_keeps_the_same_boxes_in_the_same_order(golden, ours):
    for name in of_op(golden, "nms"):
        assert ours[name].tolist() == golden[name].tolist(), name
    survivors = [len(golden[f"nms_random_{threshold}"]) for threshold in case.IOU_THRESHOLDS]
    assert survivors == sorted(survivors) and 1 < survivors[0] < survivors[2] < survivors[-1]


def test_roi_pool_is_the_same_to_the_last_bit(golden, ours):
    for name in of_op(golden, "roi_pool"):
        np.testing.assert_array_equal(ours[name], golden[name], err_msg=name)
        assert (golden[name] == 0).any() and np.abs(golden[name]).max() > 1


def test_roi_align_is_the_same_up_to_the_order_of_its_sums(golden, ours):
    for name in of_op(golden, "roi_align"):
        # An adaptive RoI thousands of cells wide has its samples where float32 rounds to a ten-thousandth of a cell.
        tolerance = 2e-4 if name.endswith("_0") else 1e-5
        np.testing.assert_allclose(ours[name], golden[name], rtol=0, atol=tolerance, err_msg=name)
        assert np.abs(golden[name]).max() > 0.5


if importlib.util.find_spec("torchvision"):

    def test_torchvision_still_says_the_same(golden):
        from golden.make_ops_golden import torchvision_results

        for name, value in torchvision_results().items():
            np.testing.assert_allclose(value, golden[name], rtol=0, atol=1e-5, err_msg=name)
