"""2,000 steps on pictures of every size with 0 to 200 objects: a training that runs for days must not grow."""

import math

from soak import MOST_OBJECTS, soaked

STEPS, FIRST = 2000, 400
MEMORY, OBJECTS = 8, 400
"""MiB, and Python objects, by which a run may have grown since FIRST: 5 KiB and a quarter of an object a step. How much
is on its way from the process that makes the batches differs from one moment to the next, by some hundred objects."""


def test_two_thousand_steps_keep_nothing(tmp_path):
    usage = soaked(STEPS, 1, tmp_path)
    memory, objects, descriptors = usage.growth(FIRST)
    assert memory < MEMORY and objects < OBJECTS and descriptors == 0, (memory, objects, descriptors)
    assert len(usage.losses) == STEPS and all(map(math.isfinite, usage.losses))
    assert usage.shapes >= 16 and usage.empty_batches > 20 and usage.ignored > 1000
    assert usage.most_objects > 0.8 * MOST_OBJECTS
