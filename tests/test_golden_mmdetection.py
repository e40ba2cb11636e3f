"""An imported network of MMOCR against MMDetection's own Mask R-CNN, with the same weights.

The numbers in tests/golden/mmdetection.npz come from mmdet 2.28.2 itself (tests/golden/make_golden_mmdetection.py),
with torchvision's NMS and RoIAlign in place of mmcv's compiled ones.
"""

import pathlib

import numpy as np
import pytest
from golden import mmdetection_case as case
from golden.published_case import disagreements

from maskrcnn.config import Config
from maskrcnn.data.collate import normalise
from maskrcnn.model.mask_rcnn import MaskRCNN

FILE = pathlib.Path(__file__).parent / "golden" / "mmdetection.npz"


@pytest.fixture(scope="module")
def golden():
    with np.load(FILE, allow_pickle=False) as stored:
        return dict(stored)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return case.imported(tmp_path_factory.mktemp("imported"))


@pytest.fixture(scope="module")
def ours(model):
    return case.ours(model)


def test_the_case_is_not_trivial(golden):
    assert str(golden["mmdet_version"]) == "2.28.2"
    for name in case.SIZES:
        assert golden[f"{name}_boxes"].shape == (50, 4) and (golden[f"{name}_scores"] > 0.5).sum() > 30
        assert len(np.unique(golden[f"{name}_labels"])) > 5, "classes must be able to change places"
        assert golden[f"{name}_masks"].std() > 0.15, "masks are neither flat nor all alike"
    assert all(golden[f"loss_{name}"] > 0.005 for name in ("rpn_objectness", "rpn_box", "class", "box", "mask"))


@pytest.mark.parametrize("name", case.SIZES)
def test_what_is_found_is_what_mmdetection_finds(golden, ours, name):
    """Boxes within a thousandth of a pixel, scores within 1e-5, masks within 1e-4, and every label the same."""
    assert disagreements({key: value for key, value in ours.items() if key.startswith(name)}, golden) == []


def test_all_losses_are_mmdetections(golden, ours):
    """Within 1e-5 of themselves, with samplers that take what comes first; the hard examples are chosen by loss."""
    losses = {key: value for key, value in ours.items() if key.startswith("loss")}
    assert len(losses) == 5 and disagreements(losses, golden) == []


def test_a_scaled_picture_is_what_opencv_makes_of_it(golden, model):
    """OpenCV interpolates in whole numbers of 11 bits: now and then a value falls on the other side of a half."""
    expected = normalise(golden["scaled_picture"], model.config.image)
    found = case.scaled_by_us(model.config.image)
    assert found.shape == expected.shape == (*case.SCALED[1], 3)
    one = 1 / (255 * np.array(model.config.image.deviation))
    difference = np.abs(found - expected) / one
    assert difference.max() < 1.01 and (difference > 0.5).mean() < 0.1


@pytest.mark.parametrize(
    ("setting", "part"),
    [
        ("anchors.round_to_pixels=True", "wide_boxes"),
        ("image.size_divisor=32", "wide_boxes"),
        ("rpn.box_loss=smooth_l1", "loss_rpn_box"),
        ("box_head.aligned=False", "wide_boxes"),
        ("box_head.sampling_ratio=2", "wide_boxes"),
        ("box_head.sampler=random", "loss_class"),
        ("box_head.box_loss=smooth_l1", "loss_box"),
        ("mask_head.aligned=False", "wide_masks"),
        ("mask_head.targets=soft", "loss_mask"),
    ],
)
def test_conventions_matter(golden, model, setting, part):
    """Each of MMDetection's conventions is needed for agreement, so the case would notice if one were lost."""
    changed = MaskRCNN(Config(model=model.config).override([f"model.{setting}"]).model)
    changed.load_state_dict(model.state_dict())
    values = case.ours(changed)
    assert any(message.startswith(part) for message in disagreements(values, golden))
