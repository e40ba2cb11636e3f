"""How a flat sheet of text lies in the picture: bent along a curve, then seen by a tilted camera.

Both steps have closed forms in both directions. That is why the annotations of rendered text are exact: the corners
of a word go through the very functions whose inverses fetch its pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image


@dataclass(frozen=True)
class Arc:
    """Bends the x axis of a centred sheet into a circle: radius > 0 arches up, radius < 0 hangs down."""

    radius: float

    def bend(self, points: np.ndarray) -> np.ndarray:
        """Sheet points (..., 2) to plane points (..., 2), in sheet pixels."""
        angle = points[..., 0] / self.radius
        distance = self.radius - points[..., 1]
        return np.stack([distance * np.sin(angle), self.radius - distance * np.cos(angle)], axis=-1)

    def unbend(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Plane coordinates to sheet coordinates, all of one shape (N, ...): undoes `bend`."""
        side = math.copysign(1.0, self.radius)
        angle = np.arctan2(side * x, side * (self.radius - y))
        return self.radius * angle, self.radius - side * np.hypot(x, self.radius - y)


@dataclass(frozen=True)
class Wave:
    """Moves each column of a centred sheet up or down along a sine curve; all in sheet pixels and radians."""

    amplitude: float
    wavelength: float
    phase: float

    def _rise(self, x: np.ndarray) -> np.ndarray:
        return self.amplitude * np.sin(x * (2 * math.pi / self.wavelength) + self.phase)

    def bend(self, points: np.ndarray) -> np.ndarray:
        """Sheet points (..., 2) to plane points (..., 2), in sheet pixels."""
        return np.stack([points[..., 0], points[..., 1] + self._rise(points[..., 0])], axis=-1)

    def unbend(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Plane coordinates to sheet coordinates, all of one shape (N, ...): undoes `bend`."""
        return x, y - self._rise(x)


def tilted_plane(yaw: float, pitch: float, distance: float, stretch: float) -> np.ndarray:
    """The homography (3, 3) of a plane turned by yaw and pitch (radians) before a pinhole camera.

    The plane's origin stays at the origin; there the scale is 1 (and `stretch` along x) when nothing is tilted.
    `distance` is that of the camera in plane pixels; it must exceed the depth of the tilted sheet.
    """
    sin_yaw, cos_yaw, sin_pitch, cos_pitch = math.sin(yaw), math.cos(yaw), math.sin(pitch), math.cos(pitch)
    tilt = np.array(
        [
            [cos_yaw, 0.0, 0.0],
            [sin_pitch * sin_yaw, cos_pitch, 0.0],
            [-cos_pitch * sin_yaw / distance, sin_pitch / distance, 1.0],
        ]
    )
    return tilt @ np.diag([stretch, 1.0, 1.0])


@dataclass(frozen=True)
class Surface:
    """Sheet pixels to picture pixels and back: centre the sheet, bend it, apply the homography."""

    centre: tuple[float, float]
    """x, y of the sheet point that becomes the plane's origin."""
    bend: Arc | Wave | None
    """None for a flat sheet."""
    homography: np.ndarray
    """(3, 3) float64, plane to picture."""

    def moved(self, scale: float = 1.0, turn: float = 0.0, x: float = 0.0, y: float = 0.0) -> Surface:
        """The same surface after the picture was scaled and turned (radians) about the origin, then shifted."""
        sine, cosine = scale * math.sin(turn), scale * math.cos(turn)
        move = np.array([[cosine, -sine, x], [sine, cosine, y], [0.0, 0.0, 1.0]])
        return Surface(self.centre, self.bend, move @ self.homography)

    def project(self, points: np.ndarray) -> np.ndarray:
        """Sheet points (..., 2) to homogeneous picture points (..., 3): the last is the depth, 1 at the centre."""
        plane = points - np.asarray(self.centre)
        if self.bend is not None:
            plane = self.bend.bend(plane)
        return plane @ self.homography[:, :2].T + self.homography[:, 2]

    def to_picture(self, points: np.ndarray) -> np.ndarray:
        """Sheet points (..., 2) to picture points (..., 2), float64."""
        projected = self.project(points)
        return projected[..., :2] / projected[..., 2:]

    def photograph(self, sheet: Image.Image, shrunk: int, window: tuple[int, int, int, int]) -> Image.Image:
        """What the window (x1, y1, x2, y2) of the picture sees of a sheet (mode L) that was reduced `shrunk` times."""
        x1, y1, x2, y2 = window
        shift = np.array([[1.0, 0.0, -x1], [0.0, 1.0, -y1], [0.0, 0.0, 1.0]])
        inverse = np.linalg.inv(shift @ self.homography)
        size = (x2 - x1, y2 - y1)
        if self.bend is None:
            to_sheet = np.array([[1.0, 0.0, self.centre[0]], [0.0, 1.0, self.centre[1]], [0.0, 0.0, shrunk]]) @ inverse
            coefficients = (to_sheet / to_sheet[2, 2]).ravel()[:8].tolist()
            return sheet.transform(size, Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BILINEAR)
        x = (np.arange(size[0], dtype=np.float32) + 0.5)[None, :]
        y = (np.arange(size[1], dtype=np.float32) + 0.5)[:, None]
        row = inverse.astype(np.float32)
        depth = row[2, 0] * x + row[2, 1] * y + row[2, 2]
        plane_x = (row[0, 0] * x + row[0, 1] * y + row[0, 2]) / depth
        plane_y = (row[1, 0] * x + row[1, 1] * y + row[1, 2]) / depth
        sheet_x, sheet_y = self.bend.unbend(plane_x, plane_y)
        return _sample(sheet, (sheet_x + self.centre[0]) / shrunk, (sheet_y + self.centre[1]) / shrunk)


def _sample(sheet: Image.Image, x: np.ndarray, y: np.ndarray) -> Image.Image:
    """Bilinear values of a sheet at continuous coordinates x, y (H, W); zero outside."""
    # A border of zeros, to which all coordinates outside are clipped, makes "outside" an ordinary value.
    width, height = sheet.size
    padded = np.zeros((height + 3, width + 3), np.float32)
    padded[1 : height + 1, 1 : width + 1] = sheet
    x = np.clip(x + 0.5, 0.0, width + 1)
    y = np.clip(y + 0.5, 0.0, height + 1)
    column = x.astype(np.int32)
    row = y.astype(np.int32)
    x -= column
    y -= row
    flat = padded.ravel()
    index = row * (width + 3) + column
    top = flat[index]
    top += (flat[index + 1] - top) * x
    index += width + 3
    bottom = flat[index]
    bottom += (flat[index + 1] - bottom) * x
    top += (bottom - top) * y
    return Image.fromarray((top + 0.5).astype(np.uint8))
