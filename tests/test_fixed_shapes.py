"""Design decision 2: no shape, no operator and no host synchronisation depends on what is in the pictures."""

from collections import Counter
from dataclasses import replace
from unittest import mock

import pytest
import torch
from small_model import SMALL, WITH_KEYPOINTS, change, gradients, make_batch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from maskrcnn.model.mask_rcnn import MaskRCNN
from maskrcnn.model.roi_heads import RoIHeads
from maskrcnn.model.rpn import Proposals
from maskrcnn.targets.losses import total_loss

TWO_OBJECTS = [(1, (10, 12, 50, 40)), (2, (60, 20, 90, 32))]
HARD = change(
    SMALL,
    "box_head",
    sampler="hard",
    positive_fraction=0.05,  # one of 32, so that positives compete too
    low_quality=True,
    ground_truth_proposals="assign",
)
TORCHVISION = change(
    change(
        change(SMALL, "rpn", low_quality="own_best"),
        "box_head",
        aligned=False,
        background_outputs=True,
        clamp_both_sides=False,
        nms_in_original_pixels=False,
    ),
    "mask_head",
    targets="soft",
)
NORMS = change(change(HARD, "backbone", norm="batch", pyramid_norm="batch"), "box_head", norm="batch")
CONFIGS = pytest.mark.parametrize(
    "config",
    [SMALL, HARD, TORCHVISION, NORMS, WITH_KEYPOINTS],
    ids=["defaults", "hard examples", "torchvision's conventions", "batch norms", "keypoints"],
)
TENSOR = torch.Tensor
SYNCHRONISING_METHODS = {
    TENSOR.item, TENSOR.tolist, TENSOR.numpy, TENSOR.cpu, TENSOR.cuda, TENSOR.to_sparse,
    TENSOR.__bool__, TENSOR.__int__, TENSOR.__float__, TENSOR.__index__, TENSOR.__contains__, TENSOR.__array__,
}  # fmt: skip
"""What waits for a GPU when called on its tensors; on a CPU most of it leaves no trace in the dispatcher."""
aten = torch.ops.aten
DATA_DEPENDENT = {
    aten.nonzero.default, aten._local_scalar_dense.default, aten.masked_select.default, aten.is_nonzero.default,
    aten.equal.default, aten._unique2.default, aten.unique_consecutive.default, aten.repeat_interleave.Tensor,
}  # fmt: skip
"""Operators whose result has a shape that depends on values, or that hand a value to Python."""
INDEXING = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_}
FROM_HOST = {aten.lift_fresh.default, aten.lift_fresh_copy.default, aten.lift.default}
"""How `torch.tensor([...])` looks from below: on a GPU it copies from the host, and waits."""
DEPENDS_ON_B = aten.squeeze.dim
"""PyTorch's own Linear uses it in its backward pass if B = 1; it is a view and costs nothing."""


class ForbiddenError(AssertionError):
    """An operator that the step must not use."""


class FixedShapesOnly(TorchDispatchMode):
    """Counts operators, and raises on any whose shape or timing depends on the data or on the host.

    A custom op is one operator here, whether compiled or not: what it does inside is its own matter.
    """

    def __init__(self):
        super().__init__()
        self.counts = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in DATA_DEPENDENT | FROM_HOST:
            raise ForbiddenError(f"{func} depends on the data or copies from the host")
        if func.overloadpacket in INDEXING and any(i is not None and i.dtype == torch.bool for i in args[1]):
            raise ForbiddenError(f"{func} with a mask: its shape depends on the data")
        result = func(*args, **kwargs)
        devices = {leaf.device for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, torch.Tensor)}
        if len(devices) > 1:
            raise ForbiddenError(f"{func} copies between {devices}")
        if func is not DEPENDS_ON_B:
            self.counts[str(func)] += 1
        return result


class NoSynchronisation(TorchFunctionMode):
    """Raises when Python asks a tensor for its values."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in SYNCHRONISING_METHODS:
            raise ForbiddenError(f"{func.__name__} waits for the device")
        return func(*args, **(kwargs or {}))


def training_step(model, batch):
    """One whole step without the optimiser: both stages, all losses, detections and the backward pass."""
    output = model(batch, detect=True)
    total_loss(output.losses).backward()
    return output


def batch_of(images, slots):
    objects = TWO_OBJECTS[: min(slots, 2)]
    return make_batch([objects for _ in range(images)], slots)


# --- The step on a device without memory ------------------------------------------------------------------------------


@CONFIGS
def test_step_on_meta_tensors(config):
    """Under FakeTensorMode there are no values: code that asks for one, or for a shape made of them, raises."""
    model, batch = MaskRCNN(config).to("meta"), batch_of(2, 4).to("meta")
    with FakeTensorMode(allow_non_fake_inputs=True), torch.device("meta"):
        output = training_step(model, batch)
    heads = ("mask", "keypoint") if config.keypoint_head.enabled else ("mask",)
    assert {name: tuple(loss.shape) for name, loss in output.losses.items()} == dict.fromkeys(
        ("rpn_objectness", "rpn_box", "class", "box", *heads), ()
    )
    assert output.detections.boxes.shape == (2, 8, 4) and output.detections.masks.shape == (2, 8, 28, 28)
    assert not config.keypoint_head.enabled or output.detections.keypoints.shape == (2, 8, 3, 3)
    assert all(value.grad.shape == value.shape for value in model.parameters())


# --- Which operators a real step uses ---------------------------------------------------------------------------------


def operators(config, images, slots):
    torch.manual_seed(0)
    model, batch = MaskRCNN(config), batch_of(images, slots)
    with mock.patch.object(RoIHeads, "real_slots_only", False), NoSynchronisation(), FixedShapesOnly() as used:
        training_step(model, batch)
    return used.counts


@CONFIGS
def test_no_operator_depends_on_the_pictures(config):
    counts = operators(config, images=2, slots=3)
    assert counts["maskrcnn.nms.default"] == 3, "proposals for training and for testing, and detections"
    assert counts["maskrcnn.crop_masks.default"] == 1
    assert counts["maskrcnn.match_boxes.default"] == counts["maskrcnn.covered_boxes.default"] == 2, "anchors, proposals"
    heads = 3 if config.keypoint_head.enabled else 2
    mining = config.box_head.sampler == "hard"
    assert counts["maskrcnn.pyramid_roi_align.default"] == 2 * heads + mining, (
        "all heads learn, all detect; mining looks once more"
    )
    assert counts["maskrcnn.pyramid_roi_align_backward.default"] == heads


@CONFIGS
def test_as_many_operators_for_one_image_as_for_three(config):
    """So nowhere does a Python loop go through the images."""
    assert operators(config, images=1, slots=3) == operators(config, images=3, slots=3)


@CONFIGS
def test_as_many_operators_without_ground_truth_as_for_fifty(config):
    assert operators(config, images=2, slots=0) == operators(config, images=2, slots=50)


@pytest.mark.parametrize(
    "violation",
    [
        lambda x: x.nonzero(),
        lambda x: x[x > 0],
        lambda x: x.masked_select(x > 0),
        lambda x: x.clone().__setitem__(x > 0, x[:1]),
        lambda x: torch.where(x > 0),
        lambda x: x.unique(),
        lambda x: x.sum().item(),
        lambda x: bool(x.sum() > 0),
        lambda x: int(x.sum()),
        lambda x: x.tolist(),
        lambda x: x.cpu(),
        lambda x: x.numpy(),
        lambda x: x + torch.tensor([1.0]),
        lambda x: x.new_tensor(3.0),
        lambda x: x.to("meta"),
        lambda x: x.repeat_interleave(torch.ones(4, dtype=torch.int64)),
    ],
)
def test_the_test_notices(violation):
    x = torch.tensor([1.0, -1.0, 2.0, 0.0])
    with pytest.raises(ForbiddenError), NoSynchronisation(), FixedShapesOnly():
        violation(x)


# --- Empty slots change nothing ---------------------------------------------------------------------------------------


def insert_slots(values, at, extra, junk):
    """Rows (B, N, ...) with `extra` rows of `junk` numbers at slot `at`; bool rows are False."""
    shape = (values.shape[0], extra, *values.shape[2:])
    rows = torch.zeros(shape, dtype=values.dtype)
    if junk and values.is_floating_point():
        rows = torch.tensor([5.0, 7.0, 60.0, 50.0])[: shape[-1]].expand(shape)
    return torch.cat((values[:, :at], rows, values[:, at:]), dim=1)


def priorities(*insertions):
    """Stands in for torch.rand: the same numbers for the real candidates, whatever was inserted between them.

    insertions: (number of candidates without, slot, extra); other numbers of candidates are as they are.
    """
    table = torch.rand(4, 5000, generator=torch.Generator().manual_seed(3))

    def rand(shape, device=None):
        for candidates, at, extra in insertions:
            if shape[1] == candidates + extra:
                return insert_slots(table[: shape[0], :candidates], at, extra, junk=False) + 0.0
        return table[: shape[0], : shape[1]]

    return mock.patch("torch.rand", rand)


def whole_step(model, batch):
    """Losses, gradients and detections under fixed priorities."""
    model.zero_grad()
    output = training_step(model, batch)
    return output, gradients(model)


def expect_same(found, expected):
    (output, gradient), (expected_output, expected_gradient) = found, expected
    assert output.losses.keys() == expected_output.losses.keys()
    for name, loss in expected_output.losses.items():
        torch.testing.assert_close(output.losses[name], loss, rtol=1e-5, atol=1e-7, msg=name)
    assert gradient.keys() == expected_gradient.keys()
    for name, value in expected_gradient.items():
        torch.testing.assert_close(gradient[name], value, rtol=1e-4, atol=1e-6, msg=name)
    for field in ("boxes", "scores", "labels", "valid", "masks", "keypoints"):
        value, expected_value = getattr(output.detections, field), getattr(expected_output.detections, field)
        torch.testing.assert_close(value, expected_value, rtol=1e-4, atol=1e-4, msg=field)


def small_model(config):
    """Deterministic weights, scaled so that scores and boxes vary; more slots for proposals than there will be."""
    torch.manual_seed(1)
    model = MaskRCNN(change(config, "rpn", nms_iou=0.3, proposals_train=150, proposals_test=150))
    with torch.no_grad():
        for name, value in model.named_parameters():
            if name.endswith(("objectness.weight", "classes.weight", "deltas.weight")):
                value.normal_(std=0.1)
    return model


PICTURES = [TWO_OBJECTS, [], [(2, (5, 5, 30, 30))]]


@CONFIGS
@pytest.mark.parametrize(("at", "junk"), [(2, False), (0, True)], ids=["zeros at the end", "junk in front"])
def test_empty_ground_truth_slots_change_nothing(config, at, junk):
    model, batch, extra = small_model(config), make_batch(PICTURES, 2), 3
    targets = batch.targets
    padded = {name: insert_slots(values, at, extra, junk) for name, values in targets.per_slot.items()}
    proposals = model.config.rpn.proposals_train
    with priorities((proposals + 2, proposals + at, extra)):
        expected = whole_step(model, batch)
        found = whole_step(model, replace(batch, targets=replace(targets, **padded)))
    assert all(loss > 0 for loss in expected[0].losses.values()) and expected[0].detections.valid.any()
    expect_same(found, expected)


@CONFIGS
@pytest.mark.parametrize("real_slots_only", [True, False])
def test_empty_proposal_slots_change_nothing(config, real_slots_only):
    model, batch, extra = small_model(config), make_batch(PICTURES, 2), 5
    propose, slots = model.rpn.propose, model.config.rpn.proposals_train

    def propose_more(*args, **kwargs):
        boxes, valid = propose(*args, **kwargs)
        at = boxes.shape[1]
        return Proposals(insert_slots(boxes, at, extra, junk=True), insert_slots(valid, at, extra, junk=False))

    switch = mock.patch.object(RoIHeads, "real_slots_only", real_slots_only)
    with switch, priorities((slots + 2, slots, extra)):
        expected = whole_step(model, batch)
        with mock.patch.object(model.rpn, "propose", propose_more):
            found = whole_step(model, batch)
    expect_same(found, expected)


# --- Skipping empty slots on a CPU ------------------------------------------------------------------------------------


@CONFIGS
def test_real_slots_only_changes_nothing(config):
    model, batch = small_model(config), make_batch(PICTURES, 4)
    results = []
    for real_slots_only in (True, False):
        with mock.patch.object(RoIHeads, "real_slots_only", real_slots_only), priorities():
            results.append(whole_step(model, batch))
    proposals = model.rpn.propose(
        model.rpn(batch, model.pyramid(model.backbone(batch.images))), batch.image_sizes, for_training=True
    )
    assert not proposals.valid[:, -1].any(), "there is something to skip"
    expect_same(*results)


def test_real_slots_only_skips_what_is_empty_in_every_picture():
    model, batch = MaskRCNN(SMALL), make_batch([[], []], 0)
    features = model.pyramid(model.backbone(batch.images))[:-1]
    boxes = torch.tensor([8.0, 8.0, 40.0, 30.0]).expand(2, 6, 4)
    valid = torch.arange(6) < torch.tensor([[1], [3]])
    rows = []
    with mock.patch.object(model.roi_heads.box_head, "forward", wraps=model.roi_heads.box_head.forward) as box_head:
        for switch in (True, False):
            with mock.patch.object(RoIHeads, "real_slots_only", switch):
                model.roi_heads.detect(features, Proposals(boxes, valid), batch)
            rows.append(box_head.call_args.args[0].shape[1])
    assert rows == [3, 6]
