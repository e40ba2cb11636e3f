"""Gives the weights of `published_case.py` to torchvision's Mask R-CNN and Keypoint R-CNN and stores what they find.

    PYTHONPATH=. python tests/golden/make_golden_published.py     (from the root, where torchvision is installed)

Before anything is stored, our imported networks are compared with torchvision's, and with themselves after a
disturbance of all weights by a rounding error: no choice of the case (which boxes survive, where a map is highest) may
hang by a thread, or the golden file would break on the next processor. It takes several minutes.
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
from torch import nn
from torchvision.models.detection import KeypointRCNN, MaskRCNN
from torchvision.models.detection._utils import overwrite_eps
from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
from torchvision.ops import FrozenBatchNorm2d

FILE = pathlib.Path(__file__).with_name("published.npz")
LOSSES = {
    "rpn_objectness": "loss_objectness",
    "rpn_box": "loss_rpn_box_reg",
    "class": "loss_classifier",
    "box": "loss_box_reg",
    "mask": "loss_mask",
    "keypoint": "loss_keypoint",
}


def backbone() -> nn.Module:
    """ResNet-50 and pyramid with frozen norms, as in all that torchvision publishes for COCO."""
    body = torchvision.models.resnet50(weights=None, norm_layer=FrozenBatchNorm2d)
    return _resnet_fpn_extractor(body, trainable_layers=3)


def loaded(model: nn.Module, state: dict[str, torch.Tensor]) -> nn.Module:
    """The network as torchvision loads its COCO_V1 file; in float64, so that only our rounding is in what differs."""
    model.load_state_dict(state)
    overwrite_eps(model, 0.0)
    return model.double()


@torch.no_grad()
def found_by(model: nn.Module, name: str, size: tuple[int, int]) -> dict[str, np.ndarray]:
    """What torchvision's network finds in a picture; masks before they are pasted."""
    model.eval()
    image = torch.from_numpy(case.picture(name, size)).permute(2, 0, 1).double() / 255
    with mock.patch("torchvision.models.detection.transform.paste_masks_in_image", lambda masks, *_: masks):
        found = model([image])[0]
    print(f"{name}: {len(found['scores'])} found, {int((found['scores'] > 0.5).sum())} with a score above a half")
    values = {
        f"{name}_boxes": found["boxes"][: case.COMPARED].numpy(),
        f"{name}_scores": found["scores"][: case.COMPARED].numpy(),
        f"{name}_labels": found["labels"][: case.COMPARED].numpy().astype(np.int16),
    }
    if "masks" in found:
        values[f"{name}_masks"] = found["masks"][: case.MASKS, 0].numpy()
    if "keypoints" in found:
        values[f"{name}_keypoints"] = found["keypoints"][: case.MASKS, :, :2].numpy()
        values[f"{name}_peaks"] = found["keypoints_scores"][: case.MASKS].numpy()
    return values


def losses_by(model: nn.Module, listed: tuple) -> dict[str, np.ndarray]:
    """torchvision's losses on the training pictures, with samplers that take what comes first."""
    model.train()
    model.transform.min_size, model.transform.max_size = (case.TRAINING_SIZE[0],), case.TRAINING_SIZE[1]
    images, targets = [], []
    for index, objects in enumerate(listed):
        pixels = case.picture(f"training {index}", case.TRAINING_SIZE)
        images.append(torch.from_numpy(pixels).permute(2, 0, 1).double() / 255)
        masks = [case.object_mask(box, case.TRAINING_SIZE) for _, box in objects]
        target = {
            "boxes": torch.tensor([box for _, box in objects], dtype=torch.float64),
            "labels": torch.tensor([label for label, _ in objects]),
            "masks": torch.from_numpy(np.stack(masks)),
        }
        if isinstance(model, KeypointRCNN):
            target["keypoints"] = torch.stack([case.object_keypoints(box) for _, box in objects])
        targets.append(target)
    with mock.patch("torch.randperm", lambda count, device: torch.arange(count, device=device)), torch.no_grad():
        losses = model(images, targets)
    return {f"loss_{ours}": losses[theirs].numpy() for ours, theirs in LOSSES.items() if theirs in losses}


def ours(model: nn.Module, sizes: dict[str, tuple[int, int]], objects: tuple) -> dict[str, np.ndarray]:
    """All that is compared, of our network."""
    values = case.losses_of(model, objects)
    for name, size in sizes.items():
        values |= case.found_by_us(model, name, size)
    return values


def compare(
    theirs: nn.Module, state: dict[str, torch.Tensor], sizes: dict[str, tuple[int, int]], sides: tuple[int, int],
    objects: tuple,
) -> tuple[dict[str, np.ndarray], list[str]]:  # fmt: skip
    """What torchvision says of one network, and where ours does not."""
    expected = {name: value for key, size in sizes.items() for name, value in found_by(theirs, key, size).items()}
    expected |= losses_by(theirs, objects)
    with tempfile.TemporaryDirectory() as folder:
        model = case.imported(state, pathlib.Path(folder), sides)
    own = ours(model, sizes, objects)
    for name, value in expected.items():
        print(f"{name:20} {value.shape!s:14} differs by {np.abs(own[name].astype(np.float64) - value).max():.2g}")
    assert own.keys() == expected.keys()
    wrong = case.disagreements(own, expected)
    with torch.no_grad():
        for name, value in model.named_parameters():
            value.mul_(1 + case.uniform(f"{name} disturbed", tuple(value.shape), -1e-7, 1e-7))
    return expected, wrong + [
        f"disturbed: {message}" for message in case.disagreements(ours(model, sizes, objects), expected, times=10)
    ]


def main() -> None:
    state = case.keypoint_weights()
    short, long = case.KEYPOINT_SIDES
    theirs = loaded(KeypointRCNN(backbone(), num_classes=2, num_keypoints=17, min_size=short, max_size=long), state)
    persons, wrong = compare(theirs, state, case.KEYPOINT_SIZES, case.KEYPOINT_SIDES, case.PERSONS)
    state = case.weights()
    theirs = loaded(MaskRCNN(backbone(), num_classes=91), state)
    expected, more = compare(theirs, state, case.SIZES, (800, 1333), case.OBJECTS)
    if wrong + more:
        sys.exit("\n".join([*wrong, *more, "nothing was stored"]))
    expected |= {f"keypoint_{name}" if name.startswith("loss") else name: value for name, value in persons.items()}
    versions = {"torch_version": np.array(torch.__version__), "torchvision_version": np.array(torchvision.__version__)}
    stored = {name: value if "labels" in name else value.astype(np.float32) for name, value in expected.items()}
    np.savez_compressed(FILE, **stored, **versions)
    print(f"{FILE.name}: {FILE.stat().st_size / 1024:.0f} KB")


if __name__ == "__main__":
    main()
