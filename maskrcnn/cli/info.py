"""`python -m maskrcnn info`."""

from __future__ import annotations

import argparse
import platform

import numpy
import torch

import maskrcnn
from maskrcnn import ops
from maskrcnn.detector import SHIPPED

HELP = "versions, which ops are compiled, devices"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`info` takes none."""


def run(arguments: argparse.Namespace) -> None:
    """Prints what somebody who wants to help would ask for."""
    print(f"maskrcnn {maskrcnn.__version__}, Python {platform.python_version()}, {platform.platform()}")
    print(f"torch {torch.__version__}, numpy {numpy.__version__}")
    for name, value in ops.build_information().items():
        print(f"{name}: {value}")
    print(f"devices: cpu ({torch.get_num_threads()} threads)", end="")
    print("".join(f", cuda:{index} {torch.cuda.get_device_name(index)}" for index in range(torch.cuda.device_count())))
    print(f"weights: {', '.join(sorted(file.stem for file in SHIPPED.glob('*.safetensors'))) or 'none'}")
