"""What flows between the stages: Sample, Targets, Batch, Detections.

A `Sample` is one picture as a data set hands it out, in numpy. Everything after the loader is a padded
tensor: each image of a batch has the same number of slots, and a mask says which slots are real. Padding
costs a little arithmetic and buys a model without a single loop over images (design decision 2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Sample:
    """One picture and what is in it, before it becomes part of a `Batch`.

    A polygon may leave the picture only after a transform that says so; readers clip nothing.
    """

    name: str
    """What errors and result files call this picture, usually its file name (`img_12.jpg`)."""
    image: np.ndarray
    """(H, W, 3) uint8, RGB."""
    polygons: tuple[np.ndarray, ...]
    """Arrays (P, 2), float64: the x, y corners of each object in continuous pixels, any P >= 3. One for each object,
    or, where `part_of` says so, several."""
    labels: np.ndarray
    """(G,) int64 class of each object; 1 is the first class."""
    ignore: np.ndarray
    """(G,) bool: don't-care words and crowds, neither object nor background."""
    transcriptions: tuple[str, ...] = ()
    """G strings, or none at all when the data set has no text."""
    part_of: np.ndarray | None = None
    """(number of polygons,) int64: the object that each polygon is a part of, ascending; no object is without one.
    A pixel belongs to an object if it is in any of its parts. None: polygon i is object i, as in every text data set.
    """
    keypoints: np.ndarray | None = None
    """(G, J, 3) float64: x, y in continuous pixels and visibility v of J named points of each object: 2 visible,
    1 known but hidden, 0 not labelled, and then x = y = 0. None where the data set has none."""
    keypoint_names: tuple[str, ...] = ()
    """J names, of which a mirror image swaps those that differ in left and right (`maskrcnn.person`)."""

    def __post_init__(self) -> None:
        count = len(self.polygons) if self.part_of is None else len(self.labels)
        what = "polygons" if self.part_of is None else "objects"
        if self.image.ndim != 3 or self.image.shape[2] != 3 or self.image.dtype != np.uint8:
            raise ValueError(
                f"{self.name}: image must be (H, W, 3) uint8, found {self.image.shape} {self.image.dtype}"
            )
        if self.labels.shape != (count,) or self.ignore.shape != (count,):
            raise ValueError(
                f"{self.name}: {count} {what} need as many labels and ignore flags, "
                f"found {self.labels.shape} and {self.ignore.shape}"
            )
        if self.transcriptions and len(self.transcriptions) != count:
            raise ValueError(f"{self.name}: {count} {what} but {len(self.transcriptions)} transcriptions")
        for polygon in self.polygons:
            if polygon.ndim != 2 or polygon.shape[1] != 2 or len(polygon) < 3:
                raise ValueError(f"{self.name}: a polygon must be (P >= 3, 2), found {polygon.shape}")
        if self.part_of is not None:
            self._check_parts(self.part_of, count)
        if self.keypoints is not None and self.keypoints.shape != (count, len(self.keypoint_names), 3):
            raise ValueError(
                f"{self.name}: keypoints must be ({count}, {len(self.keypoint_names)}, 3) for {count} objects and "
                f"{len(self.keypoint_names)} names, found {self.keypoints.shape}"
            )

    def _check_parts(self, part_of: np.ndarray, count: int) -> None:
        # Ascending and without a gap: from the -1 before the first to the `count` behind the last in steps of 0 or 1.
        steps = np.diff(part_of.ravel(), prepend=-1, append=count)
        in_order = np.isin(steps, (0, 1)).all() and steps[0] == steps[-1] == 1
        if part_of.shape != (len(self.polygons),) or not in_order:
            raise ValueError(
                f"{self.name}: part_of must name the object of each of {len(self.polygons)} polygons, ascending, "
                f"none of {count} objects without one; found {part_of.tolist()}"
            )

    @property
    def parts(self) -> tuple[tuple[np.ndarray, ...], ...]:
        """The polygons of each of the G objects."""
        if self.part_of is None:
            return tuple((polygon,) for polygon in self.polygons)
        ends = np.searchsorted(self.part_of, np.arange(len(self.labels) + 1)).tolist()
        return tuple(self.polygons[start:end] for start, end in pairwise(ends))

    @property
    def boxes(self) -> np.ndarray:
        """(G, 4) float64: the bounds x1, y1, x2, y2 of each object's polygons."""
        if not self.polygons:
            return np.zeros((0, 4))
        boxes = np.stack([np.concatenate([p.min(axis=0), p.max(axis=0)]) for p in self.polygons])
        if self.part_of is None:
            return boxes
        first = np.searchsorted(self.part_of, np.arange(len(self.labels)))
        low, high = np.minimum.reduceat(boxes[:, :2], first), np.maximum.reduceat(boxes[:, 2:], first)
        return np.concatenate([low, high], axis=1)

    def only(self, objects: Sequence[int] | np.ndarray) -> Sample:
        """The same picture with some of its G objects: their numbers, ascending."""
        chosen = np.asarray(objects, dtype=np.int64)
        of_all = self.parts
        parts = [of_all[index] for index in chosen]
        return replace(
            self,
            polygons=tuple(polygon for polygons in parts for polygon in polygons),
            labels=self.labels[chosen],
            ignore=self.ignore[chosen],
            transcriptions=tuple(self.transcriptions[index] for index in chosen) if self.transcriptions else (),
            part_of=None if self.part_of is None else np.repeat(np.arange(len(parts)), [len(part) for part in parts]),
            keypoints=None if self.keypoints is None else self.keypoints[chosen],
        )


class TensorFields:
    """Moves every tensor of a frozen dataclass to a device at once."""

    def to(self, device: torch.device | str, non_blocking: bool = False):
        """The same structure with every tensor (also those of nested structures) on `device`."""
        moved = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensor | TensorFields):
                moved[field.name] = value.to(device, non_blocking=non_blocking)
        return replace(self, **moved)


@dataclass(frozen=True)
class Targets(TensorFields):
    """The ground truth of B images in G slots each.

    A (B, G, H, W) mask tensor would be 1.7 GB for 16 images of COCO, so each object keeps only the part of
    its bitmap inside its own box, all of them one after another in a flat byte tensor.
    """

    boxes: Tensor
    """(B, G, 4) float32, in pixels of the padded batch image; zeros in empty slots."""
    labels: Tensor
    """(B, G) int64, 1 is the first class, 0 means "nothing here"."""
    valid: Tensor
    """(B, G) bool: the slot holds an object to be found. Never true where `ignore` is."""
    ignore: Tensor
    """(B, G) bool: the slot holds a don't-care region, which attracts nothing and repels nothing."""
    bitmaps: Tensor
    """(N,) uint8, 0 or 1: the box-cropped bitmaps, each row-major, one after another."""
    bitmap_boxes: Tensor
    """(B, G, 4) int64: the whole pixels x1, y1, x2, y2 that each bitmap covers; zeros in empty slots."""
    bitmap_offsets: Tensor
    """(B, G) int64: where each bitmap starts in `bitmaps`."""
    keypoints: Tensor | None = None
    """(B, G, J, 3) float32: x, y in pixels of the padded batch image, and the visibility v of `Sample.keypoints`;
    zeros in empty slots. None where there are none."""
    quadrilaterals: Tensor | None = None
    """(B, G, 4, 2) float32: the corners, in order, of the convex quadrilateral of each text, in pixels of the padded
    batch image; zeros in empty slots. None where an object may have several polygons, as in COCO."""

    def full_masks(self, height: int, width: int) -> Tensor:
        """(B, G, height, width) bool masks, for readers and tests; the model never forms them."""
        batch, slots = self.labels.shape
        masks = torch.zeros(batch, slots, height, width, dtype=torch.bool)
        for image in range(batch):
            for slot in range(slots):
                x1, y1, x2, y2 = self.bitmap_boxes[image, slot].tolist()
                start = int(self.bitmap_offsets[image, slot])
                bitmap = self.bitmaps[start : start + (y2 - y1) * (x2 - x1)].reshape(y2 - y1, x2 - x1)
                masks[image, slot, y1:y2, x1:x2] = bitmap.bool()[: max(height - y1, 0), : max(width - x1, 0)]
        return masks


@dataclass(frozen=True)
class Batch(TensorFields):
    """B images, normalised and padded to one size, and where they came from."""

    images: Tensor
    """(B, 3, H, W) float32: RGB, normalised, zeros below and to the right of each image."""
    image_sizes: Tensor
    """(B, 2) int64: height, width of each image inside `images`, before padding."""
    original_sizes: Tensor
    """(B, 2) int64: height, width of each picture before it was resized; detections are given in its pixels."""
    names: tuple[str, ...]
    """B names, for messages and result files."""
    targets: Targets | None = None

    @property
    def size(self) -> int:
        """B, the number of images."""
        return self.images.shape[0]


@dataclass(frozen=True)
class Detections(TensorFields):
    """What was found in B images, best first, in D slots each, in pixels of the original pictures."""

    boxes: Tensor
    """(B, D, 4) float32."""
    scores: Tensor
    """(B, D) float32, falling along D; 0 in empty slots."""
    labels: Tensor
    """(B, D) int64, 0 in empty slots."""
    valid: Tensor
    """(B, D) bool; the real slots come first."""
    masks: Tensor | None = None
    """(B, D, m, m) float32 in [0, 1] over each box (28 x 28 in the paper), or None without a mask head: probabilities,
    or with pyramid targets heights (`maskrcnn.targets.pyramids`), whose contour at 1/2 is half the text."""
    keypoints: Tensor | None = None
    """(B, D, J, 3) float32: x, y in pixels of the original picture, and the score of each point, the logit at the
    peak of its heat map; zeros in empty slots. None without a keypoint head."""
