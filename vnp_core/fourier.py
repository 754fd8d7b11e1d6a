"""Coordinates as cosines and sines, so that an MLP can follow fine detail in them."""

import math
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn


def fourier_features(
    x: Float[Tensor, "*batch C"], frequencies: Float[Tensor, "F"]
) -> Float[Tensor, "*batch 2CF"]:
    """Cosine and sine of every coordinate times every angular frequency.

    Order: cosines of (coordinate 0 at all frequencies, coordinate 1, ...), then the sines alike. The angles
    are computed in float32 or better, because a bfloat16 angle of a few hundred radians means nothing.
    """
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    angles = rearrange(x[..., None] * frequencies.to(x), "... c f -> ... (c f)")
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


def octave_frequencies(count: int, octaves: float, base: float = 1.0) -> Float[Tensor, "count"]:
    """`count` angular frequencies from `base` to `base` * 2^`octaves`, evenly spaced in their logarithm.

    The paper's 3D model has 64 over 8 octaves from base 1. With base pi the lowest has one period on [-1, 1].
    """
    return base * torch.exp2(torch.linspace(0.0, octaves, count))


@dataclass(frozen=True)
class FourierConfig:
    """Which frequencies a coordinate is seen at."""

    count: int = 16
    """Frequencies a coordinate."""
    octaves: float = 6.0
    """Octaves between the lowest and the highest."""
    base: float = math.pi / 2
    """The lowest angular frequency, radians a unit: pi / 2 has one period on [-2, 2]."""
    raw: bool = True
    """Give the coordinates themselves too. The paper's 3D model does not."""


class FourierEmbedding(nn.Module):
    """Coordinates (if asked for), then the cosines and sines of `fourier_features`.

    With neither, the constant 1, for models that see places in another way and whose layers need an input.
    """

    frequencies: Tensor

    def __init__(self, config: FourierConfig, coordinates: int) -> None:
        super().__init__()
        self.raw = config.raw
        self.blind = config.count == 0 and not config.raw
        self.width = 2 * coordinates * config.count + (coordinates if config.raw else 0) + self.blind
        frequencies = octave_frequencies(config.count, config.octaves, config.base)
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, x: Float[Tensor, "*batch C"]) -> Float[Tensor, "*batch W"]:
        """Features of width `width`, in the coordinates' precision."""
        if self.blind:
            return torch.ones_like(x[..., :1])
        features = fourier_features(x, self.frequencies)
        return torch.cat([x, features], dim=-1) if self.raw else features
