"""Predictive distributions with heavy tails: a Student t at each target and draw, mixed over the draws.

An error of ten scales costs a Gaussian 50 nats, and a Student t of four degrees of freedom 8: where a few
pixels are far off (an edge that is one pixel aside), the scale need not grow for all others.
"""

import math
from dataclasses import dataclass
from importlib import import_module
from typing import Any, cast

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from vnp_core.errors import ConfigError
from vnp_core.likelihoods import MixtureMoments, accumulator


@dataclass(frozen=True)
class StudentMixture(MixtureMoments):
    """K equally likely hypotheses; under each, every channel of every target is mean + scale * t of its own.

    dof: degrees of freedom, above 2 for the variance to exist; `ConfigError` otherwise. A scale is not a
    standard deviation: that is scale * sqrt(dof / (dof - 2)).
    """

    means: Float[Tensor, "B K M Y"]
    scales: Float[Tensor, "B K M Y"]
    dof: float

    def __post_init__(self) -> None:
        if not 2 < self.dof < math.inf:
            raise ConfigError(
                f"A Student t of {self.dof} degrees of freedom has no variance: give a finite number above 2."
            )

    @property
    def stds(self) -> Float[Tensor, "B K M Y"]:
        """Standard deviations under each hypothesis."""
        return self.scales * math.sqrt(self.dof / (self.dof - 2))

    def scaled(self, factor: float) -> "StudentMixture":
        """The same means with `factor` times the scales."""
        return StudentMixture(self.means, factor * self.scales, self.dof)

    def sample(self, generator: Generator) -> Float[Tensor, "B K M Y"]:
        """One sample of the targets under each hypothesis, observation noise included; without gradients."""
        uniform = torch.rand(
            self.means.shape, generator=generator, device=generator.device, dtype=torch.float64
        ).clamp(min=torch.finfo(torch.float64).eps)
        t = _scipy_special("stdtrit", self.dof, uniform)
        return self.means + self.scales * t.to(self.means)

    def log_probs(
        self, y: Float[Tensor, "B M Y"], mask: Bool[Tensor, "B M"] | None = None
    ) -> Float[Tensor, "B K M"]:
        """Log-density of each target under each hypothesis, summed over channels; 0 where absent."""
        kind = accumulator(y.device)
        if mask is not None:
            y = y.masked_fill(~mask[..., None], 0.0)
        scales = self.scales.to(kind)
        z = (y[:, None].to(kind) - self.means.to(kind)) / scales
        half = self.dof / 2
        constant = math.lgamma(half + 0.5) - math.lgamma(half) - 0.5 * math.log(math.pi * self.dof)
        each = (constant - (half + 0.5) * torch.log1p(z.square() / self.dof) - scales.log()).sum(-1)
        return each if mask is None else each.masked_fill(~mask[:, None], 0.0)

    def cdf(self, y: Float[Tensor, "B M Y"]) -> Float[Tensor, "B M Y"]:
        """The mixture's distribution function at each channel of each target, without gradients."""
        kind = accumulator(y.device)
        z = (y[:, None].to(kind) - self.means.to(kind)) / self.scales.to(kind)
        return _scipy_special("stdtr", self.dof, z).mean(1)


def _scipy_special(name: str, dof: float, values: Tensor) -> Tensor:
    """A function of `scipy.special` at the values, on their device: PyTorch has no incomplete beta."""
    function: Any = getattr(import_module("scipy.special"), name)
    return torch.as_tensor(function(dof, cast(Any, values.detach().cpu()).numpy())).to(values)
