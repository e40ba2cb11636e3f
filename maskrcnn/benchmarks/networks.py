"""Our network and torchvision's `maskrcnn_resnet50_fpn` with the same weights, and pictures to show to both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from maskrcnn import ops
from maskrcnn.benchmarks.comparison import installed
from maskrcnn.config import Config
from maskrcnn.data.collate import collate, inference_batch
from maskrcnn.model.mask_rcnn import MaskRCNN
from maskrcnn.precision import Precision, computing_in
from maskrcnn.structures import Batch, Detections, Sample
from maskrcnn.training.compiling import with_changing_sizes
from maskrcnn.training.freed_memory import return_freed_memory
from maskrcnn.training.loop import training_step
from maskrcnn.training.optimiser import make_optimiser
from maskrcnn.training.published_names import TORCHVISION, their_name

PEER = "torchvision"
PEER_RECIPE = "coco"
"""The one recipe that torchvision has, too."""
CLASSES = 90
"""COCO's, as torchvision counts them."""


@dataclass(frozen=True)
class Load:
    """What the networks are given in one call."""

    height: int
    width: int
    batch: int = 1
    objects: int = 20
    """In each picture, to learn from."""
    proposals: int = 0
    """Of each picture; 0: as many as the recipe says."""


def configured(config: Config, load: Load, of_peer: bool) -> Config:
    """The recipe for pictures of one size, with COCO's number of classes where torchvision is to be measured, too."""
    sides = min(load.height, load.width), max(load.height, load.width)
    image = replace(config.model.image, short_side=sides[0], long_side=sides[1])
    rpn = config.model.rpn
    if load.proposals:
        most = max(load.proposals, rpn.candidates_train), max(load.proposals, rpn.candidates_test)
        rpn = replace(
            rpn, proposals_train=load.proposals, proposals_test=load.proposals, candidates_train=most[0],
            candidates_test=most[1],
        )  # fmt: skip
    names = tuple(f"class {number}" for number in range(1, CLASSES + 1)) if of_peer else config.model.class_names
    model = replace(config.model, image=image, rpn=rpn, class_names=names)
    return replace(config, model=model).for_pictures(10**6)


def our_network(config: Config, device: str) -> MaskRCNN:
    """Random weights with which there is as much to do as in a crowded picture: all proposals, all detections."""
    torch.manual_seed(0)
    model = MaskRCNN(config.model)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if name.endswith(("head.objectness.weight", "box_head.classes.weight")):
                value.normal_(std=0.1 if "objectness" in name else 1.0)
        for name, value in model.named_buffers():
            if name.endswith("bn3.weight"):  # or each block of a deep network would add as much as all before it
                value.fill_(0.3)
    return model.to(device, memory_format=torch.channels_last)


def their_network(config: Config, device: str) -> nn.Module:
    """torchvision's with the weights and the settings of `our_network`."""
    detection = installed("torchvision.models.detection")
    rpn, image = config.model.rpn, config.model.image
    backbone = installed("torchvision.models.detection.backbone_utils").resnet_fpn_backbone(
        backbone_name="resnet50", weights=None, trainable_layers=4 - config.model.backbone.frozen_stages
    )
    model = detection.MaskRCNN(
        backbone, CLASSES + 1, min_size=image.short_side, max_size=image.long_side,
        rpn_pre_nms_top_n_train=rpn.candidates_train, rpn_pre_nms_top_n_test=rpn.candidates_test,
        rpn_post_nms_top_n_train=rpn.proposals_train, rpn_post_nms_top_n_test=rpn.proposals_test,
    )  # fmt: skip
    ours = our_network(config, "cpu").state_dict()
    model.load_state_dict({their_name(TORCHVISION, name): value for name, value in ours.items()})
    return model.to(device)


def pictures(load: Load, classes: int) -> list[Sample]:
    """Noise, with ellipses as annotations. Raises MemoryError, before any work, for more than the machine can hold."""
    random = np.random.default_rng(0)
    noise = np.empty((load.batch, load.height, load.width, 3), np.uint8)  # at once, so that it is refused at once
    return [_picture(random, number, pixels, load, classes) for number, pixels in enumerate(noise)]


def _picture(random: np.random.Generator, number: int, pixels: np.ndarray, load: Load, classes: int) -> Sample:
    pixels[:] = random.integers(0, 256, pixels.shape, dtype=np.uint8)
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    circle = np.stack((np.cos(angle), np.sin(angle)), axis=1)
    smaller = min(load.height, load.width)
    radii = np.exp(random.uniform(np.log(smaller / 50), np.log(smaller / 5), (load.objects, 1, 2)))
    centres = random.uniform(radii, np.array([load.width, load.height]) - radii)
    labels = random.integers(1, classes + 1, load.objects)
    return Sample(str(number), pixels, tuple(centres + radii * circle), labels, np.zeros(load.objects, bool))


class Work:
    """One call of a network: inference, from pictures to masks in them, or a step of training.

    Both libraries begin with the same pictures of bytes, and each brings them into the layout that it works in.
    """

    def __init__(self, config: Config, load: Load, device: str) -> None:
        self.config, self.device = config, device
        self.samples = pictures(load, config.model.class_count - 1)

    def infer_ours(
        self, model: Callable[[Batch], Any], precision: Precision = "float32"
    ) -> tuple[Detections, list[Tensor]]:
        """Detections, and for each picture masks (D, H, W)."""
        with torch.inference_mode(), computing_in(precision, self.device):
            found = model(self.our_images().to(self.device)).detections
            return found, self.paste(found)

    def our_images(self) -> Batch:
        """The pictures as our loader hands them over: normalised, channels last."""
        if len(self.samples) == 1:
            return inference_batch(self.samples[0], self.config.model.image, targets=False)
        nothing = {"polygons": (), "labels": np.zeros(0, np.int64), "ignore": np.zeros(0, bool)}
        blank = [replace(sample, **nothing) for sample in self.samples]
        return replace(collate(blank, self.config.model.image, ignored="ignore"), targets=None)

    def paste(self, found: Detections) -> list[Tensor]:
        """For each picture masks (D, H, W)."""
        if found.masks is None:
            return []
        convention = self.config.model.mask_head.paste
        sizes = [sample.image.shape[:2] for sample in self.samples]
        return [
            ops.paste_masks(masks, boxes, height=height, width=width, convention=convention)
            for masks, boxes, (height, width) in zip(found.masks, found.boxes, sizes, strict=True)
        ]

    def their_images(self) -> list[Tensor]:
        """The pictures as torchvision wants them: (3, H, W) in [0, 1]."""
        return [
            torch.from_numpy(sample.image).permute(2, 0, 1).contiguous().to(self.device).float() / 255
            for sample in self.samples
        ]

    def infer_theirs(self, model: nn.Module, precision: Precision = "float32") -> list[dict[str, Tensor]]:
        """torchvision's detections with masks (D, 1, H, W) of pixels."""
        with torch.inference_mode(), computing_in(precision, self.device):
            found = model(self.their_images())
            return [one | {"masks": one["masks"] > 0.5} for one in found]

    def our_training(
        self, model: nn.Module, precision: Precision = "float32", is_compiled: bool = False
    ) -> Callable[[], dict[str, Tensor]]:
        """A function that makes one step and returns the losses. The targets are ready, the images are not."""
        training = replace(self.config.training, precision=precision)
        return_freed_memory()  # as `train` does
        optimiser = make_optimiser(model, training)
        ready = collate(self.samples, self.config.model.image, ignored="ignore").to(self.device)
        steps = iter(range(10**9))

        def step() -> dict[str, Tensor]:
            model.train()
            batch = replace(ready, images=self.our_images().images.to(self.device))
            if is_compiled:
                batch = with_changing_sizes(batch)
            return training_step(model, [batch], optimiser, training, next(steps))[0]

        return step

    def their_training(self, model: nn.Module, precision: Precision = "float32") -> Callable[[], dict[str, Tensor]]:
        """The same for torchvision, as in its references: SGD with momentum, the plain sum of the losses."""
        training = self.config.training
        targets = collate(self.samples, self.config.model.image, ignored="ignore").targets
        masks = targets.full_masks(*self.samples[0].image.shape[:2]).to(torch.uint8)
        listed = [
            {"boxes": boxes.to(self.device), "labels": labels.to(self.device), "masks": of_image.to(self.device)}
            for boxes, labels, of_image in zip(targets.boxes, targets.labels, masks, strict=True)
        ]
        learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimiser = torch.optim.SGD(
            learning, lr=1e-6, momentum=training.momentum, weight_decay=training.weight_decay, fused=True
        )

        def step() -> dict[str, Tensor]:
            model.train()
            optimiser.zero_grad()
            with computing_in(precision, self.device):
                losses = model(self.their_images(), listed)
            sum(losses.values()).backward()
            optimiser.step()
            return {name: loss.detach() for name, loss in losses.items()}

        return step
