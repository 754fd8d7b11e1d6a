"""Attention that sees where things lie relative to each other, by rotations through their coordinates.

Pairs of channels are turned by angles proportional to a coordinate: keys by where they lie, queries by where
they ask, so that their product depends on the difference alone (Su et al. 2021). Values are turned like keys,
and what was attended is turned back at the query (as in Miyato et al. 2024), so that a query learns where a
value came from, in its own frame. A model that sees coordinates in no other way gives the same answers
wherever the origin is put.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from vnp_core.errors import ConfigError


@dataclass(frozen=True)
class RotaryConfig:
    """Which angular frequencies coordinates turn channels at, in radians a unit.

    Attention spaces them evenly in their logarithm, the factors of a correlated head evenly: with n of them a
    covariance repeats itself after 2 pi (n - 1) / (highest - lowest), which the domain should not exceed. On
    a plane the factors' are n wave vectors spread evenly over a half ring: about 5 sqrt(n) / highest is as
    far as a covariance dies down before it comes back.
    """

    lowest: float = 0.4
    """The lowest: about a quarter turn over the width of the domain tells near from far."""
    highest: float = 40.0
    """The highest: a few turns over the finest detail."""

    def __post_init__(self) -> None:
        if not 0 < self.lowest <= self.highest < math.inf:
            raise ConfigError(
                f"Frequencies are positive, lowest first; given were {self.lowest} and {self.highest}."
            )


class Rotation(NamedTuple):
    """The turns of N places, for both halves of a vector: what `Rotary` makes of their coordinates."""

    cosines: Float[Tensor, "B 1 N 2F"]
    sines: Float[Tensor, "B 1 N 2F"]
    """Those of the first half are negative."""

    @classmethod
    def by(cls, angles: Float[Tensor, "B 1 N F"]) -> "Rotation":
        """The turns by these angles, in radians."""
        cosines, sines = angles.cos(), angles.sin()
        return cls(torch.cat([cosines, cosines], dim=-1), torch.cat([-sines, sines], dim=-1))

    def turn(self, values: Float[Tensor, "B h N 2F"]) -> Float[Tensor, "B h N 2F"]:
        """The vector of each place turned by its own angles: channel i with channel i + F."""
        first, second = values.chunk(2, dim=-1)
        swapped = torch.cat([second, first], dim=-1)
        return (values * self.cosines + swapped * self.sines).to(values.dtype)

    def turn_back(self, values: Float[Tensor, "B h N 2F"]) -> Float[Tensor, "B h N 2F"]:
        """The inverse of `turn`."""
        return Rotation(self.cosines, -self.sines).turn(values)


class Rotary(nn.Module):
    """Coordinates [B, N, X] to the rotation of vectors with `depth` channels.

    Each pair of channels turns by the product of x with its own wave vector. These lie along the axes, or for
    the factors of a covariance on a plane (`even`) in all directions: sums of waves along the axes alone
    could not make a covariance die down with distance.
    """

    waves: Tensor

    def __init__(self, config: RotaryConfig, x_dim: int, depth: int, *, even: bool = False) -> None:
        super().__init__()
        if depth % (2 * x_dim):
            raise ConfigError(
                f"Rotations through {x_dim} coordinates need a multiple of {2 * x_dim} channels, in each head"
                f" and in the rank; given were {depth}."
            )
        if even and x_dim == 2:
            waves = _half_ring(config.lowest, config.highest, depth // 2)
        else:
            spaced = torch.linspace if even else _log_spaced
            frequencies = spaced(config.lowest, config.highest, depth // (2 * x_dim))
            waves = rearrange(torch.eye(x_dim)[..., None] * frequencies, "x a f -> x (a f)")
        self.register_buffer("waves", waves, persistent=False)

    def forward(self, x: Float[Tensor, "B N X"]) -> Rotation:
        """The turns at x, in float32 or better: a bfloat16 angle of many radians means nothing."""
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        angles = (x[..., None] * self.waves.to(x.dtype)).sum(-2)[:, None]  # [B, 1, N, F]
        return Rotation.by(angles)


def _log_spaced(lowest: float, highest: float, count: int) -> Float[Tensor, "count"]:
    return torch.logspace(math.log10(lowest), math.log10(highest), count)


def _half_ring(lowest: float, highest: float, count: int) -> Float[Tensor, "2 count"]:
    """Vectors between two lengths in half of all directions, each with the same area to itself.

    Their angles go on by the golden ratio, which leaves no direction out and repeats nothing.
    """
    place = torch.arange(count, dtype=torch.float64)
    shares = (place + 0.5) / count
    lengths = (lowest**2 + shares * (highest**2 - lowest**2)).sqrt()
    angles = math.pi * (place * (math.sqrt(5) - 1) / 2 % 1)
    return (torch.stack([angles.cos(), angles.sin()]) * lengths).float()
