"""What moves the weights: the optimiser; and what calms them: their moving average."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from maskrcnn.config import TrainingConfig


class WeightAverage:
    """Exponential moving average of a model's weights (Polyak and Juditsky, 1992): less noise than any one step.

    With average_decay 0 there is none, and `weights` is None.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._decay = decay
        self.weights: dict[str, Tensor] | None = None
        if decay > 0:
            self.weights = {name: value.detach().clone() for name, value in model.state_dict().items()}

    def update(self, model: nn.Module, step: int) -> None:
        """Moves the average towards the weights after `step`, counted from 0; buffers are copied.

        The first steps count for more, decay = (1 + step) / (10 + step) until that reaches the setting: otherwise a
        short run would end with an average that still remembers its random start.
        """
        if self.weights is None:
            return
        decay = min(self._decay, (1 + step) / (10 + step))
        parameters = {name for name, _ in model.named_parameters()}
        for name, value in model.state_dict().items():
            if name in parameters:
                self.weights[name].lerp_(value.detach(), 1 - decay)
            else:
                self.weights[name].copy_(value)


def make_optimiser(model: nn.Module, training: TrainingConfig) -> torch.optim.Optimizer:
    """SGD with momentum, or AdamW with `momentum` as its first beta, over all parameters that learn.

    SGD decays every parameter, as the published recipes do. AdamW does not decay vectors (biases, scales and shifts
    of norms): its decay does not depend on the gradient, and would draw the scales of norm layers, which weights
    behind them can undo, to zero for nothing (arXiv 1711.05101; usual since arXiv 1706.05350).
    """
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    # fused: one pass over memory, and it can be told on the device not to make a step (`training_step`).
    if training.optimiser == "sgd":
        return torch.optim.SGD(
            learning, lr=0.0, momentum=training.momentum, weight_decay=training.weight_decay, fused=True
        )
    groups = [
        {"params": [parameter for parameter in learning if parameter.ndim > 1], "weight_decay": training.weight_decay},
        {"params": [parameter for parameter in learning if parameter.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=0.0, betas=(training.momentum, 0.999), fused=True)
