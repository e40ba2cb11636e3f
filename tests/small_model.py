"""A network that trains a step in a fraction of a second, and pictures with bright ellipses on a dark ground for it."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from maskrcnn.config import (
    AnchorConfig,
    BackboneConfig,
    BoxHeadConfig,
    KeypointHeadConfig,
    MaskHeadConfig,
    ModelConfig,
    RPNConfig,
)
from maskrcnn.structures import Batch, Targets

SMALL = ModelConfig(
    class_names=("bright", "dark"),
    # Not narrower: in torch 2.13, the gradient of a strided 1 x 1 convolution of 8 channels crashes with two threads.
    backbone=BackboneConfig(depth="tiny", width=16, norm="group", frozen_stages=0, pyramid_channels=16),
    anchors=AnchorConfig(sizes=(8, 16, 32, 64, 128)),
    rpn=RPNConfig(samples=64, candidates_train=60, candidates_test=50, proposals_train=40, proposals_test=30),
    box_head=BoxHeadConfig(hidden=32, samples=32, detections=8),
    mask_head=MaskHeadConfig(convolutions=1, channels=16),
)
WITH_KEYPOINTS = replace(
    SMALL,
    keypoint_head=KeypointHeadConfig(
        enabled=True,
        names=("left_end", "middle", "right_end"),
        skeleton=(("left_end", "middle"), ("middle", "right_end")),
        convolutions=1,
        channels=16,
    ),
)
"""SMALL, and a head that finds three points on each ellipse."""


def change(config: ModelConfig, section: str, **settings) -> ModelConfig:
    """A copy with other settings in one section."""
    return replace(config, **{section: replace(getattr(config, section), **settings)})


def make_batch(
    objects: list[list[tuple[int, tuple[int, int, int, int]]]],
    slots: int,
    size: tuple[int, int] = (64, 96),
    ignored: set[tuple[int, int]] = frozenset(),
    seed: int = 0,
) -> Batch:
    """One picture of `size` = (height, width) for each list of (label, box); the others' slots are empty.

    objects: boxes in whole pixels; ignored: (image, object) pairs that are don't-care. The masks are ellipses, the
    keypoints those of WITH_KEYPOINTS, the quadrilaterals the boxes.
    """
    generator = torch.Generator().manual_seed(seed)
    count = len(objects)
    images = 0.1 * torch.randn(count, 3, *size, generator=generator) - 1
    boxes = torch.zeros(count, slots, 4)
    keypoints = torch.zeros(count, slots, 3, 3)
    labels, offsets = torch.zeros(count, slots, dtype=torch.int64), torch.zeros(count, slots, dtype=torch.int64)
    bitmaps, pixels = [torch.zeros(0, dtype=torch.uint8)], 0
    for image, listed in enumerate(objects):
        for slot, (label, box) in enumerate(listed):
            mask = ellipse(box)
            x1, y1, x2, y2 = box
            images[image, :, y1:y2, x1:x2] += mask * (2.0 if label == 1 else 1.0)
            boxes[image, slot], labels[image, slot], offsets[image, slot] = torch.tensor(box).float(), label, pixels
            bitmaps.append(mask.flatten())
            pixels += mask.numel()
            middle = (y1 + y2) / 2
            keypoints[image, slot] = torch.tensor([[x1, middle, 2], [(x1 + x2) / 2, middle, 1], [x2, middle, 2]])
    ignore = torch.zeros(count, slots, dtype=torch.bool)
    for image, slot in ignored:
        ignore[image, slot] = True
    sizes = torch.tensor([size] * count).reshape(-1, 2)
    valid = (labels > 0) & ~ignore
    corners = boxes[..., [0, 1, 2, 1, 2, 3, 0, 3]].unflatten(-1, (4, 2))
    targets = Targets(boxes, labels, valid, ignore, torch.cat(bitmaps), boxes.long(), offsets, keypoints, corners)
    return Batch(images, sizes, 2 * sizes, tuple(f"picture_{image}" for image in range(count)), targets)


def ellipse(box: tuple[int, int, int, int]) -> Tensor:
    """(y2 - y1, x2 - x1) uint8: the pixels of the largest ellipse in a box."""
    x1, y1, x2, y2 = box
    u = (torch.arange(x2 - x1) + 0.5) / (x2 - x1) * 2 - 1
    v = (torch.arange(y2 - y1) + 0.5) / (y2 - y1) * 2 - 1
    return (u**2 + v[:, None] ** 2 <= 1).to(torch.uint8)


def with_empty_slots(targets: Targets, extra: int) -> Targets:
    """The same ground truth with more empty slots at the end."""

    def pad(values: Tensor) -> Tensor:
        return torch.cat((values, values.new_zeros(values.shape[0], extra, *values.shape[2:])), dim=1)

    per_slot = (
        "boxes", "labels", "valid", "ignore", "bitmap_boxes", "bitmap_offsets", "keypoints", "quadrilaterals"
    )  # fmt: skip
    return replace(targets, **{name: pad(getattr(targets, name)) for name in per_slot})


def gradients(module: torch.nn.Module) -> dict[str, Tensor]:
    """The gradient of every parameter that has one, by name."""
    return {name: value.grad.clone() for name, value in module.named_parameters() if value.grad is not None}
