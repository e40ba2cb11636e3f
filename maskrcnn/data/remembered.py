"""Keeping what was expensive to make: each picture of a data set is made once and then remembered."""

from __future__ import annotations

from maskrcnn.data.loader import Samples
from maskrcnn.structures import Sample


class Remembered:
    """A data set that keeps every sample in memory after its first use.

    Drawing a picture costs as much as learning from it. Shown several times, each time cropped, scaled and coloured
    anew, it teaches nearly as much every time ("data echoing", arXiv 1907.05550).
    """

    def __init__(self, samples: Samples) -> None:
        self._samples = samples
        self._kept: dict[int, Sample] = {}

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Sample:
        if index not in self._kept:
            self._kept[index] = self._samples[index]
        return self._kept[index]
