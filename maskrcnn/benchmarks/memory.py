"""How much memory a piece of work takes at its peak."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable
from typing import Any

import torch


def peak_bytes(prepare: Callable[..., Callable[[], object]], *arguments: Any, device: str) -> int | None:
    """The most memory that is in use at once while `prepare(*arguments)` and the second call of what it returns run.

    In a process of its own, which has no memory of earlier work; counted from what that process has before it prepares
    anything. On a GPU it is the GPU's. None where the system does not say (only Linux does).
    """
    if device != "cuda" and sys.platform != "linux":
        return None
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(sender, prepare, arguments, device, torch.get_num_threads()))
    process.start()
    sender.close()
    try:
        return receiver.recv()
    except EOFError:
        raise RuntimeError("the process whose memory was measured ended without a figure") from None
    finally:
        process.join()


def _measure(sender: Any, prepare: Callable, arguments: tuple, device: str, threads: int) -> None:
    torch.set_num_threads(threads)
    before = 0 if device == "cuda" else resident_bytes("VmRSS")
    run = prepare(*arguments)
    run()
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    else:
        with open("/proc/self/clear_refs", "w") as reset:
            reset.write("5")
    run()
    sender.send((torch.cuda.max_memory_allocated() if device == "cuda" else resident_bytes("VmHWM")) - before)


def resident_bytes(field: str) -> int:
    """VmRSS, what is resident now, or VmHWM, the most since it was last reset, in bytes."""
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith(field))
    return int(line.split()[1]) * 1024
