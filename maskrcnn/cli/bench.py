"""`python -m maskrcnn bench WHAT`."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterable

import torch

from maskrcnn.benchmarks import average_precision
from maskrcnn.benchmarks.comparison import Figure, measure
from maskrcnn.benchmarks.measure import copy_bandwidth
from maskrcnn.benchmarks.ops import ROUNDS, measure_ops
from maskrcnn.cli.numbers import whole_number
from maskrcnn.detector import available_device

HELP = "measure how fast the ops and the scoring are, beside those of other libraries"
DETAILS = """
Medians of rounds in which ours and the other library's take turns, in this process, with the same numbers. A library
that is not installed is left out. The floor is the time in which the bytes that have to be read and written once
could be copied, and beside it the share of that bandwidth which was reached. average-precision takes minutes, which
pycocotools needs.
--json prints one object for each op: {"name", "peer", "milliseconds", "peer_milliseconds", "ratio", "bytes_moved",
"operations", "copied_per_second"}; ratio is how many times as long the other takes.

examples:
  python -m maskrcnn bench ops
  python -m maskrcnn bench ops --device cuda --json
  python -m maskrcnn bench average-precision --rounds 1
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `bench`."""
    parser.add_argument(
        "what", metavar="WHAT", choices=("ops", "average-precision"), help="ops, or average-precision (of COCO's files)"
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), help="of ops; default: a GPU, if any")
    default = f"{ROUNDS}, of average-precision {average_precision.ROUNDS}"
    parser.add_argument("--rounds", type=whole_number(1), metavar="N", help=f"default: {default}")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")


def run(arguments: argparse.Namespace) -> None:
    """Prints each figure as soon as it is known."""
    if arguments.what == "average-precision":
        if arguments.device == "cuda":
            raise ValueError("--device cuda: scoring runs on the processor")
        rounds = arguments.rounds or average_precision.ROUNDS
        _print(measure(average_precision.comparisons(), "cpu", rounds), "cpu", arguments.json)
        return
    device = arguments.device or available_device()
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: this PyTorch sees no GPU")
    _print(measure_ops(device, arguments.rounds or ROUNDS), device, arguments.json)


def _print(figures: Iterable[Figure], device: str, as_json: bool) -> None:
    """A table with the floor beside each figure, or a JSON object a line."""
    bandwidth = copy_bandwidth(device)
    if not as_json:
        processor = torch.cuda.get_device_name() if device == "cuda" else f"{torch.get_num_threads()} threads"
        print(f"{device} ({processor}), copying {bandwidth / 1e9:.1f} GB/s\n")
        print("| op | ours | floor | other library | times as long |\n|---|---|---|---|---|")
    for figure in figures:
        if as_json:
            print(json.dumps(dataclasses.asdict(figure) | {"copied_per_second": bandwidth}), flush=True)
            continue
        floor = 1e3 * figure.bytes_moved / bandwidth
        if figure.ratio is None:
            other, ratio = f"{figure.peer} is not installed", ""
        else:
            other, ratio = f"{figure.peer}, {figure.peer_milliseconds:.1f} ms", f"{figure.ratio:.1f}"
        share = f"{floor:.2f} ms, {100 * floor / figure.milliseconds:.1f} %"
        print(f"| {figure.name} | {figure.milliseconds:.2f} ms | {share} | {other} | {ratio} |", flush=True)
