"""Which pictures a batch holds: by hand, and against somebody who really walks through the epochs."""

import pickle
from collections import Counter, defaultdict
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskrcnn.data.batch_order import BatchOrder


def walk(count: int, batch_size: int, seed: int, groups: list[int]) -> Iterator[list[int]]:
    """The batches in order, as the docstring tells it: one walks through the epochs and makes piles."""
    piles, epoch = defaultdict(list), 0
    while True:
        for index in np.random.default_rng([seed, epoch, 0, 1]).permutation(count).tolist():
            pile = piles[groups[index]]
            pile.append(index)
            if len(pile) == batch_size:
                yield list(pile)
                pile.clear()
        epoch += 1


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-3, 3), min_size=1, max_size=25), st.integers(1, 9), st.integers(0, 1000))
def test_batches_are_those_of_somebody_who_walks_through_the_epochs(groups, batch_size, seed):
    order, steps = BatchOrder(len(groups), batch_size, seed, groups), walk(len(groups), batch_size, seed, groups)
    expected = [next(steps) for _ in range(40)]
    assert [order(step) for step in range(40)] == expected
    # Not only in order: a run may begin anywhere.
    fresh = BatchOrder(len(groups), batch_size, seed, groups)
    assert [fresh(step) for step in (39, 3, 17)] == [expected[39], expected[3], expected[17]]


def test_by_hand_over_two_epochs():
    """Two portraits (0, 1) and three landscapes, in batches of two: the landscape that is left waits for epoch 1."""
    order = BatchOrder(5, 2, seed=0, groups=[0, 0, 1, 1, 1])
    epochs = [np.random.default_rng([0, epoch, 0, 1]).permutation(5).tolist() for epoch in range(2)]
    portraits, landscapes = ([[i for i in epoch if (i < 2) == first] for epoch in epochs] for first in (True, False))
    stream = landscapes[0] + landscapes[1]
    batches = [order(step) for step in range(5)]
    assert sorted(batches[:2]) == sorted([portraits[0], stream[:2]])
    assert sorted(batches[2:]) == sorted([portraits[1], stream[2:4], stream[4:]])
    last = [epochs[0].index(batch[-1]) for batch in batches[:2]] + [epochs[1].index(batch[-1]) for batch in batches[2:]]
    assert last[0] < last[1] and last[2] < last[3] < last[4], "in the order in which they are complete"


def test_without_groups_epochs_follow_each_other_without_a_gap():
    order = BatchOrder(7, 3, seed=5)
    stream = [index for step in range(14) for index in order(step)]
    for epoch in range(6):
        assert sorted(stream[7 * epoch : 7 * epoch + 7]) == list(range(7))
    assert stream[:7] != stream[7:14] != stream[14:21]


@pytest.mark.parametrize("groups", [None, [0] * 5 + [1] * 8 + [2]])
def test_every_picture_has_its_turn_equally_often(groups):
    """After 40 epochs each has been seen 39 or 40 times, or one fewer where its group is too small for a batch."""
    order = BatchOrder(14, 4, seed=1, groups=groups)
    seen = Counter(index for step in range(14 * 40 // 4 - 3) for index in order(step))
    assert len(seen) == 14 and 36 <= min(seen.values()) <= max(seen.values()) <= 40


def test_a_picture_alone_in_its_group_makes_a_batch_of_nothing_else():
    order = BatchOrder(17, 16, seed=3, groups=[0] * 16 + [1])
    batches = [order(step) for step in range(17)]
    assert [batch for batch in batches if 16 in batch] == [[16] * 16]
    assert all(sorted(batch) == list(range(16)) for batch in batches if 16 not in batch)


def test_another_seed_another_order():
    first, second = BatchOrder(50, 10, seed=0), BatchOrder(50, 10, seed=1)
    assert first(0) != second(0) and first(0) == BatchOrder(50, 10, seed=0)(0)


def test_late_steps_of_large_sets_take_no_walk():
    order = BatchOrder(1_000_000, 2, seed=0)
    assert all(0 <= index < 1_000_000 for index in order(10**9))


def test_an_order_can_be_sent_to_another_process():
    order = BatchOrder(20, 4, seed=0, groups=[0, 1] * 10)
    expected = order(11)
    assert pickle.loads(pickle.dumps(order))(11) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 2, 0), "no pictures to train on"),
        ((3, 0, 0), "found batch size 0, expected 1 or more"),
        ((3, 1, 0, [0, 1]), "found groups of 2 pictures, expected 3"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        BatchOrder(*arguments)
