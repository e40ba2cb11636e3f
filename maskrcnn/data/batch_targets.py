"""Ground truth as the network takes it: padded tensors of boxes and classes, bitmaps, quadrilaterals, keypoints."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch

from maskrcnn.data.polygons import convex_quadrilateral, pixel_box, rasterize_parts
from maskrcnn.sample import Sample
from maskrcnn.structures import Targets

Ignored = Literal["ignore", "background", "paint", "object"]


class ObjectsLeftOut(UserWarning):
    """Some objects of a picture lie outside it, so nothing of them can be learnt."""


def batch_targets(samples: Sequence[Sample], sizes: list[list[int]], ignored: Ignored, slots: int | None) -> Targets:
    """Targets of B samples whose points are already in pixels of the images of `sizes`, height and width each.

    ignored, slots and what is raised: as of `maskrcnn.data.collate.collate`.

    A pixel is part of an object if its centre lies in one of its polygons (`maskrcnn.data.polygons.rasterize`), moved
    to where the network sees them. COCO's evaluation draws polygons by a rule of its own, which differs in pixels
    that a border halves (`maskrcnn.ops.run_length`), and at the size of the original; MMDetection and torchvision draw
    so as well, and resize the bitmap.
    """
    objects = [_objects(sample, size, ignored) for sample, size in zip(samples, sizes, strict=True)]
    shape = (len(samples), max(1, slots or 0, *map(len, objects)))
    boxes, bitmap_boxes = np.zeros((*shape, 4), np.float32), np.zeros((*shape, 4), np.int64)
    labels, offsets = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    valid, ignore = np.zeros(shape, bool), np.zeros(shape, bool)
    keypoints = _empty_keypoints(samples, shape)
    one_each = all(sample.part_of is None for sample in samples)
    quadrilaterals = np.zeros((*shape, 4, 2), np.float32) if one_each else None
    bitmaps, length = [np.zeros(0, np.uint8)], 0
    for image, (sample, (height, width)) in enumerate(zip(samples, sizes, strict=True)):
        parts = sample.parts
        for slot, (index, box) in enumerate(objects[image]):
            bitmap_box = pixel_box(np.concatenate(parts[index]), height, width)
            bitmaps.append(rasterize_parts(parts[index], bitmap_box).reshape(-1))
            boxes[image, slot], bitmap_boxes[image, slot] = box, bitmap_box
            labels[image, slot], offsets[image, slot] = sample.labels[index], length
            ignore[image, slot], valid[image, slot] = sample.ignore[index], not sample.ignore[index]
            length += len(bitmaps[-1])
            if keypoints is not None:
                keypoints[image, slot] = sample.keypoints[index]
            if quadrilaterals is not None:
                quadrilaterals[image, slot] = convex_quadrilateral(sample.polygons[index])
    return Targets(
        boxes=torch.from_numpy(boxes),
        labels=torch.from_numpy(labels),
        valid=torch.from_numpy(valid),
        ignore=torch.from_numpy(ignore),
        bitmaps=torch.from_numpy(np.concatenate(bitmaps)),
        bitmap_boxes=torch.from_numpy(bitmap_boxes),
        bitmap_offsets=torch.from_numpy(offsets),
        keypoints=None if keypoints is None else torch.from_numpy(keypoints),
        quadrilaterals=None if quadrilaterals is None else torch.from_numpy(quadrilaterals),
    )


def _empty_keypoints(samples: Sequence[Sample], shape: tuple[int, int]) -> np.ndarray | None:
    """Zeros (B, G, J, 3) for the keypoints of samples in `shape` = (B, G) slots; None if they have none."""
    first = samples[0]
    for sample in samples[1:]:
        if (sample.keypoints is None, sample.keypoint_names) != (first.keypoints is None, first.keypoint_names):
            names = f"{first.name} and {sample.name}"
            raise ValueError(f"{names}: found different keypoints, expected those of one data set")
    return None if first.keypoints is None else np.zeros((*shape, len(first.keypoint_names), 3), np.float32)


def _objects(sample: Sample, size: list[int], ignored: Ignored) -> list[tuple[int, np.ndarray]]:
    """Number and box (x1, y1, x2, y2), clipped to the picture, of each object that goes into the targets."""
    height, width = size
    boxes = sample.boxes
    if not np.isfinite(boxes).all():
        raise ValueError(f"{sample.name}: found a corner that is not finite, expected numbers")
    if (sample.labels < 1).any():
        raise ValueError(f"{sample.name}: found label {sample.labels.min()}, expected 1 or more")
    boxes = boxes.clip(0, (width, height, width, height))
    wanted = ~sample.ignore if ignored == "background" else np.full(len(boxes), True)
    # In float32, as the model will see them: a box that is only wide in float64 would be an empty one there.
    sides = boxes[:, 2:].astype(np.float32) - boxes[:, :2].astype(np.float32)
    has_area = (sides > 0).all(axis=1)
    left_out = int((wanted & ~has_area).sum())
    if left_out:
        text = f"{sample.name}: {left_out} of {len(boxes)} objects show no area inside the picture and are left out"
        warnings.warn(text, ObjectsLeftOut, stacklevel=2)
    return [(index, boxes[index]) for index in np.flatnonzero(wanted & has_area)]
