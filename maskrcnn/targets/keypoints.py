"""Keypoint targets: the cell of an RoI's heat map in which each keypoint of its object lies (paper section 5)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class KeypointTargets(NamedTuple):
    """What each heat map should say."""

    cell: Tensor
    """(..., J) int64: row * size + column; 0 where there is nothing to learn."""
    valid: Tensor
    """(..., J) bool: the point is labelled and lies in the RoI."""


def keypoint_cells(keypoints: Tensor, rois: Tensor, size: int) -> KeypointTargets:
    """The cells of keypoints (..., J, 3), x, y and visibility, in a grid of size x size over their RoIs (..., 4).

    A point on the right or lower edge belongs to the last cell. A hidden point (visibility 1) is as good a target as a
    visible one; one that lies outside its RoI is none, for no cell would be right. As in torchvision and Detectron.
    """
    corner, far_corner = rois[..., None, :2], rois[..., None, 2:]
    points = keypoints[..., :2]
    cell = ((points - corner) * (size / (far_corner - corner))).floor()
    cell = torch.where(points == far_corner, size - 1, cell)  # (..., J, 2): column, row
    inside = ((cell >= 0) & (cell < size)).all(dim=-1)
    valid = inside & (keypoints[..., 2] > 0)
    column, row = cell.masked_fill(~valid[..., None], 0).long().unbind(dim=-1)
    return KeypointTargets(row * size + column, valid)
