"""Samples whose picture is still a file: training looks at a small part of a photograph, often at a lower resolution.

Where a crop lies follows from the size of its picture and from the objects in it. So data sets that read files hand
out both first, and only as much is decoded as the crop then shows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from maskrcnn.data.images import EncodedPicture
from maskrcnn.sample import Sample


@dataclass(frozen=True)
class UndecodedSample:
    """A sample and, apart from it, its picture."""

    annotated: Sample
    """All but the pixels: its image has the picture's size, but is `black`."""
    picture: EncodedPicture

    def decoded(self) -> Sample:
        """The whole sample. Raises ValueError for a damaged picture."""
        return replace(self.annotated, image=np.array(self.picture.decoded().image))


class FromFiles(Protocol):
    """A data set of pictures in files."""

    def __len__(self) -> int: ...

    def undecoded(self, index: int) -> UndecodedSample: ...


class Undecoded:
    """A data set whose samples are those of another one, not decoded yet."""

    def __init__(self, samples: FromFiles) -> None:
        self._samples = samples

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> UndecodedSample:
        """Raises ValueError for a picture that is missing, or of which not even the size can be read."""
        return self._samples.undecoded(index)


def black(height: int, width: int) -> np.ndarray:
    """(height, width, 3) uint8 zeros, made of a single byte."""
    return np.broadcast_to(np.uint8(0), (height, width, 3))
