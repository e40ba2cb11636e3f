"""Runs the case of `resnext_case.py` through torchvision and stores what its stages give.

    PYTHONPATH=. python tests/golden/make_resnext_golden.py   (from the repository root, where torchvision is installed)
"""

from __future__ import annotations

import pathlib
import sys

import numpy as np
import torch

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

import torchvision
from golden import resnext_case as case
from torchvision.ops import FrozenBatchNorm2d

FILE = pathlib.Path(__file__).with_name("resnext.npz")


@torch.no_grad()
def torchvision_stages() -> dict[str, np.ndarray]:
    """What torchvision's network gives, under the names of the golden file."""
    network = torchvision.models.resnet.ResNet(
        torchvision.models.resnet.Bottleneck,
        [3, 4, 6, 3],
        groups=case.CARDINALITY,
        width_per_group=case.GROUP_WIDTH,
        norm_layer=FrozenBatchNorm2d,
    ).eval()
    network.fc = torch.nn.Identity()
    network.load_state_dict(case.draw_weights(network))
    x = network.maxpool(network.relu(network.bn1(network.conv1(case.picture()))))
    stages = []
    for stage in (network.layer1, network.layer2, network.layer3, network.layer4):
        x = stage(x)
        stages.append(x)
    return case.kept(stages)


def main() -> None:
    torch.set_num_threads(1)
    theirs, ours = torchvision_stages(), case.our_stages()
    for name, value in theirs.items():
        print(f"{name} {value.shape!s:16} largest {np.abs(value).max():8.4f}  ours differs by "
              f"{np.abs(value - ours[name]).max():.2g}")  # fmt: skip
    versions = {"torch_version": np.array(torch.__version__), "torchvision_version": np.array(torchvision.__version__)}
    np.savez_compressed(FILE, **theirs, **versions)
    print(f"{FILE.name}: {FILE.stat().st_size / 1024:.0f} KB")


if __name__ == "__main__":
    main()
