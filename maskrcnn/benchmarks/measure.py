"""Times of several ways to do the same thing, taken so that a busy machine is fair to all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median

import torch


def median_seconds(
    candidates: Mapping[str, Callable[[], object]], device: str, rounds: int, *, of_the_processor: bool = False
) -> dict[str, float]:
    """The median time of each candidate, in seconds.

    They take turns, round by round, so that whatever slows the machine for a while slows all of them; the first round
    warms caches up and does not count. On a GPU a candidate has finished when its kernels have.
    of_the_processor: only the time for which a processor core has worked for this process counts.
    """
    clock = time.process_time if of_the_processor else time.perf_counter
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for repetition in range(1 + rounds):
        for name, run in candidates.items():
            wait_for(device)
            start = clock()
            run()
            wait_for(device)
            if repetition > 0:
                times[name].append(clock() - start)
    return {name: median(values) for name, values in times.items()}


def copy_bandwidth(device: str) -> float:
    """Bytes per second that a plain copy reads and writes: what no kernel that moves as much can beat."""
    source = torch.ones(32 * 2**20, device=device)
    target = torch.empty_like(source)
    seconds = median_seconds({"copy": lambda: target.copy_(source)}, device, rounds=7)["copy"]
    return 2 * source.numel() * source.element_size() / seconds


def wait_for(device: str) -> None:
    """Until all kernels that a GPU was told to run have run; a processor has nothing to wait for."""
    if device == "cuda":
        torch.cuda.synchronize()
