"""Inference and training of a whole network: `python -m maskrcnn bench infer` and `bench train`."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import nn

from maskrcnn.benchmarks.comparison import installed
from maskrcnn.benchmarks.measure import median_seconds
from maskrcnn.benchmarks.memory import peak_bytes
from maskrcnn.benchmarks.networks import PEER, PEER_RECIPE, Load, Work, configured, our_network, their_network
from maskrcnn.benchmarks.stages import our_stages, stage_seconds, their_stages
from maskrcnn.config import Config
from maskrcnn.model.folded import folded
from maskrcnn.precision import Precision
from maskrcnn.training.compiling import compiled

Kind = Literal["infer", "train"]
ROUNDS = 5
MEMORY_PROCESSES = 3
"""How many measure a candidate's memory: where free blocks lie differs from one to the next."""


@dataclass(frozen=True)
class Candidate:
    """One way to do the work."""

    library: str
    precision: Precision
    compile: bool = False
    channels_last: bool = False
    """Of torchvision's network, whose own scripts train it with channels first; ours always has them last."""

    @property
    def name(self) -> str:
        """As tables call it."""
        further = ", compiled" * self.compile + ", channels last" * self.channels_last
        return f"{self.library}, {self.precision}{further}"


BASELINE = Candidate(PEER, "float32")
"""What the others are compared with, where torchvision is installed."""


@dataclass(frozen=True)
class NetworkFigure:
    """What was measured of a candidate."""

    name: str
    milliseconds: float
    """Of one call, which is a whole batch."""
    images_per_second: float
    ratio: float | None
    """How many times as long torchvision takes, in float32."""
    peak_bytes: int | None
    """The most memory at once, weights included; see `maskrcnn.benchmarks.memory`."""
    memory_ratio: float | None
    """Of that of torchvision."""
    stages: dict[str, float]
    """Milliseconds of each stage, measured in calls of their own."""


def candidates(config: Config, *, compile: bool = False) -> list[Candidate]:
    """torchvision, where it is installed and has this recipe, and ours in both precisions, if asked also compiled."""
    ours = [Candidate("ours", precision) for precision in get_args(Precision)]
    if compile:
        ours += [Candidate("ours", precision, compile=True) for precision in get_args(Precision)]
    theirs = [BASELINE, *(Candidate(PEER, precision, channels_last=True) for precision in get_args(Precision))]
    return [*theirs, *ours] if has_peer(config) else ours


def has_peer(config: Config) -> bool:
    """Whether torchvision is there and has a network like this."""
    return config.name == PEER_RECIPE and installed("torchvision.models.detection") is not None


def prepare(kind: Kind, candidate: Candidate, config: Config, load: Load, device: str) -> Callable[[], object]:
    """A function that does the work once, with a network of its own."""
    config = configured(config, load, of_peer=config.name == PEER_RECIPE)
    return _prepared(kind, candidate, Work(config, load, device))[0]


def _prepared(kind: Kind, candidate: Candidate, work: Work) -> tuple[Callable[[], object], nn.Module]:
    """The function, and the network that it runs."""
    torch.manual_seed(0)
    if candidate.library == PEER:
        layout = torch.channels_last if candidate.channels_last else torch.contiguous_format
        model = their_network(work.config, work.device).train(kind == "train").to(memory_format=layout)
        if kind == "train":
            return work.their_training(model, candidate.precision), model
        return lambda: work.infer_theirs(model, candidate.precision), model
    model = our_network(work.config, work.device).train(kind == "train")
    if kind == "infer" and not candidate.compile:
        model = folded(model, candidate.precision)  # as `evaluate` and `predict` run it
    network = compiled(model) if candidate.compile else model
    if kind == "infer":
        return lambda: work.infer_ours(network, candidate.precision), model
    return work.our_training(network, candidate.precision, candidate.compile), model


def measure_network(
    kind: Kind, config: Config, load: Load, device: str, rounds: int = ROUNDS, compile: bool = False
) -> Iterator[NetworkFigure]:
    """Each candidate's figures: times of turns in this process, memory in processes of its own, stages one by one."""
    chosen = candidates(config, compile=compile)
    work = Work(configured(config, load, of_peer=config.name == PEER_RECIPE), load, device)
    runs = {candidate: _prepared(kind, candidate, work) for candidate in chosen}
    seconds = median_seconds({candidate.name: run for candidate, (run, _) in runs.items()}, device, rounds)
    memory = {
        candidate: _median_peak(min(rounds, MEMORY_PROCESSES), kind, candidate, config, load, device)
        for candidate in chosen
        if not candidate.compile  # the compiler's own memory would be most of it
    }
    for candidate, (run, model) in runs.items():
        watched = (their_stages if candidate.library == PEER else our_stages)(model, work)
        stages = {} if candidate.compile else stage_seconds(run, watched, device, max(1, rounds // 2))
        taken, base = seconds[candidate.name], seconds.get(BASELINE.name)
        most, most_of_base = memory.get(candidate), memory.get(BASELINE)
        yield NetworkFigure(
            candidate.name,
            1e3 * taken,
            load.batch / taken,
            None if base is None else base / taken,
            most,
            most / most_of_base if most and most_of_base else None,
            {stage: 1e3 * of_stage for stage, of_stage in stages.items()},
        )


def _median_peak(
    processes: int, kind: Kind, candidate: Candidate, config: Config, load: Load, device: str
) -> int | None:
    """Bytes, as `peak_bytes` has them; of an even number of processes the one with less in the middle."""
    found = [peak_bytes(prepare, kind, candidate, config, load, device, device=device) for _ in range(processes)]
    return None if None in found else statistics.median_low(found)


def counts(kind: Kind, config: Config, load: Load, device: str) -> dict[str, tuple[int, int]]:
    """Ours and torchvision's proposals, and detections, which have to be as many for times to be comparable."""
    work, training = Work(configured(config, load, of_peer=True), load, device), kind == "train"
    ours, theirs = (build(work.config, device).train(training) for build in (our_network, their_network))
    found: dict[str, int] = {}

    def remember(module: nn.Module, given: tuple, result: tuple) -> None:
        found["proposals"] = sum(map(len, result[0]))

    theirs.rpn.register_forward_hook(remember)
    their_result = work.their_training(theirs)() if training else work.infer_theirs(theirs)
    with torch.inference_mode():
        batch = work.our_images().to(device)
        regions = ours.rpn(batch, ours.pyramid(ours.backbone(batch.images)))
        proposals = ours.rpn.propose(regions, batch.image_sizes, for_training=training)
    of_both = {"proposals": (int(proposals.valid.sum()), found["proposals"])}
    if not training:
        detections, _ = work.infer_ours(ours)
        of_both["detections"] = int(detections.valid.sum()), sum(len(one["scores"]) for one in their_result)
    return of_both
