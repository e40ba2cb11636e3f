"""Random boxes, outlines, masks and statistics that several tests share."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from maskrcnn.data.polygons import bounds


def random_boxes(*shape: int, seed: int, extent: float = 100.0) -> Tensor:
    """(*shape, 4) float64 boxes of at least one pixel a side, inside a square of `extent` pixels."""
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(*shape, 2, generator=generator, dtype=torch.float64) * (extent - 1)
    size = 1 + torch.rand(*shape, 2, generator=generator, dtype=torch.float64) * (extent - 1 - corner)
    return torch.cat((corner, corner + size), dim=-1)


def small_world(*shape: int, seed: int, dtype: torch.dtype) -> torch.Tensor:
    """Boxes (*shape, 4) with corners from so few values that equal IoUs are common, some without area."""
    generator = torch.Generator().manual_seed(seed)
    corners = torch.randint(0, 9, (*shape, 2), generator=generator)
    sizes = torch.randint(0, 6, (*shape, 2), generator=generator)
    return torch.cat((corners, corners + sizes), dim=-1).to(dtype)


def hostile_boxes(cases: int, few: int, dtype: torch.dtype = torch.float32) -> Iterator[tuple[Tensor, Tensor]]:
    """So many times boxes (40, 4), half of them with corners of any kind, and `few` of them again."""
    inf, nan = torch.inf, torch.nan
    values = torch.tensor([nan, inf, -inf, 0.0, -0.0, 1.0, 2.0, 5.0, -3.0, 3e38, -3e38, 1e30, 1e-40]).to(dtype)
    generator = torch.Generator().manual_seed(3)
    for seed in range(cases):
        boxes = values[torch.randint(0, len(values), (40, 4), generator=generator)]
        boxes[::2] = small_world(20, seed=seed, dtype=dtype)
        yield boxes, boxes[torch.randperm(40, generator=generator)[:few]]


def random_quadrilateral(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Clockwise, 40 to 110 pixels wide, 20 to 40 high, turned by up to 40 degrees, within the picture."""
    w, h, angle = rng.uniform(40, 110), rng.uniform(20, 40), np.radians(rng.uniform(-40, 40))
    corners = np.array([[-w, -h], [w, -h], [w, h], [-w, h]]) / 2 + rng.uniform(-4, 4, (4, 2))
    corners = corners @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    low, high = bounds(corners)[:2], bounds(corners)[2:]
    return corners + rng.uniform(-low, (width, height) - high)


def random_statistics(norm, seed=0):
    """Fills a normalisation layer with numbers that all matter."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value, low, high in (
            (norm.weight, 0.5, 2.0),
            (norm.bias, -1.0, 1.0),
            (norm.running_mean, -1.0, 1.0),
            (norm.running_var, 0.3, 3.0),
        ):
            value.copy_(low + (high - low) * torch.rand(value.shape, generator=generator))
    return norm
