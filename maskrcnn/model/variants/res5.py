"""C4: the fifth stage of the ResNet is the head (figure 4, left).

The backbone ends with C4. RoIs are pooled from it, and res5 turns what was pooled into 7 x 7 cells of 2,048 channels,
for the box head as for the mask head. That of the masks is the usual one without its convolutions
(`mask_head.convolutions=0`): res5 has done their work.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from maskrcnn.config import ModelConfig
from maskrcnn.model.box_head import BoxHead, BoxOutputs
from maskrcnn.model.pooling import HeadConfig, PyramidRoIAlign
from maskrcnn.model.resnet import Block, initialise, make_stage
from maskrcnn.precision import widened


class Res5Pooling(nn.Module):
    """Pooling, then the fifth stage on each RoI; both heads share its weights.

    RoIs that both heads look at go through it twice: a quarter more work in training than to remember them, for a
    second stage that need not know.
    """

    def __init__(self, config: ModelConfig, roi_layer: PyramidRoIAlign, block: Block | None) -> None:
        """roi_layer: what pools from C4; block: as for `make_stage`."""
        super().__init__()
        self.roi_layer = roi_layer
        # Called as in a ResNet, of which it is the last of four stages when weights come from ImageNet.
        self.layer4 = make_stage(3, config.region_channels, config.variant.res5_stride, config.backbone, block)
        initialise(self.layer4)
        self.layer4.requires_grad_(config.backbone.frozen_stages < 4)

    def forward(self, features: Sequence[Tensor], rois: Tensor, head: HeadConfig) -> Tensor:
        """One map (B, C, H, W) and RoIs (B, R, 4) -> (B, R, 2C, S, S), or S / 2 at a stride of 2."""
        pooled = self.roi_layer(features, rois, head)
        return self.layer4(pooled.flatten(0, 1)).unflatten(0, rois.shape[:2])


class Res5BoxHead(BoxHead):
    """The average of all cells, then K class scores and a box per class: nothing is hidden between."""

    def __init__(self, config: ModelConfig) -> None:
        nn.Module.__init__(self)
        self.first_delta_class = 0 if config.box_head.background_outputs else 1
        self.classes = nn.Linear(config.pooled_channels, config.class_count)
        self.deltas = nn.Linear(config.pooled_channels, (config.class_count - self.first_delta_class) * 4)
        for layer, deviation in ((self.classes, 0.01), (self.deltas, 0.001)):
            nn.init.normal_(layer.weight, std=deviation)
            nn.init.zeros_(layer.bias)

    def forward(self, pooled: Tensor, valid: Tensor) -> BoxOutputs:
        average = pooled.mean(dim=(-2, -1))
        return BoxOutputs(widened(self.classes(average)), widened(self.deltas(average).unflatten(-1, (-1, 4))))
