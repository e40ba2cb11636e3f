"""What the mask head is compared with: other outputs (table 2b) and no convolutions (table 2e)."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskrcnn.config import ModelConfig
from maskrcnn.model.mask_head import MaskHead
from maskrcnn.precision import widened
from maskrcnn.slots import gather_rows


class ClassAgnosticMaskHead(MaskHead):
    """One map, of whatever class the RoI is (section 4.2, "Class-Specific vs. Class-Agnostic Masks")."""

    def __init__(self, config: ModelConfig) -> None:
        one_map = replace(config.box_head, background_outputs=False)
        super().__init__(replace(config, class_names=("object",), box_head=one_map))

    def forward(self, pooled: Tensor, labels: Tensor) -> Tensor:
        return super().forward(pooled, torch.ones_like(labels))


class SoftmaxMaskHead(MaskHead):
    """Each pixel belongs to one of the K classes, background among them, and they compete for it (table 2b).

    The paper takes "a per-pixel softmax and a multinomial loss", as networks for semantic segmentation do: inside its
    object, a pixel of an RoI should say the object's class, outside it background. So the maps of all other classes
    are pushed down, which couples masks with classes.
    """

    def __init__(self, config: ModelConfig) -> None:
        with_background = replace(config.box_head, background_outputs=True)
        super().__init__(replace(config, box_head=with_background))

    def forward(self, pooled: Tensor, labels: Tensor) -> Tensor:
        """-> (B, R, 2, 2S, 2S): log-probabilities that a pixel is of the RoI's class, and that it is background."""
        batch, rois = labels.shape
        every = self.logits_of_all_classes(pooled.flatten(0, 1)).log_softmax(dim=1)
        pair = torch.stack((labels, torch.zeros_like(labels)), dim=-1)
        return gather_rows(every, pair.flatten(0, 1)).unflatten(0, (batch, rois))

    def loss(self, logits: Tensor, targets: Tensor, positive: Tensor) -> Tensor:
        return multinomial_mask_loss(logits, targets, positive)

    def probabilities(self, logits: Tensor) -> Tensor:
        return logits[:, :, 0].exp()


def multinomial_mask_loss(log_probabilities: Tensor, targets: Tensor, positive: Tensor) -> Tensor:
    """Cross-entropy per pixel, mean over the pixels of all positive RoIs, 0-dim; 0 without positives.

    log_probabilities (B, R, 2, m, m) of each RoI's class and of the background; targets (B, R, m, m) in [0, 1], how
    much of the pixel is object; positive (B, R) bool.
    """
    own, background = log_probabilities.unbind(dim=2)
    targets = targets.to(own.dtype)
    loss = -(targets * own + (1 - targets) * background)
    pixels = positive.sum().clamp(min=1) * (own.shape[-1] * own.shape[-2])
    return loss.masked_fill(~positive[..., None, None], 0.0).sum() / pixels


class FullyConnectedMaskHead(MaskHead):
    """Layers that see the whole RoI, the last of which has a unit for each pixel of each class (table 2e, "MLP").

    It has to learn anew at every place what a convolution learns once: 52 million weights in the first layer alone.
    """

    def __init__(self, config: ModelConfig) -> None:
        nn.Module.__init__(self)
        self.first_class = 0 if config.box_head.background_outputs else 1
        cells = -(-config.mask_head.pooled_size // config.variant.res5_stride)
        self.size = 2 * cells
        units = (config.pooled_channels * cells**2, *config.variant.mask_hidden)
        self.hidden = nn.ModuleList(nn.Linear(before, behind) for before, behind in pairwise(units))
        self.logits = nn.Linear(units[-1], (config.class_count - self.first_class) * self.size**2)
        for layer in (*self.hidden, self.logits):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, pooled: Tensor, labels: Tensor) -> Tensor:
        logits = self.logits_of_all_classes(pooled.flatten(0, 1))
        channel = (labels - self.first_class).clamp(min=0)
        return gather_rows(logits, channel.view(-1, 1)).view(*labels.shape, self.size, self.size)

    def logits_of_all_classes(self, pooled: Tensor) -> Tensor:
        hidden = pooled.flatten(1)
        for layer in self.hidden:
            hidden = F.relu(layer(hidden), inplace=True)
        return widened(self.logits(hidden).unflatten(1, (-1, self.size, self.size)))


class FullyConnectedClassAgnosticMaskHead(ClassAgnosticMaskHead, FullyConnectedMaskHead):
    """One map, from fully connected layers."""


class FullyConnectedSoftmaxMaskHead(SoftmaxMaskHead, FullyConnectedMaskHead):
    """Competing maps, from fully connected layers."""
