"""Which pictures are in which batch: a pure function of the seed and the step, with or without groups.

Nothing is remembered from step to step, so a run that goes on in the middle of an epoch, or with another number of
processes, sees the pictures that it would have seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np


class BatchOrder:
    """The numbers of the pictures of each batch.

    Each epoch is a permutation of the data set, drawn from the seed and the epoch's number. Epochs follow each other
    without a gap, so a batch may hold the end of one and the start of the next.

    With groups, each batch is of one group: whoever walks through the epochs and puts each picture on the pile of its
    group has a batch whenever a pile holds `batch_size`; what lies on the piles at the end of an epoch waits for the
    next. No picture is dropped, and over the epochs all are seen equally often. But a batch may hold a picture more
    than once, and of a group smaller than `batch_size` every batch does: a picture that is alone in its group makes,
    once in `batch_size` epochs, a batch of nothing but itself, so many times.
    """

    def __init__(self, count: int, batch_size: int, seed: int, groups: Sequence[int] | None = None) -> None:
        """count: pictures; groups: of each picture the number of its group; None: they are all of one.

        Raises ValueError if there are no pictures, for batches of none, and for groups of other pictures.
        """
        if count < 1:
            raise ValueError("the data set has no pictures to train on")
        if batch_size < 1:
            raise ValueError(f"found batch size {batch_size}, expected 1 or more")
        if groups is not None and len(groups) != count:
            raise ValueError(f"found groups of {len(groups)} pictures, expected {count}")
        self.count, self.batch_size, self.seed = count, batch_size, seed
        everything = np.zeros(count, np.int64)
        _, self.group_of_picture, self.group_sizes = np.unique(
            everything if groups is None else groups, return_inverse=True, return_counts=True
        )

    def __call__(self, step: int) -> list[int]:
        """The `batch_size` numbers of the pictures in the batch of `step`, counted from 0."""
        epoch = step * self.batch_size // self.count  # or later: some pictures of before may still lie on piles
        while self._completed_before(epoch + 1) <= step:
            epoch += 1
        group, batch = _completed(self, epoch)[step - self._completed_before(epoch)].tolist()
        first, size = batch * self.batch_size, int(self.group_sizes[group])
        places = (divmod(place, size) for place in range(first, first + self.batch_size))
        start = int(self.group_sizes[:group].sum())
        return [int(_by_group(self, number)[1][start + place]) for number, place in places]

    def _completed_before(self, epoch: int) -> int:
        """How many batches of all groups are complete when `epoch` begins."""
        return int((epoch * self.group_sizes // self.batch_size).sum())


# Functions with a cache each, not methods: a batch order travels to the processes that make batches, a cache cannot.


@lru_cache(maxsize=2)
def _completed(order: BatchOrder, epoch: int) -> np.ndarray:
    """(N, 2): group, and number within the group, of the batches that `epoch` completes, in the order of completion."""
    of_group, moments, start = [], [], 0
    for group, size in enumerate(order.group_sizes.tolist()):
        batches = np.arange(epoch * size // order.batch_size, (epoch + 1) * size // order.batch_size)
        last = (batches + 1) * order.batch_size - 1 - epoch * size  # its last picture's place among the group's
        moments.append(_by_group(order, epoch)[0][start + last])
        of_group.append(np.stack([np.full_like(batches, group), batches], axis=1))
        start += size
    return np.concatenate(of_group)[np.argsort(np.concatenate(moments))]


@lru_cache(maxsize=4)  # a batch may begin in an epoch before the one that completes it
def _by_group(order: BatchOrder, epoch: int) -> tuple[np.ndarray, np.ndarray]:
    """When, in an epoch, each picture has its turn, and which picture that is: group after group, (count,) each."""
    # Four numbers keep this stream apart from those of the augmentation, which are made from three.
    permutation = np.random.default_rng([order.seed, epoch, 0, 1]).permutation(order.count)
    moments = np.argsort(order.group_of_picture[permutation], kind="stable")
    return moments, permutation[moments]
