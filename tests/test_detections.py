"""From class scores and deltas to detections in the original picture, batched and one image at a time."""

import math

import pytest
import torch
from random_inputs import random_boxes
from torch.testing import assert_close

from maskrcnn.config import BoxHeadConfig
from maskrcnn.model.detections import select_detections
from maskrcnn.model.rpn import Proposals
from maskrcnn.reference import detections as reference

FAR_APART = torch.tensor([[0.0, 0.0, 10.0, 10.0], [20.0, 0.0, 30.0, 10.0], [40.0, 0.0, 50.0, 10.0]])


def logits_of(*probabilities: list[float]) -> torch.Tensor:
    """(1, R, K) logits whose softmax are these rows."""
    return torch.log(torch.tensor([probabilities]))


def select(
    logits: torch.Tensor,
    boxes: torch.Tensor = FAR_APART,
    deltas: torch.Tensor | None = None,
    size: tuple[int, int] = (100, 100),
    original: tuple[int, int] = (100, 100),
    valid: torch.Tensor | None = None,
    **settings,
):
    """`select_detections` for one image."""
    batch, rois, classes = logits.shape
    deltas = torch.zeros(batch, rois, classes - 1, 4) if deltas is None else deltas
    valid = torch.ones(batch, rois, dtype=torch.bool) if valid is None else valid
    proposals = Proposals(boxes[None], valid)
    return select_detections(
        logits, deltas, proposals, torch.tensor([size]), torch.tensor([original]), BoxHeadConfig(**settings)
    )


# By hand.


def test_best_first_with_label_and_score_and_empty_slots_of_zeros():
    """Three RoIs, two classes; the first RoI is too sure of the background to be anything else."""
    found = select(logits_of([0.98, 0.01, 0.01], [0.3, 0.1, 0.6], [0.2, 0.78, 0.02]), detections=5).detections
    assert found.labels.tolist() == [[1, 2, 1, 0, 0]]
    assert_close(found.scores, torch.tensor([[0.78, 0.6, 0.1, 0.0, 0.0]]))
    assert found.valid.tolist() == [[True, True, True, False, False]]
    assert found.boxes[0].tolist() == [*FAR_APART[[2, 1, 1]].tolist(), [0] * 4, [0] * 4]
    assert found.masks is None


def test_a_score_equal_to_the_threshold_is_not_above_it():
    half = torch.zeros(1, 1, 2)  # softmax gives exactly 0.5 and 0.5
    assert not select(half, FAR_APART[:1], score_threshold=0.5).detections.valid.any()
    assert select(half, FAR_APART[:1], score_threshold=0.49).detections.valid.sum() == 1


def test_a_class_suppresses_only_itself():
    same = FAR_APART[[0, 0]]
    one_class = select(logits_of([0.3, 0.5, 0.2], [0.3, 0.6, 0.1]), same, score_threshold=0.3).detections
    two_classes = select(logits_of([0.3, 0.6, 0.1], [0.3, 0.1, 0.6]), same, score_threshold=0.3).detections
    assert one_class.valid.sum() == 1 and one_class.labels[0, 0] == 1
    assert sorted(two_classes.labels[0, :3].tolist()) == [0, 1, 2]


def test_an_iou_equal_to_the_threshold_does_not_suppress():
    boxes = torch.tensor([[0.0, 0.0, 16.0, 16.0], [0.0, 0.0, 16.0, 8.0]])  # IoU 0.5
    logits = logits_of([0.2, 0.8], [0.3, 0.7])
    assert select(logits, boxes, nms_iou=0.5).detections.valid.sum() == 2
    assert select(logits, boxes, nms_iou=0.49).detections.valid.sum() == 1


def test_the_best_of_all_classes_are_kept():
    found = select(logits_of([0.1, 0.5, 0.4], [0.1, 0.6, 0.3], [0.1, 0.05, 0.85]), detections=3).detections
    assert_close(found.scores, torch.tensor([[0.85, 0.6, 0.5]]))
    assert found.labels.tolist() == [[2, 1, 1]]


def test_each_class_has_a_box_of_its_own():
    """Weights (10, 10, 5, 5): a delta of 5 moves the box by half its width."""
    deltas = torch.zeros(1, 1, 2, 4)
    deltas[0, 0, 1, 0] = 5.0
    found = select(logits_of([0.1, 0.5, 0.4]), FAR_APART[1:2], deltas).detections
    assert found.boxes[0, :2].tolist() == [[20, 0, 30, 10], [25, 0, 35, 10]]


def test_boxes_go_back_to_the_original_picture_each_axis_by_its_own_factor():
    """The picture of 400 x 500 was shrunk to 100 x 250, by 4 in y and by 2 in x."""
    found = select(logits_of([0.1, 0.9]), FAR_APART[1:2], size=(100, 250), original=(400, 500))
    assert found.detections.boxes[0, 0].tolist() == [40, 0, 60, 40]
    assert found.network_boxes[0, 0].tolist() == [20, 0, 30, 10]
    assert not found.network_boxes[0, 1:].any()


def test_boxes_are_clipped_to_the_image_and_not_to_its_padding():
    found = select(logits_of([0.1, 0.9]), FAR_APART[1:2], size=(8, 26), original=(8, 26)).detections
    assert found.boxes[0, 0].tolist() == [20, 0, 26, 8]


def test_small_detections_are_dropped_only_when_asked():
    """Of an image of 20 pixels width, the first box keeps its edge only. MMDetection keeps such boxes, once each."""
    boxes, logits = FAR_APART[[1, 0, 2]], logits_of([0.1, 0.9], [0.1, 0.9], [0.99, 0.01])
    keep = select(logits, boxes, size=(100, 20), original=(100, 20), minimum_size=0.0).detections
    drop = select(logits, boxes, size=(100, 20), original=(100, 20), minimum_size=0.01).detections
    assert (int(keep.valid.sum()), int(drop.valid.sum())) == (2, 1)


def test_a_threshold_of_zero_keeps_everything():
    found = select(logits_of([0.98, 0.01, 0.01], [0.3, 0.1, 0.6]), FAR_APART[:2], score_threshold=0.0).detections
    assert_close(found.scores[0, :5], torch.tensor([0.6, 0.1, 0.01, 0.01, 0.0]))


def test_padded_proposals_are_never_detected():
    valid = torch.tensor([[True, False, True]])
    found = select(logits_of([0.2, 0.8], [0.01, 0.99], [0.3, 0.7]), valid=valid).detections
    assert found.boxes[0][found.valid[0]].tolist() == FAR_APART[[0, 2]].tolist()


# Against the loop reference.


def random_case(seed: int, images: int, rois: int, classes: int, sharpness: float = 2.0):
    """Logits, deltas and crowded proposals, float64."""
    generator = torch.Generator().manual_seed(seed)
    random = {"generator": generator, "dtype": torch.float64}
    logits = torch.randn(images, rois, classes, **random) * sharpness
    deltas = torch.randn(images, rois, classes - 1, 4, **random)
    return logits, deltas, random_boxes(images, rois, seed=seed + 1)


@pytest.mark.parametrize("nms_in_original_pixels", [True, False])
@pytest.mark.parametrize(("classes", "detections"), [(2, 100), (4, 20), (30, 15)])
def test_each_image_of_a_padded_batch_detects_as_the_reference_does_alone(classes, detections, nms_in_original_pixels):
    counts = (25, 40, 0)
    logits, deltas, boxes = random_case(1, 3, 40, classes)
    sizes, originals = torch.tensor([[90, 70], [100, 100], [50, 60]]), torch.tensor([[180, 300], [33, 40], [50, 60]])
    valid = torch.arange(40) < torch.tensor(counts)[:, None]
    rules = {"score_threshold": 0.05, "nms_iou": 0.5, "detections": detections, "minimum_size": 0.01}
    config = BoxHeadConfig(nms_in_original_pixels=nms_in_original_pixels, **rules)
    found = select_detections(logits, deltas, Proposals(boxes, valid), sizes, originals, config).detections
    for image, count in enumerate(counts):
        expected_boxes, scores, labels = reference.detect(
            logits[image, :count], deltas[image, :count], boxes[image, :count], sizes[image], originals[image], **rules
        )
        real = found.valid[image]
        assert_close(found.boxes[image][real], expected_boxes.double())
        assert_close(found.scores[image][real], scores.double())
        assert torch.equal(found.labels[image][real], labels)
        assert not found.boxes[image][~real].any() and not found.scores[image][~real].any()
        assert not found.labels[image][~real].any()
    assert found.valid.sum(dim=1).tolist()[:2] != [0, 0] and not found.valid[2].any()


def test_keeping_the_best_nineteen_classes_a_roi_loses_nothing():
    """Softmax rows as flat as they can be: eighty classes, of which 19 are just above 0.05 in every RoI."""
    generator = torch.Generator().manual_seed(2)
    logits = torch.full((1, 6, 81), math.log(1e-5), dtype=torch.float64)
    for roi in range(6):
        logits[0, roi, 1 + torch.randperm(80, generator=generator)[:19]] = math.log(1 / 19)
    logits += torch.rand(logits.shape, generator=generator, dtype=torch.float64) * 0.02
    boxes, deltas = random_boxes(1, 6, seed=3), torch.zeros(1, 6, 80, 4, dtype=torch.float64)
    rules = {"score_threshold": 0.05, "nms_iou": 0.5, "detections": 200}
    size = torch.tensor([[100, 100]])
    found = select_detections(
        logits, deltas, Proposals(boxes, torch.ones(1, 6).bool()), size, size, BoxHeadConfig(**rules)
    ).detections
    above = int((logits.softmax(dim=-1)[..., 1:] > 0.05).sum())
    _, scores, labels = reference.detect(logits[0], deltas[0], boxes[0], size[0], size[0], **rules)
    assert above == 6 * 19 and 60 < len(scores) <= above
    assert_close(found.scores[0][found.valid[0]], scores)
    assert torch.equal(found.labels[0][found.valid[0]], labels)


@pytest.mark.parametrize("classes", [2, 6])
def test_more_padding_changes_nothing(classes):
    logits, deltas, boxes = random_case(4, 2, 30, classes)
    valid, sizes = torch.ones(2, 30, dtype=torch.bool), torch.tensor([[90, 70], [100, 100]])
    config = BoxHeadConfig()
    before = select_detections(logits, deltas, Proposals(boxes, valid), sizes, sizes * 2, config)
    more_logits, more_deltas, more_boxes = random_case(5, 2, 12, classes, sharpness=9.0)
    after = select_detections(
        torch.cat((logits, more_logits), dim=1),
        torch.cat((deltas, more_deltas), dim=1),
        Proposals(torch.cat((boxes, more_boxes), dim=1), torch.nn.functional.pad(valid, (0, 12))),
        sizes,
        sizes * 2,
        config,
    )
    for name in ("boxes", "scores", "labels", "valid"):
        assert_close(getattr(after.detections, name), getattr(before.detections, name))
    assert_close(after.network_boxes, before.network_boxes)


# Empty.


def test_no_proposals_give_no_detections():
    none = torch.zeros(2, 3, dtype=torch.bool)
    size = torch.tensor([[50, 60]] * 2)
    found = select_detections(
        torch.zeros(2, 3, 3), torch.zeros(2, 3, 2, 4), Proposals(torch.zeros(2, 3, 4), none), size, size,
        BoxHeadConfig(detections=7),
    )  # fmt: skip
    assert found.detections.boxes.shape == (2, 7, 4)
    assert not found.detections.valid.any() and not found.detections.boxes.any() and not found.network_boxes.any()
    boxes, scores, labels = reference.detect(
        torch.zeros(0, 3), torch.zeros(0, 2, 4), torch.zeros(0, 4), size[0], size[0],
        score_threshold=0.05, nms_iou=0.5, detections=7,
    )  # fmt: skip
    assert (boxes.shape, scores.shape, labels.shape) == ((0, 4), (0,), (0,))


def test_only_background_gives_no_detections():
    assert not select(logits_of([0.99, 0.01], [0.96, 0.04], [0.98, 0.02])).detections.valid.any()
