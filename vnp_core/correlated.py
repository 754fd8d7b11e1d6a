"""Predictive distributions whose targets are correlated, so that one forward pass scores and samples whole
functions.

Under each draw of the latents the targets are jointly Gaussian with covariance F F^T + diag(noise^2). Row i
of F comes from target i alone: any subset of the targets has the same distribution whatever else is asked.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from vnp_core.errors import ConfigError
from vnp_core.factorisations import cholesky, solve_lower
from vnp_core.latents import standard_noise
from vnp_core.likelihoods import GaussianHead, GaussianMixture, accumulator
from vnp_core.rotary import Rotation

SMALLEST_NOISE = 1e-4
"""Keeps F F^T + diag(noise^2) far from singular in float64, for factors up to some hundreds."""


@dataclass(frozen=True)
class CorrelatedMixture(GaussianMixture):
    """K equally likely hypotheses; under each, all channels of all targets are one Gaussian.

    `stds` are the marginal standard deviations, so that everything a `GaussianMixture` answers about single
    channels holds here too. Make one with `of_parts`.
    """

    noise: Float[Tensor, "B K M Y"]
    factors: Float[Tensor, "B K M Y R"]

    @classmethod
    def of_parts(
        cls,
        means: Float[Tensor, "B K M Y"],
        noise: Float[Tensor, "B K M Y"],
        factors: Float[Tensor, "B K M Y R"],
    ) -> "CorrelatedMixture":
        """Covariance = factors factors^T + diag(noise^2), over targets and channels together."""
        stds = (noise.square() + factors.square().sum(-1)).sqrt()
        return cls(means, stds, noise, factors)

    def sample(self, generator: Generator) -> Float[Tensor, "B K M Y"]:
        """One joint sample of the targets under each hypothesis, observation noise included."""
        shape = (*self.factors.shape[:2], self.factors.shape[-1])
        shared = standard_noise(shape, generator, self.means)
        own = self.noise * standard_noise(self.means.shape, generator, self.means)
        return self.means + torch.einsum("bkmyr,bkr->bkmy", self.factors, shared) + own

    def log_probs(
        self, y: Float[Tensor, "B M Y"], mask: Bool[Tensor, "B M"] | None = None
    ) -> Float[Tensor, "B K M"]:
        """Log-density of each target, all its channels together, under each hypothesis; 0 where absent."""
        if y.shape[-1] == 1:
            return super().log_probs(y, mask)
        kind = accumulator(y.device)
        if mask is not None:
            y = y.masked_fill(~mask[..., None], 0.0)
        noise = self.noise.to(kind)
        whitened = (y[:, None].to(kind) - self.means.to(kind)) / noise
        log_scale = noise.log().sum(-1) + 0.5 * math.log(2 * math.pi) * y.shape[-1]
        loadings = self.factors.to(kind) / noise[..., None]
        each = _standardised_log_prob(whitened[..., None], loadings) - log_scale
        return each if mask is None else each.masked_fill(~mask[:, None], 0.0)

    def joint_log_probs(
        self, y: Float[Tensor, "B M Y"], mask: Bool[Tensor, "B M"] | None = None
    ) -> Float[Tensor, "B K"]:
        """Log-density of all targets of a scene together under each hypothesis; absent ones do not count."""
        kind = accumulator(y.device)
        means, noise, factors = (part.to(kind) for part in (self.means, self.noise, self.factors))
        residual = y[:, None].to(kind) - means
        counts = means.new_full((len(y), 1), math.prod(y.shape[1:]))
        if mask is not None:
            # Targets of residual 0, noise 1 and no factors add nothing but their share of log 2 pi.
            absent = ~mask[:, None, :, None]
            residual, noise = residual.masked_fill(absent, 0.0), noise.masked_fill(absent, 1.0)
            factors = factors.masked_fill(absent[..., None], 0.0)
            counts = y.shape[-1] * mask.sum(-1, keepdim=True).to(kind)
        whitened = rearrange(residual / noise, "b k m y -> b k (m y) 1")
        loadings = rearrange(factors / noise[..., None], "b k m y r -> b k (m y) r")
        log_scale = noise.log().sum((-2, -1)) + 0.5 * math.log(2 * math.pi) * counts
        return _standardised_log_prob(whitened, loadings) - log_scale


def _standardised_log_prob(
    whitened: Float[Tensor, "*B D 1"], loadings: Float[Tensor, "*B D R"]
) -> Float[Tensor, "*B"]:
    """Minus half of r^T (I + W W^T)^-1 r + log |I + W W^T|, by the smaller of two Cholesky factors.

    With fewer factors than targets, by Woodbury's identity and the determinant lemma: with C = I + W^T W both
    are r^T r - r^T W C^-1 W^T r and log |C|.
    """
    targets, rank = loadings.shape[-2:]
    if targets <= rank:
        factor = cholesky(_plus_identity(loadings @ loadings.mT))
        squares = solve_lower(factor, whitened).square().sum((-2, -1))
    else:
        factor = cholesky(_plus_identity(loadings.mT @ loadings))
        explained = solve_lower(factor, loadings.mT @ whitened).square().sum((-2, -1))
        squares = whitened.square().sum((-2, -1)) - explained
    return -0.5 * squares - factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)


def _plus_identity(matrix: Float[Tensor, "*B N N"]) -> Float[Tensor, "*B N N"]:
    return matrix + torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)


@dataclass(frozen=True)
class LowRankHead:
    """Raw outputs to correlated Gaussians: a mean, a noise and `rank` factors for each channel.

    The noise is a `GaussianHead`'s standard deviation, with the same meaning of the floor.
    """

    y_dim: int
    rank: int
    floor: float = 0.0

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ConfigError(f"The rank of a correlated head is 1 or more; given was {self.rank}.")
        GaussianHead(self.floor)

    def outputs(self) -> int:
        """How many raw outputs a value needs."""
        return (2 + self.rank) * self.y_dim

    def __call__(self, raw: Float[Tensor, "B K M O"], rotation: Rotation | None = None) -> CorrelatedMixture:
        """Means, then raw scales, then factors channel by channel; float32 or better comes out.

        With the `rotation` of the targets' places the factors are turned by it. Then equal outputs at two
        targets make a covariance that depends on their distance.
        """
        raw = raw.to(torch.promote_types(raw.dtype, torch.float32))
        means, scales = raw[..., : self.y_dim], raw[..., self.y_dim : 2 * self.y_dim]
        noise = (self.floor + (1 - self.floor) * F.softplus(scales)).clamp(min=SMALLEST_NOISE)
        # Divided so that the variance they add at the start does not grow with the rank.
        factors = rearrange(raw[..., 2 * self.y_dim :], "... (y r) -> ... y r", r=self.rank) * self.rank**-0.5
        if rotation is not None:
            turned = rotation.turn(rearrange(factors, "b k m y r -> b (k y) m r"))
            factors = rearrange(turned, "b (k y) m r -> b k m y r", y=self.y_dim)
        return CorrelatedMixture.of_parts(means, noise, factors)


Head = GaussianHead | LowRankHead


def build_head(y_dim: int, rank: int, floor: float) -> tuple[Head, int]:
    """The head of this rank, the diagonal one where it is 0, and how many raw outputs a target needs."""
    if rank == 0:
        diagonal = GaussianHead(floor)
        return diagonal, diagonal.outputs(y_dim)
    correlated = LowRankHead(y_dim, rank, floor)
    return correlated, correlated.outputs()
