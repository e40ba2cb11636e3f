"""Our model against torchvision's Mask R-CNN, stage by stage, with the same weights (design decision 6).

The numbers in tests/golden/torchvision.npz come from torchvision itself (tests/golden/make_golden.py). Where it is
installed, the last test asks it again.
"""

import importlib.util
import pathlib

import numpy as np
import pytest
from golden import torchvision_case as case

from maskrcnn.config import Config

FILE = pathlib.Path(__file__).parent / "golden" / "torchvision.npz"
VERSIONS = ("torch_version", "torchvision_version")


@pytest.fixture(scope="module")
def golden():
    with np.load(FILE, allow_pickle=False) as stored:
        return dict(stored)


@pytest.fixture(scope="module")
def ours():
    return case.our_stages(case.build_model(), case.build_batch())


def expect(ours, golden, *names):
    found = {name: case.disagreement(case.shortened(ours[name]), golden[name]) for name in names}
    assert not any(found.values()), found


def test_the_file_says_what_made_it(golden):
    assert str(golden["torch_version"]).startswith("2.") and str(golden["torchvision_version"]).startswith("0.")
    assert FILE.stat().st_size < 200 * 1024


def test_the_file_holds_exactly_the_stages(golden, ours):
    assert golden.keys() - set(VERSIONS) == ours.keys()


def test_the_case_is_not_trivial(golden):
    """Every kind of slot occurs: otherwise agreement would mean little."""
    assert (golden["rpn_label"] == 1).any(axis=1).all() and (golden["rpn_label"] == -1).any(axis=1).all()
    assert golden["proposals_train_valid"].all() and not golden["rois_valid"].all()
    assert ((golden["roi_labels"] > 0).sum(axis=1) > 3).all(), "more positives than the ground truths themselves"
    assert golden["detection_valid"].any(axis=1).all() and not golden["detection_valid"].all(axis=1).any()
    assert len(np.unique(golden["detection_labels"][golden["detection_valid"]])) > 1
    assert 0.1 < golden["detection_masks"].mean() < 0.9
    soft = (golden["mask_targets"] > 0) & (golden["mask_targets"] < 1)
    assert soft.any(), "fractional mask targets"


def test_backbone_and_pyramid(golden, ours):
    expect(ours, golden, *(f"pyramid_{level}" for level in range(5)))


def test_anchors(golden, ours):
    expect(ours, golden, "anchors")
    assert (ours["anchors"] == golden["anchors"]).all(), "whole pixels: not even rounding may differ"


def test_region_proposal_head(golden, ours):
    expect(ours, golden, "rpn_objectness", "rpn_deltas")


def test_anchor_matching(golden, ours):
    expect(ours, golden, "rpn_label", "rpn_match")


@pytest.mark.parametrize("mode", ["train", "test"])
def test_proposals(golden, ours, mode):
    expect(ours, golden, f"proposals_{mode}", f"proposals_{mode}_valid")


def test_training_regions(golden, ours):
    expect(ours, golden, "rois", "rois_valid", "roi_labels", "roi_match", "roi_delta_targets")


def test_mask_targets(golden, ours):
    expect(ours, golden, "mask_targets")


@pytest.mark.parametrize("name", ["rpn_objectness", "rpn_box", "class", "box", "mask"])
def test_losses(golden, ours, name):
    expect(ours, golden, f"loss_{name}")


def test_gradients_of_all_parameters(golden, ours):
    """Each parameter's norm on its own scale, since they span four orders of magnitude."""
    expect(ours, golden, "gradient_norms")
    np.testing.assert_allclose(ours["gradient_norms"], golden["gradient_norms"], rtol=1e-3)


def test_detections(golden, ours):
    expect(ours, golden, "detection_boxes", "detection_scores", "detection_labels", "detection_valid")


def test_masks(golden, ours):
    expect(ours, golden, "detection_masks")


def test_pasted_masks(golden, ours):
    expect(ours, golden, "pasted_0", "pasted_1")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("setting", "stage"),
    [
        ("anchors.round_to_pixels=False", "anchors"),
        ("anchors.stride_from_feature_size=False", "anchors"),
        ("backbone.norm_epsilon=0.0", "pyramid_4"),
        ("rpn.low_quality=forced", "rpn_label"),
        ("rpn.minimum_size=0.0", "proposals_test"),
        ("rpn.box_loss_beta=1.0", "loss_rpn_box"),
        ("box_head.aligned=True", "loss_class"),
        ("box_head.box_loss_beta=1.0", "loss_box"),
        ("mask_head.aligned=True", "loss_mask"),
        ("mask_head.targets=binary", "mask_targets"),
        ("mask_head.paste=pixel_centres", "pasted_0"),
    ],
)
def test_conventions_matter(golden, setting, stage):
    """Each of torchvision's conventions is needed for agreement, so the case would notice if one were lost."""
    config = Config(model=case.CONFIG).override([f"model.{setting}"]).model
    changed = case.our_stages(case.build_model(config), case.build_batch())
    assert case.disagreement(case.shortened(changed[stage]), golden[stage])


if importlib.util.find_spec("torchvision"):

    def test_torchvision_still_says_the_same(golden):
        from golden.make_golden import torchvision_stages

        expect(torchvision_stages(case.build_model()), golden, *(golden.keys() - set(VERSIONS)))
