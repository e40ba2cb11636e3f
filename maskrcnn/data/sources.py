"""From what a user writes after `--data` to a data set."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from maskrcnn.config import Config
from maskrcnn.data.augmentation import Augmentation
from maskrcnn.data.coco import COCO
from maskrcnn.data.coco_files import find_annotations
from maskrcnn.data.collate import first_that_holds
from maskrcnn.data.ctw1500 import CTW1500
from maskrcnn.data.icdar import ICDAR2015
from maskrcnn.data.icdar2017 import ICDAR2017
from maskrcnn.data.loader import DataSet, Samples, Share, TrainingBatches, training_loader
from maskrcnn.data.mmocr import ANNOTATION_FILES, MMOCR
from maskrcnn.data.rendered_text import SCENE, RenderedText
from maskrcnn.data.total_text import TotalText
from maskrcnn.data.transforms import fitted_size
from maskrcnn.data.undecoded import Undecoded
from maskrcnn.structures import Batch

FORMATS = {
    "icdar2015": ICDAR2015,
    "icdar2017": ICDAR2017,
    "ctw1500": CTW1500,
    "totaltext": TotalText,
    "mmocr": MMOCR,
    "coco": COCO,
}
"""The readers, by the names that `check` and `data.format` know. Each is called with a folder and a split."""

RENDERED = "rendered"
RENDERED_COUNTS = {"train": 1_000_000, "test": 200}
"""Pictures are drawn when asked for, so a training need never see one twice; a test must come to an end."""


def open_data(location: str, split: str, config: Config, *, for_training: bool = False) -> DataSet:
    """The data set at `location`: a folder in the layout that `config.data.format` names, or the word "rendered".

    split: "train", "test" and, of some sets, "validation"; or, for files only, a range of the training pictures
    (`img_1..img_900`); of COCO any name (`val2017`).
    for_training: without pictures that teach nothing, where the recipe of a data set leaves them out (COCO).
    Rendered text resembles scenes, has the size of the recipe's crops, and differs for each split and
    `config.training.seed`. COCO's keypoints are read if the configuration has a head for them. Raises ValueError if
    there is no such data or split.
    """
    keypoints, layout = config.model.keypoint_head.enabled, "rendered" if location == RENDERED else config.data.format
    if layout == "coco":
        with _telling_another_format(location, split, layout):
            return COCO(location, split, keypoints=keypoints, for_training=for_training)
    if keypoints:
        raise ValueError(f"--data {location}: {layout} is text, which has no keypoints; expected --format coco")
    if layout != "rendered":
        return open_files(location, split, layout)
    if split not in RENDERED_COUNTS:
        raise ValueError(f"--split {split}: rendered text has the splits train and test")
    crop = config.data.crop
    settings = replace(SCENE, height=(crop, crop), width=(crop, crop)) if crop else SCENE
    return RenderedText(RENDERED_COUNTS[split], 2 * config.training.seed + (split == "test"), settings)


def open_files(location: str, split: str, layout: str) -> DataSet:
    """The data set in the folder `location`, whose layout is one of FORMATS. Raises ValueError if it is not that."""
    with _telling_another_format(location, split, layout):
        return FORMATS[layout](location, split)


@contextmanager
def _telling_another_format(location: str, split: str, layout: str) -> Iterator[None]:
    """Adds to a ValueError which format a folder is in, where the names of what is in it say that it is another one."""
    try:
        yield
    except ValueError as error:
        found = [name for name in FORMATS if _looks_like(Path(location), split, name)]
        if not found or layout in found:
            raise
        raise ValueError(f"{error}; it looks like the format {found[0]}") from error


def _looks_like(root: Path, split: str, layout: str) -> bool:
    """Whether the annotations of any split lie where those of a format do; COCO's are looked for by the split."""
    if layout == "coco":
        try:
            return root.is_dir() and bool(find_annotations(root, split))
        except ValueError:
            return False
    if layout == "mmocr":
        return any((root / name).is_file() for name in ANNOTATION_FILES.values())
    places = [root / place.annotations for layouts in FORMATS[layout].layouts.values() for place in layouts]
    return any(path.is_dir() or path.with_name(f"{path.name}.zip").is_file() for path in places)


def training_stream(
    samples: Samples, config: Config, rank: int = 0, ranks: int = 1
) -> Callable[[int], Iterator[Batch]]:
    """The batches that a recipe trains on: called with the number of steps done, gives those from there on.

    Each sample is cut and changed as `config.data` says; of a picture in a file, no more is decoded than a crop shows.
    This is what `maskrcnn.training.loop.train` asks for. Of several `ranks` each gets its share. Raises ValueError if a
    batch cannot be shared equally.
    """
    training, sizes = config.training, config.data.padded_sizes
    batches = TrainingBatches(
        Undecoded(samples) if hasattr(samples, "undecoded") else samples,
        Augmentation(config.data, config.model.image),
        config.model.image,
        batch_size=training.batch_size,
        seed=training.seed,
        ignored=config.data.ignored,
        padded_sizes=sizes,
        groups=_groups(samples, config) if sizes else None,
        share=Share(rank, ranks, training.parts),
    )
    return lambda start: training_loader(batches, steps=training.steps, start=start, workers=training.workers)


def _groups(samples: Samples, config: Config) -> list[int]:
    """Of each picture the number of the padded size that holds it at the largest of the sizes at which it is seen; one
    more than the last if none does."""
    if not hasattr(samples, "picture_size"):
        raise ValueError("data.padded_sizes: found pictures that are drawn when asked for, expected pictures in files")
    data, image, groups = config.data, config.model.image, []
    for index in range(len(samples)):
        height, width = samples.picture_size(index)
        if data.short_sides:
            height, width = fitted_size(height, width, max(data.short_sides), image.long_side, image.rounding)
        number = first_that_holds(data.padded_sizes, height, width)
        groups.append(len(data.padded_sizes) if number is None else number)
    return groups
