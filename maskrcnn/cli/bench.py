"""`python -m maskrcnn bench WHAT`."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterable, Iterator

import torch

from maskrcnn.benchmarks import average_precision, data
from maskrcnn.benchmarks.comparison import Figure, measure
from maskrcnn.benchmarks.measure import copy_bandwidth
from maskrcnn.benchmarks.ops import ROUNDS, measure_ops
from maskrcnn.cli.arguments import add_format, add_settings, add_split, all_settings
from maskrcnn.cli.numbers import whole_number
from maskrcnn.data.sources import FORMATS, open_data
from maskrcnn.detector import available_device
from maskrcnn.recipes import RECIPES, recipe

RECIPE = "icdar2015"

HELP = "measure how fast the ops, the scoring and the training pictures are, beside other ways to do the same"
DETAILS = """
Medians of rounds in which ours and the other library's take turns, in this process, with the same numbers. A library
that is not installed is left out. The floor is the time in which the bytes that have to be read and written once
could be copied, and beside it the share of that bandwidth which was reached. average-precision takes minutes, which
pycocotools needs.
data makes training crops in one process with one thread, beside decoding, scaling and turning whole pictures before
they are cut; without --data, from rendered JPEGs of 1280 x 720 and of 4000 x 3000 pixels. Its times are those for which
the core has worked for this process.
--json prints one object for each op: {"name", "peer", "milliseconds", "peer_milliseconds", "ratio", "bytes_moved",
"operations", "copied_per_second"}; ratio is how many times as long the other takes. For each stage of data, and for
all of them, it is {"name", "peer", "milliseconds", "peer_milliseconds", "ratio", "per_second", "peer_per_second"} of
one crop.

examples:
  python -m maskrcnn bench ops
  python -m maskrcnn bench ops --device cuda --json
  python -m maskrcnn bench average-precision --rounds 1
  python -m maskrcnn bench data --recipe icdar2015 --data data/icdar2015 --set data.rotation_degrees=10
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `bench`."""
    parser.add_argument(
        "what",
        metavar="WHAT",
        choices=("ops", "average-precision", "data"),
        help="ops, average-precision (of COCO's files), or data (training pictures)",
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), help="of ops; default: a GPU, if any")
    default = f"{ROUNDS}, of average-precision {average_precision.ROUNDS}, of data {data.ROUNDS}"
    parser.add_argument("--rounds", type=whole_number(1), metavar="N", help=f"default: {default}")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")
    of_data = parser.add_argument_group("of data")
    of_data.add_argument(
        "--recipe", metavar="RECIPE", help=f"one of: {', '.join(RECIPES)} (default: {RECIPE})"
    )
    of_data.add_argument("--data", metavar="DIR", help="folder of a data set (default: rendered JPEGs)")
    add_split(of_data, "train")
    add_format(of_data, f"in whose layout the folder is: {', '.join(FORMATS)}")
    add_settings(of_data)


def run(arguments: argparse.Namespace) -> None:
    """Prints each figure as soon as it is known."""
    if arguments.what != "ops" and arguments.device == "cuda":
        raise ValueError(f"--device cuda: {arguments.what} runs on the processor")
    for option, value in vars(arguments).items():
        if arguments.what != "data" and option in ("recipe", "data", "format", "settings") and value:
            raise ValueError(f"--{'set' if option == 'settings' else option}: {arguments.what} takes no pictures")
    if arguments.what == "data":
        _print_stages(_measure_data(arguments), arguments.json)
        return
    if arguments.what == "average-precision":
        rounds = arguments.rounds or average_precision.ROUNDS
        _print(measure(average_precision.comparisons(), "cpu", rounds), "cpu", arguments.json)
        return
    device = arguments.device or available_device()
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: this PyTorch sees no GPU")
    _print(measure_ops(device, arguments.rounds or ROUNDS), device, arguments.json)


def _measure_data(arguments: argparse.Namespace) -> Iterator[Figure]:
    config = recipe(arguments.recipe or RECIPE).override(all_settings(arguments))
    rounds = arguments.rounds or data.ROUNDS
    if arguments.data:
        samples = open_data(arguments.data, arguments.split, config, for_training=True)
        yield from data.measure_data(samples, config, arguments.data, rounds=rounds)
        return
    for (height, width), (pictures, crops) in data.RENDERED.items():
        with data.rendered(height, width, pictures) as samples:
            yield from data.measure_data(samples, config, f"{width} x {height}", crops, rounds)


def _print_stages(figures: Iterable[Figure], as_json: bool) -> None:
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
        print(f"| {' | '.join(row)} |", flush=True)


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
