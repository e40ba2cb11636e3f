"""The box head: which class an RoI holds, and a better box for it (Fast R-CNN; paper figure 4, right, upper branch)."""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from maskrcnn.config import ModelConfig
from maskrcnn.model.norms import SlotBatchNorm
from maskrcnn.precision import widened
from maskrcnn.slots import gather_rows


class BoxOutputs(NamedTuple):
    """What the box head says about each RoI."""

    logits: Tensor
    """(..., K), background first."""
    deltas: Tensor
    """(..., K or K - 1, 4): a box of its own for every class; see `deltas_of`."""


class BoxHead(nn.Module):
    """Two fully connected layers, then K class scores and a box per class."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        head = config.box_head
        self.first_delta_class = 0 if head.background_outputs else 1
        classes = config.class_count
        self.fc1 = nn.Linear(config.pooled_channels * head.pooled_size**2, head.hidden)
        self.fc2 = nn.Linear(head.hidden, head.hidden)
        self.norm1 = SlotBatchNorm(head.hidden) if head.norm == "batch" else None
        self.norm2 = SlotBatchNorm(head.hidden) if head.norm == "batch" else None
        self.classes = nn.Linear(head.hidden, classes)
        self.deltas = nn.Linear(head.hidden, (classes - self.first_delta_class) * 4)
        if config.initialisation == "mmdetection":
            nn.init.xavier_uniform_(self.fc1.weight)
            nn.init.xavier_uniform_(self.fc2.weight)
            nn.init.normal_(self.classes.weight, std=0.01)
            nn.init.normal_(self.deltas.weight, std=0.001)
            for layer in (self.fc1, self.fc2, self.classes, self.deltas):
                nn.init.zeros_(layer.bias)

    def forward(self, pooled: Tensor, valid: Tensor) -> BoxOutputs:
        """Pooled features (B, R, C, S, S) of RoIs valid (B, R) -> logits (B, R, K), deltas (B, R, K or K - 1, 4)."""
        hidden = pooled.flatten(2)  # channel-major, as in every published checkpoint
        for layer, norm in ((self.fc1, self.norm1), (self.fc2, self.norm2)):
            hidden = layer(hidden)
            if norm is not None:
                hidden = norm(hidden, valid)
            hidden = F.relu(hidden, inplace=True)
        deltas = self.deltas(hidden)
        return BoxOutputs(widened(self.classes(hidden)), widened(deltas.unflatten(-1, (-1, 4))))

    def deltas_of(self, outputs: BoxOutputs, labels: Tensor) -> Tensor:
        """The deltas (B, R, 4) of each RoI's class labels (B, R); those of background RoIs mean nothing."""
        column = (labels - self.first_delta_class).clamp(min=0)
        batch, rois = labels.shape
        return gather_rows(outputs.deltas.flatten(0, 1), column.view(batch * rois, 1)).view(batch, rois, 4)

    def foreground_deltas(self, outputs: BoxOutputs) -> Tensor:
        """The deltas (B, R, K - 1, 4) of all classes but the background."""
        return outputs.deltas[:, :, 1 - self.first_delta_class :]
