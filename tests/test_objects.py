"""Objects out of a network's detections: by hand, in order, and pasted in parts as all at once."""

import numpy as np
import pytest
import torch

from maskrcnn import objects as module
from maskrcnn import ops
from maskrcnn.objects import found_objects, mask_of
from maskrcnn.structures import Detections

NAMES = ("cat", "dog")


def detections(**changes) -> Detections:
    """Of two pictures; in the second a dog at (2, 1)-(8, 5), a cat that fills the picture, and an empty slot."""
    boxes = torch.tensor([[2.0, 1, 8, 5], [0, 0, 12, 10], [0, 0, 0, 0]])
    values = {
        "boxes": torch.stack([torch.zeros(3, 4), boxes]),
        "scores": torch.tensor([[0.0, 0, 0], [0.9, 0.3, 0]]),
        "labels": torch.tensor([[0, 0, 0], [2, 1, 0]]),
        "valid": torch.tensor([[False] * 3, [True, True, False]]),
        "masks": torch.ones(2, 3, 28, 28),
    }
    return Detections(**{**values, **changes})


def test_objects_by_hand():
    dog, cat = found_objects(detections(), 1, (10, 12), NAMES, "pixel_centres")
    assert (dog.label, dog.name, dog.score) == (2, "dog", pytest.approx(0.9)) and dog.box.tolist() == [2, 1, 8, 5]
    expected = np.zeros((10, 12), bool)
    expected[1:5, 2:8] = True
    np.testing.assert_array_equal(mask_of(dog), expected)
    assert cat.name == "cat" and mask_of(cat).all() and cat.keypoints is None
    assert found_objects(detections(), 0, (10, 12), NAMES, "pixel_centres") == ()


def test_a_class_that_no_training_has_seen_has_no_objects():
    """Outputs that a published file has and nobody has taught; "unused" elsewhere is a class as any other."""
    found = found_objects(detections(), 1, (10, 12), ("cat", "unused 2"), "pixel_centres")
    assert [one.name for one in found] == ["cat"]
    found = found_objects(detections(), 1, (10, 12), ("unused 2", "dog"), "pixel_centres")
    assert [one.name for one in found] == ["dog", "unused 2"]


def test_a_threshold_is_reached_by_what_is_equal():
    scores = torch.tensor([[0.0, 0, 0], [0.5, 0.25, 0]])
    for threshold, count in ((0.25, 2), (0.26, 1), (0.5, 1), (0.51, 0)):
        found = found_objects(detections(scores=scores), 1, (10, 12), NAMES, "pixel_centres", threshold)
        assert len(found) == count


def test_the_convention_of_pasting_is_the_one_that_is_asked_for():
    for convention in ("pixel_centres", "padded_resize"):
        masks = torch.rand(2, 3, 28, 28, generator=torch.Generator().manual_seed(0))
        found = found_objects(detections(masks=masks), 1, (10, 12), NAMES, convention)
        boxes = torch.tensor([[2.0, 1, 8, 5], [0, 0, 12, 10]])
        pasted = ops.paste_masks(masks[1, :2], boxes, height=10, width=12, convention=convention)
        np.testing.assert_array_equal([mask_of(one) for one in found], pasted.numpy())


def test_large_pictures_are_pasted_in_parts(monkeypatch):
    whole = found_objects(detections(), 1, (10, 12), NAMES, "pixel_centres")
    monkeypatch.setattr(module, "_PASTED_AT_ONCE", 1)
    parts = found_objects(detections(), 1, (10, 12), NAMES, "pixel_centres")
    assert [one.mask for one in parts] == [one.mask for one in whole] and len(parts) == 2


def test_without_masks_and_with_keypoints():
    points = torch.arange(18.0).reshape(2, 3, 1, 3)
    (dog, cat) = found_objects(detections(masks=None, keypoints=points), 1, (10, 12), NAMES, "pixel_centres")
    assert dog.mask is None and dog.keypoints.tolist() == [[9, 10, 11]] and cat.keypoints.tolist() == [[12, 13, 14]]
    with pytest.raises(ValueError, match=r"^dog: found an object without a mask, expected one from a n"):
        mask_of(dog)
