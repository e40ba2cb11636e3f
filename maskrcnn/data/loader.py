"""The stream of batches that training eats.

It is a pure function: batch k of a training run follows from the seed and k alone, whichever process makes it and
whatever was made before. A resumed run asks for batch k and gets the one that the interrupted run would have.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from maskrcnn.config import ImageConfig
from maskrcnn.data.batch_order import BatchOrder
from maskrcnn.data.batch_targets import Ignored
from maskrcnn.data.collate import collate
from maskrcnn.structures import Batch, Sample


class Samples(Protocol):
    """Any data set: pictures by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...


class DataSet(Samples, Protocol):
    """A data set that can be trained on and measured: it knows its classes and the names of its pictures."""

    class_names: tuple[str, ...]
    names: list[str]


class Remembered:
    """A data set that keeps every sample it has given, for pictures that cost more to make than to keep.

    Each process that makes batches has a memory of its own: a training that looks at every picture several times
    makes each of them once per worker.
    """

    def __init__(self, samples: Samples) -> None:
        self._samples = samples
        self._kept: dict[int, Sample] = {}

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Sample:
        """The sample as the data set itself gives it. Raises what the data set raises."""
        if index not in self._kept:
            self._kept[index] = self._samples[index]
        return self._kept[index]


class Share(NamedTuple):
    """Which part of each step's batch a process makes: `rank` of `ranks`, which computes it in `parts`, one by one."""

    rank: int = 0
    ranks: int = 1
    parts: int = 1


EVERYTHING = Share()


class TrainingBatches(Dataset):
    """The batches of a training run by number: item `step` is the whole `Batch` of that step.

    What is in a batch, `maskrcnn.data.batch_order` says. Each sample is augmented with a generator made from (seed,
    step, position in the batch), and from the same three follows what is sampled of it later (`Targets.seeds`).

    share: of several processes, or of a batch in several parts, items are smaller: item `step * parts + part` holds the
    neighbours in the batch of `step` that are this process's. Together, all shares are the whole batch.
    """

    def __init__(
        self,
        samples: Samples,
        augment: Callable[[Sample, np.random.Generator], Sample],
        image: ImageConfig,
        *,
        batch_size: int,
        seed: int,
        ignored: Ignored = "ignore",
        slots: int | None = None,
        padded_sizes: Sequence[tuple[int, int]] = (),
        groups: Sequence[int] | None = None,
        share: Share = EVERYTHING,
    ) -> None:
        """groups: of each sample the number of a group; no batch holds samples of two.

        Raises ValueError if there are no samples, or if a batch cannot be shared equally.
        """
        self.samples, self.augment, self.image = samples, augment, image
        self.seed, self.ignored, self.slots, self.share = seed, ignored, slots, share
        self.padded_sizes, self.order = padded_sizes, BatchOrder(len(samples), batch_size, seed, groups)
        if batch_size % (share.ranks * share.parts):
            parts = f"{share.ranks} processes" + (f" of {share.parts} parts" if share.parts > 1 else "")
            raise ValueError(f"found batch size {batch_size} for {parts}, expected a multiple of that")

    def __getitem__(self, item: int) -> Batch:
        step, part = divmod(item, self.share.parts)
        size = self.order.batch_size // (self.share.ranks * self.share.parts)
        first = (self.share.rank * self.share.parts + part) * size
        indices, slots = self.order(step), range(first, first + size)
        samples = [
            self.augment(self.samples[indices[slot]], np.random.default_rng([self.seed, step, slot])) for slot in slots
        ]
        batch = collate(
            samples, self.image, ignored=self.ignored, slots=self.slots, padded_sizes=self.padded_sizes
        )
        seeds = [np.random.SeedSequence([self.seed, step, slot, 2]).generate_state(1).item() for slot in slots]
        return replace(batch, targets=replace(batch.targets, seeds=torch.tensor(seeds)))


def training_loader(batches: TrainingBatches, *, steps: int, start: int = 0, workers: int = 1) -> Iterator[Batch]:
    """Yields the batches of steps start to steps - 1, made ahead by `workers` processes (0: by this one).

    Of a share in several parts, each step has so many. The batches do not depend on `workers`, of which no more are
    started than there are processors for this process: they would only wait for each other. What is wrong with a file,
    and that memory ran out, is raised here as it was there, one line, with the traceback of the worker as a note.
    """
    parts = batches.share.parts
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = min(workers, processors)
    loader = DataLoader(
        _ErrorsAsItems(batches),
        batch_size=None,
        sampler=range(start * parts, steps * parts),
        num_workers=workers,
        prefetch_factor=2 if workers else None,
        pin_memory=torch.cuda.is_available(),
        # Starting at once, with whatever data set a notebook has defined, needs fork; only Linux forks safely. The
        # loader sets each worker to one thread, so a worker never waits for a thread pool that fork did not copy.
        multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
        worker_init_fn=_end_with_the_parent_only,
        # Its own generator: otherwise starting the workers would draw from the one that the training draws from.
        generator=torch.Generator().manual_seed(0),
    )
    for item in loader:
        if isinstance(item, Exception):
            raise item
        yield item


class _ErrorsAsItems(Dataset):
    """Passes errors on as items: thrown in a worker, the loader would wrap them in its own traceback as text."""

    def __init__(self, batches: TrainingBatches) -> None:
        self.batches = batches

    def __getitem__(self, item: int) -> Batch | Exception:
        try:
            return self.batches[item]
        except (ValueError, OSError, MemoryError, RuntimeError) as error:  # the last: PyTorch's for memory
            error.add_note(traceback.format_exc())
            return error


def _end_with_the_parent_only(worker: int) -> None:
    """Lets a worker survive the signals that ask the training process to save and stop.

    Ctrl-C and `timeout` signal the whole process group, a batch system every process of a job; the training process
    still needs a batch to finish its step, and ends its workers itself.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # Linux
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_wait_for_the_parent, args=(os.getppid(),), daemon=True).start()


def _wait_for_the_parent(parent: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)
