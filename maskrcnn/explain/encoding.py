"""Numbers and pictures as text that a page can hold, and read without asking anybody."""

from __future__ import annotations

import base64
import io
import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

_MOST_PIXELS = 400_000
"""Of a sheet of channels: nine levels of them must leave room for the rest of a page of a few megabytes."""
_LONGEST_SIDE = 1400
"""Of the picture, in pixels."""


def float32(values: Tensor) -> str:
    """Little-endian float32, whatever the shape."""
    return _text(values.detach().cpu().float().numpy().astype("<f4").tobytes())


def int32(values: Tensor) -> str:
    """Little-endian int32."""
    return _text(values.detach().cpu().numpy().astype("<i4").tobytes())


def uint8(values: Tensor) -> str:
    """Bytes."""
    return _text(values.detach().cpu().numpy().astype(np.uint8).tobytes())


def sheet(tiles: Tensor, low: float | None = None, high: float | None = None) -> dict[str, Any]:
    """Maps (N, rows, columns) side by side in one grey picture, which a browser unpacks faster than numbers.

    low, high: the values of black and white; by default the least and the largest there are. Between them are 254
    steps, so values read from it are right to 1/500 of that range.
    """
    count, rows, columns = tiles.shape
    tiles = tiles.detach().cpu().float()
    if low is None or high is None:
        finite = tiles[tiles.isfinite()]
        low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)
    range_ = high - low if high > low else 1.0
    grey = ((tiles - low) / range_ * 255).round().nan_to_num(0).clamp(0, 255).to(torch.uint8)
    across = max(1, math.isqrt(max(count * rows // max(columns, 1), 1)))
    down = math.ceil(count / across)
    grey = F.pad(grey, (0, 0, 0, 0, 0, across * down - count))
    pixels = grey.view(down, across, rows, columns).permute(0, 2, 1, 3).reshape(down * rows, across * columns)
    source = _source(Image.fromarray(pixels.numpy(), "L"), "png") if count else ""
    return {
        "src": source, "across": across, "count": count, "rows": rows, "columns": columns, "low": low, "high": high
    }  # fmt: skip


def reduced(channels: Tensor) -> tuple[Tensor, int]:
    """Channels (C, rows, columns), each averaged over squares of cells, so that a sheet of all of them stays small; and
    the cells along a side of such a square."""
    factor = max(1, math.ceil(math.sqrt(channels.numel() / _MOST_PIXELS)))
    return F.avg_pool2d(channels[None].float(), factor, ceil_mode=True)[0], factor


def photograph(pixels: np.ndarray) -> str:
    """A picture (H, W, 3) uint8 as a JPEG, no larger than a screen."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE), Image.Resampling.LANCZOS)
    return _source(picture, "jpeg", quality=87)


def _source(picture: Image.Image, kind: str, **options: int) -> str:
    encoded = io.BytesIO()
    picture.save(encoded, kind, **options)
    return f"data:image/{kind};base64,{_text(encoded.getvalue())}"


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
