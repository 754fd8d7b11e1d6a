"""Linear maps that a latent rescales: the modulated MLP (Guo et al. 2023, section 3.3, after StyleGAN 2)."""

from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from vnp_core.errors import ConfigError
from vnp_core.mlp import MLP


class Modulation(NamedTuple):
    """How styles rescale a linear map."""

    inputs: Float[Tensor, "B in"]
    """Factors of its inputs."""
    outputs: Float[Tensor, "B out"]
    """Factors of its outputs, which give the rows of the rescaled matrix length 1."""
    matrix: Float[Tensor, "B out in"] | None = None
    """The rescaled matrices themselves, where many points will ask for them."""


class ModulatedLinear(nn.Module):
    """y_o = sum_i W_oi x_i with W_oi = w_oi s_i / sqrt(sum_i (w_oi s_i)^2 + 1e-8), where s = affine(style).

    The affine's bias starts at 1: style 0 changes nothing. The length of a row of w does not matter, so its
    scale at the start only says how fast it learns. Here entries start at 1 / sqrt(inputs) like those of any
    linear map; the released model stores standard normal ones and scales them at run time, which is the same
    function and moves sqrt(inputs) times slower under Adam.
    """

    def __init__(self, inputs: int, outputs: int, style_width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) * inputs**-0.5)
        self.affine = nn.Linear(style_width, inputs)
        nn.init.normal_(self.affine.weight, std=style_width**-0.5)
        nn.init.ones_(self.affine.bias)

    def modulate(self, style: Float[Tensor, "B S"]) -> Modulation:
        """What each style does to the map, to be computed once a draw."""
        scales = self.affine(style)
        squared_lengths = F.linear(scales.square(), self.weight.square())
        return Modulation(scales, (squared_lengths + 1e-8).rsqrt())

    def matrix(self, modulation: Modulation) -> Float[Tensor, "B out in"]:
        """The modulated and demodulated matrix of each style."""
        scales, factors = modulation.inputs.to(self.weight.dtype), modulation.outputs.to(self.weight.dtype)
        return self.weight * scales[:, None, :] * factors[:, :, None]

    def forward(self, x: Float[Tensor, "B N in"], modulation: Modulation) -> Float[Tensor, "B N out"]:
        """Every point of a scene under that scene's own style.

        Many points go through the scene's matrix; for fewer than it has rows, where that is not there yet,
        it is less work to rescale them before and after one map that all scenes share.
        """
        matrix = modulation.matrix
        if matrix is None and x.shape[1] > self.weight.shape[0]:
            matrix = self.matrix(modulation)
        if matrix is not None:
            return torch.bmm(x, rearrange(matrix, "b o i -> b i o"))
        scaled = x * modulation.inputs[:, None]
        return F.linear(scaled, self.weight) * modulation.outputs[:, None]


class ModulatedWeights(NamedTuple):
    """What one style makes of a `ModulatedBlock`: the modulations of both of its maps."""

    first: Modulation
    second: Modulation

    @property
    def rows(self) -> int:
        """How many styles there are."""
        return self.first.inputs.shape[0]


class ModulatedBlock(nn.Module):
    """x + M2(act(M1 x)), both matrices modulated by the style; act(h) = sqrt(2) leaky_relu(h + b, 0.2)."""

    def __init__(self, width: int, style_width: int) -> None:
        super().__init__()
        self.first = ModulatedLinear(width, width, style_width)
        self.second = ModulatedLinear(width, width, style_width)
        self.bias = nn.Parameter(torch.zeros(width))

    def modulate(self, style: Float[Tensor, "B S"], *, ready: bool = False) -> ModulatedWeights:
        """Both modulations for each style; with the matrices made where many points will ask."""
        weights = ModulatedWeights(self.first.modulate(style), self.second.modulate(style))
        if not ready:
            return weights
        maps = (self.first, self.second)
        return ModulatedWeights(
            *(part._replace(matrix=each.matrix(part)) for each, part in zip(maps, weights, strict=True))
        )

    def forward(self, x: Float[Tensor, "B N D"], weights: ModulatedWeights) -> Float[Tensor, "B N D"]:
        """One step of the residual stream, under the weights of `modulate`."""
        hidden = self.first(x, weights.first)
        hidden = 2**0.5 * F.leaky_relu(hidden + self.bias.to(hidden.dtype), 0.2)
        return x + self.second(hidden, weights.second)


class ResidualBlock(nn.Module):
    """x + MLP([extra, x]): the block between modulated ones, which no latent touches."""

    def __init__(self, width: int, extra_width: int) -> None:
        super().__init__()
        if width < 1 or extra_width < 0:
            raise ConfigError(
                f"Widths of a residual block are positive; given were {width} and {extra_width}."
            )
        self.mlp = MLP(extra_width + width, width, width)

    def forward(self, x: Float[Tensor, "B N D"], extra: Float[Tensor, "B N E"]) -> Float[Tensor, "B N D"]:
        """One step of the residual stream, which sees `extra` anew.

        The first map is applied to its two inputs apart: for many points in bfloat16 a CPU's matrix library
        takes far longer over the gradient of the concatenation than over those of its halves.
        """
        first, activation, second = self.mlp
        first = cast(nn.Linear, first)
        width = extra.shape[-1]
        hidden = F.linear(extra, first.weight[:, :width]) + F.linear(x, first.weight[:, width:], first.bias)
        return x + second(activation(hidden))
