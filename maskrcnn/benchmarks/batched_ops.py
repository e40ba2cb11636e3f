"""The two ops that a GPU should see whole batches of, beside torchvision's way: a level, or an image, at a time."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from maskrcnn import ops
from maskrcnn.benchmarks.comparison import Comparison, installed
from maskrcnn.benchmarks.random_boxes import random_boxes

STRIDES = (4, 8, 16, 32)
IMAGES, ROIS, CHANNELS, HEIGHT, WIDTH = 16, 512, 256, 800, 1088
CANDIDATES = 4_000


def batched_comparisons(
    device: str, images: int = IMAGES, rois: int = ROIS, channels: int = CHANNELS, candidates: int = CANDIDATES
) -> Iterator[Comparison]:
    """RoIAlign over a pyramid, forward and backward, and NMS, of batches as training sees them."""
    yield _pyramid_roi_align(device, images, rois, channels)
    yield _batched_nms(device, images, candidates)


def _pyramid_roi_align(device: str, images: int, rois_per_image: int, channels: int) -> Comparison:
    """7 x 7 bins of 2 x 2 samples on P2 to P5 of pictures of 800 x 1088, bfloat16, channels last in memory."""
    pooler = installed("torchvision.ops.poolers")
    random = torch.Generator().manual_seed(0)
    levels = []
    for stride in STRIDES:
        level = torch.randn(1, channels, HEIGHT // stride, WIDTH // stride, generator=random)
        level = level.to(device, torch.bfloat16).expand(images, -1, -1, -1)
        levels.append(level.contiguous(memory_format=torch.channels_last).requires_grad_())
    rois = random_boxes(images, rois_per_image, width=WIDTH, height=HEIGHT, sizes=(16.0, 600.0), generator=random)
    rois = rois.to(device)
    gradient = torch.randn(images * rois_per_image, channels, 7, 7, generator=random).to(device, torch.bfloat16)
    our_gradient = gradient.contiguous(memory_format=torch.channels_last).unflatten(0, (images, rois_per_image))

    def ours() -> tuple[Tensor, ...]:
        """The gradient of each level."""
        pooled = ops.pyramid_roi_align(
            levels, rois, output_size=7, strides=STRIDES, sampling_ratio=2, aligned=False, finest_size=56.0
        )
        return torch.autograd.grad(pooled, levels, our_gradient)

    peer = None
    if pooler is not None:
        multi_scale = pooler.MultiScaleRoIAlign([str(stride) for stride in STRIDES], output_size=7, sampling_ratio=2)
        # torchvision wants one memory layout only. It has no kernel for bfloat16: what it does under autocast, as
        # training with it does, is to compute in float32 and give bfloat16 back.
        their_levels = {
            str(stride): level.detach().contiguous().requires_grad_()
            for stride, level in zip(STRIDES, levels, strict=True)
        }

        def peer() -> tuple[Tensor, ...]:
            """The gradient of each level."""
            with torch.autocast(device, dtype=torch.bfloat16):
                pooled = multi_scale(their_levels, list(rois), [(HEIGHT, WIDTH)] * images)
            return torch.autograd.grad(pooled, list(their_levels.values()), gradient)

    outputs = images * rois_per_image * channels * 49
    pixels = sum(level.numel() for level in levels)
    return Comparison(
        f"RoIAlign forward and backward, {images} x {rois_per_image} RoIs on four levels, bfloat16",
        "torchvision MultiScaleRoIAlign",
        ours,
        peer,
        # Forward reads no more than what the samples touch, at most all; backward writes every pixel once.
        bytes_moved=2.0 * (min(pixels, 16 * outputs) + outputs + outputs + pixels),
        operations=2 * 8.0 * 4 * outputs,
    )


def _batched_nms(device: str, images: int, count: int) -> Comparison:
    """The candidates of one level in each picture of a batch, IoU 0.7."""
    torchvision_ops = installed("torchvision.ops")
    random = torch.Generator().manual_seed(0)
    boxes = random_boxes(images, count, width=1333, height=800, sizes=(20.0, 200.0), generator=random).to(device)
    scores = torch.rand(images, count, generator=random).to(device)
    kept = int((ops.nms(boxes, scores, iou_threshold=0.7, max_keep=count) >= 0).sum()) / images

    def in_a_loop() -> list[Tensor]:
        """For each picture its survivors."""
        pairs = zip(boxes, scores, strict=True)
        return [torchvision_ops.nms(its_boxes, its_scores, 0.7) for its_boxes, its_scores in pairs]

    return Comparison(
        f"NMS of {images} x {count:,} boxes",
        "a loop of torchvision nms",
        lambda: ops.nms(boxes, scores, iou_threshold=0.7, max_keep=count),
        in_a_loop if torchvision_ops else None,
        bytes_moved=float(images * count * (5 * 4 + 8)),
        operations=images * 12.0 * kept * kept / 2,
    )
