"""`python -m maskrcnn export WEIGHTS --out FILE.pt2`."""

from __future__ import annotations

import argparse

from maskrcnn.cli.arguments import add_settings, output_file
from maskrcnn.detector import load
from maskrcnn.export import export_detector, smallest_side

HELP = "write a detector as one program that runs without the network's code"
DETAILS = """
The file is an archive of torch.export, for processors: weights, graph and configuration. It takes images (B, 3, H, W),
their sizes (B, 2) and those of the original pictures (B, 2), for any B, H and W that are multiples of what is printed.

In Python, maskrcnn.export.load_exported(FILE) is called on pictures; `import maskrcnn.ops` and torch.export.load(FILE)
are enough for tensors. Such a file is a program: load it only if you would run what its writer wrote.

examples:
  python -m maskrcnn export text_small --out text_small.pt2
  python -m maskrcnn export runs/first/model.safetensors --out first.pt2 --set model.image.long_side=1280
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `export`."""
    parser.add_argument("weights", metavar="WEIGHTS", help="a file, or the name of shipped weights")
    parser.add_argument("--out", required=True, metavar="FILE", help="the file to write, NAME.pt2")
    add_settings(parser)


def run(arguments: argparse.Namespace) -> None:
    """Writes the program and says what it takes. Raises ValueError before anything is written."""
    out = output_file(arguments.out, ".pt2")
    detector = load(arguments.weights, "cpu", arguments.settings)
    out.parent.mkdir(parents=True, exist_ok=True)
    export_detector(detector, out)
    multiples = f"multiples of {detector.config.model.image.size_divisor} from {smallest_side(detector.model)} on"
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB; images (B, 3, H, W) whose H and W are {multiples}")
