"""Some training on pictures of every kind holds on to nothing; `stress/test_soak.py` trains for long."""

import math

import pytest
from soak import WINDOW, soaked

pytestmark = pytest.mark.slow

STEPS, FIRST = 100, 60
"""After FIRST steps memory has almost reached what it stays at; objects and files have."""
MEMORY, OBJECTS = 20, 20
"""MiB, and Python objects, by which a run of STEPS may have grown since FIRST."""


def test_nothing_is_kept(tmp_path):
    usage = soaked(STEPS, 0, tmp_path)
    memory, objects, descriptors = usage.growth(FIRST)
    assert memory < MEMORY and objects < OBJECTS and descriptors == 0, (memory, objects, descriptors)
    assert len(usage.losses) == STEPS and all(map(math.isfinite, usage.losses))
    assert usage.shapes > 5 and usage.empty_batches > 0 and usage.most_objects > 100 and usage.ignored > 50


def test_what_is_kept_is_seen(tmp_path):
    memory, objects, descriptors = soaked(60, 0, tmp_path, "leak").growth(20)
    assert memory > MEMORY and objects > 20 * OBJECTS and descriptors == WINDOW, (memory, objects, descriptors)
