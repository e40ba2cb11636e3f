"""The mask target of one RoI (paper section 3, "Mask Representation"); `maskrcnn.targets.mask_targets` does a batch."""

from __future__ import annotations

import torch
from torch import Tensor

from maskrcnn import boxes as box_functions
from maskrcnn.reference.roi_align import roi_align


def mask_target(mask: Tensor, roi: Tensor, size: int, convention: str) -> Tensor:
    """The target (size, size) in [0, 1] of a whole picture's mask (H, W) of 0 and 1 for an RoI (4,).

    It is RoIAlign of the mask as if that were a feature map of stride 1: each bin is the average of as many samples as
    it has pixels. "soft" and "binary" as in `maskrcnn.targets.mask_targets.crop_masks`.
    """
    binary = convention == "binary"
    if binary:
        roi = box_functions.clip(roi[None], torch.tensor(mask.shape))[0]
    x1, y1, x2, y2 = roi.tolist()
    # Without area it is still one point, of which RoIAlign would take no sample at all.
    feature, corners = mask.to(roi.dtype)[None], (x1, y1, max(x2, x1 + 1e-9), max(y2, y1 + 1e-9))
    (average,) = roi_align(feature, corners, size, scale=1.0, sampling_ratio=0, aligned=binary)
    return (average >= 0.5).to(average.dtype) if binary else average
