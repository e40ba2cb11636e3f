"""What is compared with what, and the figures that come of it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import ModuleType

from maskrcnn.benchmarks.measure import median_seconds


@dataclass(frozen=True)
class Comparison:
    """One op on one input, or one piece of work: ours, and what it is measured against."""

    name: str
    peer_name: str
    ours: Callable[[], object]
    peer: Callable[[], object] | None
    """None if there is none, or it is not installed."""
    bytes_moved: float = 0.0
    """The floor: what has to be read and written once."""
    operations: float = 0.0
    """The floor: multiplications, additions and comparisons that the result is made of."""
    times: int = 1
    """How often a call does what it is called; figures are for once."""


@dataclass(frozen=True)
class Figure:
    """What was measured of a comparison."""

    name: str
    peer: str
    milliseconds: float
    peer_milliseconds: float | None
    ratio: float | None
    """How many times as long the peer takes."""
    bytes_moved: float
    operations: float


def measure(
    compared: Iterable[Comparison], device: str, rounds: int, *, of_the_processor: bool = False
) -> Iterator[Figure]:
    """Each comparison as soon as it is measured. of_the_processor: see `median_seconds`."""
    for comparison in compared:
        candidates = {"ours": comparison.ours}
        if comparison.peer is not None:
            candidates["peer"] = comparison.peer
        seconds = median_seconds(candidates, device, rounds, of_the_processor=of_the_processor)
        seconds = {name: value / comparison.times for name, value in seconds.items()}
        peer = seconds.get("peer")
        yield Figure(
            comparison.name,
            comparison.peer_name,
            1e3 * seconds["ours"],
            None if peer is None else 1e3 * peer,
            None if peer is None else peer / seconds["ours"],
            comparison.bytes_moved,
            comparison.operations,
        )


def installed(module: str) -> ModuleType | None:
    """A peer's module; a torchvision that does not fit this torch raises more than an ImportError."""
    try:
        return importlib.import_module(module)
    except (ImportError, RuntimeError):
        return None
