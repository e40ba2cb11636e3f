"""Writes text in the files of COCO, and in those of MMOCR, which are like them: one `instances_*.json` a split.

`coco.py` and `mmocr.py` read them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from maskrcnn.data.data_set_writer import rounded_outlines, save_picture, whole_words, write_whole
from maskrcnn.data.icdar_writer import annotation_lines
from maskrcnn.data.loader import Samples
from maskrcnn.data.mmocr import ANNOTATION_FILES
from maskrcnn.data.polygons import area, bounds
from maskrcnn.ops import run_length
from maskrcnn.sample import Sample

TEXT = 1
"""The id of the only category."""
DECIMALS = 2
"""Of COCO's coordinates."""


def coco_annotations(sample: Sample, image_id: int, ids: Iterator[int]) -> list[dict[str, Any]]:
    """COCO's annotations of one picture: polygons of legible text, and each don't-care word a crowd.

    Corners are rounded to two decimals. A crowd is the run-length code of the pixels inside of the rounded corners, its
    counts a list, and its box and area are those of the pixels. COCO keeps no transcriptions.
    Raises ValueError for what `rounded_outlines` refuses, and for a don't-care word that covers no pixel.
    """
    entries = []
    for (where, corners), ignore in zip(rounded_outlines(sample, _as_it_is, DECIMALS), sample.ignore, strict=True):
        segmentation: Any = [corners.ravel().tolist()]
        size, box = round(area(corners), 2 * DECIMALS + 1), bounds(corners)  # half a product, exactly
        if ignore:
            (code,) = run_length.from_polygons([corners], *sample.image.shape[:2])
            segmentation = {"counts": code.counts.tolist(), "size": [code.height, code.width]}
            size, box = int(run_length.area([code])[0]), run_length.box([code])[0].astype(int)
            if size == 0:
                raise ValueError(f"{where}: found corners {corners.tolist()}, expected some pixel between them")
        entries.append(
            {
                "segmentation": segmentation,
                "area": size,
                "iscrowd": int(ignore),
                "image_id": image_id,
                "bbox": np.round([*box[:2], *(box[2:] - box[:2])], DECIMALS).tolist(),
                "category_id": TEXT,
                "id": next(ids),
            }
        )
    return entries


def mmocr_annotations(sample: Sample, image_id: int, ids: Iterator[int]) -> list[dict[str, Any]]:
    """The annotations of one picture as MMOCR converts those of ICDAR2015: corners in integers, no transcription.

    Raises ValueError for what `whole_words` refuses.
    """
    entries = []
    for word in whole_words(sample, _as_it_is):
        x1, y1, x2, y2 = bounds(word.corners).tolist()
        entries.append(
            {
                "iscrowd": int(word.ignore),
                "category_id": TEXT,
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": area(word.corners),
                "segmentation": [word.corners.ravel().tolist()],
                "image_id": image_id,
                "id": next(ids),
            }
        )
    return entries


def write_coco(train: Samples, validation: Samples, directory: str | os.PathLike) -> None:
    """Writes both splits below `directory`, which must be empty or not exist yet, as COCO's of 2017.

    As there, a picture is called by its id, and no id comes twice, nor in both files.
    Raises what `write_whole` raises, and ValueError for a sample that the format cannot express.
    """

    def write(folder: Path) -> None:
        (folder / "annotations").mkdir()
        image_ids, ids = count(1), count(1)  # pycocotools takes the id 0 for "nothing was matched"
        for split, samples in (("train2017", train), ("val2017", validation)):
            (folder / split).mkdir()
            images, annotations = [], []
            for index in range(len(samples)):
                sample, image_id = samples[index], next(image_ids)
                file_name = f"{image_id:012}.jpg"
                height, width = sample.image.shape[:2]
                images.append({"file_name": file_name, "height": height, "width": width, "id": image_id})
                annotations += coco_annotations(sample, image_id, ids)
                save_picture(sample.image, folder / split / file_name)
            content = {
                "info": {"description": "Text in the format of COCO"},
                "licenses": [],
                "images": images,
                "annotations": annotations,
                "categories": [{"supercategory": "text", "id": TEXT, "name": "text"}],
            }
            (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(content), "utf-8")

    write_whole(directory, write)


def write_mmocr(train: Samples, test: Samples, directory: str | os.PathLike) -> None:
    """Writes both splits below `directory`, which must be empty or not exist yet, as MMOCR converts ICDAR2015.

    Ids begin at 0 in each file, and pictures come in no order: as there, where it is that of a folder's listing.
    `annotations` holds the text files that were converted.
    Raises what `write_whole` raises, and ValueError for a sample that the format cannot express.
    """

    def write(folder: Path) -> None:
        for split, name, samples in (("train", "training", train), ("test", "test", test)):
            pictures, texts = folder / "imgs" / name, folder / "annotations" / name
            pictures.mkdir(parents=True)
            texts.mkdir(parents=True)
            ids, images, annotations = count(), [], []
            for image_id, index in enumerate(reversed(range(len(samples)))):
                sample, number = samples[index], index + 1
                height, width = sample.image.shape[:2]
                images.append(
                    {
                        "file_name": f"{name}/img_{number}.jpg",
                        "height": height,
                        "width": width,
                        "segm_file": f"{name}/gt_img_{number}.txt",
                        "id": image_id,
                    }
                )
                annotations += mmocr_annotations(sample, image_id, ids)
                lines = annotation_lines(sample, _as_it_is)
                encoding = "utf-8-sig" if split == "train" else "utf-8"  # as ICDAR2015's own
                (texts / f"gt_img_{number}.txt").write_bytes(lines.encode(encoding))
                save_picture(sample.image, pictures / f"img_{number}.jpg")
            content = {"images": images, "categories": [{"id": TEXT, "name": "text"}], "annotations": annotations}
            (folder / ANNOTATION_FILES[split]).write_text(json.dumps(content), "utf-8")

    write_whole(directory, write)


def _as_it_is(polygon: np.ndarray) -> np.ndarray:
    return polygon
