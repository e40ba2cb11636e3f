"""The three functions that hold all index arithmetic of the model, against the loops that they stand for."""

import pytest
import torch

from maskrcnn.slots import NOT_A_CANDIDATE, gather_rows, keep_top, sample_by_priority

NAN = float("nan")

# gather_rows


def test_gather_rows_takes_each_images_own_rows():
    values = torch.arange(12.0).view(2, 3, 2)
    rows = gather_rows(values, torch.tensor([[2, 0], [1, 1]]))
    assert rows.tolist() == [[[4.0, 5.0], [0.0, 1.0]], [[8.0, 9.0], [8.0, 9.0]]]


@pytest.mark.parametrize("rest", [(), (4,), (3, 5)])
def test_gather_rows_equals_its_loop(rest):
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(2, 3, 6, *rest, generator=generator)
    index = torch.randint(0, 6, (2, 3, 8), generator=generator)
    expected = torch.zeros(2, 3, 8, *rest)
    for a in range(2):
        for b in range(3):
            for slot in range(8):
                expected[a, b, slot] = values[a, b, index[a, b, slot]]
    assert torch.equal(gather_rows(values, index), expected)


def test_gather_rows_of_one_image():
    assert gather_rows(torch.tensor([5.0, 6.0, 7.0]), torch.tensor([2, 2, 0])).tolist() == [7.0, 7.0, 5.0]


def test_gather_rows_passes_gradients_to_the_rows_taken():
    values = torch.zeros(2, 3, 4, requires_grad=True)
    gather_rows(values, torch.tensor([[1, 1], [0, 2]])).sum().backward()
    assert values.grad[..., 0].tolist() == [[0.0, 2.0, 0.0], [1.0, 0.0, 1.0]]


# keep_top


def test_keep_top_takes_no_nan_and_the_real_slots_come_first():
    best = keep_top(torch.tensor([[NAN, 0.5, NOT_A_CANDIDATE, NAN, 0.9], [NAN] * 5]), 4)
    assert best.index.tolist() == [[4, 1, 0, 0], [0] * 4]
    assert best.valid.tolist() == [[True, True, False, False], [False] * 4]


def test_keep_top_is_sorted_and_leaves_out_what_is_no_candidate():
    best = keep_top(torch.tensor([0.1, NOT_A_CANDIDATE, 0.9, 0.5]), 2)
    assert best.index.tolist() == [2, 3] and best.valid.tolist() == [True, True]
    best = keep_top(torch.tensor([[0.1, NOT_A_CANDIDATE, 0.9, 0.5], [NOT_A_CANDIDATE] * 4]), 4)
    assert best.index.tolist() == [[2, 3, 0, 0], [0, 0, 0, 0]]
    assert best.valid.tolist() == [[True, True, True, False], [False] * 4]


def test_keep_top_has_as_many_slots_as_asked_for_even_if_there_are_fewer_rows():
    best = keep_top(torch.tensor([[-3.0, -1.0]]), 4)
    assert best.index.tolist() == [[1, 0, 0, 0]] and best.valid.tolist() == [[True, True, False, False]]


def test_keep_top_of_no_rows_is_empty_slots():
    best = keep_top(torch.zeros(2, 0), 3)
    assert best.index.tolist() == [[0, 0, 0]] * 2 and not best.valid.any()


def test_keep_top_equals_sorting_each_image():
    generator = torch.Generator().manual_seed(1)
    scores = torch.randn(3, 20, generator=generator)
    scores[torch.rand(3, 20, generator=generator) < 0.5] = NOT_A_CANDIDATE
    best = keep_top(scores, 12)
    for image in range(3):
        candidates = [n for n in range(20) if scores[image, n] > NOT_A_CANDIDATE]
        expected = sorted(candidates, key=lambda n: -scores[image, n].item())[:12]
        assert best.index[image][best.valid[image]].tolist() == expected
        assert best.valid[image].tolist() == [slot < len(expected) for slot in range(12)]


# sample_by_priority


def test_a_priority_that_is_no_number_is_chosen_first():
    """As a loss it must reach the sum: training stops there, and would never learn of it otherwise."""
    positive = torch.tensor([True, True, True, False, False, False])
    priority = torch.tensor([0.5, 0.7, NAN, 9.0, NAN, 8.0])
    sample = sample_by_priority(positive, ~positive, priority, total=3, most_positives=1)
    assert sample.index.tolist() == [2, 4, 3]
    assert sample.positive.tolist() == [True, False, False] and sample.valid.all()


def test_no_slot_is_positive_and_empty_whatever_the_priorities():
    positive, negative = torch.tensor([True, False, False, False]), torch.tensor([False, True, False, False])
    for value in (NAN, float("inf"), 0.0):
        sample = sample_by_priority(positive, negative, torch.full((4,), value), total=4, most_positives=2)
        assert sample.index.tolist() == [0, 1, 0, 0]
        assert sample.positive.tolist() == [True, False, False, False]
        assert sample.valid.tolist() == [True, True, False, False]


def test_positives_come_first_and_negatives_fill_what_they_leave():
    positive = torch.tensor([True, False, False, True, True, False])
    priority = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    sample = sample_by_priority(positive, ~positive, priority, total=5, most_positives=2)
    assert sample.index.tolist() == [4, 3, 5, 2, 1]
    assert sample.positive.tolist() == [True, True, False, False, False]
    assert sample.valid.tolist() == [True] * 5


def test_few_positives_leave_more_room_for_negatives():
    positive = torch.tensor([False, False, True, False, False])
    sample = sample_by_priority(positive, ~positive, torch.arange(5.0), total=4, most_positives=2)
    assert sample.index.tolist() == [2, 4, 3, 1]
    assert sample.positive.tolist() == [True, False, False, False]


def test_few_negatives_leave_slots_empty_and_do_not_let_more_positives_in():
    positive = torch.tensor([True, True, True, False])
    sample = sample_by_priority(positive, ~positive, torch.arange(4.0), total=4, most_positives=2)
    assert sample.index.tolist() == [2, 1, 3, 0]
    assert sample.valid.tolist() == [True, True, True, False]
    assert sample.positive.tolist() == [True, True, False, False]


def test_each_image_has_its_own_number_of_positives():
    positive = torch.tensor([[True, True, False, False], [False, False, False, True], [False] * 4])
    sample = sample_by_priority(positive, ~positive, torch.zeros(3, 4), total=4, most_positives=2)
    assert sample.positive.sum(dim=1).tolist() == [2, 1, 0]
    assert sample.valid.sum(dim=1).tolist() == [4, 4, 4]
    for image in range(3):
        assert sorted(sample.index[image].tolist()) == [0, 1, 2, 3]
        assert torch.equal(positive[image][sample.index[image]], sample.positive[image])


def test_neither_positive_nor_negative_is_never_taken():
    neither = torch.zeros(2, 5, dtype=torch.bool)
    sample = sample_by_priority(neither, neither, torch.ones(2, 5), total=4, most_positives=2)
    assert not sample.valid.any() and not sample.positive.any() and sample.index.tolist() == [[0] * 4] * 2
