"""Training pictures, made beside the straightforward way to make them: `python -m maskrcnn bench data`.

The peer decodes the whole picture, scales (and turns) the whole picture, and then cuts the crop out of it, all with
Pillow, as this library does, and with the same random numbers. What follows is the same for both.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from maskrcnn.benchmarks.comparison import Comparison, Figure, measure
from maskrcnn.config import Config, DataConfig
from maskrcnn.data import transforms
from maskrcnn.data.augmentation import Augmentation
from maskrcnn.data.batch_targets import batch_targets
from maskrcnn.data.crops import View
from maskrcnn.data.icdar import ICDAR2015
from maskrcnn.data.icdar_writer import write_icdar2015
from maskrcnn.data.loader import DataSet, collate
from maskrcnn.data.rendered_text import SCENE, RenderedText
from maskrcnn.data.undecoded import Undecoded, UndecodedSample
from maskrcnn.structures import Batch, Sample, Targets

ROUNDS = 5
CROPS = 32
"""In one round."""
PEER = "whole pictures"
RENDERED = {(720, 1280): (8, 32), (3000, 4000): (4, 8)}
"""Height and width of the pictures that are measured without data: how many there are, and crops of them in a round."""


def measure_data(
    samples: DataSet, config: Config, name: str, crops: int = CROPS, rounds: int = ROUNDS
) -> Iterator[Figure]:
    """Each of the `comparisons` as soon as it is measured, on one thread, in the time of its core."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield from measure(comparisons(samples, config, name, crops), "cpu", rounds, of_the_processor=True)
    finally:
        torch.set_num_threads(threads)


def comparisons(samples: DataSet, config: Config, name: str, crops: int) -> Iterator[Comparison]:
    """Each stage of making training pictures from `samples`, then all of them; `name` is what these are called.

    Raises ValueError if the pictures are not in files, or the recipe does not train on crops.
    """
    if not hasattr(samples, "undecoded"):
        raise ValueError(f"{name}: found pictures that are drawn, expected files")
    if not config.data.crop:
        raise ValueError(f"recipe {config.name}: found training on whole pictures, expected crops")
    work, numbers = _Work(samples, config), range(crops)
    decoded, whole = [work.decode(number) for number in numbers], [work.decode_whole(number) for number in numbers]
    cut = [work.cut(number, sample) for number, sample in enumerate(decoded)]
    for stage, ours, peer in (
        ("read and decode", _each(work.decode, numbers), _each(work.decode_whole, numbers)),
        ("scale and crop", _each(work.cut, numbers, decoded), _each(work.cut_whole, numbers, whole)),
        ("colours", _each(work.recolour, numbers, cut), None),
        ("targets", lambda: work.targets(cut), None),
        ("normalise and collate", lambda: work.collate([sample.only([]) for sample in cut]), None),
        ("all", lambda: work.batches(crops), lambda: work.batches_of_whole(crops)),
    ):
        yield Comparison(f"{name}: {stage}", PEER, ours, peer, times=crops)


def _each(stage: Callable[..., object], *arguments: Iterable) -> Callable[[], None]:
    """A function that calls `stage` with each of its arguments, and keeps nothing, as training does not."""

    def run() -> None:
        for values in zip(*arguments, strict=True):
            stage(*values)

    return run


class _Work:
    """Each stage for any number of crops; crop 7 is the same in every round."""

    def __init__(self, samples: DataSet, config: Config) -> None:
        self.samples, self.config = samples, config
        self.augment = Augmentation(config.data, config.model.image)

    def decode(self, number: int) -> UndecodedSample:
        """The sample with its picture decoded as far as its crop needs."""
        sample = self.samples.undecoded(number % len(self.samples))
        picture, view = sample.picture, self.augment.view(sample.annotated, _random(number))
        reduction = picture.reduction(*view.part(picture.height, picture.width))
        return replace(sample, picture=picture.decoded(reduction))  # of which parts can be had as well

    def decode_whole(self, number: int) -> Sample:
        return self.samples[number % len(self.samples)]

    def cut(self, number: int, sample: UndecodedSample) -> Sample:
        return self.augment.cut(sample, _random(number))

    def cut_whole(self, number: int, sample: Sample) -> Sample:
        return whole_then_crop(sample, self.augment.view(sample, _random(number)), self.config.data)

    def recolour(self, number: int, sample: Sample) -> Sample:
        return self.augment.recoloured(sample, _random(number))

    def targets(self, samples: list[Sample]) -> list[Targets]:
        size, ignored = [self.config.data.crop] * 2, self.config.data.ignored
        return [batch_targets(batch, [size] * len(batch), ignored, None) for batch in self._batches(samples)]

    def collate(self, samples: list[Sample]) -> list[Batch]:
        image, ignored = self.config.model.image, self.config.data.ignored
        return [collate(batch, image, ignored=ignored) for batch in self._batches(samples)]

    def batches(self, crops: int) -> list[Batch]:
        """What training gets."""
        undecoded = Undecoded(self.samples)
        samples = [self.augment(undecoded[number % len(undecoded)], _random(number)) for number in range(crops)]
        return self.collate(samples)

    def batches_of_whole(self, crops: int) -> list[Batch]:
        """The same, made the straightforward way."""
        samples = []
        for number in range(crops):
            sample, random = self.decode_whole(number), _random(number)
            cut = whole_then_crop(sample, self.augment.view(sample, random), self.config.data)
            samples.append(self.augment.recoloured(cut, random))
        return self.collate(samples)

    def _batches(self, samples: list[Sample]) -> Iterator[list[Sample]]:
        size = self.config.training.batch_size
        return (samples[start : start + size] for start in range(0, len(samples), size))


def whole_then_crop(sample: Sample, view: View, data: DataConfig) -> Sample:
    """What `seen` gives, to whole pixels: the whole picture is scaled, the whole of that is turned, and then cut."""
    height, width = sample.image.shape[:2]
    new_width, new_height = np.rint(view.scale * (width, height)).astype(int).tolist()
    changed = transforms.resize(sample, new_height, new_width)
    if view.degrees != 0:
        changed = transforms.rotate(changed, view.degrees)
    # The middle of the picture is the middle of whatever holds it when it is turned.
    middle = view.points(np.array([[width / 2, height / 2]]))[0]
    x, y = np.rint(np.array(changed.image.shape[1::-1]) / 2 - middle).astype(int).tolist()
    cropped = transforms.crop(
        changed, x, y, view.size, view.size, minimum_visible=data.minimum_visible_fraction, cut=data.cut
    )
    return transforms.flip_horizontal(cropped) if view.mirrored else cropped


def _random(number: int) -> np.random.Generator:
    return np.random.default_rng([0, number])


@contextmanager
def rendered(height: int, width: int, pictures: int) -> Iterator[ICDAR2015]:
    """A data set of rendered photographs, JPEGs in a temporary folder. Large ones are enlarged, and noisy, since a JPEG
    of a camera's pixels takes longer to decode than one of an enlargement."""
    factor = max(height // 720, 1)
    size = {"height": (height // factor,) * 2, "width": (width // factor,) * 2}
    drawn = RenderedText(pictures, 0, replace(SCENE, **size, curved_fraction=0.0))
    samples = [drawn[index] for index in range(pictures)]
    if factor > 1:
        samples = [_noisy(transforms.resize(sample, height, width)) for sample in samples]
    with tempfile.TemporaryDirectory() as folder:
        write_icdar2015(samples, [], Path(folder) / "rendered")
        yield ICDAR2015(Path(folder) / "rendered")


def _noisy(sample: Sample, deviation: float = 4.0) -> Sample:
    noise = _random(0).normal(0, deviation, sample.image.shape).astype(np.float32)
    return replace(sample, image=(sample.image + noise).clip(0, 255).astype(np.uint8))
