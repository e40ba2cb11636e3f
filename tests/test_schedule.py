"""The learning rate of each step, by hand."""

import math
from dataclasses import replace

import pytest

from maskrcnn.config import TrainingConfig
from maskrcnn.training.schedule import learning_rate

TEXT = TrainingConfig(steps=2560, learning_rate=0.08, warmup_steps=500, warmup_factor=0.001, milestones=(0.5, 0.8))
"""MMOCR on ICDAR2015: 160 epochs of 16 iterations, drops at epochs 80 and 128 (spec 3.2)."""


def test_warmup_starts_at_the_factor_and_rises_linearly():
    assert learning_rate(0, TEXT) == pytest.approx(0.08 * 0.001)
    assert learning_rate(250, TEXT) == pytest.approx(0.08 * 0.5005)
    assert learning_rate(499, TEXT) == pytest.approx(0.08 * (1 - (1 / 500) * 0.999))
    assert learning_rate(500, TEXT) == 0.08


def test_steps_fall_to_a_tenth_exactly_at_the_milestones():
    assert [learning_rate(step, TEXT) for step in (1279, 1280, 2047, 2048, 2559)] == pytest.approx(
        [0.08, 0.008, 0.008, 0.0008, 0.0008]
    )


def test_a_milestone_that_binary_fractions_miss_still_falls_on_its_step():
    # 0.55 * 100 is 55.00000000000001 and 0.29 * 100 is 28.999999999999996.
    training = replace(TEXT, steps=100, warmup_steps=0, milestones=(0.29, 0.55))
    rates = [learning_rate(step, training) for step in (28, 29, 54, 55)]
    assert rates == pytest.approx([0.08, 0.008, 0.008, 0.0008])


def test_cosine_falls_from_one_to_almost_nothing():
    training = replace(TEXT, steps=1000, warmup_steps=0, schedule="cosine")
    assert learning_rate(0, training) == 0.08
    assert learning_rate(250, training) == pytest.approx(0.08 * (1 + math.sqrt(0.5)) / 2)
    assert learning_rate(500, training) == pytest.approx(0.04)
    assert 0 < learning_rate(999, training) < 0.08 * 3e-6
    assert learning_rate(1000, training) == 0


def test_warmup_multiplies_the_cosine():
    training = replace(TEXT, steps=1000, warmup_steps=500, warmup_factor=0.0, schedule="cosine")
    assert learning_rate(250, training) == pytest.approx(0.08 * 0.5 * (1 + math.sqrt(0.5)) / 2)


def test_without_warmup_and_milestones_the_rate_is_constant():
    training = replace(TEXT, warmup_steps=0, milestones=())
    assert {learning_rate(step, training) for step in range(0, 2560, 100)} == {0.08}
