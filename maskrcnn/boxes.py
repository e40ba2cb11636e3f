"""Boxes (x1, y1, x2, y2): area, IoU, clipping, and the encoding that the network regresses.

Every function takes any leading dimensions: (N, 4) for one image, (B, N, 4) for a batch.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

LARGEST_LOG_SCALE = math.log(1000.0 / 16.0)
"""dw and dh are clamped here before exp: no box becomes more than 62.5 times as large as its anchor."""


def area(boxes: Tensor) -> Tensor:
    """Areas (..., N) in square pixels of boxes (..., N, 4); a box with swapped corners has area 0."""
    sides = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0)
    return sides[..., 0] * sides[..., 1]


def intersection(boxes: Tensor, others: Tensor) -> Tensor:
    """Shared areas (..., N, M) in square pixels of each of boxes (..., N, 4) with each of others (..., M, 4)."""
    # One coordinate at a time, (..., N, 1) against (..., M): long rows of numbers, where pairs would be slow.
    x1, y1, x2, y2 = (corner[..., :, None] for corner in boxes.unbind(-1))
    other_x1, other_y1, other_x2, other_y2 = others.mT.contiguous()[..., :, None, :].unbind(-3)
    width = torch.minimum(x2, other_x2) - torch.maximum(x1, other_x1)
    height = torch.minimum(y2, other_y2) - torch.maximum(y1, other_y1)
    return width.clamp_(min=0) * height.clamp_(min=0)


def iou(boxes: Tensor, others: Tensor) -> Tensor:
    """Intersection over union (..., N, M), in [0, 1], of each of boxes (..., N, 4) with each of others (..., M, 4).

    Two boxes without any area have IoU 0, not NaN.
    """
    shared = intersection(boxes, others)
    union = area(boxes)[..., :, None] + area(others)[..., None, :] - shared
    return shared / union.clamp(min=torch.finfo(union.dtype).tiny)


def clip(boxes: Tensor, sizes: Tensor) -> Tensor:
    """Boxes (..., N, 4) cut to images of sizes (..., 2) = (height, width): x in [0, width], y in [0, height]."""
    height, width = sizes[..., None, 0].to(boxes.dtype), sizes[..., None, 1].to(boxes.dtype)
    limits = torch.stack((width, height, width, height), dim=-1)
    return torch.minimum(boxes.clamp(min=0), limits)


def encode(boxes: Tensor, references: Tensor, weights: tuple[float, float, float, float]) -> Tensor:
    """Deltas (..., 4) that `decode` would turn `references` (..., 4) into `boxes` (..., 4) with.

    dx = (gx - px) / pw,  dy = (gy - py) / ph,  dw = ln(gw / pw),  dh = ln(gh / ph), times `weights`:
    the centre moves in units of the reference's size, and the size changes by a factor, so that one delta means the
    same thing for a small box and for a large one. Fast R-CNN (arXiv 1504.08083) section 2.3, R-CNN appendix C.

    A side of length 0 is read as a tiny one, so that padding cannot put an infinity into a loss.
    """
    centre, size = _centre_and_size(boxes)
    reference_centre, reference_size = _centre_and_size(references)
    tiny = torch.finfo(references.dtype).eps
    reference_size = reference_size.clamp(min=tiny)
    shift = (centre - reference_centre) / reference_size
    log_scale = (size.clamp(min=tiny) / reference_size).log()
    return torch.cat((shift, log_scale), dim=-1) * _weights(weights, references)


def decode(
    deltas: Tensor, references: Tensor, weights: tuple[float, float, float, float], clamp_both_sides: bool = True
) -> Tensor:
    """Boxes (..., 4): `references` (..., 4) moved and scaled by `deltas` (..., 4), the inverse of `encode`.

    dw and dh are clamped to at most ln(1000 / 16), since exp of a wild prediction overflows; `clamp_both_sides`
    clamps them from below as well (MMDetection does, torchvision does not).
    """
    deltas = deltas / _weights(weights, deltas)
    centre, size = _centre_and_size(references)
    lowest = -LARGEST_LOG_SCALE if clamp_both_sides else None
    new_centre = centre + deltas[..., :2] * size
    new_size = size * deltas[..., 2:].clamp(min=lowest, max=LARGEST_LOG_SCALE).exp()
    return torch.cat((new_centre - new_size / 2, new_centre + new_size / 2), dim=-1)


def _centre_and_size(boxes: Tensor) -> tuple[Tensor, Tensor]:
    size = boxes[..., 2:] - boxes[..., :2]
    return boxes[..., :2] + size / 2, size


def _weights(weights: tuple[float, float, float, float], like: Tensor) -> Tensor:
    # Four separate fills instead of torch.tensor(...): on a GPU that would copy from the host in every call.
    return torch.stack([like.new_full((), weight) for weight in weights])
