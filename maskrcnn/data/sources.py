"""From what a user writes after `--data` to a data set."""

from __future__ import annotations

from maskrcnn.config import Config
from maskrcnn.data.icdar import ICDAR2015
from maskrcnn.data.loader import Samples
from maskrcnn.data.rendered_text import SCENE, RenderedText

RENDERED = "rendered"
ENOUGH = 1_000_000
"""Rendered pictures are drawn when asked for, so a training never needs to see one twice."""


def open_data(location: str, split: str, config: Config) -> Samples:
    """The data set at `location`: a folder in the layout of ICDAR2015, or the word "rendered".

    split: "train", "test", or a range of pictures (`img_1..img_900`). Rendered text resembles scenes and is a million
    pictures of the side that the recipe crops, different ones for each split and seed.
    Raises ValueError if there is no such data or split.
    """
    if location != RENDERED:
        return ICDAR2015(location, split)
    if split not in ("train", "test"):
        raise ValueError(f"--split {split}: rendered text has the splits train and test")
    return RenderedText(ENOUGH, 2 * config.training.seed + (split == "test"), SCENE)
