"""A compiled training: the steps of an uncompiled one, and one compilation for batches with any number of objects."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch._dynamo.testing
from small_model import SMALL, WITH_KEYPOINTS, make_batch

from maskrcnn.config import Config, ModelConfig, TrainingConfig
from maskrcnn.model.mask_rcnn import MaskRCNN
from maskrcnn.structures import Batch
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


