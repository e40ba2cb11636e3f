"""`python -m maskrcnn info [RECIPE]`."""

from __future__ import annotations

import argparse
import platform

import numpy
import torch

import maskrcnn
from maskrcnn import ops
from maskrcnn.config import Config
from maskrcnn.detector import find_weights, shipped_weights
from maskrcnn.recipes import RECIPES
from maskrcnn.training.checkpoint import load_weights

HELP = "versions, which ops are compiled, devices; or all settings of a recipe"
DETAILS = """
Of a recipe, or of weights, every setting is printed as section.key=value, a line each, as --set takes them. What they
mean is said in maskrcnn/config.py and model_config.py.

examples:
  python -m maskrcnn info
  python -m maskrcnn info text_small
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `info`."""
    parser.add_argument(
        "recipe",
        metavar="RECIPE",
        nargs="?",
        help=f"one of: {', '.join(RECIPES)}; or a weights file, or the name of shipped weights unless a recipe has it",
    )


def run(arguments: argparse.Namespace) -> None:
    """Prints the settings that are asked for, otherwise what somebody who wants to help would ask for."""
    if arguments.recipe is not None:
        print("\n".join(_configuration(arguments.recipe).assignments()))
        return
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


def _configuration(name: str) -> Config:
    if name in RECIPES:
        return RECIPES[name]
    try:
        path = find_weights(name)
    except ValueError as error:
        raise ValueError(f"{error}; or a recipe: {', '.join(RECIPES)}") from None
    return load_weights(path)[1]
