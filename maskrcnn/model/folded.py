"""A network as inference wants it: what depends on weights alone is computed once, not again for every picture.

Fixed statistics of norms go into the kernels before them (as in "Quantization and Training of Neural Networks",
arXiv 1712.05877, section 3.2), kernels into the dtype that they are computed in, and some through the part of
Winograd's algorithm that only they have a say in. What learns cannot be computed ahead, so this is a form of its own.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import nn

from maskrcnn.model.convolution import Convolution
from maskrcnn.model.fpn import FeaturePyramid
from maskrcnn.model.mask_rcnn import MaskRCNN
from maskrcnn.model.norms import has_fixed_statistics, scale_and_shift
from maskrcnn.model.resnet import BasicBlock, Bottleneck, Projection, ResNet
from maskrcnn.ops.convolution import can_go_by_winograd, transformed_kernel
from maskrcnn.precision import Precision

MOST_CHANNELS = 256
"""In and out, of kernels that are transformed ahead. With 512 of each one takes 38 MB, and a network has them where a
picture's map is the smallest, mostly too small for Winograd's algorithm."""


def folded(network: MaskRCNN, precision: Precision = "float32") -> MaskRCNN:
    """A copy for inference, in evaluation mode, that finds the same up to rounding, under `computing_in(precision)`.

    It is made of the weights as they are now and shares none of them. Training goes on with `network`, and what that
    learns is not in the copy: fold again. The copy itself does not change: its tensors are inference tensors, which,
    outside `torch.inference_mode`, raise RuntimeError when they are written to or asked for gradients; inside it
    nothing stops anybody, and nothing made of a kernel follows. Raises TypeError for what has been compiled or
    exported, which is no longer made of layers.

    In bfloat16, kernels that can go by Winograd's algorithm are kept as the kernel, for small maps, and transformed,
    for large ones, in float32. Of a ResNet-50 the second are 134 MiB, and halving all kernels saves 84. In float32
    nothing would make up for them, and they would save one or two percent of the time, so there they are not kept.
    """
    if not isinstance(network, MaskRCNN):
        raise TypeError(f"network: found {type(network).__name__}, expected a MaskRCNN")
    with torch.inference_mode():
        network = copy.deepcopy(network).eval().requires_grad_(False)
        for convolution, norm in _normalised(network):
            _fold(network.get_submodule(convolution), network.get_submodule(norm))
            network.set_submodule(norm, nn.Identity())
        if precision == "bfloat16":
            for module in network.modules():
                if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
                    _to_bfloat16(module)
    return network


def _normalised(network: nn.Module) -> Iterator[tuple[str, str]]:
    """Names of the convolutions and norms that `convolve_and_normalise` is called with, if the norm can be folded."""
    for name, module in list(network.named_modules()):
        pairs: list[tuple[str, str]] = []
        if isinstance(module, Projection):
            pairs = [("0", "1")]
        elif isinstance(module, (ResNet, BasicBlock, Bottleneck)):
            pairs = [(child, child.replace("conv", "bn")) for child, _ in module.named_children() if "conv" in child]
        elif isinstance(module, FeaturePyramid):
            pairs = [(f"output.{level}", f"norm.{level}") for level in range(len(module.output))]
        for convolution, norm in pairs:
            if has_fixed_statistics(module.get_submodule(norm)):
                yield f"{name}.{convolution}".lstrip("."), f"{name}.{norm}".lstrip(".")


def _fold(convolution: Convolution, norm: nn.Module) -> None:
    """Leaves to the convolution what the norm does: a factor of each channel's kernel, and a bias."""
    scale, shift = scale_and_shift(norm)
    kernel, bias = convolution.weight, convolution.bias
    bias = shift if bias is None else shift + bias * scale
    convolution.weight = _constant((kernel * scale[:, None, None, None]).to(kernel.dtype))
    convolution.bias = _constant(bias.to(kernel.dtype))


def _to_bfloat16(module: nn.Conv2d | nn.ConvTranspose2d | nn.Linear) -> None:
    """Rounds weights in float32, as autocast does in each call; it leaves float64 alone, too."""
    weight = module.weight
    if weight.dtype != torch.float32:
        return
    is_small = weight.device.type == "cpu" and max(weight.shape[:2]) <= MOST_CHANNELS
    shape = (module.stride, module.padding, module.dilation, module.groups) if isinstance(module, Convolution) else None
    if shape and is_small and can_go_by_winograd(weight, *shape):
        module.transformed = transformed_kernel(weight)
    module.weight = _constant(weight.bfloat16())


def _constant(values: torch.Tensor) -> nn.Parameter:
    return nn.Parameter(values, requires_grad=False)
