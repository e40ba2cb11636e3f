"""Words as polygons, and what a perfect mask head says about them."""

import math

import numpy as np
import torch

from maskrcnn.data.polygons import rasterize
from maskrcnn.evaluation.text_scores import polygon_iou
from maskrcnn.reference.pyramids import pyramid_height


def drawn(text):
    """The mask of a drawing in which # is true."""
    return np.array([[character == "#" for character in line] for line in text.split()])


def rectangle(x1, y1, x2, y2):
    return np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]], dtype=np.float64)


def rotated_rectangle(centre, width, height, angle):
    """Corners (4, 2), clockwise, `angle` in radians, clockwise on the screen."""
    along, across = np.array([math.cos(angle), math.sin(angle)]), np.array([-math.sin(angle), math.cos(angle)])
    signs = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) / 2
    return centre + signs[:, :1] * width * along + signs[:, 1:] * height * across


def iou(polygon, other):
    return polygon_iou([polygon], [other])[0, 0]


def soft_mask(polygon, box, cells=28, oversampling=8):
    """What a perfect mask head predicts: the share (cells, cells) of each cell of a box that a polygon covers."""
    size = cells * oversampling
    local = (polygon - box[:2]) / (box[2:] - box[:2]) * size
    return rasterize(local, (0, 0, size, size)).reshape(cells, oversampling, cells, oversampling).mean(axis=(1, 3))


def curved_band(corners):
    """A text of height 20 along half a circle of radius 60, with `corners` corners on each side."""
    angle = np.linspace(math.pi, 2 * math.pi, corners)[:, None]
    direction = np.concatenate([np.cos(angle), np.sin(angle)], axis=1)
    return np.concatenate([(100, 100) + 70 * direction, (100, 100) + 50 * direction[::-1]])


def random_quadrilateral(seed):
    """Convex corners (4, 2), clockwise: a word of 20 to 200 by 10 to 50 pixels, turned and seen in perspective."""
    rng = np.random.default_rng(seed)
    width, height = rng.uniform(20, 200), rng.uniform(10, 50)
    level = rotated_rectangle((0, 0), width, height, 0.0) + rng.uniform(-0.18, 0.18, (4, 2)) * height
    angle = rng.uniform(-np.pi / 2, np.pi / 2)
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    return (200, 200) + level @ turn


def corner_distance(corners, others):
    """The largest distance along an axis between corners (4, 2) in the same order, whichever is the first."""
    return min(np.abs(np.roll(corners, shift, axis=0) - others).max() for shift in range(4))


def pyramid(corners, box, cells=28):
    """Heights (cells, cells) over a box of the pyramid on a convex quadrilateral, a cell at a time."""
    width, height = (box[2:] - box[:2]) / cells
    return np.array(
        [
            [pyramid_height(torch.from_numpy(corners), box[0] + (column + 0.5) * width, box[1] + (row + 0.5) * height)
             for column in range(cells)]
            for row in range(cells)
        ]
    )  # fmt: skip
