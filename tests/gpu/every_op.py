"""Calls of every op with tensors on a GPU. As a program it makes all of them, for compute-sanitizer to watch."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # pytest has done so already

import test_mask_targets
import test_match_boxes
import test_nms
import test_pyramid_roi_align as roi_align
import test_roi_pool

from maskrcnn import ops


def to_gpu(value, device: str = "cuda"):
    """The same tensors on the GPU, in lists as well, with the same strides, also where they overlap or leave gaps."""
    if isinstance(value, list | tuple):
        return type(value)(to_gpu(item, device) for item in value)
    if not isinstance(value, Tensor):
        return value
    memory = torch.empty(0, dtype=torch.uint8).set_(value.untyped_storage()).to(device, copy=True)
    there = torch.empty(0, dtype=value.dtype, device=device)
    return there.set_(memory.untyped_storage(), value.storage_offset(), value.shape, value.stride())


def to_cpu(value):
    if isinstance(value, list | tuple):
        return type(value)(to_cpu(item) for item in value)
    return value.cpu() if isinstance(value, Tensor) else value


def on_gpu(op: Callable) -> Callable:
    """The op for tensors of the CPU: it sends them to the GPU and brings the result back."""
    return lambda *arguments: to_cpu(op(*to_gpu(arguments)))


def nms_arguments(count: int = 300, dtype=torch.float32, seed: int = 0) -> tuple:
    boxes, scores, groups = test_nms.small_world(3, count=count, seed=seed)
    return boxes.to(dtype), scores.to(dtype), groups, 0.3, 100


def match_arguments(slots: int = 20, count: int = 2000, dtype=torch.float32, seed: int = 0) -> tuple:
    ground_truths = test_match_boxes.small_world(2, slots, seed=seed, dtype=dtype)
    boxes = test_match_boxes.small_world(2, count, seed=seed + 1, dtype=dtype)
    return ground_truths, torch.arange(slots).expand(2, -1) % 5 != 4, boxes, torch.arange(count).expand(2, -1) > 3, 0.2


def cover_arguments(slots: int = 20, count: int = 2000, dtype=torch.float32, seed: int = 0) -> tuple:
    """In the second image no region is real."""
    regions = test_match_boxes.small_world(2, slots, seed=seed, dtype=dtype)
    boxes = test_match_boxes.small_world(2, count, seed=seed + 1, dtype=dtype)
    valid = torch.stack((torch.arange(slots) % 5 != 4, torch.zeros(slots).bool()))
    return boxes, regions, valid, 0.5


def crop_arguments(size: int = 28, binary: bool = True, dtype=torch.float32, seed: int = 2) -> tuple:
    bitmaps, _, rois = test_mask_targets.random_case(seed, 40, 52, 8)
    sizes = torch.tensor([[40, 52]])
    pixels = torch.cat((bitmaps.pixels, bitmaps.pixels.new_zeros(20_000)))[:20_000]  # as many for every seed
    return pixels, bitmaps.offsets[None], bitmaps.boxes[None], rois.to(dtype)[None], sizes, size, binary


def paste_arguments(
    height: int = 137, width: int = 251, padded_resize: bool = True, dtype=torch.float32, seed: int = 0
) -> tuple:
    """Masks of few values, so that probabilities of a half are everywhere; the pictures begin anywhere in a word."""
    generator = torch.Generator().manual_seed(seed)
    corners = torch.randint(-400, 1600, (20, 2), generator=generator) / 8
    boxes = torch.cat((corners, corners + torch.randint(-8, 1000, (20, 2), generator=generator) / 8), dim=1)
    masks = torch.randint(0, 3, (20, 28, 28), generator=generator) / 2
    return masks.to(dtype), boxes.to(dtype), height, width, padded_resize


def maximum_arguments(
    last: bool = True, dtype=torch.float32, channels: int = 64, size: int = 7, seed: int = 0
) -> tuple:
    layout = torch.channels_last if last else torch.contiguous_format
    feature = test_roi_pool.random_feature(channels, dtype=dtype, seed=seed).contiguous(memory_format=layout)
    rois = test_roi_pool.random_rois(70, dtype=torch.promote_types(dtype, torch.float32), seed=seed)
    return feature, rois, size, 4.0, last


def maximum_spread_arguments(
    last: bool = True, dtype=torch.float32, channels: int = 64, size: int = 7, seed: int = 0
) -> tuple:
    pooled, argmax = torch.ops.maskrcnn.roi_pool(*maximum_arguments(last, dtype, channels, size, seed))
    values = torch.randn(pooled.shape, generator=torch.Generator().manual_seed(seed))
    return pooled.copy_(values), argmax, 12, 17, last


def pool_arguments(last: bool = True, dtype=torch.float32, channels: int = 64, size: int = 7, seed: int = 0) -> tuple:
    layout = torch.channels_last if last else torch.contiguous_format
    features = roi_align.random_features(channels, dtype=dtype, seed=seed)
    rois = roi_align.random_rois(dtype=torch.promote_types(dtype, torch.float32), seed=seed)
    features = [level.contiguous(memory_format=layout) for level in features]
    return features, rois, size, roi_align.STRIDES, 2, True, roi_align.FINEST_SIZE, last


def spread_arguments(last: bool = True, dtype=torch.float32, channels: int = 64, size: int = 7, seed: int = 0) -> tuple:
    features, rois, *settings = pool_arguments(last, dtype, channels, size, seed)
    shape = (*rois.shape[:2], size, size, channels)
    gradient = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype).permute(0, 1, 4, 2, 3)
    heights, widths = [level.shape[2] for level in features], [level.shape[3] for level in features]
    return gradient if last else gradient.contiguous(), rois, heights, widths, *settings


CALLS = {
    "nms": (torch.ops.maskrcnn.nms, nms_arguments),
    "match_boxes": (torch.ops.maskrcnn.match_boxes, match_arguments),
    "covered_boxes": (torch.ops.maskrcnn.covered_boxes, cover_arguments),
    "crop_masks": (torch.ops.maskrcnn.crop_masks, crop_arguments),
    "paste_masks": (torch.ops.maskrcnn.paste_masks, paste_arguments),
    "pyramid_roi_align": (torch.ops.maskrcnn.pyramid_roi_align, pool_arguments),
    "pyramid_roi_align_backward": (torch.ops.maskrcnn.pyramid_roi_align_backward, spread_arguments),
    "roi_pool": (torch.ops.maskrcnn.roi_pool, maximum_arguments),
    "roi_pool_backward": (torch.ops.maskrcnn.roi_pool_backward, maximum_spread_arguments),
}
"""Op and arguments, on the CPU, of one call of each; arguments take a `seed`."""


def main() -> None:
    if not ops.build_information()["cuda"]:
        sys.exit("the CUDA kernels are not compiled")
    for op, make_arguments in CALLS.values():
        op(*to_gpu(make_arguments()))
        op(*to_gpu(make_arguments(dtype=torch.float64)))
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        for last in (True, False):
            for channels in (1, 13, 80):
                torch.ops.maskrcnn.pyramid_roi_align(*to_gpu(pool_arguments(last, dtype, channels)))
                torch.ops.maskrcnn.pyramid_roi_align_backward(*to_gpu(spread_arguments(last, dtype, channels, size=18)))
                torch.ops.maskrcnn.roi_pool(*to_gpu(maximum_arguments(last, dtype, channels)))
                torch.ops.maskrcnn.roi_pool_backward(*to_gpu(maximum_spread_arguments(last, dtype, channels)))
    for count in (1, 64, 65, 1000):
        torch.ops.maskrcnn.nms(*to_gpu(nms_arguments(count)))
        torch.ops.maskrcnn.match_boxes(*to_gpu(match_arguments(count, count)))
        torch.ops.maskrcnn.covered_boxes(*to_gpu(cover_arguments(count, count)))
    torch.ops.maskrcnn.crop_masks(*to_gpu(crop_arguments(14, binary=False)))
    for width in (1, 16, 1000):
        torch.ops.maskrcnn.paste_masks(*to_gpu(paste_arguments(60, width, padded_resize=False)))
    torch.cuda.synchronize()
    print("every op ran")


if __name__ == "__main__":
    main()
