"""What a step of training would see in the picture, where the ground truth is known."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from maskrcnn.explain.encoding import float32, int32, sheet, uint8
from maskrcnn.explain.network import anchor_places, positive_anchors
from maskrcnn.model.mask_rcnn import MaskRCNN
from maskrcnn.structures import Batch
from maskrcnn.trace import Trace

MEANINGS = {
    "rpn_objectness": "how wrong the RPN is about which of the sampled anchors hold an object",
    "rpn_box": "how far the RPN moves positive anchors from where their objects are",
    "class": "how wrong the box head is about the classes of the sampled RoIs",
    "box": "how far the box head moves positive RoIs from where their objects are",
    "mask": "how wrong the masks of positive RoIs are, pixel by pixel",
    "keypoint": "how far the heat maps of positive RoIs are from their keypoints",
}


def training(trace: Trace, batch: Batch, losses: dict[str, Tensor], model: MaskRCNN) -> dict[str, Any]:
    """Matches, samples, mask targets and losses of one picture, whose don't-care regions are ignored.

    trace, losses: of a forward pass with the targets of `batch`.
    """
    targets = batch.targets
    real = targets.valid[0] | targets.ignore[0]
    chosen = trace["roi_losses/choose"].result
    valid = chosen.valid[0]
    sampled = trace["rpn_losses/sample"].result
    places = anchor_places(trace, model, sampled.index[0][sampled.valid[0]])
    positive = sampled.positive[0][sampled.valid[0]].tolist()
    return {
        "losses": [
            {"name": name, "value": float(value) if value.isfinite() else None, "meaning": MEANINGS[name]}
            for name, value in losses.items()
        ],
        "ground_truth": [
            {"box": box, "label": label, "ignore": ignore}
            for box, label, ignore in zip(
                targets.boxes[0][real].tolist(), targets.labels[0][real].tolist(), targets.ignore[0][real].tolist(),
                strict=True,
            )
        ],
        "anchors": {
            **positive_anchors(trace, model, targets.boxes[0][targets.valid[0]]),
            "sampled": [[*place, int(is_positive)] for place, is_positive in zip(places, positive, strict=True)],
        },
        "rois": {
            "boxes": float32(chosen.boxes[0][valid]),
            "labels": int32(chosen.labels[0][valid]),
            "positive": uint8(chosen.positive[0][valid]),
        },
        **_masks(trace, model, chosen.positive[0]),
    }  # fmt: skip


def _masks(trace: Trace, model: MaskRCNN, positive: Tensor) -> dict[str, Any]:
    """Targets of the positive RoIs, which come first, beside what the head says of them."""
    if model.roi_heads.mask_head is None:
        return {"mask_targets": None, "mask_answers": None}
    goal = trace["roi_losses/mask_targets"].result[0]
    logits = trace["roi_losses/mask_head"].result
    said = model.roi_heads.mask_head.probabilities(logits)[0]
    count = int(positive.sum())
    return {"mask_targets": sheet(goal[:count], 0.0, 1.0), "mask_answers": sheet(said[:count], 0.0, 1.0)}
