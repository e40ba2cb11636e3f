"""Anchors: the boxes that the RPN starts from, the same at every cell (Faster R-CNN section 3.1.1, FPN section 4.1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from maskrcnn.config import AnchorConfig


def cell_anchors(size: float, ratios: Sequence[float], round_to_pixels: bool) -> Tensor:
    """Anchors (len(ratios), 4) float32 of one cell, centred on (0, 0).

    Each has the area size**2; ratio = height / width, so width = size / sqrt(ratio), height = size * sqrt(ratio).
    `round_to_pixels` rounds the half extents, half to even, as torchvision does.
    """
    ratio = torch.tensor(ratios, dtype=torch.float32)
    half_width, half_height = size / ratio.sqrt() / 2, size * ratio.sqrt() / 2
    anchors = torch.stack((-half_width, -half_height, half_width, half_height), dim=1)
    return anchors.round() if round_to_pixels else anchors


def grid_anchors(cell: Tensor, grid: tuple[int, int], stride: tuple[float, float]) -> Tensor:
    """Anchors (rows * columns * len(cell), 4): those of cell (N, 4) at every cell of a grid = (rows, columns).

    stride = (stride_y, stride_x): like the grid, y comes first. Cell (row, column) has its anchors centred on its
    corner (column * stride_x, row * stride_y), without half a stride added. Order: row by row, then column, then
    anchor, as the RPN's outputs flatten.
    """
    y = torch.arange(grid[0], device=cell.device, dtype=cell.dtype) * stride[0]
    x = torch.arange(grid[1], device=cell.device, dtype=cell.dtype) * stride[1]
    centre_y, centre_x = torch.meshgrid(y, x, indexing="ij")
    centres = torch.stack((centre_x, centre_y, centre_x, centre_y), dim=-1)  # (rows, columns, 4)
    return (centres[:, :, None] + cell).reshape(-1, 4)


class AnchorGenerator(nn.Module):
    """The anchors of a whole pyramid. The few of one cell are kept as buffers, so they live where the model does."""

    def __init__(self, config: AnchorConfig, strides: Sequence[int]) -> None:
        """strides: the network's L strides. A level that is alone has anchors of all sizes (Faster R-CNN); otherwise
        raises ValueError if there is not one anchor size for every level."""
        super().__init__()
        sizes_of_levels = [config.sizes] if len(strides) == 1 else [(size,) for size in config.sizes]
        if len(sizes_of_levels) != len(strides):
            found, levels = len(config.sizes), len(strides)
            raise ValueError(f"anchors.sizes: found {found}, expected one for each of the {levels} levels")
        self.strides = tuple(strides)
        self.stride_from_feature_size = config.stride_from_feature_size
        for level, sizes in enumerate(sizes_of_levels):
            cell = torch.cat([cell_anchors(size, config.ratios, config.round_to_pixels) for size in sizes])
            self.register_buffer(f"cell_{level}", cell, persistent=False)
        self.anchors_per_cell = len(cell)

    def forward(self, grids: Sequence[tuple[int, int]], image_size: tuple[int, int]) -> list[Tensor]:
        """L tensors (rows_l * columns_l * anchors_per_cell, 4), in pixels of the padded images.

        grids: the (rows, columns) of each level's feature map; image_size: (height, width) of the padded images. It
        matters only with `stride_from_feature_size`: 800 pixels over 13 rows stride 61, the network's stride is 64.
        """
        anchors = []
        for level, (grid, stride) in enumerate(zip(grids, self.strides, strict=True)):
            steps = (float(stride), float(stride))
            if self.stride_from_feature_size:
                steps = (torch.sym_float(image_size[0] // grid[0]), torch.sym_float(image_size[1] // grid[1]))
            anchors.append(grid_anchors(getattr(self, f"cell_{level}"), grid, steps))
        return anchors
