"""A ResNeXt-50 (32x4d) with drawn weights, a small picture, and what every stage makes of it.

Nothing here needs torchvision: `make_resnext_golden.py` stores what its network gives, and `tests/test_resnext.py`
holds ours to that.
"""

from __future__ import annotations

import numpy as np
import torch
from golden.torchvision_case import draw_weight, uniform
from torch import Tensor

from maskrcnn.config import BackboneConfig
from maskrcnn.model.resnet import ResNet
from maskrcnn.model.variants.resnext import ResNeXtBottleneck

CARDINALITY, GROUP_WIDTH = 32, 4
KEPT = 7
"""Of each stage, every seventh channel is kept: groups have 4 to 32, so all of them are seen."""


def build_network() -> ResNet:
    """Ours, in evaluation mode."""
    config = BackboneConfig(depth="50", norm="batch_frozen", cardinality=CARDINALITY, group_width=GROUP_WIDTH)
    with torch.device("meta"):
        network = ResNet(config, ResNeXtBottleneck)
    return network.to_empty(device="cpu").eval()


def draw_weights(network: torch.nn.Module) -> dict[str, Tensor]:
    """A state dict for ours or torchvision's: the names are the same."""
    return {name: draw_weight(name, tuple(value.shape)) for name, value in network.state_dict().items()}


def picture() -> Tensor:
    """(1, 3, 49, 65): odd at every stage."""
    return uniform("resnext picture", (1, 3, 49, 65), -2.0, 2.0)


def kept(stages: list[Tensor]) -> dict[str, np.ndarray]:
    """C2 to C5 as the golden file has them."""
    return {f"c{stage + 2}": output[0, ::KEPT].numpy() for stage, output in enumerate(stages)}


@torch.no_grad()
def our_stages() -> dict[str, np.ndarray]:
    """What our network gives."""
    network = build_network()
    network.load_state_dict(draw_weights(network))
    return kept(network(picture()))
