"""Normalisation layers: statistics of the batch, of each image, or frozen (arXiv 1502.03167, 1803.08494)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from maskrcnn.model.convolution import Convolution

CHANNELS_PER_GROUP = 16


class FrozenBatchNorm(nn.Module):
    """Batch normalisation whose statistics, scale and shift are all constants: y = (x - mean) / deviation * w + b.

    The arrays are buffers, so no optimiser and no `model.train()` can touch them (torchvision's FrozenBatchNorm2d).
    """

    def __init__(self, channels: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.register_buffer("weight", torch.ones(channels))
        self.register_buffer("bias", torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        scale, shift = scale_and_shift(self)
        return x * scale.to(x.dtype)[:, None, None] + shift.to(x.dtype)[:, None, None]


class EvalBatchNorm(nn.BatchNorm2d):
    """Batch normalisation with fixed statistics and a learned scale and shift, whatever `model.train()` says.

    Detectors see too few images at once for statistics of their own (MMDetection's norm_eval).
    """

    def __init__(self, channels: int, eps: float) -> None:
        super().__init__(channels, eps)
        self.train()  # or a model that nobody has put into a mode yet would use the batch's statistics

    def train(self, mode: bool = True) -> EvalBatchNorm:
        """Stays in evaluation mode."""
        return super().train(False)


class SlotBatchNorm(nn.Module):
    """Batch normalisation of features (B, N, C) over the slots that are in use; empty ones have no say.

    In evaluation, as any batch normalisation, it uses running statistics of the training, and slots do not matter.
    """

    momentum = 0.1

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """x (B, N, C) and valid (B, N) bool -> (B, N, C) float32; what comes out of empty slots means nothing."""
        x = x.to(self.weight.dtype)  # under autocast, bfloat16 would be too coarse for a variance
        mean, variance = self.running_mean, self.running_var
        if self.training:
            count = valid.sum()
            used = valid[..., None]
            mean = torch.where(used, x, 0.0).sum(dim=(0, 1)) / count.clamp(min=1)
            variance = torch.where(used, x - mean, 0.0).square().sum(dim=(0, 1)) / count.clamp(min=1)
            if torch.is_grad_enabled():  # a pass that only ranks examples is not training
                self._remember(mean.detach(), variance.detach(), count)
        return (x - mean) * (self.weight * (variance + self.eps).rsqrt()) + self.bias

    def _remember(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        # One slot has no variance, none has no mean: nothing can be learnt from them.
        momentum = self.momentum * (count > 1)
        unbiased = variance * count / (count - 1).clamp(min=1)
        self.running_mean.lerp_(mean, momentum.to(mean.dtype))
        self.running_var.lerp_(unbiased, momentum.to(mean.dtype))


def has_fixed_statistics(norm: nn.Module) -> bool:
    """Whether, in the mode that it is in, a norm does the same to every map."""
    return isinstance(norm, FrozenBatchNorm) or (isinstance(norm, nn.BatchNorm2d) and not norm.training)


def scale_and_shift(norm: FrozenBatchNorm | nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """What a norm with fixed statistics does to each channel: a factor (C,), and then a summand (C,)."""
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
    return scale, norm.bias - norm.running_mean * scale


def convolve_and_normalise(x: Tensor, convolution: Convolution, norm: nn.Module) -> Tensor:
    """norm(convolution(x)), (B, C, H, W) -> (B, C', H', W').

    A factor of a channel is one of the kernel that makes it. So where statistics are fixed, the convolution takes over
    what the norm has to do, and instead of three passes over maps of millions of numbers there is one. Gradients of the
    norm's scale and shift, if they learn, flow through kernel and bias.
    """
    return convolution(x, *scale_and_shift(norm)) if has_fixed_statistics(norm) else norm(convolution(x))


def make_norm(kind: str, channels: int, eps: float) -> nn.Module:
    """A normalisation layer for (B, channels, H, W): the kinds of `BackboneConfig.norm`, and "none"."""
    if kind == "none":
        return nn.Identity()
    if kind == "group":
        return nn.GroupNorm(max(1, channels // CHANNELS_PER_GROUP), channels, eps)
    layers = {"batch": nn.BatchNorm2d, "batch_eval": EvalBatchNorm, "batch_frozen": FrozenBatchNorm}
    return layers[kind](channels, eps)
