"""The mask head: a small fully convolutional network on each RoI (paper section 3 and figure 4, right)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from maskrcnn.config import ModelConfig
from maskrcnn.model.convolution import Convolution3x3
from maskrcnn.precision import widened
from maskrcnn.targets import losses


class UpsamplingConvolution(Convolution3x3):
    """A 3 x 3 convolution of maps (N, C, h, w) made twice as large: (N, C', 2h, 2w).

    It stands for a deconvolution, whose four outputs from one cell need not fit together: they leave a chequered
    pattern, which a mask of steps hides and one of slopes does not (Pyramid Mask Text Detector, arXiv 1903.11800).
    """

    def forward(self, maps: Tensor) -> Tensor:
        return super().forward(F.interpolate(maps, scale_factor=2, mode="bilinear", align_corners=False))


class MaskHead(nn.Module):
    """Four 3 x 3 convolutions, a 2 x 2 stride-2 deconvolution, and a map of logits per class: 14 x 14 -> 28 x 28."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        head = config.mask_head
        self.first_class = 0 if config.box_head.background_outputs else 1
        channels = config.pooled_channels
        self.convolutions = nn.ModuleList()
        for _ in range(head.convolutions):
            self.convolutions.append(Convolution3x3(channels, head.channels, dilation=head.dilation))
            channels = head.channels
        if head.upsampling == "bilinear":
            self.deconvolution = UpsamplingConvolution(channels, head.channels)
        else:
            self.deconvolution = nn.ConvTranspose2d(channels, head.channels, 2, stride=2)
        self.logits = nn.Conv2d(head.channels, config.class_count - self.first_class, 1)
        for layer in (*self.convolutions, self.deconvolution, self.logits):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        predictor = (self.deconvolution, self.logits) if config.initialisation == "mmdetection" else ()
        for layer in (*self.convolutions, *predictor):  # torchvision leaves the predictor's biases random
            nn.init.zeros_(layer.bias)

    def forward(self, pooled: Tensor, labels: Tensor) -> Tensor:
        """Pooled features (B, R, C, S, S) and labels (B, R) -> logits (B, R, 2S, 2S) of each RoI's own class.

        The maps of the other classes are not computed: the box head has already decided (paper section 3, "decouples
        mask and class prediction"). An RoI of label 0 gets some map that means nothing.
        """
        hidden = self.upsampled(pooled.flatten(0, 1)).permute(0, 2, 3, 1)  # (N, 2S, 2S, C')
        channel = (labels - self.first_class).clamp(min=0).flatten()
        # Channels last, so that the gradient comes in the layout in which training keeps the kernel.
        kernels = self.logits.weight.permute(0, 2, 3, 1).flatten(1)[channel]  # (N, C')
        # As bias[channel] would, which PyTorch 2.13 cannot compile for a processor where there is a single class.
        biases = self.logits.bias.expand(channel.shape[0], -1).gather(1, channel[:, None])  # (N, 1)
        logits = widened((hidden.flatten(1, 2) @ kernels[..., None]).squeeze(-1)) + biases
        return logits.view(*labels.shape, *hidden.shape[1:3])

    def logits_of_all_classes(self, pooled: Tensor) -> Tensor:
        """Pooled features (N, C, S, S) of any N RoIs -> (N, K or K - 1, 2S, 2S)."""
        return widened(self.logits(self.upsampled(pooled)))

    def upsampled(self, pooled: Tensor) -> Tensor:
        """Pooled features (N, C, S, S) of any N RoIs -> (N, C', 2S, 2S), from which each class reads its map."""
        hidden = pooled
        for convolution in self.convolutions:
            hidden = F.relu(convolution(hidden), inplace=True)
        return F.relu(self.deconvolution(hidden), inplace=True)

    def loss(self, logits: Tensor, targets: Tensor, positive: Tensor) -> Tensor:
        """How far what `forward` gave is from masks (B, R, 2S, 2S), 0-dim; only positives (B, R) count."""
        return losses.mask_loss(logits, targets, positive)

    def probabilities(self, logits: Tensor) -> Tensor:
        """(B, R, 2S, 2S) in [0, 1], from what `forward` gave."""
        return logits.sigmoid()
