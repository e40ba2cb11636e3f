"""`python -m maskrcnn info`."""

from __future__ import annotations

import argparse
import platform

import numpy
import torch

import maskrcnn
from maskrcnn import ops
from maskrcnn.detector import shipped_weights
from maskrcnn.recipes import RECIPES

HELP = "versions, which ops are compiled, devices"
DETAILS = """
example:
  python -m maskrcnn info
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`info` takes none."""


def run(arguments: argparse.Namespace) -> None:
    """Prints what somebody who wants to help would ask for."""
    print(f"maskrcnn {maskrcnn.__version__}, Python {platform.python_version()}, {platform.platform()}")
    print(f"torch {torch.__version__}, numpy {numpy.__version__}")
    build = ops.build_information()
    compiled = ", ".join(f"{name} ({', '.join(backends)})" for name, backends in build["ops"].items() if backends)
    print(f"compiled ops: {compiled if build['compiled'] else 'none, PyTorch stands in for them: ' + build['reason']}")
    devices = [f"cpu ({torch.get_num_threads()} threads)"]
    devices += [f"cuda:{index} ({torch.cuda.get_device_name(index)})" for index in range(torch.cuda.device_count())]
    print(f"devices: {', '.join(devices)}")
    print(f"recipes: {', '.join(RECIPES)}")
    print(f"shipped weights: {', '.join(shipped_weights()) or 'none'}")
