"""The case of `torchvision_case.py` with a keypoint head in place of the mask head, as torchvision's detector has it.

Everything up to the boxes is compared there; here are the heat maps, what they should say, their loss, and the points.
"""

from __future__ import annotations

from dataclasses import replace
from unittest import mock

import numpy as np
import torch
from golden import torchvision_case

from maskrcnn.config import KeypointHeadConfig, ModelConfig
from maskrcnn.model.mask_rcnn import MaskRCNN
from maskrcnn.slots import gather_rows
from maskrcnn.structures import Batch
from maskrcnn.targets.keypoints import keypoint_cells

CONFIG = replace(
    torchvision_case.CONFIG,
    mask_head=replace(torchvision_case.CONFIG.mask_head, enabled=False),
    keypoint_head=KeypointHeadConfig(
        enabled=True,
        names=("corner", "left_side", "right_side", "far_corner", "outside"),
        skeleton=(),
        aligned=False,
        channels=32,
    ),
)
PLACES = ((0.0, 0.0), (0.21, 0.55), (0.83, 0.4), (1.0, 1.0), (1.12, 0.5))
"""Of the points, in parts of their object's width and height."""
ROIS = 8
"""Positive RoIs of each picture whose heat maps are compared."""


def object_keypoints(box: tuple[float, ...], slot: int) -> list[tuple[float, float, float]]:
    """x, y, visibility of the points of the object in `slot`: each point is unlabelled, hidden or visible in turn."""
    x1, y1, x2, y2 = box
    return [
        (x1 + u * (x2 - x1), y1 + v * (y2 - y1), float((point + slot) % 3)) for point, (u, v) in enumerate(PLACES)
    ]


def build_model(config: ModelConfig = CONFIG) -> MaskRCNN:
    """Our network with the drawn weights."""
    return torchvision_case.build_model(config)


def build_batch() -> Batch:
    """The two pictures with their objects' points."""
    batch = torchvision_case.build_batch()
    keypoints = [
        [object_keypoints(box, slot) for slot, (_, _, box) in enumerate(objects)]
        for objects in torchvision_case.OBJECTS
    ]
    return replace(batch, targets=replace(batch.targets, keypoints=torch.tensor(keypoints)))


def our_stages(model: MaskRCNN, batch: Batch) -> dict[str, np.ndarray]:
    """What the stages give, under the names of the golden file."""
    heads, targets = model.roi_heads, batch.targets
    with mock.patch("torch.rand", torchvision_case.first_come_first_sampled):
        pyramid = model.pyramid(model.backbone(batch.images))
        proposals = model.rpn.propose(model.rpn(batch, pyramid), batch.image_sizes, for_training=True)
        rois = heads.choose_training_rois(pyramid[:-1], proposals, targets)
        with mock.patch.object(heads.keypoint_head, "forward", wraps=heads.keypoint_head.forward) as head:
            losses = model(batch).losses
    model.zero_grad()
    torch.stack(list(losses.values())).sum().backward()
    norms = [parameter.grad.norm() for parameter in model.parameters() if parameter.requires_grad]
    goal = keypoint_cells(gather_rows(targets.keypoints, rois.ground_truth), rois.boxes, 56)
    valid = goal.valid & rois.positive[..., None]
    with torch.no_grad():
        heat_maps = heads.keypoint_head(*head.call_args.args)[:, :ROIS, :, ::4, ::4]
        found = model(replace(batch, targets=None)).detections
    stages = {
        "heat_maps": heat_maps.masked_fill(~rois.positive[:, :ROIS, None, None, None], 0.0),
        "cells": torch.where(valid, goal.cell, -1)[:, :40].to(torch.int16),
        "loss_keypoint": losses["keypoint"],
        "gradient_norms": torch.stack(norms),
        "detection_boxes": found.boxes,
        "keypoints": found.keypoints,
    }
    return {name: value.detach().numpy() for name, value in stages.items()}
