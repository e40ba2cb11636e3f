"""Words as polygons, and what a perfect mask head says about them."""

import math

import numpy as np

from maskrcnn.data.polygons import rasterize
from maskrcnn.evaluation.text_scores import polygon_iou


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
