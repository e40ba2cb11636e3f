"""What a trace of a network says about one picture, as plain data: each function is one section of the page.

Boxes are in pixels of the picture as the network saw it, before padding. B is 1 throughout, and left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from maskrcnn import boxes as box_functions
from maskrcnn import ops
from maskrcnn.config import BoxHeadConfig, ModelConfig
from maskrcnn.explain.encoding import float32, int32, photograph, reduced, sheet, uint8
from maskrcnn.model.mask_head import MaskHead
from maskrcnn.model.mask_rcnn import MaskRCNN
from maskrcnn.structures import Batch
from maskrcnn.targets.matching import POSITIVE, match
from maskrcnn.trace import Trace

_MOST_POOLED = 30
"""RoIs, and detections, of which all channels are shown; of the others their norm."""
_BEST_CLASSES = 5
_MOST_POSITIVES = 3000


def picture(batch: Batch, config: ModelConfig) -> dict[str, Any]:
    """The picture as the network saw it, and what became of its size."""
    height, width = batch.image_sizes[0].tolist()
    normalised = batch.images[0, :, :height, :width].float()
    deviation, mean = (torch.tensor(v)[:, None, None] for v in (config.image.deviation, config.image.mean))
    pixels = ((normalised * deviation + mean) * 255).round().clamp(0, 255).to(torch.uint8)
    return {
        "src": photograph(np.ascontiguousarray(pixels.permute(1, 2, 0).numpy())),
        "width": width,
        "height": height,
        "original": batch.original_sizes[0].flip(0).tolist(),
        "padded": [batch.images.shape[3], batch.images.shape[2]],
        "mean": list(config.image.mean),
        "std": list(config.image.deviation),
        "low": normalised.amin(dim=(1, 2)).tolist(),
        "high": normalised.amax(dim=(1, 2)).tolist(),
    }


def features(trace: Trace, model: MaskRCNN) -> list[dict[str, Any]]:
    """The maps of the backbone and, where there is one, of the pyramid: the norm over channels, and the channels.

    kind: "backbone"; "merged" (a map of the pyramid with a coarser one above it), "coarsest" (the backbone's last,
    projected), "extra" (every second cell of that, for the RPN's largest anchors alone).
    """
    from_backbone = trace["backbone"].result
    levels = [
        _level("backbone", f"C{round(math.log2(stride))}", stride, maps)
        for maps, stride in zip(from_backbone, model.backbone.strides, strict=False)
    ]
    if has_pyramid(model):
        kinds = [*["merged"] * (len(from_backbone) - 1), "coarsest", "extra"]
        for kind, name, stride, maps in zip(
            kinds, level_names(model), model.pyramid.strides, trace["pyramid"].result, strict=True
        ):
            levels.append(_level(kind, name, stride, maps))
    return levels


def _level(kind: str, name: str, stride: int, maps: Tensor) -> dict[str, Any]:
    channels, factor = reduced(maps[0])
    return {
        "kind": kind,
        "name": name,
        "stride": stride,
        "norm": sheet(maps[0].float().norm(dim=0)[None]),
        "channels": sheet(channels) | {"factor": factor},
        "channel_count": maps.shape[1],
    }


def has_pyramid(model: MaskRCNN) -> bool:
    """Whether regions come from a pyramid, and not from one map of the backbone."""
    return model.config.variant.features == "pyramid"


def level_names(model: MaskRCNN) -> list[str]:
    """Of the maps that regions come from: P2 for a stride of 4, P3 for one of 8 (FPN section 3), or C4 without FPN."""
    letter = "P" if has_pyramid(model) else "C"
    return [f"{letter}{round(math.log2(stride))}" for stride in model.pyramid.strides]


def anchors(trace: Trace, model: MaskRCNN, detected: Tensor) -> dict[str, Any]:
    """The anchors of each level, what the RPN says of them, and which would be positive for the boxes (D, 4)."""
    outputs, config = trace["rpn"].result, model.config.rpn
    per_cell = model.rpn.anchor_generator.anchors_per_cell
    names, levels = level_names(model), []
    for index, (maps, of_level) in enumerate(zip(trace["pyramid"].result, outputs.anchors, strict=True)):
        rows, columns = maps.shape[-2:]
        grid = of_level.view(rows, columns, per_cell, 4)
        scores = outputs.objectness[index][0].view(rows, columns, per_cell).permute(2, 0, 1).sigmoid()
        levels.append(
            {
                "name": names[index],
                "stride": [
                    float(grid[1, 0, 0, 1] - grid[0, 0, 0, 1]) if rows > 1 else float(model.pyramid.strides[index]),
                    float(grid[0, 1, 0, 0] - grid[0, 0, 0, 0]) if columns > 1 else float(model.pyramid.strides[index]),
                ],
                "rows": rows,
                "columns": columns,
                "cell": grid[0, 0].tolist(),
                "objectness": sheet(scores, 0.0, 1.0),
            }
        )
    return {
        "levels": levels,
        "positive_iou": config.positive_iou,
        "negative_iou": config.negative_iou,
        **positive_anchors(trace, model, detected),
    }


def positive_anchors(trace: Trace, model: MaskRCNN, truths: Tensor) -> dict[str, Any]:
    """How many anchors would be positive for boxes (G, 4), and of the best of them level, row, column, anchor, box and
    IoU."""
    if len(truths) == 0:
        return {"positive": [], "positive_count": 0}
    config, of_levels = model.config.rpn, trace["rpn"].result.anchors
    everything = torch.cat(of_levels)
    truths = truths.to(everything.device)
    matches = match(
        truths[None],
        torch.ones_like(truths[None, :, 0], dtype=torch.bool),
        everything[None],
        torch.ones_like(everything[None, :, 0], dtype=torch.bool),
        positive_iou=config.positive_iou,
        negative_iou=config.negative_iou,
        low_quality=config.low_quality,
        low_quality_iou=config.low_quality_iou,
    )
    positive = (matches.label[0] == POSITIVE).nonzero().flatten()
    truth = matches.ground_truth[0, positive]
    overlap = box_functions.iou(everything[positive][:, None], truths[truth][:, None]).flatten()
    best = overlap.topk(min(len(overlap), _MOST_POSITIVES)).indices.sort().values
    places = anchor_places(trace, model, positive[best])
    rows = zip(places, truth[best].tolist(), overlap[best].tolist(), strict=True)
    return {
        "positive": [[*place, of, round(iou, 4)] for place, of, iou in rows],
        "positive_count": len(positive),
    }


def anchor_places(trace: Trace, model: MaskRCNN, index: Tensor) -> list[list[int]]:
    """[level, row, column, anchor of the cell] of anchors (N,), counted through all levels."""
    per_cell = model.rpn.anchor_generator.anchors_per_cell
    places = []
    for number in index.tolist():
        for level, maps in enumerate(trace["pyramid"].result):
            rows, columns = maps.shape[-2:]
            if number < rows * columns * per_cell:
                cell, anchor = divmod(number, per_cell)
                places.append([level, *divmod(cell, columns), anchor])
                break
            number -= rows * columns * per_cell
    return places


def proposals(trace: Trace, model: MaskRCNN) -> dict[str, Any]:
    """The boxes before the NMS of proposals, and which of them it kept."""
    call = trace["propose/nms"]
    given = call.arguments
    kept = call.result[0]
    return {
        "boxes": float32(given["boxes"][0]),
        "scores": float32(given["scores"][0]),
        "levels": uint8(given["groups"][0]),
        "kept": int32(kept[kept >= 0]),
        "iou": given["iou_threshold"],
        "max_keep": given["max_keep"],
        "level_names": level_names(model),
    }


def rois(trace: Trace, model: MaskRCNN, of_detections: Sequence[int]) -> dict[str, Any]:
    """The RoIs of the box head: what was pooled for each, and what the head says of it.

    of_detections: those that became detections, which have all their channels shown.
    """
    given, config = trace["detect/select"].arguments, model.config.box_head
    valid = given["proposals"].valid[0]
    logits = given["logits"][0][valid]  # (R, K)
    boxes = given["proposals"].boxes[0][valid]  # (R, 4)
    deltas = given["deltas"][0][valid]  # (R, K - 1, 4)
    scores = logits.softmax(dim=-1)
    best = scores.topk(min(_BEST_CLASSES, scores.shape[1]), dim=-1)
    label = scores[:, 1:].argmax(dim=-1)  # of the best foreground class, counted from 0
    own = deltas[torch.arange(len(deltas)), label]
    refined = box_functions.decode(own, boxes, config.box_weights, config.clamp_both_sides)
    refined = box_functions.clip(refined[None], given["image_sizes"])[0]
    pooled = trace.all("detect/pool")[0].result[0][: len(boxes)].float()  # (R, C, S, S)
    shown = dict.fromkeys([*of_detections, *range(len(boxes))])
    return {
        "boxes": float32(boxes),
        "strides": [float(stride) for stride in model.pyramid.pooled_strides],
        "level_names": level_names(model)[: len(model.pyramid.pooled_strides)],
        "finest_size": ops.FINEST_SIZE,
        "roi_layer": model.config.variant.roi_layer,
        "through_fifth_stage": model.config.variant.features == "c4",
        "box": _pooling(config) | {"pooled_norm": sheet(pooled.norm(dim=1)), "cells": pooled.shape[-1]},
        "pooled": {str(index): sheet(pooled[index]) for index in list(shown)[:_MOST_POOLED] if index < len(boxes)},
        "top": int32(_padded(best.indices)),
        "top_scores": float32(_padded(best.values)),
        "deltas": float32(own),
        "delta_label": int32(label + 1),
        "refined": float32(refined),
        "box_weights": list(config.box_weights),
    }


def candidates(trace: Trace, config: BoxHeadConfig) -> tuple[dict[str, Any], list[int]]:
    """The boxes before the NMS of detections, and which of them it kept; and of each that it kept the RoI."""
    select, call = trace["detect/select"].arguments, trace["detect/select/nms"]
    given = call.arguments
    real = given["scores"][0] > -math.inf
    place = real.cumsum(0) - 1  # among those that are candidates
    kept = call.result[0]
    kept = kept[kept >= 0]
    boxes = given["boxes"][0]
    if config.nms_in_original_pixels:
        factor = select["image_sizes"][0].to(boxes.dtype) / select["original_sizes"][0].to(boxes.dtype)
        boxes = boxes * factor.flip(0).repeat(2)
    roi = trace["detect/select/keep_top"].result.index[0] // (select["logits"].shape[-1] - 1)
    section = {
        "boxes": float32(boxes[real]),
        "scores": float32(given["scores"][0][real]),
        "labels": int32(given["groups"][0][real]),
        "rois": int32(roi[real]),
        "kept": int32(place[kept]),
        "iou": given["iou_threshold"],
        "max_keep": given["max_keep"],
        "score_threshold": config.score_threshold,
    }
    return section, roi[kept].tolist()


def masks(trace: Trace, model: MaskRCNN, threshold: float | None) -> dict[str, Any] | None:
    """Of each detection: the cells of its mask, the logits behind them, and the features that they were made from.

    threshold: from which value on a cell belongs to the object; None where no cut decides it. There are no logits from
    heads whose cells are no sigmoid of one number: those that learn pyramids, or let classes compete.
    """
    head = model.roi_heads.mask_head
    if head is None:
        return None
    config, found = model.config.mask_head, trace["detect"].result
    count = int(found.valid[0].sum())
    values = found.masks[0][:count]
    has_logits = type(head).probabilities is MaskHead.probabilities
    pooled = trace.all("detect/pool")[1].result[0][:count].float()
    return {
        "size": values.shape[-1],
        "values": float32(values),
        "logits": float32(trace["detect/mask_head"].result[0][:count]) if has_logits else None,
        "threshold": threshold,
        "kind": "pyramid" if config.targets == "pyramid" else "mask",
        "paste": config.paste,
        "box": _pooling(config) | {"cells": pooled.shape[-1]},
        "pooled_norm": sheet(pooled.norm(dim=1)),
        "pooled": {str(index): sheet(pooled[index]) for index in range(min(count, _MOST_POOLED))},
    }


def _pooling(head: Any) -> dict[str, Any]:
    return {"size": head.pooled_size, "sampling_ratio": head.sampling_ratio, "aligned": head.aligned}


def _padded(best: Tensor) -> Tensor:
    """(R, n) -> (R, 5), with zeros where there are fewer classes."""
    return torch.nn.functional.pad(best, (0, _BEST_CLASSES - best.shape[1]))
