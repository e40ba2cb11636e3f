"""A mask head that learns how high a pyramid over each text is (Pyramid Mask Text Detector, arXiv 1903.11800)."""

from __future__ import annotations

from torch import Tensor

from maskrcnn.model.mask_head import MaskHead

WEIGHT = 5.0
"""Of the loss among the others: distances between heights are small numbers beside a cross-entropy."""


class PyramidMaskHead(MaskHead):
    """Regression: what the paper's Mask R-CNN takes for logits are heights here, cut off at 0 and 1 after learning.

    The published network has a sigmoid before the loss. From random weights that is fatal: most cells are low, so at
    first every output falls, into the flat end of the sigmoid, where no gradient of the distance leads out again.
    The paper's head also has `dilation=2` and `upsampling="bilinear"` in its `MaskHeadConfig`.
    """

    def loss(self, logits: Tensor, targets: Tensor, positive: Tensor) -> Tensor:
        return WEIGHT * height_loss(logits, targets, positive)

    def probabilities(self, logits: Tensor) -> Tensor:
        return logits.clamp(0.0, 1.0)


def height_loss(heights: Tensor, targets: Tensor, positive: Tensor) -> Tensor:
    """|heights - targets|, mean over the cells of all positive RoIs, 0-dim; 0 without positives.

    heights and targets (B, R, m, m); positive (B, R) bool.
    """
    distance = (heights - targets.to(heights.dtype)).abs()
    cells = positive.sum().clamp(min=1) * (heights.shape[-1] * heights.shape[-2])
    return distance.masked_fill(~positive[..., None, None], 0.0).sum() / cells
