"""What flows between the stages: Sample, Targets, Batch, Detections.

A `Sample` (`sample.py`) is one picture as a data set hands it out, in numpy. Everything after the loader is a padded
tensor: each image of a batch has the same number of slots, and a mask says which slots are real. Padding
costs a little arithmetic and buys a model without a single loop over images (design decision 2).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor
from torch.nn import functional

from maskrcnn.sample import Sample

__all__ = ["Batch", "Detections", "Sample", "Targets", "TensorFields"]


class TensorFields:
    """Moves every tensor of a frozen dataclass, also those of structures inside it, at once."""

    def to(self, device: torch.device | str, non_blocking: bool = False):
        """The same structure on `device`."""
        return self._with(lambda value: value.to(device, non_blocking=non_blocking))

    def pin_memory(self):
        """The same structure in memory that stays where it is, from which a GPU copies while Python goes on."""
        return self._with(lambda value: value.pin_memory())

    def _with(self, move: Callable[[Tensor | TensorFields], Tensor | TensorFields]):
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{n: move(v) for n, v in values.items() if isinstance(v, Tensor | TensorFields)})


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
    seeds: Tensor | None = None
    """(B,) int64: what the random samples of each image follow from, so that they do not depend on which other images
    are in the batch, or on which device. None: they are drawn from PyTorch's generator."""

    @property
    def per_slot(self) -> dict[str, Tensor]:
        """The fields that are there for each slot, (B, G, ...), by name."""
        present = {field.name: getattr(self, field.name) for field in fields(self)}
        return {n: v for n, v in present.items() if v is not None and n not in ("bitmaps", "seeds")}

    def with_slots(self, least: int) -> Targets:
        """The same ground truth in at least so many slots G; those that are added are empty."""
        missing = max(0, least - self.labels.shape[1])
        padded = {n: functional.pad(v, (0, 0) * (v.dim() - 2) + (0, missing)) for n, v in self.per_slot.items()}
        return replace(self, **padded)

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
