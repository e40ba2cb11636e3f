"""Training on pictures of every kind for a long time, and what the process holds on to meanwhile.

    python tests/soak.py STEPS DIR [--leak]

trains a small network, with all that `train` does around it, and prints what was in use after each step as JSON.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from small_model import SMALL

from maskrcnn.structures import Sample

MOST_OBJECTS = 200
WINDOW = 50
"""Steps between two looks at what Python holds; resident memory is looked at in every step."""
EMPTY_EVERY = 8
"""One in so many pictures has no objects, so some batches are of such pictures only."""


class Crowds:
    """Pictures of 32 to 128 pixels a side with 0 to MOST_OBJECTS quadrilaterals, a tenth of them don't-care."""

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
    """What a run used, and what it was given."""

    resident: list[int]
    """Bytes of memory after each step."""
    objects: list[int]
    """Python objects that the garbage collector knows, after each WINDOW steps."""
    descriptors: list[int]
    """Open files, after each WINDOW steps."""
    most_objects: int = 0
    empty_batches: int = 0
    ignored: int = 0
    sizes: int = 0
    """Different shapes of batches."""
