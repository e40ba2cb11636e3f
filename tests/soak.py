"""Training on pictures of every kind for a long time, and what the process holds on to meanwhile.

    python tests/soak.py STEPS WORKERS DIR [leak]

trains a small network, with all that `train` does around it, and prints what was in use after each step as JSON.
"""

from __future__ import annotations

import csv
import gc
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch
from small_model import SMALL

from maskrcnn.config import Config, DataConfig, TrainingConfig
from maskrcnn.data.sources import training_stream
from maskrcnn.model.mask_rcnn import MaskRCNN
from maskrcnn.structures import Batch, Sample
from maskrcnn.training.loop import train

Leak = Callable[[MaskRCNN, Batch], None]

MOST_OBJECTS = 200
WINDOW = 20
"""Steps between two looks at what Python holds; resident memory is looked at in every step."""
EMPTY_EVERY = 8
"""One in so many pictures has no objects, so some batches are of such pictures only."""


class Crowds:
    """Pictures of 32 to 160 pixels a side with 0 to MOST_OBJECTS quadrilaterals, a tenth of them don't-care."""

    class_names = SMALL.class_names

    def __len__(self) -> int:
        return 10_000

    def __getitem__(self, index: int) -> Sample:
        random = np.random.default_rng(index)
        height, width = random.integers(32, 161, 2)
        # Mostly few, as in photographs, and sometimes many.
        count = 0 if index % EMPTY_EVERY == 0 else round(MOST_OBJECTS ** random.uniform(0, 1))
        image = random.integers(0, 255, (height, width, 3), dtype=np.uint8)
        middles = random.uniform(0, (width, height), (count, 1, 2))
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * random.uniform(1, 20, (count, 1, 2))
        polygons = np.clip(middles + corners + random.uniform(-0.4, 0.4, (count, 4, 2)), 0, (width, height))
        labels = random.integers(1, 1 + len(self.class_names), count)
        return Sample(f"{index}", image, tuple(polygons), labels, random.random(count) < 0.1)


@dataclass
class Usage:
    """What a run held on to, and what it was given."""

    resident: list[int]
    """Bytes of memory after each step."""
    objects: list[int]
    """Python objects that the garbage collector knows, after each WINDOW steps."""
    descriptors: list[int]
    """Open files, after each WINDOW steps."""
    shapes: int
    """Different shapes of batches."""
    empty_batches: int
    """Those without an object to be found."""
    most_objects: int
    """To be found in one picture."""
    ignored: int
    """Don't-care regions of all pictures."""
    losses: list[float]
    """The sum of all losses of each step."""

    def growth(self, first: int) -> tuple[float, int, int]:
        """By how much more memory, in MiB, objects and descriptors there were in the end than after `first` steps.

        Of memory, the most in each WINDOW counts, and the median of the windows in the first and in the last third of
        the time between: a single step with many objects in large pictures needs more than others.
        """
        windows = [max(self.resident[start : start + WINDOW]) for start in range(first, len(self.resident), WINDOW)]
        third = max(1, len(windows) // 3)
        memory = (median(windows[-third:]) - median(windows[:third])) / 2**20
        before, after = first // WINDOW - 1, -1
        objects, descriptors = self.objects, self.descriptors
        return memory, objects[after] - objects[before], descriptors[after] - descriptors[before]


def soak(steps: int, workers: int, directory: Path, leak: Leak | None = None) -> Usage:
    """Trains for so many steps, and looks at this process after each. leak: called with each batch, after its step."""
    training = TrainingConfig(
        steps=steps,
        batch_size=2,
        optimiser="adamw",
        learning_rate=0.001,
        warmup_steps=20,
        gradient_clip=1.0,
        average_decay=0.9,
        checkpoint_every=WINDOW,
        workers=workers,
    )
    config = Config(name="soak", model=SMALL, data=DataConfig(crop=0, flip_probability=0.5), training=training)
    torch.manual_seed(0)
    model, stream = MaskRCNN(config.model), training_stream(Crowds(), config)
    usage, shapes = Usage([], [], [], 0, 0, 0, 0, []), set()

    def watched(start: int) -> Iterator[Batch]:
        for batch in stream(start):
            yield batch
            if leak is not None:
                leak(model, batch)
            to_find = batch.targets.valid.sum(1)
            shapes.add(tuple(batch.images.shape))
            usage.empty_batches += not to_find.any()
            usage.most_objects = max(usage.most_objects, int(to_find.max()))
            usage.ignored += int(batch.targets.ignore.sum())
            usage.resident.append(resident())
            if len(usage.resident) % WINDOW == 0:
                gc.collect()
                usage.objects.append(len(gc.get_objects()))
                usage.descriptors.append(len(os.listdir("/proc/self/fd")))

    train(model, watched, config, directory)
    usage.shapes = len(shapes)
    with (directory / "log.csv").open(newline="") as file:
        usage.losses = [float(row["total"]) for row in csv.DictReader(file)]
    return usage


def soaked(steps: int, workers: int, directory: Path, *leak: str) -> Usage:
    """What `soak` finds in a process of its own, so that nothing else has had memory there."""
    arguments = [sys.executable, __file__, str(steps), str(workers), str(directory), *leak]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return Usage(**json.loads(done.stdout.splitlines()[-1]))


def resident() -> int:
    """Bytes of memory that this process has now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


KEPT = []
"""What `keep` keeps."""


def keep(model: MaskRCNN, batch: Batch) -> None:
    """What mistakes in a loop do: keeps the loss with all that its gradient would need, and an open file."""
    KEPT.append((sum(model(batch).losses.values()), os.open(os.devnull, os.O_RDONLY)))


if __name__ == "__main__":
    number, workers, folder, *leak = sys.argv[1:]
    print(json.dumps(asdict(soak(int(number), int(workers), Path(folder), keep if leak else None))))
