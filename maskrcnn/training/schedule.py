"""The learning rate of every step: a pure function, so that a resumed run cannot disagree with itself."""

from __future__ import annotations

import math

from maskrcnn.config import TrainingConfig


def learning_rate(step: int, training: TrainingConfig) -> float:
    """The learning rate of a step, counted from 0: warm-up factor times decay factor times `training.learning_rate`.

    Warm-up rises linearly: 1 - (1 - step / warmup_steps) * (1 - warmup_factor) (spec 3.2). The gradients of the first
    steps, while heads still answer at random, are the largest of all.
    Decay is a tenth at each milestone, as in the papers, or half a cosine from 1 to 0 (arXiv 1608.03983, without
    restarts), which suits short runs: none of it is spent at a rate too low to learn.
    """
    if training.schedule == "steps":
        # round: 0.55 * 100 is a little more than 55.
        passed = sum(step >= round(milestone * training.steps) for milestone in training.milestones)
        decay = 0.1**passed
    else:
        decay = (1 + math.cos(math.pi * step / max(training.steps, 1))) / 2
    warmup = 1.0
    if step < training.warmup_steps:
        warmup = 1 - (1 - step / training.warmup_steps) * (1 - training.warmup_factor)
    return training.learning_rate * warmup * decay
