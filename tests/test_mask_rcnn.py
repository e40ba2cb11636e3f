"""The whole network: its size, its outputs in either mode, empty batches, and that it learns."""

from dataclasses import replace

import pytest
import torch
from small_model import SMALL, WITH_KEYPOINTS, change, gradients, make_batch

from maskrcnn import boxes as box_functions
from maskrcnn.config import (
    AnchorConfig,
    BackboneConfig,
    BoxHeadConfig,
    KeypointHeadConfig,
    MaskHeadConfig,
    ModelConfig,
)
from maskrcnn.model.mask_rcnn import MaskRCNN
from maskrcnn.ops import paste_masks
from maskrcnn.structures import Detections
from maskrcnn.targets.losses import total_loss

TEXT_ANCHORS = AnchorConfig(sizes=(16, 32, 64, 128, 256), ratios=(0.17, 0.44, 1.13, 2.90, 7.46))
LOSSES = {"rpn_objectness", "rpn_box", "class", "box", "mask"}
PICTURES = [[(1, (10, 12, 50, 40)), (2, (60, 20, 90, 32))], [], [(2, (5, 5, 30, 30))]]


def classes(count):
    return tuple(f"class {index}" for index in range(count))


def make_model(config=SMALL):
    torch.manual_seed(0)
    return MaskRCNN(config)


# --- Size (spec 1.10) -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "count"),
    [
        (ModelConfig(class_names=classes(90), box_head=BoxHeadConfig(background_outputs=True)), 44_401_393),
        (
            ModelConfig(
                class_names=("person",),
                box_head=BoxHeadConfig(background_outputs=True),
                mask_head=MaskHeadConfig(enabled=False),
                keypoint_head=KeypointHeadConfig(enabled=True),
            ),
            59_137_258,
        ),
        (ModelConfig(backbone=BackboneConfig(norm="batch_eval"), anchors=TEXT_ANCHORS), 43_973_728),
        (
            ModelConfig(class_names=classes(80), backbone=BackboneConfig(norm="batch_eval"), anchors=TEXT_ANCHORS),
            44_398_906,
        ),
        (ModelConfig(class_names=classes(80), backbone=BackboneConfig(norm="batch_eval")), 44_396_336),
    ],
    ids=["torchvision COCO", "torchvision keypoints", "MMOCR ICDAR2015", "MMOCR CTW1500", "MMDetection COCO"],
)
def test_parameter_counts_of_the_published_models(config, count):
    with torch.device("meta"):
        model = MaskRCNN(config)
    assert sum(parameter.numel() for parameter in model.parameters()) == count


def test_as_many_arrays_as_in_torchvisions_file():
    """Spec 1.11: 307 with frozen BatchNorm, 360 with the counters of the other kind."""
    for norm, arrays in (("batch_frozen", 307), ("batch", 360)):
        with torch.device("meta"):
            model = MaskRCNN(ModelConfig(backbone=BackboneConfig(norm=norm)))
        names = list(model.state_dict())
        assert len(names) == arrays
        assert {name.split(".")[0] for name in names} == {"backbone", "pyramid", "rpn", "roi_heads"}


def test_anchors_and_other_constants_are_not_saved():
    assert not [name for name in make_model().state_dict() if "anchor" in name or "cell" in name]


# --- Outputs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
def test_losses_and_detections_in_either_mode(training):
    """A validation loss exists, and a training picture can be looked at."""
    model, batch = make_model().train(training), make_batch(PICTURES, 2)
    output = model(batch, detect=True)
    assert output.losses.keys() == LOSSES
    assert all(loss.shape == () and loss.isfinite() and loss > 0 for loss in output.losses.values())
    found = output.detections
    assert isinstance(found, Detections) and found.boxes.shape == (3, 8, 4) and found.masks.shape == (3, 8, 28, 28)
    assert model(batch).detections is None and model(batch).losses.keys() == LOSSES
    without = model(replace(batch, targets=None))
    assert without.losses is None and torch.equal(without.detections.boxes, found.boxes)


def varied_model(config=SMALL):
    """Its boxes differ from the proposals and its scores from each other."""
    model = make_model(config)
    with torch.no_grad():
        model.roi_heads.box_head.classes.weight.normal_(std=0.5)
        model.roi_heads.box_head.deltas.weight.normal_(std=0.5)
    return model


def test_detections_are_in_order_and_inside_each_picture():
    batch = replace(make_batch(PICTURES, 2), image_sizes=torch.tensor([[64, 96], [50, 70], [64, 40]]), targets=None)
    found = varied_model()(replace(batch, original_sizes=batch.image_sizes)).detections
    assert found.valid.any(dim=1).all()
    for boxes, (height, width) in zip(found.boxes, batch.image_sizes.tolist(), strict=True):
        assert (boxes >= 0).all() and (boxes[:, [0, 2]] <= width).all() and (boxes[:, [1, 3]] <= height).all()
    assert (found.scores[:, 1:] <= found.scores[:, :-1]).all()
    assert torch.equal(found.valid, found.scores > SMALL.box_head.score_threshold)
    assert set(found.labels[found.valid].tolist()) <= {1, 2} and not found.labels[~found.valid].any()
    assert ((found.masks >= 0) & (found.masks <= 1)).all()


def test_detections_are_in_pixels_of_the_original_pictures():
    """Each axis has its own factor; the masks, seen from their boxes, do not change."""
    model = varied_model(change(SMALL, "box_head", nms_in_original_pixels=False))
    batch = replace(make_batch(PICTURES, 2), targets=None)
    found = model(replace(batch, original_sizes=batch.image_sizes)).detections
    factors = torch.tensor([[2.0, 3.0], [0.5, 1.0], [1.25, 0.75]])  # of height and width
    scaled = model(replace(batch, original_sizes=(batch.image_sizes * factors).long())).detections
    torch.testing.assert_close(scaled.boxes, found.boxes * factors[:, None, [1, 0, 1, 0]])
    assert torch.equal(scaled.labels, found.labels) and torch.equal(scaled.scores, found.scores)
    torch.testing.assert_close(scaled.masks, found.masks)


def test_without_a_mask_head():
    output = make_model(change(SMALL, "mask_head", enabled=False))(make_batch(PICTURES, 2), detect=True)
    assert output.losses.keys() == LOSSES - {"mask"} and output.detections.masks is None


def test_the_mask_resolution_is_a_setting():
    output = make_model(change(SMALL, "mask_head", pooled_size=10))(make_batch(PICTURES, 2), detect=True)
    assert output.detections.masks.shape[-2:] == (20, 20) and output.losses["mask"] > 0


@pytest.mark.parametrize("size", [(64, 96), (40, 72), (33, 65)])
def test_any_picture_size(size):
    batch = make_batch([[(1, (4, 6, 30, 28))]], 1, size=size)
    output = make_model()(batch, detect=True)
    assert all(loss.isfinite() for loss in output.losses.values())
    assert output.detections.boxes[..., 2].max() <= 2 * size[1]


def test_padding_below_and_beside_a_picture_is_not_searched():
    batch = make_batch([[]], 1, size=(64, 128))
    small = replace(batch, image_sizes=torch.tensor([[64, 40]]), original_sizes=torch.tensor([[64, 40]]), targets=None)
    assert make_model()(small).detections.boxes[..., 2].max() <= 40


# --- Every configuration makes a step ---------------------------------------------------------------------------------


STEPS = {
    "group norm": SMALL,
    "batch norm": change(SMALL, "backbone", norm="batch"),
    "batch norm everywhere": change(
        change(SMALL, "backbone", norm="batch", pyramid_norm="batch"), "box_head", norm="batch", sampler="hard"
    ),
    "keypoints": WITH_KEYPOINTS,
    "frozen statistics": change(SMALL, "backbone", norm="batch_eval", frozen_stages=1),
    "frozen norm": change(SMALL, "backbone", norm="batch_frozen", frozen_stages=2),
    "bottlenecks": change(SMALL, "backbone", depth="50", width=4),
    "MMOCR": replace(
        SMALL,
        backbone=replace(SMALL.backbone, norm="batch_eval", frozen_stages=1),
        rpn=replace(SMALL.rpn, box_loss="l1", denominator="at_least_one_each"),
        box_head=replace(
            SMALL.box_head,
            sampling_ratio=0,
            low_quality=True,
            sampler="hard",
            ground_truth_proposals="assign",
            box_loss="l1",
        ),
        mask_head=replace(SMALL.mask_head, sampling_ratio=0),
    ),
    "torchvision": replace(
        SMALL,
        backbone=replace(SMALL.backbone, norm="batch_frozen", frozen_stages=1),
        anchors=replace(SMALL.anchors, round_to_pixels=True, stride_from_feature_size=True),
        rpn=replace(SMALL.rpn, low_quality="own_best"),
        box_head=replace(
            SMALL.box_head,
            aligned=False,
            clamp_both_sides=False,
            background_outputs=True,
            minimum_size=0.01,
            nms_in_original_pixels=False,
        ),
        mask_head=replace(SMALL.mask_head, aligned=False, targets="soft", paste="padded_resize"),
        initialisation="torchvision",
    ),
}


@pytest.mark.parametrize("config", STEPS.values(), ids=STEPS)
def test_a_step_reaches_every_parameter_that_learns(config):
    model = make_model(config).to(memory_format=torch.channels_last)
    total_loss(model(make_batch(PICTURES, 2)).losses).backward()
    reached = gradients(model)
    for name, value in model.named_parameters():
        assert (name in reached) == value.requires_grad, name
    assert all(value.isfinite().all() for value in reached.values())
    # A ReLU that is off for every RoI may starve a single layer, never a whole part.
    parts = {".".join(name.split(".")[:2]) for name in reached}
    assert parts == {".".join(name.split(".")[:2]) for name, value in reached.items() if value.any()}


@pytest.mark.parametrize("conventions", ["group norm", "MMOCR", "torchvision"])
@pytest.mark.parametrize("slots", [0, 1, 3])
def test_batches_without_any_object(conventions, slots):
    """Losses are finite, boxes and masks have nothing to learn, and the background is learned."""
    model = make_model(STEPS[conventions])
    losses = model(make_batch([[], []], slots)).losses
    assert losses["rpn_box"] == losses["box"] == losses["mask"] == 0
    assert losses["rpn_objectness"] > 0 and losses["class"] > 0
    total_loss(losses).backward()
    reached = gradients(model)
    assert reached.keys() == {name for name, value in model.named_parameters() if value.requires_grad}
    assert all(value.isfinite().all() for value in reached.values())


def test_a_batch_of_nothing_but_dont_care():
    batch = make_batch([[(1, (0, 0, 96, 64))]], 1, ignored={(0, 0)})
    everywhere = torch.tensor([[[-500.0, -500.0, 600.0, 600.0]]])
    model = make_model()
    losses = model(replace(batch, targets=replace(batch.targets, boxes=everywhere))).losses
    assert losses == dict.fromkeys(LOSSES, 0)
    total_loss(losses).backward()
    assert not any(value.any() for value in gradients(model).values())


def test_bfloat16_step_is_close_to_float32():
    losses = {}
    for enabled in (False, True):
        model, batch = make_model(), make_batch(PICTURES, 2)
        torch.manual_seed(1)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            output = model(batch, detect=True)
        assert {loss.dtype for loss in output.losses.values()} == {torch.float32}
        assert output.detections.masks.dtype == output.detections.boxes.dtype == torch.float32
        total_loss(output.losses).backward()
        assert all(value.isfinite().all() for value in gradients(model).values())
        losses[enabled] = output.losses
    for name, loss in losses[False].items():
        assert losses[True][name].item() == pytest.approx(loss.item(), rel=0.1, abs=0.02)


def test_the_same_seed_gives_the_same_step():
    results = []
    for _ in range(2):
        model = make_model()
        losses = model(make_batch(PICTURES, 2)).losses
        total_loss(losses).backward()
        results.append((losses, gradients(model)))
    assert results[0][0] == results[1][0]
    assert all(torch.equal(value, results[1][1][name]) for name, value in results[0][1].items())


def test_weights_carry_over():
    first, second = make_model(), MaskRCNN(SMALL)
    second.load_state_dict(first.state_dict())
    batch = replace(make_batch(PICTURES, 2), targets=None)
    for name in ("boxes", "scores", "labels", "valid", "masks"):
        assert torch.equal(getattr(first(batch).detections, name), getattr(second(batch).detections, name))


# --- It learns --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("conventions", ["group norm", "MMOCR", "torchvision"])
def test_one_picture_is_learned_by_heart(conventions):
    """Within 300 steps both objects are found, with class, box and outline."""
    config = replace(STEPS[conventions], backbone=SMALL.backbone)
    model, batch = make_model(config), make_batch([PICTURES[0]], 2)
    batch = replace(batch, original_sizes=batch.image_sizes)
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3)
    # Smaller steps at the end, or where it ends would be a matter of rounding.
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: min(1.0, (300 - step) / 100))
    for _ in range(300):
        optimiser.zero_grad()
        total_loss(model(batch).losses).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        found = model.eval()(batch, detect=True).detections
    for slot, label in enumerate((1, 2)):
        best = int((found.scores[0] * (found.labels[0] == label)).argmax())
        assert found.scores[0, best] > 0.5
        assert box_functions.iou(found.boxes[0, best, None], batch.targets.boxes[0, slot, None]) > 0.8
        mask = paste_masks(
            found.masks[0, best, None],
            found.boxes[0, best, None],
            height=64,
            width=96,
            convention=config.mask_head.paste,
        )[0]
        expected = batch.targets.full_masks(64, 96)[0, slot]
        assert (mask & expected).sum() / (mask | expected).sum() > 0.75
