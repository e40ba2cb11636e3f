"""The benchmark of whole networks: the same work on both sides, stages and memory. No times are asserted."""

import json
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from maskrcnn.benchmarks import scaling
from maskrcnn.benchmarks.memory import peak_bytes
from maskrcnn.benchmarks.network_speed import Candidate, Load, candidates, has_peer, measure_network, prepare
from maskrcnn.benchmarks.networks import Work, configured, our_network, their_network
from maskrcnn.benchmarks.stages import our_stages, stage_seconds
from maskrcnn.cli import main
from maskrcnn.recipes import recipe

SMALL = Load(64, 96, batch=2, objects=3)


# --- The work ---------------------------------------------------------------------------------------------------------


def test_pictures_have_as_many_objects_as_asked_for_all_inside():
    work = Work(configured(recipe("coco_small"), SMALL, of_peer=False), SMALL, "cpu")
    for sample in work.samples:
        assert sample.image.shape == (64, 96, 3) and len(sample.polygons) == len(sample.labels) == 3
        assert all((polygon >= 0).all() and (polygon <= (96, 64)).all() for polygon in sample.polygons)
    batch = work.our_images()
    assert batch.images.shape == (2, 3, 64, 96) and batch.targets is None
    assert batch.images.is_contiguous(memory_format=torch.channels_last)


def test_more_pictures_than_memory_holds_are_refused_before_any_is_made():
    with pytest.raises(MemoryError):
        Work(configured(recipe("coco_small"), SMALL, of_peer=False), Load(800, 1088, batch=10**9), "cpu")


def test_a_step_of_training_learns_and_inference_finds_masks():
    config = configured(recipe("coco_small"), SMALL, of_peer=False)
    work, model = Work(config, SMALL, "cpu"), our_network(config, "cpu")
    before = {name: value.clone() for name, value in model.named_parameters()}
    losses = work.our_training(model)()
    assert set(losses) == {"rpn_objectness", "rpn_box", "class", "box", "mask"}
    assert any(not torch.equal(value, before[name]) for name, value in model.named_parameters())
    detections, masks = work.infer_ours(model.eval())
    assert detections.valid.any() and [one.shape[1:] for one in masks] == [(64, 96)] * 2


def test_proposals_are_as_many_as_asked_for():
    config = configured(recipe("coco"), Load(256, 320, proposals=3000), of_peer=True)
    assert config.model.rpn.proposals_test == config.model.rpn.candidates_test == 3000
    assert config.model.class_count == 91 and config.model.image.short_side == 256


@pytest.mark.slow
@pytest.mark.skipif(not has_peer(recipe("coco")), reason="torchvision is not installed")
def test_both_networks_find_and_lose_the_same():
    """Which proves that they have the same weights and settings: the same boxes, classes and masks, and losses as large
    (each library draws its own random samples)."""
    load = Load(224, 320, objects=5)
    config = configured(recipe("coco"), load, of_peer=True)
    work = Work(config, load, "cpu")
    ours, theirs = our_network(config, "cpu").eval(), their_network(config, "cpu").eval()
    detections, masks = work.infer_ours(ours)
    (found,) = work.infer_theirs(theirs)
    assert len(found["scores"]) == int(detections.valid.sum()) == 100
    torch.testing.assert_close(detections.boxes[0], found["boxes"], rtol=0, atol=0.05)
    assert torch.equal(detections.labels[0], found["labels"])
    assert (masks[0] == found["masks"][:, 0]).float().mean() > 0.99
    torch.manual_seed(0)
    mine, other = work.our_training(ours)(), work.their_training(theirs)()
    assert sum(mine.values()).item() == pytest.approx(sum(other.values()).item(), rel=0.2)


# --- Stages and memory ------------------------------------------------------------------------------------------------


class Kitchen:
    """Cooking contains cutting; each takes a known time of a clock that does not run by itself."""

    def __init__(self):
        self.now = 0.0

    def cut(self):
        self.now += 1

    def cook(self):
        self.now += 10
        self.cut()
        self.now += 10

    def dinner(self):
        self.cook()
        self.cut()
        self.now += 100


def test_a_stage_is_timed_without_the_stages_inside_it(monkeypatch):
    kitchen = Kitchen()
    monkeypatch.setattr("maskrcnn.trace.time.perf_counter", lambda: kitchen.now)
    watched = [(kitchen, "cook", "cooking"), (kitchen, "cut", "cutting")]
    seconds = stage_seconds(kitchen.dinner, watched, "cpu", rounds=2)
    assert seconds == {"other": 100, "cooking": 20, "cutting": 2}


def test_all_stages_of_a_training_step_are_seen():
    config = configured(recipe("coco_small"), SMALL, of_peer=False)
    work, model = Work(config, SMALL, "cpu"), our_network(config, "cpu").train()
    seconds = stage_seconds(work.our_training(model), our_stages(model, work), "cpu", rounds=1)
    assert set(seconds) == {
        "other", "data", "backbone", "pyramid", "RPN head", "proposals", "matching and losses", "RoIAlign", "box head",
        "mask head", "backward", "optimiser",
    }  # fmt: skip
    assert all(taken > 0 for taken in seconds.values()) and "forward" not in vars(model.backbone)


def hold(mebibytes):
    """A function that has so much memory for a moment, after which it is free again."""
    return lambda: np.ones(mebibytes * 2**20, np.uint8)


def fail():
    raise ValueError("no such work")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says")
def test_peak_memory_is_what_was_in_use_at_once():
    small, large = (peak_bytes(hold, size, device="cpu") / 2**20 for size in (50, 250))
    assert large - small == pytest.approx(200, abs=20)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says")
def test_work_whose_memory_cannot_be_measured_is_an_error(capfd):
    with pytest.raises(RuntimeError, match="ended without a figure"):
        peak_bytes(fail, device="cpu")
    assert "no such work" in capfd.readouterr().err


# --- The command ------------------------------------------------------------------------------------------------------


def test_what_is_compared(monkeypatch):
    names = [candidate.name for candidate in candidates(recipe("demo"), compile=True)]
    both = ["ours, float32", "ours, bfloat16"]
    assert names == [*both, *(f"{name}, compiled" for name in both)]
    monkeypatch.setattr("maskrcnn.benchmarks.network_speed.installed", lambda module: object())
    assert [candidate.name for candidate in candidates(recipe("coco"))] == [
        "torchvision, float32", "torchvision, float32, channels last", "torchvision, bfloat16, channels last", *both,
    ]  # fmt: skip
    assert candidates(recipe("coco_small"))[0].library == "ours"  # of which torchvision has none


@pytest.mark.parametrize("kind", ["infer", "train"])
def test_figures_of_a_small_network(kind):
    figures = list(measure_network(kind, recipe("coco_small"), SMALL, "cpu", rounds=1))
    assert [figure.name for figure in figures] == ["ours, float32", "ours, bfloat16"]
    for figure in figures:
        assert figure.images_per_second == pytest.approx(2e3 / figure.milliseconds)
        assert figure.ratio is None and figure.memory_ratio is None
        assert sys.platform != "linux" or figure.peak_bytes > 2**20
        assert figure.stages["backbone"] > 0 and ("backward" in figure.stages) == (kind == "train")


def test_the_command_prints_tables_or_json(capsys, monkeypatch):
    monkeypatch.setattr("maskrcnn.benchmarks.network_speed.peak_bytes", lambda *arguments, device: 2**30)
    arguments = ["bench", "train", "--recipe", "coco_small", "--size", "96x64", "--rounds", "1", "--device", "cpu"]
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("train coco_small, 1 x 64 x 96, cpu (")
    assert lines[2] == "| | a call | images a second | times as fast | peak memory | of torchvision's |"
    assert lines[4].startswith("| ours, float32 | ") and lines[4].endswith(" |  | 1024 MiB |  |")
    assert lines[7] == "| milliseconds | ours, float32 | ours, bfloat16 |"
    assert any(line.startswith("| backward | ") for line in lines)
    assert main([*arguments, "--json"]) == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["name"] == "ours, float32" and second["peak_bytes"] == 2**30 and first["stages"]["optimiser"] > 0


def test_scaling_is_measured_and_drawn(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(scaling, "AXES", {"size": (64, 96), "objects": (1, 9)})
    monkeypatch.setattr(scaling, "BASE", {"size": 64, "batch": 1, "proposals": 0, "objects": 2})
    path = tmp_path / "new" / "scaling.png"
    arguments = ["bench", "train", "--recipe", "coco_small", "--scaling", str(path), "--rounds", "1", "--device", "cpu"]
    assert main(arguments) == 0
    rows = [line.split(" | ")[0] for line in capsys.readouterr().out.splitlines()[2:]]
    assert rows == ["| size 64", "| size 96", "| objects 1", "| objects 9"]
    assert Image.open(path).size == (840, 380)
    assert main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["value"] == 9


@pytest.mark.slow
def test_compiled_training_does_the_same_step():
    """Up to its random samples: the compiler has numbers of its own (tests/test_compiling.py gives both the same)."""
    losses = [
        prepare("train", Candidate("ours", "float32", compile), recipe("coco_small"), SMALL, "cpu")()
        for compile in (False, True)
    ]
    for name, loss in losses[0].items():
        assert losses[1][name].item() == pytest.approx(loss.item(), rel=0.1)
