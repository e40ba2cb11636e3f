"""The ground truth of one picture, from an annotation file of the kind that the detector learnt from."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from maskrcnn.config import Config
from maskrcnn.data.coco import COCO
from maskrcnn.data.numbered_pictures import NumberedPictures
from maskrcnn.data.sources import FORMATS
from maskrcnn.evaluate_objects import check_keypoints
from maskrcnn.sample import Sample

_LARGEST = 2**24
"""Bytes of one picture's annotations: a thousand times as many as any has."""


def read_targets(annotations: str | os.PathLike, image: np.ndarray, name: str, config: Config) -> Sample:
    """The sample of a picture (H, W, 3) uint8 called `name`, with what an annotation file says is in it.

    The file is of the format `config.data.format`: one picture's own file of text (`gt_img_1.txt`), or COCO's, of many
    pictures, in which this one is found by its name. Raises ValueError, naming the file, if it is not that, if the
    picture is not in it, or if its classes are not those of the network; OSError if it cannot be read.
    """
    path, layout = Path(annotations), config.data.format
    reader = FORMATS[layout]
    if not path.is_file():
        found = "a folder" if path.is_dir() else "no such file"
        raise ValueError(f"{path}: found {found}, expected an annotation file")
    if layout == "coco":
        return _from_coco(path, image, name, config)
    if not issubclass(reader, NumberedPictures):
        known = [name for name, known in FORMATS.items() if known is COCO or issubclass(known, NumberedPictures)]
        raise ValueError(f"{path}: cannot be read as {layout}, expected --format with one of: {', '.join(known)}")
    if path.stat().st_size > _LARGEST:
        raise ValueError(f"{path}: found {path.stat().st_size:,} bytes, expected the annotations of one picture")
    return reader.read_annotations(path.read_bytes(), path.name).sample(name, image)


def _from_coco(path: Path, image: np.ndarray, name: str, config: Config) -> Sample:
    data = COCO(path, keypoints=config.model.keypoint_head.enabled, pictures=False)
    if name not in data.names:
        raise ValueError(f"{path}: found {len(data)} pictures and none called {name}")
    if data.class_names != config.model.class_names:
        raise ValueError(
            f"{path}: found the classes {', '.join(data.class_names)}, expected those of the network: "
            f"{', '.join(config.model.class_names)}"
        )
    check_keypoints(config.model, data)
    index = data.names.index(name)
    height, width = data.picture_size(index)
    if (height, width) != image.shape[:2]:
        found = f"{image.shape[1]} x {image.shape[0]}"
        raise ValueError(f"{path}: {name} is annotated as {width} x {height} pixels, found {found}")
    return replace(data.annotated(index), image=image)
