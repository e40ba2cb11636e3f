"""Several processes that train one model: who is who, what they tell each other, and how their losses become one mean.

    torchrun --nproc-per-node 4 -m maskrcnn train ...

starts four processes, each with its own device. All hold the same weights; each computes the losses of its share of a
batch, and before each update the gradients are averaged (`DistributedDataParallel`), so the weights stay the same. The
first process alone writes files.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

Value = TypeVar("Value")


@dataclass(frozen=True)
class Ranks:
    """The processes that train or evaluate together, as one of them sees it."""

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files and speaks to the user."""
        return self.rank == 0

    def wrapped(self, model: nn.Module) -> nn.Module:
        """A model whose backward pass averages the gradients of all ranks; it starts with the first rank's weights."""
        return DistributedDataParallel(model, gradient_as_bucket_view=True) if self.count > 1 else model

    def averaging(self, model: nn.Module, last_part: bool) -> AbstractContextManager:
        """For a forward and backward pass of what `wrapped` gave: the gradients of all but the last part of a batch
        stay here and add up, and are averaged with those of the other ranks once."""
        return nullcontext() if self.count == 1 or last_part else model.no_sync()

    def normalised(self, losses: dict[str, Tensor], counts: dict[str, Tensor]) -> dict[str, Tensor]:
        """Losses, each the mean of `counts` samples here, divided instead by the mean count of all ranks.

        Averaging gradients averages losses. The mean over ranks of sum / count is not the mean over all samples,
        where one rank has a single positive and another has a hundred; that of sum / (mean count) is.
        """
        own = torch.stack([counts[name] for name in losses]).to(next(iter(losses.values())).dtype)
        mean = self.mean(own)
        # Where nobody has a sample the losses are 0 anyway.
        factors = own / mean.clamp(min=1 / self.count)
        return {name: loss * factor for (name, loss), factor in zip(losses.items(), factors, strict=True)}

    def mean(self, values: Tensor) -> Tensor:
        """The mean over all ranks of values (any shape), on each of them; without gradient."""
        if self.count == 1:
            return values
        total = values.detach().clone()
        torch.distributed.all_reduce(total)
        return total / self.count

    def from_first(self, value: Callable[[], Value]) -> Value:
        """What `value` returns on the first rank, which alone calls it; or raises there, if that is a ValueError, an
        OSError or a MemoryError: what is wrong with a file ends all of them, not one, for which the others wait."""
        if self.count == 1:
            return value()
        told: list[Any] = [None, None]
        if self.is_first:
            try:
                told[0] = value()
            except (ValueError, OSError, MemoryError) as error:
                told[1] = error
        torch.distributed.broadcast_object_list(told)
        if told[1] is not None:
            raise told[1]
        return told[0]

    def gathered(self, values: Sequence[Value]) -> list[Value]:
        """All values of a list of which rank r has number r, r + count, r + 2 count ..., in order, on the first rank;
        on the others an empty list."""
        if self.count == 1:
            return list(values)
        told: list[Any] | None = [None] * self.count if self.is_first else None
        torch.distributed.gather_object(list(values), told)
        if told is None:
            return []
        merged: list[Any] = [None] * sum(map(len, told))
        for rank, of_rank in enumerate(told):
            merged[rank :: self.count] = of_rank
        return merged

    @contextmanager
    def heard_once(self) -> Iterator[None]:
        """For what all ranks do alike, such as opening a data set: of its warnings only the first rank's are heard."""
        with warnings.catch_warnings():
            if not self.is_first:
                warnings.simplefilter("ignore")
            yield


class RankLost(ConnectionError):
    """Another process has ended before its time, so this one cannot go on."""


ALONE = Ranks()


@contextmanager
def joined() -> Iterator[Ranks]:
    """The processes that torchrun has started, on NCCL if this PyTorch sees GPUs, otherwise on gloo; ALONE without it.

    Each process of a machine takes a GPU of its own, which `torch.device("cuda")` means from here on. Raises ValueError
    if there are fewer GPUs than processes, and RankLost if another process ends before its time.
    """
    if "LOCAL_RANK" not in os.environ:
        yield ALONE
        return
    local = int(os.environ["LOCAL_RANK"])
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        if local >= torch.cuda.device_count():
            raise ValueError(f"found {torch.cuda.device_count()} GPUs for process {local + 1} of this machine")
        torch.cuda.set_device(local)
    try:
        torch.distributed.init_process_group("nccl" if on_gpu else "gloo")
        yield Ranks(torch.distributed.get_rank(), torch.distributed.get_world_size())
        # They leave together: gloo aborts a process that is still at work when others have closed their connections.
        torch.distributed.barrier()
    except RuntimeError as error:
        # NCCL's have a class of their own, gloo's are told by what they say.
        if isinstance(error, torch.distributed.DistError) or "gloo" in str(error).lower():
            raise RankLost("another process has ended; if it could say why, that stands above") from error
        raise
    # Not after an error: NCCL would wait for what the other processes have begun, and they for this one's end.
    torch.distributed.destroy_process_group()
