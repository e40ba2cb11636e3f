"""What training does to each picture: the random changes that a recipe's `DataConfig` asks for."""

from __future__ import annotations

import numpy as np

from maskrcnn.config import DataConfig, ImageConfig
from maskrcnn.data import transforms
from maskrcnn.structures import Sample


class Augmentation:
    """A function (sample, generator) -> changed sample; all its randomness comes from the generator."""

    # A class, not a nested function: macOS and Windows send it to the loader's processes as a pickle.
    def __init__(self, data: DataConfig, image: ImageConfig) -> None:
        """image: what limits the long side, and rounds, where whole pictures are scaled."""
        self.data, self.image = data, image

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        data = self.data
        if data.rotation_degrees > 0:
            sample = transforms.rotate(sample, rng.uniform(-data.rotation_degrees, data.rotation_degrees))
        if data.crop > 0:
            sample = transforms.random_scale_and_crop(
                sample,
                rng,
                size=data.crop,
                scale_range=data.scale_range,
                aspect_range=data.aspect_range,
                around_object_probability=data.around_object_probability,
                minimum_visible=data.minimum_visible_fraction,
            )
        elif data.short_sides:
            short_side = int(rng.choice(data.short_sides))
            sample = transforms.resize_to_fit(sample, short_side, self.image.long_side, self.image.rounding)
        # What follows costs less on a crop than on a whole photograph.
        if data.ignored == "paint":
            sample = transforms.paint_out_ignored(sample)
        if rng.random() < data.flip_probability:
            sample = transforms.flip_horizontal(sample)
        if rng.random() < data.colour_probability:
            sample = transforms.jitter_colour(sample, rng)
        return sample
