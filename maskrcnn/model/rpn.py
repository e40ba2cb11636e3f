"""The region proposal network (Faster R-CNN section 3.1, on a pyramid as in FPN section 4.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskrcnn import boxes as box_functions
from maskrcnn import ops
from maskrcnn.config import ModelConfig
from maskrcnn.model.anchors import AnchorGenerator
from maskrcnn.model.convolution import Convolution3x3
from maskrcnn.ops.convolution import convolve_at
from maskrcnn.precision import widened
from maskrcnn.slots import NOT_A_CANDIDATE, gather_rows, keep_top
from maskrcnn.structures import Batch, Targets
from maskrcnn.targets import losses
from maskrcnn.targets.losses import Loss
from maskrcnn.targets.matching import ignore_overlapping, match
from maskrcnn.targets.sampling import sample_randomly

DELTA_WEIGHTS = (1.0, 1.0, 1.0, 1.0)


class RPNOutputs(NamedTuple):
    """What the head says about every anchor; N_l anchors on level l."""

    objectness: list[Tensor]
    """L tensors (B, N_l): logits."""
    deltas: list[Tensor]
    """L tensors (B, N_l, 4)."""
    anchors: list[Tensor]
    """L tensors (N_l, 4), the same for every image."""


class Proposals(NamedTuple):
    """Boxes that may hold an object, best first."""

    boxes: Tensor
    """(B, R, 4) in pixels of the padded batch image, without gradient; zeros in empty slots."""
    valid: Tensor
    """(B, R) bool."""


class RPNHead(nn.Module):
    """One small network slides over every level: a 3 x 3 convolution, then objectness and four deltas per anchor."""

    def __init__(self, channels: int, anchors: int) -> None:
        super().__init__()
        self.convolution = Convolution3x3(channels, channels)
        self.objectness = nn.Conv2d(channels, anchors, 1)
        self.deltas = nn.Conv2d(channels, anchors * 4, 1)
        for layer in (self.convolution, self.objectness, self.deltas):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)

    def forward(self, features: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """L feature maps (B, C, H_l, W_l) -> objectness (B, N_l) and deltas (B, N_l, 4) of each level.

        N_l = H_l * W_l * anchors per cell, in the anchors' order: row, column, anchor.
        """
        kernel, bias = self._both()
        objectness, deltas = [], []
        for feature in features:
            hidden = F.relu(self.convolution(feature), inplace=True)
            both = F.conv2d(hidden, kernel, bias).permute(0, 2, 3, 1)  # (B, H_l, W_l, 5 * anchors per cell)
            anchors = self.objectness.out_channels
            objectness.append(both[..., :anchors].flatten(1))
            deltas.append(both[..., anchors:].reshape(feature.shape[0], -1, 4))
        return objectness, deltas

    def at(self, features: Sequence[Tensor], index: Tensor) -> tuple[Tensor, Tensor]:
        """The same for a few anchors: index (B, S) into those of all levels -> objectness (B, S), deltas (B, S, 4)."""
        anchors = self.objectness.out_channels
        kernel, bias = self._both()
        hidden = convolve_at(features, index // anchors, self.convolution.weight, self.convolution.bias)
        # Channels last, as in `convolve_at`: so the gradient comes in the layout in which training keeps the kernel.
        both = F.linear(F.relu(hidden), kernel.permute(0, 2, 3, 1).flatten(1), bias)  # (B, S, 5 * anchors per cell)
        another = (index % anchors)[..., None] != torch.arange(anchors, device=index.device)  # (B, S, anchors per cell)
        objectness = both[..., :anchors].masked_fill(another, 0).sum(dim=-1)
        deltas = both[..., anchors:].unflatten(-1, (anchors, 4)).masked_fill(another[..., None], 0).sum(dim=-2)
        return objectness, deltas

    def _both(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of both 1 x 1 convolutions as one, so that the largest maps of the network are read once."""
        layers = (self.objectness, self.deltas)
        return torch.cat([layer.weight for layer in layers]), torch.cat([layer.bias for layer in layers])


class RPN(nn.Module):
    """Head, proposals and losses of the first stage."""

    def __init__(self, config: ModelConfig, strides: Sequence[int]) -> None:
        """strides of the L levels that the RPN looks at, P2 to P6."""
        super().__init__()
        self.config = config.rpn
        self.clamp_both_sides = config.box_head.clamp_both_sides
        self.anchor_generator = AnchorGenerator(config.anchors, strides)
        self.head = RPNHead(config.region_channels, self.anchor_generator.anchors_per_cell)

    def forward(self, batch: Batch, features: Sequence[Tensor]) -> RPNOutputs:
        """The head's outputs on L feature maps (B, C, H_l, W_l), beside the anchors they speak of."""
        objectness, deltas = self.head(features)
        grids = [tuple(feature.shape[-2:]) for feature in features]
        anchors = self.anchor_generator(grids, tuple(batch.images.shape[-2:]))
        return RPNOutputs(list(map(widened, objectness)), list(map(widened, deltas)), anchors)

    def propose(self, outputs: RPNOutputs, image_sizes: Tensor, for_training: bool) -> Proposals:
        """The best boxes of all levels after NMS within each level (Faster R-CNN section 3.3, FPN section 4.1).

        image_sizes (B, 2): height, width to clip to. Proposals carry no gradient: the losses of the second stage do
        not reach the RPN through the coordinates (Mask R-CNN appendix B, "approximate" end-to-end training).
        """
        config = self.config
        candidates = config.candidates_train if for_training else config.candidates_test
        kept = config.proposals_train if for_training else config.proposals_test
        boxes, scores, levels = [], [], []
        for level, anchors in enumerate(outputs.anchors):
            objectness, deltas = outputs.objectness[level].detach(), outputs.deltas[level].detach()
            best = keep_top(objectness, torch.sym_min(candidates, objectness.shape[1]))
            decoded = box_functions.decode(
                gather_rows(deltas, best.index), anchors[best.index], DELTA_WEIGHTS, self.clamp_both_sides
            )
            decoded = box_functions.clip(decoded, image_sizes)
            large_enough = ((decoded[..., 2:] - decoded[..., :2]) >= config.minimum_size).all(dim=-1)
            score = gather_rows(objectness, best.index)
            boxes.append(decoded)
            scores.append(score.masked_fill(~(best.valid & large_enough), NOT_A_CANDIDATE))
            levels.append(torch.full_like(best.index, level))
        all_boxes, all_scores = torch.cat(boxes, dim=1), torch.cat(scores, dim=1)
        index = ops.nms(
            all_boxes, all_scores, torch.cat(levels, dim=1), iou_threshold=config.nms_iou, max_keep=kept
        )
        valid = index >= 0
        survivors = gather_rows(all_boxes, index.clamp(min=0))
        return Proposals(survivors.masked_fill(~valid[..., None], 0.0), valid)

    def losses(
        self, outputs: RPNOutputs, targets: Targets, features: Sequence[Tensor] | None = None
    ) -> dict[str, Loss]:
        """`rpn_objectness` and `rpn_box` (Faster R-CNN equation 1), per sampled anchor.

        features: the L maps that the outputs were made from. Only a few hundred of all anchors are sampled, and the
        others have no gradient. So the outputs may have been made without any (`torch.no_grad`) if the features are
        given: those of the sampled anchors are then made once more, which saves most of the way back.
        """
        config = self.config
        anchors = torch.cat(outputs.anchors).expand(targets.boxes.shape[0], -1, -1)  # (B, A, 4)
        matches = match(
            targets.boxes,
            targets.valid,
            anchors,
            torch.ones_like(anchors[..., 0], dtype=torch.bool),
            positive_iou=config.positive_iou,
            negative_iou=config.negative_iou,
            low_quality=config.low_quality,
            low_quality_iou=config.low_quality_iou,
        )
        label = ignore_overlapping(matches.label, anchors, targets.boxes, targets.ignore)
        sample = sample_randomly(label, config.samples, config.positive_fraction, targets.seeds)
        if features is None:
            objectness = gather_rows(torch.cat(outputs.objectness, dim=1), sample.index)
            deltas = gather_rows(torch.cat(outputs.deltas, dim=1), sample.index)
        else:
            objectness, deltas = map(widened, self.head.at(features, sample.index))
        sampled_anchors = gather_rows(anchors, sample.index)
        ground_truth = gather_rows(targets.boxes, gather_rows(matches.ground_truth, sample.index))
        goal = box_functions.encode(ground_truth, sampled_anchors, DELTA_WEIGHTS)
        count = losses.rpn_count(sample.positive, sample.valid, config.denominator == "at_least_one_each")
        objectness_loss = losses.rpn_objectness_loss(objectness, sample.positive, sample.valid, count)
        box_loss = losses.box_loss(deltas, goal, sample.positive, count, config.box_loss, config.box_loss_beta)
        return {"rpn_objectness": Loss(objectness_loss, count), "rpn_box": Loss(box_loss, count)}
