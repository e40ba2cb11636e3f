"""Which of the matched boxes to learn from: a random sample, or the hardest examples."""

from __future__ import annotations

import torch
from torch import Tensor

from maskrcnn.slots import Sampled, sample_by_priority
from maskrcnn.targets.matching import NEGATIVE, POSITIVE


def sample_randomly(label: Tensor, total: int, positive_fraction: float, seeds: Tensor | None = None) -> Sampled:
    """Up to `total` of the boxes that label (..., N) calls positive or negative, drawn without replacement.

    At most `positive_fraction` of `total` are positive; negatives fill what positives leave, since a picture has far
    more background than objects (Faster R-CNN section 3.1.3: 256 anchors, 1:1; Fast R-CNN section 2.3: RoIs, 1:3).
    seeds (...,): what each draw follows from (`random_numbers`); None: PyTorch's generator.
    """
    count = label.shape[-1]
    priority = torch.rand(label.shape, device=label.device) if seeds is None else random_numbers(seeds, count)
    return _sample(label, priority, total, positive_fraction)


def sample_hardest(label: Tensor, loss: Tensor, total: int, positive_fraction: float) -> Sampled:
    """Online hard example mining: like `sample_randomly`, but those with the largest loss (..., N).

    The loss is the classification loss of a forward pass without gradient (arXiv 1604.03540; the MMOCR recipes).
    """
    return _sample(label, loss, total, positive_fraction)


def random_numbers(seeds: Tensor, count: int) -> Tensor:
    """(..., count) float32, uniform in [0, 1): a function of seeds (...,) int64 and the place in the row alone.

    A generator hands out numbers in the order in which it is asked, so what an image gets depends on the images before
    it, and on the device. A hash of seed and place has no state (Salmon et al., "Parallel random numbers: as easy as
    1, 2, 3", 2011). Seeds count modulo 2^32.
    """
    place = _scrambled(torch.arange(count, device=seeds.device))
    bits = _scrambled(place ^ _scrambled(seeds & _32_BITS)[..., None])
    return (bits >> 8).float() / 2**24  # as many bits as a float32 has digits


_32_BITS = 0xFFFFFFFF


def _scrambled(numbers: Tensor) -> Tensor:
    """A one-to-one map of 32-bit numbers, in int64, in which each bit depends on all (MurmurHash3's finaliser)."""
    numbers = numbers ^ (numbers >> 16)
    numbers = (numbers * 0x85EBCA6B) & _32_BITS
    numbers = numbers ^ (numbers >> 13)
    numbers = (numbers * 0xC2B2AE35) & _32_BITS
    return numbers ^ (numbers >> 16)


def _sample(label: Tensor, priority: Tensor, total: int, positive_fraction: float) -> Sampled:
    return sample_by_priority(
        label == POSITIVE, label == NEGATIVE, priority, total, most_positives=int(total * positive_fraction)
    )
