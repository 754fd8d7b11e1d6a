"""Linear maps whose products are taken in bfloat16, without the error that all points would share.

Rounding a weight to 8 bits moves every output by about the same where inputs are alike, and such a shift does
not average out. So the mean m of the inputs goes through the map as it is, and only deviations from it are
rounded: W x + b = W (x - m) + (W m + b). What is left of the error has a mean of almost 0 over the points.
"""

from typing import NamedTuple

import torch.nn.functional as F
from jaxtyping import BFloat16, Float
from torch import Tensor, nn


class Deviations(NamedTuple):
    """Vectors as their mean and what each adds to it."""

    mean: Float[Tensor, "in"]
    """In full precision."""
    rest: BFloat16[Tensor, "N in"]

    @classmethod
    def of(cls, x: Float[Tensor, "N in"]) -> "Deviations":
        """Of N vectors, one at least."""
        mean = x.mean(0)
        return cls(mean, (x - mean).bfloat16())


class RoundedLinear:
    """x -> W x + b for many float32 vectors at once; for inference, since it keeps copies of the weights."""

    def __init__(self, weight: Float[Tensor, "out in"], bias: Float[Tensor, "out"] | None = None) -> None:
        self.weight, self.bias = weight.detach(), None if bias is None else bias.detach()
        self.rounded = self.weight.bfloat16()

    @classmethod
    def like(cls, linear: nn.Linear) -> "RoundedLinear":
        """The same map as a layer's."""
        return cls(linear.weight, linear.bias)

    def __call__(self, x: Float[Tensor, "N in"] | Deviations) -> Float[Tensor, "N out"]:
        """A float32 tensor that nobody else holds."""
        mean, rest = x if isinstance(x, Deviations) else Deviations.of(x)
        product = F.linear(rest, self.rounded).to(self.weight.dtype)
        return product.add_(F.linear(mean, self.weight, self.bias))
