"""The second stage: which proposals to learn from, and the heads on the pooled features of each RoI."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from maskrcnn import boxes as box_functions
from maskrcnn.config import ModelConfig
from maskrcnn.model.box_head import BoxHead, BoxOutputs
from maskrcnn.model.detections import NetworkDetections, select_detections
from maskrcnn.model.keypoint_decoding import decode_each, decode_keypoints, scale_keypoints
from maskrcnn.model.keypoint_head import KeypointHead
from maskrcnn.model.mask_head import MaskHead
from maskrcnn.model.parts import make_box_head, make_mask_head, make_pooling
from maskrcnn.model.pooling import PyramidRoIAlign
from maskrcnn.model.rpn import Proposals
from maskrcnn.slots import gather_rows
from maskrcnn.structures import Batch, Detections, Targets
from maskrcnn.targets import losses
from maskrcnn.targets.keypoints import keypoint_cells
from maskrcnn.targets.losses import Loss
from maskrcnn.targets.mask_targets import mask_targets
from maskrcnn.targets.matching import IGNORED, POSITIVE, Matches, ignore_overlapping, match
from maskrcnn.targets.sampling import sample_hardest, sample_randomly


class TrainingRoIs(NamedTuple):
    """The RoIs that the second stage learns from; positives come first."""

    boxes: Tensor
    """(B, R, 4)."""
    labels: Tensor
    """(B, R) int64: the class to say, 0 for background."""
    ground_truth: Tensor
    """(B, R) int64: the ground-truth slot of each positive."""
    positive: Tensor
    """(B, R) bool."""
    valid: Tensor
    """(B, R) bool."""


class RoIHeads(nn.Module):
    """Box head, mask head and keypoint head with their sampling, pooling and losses."""

    real_slots_only = True
    """On a CPU the heads skip trailing slots that are empty in every image. A GPU must not: it would have to wait to
    learn their number, and the heads would see another shape in every step."""

    def __init__(self, config: ModelConfig, strides: Sequence[int]) -> None:
        """strides of the levels that RoIs are pooled from, P2 to P5."""
        super().__init__()
        self.config = config
        self.pool: PyramidRoIAlign = make_pooling(config, strides)
        self.box_head: BoxHead = make_box_head(config)
        self.mask_head: MaskHead | None = make_mask_head(config) if config.mask_head.enabled else None
        self.keypoint_head = KeypointHead(config) if config.keypoint_head.enabled else None

    def losses(
        self, features: Sequence[Tensor], proposals: Proposals, targets: Targets, image_sizes: Tensor
    ) -> dict[str, Loss]:
        """`class` and `box` per sampled RoI, `mask` per positive and `keypoint` per labelled point, of the heads that
        there are (paper section 3: L = L_cls + L_box + L_mask).

        features: L maps (B, C, H_l, W_l); image_sizes (B, 2). Raises ValueError if the targets have keypoints of
        another number than the keypoint head.
        """
        config = self.config.box_head
        rois = self.choose_training_rois(features, proposals, targets)
        outputs = self._run_box_head(features, rois.boxes, rois.valid)
        ground_truth_boxes = gather_rows(targets.boxes, rois.ground_truth)
        goal = box_functions.encode(ground_truth_boxes, rois.boxes, config.box_weights)
        deltas, sampled = self.box_head.deltas_of(outputs, rois.labels), rois.valid.sum()
        box_loss = losses.box_loss(deltas, goal, rois.positive, sampled, config.box_loss, config.box_loss_beta)
        result = {
            "class": Loss(losses.class_loss(outputs.logits, rois.labels, rois.valid), sampled),
            "box": Loss(box_loss, sampled),
        }
        positives = int(config.samples * config.positive_fraction)  # no positive lies in a later slot
        used = self._used_slots(rois.positive[:, :positives])
        first = TrainingRoIs(*(field[:, :used] for field in rois))
        if self.mask_head is not None:
            result["mask"] = self._mask_loss(features, first, targets, image_sizes)
        if self.keypoint_head is not None:
            result["keypoint"] = self._keypoint_loss(features, first, targets)
        return result

    @torch.no_grad()
    def detect(self, features: Sequence[Tensor], proposals: Proposals, batch: Batch) -> Detections:
        """What is in each picture, best first: boxes, classes, scores, and masks and keypoints of boxes that remain.

        Those heads run on detections, not on proposals: fewer and better placed (paper section 3.1, "Inference").
        Nothing carries a gradient, and nothing is learnt: norms remember no statistics of this pass.
        """
        outputs = self._run_box_head(features, proposals.boxes, proposals.valid)
        found: NetworkDetections = select_detections(
            outputs.logits,
            self.box_head.foreground_deltas(outputs),
            proposals,
            batch.image_sizes,
            batch.original_sizes,
            self.config.box_head,
        )
        masks = None
        if self.mask_head is not None:
            logits = self._run_mask_head(features, found.network_boxes, found.detections.labels, found.detections.valid)
            masks = self.mask_head.probabilities(logits).masked_fill(~found.detections.valid[..., None, None], 0.0)
        keypoints = None if self.keypoint_head is None else self._find_keypoints(features, found, batch)
        return replace(found.detections, masks=masks, keypoints=keypoints)

    def choose_training_rois(self, features: Sequence[Tensor], proposals: Proposals, targets: Targets) -> TrainingRoIs:
        """Matches the proposals and samples RoIs from them (Fast R-CNN section 2.3: 512 an image, a quarter positive).

        The ground-truth boxes join the proposals, so that there is something positive from the first step on.
        """
        config = self.config.box_head
        boxes, valid, matches = self._match(proposals, targets)
        positive = matches.label == POSITIVE
        labels = gather_rows(targets.labels, matches.ground_truth) * positive
        state = ignore_overlapping(matches.label, boxes, targets.boxes, targets.ignore)
        if config.sampler == "hard":
            with torch.no_grad():
                logits = self._run_box_head(features, boxes, valid).logits
            loss = losses.class_loss_each(logits, labels)
            sample = sample_hardest(state, loss, config.samples, config.positive_fraction)
        else:
            sample = sample_randomly(state, config.samples, config.positive_fraction, targets.seeds)
        return TrainingRoIs(
            gather_rows(boxes, sample.index),
            gather_rows(labels, sample.index).masked_fill(~sample.positive, 0),
            gather_rows(matches.ground_truth, sample.index),
            sample.positive,
            sample.valid,
        )

    def _match(self, proposals: Proposals, targets: Targets) -> tuple[Tensor, Tensor, Matches]:
        """Candidates (B, N, 4) = proposals and ground truths, their validity (B, N), and what they match."""
        config = self.config.box_head
        boxes = torch.cat((proposals.boxes, targets.boxes), dim=1)
        valid = torch.cat((proposals.valid, targets.valid), dim=1)
        rules = {
            "positive_iou": config.positive_iou,
            "negative_iou": config.positive_iou,
            "low_quality": "forced" if config.low_quality else "none",
            "low_quality_iou": config.positive_iou,
        }
        if config.ground_truth_proposals == "match":
            return boxes, valid, match(targets.boxes, targets.valid, boxes, valid, **rules)
        matches = match(targets.boxes, targets.valid, proposals.boxes, proposals.valid, **rules)
        itself = torch.arange(targets.labels.shape[1], device=valid.device).expand_as(targets.labels)
        label = torch.cat((matches.label, torch.where(targets.valid, POSITIVE, IGNORED)), dim=1)
        return boxes, valid, Matches(label, torch.cat((matches.ground_truth, itself), dim=1))

    def _mask_loss(
        self,
        features: Sequence[Tensor],
        rois: TrainingRoIs,
        targets: Targets,
        image_sizes: Tensor,
    ) -> Loss:
        logits = self._run_mask_head(features, rois.boxes, rois.labels, rois.positive)
        size, convention = logits.shape[-1], self.config.mask_head.targets
        goal = mask_targets(targets, rois.ground_truth, rois.boxes, image_sizes, size, convention)
        return Loss(self.mask_head.loss(logits, goal, rois.positive), rois.positive.sum())

    def _keypoint_loss(self, features: Sequence[Tensor], rois: TrainingRoIs, targets: Targets) -> Loss:
        """Of the keypoints of all positives, whatever their class; a batch without keypoints has nothing to learn."""
        names = self.config.keypoint_head.names
        keypoints = targets.keypoints
        if keypoints is None:
            keypoints = targets.boxes.new_zeros(*targets.labels.shape, len(names), 3)
        if keypoints.shape[2] != len(names):
            raise ValueError(f"found targets of {keypoints.shape[2]} keypoints, expected {len(names)}: {names}")
        logits = self.keypoint_head(self.pool(features, rois.boxes, self.config.keypoint_head))
        goal = keypoint_cells(gather_rows(keypoints, rois.ground_truth), rois.boxes, logits.shape[-1])
        labelled = goal.valid & rois.positive[..., None]
        return Loss(losses.keypoint_loss(logits, goal.cell, labelled), labelled.sum())

    def _find_keypoints(self, features: Sequence[Tensor], found: NetworkDetections, batch: Batch) -> Tensor:
        """(B, D, J, 3) x, y in pixels of the original pictures, and score; found where the features are."""
        valid = found.detections.valid
        boxes = found.network_boxes[:, : self._used_slots(valid)]
        heat_maps = self.keypoint_head(self.pool(features, boxes, self.config.keypoint_head)).flatten(0, 1)
        if self._may_look_at(boxes):
            points = decode_each(heat_maps, boxes.flatten(0, 1))
        else:
            points = decode_keypoints(heat_maps, boxes.flatten(0, 1), largest=batch.images.shape[-2:])
        points = scale_keypoints(points.unflatten(0, boxes.shape[:2]), batch.image_sizes, batch.original_sizes)
        return _pad_slots(points, valid.shape[1]).masked_fill(~valid[..., None, None], 0.0)

    def _run_box_head(self, features: Sequence[Tensor], rois: Tensor, valid: Tensor) -> BoxOutputs:
        used = self._used_slots(valid)
        outputs = self.box_head(self.pool(features, rois[:, :used], self.config.box_head), valid[:, :used])
        return BoxOutputs(*(_pad_slots(output, rois.shape[1]) for output in outputs))

    def _run_mask_head(self, features: Sequence[Tensor], rois: Tensor, labels: Tensor, valid: Tensor) -> Tensor:
        used = self._used_slots(valid)
        pooled = self.pool(features, rois[:, :used], self.config.mask_head)
        return _pad_slots(self.mask_head(pooled, labels[:, :used]), rois.shape[1])

    def _used_slots(self, valid: Tensor) -> int:
        """How many leading slots the heads run on: all, or on a CPU up to the last that some image of (B, R) uses."""
        if not self._may_look_at(valid):
            return valid.shape[1]
        # The last, not the number: ground truths come behind the empty slots of the proposals.
        used = valid.any(dim=0).nonzero()
        return int(used[-1]) + 1 if len(used) else 1

    def _may_look_at(self, values: Tensor) -> bool:
        """Whether Python may ask for values: on a CPU nothing has to wait for them."""
        return self.real_slots_only and values.device.type == "cpu" and not torch.compiler.is_compiling()


def _pad_slots(values: Tensor, slots: int) -> Tensor:
    """(B, used, ...) -> (B, slots, ...), zeros at the end."""
    missing = slots - values.shape[1]
    return torch.cat((values, values.new_zeros(values.shape[0], missing, *values.shape[2:])), dim=1)
