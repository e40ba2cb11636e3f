"""The folded network: the same results, nothing left to fold, and no weight that is another one without a word."""

import copy
from dataclasses import replace

import pytest
import torch
from random_inputs import random_statistics
from small_model import SMALL, WITH_KEYPOINTS, change, make_batch
from small_text import picture, run, save_small_weights, small_config, small_model, write_icdar2015
from small_variants import VARIANTS
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from maskrcnn.config import BackboneConfig
from maskrcnn.detector import Detector
from maskrcnn.export import exported
from maskrcnn.model.convolution import Convolution
from maskrcnn.model.folded import folded
from maskrcnn.model.mask_rcnn import MaskRCNN
from maskrcnn.model.norms import FrozenBatchNorm, has_fixed_statistics
from maskrcnn.ops import convolution
from maskrcnn.precision import computing_in


def backbone(**settings):
    return replace(SMALL, backbone=replace(SMALL.backbone, **settings))


DEEP = BackboneConfig(depth="50", width=16, norm="batch_frozen", frozen_stages=1, pyramid_channels=32)
NETWORKS = {
    "paper": replace(SMALL, backbone=DEEP),
    "stride in the first convolution": replace(SMALL, backbone=replace(DEEP, stride_in_first=True)),
    "text": backbone(norm="batch", pyramid_norm="batch"),
    "basic blocks, evaluation statistics": backbone(depth="18", norm="batch_eval"),
    "group norm": SMALL,
    "batch norm in the box head": change(backbone(norm="batch"), "box_head", norm="batch"),
    "keypoints": change(WITH_KEYPOINTS, "backbone", norm="batch_frozen"),
    **{f"{name}, frozen": change(config, "backbone", norm="batch_frozen") for name, config in VARIANTS.items()},
}


def network(config=NETWORKS["paper"]):
    """One whose norms all have something to say, and whose heads are not all but silent."""
    torch.manual_seed(0)
    model = MaskRCNN(config)
    with torch.no_grad():
        for seed, (name, module) in enumerate(model.named_modules()):
            if isinstance(module, (FrozenBatchNorm, nn.BatchNorm2d)):
                random_statistics(module, seed)
                if name.endswith("bn3"):  # or each block would add as much as all before it
                    module.weight.mul_(0.2)
        for name, value in model.named_parameters():
            if name.endswith(("objectness.weight", "classes.weight")):
                value.normal_(std=0.1)
    return model.eval().to(memory_format=torch.channels_last)


def images(size=(96, 128)):
    batch = replace(make_batch([[], []], slots=0, size=size), targets=None)
    batch.images.copy_(torch.randn(batch.images.shape, generator=torch.Generator().manual_seed(0)))
    return replace(batch, images=batch.images.contiguous(memory_format=torch.channels_last))


def said_by(model, precision="float32", batch=None):
    """What heads say of every anchor and of each of some RoIs, and the detections: all that a picture goes through."""
    batch = batch or images()
    rois = torch.tensor([[[3.0, 5, 40, 60], [20, 10, 90, 70], [0, 0, 128, 96], [50, 50, 61, 57]]]).expand(2, -1, -1)
    with torch.inference_mode(), computing_in(precision, "cpu"):
        pyramid = model.pyramid(model.backbone(batch.images))
        regions = model.rpn(batch, pyramid)
        heads, config = model.roi_heads, model.config
        pooled_from = pyramid[: len(model.pyramid.pooled_strides)]
        said = {"objectness": torch.cat(regions.objectness, 1), "anchor deltas": torch.cat(regions.deltas, 1)}
        boxes = heads.box_head(
            heads.pool(pooled_from, rois, config.box_head), torch.ones_like(rois[..., 0], dtype=torch.bool)
        )
        said |= {"logits": boxes.logits, "deltas": boxes.deltas}
        if heads.mask_head is not None:
            pooled = heads.pool(pooled_from, rois, config.mask_head)
            said["masks"] = heads.mask_head(pooled, torch.ones_like(rois[..., 0], dtype=torch.int64))
        if heads.keypoint_head is not None:
            said["keypoints"] = heads.keypoint_head(heads.pool(pooled_from, rois, config.keypoint_head))
        found = model(batch).detections
    return said, found


def assert_same(found, expected, rtol):
    """Each output up to a fraction of its own size."""
    for name, value in expected.items():
        difference = (found[name] - value).abs().max()
        assert difference <= rtol * value.abs().max() and value.abs().max() > 0, (name, difference)


# --- The same results -------------------------------------------------------------------------------------------------


def test_a_convolution_and_its_norm_by_hand():
    """3 x + 1 of a 1 x 1 kernel, then (y - 2) / 4 * 8 + 5."""
    model = network()
    convolution, norm = model.backbone.layer1[0].conv1, model.backbone.layer1[0].bn1
    with torch.no_grad():
        convolution.weight.fill_(3.0)
        convolution.bias = nn.Parameter(torch.ones(len(convolution.weight)))
        norm.running_mean[:], norm.running_var[:], norm.weight[:], norm.bias[:] = 2.0, 16.0, 8.0, 5.0
    norm.eps = 0.0
    block = folded(model).backbone.layer1[0]
    torch.testing.assert_close(block.conv1.weight, torch.full_like(convolution.weight, 6.0))
    torch.testing.assert_close(block.conv1.bias, torch.full((16,), 3.0))
    assert isinstance(block.bn1, nn.Identity)


@pytest.mark.parametrize("name", NETWORKS)
def test_heads_say_the_same(name):
    """In float64 to twelve digits: then nothing is forgotten and nothing taken twice."""
    model = network(NETWORKS[name]).double()
    batch = replace(images(), images=images().images.double())
    (expected, _), (found, _) = said_by(model, batch=batch), said_by(folded(model), batch=batch)
    assert_same(found, expected, 1e-12)


@pytest.mark.parametrize("name", ["paper", "text", "group norm", "keypoints", "C4, frozen", "pyramids, frozen"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_pictures_are_seen_alike_in_each_precision(name, precision):
    """The same products are rounded at the same places: in float32 some are added up in another order at most.

    In bfloat16, too, kernels are rounded after the norm's factor, as autocast does, and not at all for Winograd's
    algorithm. What may differ is the last digit of single sums, 2**-9 of each, which later layers carry on.
    """
    model = network(NETWORKS[name])
    (expected, before), (found, after) = said_by(model, precision), said_by(folded(model, precision), precision)
    assert_same(found, expected, 1e-5 if precision == "float32" else 2**-7)
    if precision == "float32":
        for field in ("boxes", "scores", "labels", "valid"):
            torch.testing.assert_close(getattr(after, field), getattr(before, field), rtol=1e-4, atol=1e-3)


def test_the_other_way_of_large_and_small_maps_is_the_same(monkeypatch):
    """With every map large enough for Winograd's algorithm, and with none."""
    model = network()
    expected, _ = said_by(model)
    half = folded(model, "bfloat16")
    for fewest in (0, 10**9):
        monkeypatch.setattr(convolution, "FEWEST_TILES", fewest)
        assert_same(said_by(half, "bfloat16")[0], expected, 0.05)  # eight bits through fifty layers


@pytest.mark.parametrize("name", NETWORKS)
def test_no_fixed_norm_is_left(name):
    model = folded(network(NETWORKS[name]))
    assert [type(module) for module in model.modules() if has_fixed_statistics(module)] == []
    assert not model.training and not any(value.requires_grad for value in model.parameters())


def test_nothing_is_made_of_weights_again(monkeypatch):
    """In a call in bfloat16, no kernel is multiplied, rounded or transformed, all of which the original does."""
    monkeypatch.setattr(convolution, "FEWEST_TILES", 0)
    monkeypatch.setattr(convolution, "LANES", convolution.LANES or 8)
    of_weights = {"aten::mul.Tensor", "aten::to.dtype", "maskrcnn::transform_kernel_3x3"}

    def readers(model):
        """Operators that get a weight, or what the kernel's transformation is to be made of."""
        weights = {value.data_ptr() for value in model.parameters() if value.dim() > 1}
        found = set()

        class Readers(TorchDispatchMode):
            def __torch_dispatch__(self, operator, types, arguments=(), keywords=None):
                given = [value for value in arguments if isinstance(value, torch.Tensor)]
                if "transform" in operator.name() or any(value.data_ptr() in weights for value in given):
                    found.add(operator.name())
                return operator(*arguments, **(keywords or {}))

        with Readers():
            said_by(model, "bfloat16")
        return found

    original = network()
    assert of_weights <= readers(original)
    assert not of_weights & readers(folded(original, "bfloat16"))


# --- What is kept -----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(convolution.LANES < 8, reason="no registers that are wide enough")
def test_kernels_are_transformed_ahead_in_bfloat16_only_and_only_where_they_can_be_used():
    model = network(replace(SMALL, backbone=replace(DEEP, pyramid_channels=272)))
    ahead = [name for name, module in folded(model).named_modules() if getattr(module, "transformed", None) is not None]
    assert ahead == []
    for name, module in folded(model, "bfloat16").named_modules():
        if isinstance(module, Convolution):
            fits = module.kernel_size == (3, 3) and module.stride == (1, 1) and max(module.weight.shape[:2]) <= 256
            assert (module.transformed is not None) == fits, name
            assert module.weight.dtype == torch.bfloat16


def test_float64_stays_exact():
    model = folded(network().double(), "bfloat16")
    assert {value.dtype for value in model.parameters()} == {torch.float64}


# --- Whose weights they are -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_training_goes_on_as_if_nothing_had_been_folded(precision):
    """Losses, gradients, modes and names; and what is learnt reaches the copy only when it is made again."""
    batch = make_batch([[(1, (10, 10, 50, 40))], [(2, (30, 20, 90, 60))]], slots=1)
    alone, model = network().train(), network().train()
    copied = folded(model, precision)
    before = said_by(copied, precision)[0]
    learnt = []
    for one in (alone, model):
        optimiser = torch.optim.SGD(one.parameters(), lr=0.01)
        torch.manual_seed(0)
        sum(one(batch).losses.values()).backward()
        optimiser.step()
        learnt.append(one.state_dict())
    assert model.training and learnt[0].keys() == learnt[1].keys()
    assert all(torch.equal(learnt[0][name], learnt[1][name]) for name in learnt[0])
    assert_same(said_by(copied, precision)[0], before, 0.0)
    after = said_by(model.eval(), precision)[0]
    assert (after["masks"] - before["masks"]).abs().max() > 0.01 * before["masks"].abs().max()
    assert_same(said_by(folded(model, precision), precision)[0], after, 1e-5 if precision == "float32" else 2**-7)


def test_nothing_can_be_written_into_it():
    model = network()
    half = folded(model, "bfloat16")
    for name, value in (*half.named_parameters(), *half.named_buffers()):
        with pytest.raises(RuntimeError, match="inference tensor"):
            value.zero_()
        with pytest.raises(RuntimeError, match="inference tensor"):
            value.requires_grad_(True)
        assert value.is_inference(), name
    with pytest.raises(RuntimeError, match="state_dict"):
        half.load_state_dict(model.state_dict())
    with pytest.raises(RuntimeError, match="inference tensor"):
        half.load_state_dict(half.state_dict())


def test_a_copy_that_can_be_written_into_goes_by_what_is_written(monkeypatch):
    """What was made of the kernel ahead is not taken for it then."""
    monkeypatch.setattr(convolution, "FEWEST_TILES", 0)
    open_again = copy.deepcopy(folded(network(), "bfloat16"))
    with torch.no_grad():
        for module in open_again.modules():
            if isinstance(module, Convolution):
                module.weight.zero_()
    said, _ = said_by(open_again, "bfloat16")
    assert torch.equal(said["objectness"][:, :1].expand_as(said["objectness"]), said["objectness"])


def test_folding_twice_changes_nothing():
    for precision in ("float32", "bfloat16"):
        once = folded(network(), precision)
        assert_same(said_by(folded(once, precision), precision)[0], said_by(once, precision)[0], 0.0)


def test_outside_its_precision_it_says_so():
    with pytest.raises(RuntimeError, match=r"same|dtype"), torch.inference_mode():
        folded(network(), "bfloat16")(images())


# --- Who uses it ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_folded_detector_finds_the_same_and_keeps_its_weights(precision):
    config = small_config("text.score_threshold=0.1")
    model = small_model(config)
    detector = Detector(model, config, precision)
    quick = detector.folded()
    assert detector.model is model and quick.precision == precision and quick.config == config
    expected, found = detector(picture(4)), quick(picture(4))
    tolerance = {"rtol": 1e-4, "atol": 1e-3} if precision == "float32" else {"rtol": 0.02, "atol": 0.02}
    torch.testing.assert_close(found.detections.scores, expected.detections.scores, **tolerance)
    with torch.no_grad():
        model.roi_heads.box_head.classes.weight.zero_()
        model.roi_heads.box_head.classes.bias.zero_()
    assert torch.equal(quick(picture(4)).detections.scores, found.detections.scores)
    scores = detector(picture(4)).detections.scores
    assert set(scores[scores > 0].tolist()) <= {0.5}


@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_commands_fold(capsys, tmp_path, monkeypatch, command):
    used = []
    monkeypatch.setattr(Detector, "__call__", watched(Detector.__call__, used))
    weights = save_small_weights(tmp_path / "weights.safetensors")
    data = write_icdar2015(tmp_path / "data", test=1)
    images_of = sorted(data.rglob("*.jpg"))[:1]
    what = images_of if command == "predict" else ("--data", data)
    run(capsys, command, weights, *what, "--out", tmp_path / "out")
    assert used and all(next(detector.model.parameters()).is_inference() for detector in used)


def watched(call, used):
    return lambda detector, *arguments: used.append(detector) or call(detector, *arguments)


def test_what_is_no_longer_made_of_layers_is_refused():
    with pytest.raises(TypeError, match="network: found Sequential, expected a MaskRCNN"):
        folded(nn.Sequential(network()))


@pytest.mark.slow
def test_export_takes_float32_and_says_what_it_does_not_take():
    model = network(NETWORKS["text"])
    program = exported(folded(model)).module()
    batch = images()
    with torch.inference_mode():
        expected = model(batch).detections
        found = program(batch.images, batch.image_sizes, batch.original_sizes)
    torch.testing.assert_close(found["scores"], expected.scores, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="found a network folded in bfloat16"):
        exported(folded(model, "bfloat16"))
