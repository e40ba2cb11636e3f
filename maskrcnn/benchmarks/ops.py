"""The custom ops beside those of the same meaning in other libraries: `python -m maskrcnn bench ops`.

A peer that is not installed is left out; our own op in PyTorch, without the compiled kernel, is always there.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from maskrcnn import ops
from maskrcnn.benchmarks.batched_ops import batched_comparisons
from maskrcnn.benchmarks.comparison import Comparison, Figure, installed, measure
from maskrcnn.benchmarks.random_boxes import random_boxes
from maskrcnn.ops import fallback_matching, run_length

ROUNDS = 7
BOXES = 3 * (200 * 272 + 100 * 136 + 50 * 68 + 25 * 34 + 13 * 17)
"""As many as a picture of 800 x 1088 has anchors: three a cell on five levels."""


def measure_ops(device: str, rounds: int = ROUNDS) -> Iterator[Figure]:
    """Each op as soon as it is measured."""
    return measure(comparisons(device), device, rounds)


def comparisons(device: str) -> Iterator[Comparison]:
    """What is compared, one after another, so that the inputs of only one exist at a time."""
    yield from _roi_align(device)
    for count in (5_000, 20_000):
        yield _nms(device, count)
    yield _match_boxes(device)
    yield _covered_boxes(device)
    yield _paste_masks(device)
    if device == "cpu":  # codes are numpy
        yield from _run_lengths()
    else:  # whole batches take a processor minutes
        yield from batched_comparisons(device)


def _roi_align(device: str) -> Iterator[Comparison]:
    """1,000 RoIs, 7 x 7 bins of 2 x 2 samples, on one map of 256 channels: P2 of two pictures of 800 x 1088."""
    torchvision_ops = installed("torchvision.ops")
    random = torch.Generator().manual_seed(0)
    features = torch.randn(2, 256, 200, 272, generator=random).to(device)
    rois = random_boxes(2, 500, width=1088, height=800, generator=random).to(device)
    # Each library has its maps in the memory layout that it is made for.
    ours = features.to(memory_format=torch.channels_last).requires_grad_()
    theirs = features.clone().requires_grad_()
    numbers = torch.arange(2.0, device=device).repeat_interleave(500)[:, None]
    theirs_rois = torch.cat((numbers, rois.flatten(0, 1)), dim=1)
    gradient = torch.randn(1000, 256, 7, 7, generator=random).to(device)
    our_gradient = gradient.to(memory_format=torch.channels_last).view(2, 500, 256, 7, 7)

    def our_forward() -> Tensor:
        """(2, 500, 256, 7, 7)."""
        return ops.pyramid_roi_align([ours], rois, output_size=7, strides=[4], sampling_ratio=2, aligned=True)

    def their_forward() -> Tensor:
        """(1000, 256, 7, 7)."""
        return torchvision_ops.roi_align(theirs, theirs_rois, 7, 0.25, 2, aligned=True)

    outputs = 1000 * 256 * 49
    samples = 4 * outputs
    forward = {"bytes_moved": 4.0 * (features.numel() + outputs), "operations": 8.0 * samples}
    peer = "torchvision roi_align"
    yield Comparison(
        "RoIAlign forward", peer, torch.no_grad()(our_forward),
        torch.no_grad()(their_forward) if torchvision_ops else None, **forward,
    )  # fmt: skip
    yield Comparison(
        "RoIAlign forward and backward", peer, lambda: torch.autograd.grad(our_forward(), ours, our_gradient),
        (lambda: torch.autograd.grad(their_forward(), theirs, gradient)) if torchvision_ops else None,
        **{name: 2 * value for name, value in forward.items()},
    )  # fmt: skip


def _nms(device: str, count: int) -> Comparison:
    """Random boxes in a picture of 1333 x 800, IoU 0.7."""
    torchvision_ops = installed("torchvision.ops")
    random = torch.Generator().manual_seed(0)
    boxes = random_boxes(count, width=1333, height=800, generator=random).to(device)
    scores = torch.rand(count, generator=random).to(device)
    kept = int((ops.nms(boxes, scores, iou_threshold=0.7, max_keep=count) >= 0).sum())
    return Comparison(
        f"NMS of {count:,} boxes, of which {kept:,} survive",
        "torchvision nms",
        lambda: ops.nms(boxes, scores, iou_threshold=0.7, max_keep=count),
        (lambda: torchvision_ops.nms(boxes, scores, 0.7)) if torchvision_ops else None,
        bytes_moved=count * (5 * 4 + 8),
        operations=12.0 * kept * kept / 2,  # each survivor must have been compared with all before it
    )


def _match_boxes(device: str) -> Comparison:
    """As many boxes as a picture of 800 x 1088 has anchors against 50 ground truths."""
    random = torch.Generator().manual_seed(0)
    count, slots = BOXES, 50
    arguments = (
        random_boxes(1, slots, width=1088, height=800, generator=random).to(device),
        torch.ones(1, slots, dtype=torch.bool, device=device),
        random_boxes(1, count, width=1088, height=800, generator=random).to(device),
        torch.ones(1, count, dtype=torch.bool, device=device),
    )
    detection = installed("torchvision.models.detection._utils")
    peer, peer_name = lambda: fallback_matching.match_boxes(*arguments, 0.3), "the same in PyTorch"
    if detection is not None:
        box_iou = installed("torchvision.ops").box_iou
        matcher = detection.Matcher(0.7, 0.3, allow_low_quality_matches=True)
        peer, peer_name = lambda: matcher(box_iou(arguments[0][0], arguments[2][0])), "torchvision box_iou and Matcher"
    return Comparison(
        f"matching {count:,} boxes with {slots} ground truths",
        peer_name,
        lambda: ops.match_boxes(*arguments, floor=0.3),
        peer,
        bytes_moved=count * (4 * 4 + 1 + 4 + 8 + 8),
        operations=14.0 * count * slots,
    )


def _covered_boxes(device: str) -> Comparison:
    """As many boxes again, and which of them lie by half in one of 50 don't-care regions."""
    random = torch.Generator().manual_seed(0)
    count, slots = BOXES, 50
    boxes, regions = (random_boxes(1, n, width=1088, height=800, generator=random).to(device) for n in (count, slots))
    valid = torch.ones(1, slots, dtype=torch.bool, device=device)
    return Comparison(
        f"{count:,} boxes in {slots} don't-care regions",
        "the same in PyTorch",
        lambda: ops.covered_boxes(boxes, regions, valid, fraction=0.5),
        lambda: fallback_matching.covered_boxes(boxes, regions, valid, 0.5),
        bytes_moved=count * (4 * 4 + 1),
        operations=10.0 * count * slots,
    )


def _paste_masks(device: str) -> Comparison:
    """100 masks of 28 x 28 over boxes in a picture of 1080 x 1920."""
    roi_heads = installed("torchvision.models.detection.roi_heads")
    random = torch.Generator().manual_seed(0)
    masks = torch.rand(100, 28, 28, generator=random).to(device)
    boxes = random_boxes(100, width=1920, height=1080, generator=random).to(device)
    size = {"height": 1080, "width": 1920}
    pixels = ((boxes[:, 2:] - boxes[:, :2]).prod(dim=1)).sum().item()
    return Comparison(
        "pasting 100 masks into 1080 x 1920",
        "torchvision paste_masks_in_image",
        lambda: ops.paste_masks(masks, boxes, **size, convention="padded_resize"),
        (lambda: roi_heads.paste_masks_in_image(masks[:, None], boxes, (1080, 1920)) > 0.5) if roi_heads else None,
        bytes_moved=100.0 * 1080 * 1920,
        operations=4 * pixels,
    )


def _run_lengths() -> Iterator[Comparison]:
    """100 ellipses in 480 x 640 pixels; then each with 100 others."""
    pycocotools = installed("pycocotools.mask")
    random = np.random.default_rng(0)
    y, x = np.mgrid[:480, :640]
    centres, radii = random.uniform((0, 0), (480, 640), (200, 2)), random.uniform(20, 150, (200, 2))
    masks = np.stack(
        [((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 < 1 for (cy, cx), (ry, rx) in zip(centres, radii, strict=True)]
    )
    for_peer = np.asfortranarray(masks[:100].transpose(1, 2, 0).astype(np.uint8))
    codes, others = run_length.encode(masks[:100]), run_length.encode(masks[100:])
    runs = sum(len(code.counts) for code in codes)
    yield Comparison(
        "run-length encoding of 100 masks of 480 x 640",
        "pycocotools encode",
        lambda: run_length.encode(masks[:100]),
        (lambda: pycocotools.encode(for_peer)) if pycocotools else None,
        bytes_moved=masks[:100].nbytes + 4.0 * runs,
        operations=masks[:100].size,
    )
    crowd = np.zeros(100, bool)
    if pycocotools:
        their_codes, their_others = (
            pycocotools.encode(np.asfortranarray(part.transpose(1, 2, 0).astype(np.uint8)))
            for part in (masks[:100], masks[100:])
        )
    yield Comparison(
        "IoU of 100 x 100 run-length codes",
        "pycocotools iou",
        lambda: run_length.iou(codes, others, crowd),
        (lambda: pycocotools.iou(their_codes, their_others, crowd)) if pycocotools else None,
        bytes_moved=4.0 * 2 * runs + 8 * 100 * 100,
        operations=100.0 * 2 * runs,  # each pair is a walk through both codes, where their boxes meet
    )
