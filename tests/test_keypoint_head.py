"""The keypoint head: from 14 x 14 features to a 56 x 56 heat map of each point, alone and in the whole network."""

import json
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from small_model import SMALL, WITH_KEYPOINTS, change, gradients, make_batch

from maskrcnn.config import ConfigurationError, KeypointHeadConfig, ModelConfig
from maskrcnn.model.keypoint_head import KeypointHead
from maskrcnn.model.mask_rcnn import MaskRCNN
from maskrcnn.targets.losses import total_loss

PICTURES = [[(1, (10, 12, 50, 40)), (2, (60, 20, 90, 32))], [], [(2, (5, 5, 30, 30))]]


def make_head(config=WITH_KEYPOINTS):
    torch.manual_seed(0)
    return KeypointHead(config)


def make_model(config=WITH_KEYPOINTS):
    torch.manual_seed(0)
    return MaskRCNN(config)


# --- The head ---------------------------------------------------------------------------------------------------------


def test_a_heat_map_for_each_point():
    """Convolutions with ReLU, a deconvolution without, and twice the size (spec 1.7)."""
    head = make_head(change(WITH_KEYPOINTS, "keypoint_head", convolutions=2))
    pooled = torch.randn(2, 3, 16, 14, 14)
    logits = head(pooled)
    assert logits.shape == (2, 3, 3, 56, 56)
    for image in range(2):
        for roi in range(3):
            hidden = pooled[image, roi][None]
            for convolution in head.convolutions:
                hidden = F.conv2d(hidden, convolution.weight, convolution.bias, padding=1).clamp(min=0)
            weight, bias = head.deconvolution.weight, head.deconvolution.bias
            coarse = F.conv_transpose2d(hidden, weight, bias, stride=2, padding=1)
            assert coarse.shape == (1, 3, 28, 28) and (coarse < 0).any(), "no ReLU"
            expected = F.interpolate(coarse, (56, 56), mode="bilinear", align_corners=False)[0]
            torch.testing.assert_close(logits[image, roi], expected, rtol=1e-4, atol=1e-5)


def test_each_cell_of_the_deconvolution_reaches_one_cell_beyond_its_own():
    """Kernel 4, stride 2, padding 1: cell (y, x) reaches 2y - 1 to 2y + 2, and doubling reaches one cell further."""
    head = make_head(change(WITH_KEYPOINTS, "keypoint_head", convolutions=0))
    pooled = torch.randn(1, 1, 16, 14, 14)
    changed = pooled.clone()
    changed[0, 0, :, 3, 5] += 1
    different = (head(pooled) != head(changed))[0, 0].any(dim=0).nonzero()
    assert different.min(dim=0).values.tolist() == [2 * 5 - 1, 2 * 9 - 1]
    assert different.max(dim=0).values.tolist() == [2 * 8 + 1 + 1, 2 * 12 + 1 + 1]


@pytest.mark.parametrize(("pooled_size", "convolutions", "channels"), [(14, 8, 24), (7, 2, 32), (10, 0, 8)])
def test_sizes_follow_the_configuration(pooled_size, convolutions, channels):
    settings = {"pooled_size": pooled_size, "convolutions": convolutions, "channels": channels}
    head = make_head(change(WITH_KEYPOINTS, "keypoint_head", **settings))
    assert len(head.convolutions) == convolutions
    assert head(torch.zeros(1, 1, 16, pooled_size, pooled_size)).shape == (1, 1, 3, 4 * pooled_size, 4 * pooled_size)


def test_no_slots():
    assert make_head()(torch.zeros(2, 0, 16, 14, 14)).shape == (2, 0, 3, 56, 56)


def test_channels_last_and_autocast_give_float32():
    head = make_head().to(memory_format=torch.channels_last)
    pooled = torch.randn(2, 2, 16, 14, 14)
    last = pooled.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)
    torch.testing.assert_close(head(last), make_head()(pooled), rtol=1e-4, atol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        assert head(last).dtype == torch.float32


@pytest.mark.parametrize("initialisation", ["torchvision", "mmdetection"])
def test_initialisation(initialisation):
    """Kaiming-normal, fan out, no bias, in either family (spec 1.9)."""
    config = replace(change(WITH_KEYPOINTS, "keypoint_head", channels=64), initialisation=initialisation)
    config = change(config, "keypoint_head", convolutions=2)
    head = make_head(config)
    # A deconvolution's weight has its inputs first, and Kaiming's formula takes the second number for the inputs.
    for layer, fan_out in ((head.convolutions[1], 64 * 9), (head.deconvolution, 64 * 16)):
        assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / fan_out), rel=0.15)
        assert not layer.bias.any()


def test_the_default_is_the_papers_head_for_the_joints_of_a_person():
    config = ModelConfig(keypoint_head=KeypointHeadConfig(enabled=True))
    with torch.device("meta"):
        head = KeypointHead(config)
    assert [tuple(layer.weight.shape) for layer in head.convolutions] == [(512, 256, 3, 3)] + [(512, 512, 3, 3)] * 7
    assert head.deconvolution.weight.shape == (512, 17, 4, 4)
    assert config.keypoint_head.names[0] == "nose" and config.keypoint_head.names[-1] == "right_ankle"


def test_joints_and_limbs_are_those_of_coco(shared_data):
    """In COCO's own file, limbs are numbers of joints, counted from 1."""
    with (shared_data / "coco" / "annotations" / "person_keypoints_val2017.json").open() as file:
        (person,) = json.load(file)["categories"]
    names = tuple(person["keypoints"])
    assert KeypointHeadConfig().names == names
    limbs = {frozenset((names[a - 1], names[b - 1])) for a, b in person["skeleton"]}
    assert {frozenset(limb) for limb in KeypointHeadConfig().skeleton} == limbs
    assert len(KeypointHeadConfig().skeleton) == len(person["skeleton"])


def test_a_limb_must_join_points_that_there_are():
    with pytest.raises(ConfigurationError, match=r"^KeypointHeadConfig.skeleton: found \['tail'\], expected pairs of"):
        KeypointHeadConfig(names=("nose", "left_eye"), skeleton=(("nose", "tail"),))


# --- In the network ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
def test_a_loss_and_points_in_either_mode(training):
    output = make_model().train(training)(make_batch(PICTURES, 2), detect=True)
    assert output.losses["keypoint"].item() == pytest.approx(math.log(56 * 56), rel=0.2), "as good as guessing"
    assert output.detections.keypoints.shape == (3, 8, 3, 3) and output.detections.keypoints.dtype == torch.float32
    without = make_model(SMALL)(make_batch(PICTURES, 2), detect=True)
    assert "keypoint" not in without.losses and without.detections.keypoints is None


def test_without_a_mask_head():
    """torchvision's keypoint detector has none."""
    model = make_model(change(WITH_KEYPOINTS, "mask_head", enabled=False))
    output = model(make_batch(PICTURES, 2), detect=True)
    assert output.losses.keys() == {"rpn_objectness", "rpn_box", "class", "box", "keypoint"}
    assert output.detections.masks is None and output.detections.keypoints is not None


def test_points_lie_in_their_boxes_and_empty_slots_have_none():
    batch = replace(make_batch(PICTURES, 2), targets=None)
    found = make_model(change(WITH_KEYPOINTS, "box_head", nms_iou=0.1, detections=40))(batch).detections
    assert found.valid.any() and not found.valid.all()
    corner, far_corner = found.boxes[..., None, :2], found.boxes[..., None, 2:]
    inside = (found.keypoints[..., :2] >= corner) & (found.keypoints[..., :2] <= far_corner)
    assert inside[found.valid].all()
    assert not found.keypoints[~found.valid].any()


def test_points_are_in_pixels_of_the_original_pictures():
    """As boxes are: each axis has its own factor. The score is the heat map's, and does not change."""
    model = make_model(change(WITH_KEYPOINTS, "box_head", nms_in_original_pixels=False))
    batch = replace(make_batch(PICTURES, 2), targets=None)
    found = model(replace(batch, original_sizes=batch.image_sizes)).detections
    factors = torch.tensor([[2.0, 3.0], [0.5, 1.0], [1.25, 0.75]])  # of height and width
    scaled = model(replace(batch, original_sizes=(batch.image_sizes * factors).long())).detections
    expected = found.keypoints.clone()
    expected[..., 0] *= factors[:, 1, None, None]
    expected[..., 1] *= factors[:, 0, None, None]
    torch.testing.assert_close(scaled.keypoints, expected)


def test_points_outside_the_mask_of_positives_teach_nothing():
    """Don't-care objects and pictures without objects have no keypoints to learn."""
    model = make_model()
    for batch in (make_batch([[], []], 0), make_batch([PICTURES[0]], 2, ignored={(0, 0), (0, 1)})):
        losses = model(batch).losses
        assert losses["keypoint"] == 0
        total_loss(losses).backward()
        assert gradients(model).keys() == dict(model.named_parameters()).keys()


def test_targets_without_keypoints():
    """A batch in which no picture has keypoints: nothing to learn for that head, everything else as before."""
    model, batch = make_model(), make_batch(PICTURES, 2)
    torch.manual_seed(1)
    expected = model(batch).losses
    torch.manual_seed(1)
    losses = model(replace(batch, targets=replace(batch.targets, keypoints=None))).losses
    assert losses.pop("keypoint") == 0 and expected.pop("keypoint") > 0
    assert losses == expected


def test_objects_without_labelled_points_do_not_count():
    """They are boxes and masks to learn all the same."""
    model, batch = make_model(), make_batch([PICTURES[0]], 2)
    keypoints = batch.targets.keypoints.clone()
    keypoints[0, 1] = 0
    torch.manual_seed(1)
    both = model(batch).losses
    torch.manual_seed(1)
    one = model(replace(batch, targets=replace(batch.targets, keypoints=keypoints))).losses
    assert one["box"] == both["box"] and one["mask"] == both["mask"]
    assert one["keypoint"] > 0 and one["keypoint"] != both["keypoint"]


def test_targets_of_another_skeleton():
    batch = make_batch(PICTURES, 2)
    batch = replace(batch, targets=replace(batch.targets, keypoints=torch.zeros(3, 2, 5, 3)))
    with pytest.raises(ValueError, match=r"^found targets of 5 keypoints, expected 3: \('left_end', "):
        make_model()(batch)


def train(steps):
    """The keypoint loss of each step on one picture, and the model."""
    model, batch = make_model(), make_batch([PICTURES[0]], 2)
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3)
    history = []
    for _ in range(steps):
        losses = model(batch).losses
        optimiser.zero_grad()
        total_loss(losses).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
        history.append(losses["keypoint"].item())
    return model, batch, history


def test_training_lowers_the_loss():
    _, _, history = train(15)
    assert sum(history[-3:]) / 3 < history[0] - 1


@pytest.mark.slow
def test_points_are_learned_by_heart():
    """After 300 steps each point of both objects is found within three pixels."""
    model, batch, _ = train(300)
    batch = replace(batch, original_sizes=batch.image_sizes)
    with torch.no_grad():
        found = model.eval()(batch, detect=True).detections
    for slot, label in enumerate((1, 2)):
        best = int((found.scores[0] * (found.labels[0] == label)).argmax())
        distance = (found.keypoints[0, best, :, :2] - batch.targets.keypoints[0, slot, :, :2]).norm(dim=-1)
        assert (distance < 3).all(), distance
