"""What networks over pictures are built of."""

from typing import TypeVar

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

_GROUPS = 8
"""Of the norms: the number of channels is a multiple of it."""


class MatrixConv(nn.Module):
    """A 3 x 3 convolution, or 4 x 4 with a stride of 2, whose weights are kept as the matrix that they are.

    Optimisers of hidden matrices (Muon) take it for one; `torch.nn.Conv2d` is the same function.
    """

    def __init__(self, inputs: int, outputs: int, *, halve: bool = False) -> None:
        super().__init__()
        self.side, self.stride, self.inputs = (4, 2, inputs) if halve else (3, 1, inputs)
        bound = (inputs * self.side**2) ** -0.5
        self.weight = nn.Parameter(torch.empty(outputs, inputs * self.side**2).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(outputs).uniform_(-bound, bound))

    def forward(self, x: Float[Tensor, "M I h w"]) -> Float[Tensor, "M O H W"]:
        """Maps of the same size, or of half of it."""
        kernel = rearrange(self.weight, "O (I y x) -> O I y x", y=self.side, x=self.side)
        return F.conv2d(x, kernel, self.bias, stride=self.stride, padding=1)


Layer = TypeVar("Layer", nn.Linear, nn.Conv2d, MatrixConv)


class ConvBlock(nn.Module):
    """x + conv(gelu(conv(norm x)))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(_GROUPS, channels)
        self.first = MatrixConv(channels, channels)
        self.second = MatrixConv(channels, channels)

    def forward(self, x: Float[Tensor, "M C h w"]) -> Float[Tensor, "M C h w"]:
        """Maps of the same size."""
        return x + self.second(F.gelu(self.first(self.norm(x))))


def silent(layer: Layer) -> Layer:
    """A layer that gives 0 until it learns."""
    nn.init.zeros_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer
