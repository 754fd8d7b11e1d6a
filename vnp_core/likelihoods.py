"""Predictive distributions: a Gaussian at each target and draw, mixed over the draws of the latents.

Two scores, never mixed: *per point*, log mean_k p(y_i | z_k) of each target; and *joint*, log mean_k prod_i
p(y_i | z_k), in which one draw has to explain all targets at once. Both add up in float64.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from vnp_core.errors import ConfigError
from vnp_core.latents import standard_noise
from vnp_core.objectives import log_mean_exp

SMALLEST_STD = 1e-20
"""Keeps float32 from rounding a standard deviation to 0 where the floor is 0; far below any noise."""


def accumulator(device: torch.device) -> torch.dtype:
    """The type that log-likelihoods add up in: float64, but float32 on Apple's GPUs, which know no other."""
    return torch.float32 if device.type == "mps" else torch.float64


class MixtureMoments:
    """Mean and variance of K equally likely hypotheses that have `means` and `stds`, [B, K, M, Y]."""

    means: Any
    stds: Any

    @property
    def mean(self) -> Float[Tensor, "B M Y"]:
        """Mean of the mixture."""
        return self.means.mean(1)

    @property
    def variance(self) -> Float[Tensor, "B M Y"]:
        """Variance of the mixture: the mean of the variances plus the variance of the means."""
        return self.stds.square().mean(1) + self.means.var(1, correction=0)


@dataclass(frozen=True)
class GaussianMixture(MixtureMoments):
    """K equally likely hypotheses; under each, every channel of every target is a Gaussian of its own."""

    means: Float[Tensor, "B K M Y"]
    stds: Float[Tensor, "B K M Y"]

    def sample(self, generator: Generator) -> Float[Tensor, "B K M Y"]:
        """One sample of the targets under each hypothesis, observation noise included."""
        return self.means + self.stds * standard_noise(self.means.shape, generator, self.means)

    def scaled(self, factor: float) -> "GaussianMixture":
        """The same means with `factor` times the marginal standard deviations."""
        return GaussianMixture(self.means, factor * self.stds)

    def log_probs(
        self, y: Float[Tensor, "B M Y"], mask: Bool[Tensor, "B M"] | None = None
    ) -> Float[Tensor, "B K M"]:
        """Log-density of each target under each hypothesis, summed over channels; 0 where absent."""
        kind = accumulator(y.device)
        if mask is not None:
            y = y.masked_fill(~mask[..., None], 0.0)
        stds = self.stds.to(kind)
        z = (y[:, None].to(kind) - self.means.to(kind)) / stds
        each = (-0.5 * z.square() - stds.log() - 0.5 * math.log(2 * math.pi)).sum(-1)
        return each if mask is None else each.masked_fill(~mask[:, None], 0.0)

    def cdf(self, y: Float[Tensor, "B M Y"]) -> Float[Tensor, "B M Y"]:
        """The mixture's distribution function at each channel of each target, in [0, 1]."""
        kind = accumulator(y.device)
        z = (y[:, None].to(kind) - self.means.to(kind)) / self.stds.to(kind)
        return (0.5 + 0.5 * torch.erf(z / math.sqrt(2))).mean(1)

    def joint_log_probs(
        self, y: Float[Tensor, "B M Y"], mask: Bool[Tensor, "B M"] | None = None
    ) -> Float[Tensor, "B K"]:
        """Log-density of all targets of a scene together under each hypothesis; absent ones do not count."""
        return self.log_probs(y, mask).sum(-1)


@dataclass(frozen=True)
class GaussianHead:
    """Raw outputs to Gaussians: std = floor + (1 - floor) softplus(raw). A floor of 0 is allowed.

    A floor of .1 caps a target's log-density at 1.384 nats a channel, one of .05 at 2.077.
    """

    floor: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.floor < 1:
            raise ConfigError(f"The floor of sigma lies in [0, 1); given was {self.floor}.")

    def outputs(self, y_dim: int) -> int:
        """How many raw outputs a value of `y_dim` channels needs."""
        return 2 * y_dim

    def __call__(self, raw: Float[Tensor, "B K M 2Y"]) -> GaussianMixture:
        """The first half of the channels are means, the second raw scales; float32 or better comes out."""
        raw = raw.to(torch.promote_types(raw.dtype, torch.float32))
        means, scales = raw.chunk(2, dim=-1)
        stds = self.floor + (1 - self.floor) * F.softplus(scales)
        return GaussianMixture(means, stds.clamp(min=SMALLEST_STD))


def point_score(
    log_probs: Float[Tensor, "B K M"], mask: Bool[Tensor, "B M"] | None = None
) -> Float[Tensor, "B"]:
    """Log mean over draws at each target, then the mean over targets; nats a target."""
    total = log_mean_exp(log_probs, 1).sum(-1)  # absent targets: log mean exp 0 = 0
    if mask is None:
        return total / max(1, log_probs.shape[-1])
    return total / target_counts(mask, total.dtype)


def joint_score(joint_log_probs: Float[Tensor, "B K"], mask: Bool[Tensor, "B M"]) -> Float[Tensor, "B"]:
    """Log mean over draws of the targets' joint density, divided by their number; nats a target.

    `joint_log_probs` is what a prediction's method of that name gives under the same `mask` of the targets.
    """
    return log_mean_exp(joint_log_probs, 1) / target_counts(mask, joint_log_probs.dtype)


def target_counts(mask: Bool[Tensor, "B M"], dtype: torch.dtype) -> Float[Tensor, "B"]:
    """How many targets are present in each scene, to divide by: 1 where there is none."""
    return mask.sum(-1).clamp(min=1).to(dtype)
