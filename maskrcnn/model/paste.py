"""Pasting: from a mask over a box to a mask of the whole picture (paper section 3.1, "Inference").

The picture's mask is bilinear in the small one, and a bilinear look-up along one axis is a small matrix, so
pasting is two matrix products: rows (H, m) @ mask (m, m) @ columns (m, W).
"""

from __future__ import annotations

import torch
from torch import Tensor


def paste_mask(mask: Tensor, box: Tensor, height: int, width: int, convention: str = "pixel_centres") -> Tensor:
    """Probabilities (height, width) of one picture from mask (m, m) over box (4,), 0 outside the box.

    "pixel_centres": looks each pixel's centre up in the mask, which fades to 0 half a cell outside (MMDetection, who
    call a pixel part of the object from 0.5 on).
    "padded_resize": pads the mask by a ring of zeros, grows the box as much, truncates it to whole pixels and resizes
    the mask to them (torchvision and Detectron, who want more than 0.5).
    Raises ValueError for any other convention.
    """
    _require_known(convention)
    if convention == "pixel_centres":
        rows = _look_up(box[1], box[3], height, mask.shape[0])
        columns = _look_up(box[0], box[2], width, mask.shape[1])
    else:
        mask = torch.nn.functional.pad(mask, (1, 1, 1, 1))
        box = _grow(box, mask.shape[0] / (mask.shape[0] - 2)).long()
        rows = _resize(box[1], box[3], height, mask.shape[0])
        columns = _resize(box[0], box[2], width, mask.shape[1])
    return rows.to(mask.dtype) @ mask @ columns.to(mask.dtype).T


def paste_masks(masks: Tensor, boxes: Tensor, height: int, width: int, convention: str = "pixel_centres") -> Tensor:
    """Masks (N, height, width) bool from probabilities masks (N, m, m) over boxes (N, 4).

    One picture-sized float mask exists at a time: a hundred of them at two megapixels would need 800 MB.
    Raises ValueError for an unknown convention.
    """
    _require_known(convention)
    result = torch.zeros(len(masks), height, width, dtype=torch.bool, device=masks.device)
    for index, (mask, box) in enumerate(zip(masks, boxes, strict=True)):
        pasted = paste_mask(mask, box, height, width, convention)
        result[index] = pasted >= 0.5 if convention == "pixel_centres" else pasted > 0.5
    return result


def _require_known(convention: str) -> None:
    if convention not in ("pixel_centres", "padded_resize"):
        raise ValueError(f'found convention {convention!r}, expected "pixel_centres" or "padded_resize"')


def _look_up(start: Tensor, end: Tensor, length: int, cells: int) -> Tensor:
    """(length, cells): how much each cell contributes to each pixel centre; cell i is centred on i + 0.5."""
    centres = torch.arange(length, device=start.device, dtype=start.dtype) + 0.5
    extent = (end - start).clamp(min=torch.finfo(start.dtype).eps)
    position = (centres - start) / extent * cells - 0.5
    return _tent(position, cells) * (end > start)  # a box without area has no mask


def _resize(start: Tensor, end: Tensor, length: int, cells: int) -> Tensor:
    """(length, cells): bilinear resize of the cells to the whole pixels start .. end inclusive.

    Outside, the weights are those of the outermost cells or none; the mask is 0 there, so the picture is too.
    """
    pixels = torch.arange(length, device=start.device)
    count = (end - start + 1).clamp(min=1)
    position = (pixels - start + 0.5) * (cells / count) - 0.5
    return _tent(position, cells)


def _tent(position: Tensor, cells: int) -> Tensor:
    """Bilinear weights (length, cells) of positions (length,): 1 at a cell's centre, 0 one cell away."""
    return (1 - (position[:, None] - torch.arange(cells, device=position.device)).abs()).clamp(min=0)


def _grow(box: Tensor, factor: float) -> Tensor:
    centre, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2 * factor
    return torch.cat((centre - half, centre + half))
