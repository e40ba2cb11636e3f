"""`python -m maskrcnn bench WHAT`."""

from __future__ import annotations

import argparse
import dataclasses
import json

import torch

from maskrcnn.benchmarks.measure import copy_bandwidth
from maskrcnn.benchmarks.ops import ROUNDS, measure_ops
from maskrcnn.cli.arguments import whole_number
from maskrcnn.detector import available_device

HELP = "measure how fast the ops are, beside those of other libraries"
DETAILS = """
Medians of rounds in which ours and the other library's take turns, in this process, with the same numbers. A library
that is not installed is left out. The floor is the time in which the bytes that have to be read and written once
could be copied.
--json prints one object for each op: {"name", "peer", "milliseconds", "peer_milliseconds", "ratio", "bytes_moved",
"operations"}; ratio is how many times as long the other takes.

examples:
  python -m maskrcnn bench ops
  python -m maskrcnn bench ops --device cuda --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `bench`."""
    parser.add_argument("what", metavar="WHAT", choices=("ops",), help="ops")
    parser.add_argument("--device", choices=("cpu", "cuda"), default=available_device(), help="default: a GPU, if any")
    parser.add_argument("--rounds", type=whole_number(1), default=ROUNDS, metavar="N", help=f"default: {ROUNDS}")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")


def run(arguments: argparse.Namespace) -> None:
    """Prints each figure as soon as it is known."""
    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: this PyTorch sees no GPU")
    bandwidth = copy_bandwidth(arguments.device)
    if not arguments.json:
        device = torch.cuda.get_device_name() if arguments.device == "cuda" else f"{torch.get_num_threads()} threads"
        print(f"{arguments.device} ({device}), copying {bandwidth / 1e9:.1f} GB/s\n")
        print("| op | ours | floor | other library | times as long |\n|---|---|---|---|---|")
    for figure in measure_ops(arguments.device, arguments.rounds):
        if arguments.json:
            print(json.dumps(dataclasses.asdict(figure)), flush=True)
            continue
        floor = 1e3 * figure.bytes_moved / bandwidth
        if figure.ratio is None:
            other, ratio = f"{figure.peer} is not installed", ""
        else:
            other, ratio = f"{figure.peer}, {figure.peer_milliseconds:.1f} ms", f"{figure.ratio:.1f}"
        print(f"| {figure.name} | {figure.milliseconds:.2f} ms | {floor:.2f} ms | {other} | {ratio} |", flush=True)
