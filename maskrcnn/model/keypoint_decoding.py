"""From heat maps to points (paper section 5; the enlargement is Detectron's, as in torchvision).

Each map is enlarged bicubically to as many cells as its RoI has pixels, and the point is the cell with the highest
value. RoIs differ in size, but a batch must not (design decision 2). Enlarging is linear in each direction, so here
it is two matrix products, with matrices for the largest RoI that there could be: the rows and columns that a smaller
RoI does not have repeat its last ones, and never hold a higher value. Only a band of rows exists at a time.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor

MOST_VALUES = 2**26
"""How many values of the enlarged maps exist at a time, unless a single row of all of them has more: 256 MiB."""
LONGEST_SIDE = 2**20
"""Of pictures, in pixels: no image so large fits the memory of any machine, and decoding would take hours."""
COMPILED_BANDS = 32
"""In how many parts they come in a compiled program: 230 MB at a time of 100 people in a picture of 800 x 1344."""

_REACH = 2
"""Cells on either side that a value depends on."""


def decode_keypoints(heat_maps: Tensor, rois: Tensor, largest: tuple[int, int]) -> Tensor:
    """(N, J, 3) x, y and score of the peaks of heat_maps (N, J, m, m) over rois (N, 4), in the RoIs' coordinates.

    The score is the enlarged map's value, and of equal ones the first counts. largest: a height and a width in pixels
    that no RoI exceeds; the work grows with them, not with the RoIs. Where asking for sizes costs nothing, see
    `decode_each`. Everything is computed in the dtype of its arguments, also under autocast. Raises ValueError for
    more than LONGEST_SIDE pixels.
    """
    size = heat_maps.shape[-1]
    sides = (rois[:, 2:] - rois[:, :2]).clamp(min=1)
    whole_sides = sides.ceil()  # (N, 2): width, height
    bands = _bands(heat_maps, largest)
    rows_of_band = -(-largest[0] // bands)
    with _all_digits(rois.device):
        inside = torch.arange(-_REACH, size + _REACH, device=rois.device).clamp(0, size - 1)
        padded = heat_maps[:, :, inside[:, None], inside]  # (N, J, m + 4, m + 4): the outermost cells go on
        maps = padded.transpose(1, 2).flatten(2)  # (N, m + 4, J * (m + 4)): rows first, since they are mixed first
        x = torch.arange(largest[1], device=rois.device)
        across = _enlargement(whole_sides[:, 0], x, size).mT  # (N, m + 4, largest width)
        highest, column = [], []
        for band in range(bands):
            y = torch.arange(rows_of_band, device=rois.device) + band * rows_of_band
            down = _enlargement(whole_sides[:, 1], y, size)  # (N, rows, m + 4)
            rows = (down @ maps).unflatten(2, padded.shape[1::2])  # (N, rows, J, m + 4)
            in_row = (rows.flatten(1, 2) @ across).max(dim=-1)
            highest.append(in_row.values.unflatten(1, rows.shape[1:3]))
            column.append(in_row.indices.unflatten(1, rows.shape[1:3]))
    score, row = torch.cat(highest, dim=1).max(dim=1)  # (N, J)
    column = torch.cat(column, dim=1).gather(1, row[:, None])[:, 0]
    cell = torch.minimum(torch.stack((column, row), dim=-1), whole_sides[:, None] - 1)
    points = (cell + 0.5) * (sides / whole_sides)[:, None] + rois[:, None, :2]
    return torch.cat((points, score[..., None]), dim=-1)


def decode_each(heat_maps: Tensor, rois: Tensor) -> Tensor:
    """`decode_keypoints` of heat maps (N, J, m, m) in RoIs (N, 4) -> (N, J, 3), each RoI at its own size.

    Less work, but the sizes have to be read: a GPU would wait for it.
    """
    sizes = (rois[:, 2:] - rois[:, :2]).clamp(min=1).ceil().long().tolist()
    decoded = [
        decode_keypoints(heat_maps[i : i + 1], rois[i : i + 1], (height, width))
        for i, (width, height) in enumerate(sizes)
    ]
    return torch.cat(decoded) if decoded else heat_maps.new_zeros(0, heat_maps.shape[1], 3)


def scale_keypoints(keypoints: Tensor, image_sizes: Tensor, original_sizes: Tensor) -> Tensor:
    """Keypoints (B, D, J, 3) of resized images (B, 2: height, width) in pixels of the originals (B, 2)."""
    factor = original_sizes.to(keypoints.dtype) / image_sizes.to(keypoints.dtype)
    return keypoints * F.pad(factor.flip(-1), (0, 1), value=1.0)[:, None, None]


def _all_digits(device: torch.device) -> AbstractContextManager:
    """No autocast inside: rounded to half the digits, many cells would share the highest value."""
    if torch.amp.is_autocast_available(device.type):  # not on the device "meta"
        return torch.autocast(device.type, enabled=False)
    return nullcontext()


def _bands(heat_maps: Tensor, largest: tuple[int, int]) -> int:
    """How many bands of rows the enlarged maps come in; a compiled program has the same number for all sizes."""
    if torch.compiler.is_compiling():
        return COMPILED_BANDS
    if max(largest) > LONGEST_SIDE:
        raise ValueError(f"decode_keypoints: largest must be at most {LONGEST_SIDE:,} pixels, found {largest}")
    values_of_row = heat_maps.shape[0] * heat_maps.shape[1] * max(largest[1], heat_maps.shape[-1])
    return -(-largest[0] // max(1, MOST_VALUES // max(1, values_of_row)))


def _enlargement(lengths: Tensor, pixels: Tensor, size: int) -> Tensor:
    """(N, M, size + 4): how much each of size + 4 cells counts for pixels (M,) of a side of lengths (N,) pixels.

    Behind the last pixel, its weights are repeated.
    """
    pixel = torch.minimum(pixels, lengths[:, None] - 1)
    position = (pixel + 0.5) * (size / lengths)[:, None] - 0.5  # in cells; the centre of cell i is i
    cell = torch.arange(-_REACH, size + _REACH, device=lengths.device)
    return _cubic((position[..., None] - cell).abs())


def _cubic(distance: Tensor) -> Tensor:
    """The weight of a cell at a distance in cells: Keys' cubic convolution, slope -3/4 as in OpenCV and PyTorch."""
    near = (1.25 * distance - 2.25) * distance * distance + 1
    far = ((-0.75 * distance + 3.75) * distance - 6) * distance + 3
    return torch.where(distance <= 1, near, torch.where(distance < 2, far, 0.0))
