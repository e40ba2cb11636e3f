"""From a mask over a box to a mask of the whole picture: `paste_masks`."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from maskrcnn.ops.checks import require_floating_point, require_same_device, require_whole_number, shape_of


def paste_masks(masks: Tensor, boxes: Tensor, *, height: int, width: int, convention: str) -> Tensor:
    """Masks of the whole picture from masks over boxes (Mask R-CNN section 3.1, "Inference").

    Args:
        masks: (..., N, m, m) probabilities of the cells of a grid over each box.
        boxes: (..., N, 4) in pixels of the picture.
        height, width: H and W of the picture.
        convention: "pixel_centres" looks the centre of each pixel up in the mask, bilinearly, and gives true from 0.5
            on (MMDetection). "padded_resize" pads the mask by a ring of zeros, lets the box grow as much, truncates it
            to whole pixels, resizes the mask to them, and gives true above 0.5 (torchvision and Detectron).

    Returns:
        (..., N, H, W) bool, and nothing of that size besides. There is no gradient.

    Outside the box a mask is 0, towards which it fades within half a cell. A box that is not finite pastes nothing.
    One without area, or with swapped corners, pastes nothing by "pixel_centres", and by "padded_resize" the pixels
    that truncating leaves, since the last one counts. No pixel between cells of which one is NaN is true.

    The two thresholds are part of their conventions. For another one, ask where a mask reaches it, not where the
    pasted one does: `maskrcnn.text_outlines.mask_outlines` finds them without any picture. 16-bit floats, also under
    autocast, are interpolated in float32.

    Raises:
        TypeError: an argument of the wrong type or dtype.
        ValueError: sizes or devices that do not fit together, a negative size, or an unknown convention.
    """
    require_floating_point("paste_masks", masks=masks, boxes=boxes)
    if convention not in ("pixel_centres", "padded_resize"):
        raise ValueError(f'paste_masks: convention must be "pixel_centres" or "padded_resize", found {convention!r}')
    require_whole_number("paste_masks", height=height, width=width)
    if height < 0 or width < 0:
        raise ValueError(f"paste_masks: height and width must not be negative, found {height} and {width}")
    if masks.dim() < 3 or masks.shape[-1] != masks.shape[-2] or masks.shape[-1] == 0:
        raise ValueError(f"paste_masks: masks must be (..., N, m, m) with cells, found {shape_of(masks)}")
    if boxes.shape != (*masks.shape[:-2], 4):
        raise ValueError(f"paste_masks: boxes must be {(*masks.shape[:-2], 4)} like the masks, found {shape_of(boxes)}")
    require_same_device("paste_masks", masks=masks, boxes=boxes)

    leading, cells = masks.shape[:-2], masks.shape[-1]
    dtype = torch.promote_types(torch.promote_types(masks.dtype, boxes.dtype), torch.float32)
    pictures = torch.ops.maskrcnn.paste_masks(
        masks.detach().to(dtype).reshape(math.prod(leading), cells, cells),
        boxes.detach().to(dtype).reshape(math.prod(leading), 4),
        height,
        width,
        convention == "padded_resize",
    )
    return pictures.reshape(*leading, height, width)
