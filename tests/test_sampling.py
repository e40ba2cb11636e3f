"""Random sampling and hard example mining, and what both promise: counts, classes, no repetition."""

import pytest
import torch

from maskrcnn.reference import sampling as reference
from maskrcnn.slots import sample_by_priority
from maskrcnn.targets.sampling import random_numbers, sample_hardest, sample_randomly


def labels(positives: int, negatives: int, ignored: int, seed: int = 0) -> torch.Tensor:
    """(N,) labels in random order."""
    label = torch.tensor([1] * positives + [0] * negatives + [-1] * ignored)
    return label[torch.randperm(len(label), generator=torch.Generator().manual_seed(seed))]


# By hand.


@pytest.mark.parametrize(
    ("positives", "negatives", "expected"),
    [(300, 1000, (128, 128)), (10, 1000, (10, 246)), (300, 50, (128, 50)), (0, 1000, (0, 256)), (5, 0, (5, 0))],
)
def test_256_anchors_at_most_half_of_them_positive(positives, negatives, expected):
    """Faster R-CNN section 3.1.3; negatives fill what positives leave, positives never fill what negatives leave."""
    label = labels(positives, negatives, ignored=100)
    sample = sample_randomly(label, 256, 0.5)
    chosen = sample.index[sample.valid]
    assert sample.index.shape == (256,)
    assert (int((label[chosen] == 1).sum()), int((label[chosen] == 0).sum())) == expected
    assert len(set(chosen.tolist())) == sum(expected)


def test_512_rois_at_most_a_quarter_of_them_positive():
    sample = sample_randomly(labels(200, 1000, 0), 512, 0.25)
    assert int(sample.positive.sum()) == 128 and int(sample.valid.sum()) == 512


def test_the_hardest_positives_and_negatives_are_taken_whatever_their_ratio_of_losses():
    label = torch.tensor([1, 1, 1, 0, 0, 0, -1, 0])
    loss = torch.tensor([0.1, 0.5, 0.3, 9.0, 7.0, 8.0, 99.0, 6.0])
    sample = sample_hardest(label, loss, total=4, positive_fraction=0.5)
    assert sample.index.tolist() == [1, 2, 3, 5]
    assert sample.positive.tolist() == [True, True, False, False]


def test_a_loss_of_zero_is_still_a_candidate():
    sample = sample_hardest(torch.tensor([1, 0, 0]), torch.zeros(3), total=4, positive_fraction=0.5)
    assert sample.valid.tolist() == [True, True, True, False]


# Against the loop reference.


def test_each_image_of_a_batch_samples_as_the_reference_does_alone():
    """Images with too many positives, too few, none, and hardly any candidates; the priorities are shared."""
    label = torch.stack([labels(60, 100, 40), labels(3, 150, 47), labels(0, 200, 0), labels(2, 5, 193)])
    priority = torch.rand(4, 200, generator=torch.Generator().manual_seed(1))
    sample = sample_by_priority(label == 1, label == 0, priority, total=64, most_positives=16)
    hardest = sample_hardest(label, priority, 64, 0.25)
    for image in range(4):
        positives, negatives = reference.sample(label[image], priority[image], 64, 0.25)
        assert torch.equal(sample.index[image][sample.positive[image]], positives)
        assert torch.equal(sample.index[image][sample.valid[image] & ~sample.positive[image]], negatives)
        assert int(sample.valid[image].sum()) == len(positives) + len(negatives)
    for one, other in zip(hardest, sample, strict=True):
        assert torch.equal(one, other)


def test_ignored_candidates_at_the_end_change_nothing():
    label = torch.stack([labels(30, 50, 0), labels(2, 70, 8)])
    loss = torch.rand(2, 80, generator=torch.Generator().manual_seed(2))
    before = sample_hardest(label, loss, 64, 0.25)
    padded_label = torch.nn.functional.pad(label, (0, 9), value=-1)
    after = sample_hardest(padded_label, torch.nn.functional.pad(loss, (0, 9), value=1e6), 64, 0.25)
    for one, other in zip(before, after, strict=True):
        assert torch.equal(one, other)


def test_random_sampling_is_uniform():
    """Each of 10 negatives is among the 5 chosen in half of 2000 draws, +- 5 standard deviations."""
    sample = sample_randomly(torch.zeros(2000, 10, dtype=torch.int64), 5, 0.5)
    frequency = torch.bincount(sample.index.flatten(), minlength=10) / 2000
    assert (frequency - 0.5).abs().max() < 5 * (0.25 / 2000) ** 0.5


def test_random_sampling_follows_the_seed():
    label = labels(100, 400, 0)
    torch.manual_seed(3)
    first, second = sample_randomly(label, 64, 0.25), sample_randomly(label, 64, 0.25)
    torch.manual_seed(3)
    again = sample_randomly(label, 64, 0.25)
    assert torch.equal(first.index, again.index) and not torch.equal(first.index, second.index)


# Seeds.


def scrambled(number: int) -> int:
    """MurmurHash3's finaliser on one number, as its page gives it."""
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        number ^= number >> shift
        number = number * factor % 2**32
    return number ^ number >> 16


@pytest.mark.parametrize("seed", [0, 1, 2**31, 2**32 - 1])
def test_numbers_are_those_of_the_hash_one_by_one(seed):
    expected = [scrambled(scrambled(place) ^ scrambled(seed)) // 256 / 2**24 for place in range(100)]
    assert random_numbers(torch.tensor(seed), 100).tolist() == expected


def test_numbers_are_uniform_and_know_nothing_of_each_other():
    """Mean, spread and neighbours within five standard errors; also of seeds that differ in one bit, place by place."""
    numbers = random_numbers(torch.tensor([5, 4, 5 + 2**20]), 100_000).double()
    assert numbers.min() >= 0 and numbers.max() < 1
    assert (numbers.mean(dim=1) - 0.5).abs().max() < 5 / (12 * 100_000) ** 0.5
    tenths = torch.stack([torch.histc(row, 10, 0, 1) for row in numbers]) / 100_000
    assert (tenths - 0.1).abs().max() < 5 * (0.09 / 100_000) ** 0.5
    rows = torch.cat((numbers, numbers[:1].roll(1, dims=1)))
    correlation = torch.corrcoef(rows) - torch.eye(4)
    assert correlation.abs().max() < 5 / 100_000**0.5


def test_a_sample_follows_from_its_seed_and_not_from_its_neighbours():
    label = torch.stack([labels(100, 400, 0, seed) for seed in range(4)])
    seeds = torch.tensor([7, 8, 9, 7])
    together = sample_randomly(label, 64, 0.25, seeds)
    for image in range(4):
        alone = sample_randomly(label[image : image + 1], 64, 0.25, seeds[image : image + 1])
        assert torch.equal(alone.index[0], together.index[image])
    torch.manual_seed(0)
    again = sample_randomly(label, 64, 0.25, seeds)
    assert torch.equal(again.index, together.index)
    same_labels = sample_randomly(label[:1].expand(2, -1), 64, 0.25, seeds[:2])
    assert not torch.equal(same_labels.index[0], same_labels.index[1])


# Empty.


@pytest.mark.parametrize("label", [torch.full((2, 6), -1), torch.zeros(2, 0, dtype=torch.int64)])
def test_no_candidates_leave_every_slot_empty(label):
    sample = sample_randomly(label, 4, 0.5)
    assert sample.index.tolist() == [[0] * 4] * 2
    assert not sample.valid.any() and not sample.positive.any()
