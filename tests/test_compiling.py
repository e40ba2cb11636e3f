"""Compiled networks: the same steps and detections, one compilation for any number of objects and few for any size."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch._dynamo.testing
import torch._inductor.config
from PIL import Image
from small_model import SMALL, WITH_KEYPOINTS, make_batch
from small_text import mistake, picture, run, save_small_weights, write_icdar2015

from maskrcnn.config import Config, ModelConfig, TrainingConfig
from maskrcnn.detector import load
from maskrcnn.model.mask_rcnn import MaskRCNN
from maskrcnn.structures import Batch
from maskrcnn.training import compiling
from maskrcnn.training.compiling import with_changing_sizes
from maskrcnn.training.loop import train

TRAINING = TrainingConfig(steps=5, batch_size=2, learning_rate=0.02, warmup_steps=0, checkpoint_every=0, workers=0)


def batches(start: int) -> list[Batch]:
    """Five batches with 3, 0, 1, 7 and 2 objects in their fullest picture."""
    objects = [(1, (4 + 10 * number, 8, 28 + 10 * number, 30)) for number in range(7)]
    found = [make_batch([objects[:n], objects[: n // 2]], max(n, 1), seed=n) for n in (3, 0, 1, 7, 2)]
    seeds = torch.tensor([5, 6])
    return [replace(batch, targets=replace(batch.targets, seeds=seeds)) for batch in found]


def trained(model: ModelConfig, folder: Path, compile: bool) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return train(MaskRCNN(model), batches, Config(model=model, training=TRAINING), folder, compile=compile).weights


@pytest.fixture
def counter(monkeypatch) -> torch._dynamo.testing.CompileCounter:
    """Counts what is compiled, and leaves out the slow half of it: making kernels."""
    torch._dynamo.reset()
    counter, compile = torch._dynamo.testing.CompileCounter(), torch.compile
    monkeypatch.setattr(torch, "compile", lambda model: compile(model, backend=counter, fullgraph=True))
    monkeypatch.setattr(compiling, "require_compiler", lambda: None)
    return counter


@pytest.mark.slow
@pytest.mark.parametrize("model", [SMALL, WITH_KEYPOINTS], ids=["masks", "keypoints"])
def test_one_compilation_for_all_batches_and_the_same_steps(tmp_path, counter, model):
    expected, found = (trained(model, tmp_path / str(compile), compile) for compile in (False, True))
    assert counter.frame_count == 1
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5)


def test_more_slots_are_empty_ones():
    batch = batches(0)[1]
    padded = with_changing_sizes(batch)
    assert batch.targets.labels.shape == (2, 1) and padded.targets.labels.shape == (2, 2)
    assert not padded.targets.valid.any() and not padded.targets.ignore.any()
    full = batches(0)[3]
    assert torch.equal(with_changing_sizes(full).targets.boxes, full.targets.boxes)


# Pictures

SIDES = [
    (120, 160), (160, 120), (100, 160), (160, 77), (160, 160), (200, 130), (130, 210), (300, 290), (90, 301), (222, 111)
]  # fmt: skip
"""Height and width of ten pictures, which the network sees at sizes of their own."""


@pytest.mark.slow
def test_few_compilations_for_pictures_of_any_size_and_the_same_detections(tmp_path, counter):
    path = save_small_weights(tmp_path / "small.safetensors", "model.image.short_side=500", "model.image.long_side=320")
    detector, plain = load(path, compile=True), load(path)
    sizes = set()
    plain.model.register_forward_pre_hook(lambda model, arguments: sizes.add(arguments[0].images.shape))
    for height, width in SIDES:
        image = np.array(Image.fromarray(picture(height)).resize((width, height)))
        found, expected = detector(image).detections, plain(image).detections
        assert torch.equal(found.valid, expected.valid) and expected.valid.any()
        for name in ("boxes", "scores", "masks"):
            torch.testing.assert_close(getattr(found, name), getattr(expected, name), rtol=1e-4, atol=1e-3)
    # PyTorch's convolutions of single pictures have a threshold on each of the five levels.
    assert len(sizes) == 10 and counter.frame_count <= 4


@pytest.mark.slow
@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_the_commands_find_the_same_when_compiled(capsys, tmp_path, counter, command):
    path, data = save_small_weights(tmp_path / "small.safetensors"), write_icdar2015(tmp_path / "data", test=2)
    what = sorted((data / "ch4_test_images").iterdir()) if command == "predict" else ["--data", data]
    said = {}
    for compile in ((), ("--compile",)):
        said[compile] = run(capsys, command, path, *what, "--out", tmp_path / "out", *compile)
    assert said[()] == said["--compile",] and counter.frame_count == 1


def test_without_a_compiler_one_line_says_so(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", "/none/g++")
    monkeypatch.setattr(torch._inductor.config.cpp, "cxx", ("/none/g++",))
    path = save_small_weights(tmp_path / "small.safetensors")
    said = mistake(capsys, "predict", path, "photo.jpg", "--out", tmp_path / "out", "--compile")
    assert said == "torch.compile: found no C++ compiler, expected g++, clang++ or what CXX names"
