"""How `bench` prints what it has measured: tables for people, JSON for programs."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterable
from typing import Any

import torch

from maskrcnn.benchmarks.comparison import Figure
from maskrcnn.benchmarks.measure import copy_bandwidth
from maskrcnn.benchmarks.network_speed import NetworkFigure
from maskrcnn.benchmarks.scaling import ScalingFigure


def machine(device: str) -> str:
    """What the figures were measured on, in a few words."""
    processor = torch.cuda.get_device_name() if device == "cuda" else f"{torch.get_num_threads()} threads"
    return f"{device} ({processor}), PyTorch {torch.__version__}"


def print_ops(figures: Iterable[Figure], device: str, as_json: bool) -> None:
    """A table with the floor beside each figure, or a JSON object a line."""
    bandwidth = copy_bandwidth(device)
    if not as_json:
        print(f"{machine(device)}, copying {bandwidth / 1e9:.1f} GB/s\n")
        print("| op | ours | floor | beside | times as long |\n|---|---|---|---|---|")
    for figure in figures:
        if as_json:
            _print_json(figure, copied_per_second=bandwidth)
            continue
        floor = 1e3 * figure.bytes_moved / bandwidth
        if figure.ratio is None:
            other, ratio = f"{figure.peer} is not installed", ""
        else:
            other, ratio = f"{figure.peer}, {figure.peer_milliseconds:.1f} ms", f"{figure.ratio:.1f}"
        share = f"{floor:.2f} ms, {100 * floor / figure.milliseconds:.1f} %"
        _print_row((figure.name, f"{figure.milliseconds:.2f} ms", share, other, ratio))


def print_stages_of_data(figures: Iterable[Figure], as_json: bool) -> None:
    """A table of what one crop takes, or a JSON object a line."""
    if not as_json:
        print("| one crop | ours | a second | whole pictures | a second | times as long |\n|---|---|---|---|---|---|")
    for figure in figures:
        ours, peer = figure.milliseconds, figure.peer_milliseconds
        if as_json:
            values = dataclasses.asdict(figure)
            del values["bytes_moved"], values["operations"]
            rates = {"per_second": 1e3 / ours, "peer_per_second": None if peer is None else 1e3 / peer}
            print(json.dumps(values | rates), flush=True)
            continue
        row = [figure.name, f"{ours:.2f} ms", f"{1e3 / ours:.0f}"]
        row += ["the same", "", ""] if peer is None else [f"{peer:.2f} ms", f"{1e3 / peer:.0f}", f"{figure.ratio:.1f}"]
        _print_row(row)


def print_networks(figures: Iterable[NetworkFigure], of_what: str, device: str, as_json: bool) -> None:
    """A table of whole calls and one of their stages, or a JSON object a line."""
    figures = list(figures)
    if as_json:
        for figure in figures:
            _print_json(figure)
        return
    print(f"{of_what}, {machine(device)}\n")
    print("| | a call | images a second | times as fast | peak memory | of torchvision's |\n|---|---|---|---|---|---|")
    for figure in figures:
        _print_row((
            figure.name,
            f"{figure.milliseconds:.0f} ms",
            f"{figure.images_per_second:.2f}",
            "" if figure.ratio is None else f"{figure.ratio:.2f}",
            "" if figure.peak_bytes is None else f"{figure.peak_bytes / 2**20:.0f} MiB",
            "" if figure.memory_ratio is None else f"{figure.memory_ratio:.2f}",
        ))  # fmt: skip
    timed = [figure for figure in figures if figure.stages]
    print(f"\n| milliseconds | {' | '.join(figure.name for figure in timed)} |\n|---|{'---|' * len(timed)}")
    for stage in dict.fromkeys(stage for figure in timed for stage in figure.stages):
        _print_row((stage, *(f"{figure.stages[stage]:.0f}" if stage in figure.stages else "" for figure in timed)))


def print_scaling(figures: Iterable[ScalingFigure], as_json: bool) -> list[ScalingFigure]:
    """A row for each place of each axis, or a JSON object a line, as soon as it is measured. Returns the figures."""
    printed: list[ScalingFigure] = []
    for (axis, value), here in itertools.groupby(figures, key=lambda figure: (figure.axis, figure.value)):
        row = list(here)
        if as_json:
            for figure in row:
                _print_json(figure)
        else:
            if not printed:
                names = [figure.name for figure in row]
                print(f"| milliseconds of a picture | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
            _print_row((f"{axis} {value}", *(f"{figure.milliseconds:.0f}" for figure in row)))
        printed += row
    return printed


def _print_json(figure: Any, **further: float) -> None:
    print(json.dumps(dataclasses.asdict(figure) | further), flush=True)


def _print_row(cells: Iterable[str]) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)
