"""What `python -m maskrcnn score` does with COCO's files."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from maskrcnn.data.coco_annotations import CocoAnnotations, read_annotations
from maskrcnn.evaluation.average_precision import AveragePrecision, Kind, average_precision, class_numbers
from maskrcnn.evaluation.coco_matching import Matches
from maskrcnn.evaluation.coco_results import CocoTask, coco_task, read_results
from maskrcnn.evaluation.detection_errors import DetectionErrors, detection_errors
from maskrcnn.files import write_json
from maskrcnn.visualize import class_scores, error_breakdown, precision_recall_of_classes
from maskrcnn.wording import counted

_MEANINGS = {
    "AP": "mean of IoU 0.50 to 0.95", "AP50": "IoU 0.50", "AP75": "IoU 0.75",
    "APs": "small", "APm": "medium", "APl": "large",
    "AR": "recall, mean of IoU 0.50 to 0.95", "AR50": "recall, IoU 0.50", "AR75": "recall, IoU 0.75",
    "AR1": "recall of the best detection", "AR10": "of the best 10", "AR100": "of the best 100",
    "ARs": "recall, small", "ARm": "recall, medium", "ARl": "recall, large",
}  # fmt: skip


def score_coco(arguments: argparse.Namespace, kind: Kind) -> None:
    """Prints the 12 or 10 numbers, and leaves tables and diagrams in the folder `--out`, if one is given."""
    if arguments.out:
        Path(arguments.out).mkdir(parents=True, exist_ok=True)  # before the work: a folder may be impossible to make
    annotations = read_annotations(arguments.ground_truth)
    task = coco_task(annotations, read_results(arguments.results, annotations, kind), arguments.sigmas)
    result, matches = average_precision(task.truths, task.detections, task.overlap, kind, len(task.class_names))
    if arguments.json:
        print(json.dumps(result.numbers()))
    else:
        print("\n".join(_report(annotations, task, result)))
    if arguments.out:
        paths = _write(task, result, matches, Path(arguments.out))
        if not arguments.json:
            print(f"{', '.join(str(path) for path in paths)}")


def _report(annotations: CocoAnnotations, task: CocoTask, result: AveragePrecision) -> list[str]:
    """Lines that say what was scored and how."""
    most = max(result.recall_of_best)
    lines = [
        f"{counted(len(annotations.images), 'pictures')}, {counted(len(annotations.objects), 'objects')}, "
        f"{result.ground_truths[0].sum():,} of them counted, {counted(len(task.detections.score), 'detections')}"
    ]
    left_out = len(task.detections.score) - int(result.detections.sum())
    if left_out:
        lines.append(f"not counted: {counted(left_out, 'detections')} beyond the best {most} of a class in a picture")
    for name, value in result.numbers().items():
        meaning = _MEANINGS[name].replace("IoU", "similarity") if task.kind == "keypoints" else _MEANINGS[name]
        lines.append(f"{name:5s}  {result.why_none(name) if value is None else f'{value:.4f}'}  ({meaning})")
    return lines


def _write(task: CocoTask, result: AveragePrecision, matches: Matches, out: Path) -> list[Path]:
    """Writes what `score --help` promises and returns where it is."""
    errors = detection_errors(task.truths, task.detections, task.overlap, result, matches)
    table, classes, curves = (out / name for name in ("scores.json", "classes.png", "precision_recall.png"))
    names = _distinct(task.class_names)
    write_json(
        table,
        {"numbers": result.numbers(), "classes": class_numbers(result, names), "errors": _as_dict(errors, names)},
    )
    class_scores(result, names, classes)
    precision_recall_of_classes(result, names, curves)
    paths = [table, classes, curves]
    if errors is not None:
        error_breakdown(errors, float(np.nanmean(result.precision[0, 0])), out / "errors.png")
        paths.append(out / "errors.png")
    return paths


def _distinct(names: tuple[str, ...]) -> list[str]:
    """The names, with a number behind those that stand there twice."""
    return [f"{name} ({index + 1})" if names.count(name) > 1 else name for index, name in enumerate(names)]


def _as_dict(errors: DetectionErrors | None, names: list[str]) -> dict[str, Any] | None:
    if errors is None:
        return None
    best = {name: dict(zip(names, counts.tolist(), strict=True)) for name, counts in errors.best.items()}
    missed = dict(zip(names, errors.missed.tolist(), strict=True))
    return {"ap50_gained_without": errors.costs, "best_detections": best, "missed": missed}
