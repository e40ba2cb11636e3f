"""`python -m maskrcnn bench WHAT`."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator

import torch

from maskrcnn.benchmarks import average_precision, data, network_speed, text_scoring
from maskrcnn.benchmarks.comparison import Figure, measure
from maskrcnn.benchmarks.network_speed import Load, counts, has_peer, measure_network
from maskrcnn.benchmarks.ops import ROUNDS, measure_ops
from maskrcnn.benchmarks.scaling import draw_scaling, measure_scaling
from maskrcnn.cli.arguments import add_format, add_settings, add_split, all_settings, output_file
from maskrcnn.cli.bench_tables import print_networks, print_ops, print_scaling, print_stages_of_data
from maskrcnn.cli.numbers import picture_size, whole_number
from maskrcnn.data.sources import FORMATS, open_data
from maskrcnn.detector import available_device
from maskrcnn.recipes import RECIPES, recipe

RECIPE = {"data": "icdar2015", "infer": "coco", "train": "coco"}
SIZE = (1088, 800)
"""Width and height of a photograph of 640 x 480 pixels as COCO's recipes scale and pad it."""

HELP = "measure how fast networks, ops, scoring and training pictures are, beside other ways to do the same"
DETAILS = """
Medians of rounds in which ours and the other library's take turns, in this process, with the same numbers. A library
that is not installed is left out.

  infer, train  the network of a recipe with random weights: inference from pictures to masks in them, or steps of
                training; of the recipe coco beside torchvision's maskrcnn_resnet50_fpn with the same weights and
                settings, as its own scripts run it, and with its weights channels last. "times as fast" counts from
                the former in float32, as does memory, which is the most that is in use at once in a process that does
                nothing else. Then where the time goes, stage by stage
  data          training crops in one process with one thread, beside decoding, scaling and turning whole pictures
                before they are cut; without --data, from rendered JPEGs of 1280 x 720 and of 4000 x 3000 pixels. Its
                times are those for which the core has worked for this process
  evaluate      scoring of found texts, beside a plain loop over pairs of polygons, and of COCO's files; it takes
                minutes, which pycocotools needs
  ops           each op. The floor is the time in which the bytes that have to be read and written once could be copied,
                and beside it the share of that bandwidth which was reached

--json prints one object a line. Of ops and evaluate: {"name", "peer", "milliseconds", "peer_milliseconds", "ratio",
"bytes_moved", "operations", "copied_per_second"}; ratio is how many times as long the other takes. Of each stage of
data, and all of them: {"name", "peer", "milliseconds", "peer_milliseconds", "ratio", "per_second", "peer_per_second"}
of one crop. Of infer and train: {"name", "milliseconds", "images_per_second", "ratio", "peak_bytes", "memory_ratio",
"stages": {NAME: milliseconds}}, with --scaling {"axis", "value", "name", "milliseconds"}.

examples:
  python -m maskrcnn bench infer
  python -m maskrcnn bench train --size 1344x800 --batch 16 --device cuda --json
  python -m maskrcnn bench infer --scaling runs/scaling.png
  python -m maskrcnn bench ops --device cuda --json
  python -m maskrcnn bench evaluate --rounds 1
  python -m maskrcnn bench data --recipe icdar2015 --data data/icdar2015 --set data.rotation_degrees=10
"""
NETWORKS = ("infer", "train")
TAKEN_BY = {
    "device": ("infer", "train", "ops"),
    "recipe": ("infer", "train", "data"),
    "settings": ("infer", "train", "data"),
    "data": ("data",),
    "format": ("data",),
    "split": ("data",),
    "size": NETWORKS,
    "batch": NETWORKS,
    "compile": NETWORKS,
    "scaling": NETWORKS,
}
"""What each option is for."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `bench`."""
    parser.add_argument(
        "what",
        metavar="WHAT",
        choices=("infer", "train", "data", "evaluate", "ops"),
        help="infer, train, data (training pictures), evaluate (scoring), or ops",
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), help="of networks and ops; default: a GPU, if any")
    default = (
        f"of ops {ROUNDS}, of infer and train {network_speed.ROUNDS}, of evaluate {average_precision.ROUNDS}, of data "
        f"{data.ROUNDS}"
    )
    parser.add_argument("--rounds", type=whole_number(1), metavar="N", help=f"default: {default}")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")
    parser.add_argument(
        "--recipe",
        metavar="RECIPE",
        help=f"one of: {', '.join(RECIPES)} (default: {RECIPE['infer']}, of data {RECIPE['data']})",
    )
    add_settings(parser)
    of_networks = parser.add_argument_group("of infer and train")
    of_networks.add_argument(
        "--size", type=picture_size, metavar="WxH", help=f"of the pictures (default: {SIZE[0]}x{SIZE[1]})"
    )
    of_networks.add_argument("--batch", type=whole_number(1), metavar="B", help="pictures in a call (default: 1)")
    of_networks.add_argument("--compile", action="store_true", help="also measure ours through torch.compile")
    of_networks.add_argument(
        "--scaling",
        metavar="FILE.png",
        help="measure how time grows with size, batch, proposals and objects instead, and draw it",
    )
    of_data = parser.add_argument_group("of data")
    of_data.add_argument("--data", metavar="DIR", help="folder of a data set (default: rendered JPEGs)")
    add_split(of_data, "train")
    parser.set_defaults(split=None)  # which tells whether it was given
    add_format(of_data, f"in whose layout the folder is: {', '.join(FORMATS)}")


def run(arguments: argparse.Namespace) -> None:
    """Prints the figures, those of ops, scoring and pictures as soon as each is known."""
    what = arguments.what
    for option, commands in TAKEN_BY.items():
        if what not in commands and getattr(arguments, option):
            option = "set" if option == "settings" else option
            raise ValueError(f"--{option}: {what} does not take it, expected one of: {', '.join(commands)}")
    for option in ("size", "batch", "compile"):
        if arguments.scaling and getattr(arguments, option):
            raise ValueError(f"--{option}: --scaling chooses it, expected one of both")
    if arguments.split and not arguments.data:
        raise ValueError("--split: found no --data, expected the folder whose split it is")
    device = arguments.device or available_device()
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: this PyTorch sees no GPU")
    if what in NETWORKS:
        _measure_networks(arguments, device)
    elif what == "data":
        print_stages_of_data(_measure_data(arguments), arguments.json)
    elif what == "evaluate":
        rounds = arguments.rounds or average_precision.ROUNDS
        compared = itertools.chain(text_scoring.comparisons(), average_precision.comparisons())
        print_ops(measure(compared, "cpu", rounds), "cpu", arguments.json)
    else:
        print_ops(measure_ops(device, arguments.rounds or ROUNDS), device, arguments.json)


def _measure_networks(arguments: argparse.Namespace, device: str) -> None:
    kind, rounds = arguments.what, arguments.rounds or network_speed.ROUNDS
    config = recipe(arguments.recipe or RECIPE[kind]).override(all_settings(arguments))
    if arguments.scaling:
        path = output_file(arguments.scaling, ".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        draw_scaling(print_scaling(measure_scaling(kind, config, device, rounds), arguments.json), kind, path)
        return
    width, height = arguments.size or SIZE
    load = Load(height, width, arguments.batch or 1)
    work = f"{kind} {config.name}, {load.batch} x {height} x {width}"
    if has_peer(config) and not arguments.json:
        pairs = counts(kind, config, load, device).items()
        work += ", " + ", ".join(f"{name} {ours} (torchvision {theirs})" for name, (ours, theirs) in pairs)
    print_networks(measure_network(kind, config, load, device, rounds, arguments.compile), work, device, arguments.json)


def _measure_data(arguments: argparse.Namespace) -> Iterator[Figure]:
    config = recipe(arguments.recipe or RECIPE["data"]).override(all_settings(arguments))
    rounds = arguments.rounds or data.ROUNDS
    if arguments.data:
        samples = open_data(arguments.data, arguments.split or "train", config, for_training=True)
        yield from data.measure_data(samples, config, arguments.data, rounds=rounds)
        return
    for (height, width), (pictures, crops) in data.RENDERED.items():
        with data.rendered(height, width, pictures) as samples:
            yield from data.measure_data(samples, config, f"{width} x {height}", crops, rounds)
