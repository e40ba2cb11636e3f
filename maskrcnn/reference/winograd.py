"""Winograd's convolution, tile by tile and channel by channel; `maskrcnn.ops.convolution` does it for a batch.

Neighbouring results of a convolution are sums of mostly the same pixels times the same weights. Winograd's
F(4 x 4, 3 x 3) takes 4 x 4 results at once: first sums of pixels and sums of weights, then one product for each of 36
places, then sums of products. The definition has 4 * 4 * 3 * 3 = 144 products.
Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", arXiv 1509.09308, section 4.3.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

OF_PIXELS = torch.tensor(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
    dtype=torch.float64,
)
"""The paper's B^T: what each of six places gets from six pixels in a row."""
OF_WEIGHTS = (
    torch.tensor(
        [[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]],
        dtype=torch.float64,
    )
    / 24
)
"""G: what each place gets from three weights in a row."""
OF_PRODUCTS = torch.tensor(
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
    dtype=torch.float64,
)
"""A^T: what each of four results gets from the products of six places."""


def results_of_tile(tile: Tensor, kernel: Tensor) -> Tensor:
    """The 4 x 4 results of a tile (6, 6) and a kernel (3, 3), both float64."""
    pixels = OF_PIXELS @ tile @ OF_PIXELS.T
    weights = OF_WEIGHTS @ kernel @ OF_WEIGHTS.T
    return OF_PRODUCTS @ (pixels * weights) @ OF_PRODUCTS.T


def convolve_3x3(maps: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
    """maps (B, I, H, W), kernel (O, I, 3, 3) and bias (O,) in float64 -> (B, O, H, W), zeros around the maps."""
    batch, in_channels, height, width = maps.shape
    # One pixel around all, and on to the end of the last tile.
    padded = F.pad(maps, (1, 1 + -width % 4, 1, 1 + -height % 4))
    results = torch.zeros(batch, len(kernel), height + -height % 4, width + -width % 4, dtype=torch.float64)
    for image in range(batch):
        for o in range(len(kernel)):
            for y in range(0, height, 4):
                for x in range(0, width, 4):
                    for i in range(in_channels):
                        tile = padded[image, i, y : y + 6, x : x + 6]
                        results[image, o, y : y + 4, x : x + 4] += results_of_tile(tile, kernel[o, i])
    return results[:, :, :height, :width] + bias[:, None, None]
