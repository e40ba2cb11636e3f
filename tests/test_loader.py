"""The stream of batches that training eats and resumes: what is in it, who makes it, and how it ends."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_samples import IMAGE, PLAIN, a_sample, equal, rectangle

from maskrcnn.data.collate import collate
from maskrcnn.data.loader import Remembered, Share, TrainingBatches, training_loader
from maskrcnn.memory import ran_out_of_memory
from maskrcnn.structures import Sample


class Numbered:
    """A data set whose pictures all have their number as their name and colour."""

    def __init__(self, count: int, broken: int | None = None) -> None:
        self.count, self.broken = count, broken

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        if index == self.broken:
            raise ValueError(f"{index}.png: truncated")
        return a_sample(16, 16, rectangle(2, 2, 12, 8), name=str(index), value=index)


def brighter(sample: Sample, random: np.random.Generator) -> Sample:
    return replace(sample, image=sample.image + random.integers(0, 200, sample.image.shape, dtype=np.uint8))


def stream(count: int = 10, batch_size: int = 4, seed: int = 0, **others) -> TrainingBatches:
    return TrainingBatches(Numbered(count, **others), brighter, IMAGE, batch_size=batch_size, seed=seed)


def test_every_epoch_is_another_permutation_without_gaps():
    batches = stream(count=10, batch_size=4)
    order = [index for step in range(10) for index in batches.order(step)]
    epochs = [order[start : start + 10] for start in range(0, 40, 10)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4
    assert order != [index for step in range(10) for index in stream(seed=1).order(step)]


def test_remembered_samples_are_made_once_and_stay_as_they_were():
    asked = []

    class Asked(Numbered):
        def __getitem__(self, index: int) -> Sample:
            asked.append(index)
            return super().__getitem__(index)

    batches = TrainingBatches(Remembered(Asked(4)), brighter, IMAGE, batch_size=3, seed=0)
    expected = TrainingBatches(Numbered(4), brighter, IMAGE, batch_size=3, seed=0)
    for step in range(4):
        assert torch.equal(batches[step].images, expected[step].images)
    assert sorted(asked) == [0, 1, 2, 3]


def test_a_batch_may_be_larger_than_the_data_set():
    indices = stream(count=3, batch_size=7).order(0)
    assert sorted(indices[:3]) == sorted(indices[3:6]) == [0, 1, 2]


def test_a_batch_is_a_function_of_seed_and_step():
    batches = stream()
    fifth = batches[5]
    batches[2], torch.rand(3), np.random.default_rng().random()
    assert equal(batches[5], fifth) and equal(stream()[5], fifth)
    assert not equal(stream(seed=1)[5], fifth)


def test_each_slot_augments_with_its_own_generator():
    batches = stream(seed=3)
    augmented = [
        brighter(batches.samples[i], np.random.default_rng([3, 6, s])) for s, i in enumerate(batches.order(6))
    ]
    assert equal(batches[6], collate(augmented, IMAGE, ignored="ignore"))


@pytest.mark.parametrize(("ranks", "parts"), [(1, 1), (2, 1), (1, 3), (2, 3), (6, 1)])
def test_the_shares_of_a_batch_are_the_batch(ranks, parts):
    """Pictures, augmentation and seeds do not depend on who makes them."""
    whole = stream(batch_size=6)
    for step in (0, 4):
        items = []
        for rank in range(ranks):
            share = Share(rank, ranks, parts)
            mine = TrainingBatches(Numbered(10), brighter, IMAGE, batch_size=6, seed=0, share=share)
            items += [mine[step * parts + part] for part in range(parts)]
        assert torch.equal(torch.cat([item.images for item in items]), whole[step].images)
        assert sum((item.names for item in items), ()) == whole[step].names
        assert torch.equal(torch.cat([item.targets.seeds for item in items]), whole[step].targets.seeds)


def test_seeds_differ_between_slots_and_steps():
    seeds = torch.cat([stream(batch_size=6)[step].targets.seeds for step in range(20)])
    assert len(seeds.unique()) == 120 and not torch.equal(seeds[:6], stream(seed=1, batch_size=6)[0].targets.seeds)


@pytest.mark.parametrize(("ranks", "parts", "found"), [(4, 1, "4 processes"), (2, 2, "2 processes of 2 parts")])
def test_a_batch_that_cannot_be_shared_equally_is_refused(ranks, parts, found):
    with pytest.raises(ValueError, match=f"found batch size 6 for {found}, expected a multiple of that"):
        TrainingBatches(Numbered(10), brighter, IMAGE, batch_size=6, seed=0, share=Share(0, ranks, parts))


def test_the_loader_gives_all_parts_of_each_step():
    batches = TrainingBatches(Numbered(10), brighter, IMAGE, batch_size=4, seed=0, share=Share(parts=2))
    items = list(training_loader(batches, steps=3, start=1, workers=0))
    assert len(items) == 4 and all(equal(item, batches[2 + number]) for number, item in enumerate(items))


def test_no_batch_holds_samples_of_two_groups():
    batches = TrainingBatches(Numbered(10), brighter, IMAGE, batch_size=2, seed=0, groups=[0, 1] * 5)
    for step in range(20):
        assert len({int(name) % 2 for name in batches[step].names}) == 1


def test_settings_reach_the_batches():
    sample = a_sample(16, 16, rectangle(2, 2, 12, 8), rectangle(3, 9, 8, 12), ignore=[1])
    batches = TrainingBatches(
        [sample], lambda sample, random: sample, PLAIN, batch_size=2, seed=0, ignored="background", slots=5
    )
    assert batches[0].targets.valid.sum(dim=1).tolist() == [1, 1] and batches[0].targets.valid.shape == (2, 5)
    assert not batches[0].targets.ignore.any()
    torch.testing.assert_close(batches[0].images[0, 0, :16, :16], torch.full((16, 16), 128.0))


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_the_loader_gives_the_same_batches_whatever_the_workers(workers):
    batches = stream()
    loaded = list(training_loader(batches, steps=9, start=2, workers=workers))
    assert len(loaded) == 7
    assert all(equal(batch, batches[step]) for step, batch in enumerate(loaded, start=2))
    assert all(batch.images.is_contiguous(memory_format=torch.channels_last) for batch in loaded)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system does not bind processes to processors")
def test_no_more_workers_than_processors():
    allowed = os.sched_getaffinity(0)
    loader = training_loader(stream(), steps=4, workers=3)
    try:
        os.sched_setaffinity(0, [min(allowed)])
        next(loader)
        assert len(multiprocessing.active_children()) == 1
    finally:
        os.sched_setaffinity(0, allowed)
        loader.close()


@pytest.mark.parametrize("workers", [0, 1])
def test_the_loader_draws_no_random_number_of_the_training(workers):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    next(training_loader(stream(), steps=4, workers=workers))
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_comes_out_as_one_line_with_the_workers_traceback_as_a_note(workers):
    loader = training_loader(stream(count=10, batch_size=1, broken=7), steps=10, workers=workers)
    with pytest.raises(ValueError) as error:
        list(loader)
    assert str(error.value) == "7.png: truncated"
    assert "__getitem__" in error.value.__notes__[0]


class TooLarge(Numbered):
    """A data set with a picture that no memory holds."""

    def __init__(self, allocate) -> None:
        super().__init__(4)
        self.allocate = allocate

    def __getitem__(self, index: int) -> Sample:
        if index == 3:
            self.allocate()
        return super().__getitem__(index)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("allocate", [lambda: np.zeros(2**60, np.uint8), lambda: torch.zeros(2**60)])
def test_a_worker_without_memory_is_told_from_one_that_fails(workers, allocate):
    batches = TrainingBatches(TooLarge(allocate), brighter, IMAGE, batch_size=1, seed=0)
    with pytest.raises((MemoryError, RuntimeError)) as error:
        list(training_loader(batches, steps=4, workers=workers))
    assert ran_out_of_memory(error.value) and "\n" not in str(error.value).strip()
    assert "self.allocate()" in error.value.__notes__[0]


def test_workers_outlive_signals_that_are_not_for_them():
    loader = training_loader(stream(), steps=20, workers=1)
    next(loader)
    (worker,) = multiprocessing.active_children()
    for name in ("INT", "TERM"):  # from another process, as a shell or a batch system sends them
        subprocess.run(["kill", f"-{name}", str(worker.pid)], check=True)
    assert len(list(loader)) == 19


def test_workers_end_with_the_loader_and_when_their_parent_tells_them():
    loader = training_loader(stream(), steps=1000, workers=2)
    next(loader)
    workers = multiprocessing.active_children()
    assert len(workers) == 2
    os.kill(workers[0].pid, signal.SIGTERM)
    workers[0].join(timeout=10)
    assert workers[0].exitcode == 0
    loader.close()
    workers[1].join(timeout=10)
    assert workers[1].exitcode == 0


@pytest.mark.slow
def test_a_crash_of_the_training_process_takes_its_workers_along(tmp_path):
    script = (
        "import multiprocessing, test_loader\n"
        "loader = test_loader.training_loader(test_loader.stream(), steps=1000, workers=2)\n"
        "next(loader)\n"
        "print(*(child.pid for child in multiprocessing.active_children()), flush=True)\n"
        "raise RuntimeError('crash')\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *sys.path])}
    crashed = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert "RuntimeError: crash" in crashed.stderr
    pids = [int(pid) for pid in crashed.stdout.split()]
    assert len(pids) == 2
    deadline = time.monotonic() + 20
    while any(os.path.exists(f"/proc/{pid}") for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)


def test_nothing_to_train_on():
    with pytest.raises(ValueError, match="no pictures to train on"):
        stream(count=0)
    with pytest.raises(ValueError, match="found batch size 0"):
        stream(batch_size=0)
