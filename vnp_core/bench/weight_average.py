"""An exponential moving average of a model's weights, which predicts better than the last step's do."""

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn


class WeightAverage:
    """The average after each step: a <- d a + (1 - d) w, with d = min(decay, (1 + step) / (10 + step)).

    The ramp lets the first weights be forgotten soon. A decay of 0 follows the weights. Buffers are copied.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.tensors = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Takes in the weights after `step` steps."""
        decay = min(self.decay, (1 + step) / (10 + step))
        trained = dict(model.named_parameters())
        cast(Any, torch)._foreach_lerp_(
            [self.tensors[name] for name in trained], list(trained.values()), 1 - decay
        )
        for name, buffer in model.named_buffers():
            if name in self.tensors:
                self.tensors[name].copy_(buffer)

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Goes on from an average of before."""
        for name, tensor in self.tensors.items():
            tensor.copy_(tensors[name])
