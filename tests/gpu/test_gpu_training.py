"""Training on a GPU: batches that arrive while Python goes on, samples as on a CPU, and NCCL."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed
from rank_cases import CONFIG, TRAINING, Crowded, unchanged
from torch.nn.parallel import DistributedDataParallel

from maskrcnn.data.loader import TrainingBatches, training_loader
from maskrcnn.memory import OutOfMemory
from maskrcnn.model.mask_rcnn import MaskRCNN
from maskrcnn.targets.sampling import random_numbers
from maskrcnn.training.distributed import ALONE, Ranks, joined
from maskrcnn.training.loop import train, training_step
from maskrcnn.training.optimiser import make_optimiser


def stream(start: int):
    batches = TrainingBatches(Crowded(), unchanged, CONFIG.model.image, batch_size=4, seed=0)
    return training_loader(batches, steps=TRAINING.steps, start=start, workers=1)


def trained(device: str, folder: Path, ranks: Ranks = ALONE, **arguments: bool) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    weights = train(MaskRCNN(CONFIG.model).to(device), stream, CONFIG, folder, ranks=ranks, **arguments).weights
    return {name: value.cpu().clone() for name, value in weights.items()}


def test_batches_arrive_in_pinned_memory():
    batch = next(iter(stream(0)))
    assert batch.images.is_pinned() and batch.targets.boxes.is_pinned() and batch.targets.seeds.is_pinned()


def test_samples_are_those_of_a_cpu():
    seeds = torch.tensor([0, 1, 2**31, 2**32 - 1])
    assert torch.equal(random_numbers(seeds.cuda(), 10_000).cpu(), random_numbers(seeds, 10_000))


def test_a_few_steps_are_those_of_a_cpu(tmp_path):
    expected, found = trained("cpu", tmp_path / "cpu"), trained("cuda", tmp_path / "cuda")
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-4)


def test_compiled_steps_are_those_of_eager_ones(tmp_path):
    expected, found = trained("cuda", tmp_path / "eager"), trained("cuda", tmp_path / "compiled", compile=True)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-4)


def test_a_gpu_without_memory_ends_a_training_in_one_line(tmp_path):
    def growing(start: int):
        for step, batch in enumerate(stream(start)):
            yield replace(batch, images=torch.zeros(4, 3, 2048, 2048)) if step == 2 else batch

    model = MaskRCNN(CONFIG.model).cuda()
    torch.cuda.empty_cache()
    # Room for the first steps, but not for the 192 MiB of the third.
    room = torch.cuda.memory_reserved() + 128 * 2**20
    torch.cuda.set_per_process_memory_fraction(room / torch.cuda.get_device_properties(0).total_memory)
    try:
        with pytest.raises(OutOfMemory) as error:
            train(model, growing, CONFIG, tmp_path)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    told = "step 3: out of memory, asked for 192.00 MiB; less is needed with training.parts=2 "
    assert str(error.value).startswith(told)


def test_nccl_with_one_process_changes_nothing(monkeypatch):
    values = {"LOCAL_RANK": "0", "RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29511"}
    for name, value in values.items():
        monkeypatch.setitem(os.environ, name, value)
    weights = []
    with joined() as ranks:
        assert torch.distributed.get_backend() == "nccl" and ranks == ALONE
        assert ranks.from_first(lambda: "told") == "told"
        for wrap in (lambda model: model, lambda model: DistributedDataParallel(model, gradient_as_bucket_view=True)):
            torch.manual_seed(0)
            model = MaskRCNN(CONFIG.model).cuda()
            training_step(wrap(model), [next(iter(stream(0))).to("cuda")], make_optimiser(model, TRAINING), TRAINING, 0)
            weights.append(model.state_dict())
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value)
