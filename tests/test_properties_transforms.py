"""Whatever is done to a picture, in whatever order: its masks and keypoints are where its pixels are."""

import numpy as np
import shapely
from hypothesis import given
from hypothesis import strategies as st
from random_crops import random_crop
from random_inputs import random_quadrilateral

from maskrcnn.data import transforms
from maskrcnn.data.polygons import rasterize_parts
from maskrcnn.structures import Sample

BLACK = (0, 0, 0)
RAMP = 1.5
"""Pixels from the outline of a painted mask to where it is full: resampling keeps a ramp, and so its middle, where it
is. A hard edge that halves a pixel says no more about where it lies than that pixel's level."""
SMALLEST = 200
"""Pixels of an object that is compared after one step; and as many more for each further step, since whatever resamples
a picture rounds the corners in it."""
UNDECIDED = 1 / 24
"""A pixel so close to an outline may be on either side: some levels of 255 are rounded away in every step."""


def painted(rng: np.random.Generator) -> Sample:
    """A picture whose red channel is the mask of its object, and whose green one a spot at its keypoint."""
    height, width = rng.integers(150, 260, 2).tolist()
    polygon = random_quadrilateral(rng, height, width)
    centres = np.moveaxis(np.mgrid[:height, :width], 0, -1)[..., ::-1] + 0.5
    distance = np.full((height, width), np.inf)
    for start, end in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        edge = end - start
        along = ((centres - start) @ edge / (edge @ edge)).clip(0, 1)
        distance = np.minimum(distance, np.linalg.norm(centres - start - along[..., None] * edge, axis=-1))
    inside = rasterize_parts([polygon], (0, 0, width, height))
    keypoint = rng.uniform(20, (width - 20, height - 20))
    image = np.zeros((height, width, 3))
    image[..., 0] = 0.5 + np.where(inside, distance, -distance) / (2 * RAMP)
    image[..., 1] = np.exp(-((centres - keypoint) ** 2).sum(axis=-1) / (2 * 5.0**2))
    return Sample(
        name="painted",
        image=np.rint(255 * image.clip(0, 1)).astype(np.uint8),
        polygons=(polygon,),
        labels=np.ones(1, np.int64),
        ignore=np.zeros(1, bool),
        keypoints=np.array([[[*keypoint, 2.0]]]),
        keypoint_names=("tip",),
    )


def resize(sample: Sample, rng: np.random.Generator) -> Sample:
    sides = np.rint(sample.image.shape[:2] * np.exp(rng.uniform(-0.5, 0.5, 2))).astype(int)
    return transforms.resize(sample, *sides.tolist())


def resize_to_fit(sample: Sample, rng: np.random.Generator) -> Sample:
    return transforms.resize_to_fit(sample, int(rng.integers(120, 300)), int(rng.integers(200, 400)))


def crop(sample: Sample, rng: np.random.Generator) -> Sample:
    corner, sides = rng.integers(-40, 60, 2).tolist(), rng.integers(100, 260, 2).tolist()
    return transforms.crop(sample, *corner, *sides, cut=rng.choice(["polygons", "boxes"]), colour=BLACK)


def flip(sample: Sample, rng: np.random.Generator) -> Sample:
    return transforms.flip_horizontal(sample)


def rotate(sample: Sample, rng: np.random.Generator) -> Sample:
    return transforms.rotate(sample, rng.uniform(-180, 180), colour=BLACK)


def scaled_crop(sample: Sample, rng: np.random.Generator, degrees: float = 0.0) -> Sample:
    size = int(rng.integers(120, 300))
    return random_crop(
        sample,
        rng,
        size=size,
        scale_range=(0.6, 1.7),
        independent_sides=() if rng.random() < 0.5 else (size, 2 * size),
        degrees=degrees,
        crop_around=rng.choice(["one_object", "all_objects"]),
        cut=rng.choice(["polygons", "boxes"]),
        colour=BLACK,
    )


def turned_crop(sample: Sample, rng: np.random.Generator) -> Sample:
    return scaled_crop(sample, rng, rng.uniform(-180, 180))


STEPS = (resize, resize_to_fit, crop, flip, rotate, scaled_crop, turned_crop)


def overlap(sample: Sample) -> float:
    """IoU of the bright pixels with those of the object's polygons."""
    height, width = sample.image.shape[:2]
    bright, bitmap = sample.image[..., 0] > 127, np.zeros((height, width), bool)
    if sample.polygons:
        bitmap = rasterize_parts(sample.polygons, (0, 0, width, height)).astype(bool)
        y, x = np.nonzero(bright != bitmap)
        near = shapely.distance(outline(sample).boundary, shapely.points(x + 0.5, y + 0.5)) < UNDECIDED
        bitmap[y[near], x[near]] = bright[y[near], x[near]]
    union = (bright | bitmap).sum()
    return (bright & bitmap).sum() / union if union else 1.0


def outline(sample: Sample) -> shapely.Geometry:
    """What the polygons enclose of the picture."""
    height, width = sample.image.shape[:2]
    enclosed = shapely.union_all([shapely.make_valid(shapely.polygons(polygon)) for polygon in sample.polygons])
    return shapely.intersection(enclosed, shapely.box(0, 0, width, height))


def is_comparable(sample: Sample, steps: int) -> bool:
    """Whether enough of the object is left, and no more than a hundredth of it is thinner than two pixels.

    What is thinner fades when it is resampled, as it has to.
    """
    shape = outline(sample)
    return shape.area > SMALLEST * steps and shape.buffer(-1).buffer(1).area > 0.99 * shape.area


def at_the_border(image: np.ndarray) -> np.ndarray:
    return np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])


def compare_after_each(steps: list, seed: int) -> tuple[int, int]:
    """How often masks and keypoints were compared. Ends where not enough of the object is left."""
    rng = np.random.default_rng(seed)
    sample, masks, spots, spot_is_whole = painted(rng), 0, 0, True
    for count, step in enumerate(steps, start=1):
        touches = at_the_border(sample.image)[:, 0].any()
        sample = step(sample, rng)
        spot_is_whole = spot_is_whole and at_the_border(sample.image)[:, 1].max() < 3
        if not is_comparable(sample, count):
            break
        assert overlap(sample) > 0.98
        masks += 1
        x, y, visible = sample.keypoints[0, 0]
        if spot_is_whole and visible:
            weights = np.maximum(sample.image[..., 1].astype(float) - 20, 0)  # without the rim of single levels
            rows, columns = np.mgrid[: weights.shape[0], : weights.shape[1]] + 0.5
            assert abs((weights * columns).sum() / weights.sum() - x) < 0.1
            assert abs((weights * rows).sum() / weights.sum() - y) < 0.1
            spots += 1
        if touches and step in (rotate, turned_crop):
            break  # the border of a picture that is turned becomes a staircase of whole pixels
    return masks, spots


@given(st.lists(st.sampled_from(STEPS), min_size=1, max_size=5), st.integers(0, 2**32 - 1))
def test_after_any_chain_the_polygons_cover_the_painted_mask_and_the_keypoint_its_spot(steps, seed):
    compare_after_each(steps, seed)


def test_most_of_these_chains_are_compared():
    """Otherwise the property would say little: of 40 steps in ten chains, most, and each step among them."""
    compared = np.zeros(2, int)
    for seed in range(10):
        order = np.random.default_rng(seed).permutation(len(STEPS))[:4]
        compared += compare_after_each([STEPS[index] for index in order], seed)
    assert compared[0] > 25 and compared[1] > 10
    for step in STEPS:
        assert any(compare_after_each([step], seed) == (1, 1) for seed in range(8)), step
