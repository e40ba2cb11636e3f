"""Running a detector of objects over a data set of COCO's kind: result files, and what they score."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maskrcnn.config import ModelConfig, unused_class
from maskrcnn.data.coco import COCO
from maskrcnn.detector import Detector
from maskrcnn.evaluation.average_precision import AveragePrecision, Kind, average_precision
from maskrcnn.evaluation.coco_results import coco_task, read_results
from maskrcnn.files import write_and_rename
from maskrcnn.objects import FoundObject
from maskrcnn.ops import run_length
from maskrcnn.training.distributed import ALONE, Ranks

LOWEST_SCORE = 0.0
"""Average precision asks for everything that the network reports."""


@dataclass(frozen=True)
class FoundInAll:
    """What a detector found in a data set."""

    objects: tuple[tuple[FoundObject, ...], ...]
    """Of each picture, in the order of the data set."""
    unreadable: Mapping[int, str] = field(default_factory=dict)
    """What is wrong with the pictures that could not be read, by their number. Nothing was found in them, so all their
    objects are missed: a broken picture cannot raise a score."""


def category_ids(class_names: Sequence[str], data: COCO) -> tuple[int, ...]:
    """The id that `data` gives to each class of a network, found by its name.

    0 for an output of which nothing is ever found (`unused_class`): torchvision's networks for COCO have ten.
    Warns of classes that only the data has: all their objects count as missed. Raises ValueError for classes that the
    data does not have: what is found of them would count as false.
    """
    ids = dict(zip(data.class_names, data.category_ids, strict=True))
    unused = {unused_class(label) for label in range(1, len(class_names) + 1)}
    unknown = [name for name in class_names if name not in ids and name not in unused]
    if unknown:
        more = ", ..." if len(unknown) > 5 else ""
        raise ValueError(
            f"{data.file.path}: found no category for {len(unknown)} of the {len(class_names)} classes of the weights: "
            f"{', '.join(unknown[:5])}{more}"
        )
    missed = [name for name in ids if name not in class_names]
    if missed:
        more = ", ..." if len(missed) > 5 else ""
        text = f"the weights do not know {len(missed)} of the {len(ids)} classes: {', '.join(missed[:5])}{more}"
        warnings.warn(f"{data.file.path}: {text}; they count as not found", stacklevel=2)
    return tuple(ids.get(name, 0) for name in class_names)


def check_keypoints(model: ModelConfig, data: COCO) -> None:
    """Raises ValueError if a network finds other keypoints than those that `data` has."""
    names = model.keypoint_head.names
    if model.keypoint_head.enabled and names != data.keypoint_names:
        raise ValueError(
            f"{data.file.path}: found the keypoints {', '.join(data.keypoint_names)}, expected those of the weights: "
            f"{', '.join(names)}"
        )


def find_objects(
    detector: Detector,
    data: COCO,
    progress: Callable[[int, int], None] = lambda done, total: None,
    ranks: Ranks = ALONE,
) -> FoundInAll:
    """What the detector finds in each picture; `progress` is told how many are done, and of how many.

    A picture that cannot be read is noted and passed over. Of several ranks each looks at its share of the pictures;
    the first returns what all have found, the others nothing.
    """
    shares: list[tuple[tuple[FoundObject, ...], str]] = []
    for index in range(ranks.rank, len(data), ranks.count):
        try:
            image = data[index].image
        except ValueError as error:
            shares.append(((), str(error)))
        else:
            shares.append((detector(image, LOWEST_SCORE).objects, ""))
        progress(min(index + ranks.count, len(data)), len(data))
    gathered = ranks.gathered(shares)
    unreadable = {index: wrong for index, (_, wrong) in enumerate(gathered) if wrong}
    return FoundInAll(tuple(objects for objects, _ in gathered), unreadable)


def result_kinds(model: ModelConfig) -> tuple[Kind, ...]:
    """The kinds of results that a network gives."""
    heads: dict[Kind, bool] = {"segm": model.mask_head.enabled, "keypoints": model.keypoint_head.enabled}
    return ("bbox", *(kind for kind, enabled in heads.items() if enabled))


def write_results(
    found: Sequence[Sequence[FoundObject]], data: COCO, ids: Sequence[int], kinds: Sequence[Kind], folder: Path
) -> dict[Kind, Path]:
    """Writes what was found in each picture as COCO's result files, one for each kind, and returns where they are.

    ids: the category of each class of the network, label 1 first. Results of masks carry no boxes: with them,
    pycocotools would take a mask for as large as its box.
    """
    paths = {}
    for kind in kinds:
        records = [
            {"image_id": image_id, "category_id": ids[one.label - 1], "score": one.score, **_RECORDS[kind](one)}
            for image_id, objects in zip(data.image_ids, found, strict=True)
            for one in objects
        ]
        paths[kind] = folder / f"{kind}.json"
        write_and_rename(paths[kind], json.dumps(records).encode())
    return paths


def _box_record(found: FoundObject) -> dict[str, Any]:
    x1, y1, x2, y2 = found.box.tolist()
    return {"bbox": [x1, y1, x2 - x1, y2 - y1]}


def _mask_record(found: FoundObject) -> dict[str, Any]:
    size = [found.mask.height, found.mask.width]
    return {"segmentation": {"size": size, "counts": run_length.to_string(found.mask)}}


def _keypoint_record(found: FoundObject) -> dict[str, Any]:
    # COCO's third number is the visibility, 1 for every point that is reported.
    return {"keypoints": [value for x, y, _ in found.keypoints.tolist() for value in (x, y, 1)]}


_RECORDS = {"bbox": _box_record, "segm": _mask_record, "keypoints": _keypoint_record}


def score_results(path: Path, data: COCO, kind: Kind) -> AveragePrecision:
    """The average precision of a result file, read back as anybody's would be. Raises what reading it raises."""
    task = coco_task(data.file, read_results(path, data.file, kind))
    return average_precision(task.truths, task.detections, task.overlap, kind, len(task.class_names))[0]
