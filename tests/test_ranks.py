"""What ranks know of themselves, as far as one process can show it; `test_distributed.py` starts two."""

import torch

from maskrcnn.training.distributed import ALONE, Ranks, joined


def test_a_loss_is_weighted_by_this_ranks_share_of_the_samples():
    """One sample here, three on the other rank: the mean count is two, and the loss here counts half."""

    class OneOfTwo(Ranks):
        def mean(self, values: torch.Tensor) -> torch.Tensor:
            return torch.tensor([2.0, 0.5, 0.0])

    losses = {"class": torch.tensor(6.0), "box": torch.tensor(1.5), "mask": torch.tensor(0.0)}
    counts = {"class": torch.tensor(1), "box": torch.tensor(1), "mask": torch.tensor(0)}
    found = OneOfTwo(0, 2).normalised(losses, counts)
    assert {name: loss.item() for name, loss in found.items()} == {"class": 3.0, "box": 3.0, "mask": 0.0}


def test_alone_nothing_is_asked_of_anybody():
    model = torch.nn.Linear(2, 2)
    assert ALONE.wrapped(model) is model and ALONE.from_first(lambda: 5) == 5 and ALONE.gathered((1, 2)) == [1, 2]
    with joined() as ranks:
        assert ranks == Ranks(0, 1) and ranks.is_first and not torch.distributed.is_initialized()
