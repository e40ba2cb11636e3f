"""Gives the weights of `published_case.py` to torchvision's Mask R-CNN and stores what it finds and loses.

    PYTHONPATH=. python tests/golden/make_golden_published.py     (from the root, where torchvision is installed)

Before anything is stored, our imported network is compared with torchvision's, and with itself after a disturbance of
all weights by a rounding error: no choice of the case (which boxes survive) may hang by a thread, or the golden file
would break on the next processor. It takes several minutes.
"""

from __future__ import annotations

import pathlib
import sys
import tempfile
from unittest import mock

import numpy as np
import torch

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

import torchvision
from golden import published_case as case
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection._utils import overwrite_eps
from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
from torchvision.ops import FrozenBatchNorm2d

FILE = pathlib.Path(__file__).with_name("published.npz")


def their_network() -> MaskRCNN:
    """torchvision's network as it loads its COCO_V1 file; in float64, so that only our rounding is in what differs."""
    body = torchvision.models.resnet50(weights=None, norm_layer=FrozenBatchNorm2d)
    model = MaskRCNN(_resnet_fpn_extractor(body, trainable_layers=3), num_classes=91)
    model.load_state_dict(case.weights())
    overwrite_eps(model, 0.0)
    return model.double()


@torch.no_grad()
def found_by(model: MaskRCNN, name: str) -> dict[str, np.ndarray]:
    """What torchvision's network finds in a picture; masks before they are pasted."""
    model.eval()
    masks = []
    with model.roi_heads.register_forward_hook(lambda module, inputs, output: masks.append(output[0][0]["masks"])):
        image = torch.from_numpy(case.picture(name, case.SIZES[name])).permute(2, 0, 1).double() / 255
        found = model([image])[0]
    print(f"{name}: {len(found['scores'])} found, {int((found['scores'] > 0.5).sum())} with a score above a half")
    return {
        f"{name}_boxes": found["boxes"][: case.COMPARED].numpy(),
        f"{name}_scores": found["scores"][: case.COMPARED].numpy(),
        f"{name}_labels": found["labels"][: case.COMPARED].numpy().astype(np.int16),
        f"{name}_masks": masks[0][: case.MASKS, 0].numpy(),
    }


def losses_by(model: MaskRCNN) -> dict[str, np.ndarray]:
    """torchvision's losses on the training pictures, with samplers that take what comes first."""
    model.train()
    model.transform.min_size, model.transform.max_size = (case.TRAINING_SIZE[0],), case.TRAINING_SIZE[1]
    images, targets = [], []
    for index, objects in enumerate(case.OBJECTS):
        pixels = case.picture(f"training {index}", case.TRAINING_SIZE)
        images.append(torch.from_numpy(pixels).permute(2, 0, 1).double() / 255)
        masks = [case.object_mask(box, case.TRAINING_SIZE) for _, box in objects]
        targets.append(
            {
                "boxes": torch.tensor([box for _, box in objects], dtype=torch.float64),
                "labels": torch.tensor([label for label, _ in objects]),
                "masks": torch.from_numpy(np.stack(masks)),
            }
        )
    with mock.patch("torch.randperm", lambda count, device: torch.arange(count, device=device)), torch.no_grad():
        losses = model(images, targets)
    names = {
        "rpn_objectness": "loss_objectness",
        "rpn_box": "loss_rpn_box_reg",
        "class": "loss_classifier",
        "box": "loss_box_reg",
        "mask": "loss_mask",
    }
    return {f"loss_{ours}": losses[theirs].numpy() for ours, theirs in names.items()}


def ours(model: torch.nn.Module) -> dict[str, np.ndarray]:
    """All that is compared, of our network."""
    values = case.losses_of(model)
    for name in case.SIZES:
        values |= case.found_by_us(model, name, case.SIZES[name])
    return values


def main() -> None:
    theirs = their_network()
    expected = {name: value for size in case.SIZES for name, value in found_by(theirs, size).items()}
    expected |= losses_by(theirs)
    with tempfile.TemporaryDirectory() as folder:
        model = case.imported(pathlib.Path(folder))
    own = ours(model)
    for name, value in expected.items():
        print(f"{name:20} {value.shape!s:14} differs by {np.abs(own[name].astype(np.float64) - value).max():.2g}")
    wrong = case.disagreements(own, expected)
    for trial in range(2):
        with torch.no_grad():
            for name, value in model.named_parameters():
                value.mul_(1 + case.uniform(f"{name} disturbed {trial}", tuple(value.shape), -1e-7, 1e-7))
        wrong += [f"disturbed: {message}" for message in case.disagreements(ours(model), expected, times=10)]
    if wrong:
        sys.exit("\n".join([*wrong, "nothing was stored"]))
    versions = {"torch_version": np.array(torch.__version__), "torchvision_version": np.array(torchvision.__version__)}
    stored = {
        name: value.astype(np.float32) if value.dtype == np.float64 else value for name, value in expected.items()
    }
    np.savez_compressed(FILE, **stored, **versions)
    print(f"{FILE.name}: {FILE.stat().st_size / 1024:.0f} KB")


if __name__ == "__main__":
    main()
