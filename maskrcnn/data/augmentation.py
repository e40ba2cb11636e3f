"""What training does to each picture: the random changes that a recipe's `DataConfig` asks for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from maskrcnn.config import DataConfig, ImageConfig
from maskrcnn.data import transforms
from maskrcnn.data.crops import View, random_view, seen
from maskrcnn.data.undecoded import UndecodedSample
from maskrcnn.sample import Sample


class Augmentation:
    """A function (sample, generator) -> changed sample; all its randomness comes from the generator."""

    # A class, not a nested function: macOS and Windows send it to the loader's processes as a pickle.
    def __init__(self, data: DataConfig, image: ImageConfig) -> None:
        """image: what limits the long side, and rounds, where whole pictures are scaled."""
        self.data, self.image = data, image

    def __call__(self, sample: Sample | UndecodedSample, rng: np.random.Generator) -> Sample:
        """Raises ValueError for a damaged picture."""
        if self.data.ignored == "object":
            sample = _legible(sample)
        return self.recoloured(self.cut(sample, rng), rng)

    def cut(self, sample: Sample | UndecodedSample, rng: np.random.Generator) -> Sample:
        """A random crop of the sample, or the whole picture at a random size; either may be mirrored."""
        data = self.data
        if data.crop > 0:
            view = self.view(sample.annotated if isinstance(sample, UndecodedSample) else sample, rng)
            return seen(sample, view, minimum_visible=data.minimum_visible_fraction, cut=data.cut)
        whole = sample.decoded() if isinstance(sample, UndecodedSample) else sample
        if data.rotation_degrees > 0:
            whole = transforms.rotate(whole, self._degrees(rng))
        if data.short_sides:
            short_side = int(rng.choice(data.short_sides))
            whole = transforms.resize_to_fit(whole, short_side, self.image.long_side, self.image.rounding)
        return transforms.flip_horizontal(whole) if rng.random() < data.flip_probability else whole

    def view(self, sample: Sample, rng: np.random.Generator) -> View:
        """What a crop of a sample shows; nobody looks at the sample's pixels."""
        data = self.data
        return random_view(
            sample,
            rng,
            size=data.crop,
            degrees=self._degrees(rng) if data.rotation_degrees > 0 else 0.0,
            scale_range=data.scale_range,
            aspect_range=data.aspect_range,
            independent_sides=data.independent_sides,
            crop_around=data.crop_around,
            around_object_probability=data.around_object_probability,
            flip_probability=data.flip_probability,
        )

    def _degrees(self, rng: np.random.Generator) -> float:
        return rng.uniform(-self.data.rotation_degrees, self.data.rotation_degrees)

    def recoloured(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """The sample in other colours, at random; on a crop that costs less than on a photograph."""
        data = self.data
        if data.ignored == "paint":
            sample = transforms.paint_out_ignored(sample)
        if rng.random() < data.colour_probability:
            sample = transforms.jitter_colour(sample, rng)
        return sample


def _legible(sample: Sample | UndecodedSample) -> Sample | UndecodedSample:
    """The sample with its don't-care regions as objects like others."""
    if isinstance(sample, UndecodedSample):
        return replace(sample, annotated=_legible(sample.annotated))
    return replace(sample, ignore=np.zeros_like(sample.ignore))
