"""Mask targets: the part of each object's mask that lies in its RoI, at the resolution of the mask head.

It is RoIAlign of a one-channel image, with as many sample points per bin as the bin has pixels (paper section 3:
"the mask target is the intersection between an RoI and its associated ground-truth mask").
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from maskrcnn import ops
from maskrcnn.slots import gather_rows
from maskrcnn.structures import Targets
from maskrcnn.targets.pyramids import pyramid_heights


class Bitmaps(NamedTuple):
    """One box-cropped bitmap for each of (..., N) RoIs; see `structures.Targets`."""

    pixels: Tensor
    """(M,) uint8, the bitmaps of the whole batch one after another."""
    offsets: Tensor
    """(..., N) int64: where each RoI's bitmap starts."""
    boxes: Tensor
    """(..., N, 4) int64: the whole pixels x1, y1, x2, y2 that each bitmap covers; outside it the mask is 0."""


def mask_targets(
    targets: Targets, ground_truth: Tensor, rois: Tensor, image_sizes: Tensor, size: int, convention: str
) -> Tensor:
    """What the mask head should say of rois (B, R, 4) of the objects in the slots ground_truth (B, R).

    (B, R, size, size) in [0, 1]; image_sizes (B, 2). convention: `MaskHeadConfig.targets`, "pyramid" or one of
    `crop_masks`. Raises ValueError for pyramids over targets that have no quadrilaterals.
    """
    if convention == "pyramid":
        if targets.quadrilaterals is None:
            raise ValueError("found objects of several polygons, expected texts of one each for pyramid targets")
        return pyramid_heights(gather_rows(targets.quadrilaterals, ground_truth), rois, size)
    bitmaps = Bitmaps(
        targets.bitmaps,
        gather_rows(targets.bitmap_offsets, ground_truth),
        gather_rows(targets.bitmap_boxes, ground_truth),
    )
    return crop_masks(bitmaps, rois, image_sizes, size, convention)


def crop_masks(bitmaps: Bitmaps, rois: Tensor, image_sizes: Tensor, size: int, convention: str) -> Tensor:
    """Mask targets (..., N, size, size) in [0, 1] for rois (..., N, 4) in images of image_sizes (..., 2).

    convention "binary": the RoI is clipped to its image, sampled with the half-pixel shift, and 1 where the average
    is at least a half (MMDetection). "soft": not clipped, not shifted, at least one pixel long, fractions kept
    (torchvision).
    """
    return ops.crop_masks(*bitmaps, rois, image_sizes, size=size, convention=convention)
