"""One picture through a detector, with everything that it computes on the way written down."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import maskrcnn
from maskrcnn.data.collate import inference_batch
from maskrcnn.data.images import read_image
from maskrcnn.data.polygons import area
from maskrcnn.detector import Detector, Found
from maskrcnn.explain import network
from maskrcnn.explain.stages import STAGES, TIMES, TRAINING, Stage
from maskrcnn.explain.training import training
from maskrcnn.model.mask_rcnn import MaskRCNN
from maskrcnn.objects import WORTH_SHOWING
from maskrcnn.precision import computing_in
from maskrcnn.sample import Sample
from maskrcnn.structures import Batch, Detections
from maskrcnn.text import text_shapes
from maskrcnn.text_outlines import mask_outlines
from maskrcnn.trace import Trace, tensor_facts, traced

_MOST_TENSORS = 24
"""Lines of a section's table."""


@dataclass(frozen=True)
class Explanation:
    """What the page shows, as plain data."""

    data: dict[str, Any]
    """Lists, dictionaries, numbers and texts, as JSON has them."""
    found: Found
    """What the detector found, as it says it to everybody."""


def explain(
    detector: Detector,
    picture: str | os.PathLike,
    weights: str = "",
    score_threshold: float | None = None,
    ground_truth: Callable[[np.ndarray], Sample] | None = None,
) -> Explanation:
    """Runs the detector on a picture file, and once more, if there is ground truth, as training would see it.

    weights: what they are called on the page, if they have a name. score_threshold: as for the detector. ground_truth:
    called with the picture (H, W, 3) uint8, gives the sample with what is in it (`maskrcnn.explain.targets`).
    Raises what the detector and `ground_truth` raise, and TypeError for a detector that is compiled or exported.
    """
    if not isinstance(detector.model, MaskRCNN):
        raise TypeError(f"detector.model: found {type(detector.model).__name__}, expected a MaskRCNN")
    path = Path(picture)
    image = read_image(path)
    sample = None if ground_truth is None else ground_truth(image)
    detector(image, score_threshold)  # the first run allocates what the second finds ready
    with traced(detector.model) as trace:
        found = detector(image, score_threshold)
    batch = trace["detect"].arguments["batch"].to("cpu")
    config, model, finds_text = detector.config.model, detector.model, detector.config.finds_text
    detections = _detections(detector, trace, found, score_threshold)
    boxes = torch.tensor([d["box"] for d in detections if d["shown"]], dtype=torch.float32).view(-1, 4)
    candidates, rois = network.candidates(trace, config.box_head)
    for detection, roi in zip(detections, rois, strict=True):
        detection["roi"] = roi
    data = {
        "title": f"{path.name}: one picture through Mask R-CNN",
        "file": path.name,
        "weights": weights,
        "versions": {"maskrcnn": maskrcnn.__version__, "torch": torch.__version__},
        "finds_text": finds_text,
        "class_names": list(config.class_names),
        "picture": network.picture(batch, config),
        "features": network.features(trace, model),
        "anchors": network.anchors(trace, model, boxes),
        "proposals": network.proposals(trace, model),
        "rois": network.rois(trace, model, rois),
        "candidates": candidates,
        "detections": detections,
        "masks": network.masks(trace, model, _mask_threshold(detector)),
        "skeleton": _skeleton(detector),
        "result": {
            "threshold": _threshold(detector, score_threshold),
            "noun": "texts" if finds_text else "objects",
        },
        "time": _times(trace, "scaling, outlines" if finds_text else "scaling, pasting"),
        "training": None,
    }
    stages = [_stage(stage, trace, batch) for stage in STAGES]
    if sample is not None:
        of_training = _training_trace(detector, sample)
        data["training"] = training(*of_training, model)
        stages.append(_stage(TRAINING, of_training[0], batch))
    return Explanation(data | {"stages": stages}, found)


def _training_trace(detector: Detector, sample: Sample) -> tuple[Trace, Batch, dict[str, Tensor]]:
    """The stages of a step of training, without its backward pass; the batch; the losses."""
    batch = inference_batch(sample, detector.config.model.image).to(detector.device)
    in_precision = computing_in(detector.precision, detector.device.type)
    with torch.inference_mode(), in_precision, traced(detector.model) as trace:
        losses = detector.model(batch).losses
    return trace, batch.to("cpu"), losses


def _detections(
    detector: Detector, trace: Trace, found: Found, score_threshold: float | None
) -> list[dict[str, Any]]:
    """Every detection, best first, with its outline in pixels of the picture as the network saw it."""
    all_, network_boxes = found.detections, trace["detect/select"].result.network_boxes[0].cpu()
    batch = trace["detect"].arguments["batch"]
    sizes = (batch.image_sizes[0].double() / batch.original_sizes[0].double()).flip(0).cpu()  # x, y
    threshold = _threshold(detector, score_threshold)
    result = []
    for index in range(int(all_.valid[0].sum())):
        polygon = _outline(detector, all_, index, found.image.shape[:2])
        shown = float(all_.scores[0, index]) >= threshold
        if detector.config.finds_text:
            shown = shown and any(_same(polygon, text.polygon) for text in found.texts)
        keypoints = None
        if all_.keypoints is not None:
            keypoints = (all_.keypoints[0, index].double() * torch.cat((sizes, sizes.new_ones(1)))).tolist()
        result.append(
            {
                "box": network_boxes[index].tolist(),
                "original_box": all_.boxes[0, index].tolist(),
                "score": float(all_.scores[0, index]),
                "label": int(all_.labels[0, index]),
                "shown": bool(shown),
                "polygon": None if polygon is None else (polygon * sizes.numpy()).round(2).tolist(),
                "keypoints": keypoints,
            }
        )
    return result


def _outline(detector: Detector, found: Detections, index: int, size: tuple[int, int]) -> np.ndarray | None:
    """(P, 2) in pixels of the original picture; None where the mask is empty, and of objects without masks."""
    if detector.config.finds_text:
        only = torch.zeros_like(found.valid)
        only[0, index] = True
        shapes = text_shapes(replace(found, valid=only), 0, size, detector.config.text).shapes
        return shapes[0].polygon if shapes else None
    if found.masks is None:
        return None
    mask, box = found.masks[:, index].double().cpu().numpy(), found.boxes[:, index].double().cpu().numpy()
    return max(mask_outlines(mask, box)[0], key=area, default=None)


def _same(outline: np.ndarray | None, other: np.ndarray) -> bool:
    return outline is not None and outline.shape == other.shape and np.allclose(outline, other, atol=1e-6)


def _threshold(detector: Detector, score_threshold: float | None) -> float:
    if score_threshold is not None:
        return score_threshold
    return detector.config.text.score_threshold if detector.config.finds_text else WORTH_SHOWING


def _mask_threshold(detector: Detector) -> float | None:
    """From which value on a cell of a mask belongs to what is reported; None where planes are fitted instead."""
    text = detector.config.text
    if not detector.config.finds_text:
        return 0.5
    return None if text.outlines == "planes" else text.mask_threshold


def _skeleton(detector: Detector) -> list[list[int]]:
    head = detector.config.model.keypoint_head
    if not head.enabled:
        return []
    return [[head.names.index(name) for name in pair] for pair in head.skeleton]


def _stage(stage: Stage, trace: Trace, batch: Batch) -> dict[str, Any]:
    """The section's title, links, time, and the facts of the tensors that its calls gave."""
    calls = [call for call in trace.calls if call.name in stage.calls]
    facts = [fact for call in calls if call.name != "rpn/head" for fact in tensor_facts(call.result, call.name)]
    if stage.id == "input":
        facts = list(tensor_facts(batch.images, "batch.images"))
    elif stage.id == "anchors":
        facts = list(tensor_facts(trace["rpn"].result.anchors, "anchors"))
    return {
        "id": stage.id,
        "title": stage.title,
        "seconds": sum(call.seconds for call in calls) if calls else None,
        "tensors": [fact._asdict() for fact in facts[:_MOST_TENSORS]],
        "module": stage.module,
        "chapter": stage.chapter,
    }


def _times(trace: Trace, outside: str) -> Sequence[dict[str, Any]]:
    """Milliseconds of each part, without those inside it; what is outside of the network, called so, comes last."""
    taken = {name: sum(call.seconds for call in trace.calls if call.name in calls) for name, calls in TIMES.items()}
    taken[outside] = trace.seconds_outside
    there = {call.name for call in trace.calls}
    return [
        {"name": name, "milliseconds": 1e3 * seconds}
        for name, seconds in taken.items()
        if name not in TIMES or there & set(TIMES[name])
    ]
