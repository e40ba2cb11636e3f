"""A crop in one call, drawn and made."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from maskrcnn.data.crops import random_view, seen
from maskrcnn.data.transforms import PADDING, Cut
from maskrcnn.structures import Sample


def random_crop(
    sample: Sample,
    rng: np.random.Generator,
    *,
    minimum_visible: float = 0.5,
    cut: Cut = "polygons",
    colour: Sequence[int] = PADDING,
    **drawn: object,
) -> Sample:
    """What a random view shows; `drawn`: as of `random_view`."""
    return seen(sample, random_view(sample, rng, **drawn), minimum_visible=minimum_visible, cut=cut, colour=colour)
