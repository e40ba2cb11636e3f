"""Which objects do the anchors reach? Answered from box sizes alone, before a single step of training.

The RPN can only learn objects that some anchor overlaps: one whose best anchor has IoU 0.7 is a positive example, one
below gets a single forced match or none (`RPNConfig.low_quality`), and below 0.5 that match is a poor start. Small and
very wide objects are the first to be lost, so coverage is counted by size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from maskrcnn.config import AnchorConfig, ImageConfig
from maskrcnn.data.collate import network_size
from maskrcnn.model.anchors import cell_anchors
from maskrcnn.model.fpn import FeaturePyramid

STRIDES = FeaturePyramid.strides
"""Of the pyramid levels P2 to P6."""
FAIR_IOU, GOOD_IOU = 0.5, 0.7
SIZE_EDGES = (0.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, float("inf"))
"""Between the buckets: square roots of box areas, in pixels of the network's input."""

_WORTH_SAYING = 0.02
"""What brings fewer more of the objects within reach is not suggested."""


@dataclass(frozen=True)
class SizeBucket:
    """The objects of one range of sizes, and how many of them have an anchor that overlaps them enough."""

    smallest: float
    largest: float
    """Square roots of box areas in pixels of the network's input; `largest` itself is in the next bucket."""
    objects: int
    fair: int
    """Objects whose best anchor has IoU 0.5 or more."""
    good: int
    """Objects whose best anchor has IoU 0.7 or more."""

    @property
    def name(self) -> str:
        """The range in words: "under 8", "16 to 32", "512 or more"."""
        if self.smallest == 0:
            return f"under {self.largest:g}"
        return f"{self.smallest:g} or more" if np.isinf(self.largest) else f"{self.smallest:g} to {self.largest:g}"


@dataclass(frozen=True)
class Alternative:
    """Another setting, and the share of all objects that it would reach."""

    what: str
    settings: tuple[str, ...]
    """As `--set` takes them."""
    fair: float
    good: float


@dataclass(frozen=True)
class Coverage:
    """How well anchors fit the objects of a data set."""

    buckets: tuple[SizeBucket, ...]
    """From small to large, without empty ones at either end."""
    wrong_size: int
    """Of the objects below IoU 0.5: those for which every anchor is too small or too large."""
    wrong_ratio: int
    """Those for which the anchors of their size are too wide or too tall."""
    off_grid: int
    """Those that an anchor would fit if it stood where they are: the grid is too coarse for them."""
    alternatives: tuple[Alternative, ...]
    """What would reach clearly more of them, best first."""

    @property
    def objects(self) -> int:
        """Number of objects measured."""
        return sum(bucket.objects for bucket in self.buckets)

    @property
    def fair(self) -> float:
        """Share of the objects whose best anchor has IoU 0.5 or more; 1 if there are none."""
        return sum(bucket.fair for bucket in self.buckets) / self.objects if self.objects else 1.0

    @property
    def good(self) -> float:
        """Share of the objects whose best anchor has IoU 0.7 or more; 1 if there are none."""
        return sum(bucket.good for bucket in self.buckets) / self.objects if self.objects else 1.0


def measure_coverage(
    boxes: np.ndarray,
    picture_sizes: np.ndarray,
    anchors: AnchorConfig,
    image: ImageConfig,
    strides: Sequence[int] = STRIDES,
) -> Coverage:
    """The coverage of boxes (N, 4) that lie in pictures of sizes (N, 2) = (height, width), both in original pixels.

    Pictures are scaled as `image` says they are for testing; strides: of the maps with the anchors. Boxes without area
    are left out.
    Raises ValueError if there is not one anchor size for each level.
    """
    with_area = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    boxes, picture_sizes = boxes[with_area], picture_sizes[with_area]
    scaled, padded = network_boxes(boxes, picture_sizes, image)
    ious = best_anchor_iou(scaled, padded, anchors, strides)
    causes = _causes(scaled[ious < FAIR_IOU], anchors)
    alternatives = []
    for alternative, other_anchors, other_image in _candidates(boxes, anchors, image):
        others = best_anchor_iou(*network_boxes(boxes, picture_sizes, other_image), other_anchors, strides)
        fair, good = _share(others, FAIR_IOU), _share(others, GOOD_IOU)
        if fair >= _share(ious, FAIR_IOU) + _WORTH_SAYING:
            alternatives.append(replace(alternative, fair=fair, good=good))
    alternatives.sort(key=lambda alternative: -alternative.fair)
    return Coverage(_buckets(scaled, ious), *causes, tuple(alternatives))


def network_boxes(boxes: np.ndarray, picture_sizes: np.ndarray, image: ImageConfig) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (N, 4) of pictures (N, 2) = (height, width) in pixels of the network's input, and its sizes (N, 2)."""
    distinct, which = np.unique(picture_sizes.reshape(-1, 2), axis=0, return_inverse=True)
    fitted = [network_size(*size, image) for size in distinct.tolist()]
    new = np.array(fitted, dtype=np.int64).reshape(-1, 2)
    scale = (new / distinct)[which.ravel()]
    padded = -(-new // image.size_divisor) * image.size_divisor
    return boxes * scale[:, [1, 0, 1, 0]], padded[which.ravel()]


def best_anchor_iou(
    boxes: np.ndarray, padded_sizes: np.ndarray, anchors: AnchorConfig, strides: Sequence[int] = STRIDES
) -> np.ndarray:
    """(N,) IoU of each box with the best of all anchors of its image.

    boxes (N, 4) and padded_sizes (N, 2) = (height, width) are in pixels of the network's input. Anchors of one shape
    differ only in where they stand, and along each axis the nearest to the box's centre overlaps it most. So one
    grid position for each level and ratio is enough, instead of a quarter of a million anchors.
    Raises ValueError if there is not one anchor size for each level.
    """
    if len(strides) == 1:  # a level that is alone has anchors of all sizes
        strides = tuple(strides) * len(anchors.sizes)
    if len(anchors.sizes) != len(strides):
        raise ValueError(
            f"anchors.sizes: found {len(anchors.sizes)} sizes, expected one for each of {len(strides)} levels"
        )
    best = np.zeros(len(boxes))
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    images = padded_sizes[:, ::-1]  # width, height: the order of x, y
    for size, stride in zip(anchors.sizes, strides, strict=True):
        cells = -(-images // stride)  # the network rounds odd sizes up at every stage
        steps = images // cells if anchors.stride_from_feature_size else stride
        nearest = np.clip(np.round(centres / steps), 0, cells - 1) * steps
        for cell in cell_anchors(size, anchors.ratios, anchors.round_to_pixels).double().numpy():
            placed = np.concatenate([nearest, nearest], axis=1) + cell
            best = np.maximum(best, _pairwise_iou(boxes, placed))
    return best


def _pairwise_iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(N,) IoU of the i-th of boxes (N, 4) with the i-th of others (N, 4)."""
    low, high = np.maximum(boxes[:, :2], others[:, :2]), np.minimum(boxes[:, 2:], others[:, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + (others[:, 2:] - others[:, :2]).prod(axis=1)
    return shared / (areas - shared)


def _buckets(boxes: np.ndarray, ious: np.ndarray) -> tuple[SizeBucket, ...]:
    sizes = _square_roots_of_areas(boxes)
    buckets = []
    for smallest, largest in pairwise(SIZE_EDGES):
        inside = ious[(smallest <= sizes) & (sizes < largest)]
        counts = len(inside), int((inside >= FAIR_IOU).sum()), int((inside >= GOOD_IOU).sum())
        buckets.append(SizeBucket(smallest, largest, *counts))
    filled = [index for index, bucket in enumerate(buckets) if bucket.objects]
    return tuple(buckets[filled[0] : filled[-1] + 1]) if filled else ()


def _causes(boxes: np.ndarray, anchors: AnchorConfig) -> tuple[int, int, int]:
    """How many of the missed boxes (N, 4) have no anchor of their size, of their ratio, or at their place."""
    centred = np.concatenate([boxes[:, :2] - boxes[:, 2:], boxes[:, 2:] - boxes[:, :2]], axis=1) / 2
    best = np.zeros(len(boxes))
    for size in anchors.sizes:
        for cell in cell_anchors(size, anchors.ratios, anchors.round_to_pixels).double().numpy():
            best = np.maximum(best, _pairwise_iou(centred, np.broadcast_to(cell, centred.shape)))
    off_grid = best >= FAIR_IOU
    # IoU with a concentric box of the same ratio but the anchor's area, and of the same area but the anchor's ratio.
    area_factors = (_square_roots_of_areas(boxes)[:, None] / np.array(anchors.sizes)) ** 2
    size_fit = np.minimum(area_factors, 1 / area_factors).max(axis=1, initial=0)
    sides = boxes[:, 2:] - boxes[:, :2]
    ratio_factors = (sides[:, 1:] / sides[:, :1]) / np.array(anchors.ratios)
    shared = np.sqrt(np.minimum(ratio_factors, 1 / ratio_factors).max(axis=1, initial=0))
    ratio_fit = shared / (2 - shared)
    wrong_size = ~off_grid & (size_fit <= ratio_fit)
    return int(wrong_size.sum()), int((~off_grid & ~wrong_size).sum()), int(off_grid.sum())


def _candidates(
    boxes: np.ndarray, anchors: AnchorConfig, image: ImageConfig
) -> list[tuple[Alternative, AnchorConfig, ImageConfig]]:
    """Settings worth measuring; their shares are still empty."""
    if not len(boxes):
        return []
    larger = replace(image, short_side=round(1.5 * image.short_side), long_side=round(1.5 * image.long_side))
    smaller = replace(anchors, sizes=tuple(size / 2 for size in anchors.sizes))
    sides = boxes[:, 2:] - boxes[:, :2]
    quantiles = np.quantile(sides[:, 1] / sides[:, 0], (0.05, 0.275, 0.5, 0.725, 0.95))
    ratios = tuple(sorted({float(f"{ratio:.2g}") for ratio in quantiles}))
    fitting = replace(anchors, ratios=ratios)
    both = replace(smaller, ratios=ratios)
    scale = (f"model.image.short_side={larger.short_side}", f"model.image.long_side={larger.long_side}")
    halved = f"model.anchors.sizes={_written(smaller.sizes)}"
    own_ratios = f"model.anchors.ratios={_written(ratios)}"
    return [
        (Alternative("pictures 1.5 times as large (train so, too)", scale, 0, 0), anchors, larger),
        (Alternative("anchors of half the size", (halved,), 0, 0), smaller, image),
        (Alternative("ratios as these objects have them", (own_ratios,), 0, 0), fitting, image),
        (Alternative("half the size and these ratios", (halved, own_ratios), 0, 0), both, image),
    ]


def _written(numbers: Sequence[float]) -> str:
    return "(" + ",".join(f"{number:g}" for number in numbers) + ")"


def _square_roots_of_areas(boxes: np.ndarray) -> np.ndarray:
    return np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))


def _share(ious: np.ndarray, threshold: float) -> float:
    return float((ious >= threshold).mean()) if len(ious) else 1.0
