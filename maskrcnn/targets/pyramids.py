"""Pyramid targets: a mask that says where in a text each cell lies (Pyramid Mask Text Detector, arXiv 1903.11800).

A binary mask is 1 all over the text, so its edges are all it says about the shape, and where annotators drew a word too
wide it says something false. A pyramid stands on the quadrilateral of the text: its height is 1 above the centre and
falls, straight, to 0 at the border. Each of its cells tells of the side that is next to it.
"""

from __future__ import annotations

import torch
from torch import Tensor


def pyramid_heights(quadrilaterals: Tensor, rois: Tensor, size: int) -> Tensor:
    """Heights (..., size, size) in [0, 1] at the centres of the cells of a grid over each RoI.

    quadrilaterals (..., 4, 2), convex, the corners in order, in the pixels of rois (..., 4). One without area has no
    height anywhere. The centre O is the mean of the corners. The paper splits the quadrilateral into triangles O, M, N,
    one for each side MN; a point P in one of them, OP = a OM + b ON, has the height max(1 - (a + b), 0). That is how
    far P is from the line MN, over how far O is; from the other three lines P is further, in these units. So the least
    of the four is the height, without asking in which triangle P lies. (`maskrcnn.reference.pyramids` asks.)
    """
    corners = quadrilaterals.to(rois.dtype)
    along = corners.roll(-1, dims=-2) - corners
    across = torch.stack((-along[..., 1], along[..., 0]), dim=-1)
    # Signed distances from the lines of the four sides, times the lengths of those; ratios know neither.
    of_centre = ((corners.mean(dim=-2, keepdim=True) - corners) * across).sum(dim=-1)  # (..., 4)
    x, y = _cell_centres(rois, size)
    in_x = (x[..., None, :] - corners[..., 0, None]) * across[..., 0, None]  # (..., 4, size)
    in_y = (y[..., None, :] - corners[..., 1, None]) * across[..., 1, None]
    of_cells = in_y[..., :, None] + in_x[..., None, :]
    of_centre = torch.where(of_centre == 0, torch.inf, of_centre)
    return (of_cells / of_centre[..., None, None]).amin(dim=-3).clamp(0.0, 1.0)


def _cell_centres(rois: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """x and y (..., size) of the columns and rows of cells over rois (..., 4)."""
    part = (torch.arange(size, device=rois.device, dtype=rois.dtype) + 0.5) / size
    x1, y1, x2, y2 = rois[..., None].unbind(dim=-2)
    return x1 + part * (x2 - x1), y1 + part * (y2 - y1)
