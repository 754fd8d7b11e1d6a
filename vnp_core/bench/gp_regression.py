"""Gaussian process regression on one picture's known pixels: what can be said without having learnt anything.

A Matern 5/2 kernel in the plane, all channels alike and independent. Of a grid of lengthscales and scales
each picture takes the pair that makes its context likeliest; the noise is what its
maker was told.
"""

import math
from dataclasses import dataclass

import torch
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Generator, Tensor

from vnp_core.correlated import CorrelatedMixture
from vnp_core.errors import ConfigError
from vnp_core.factorisations import cholesky, solve_lower
from vnp_core.observations import Observations, PointSet

NAME = "gp-regression"
"""What results call it."""
_JITTER = 1e-6


@dataclass(frozen=True)
class GaussianProcessRegression:
    """A process without weights. The mean of all pictures is its prior mean."""

    noise: float
    """Standard deviation of the noise."""
    mean: tuple[float, ...] = (0.0,)
    """Prior mean of each channel."""
    lengthscales: tuple[float, ...] = (0.08, 0.15, 0.25, 0.4, 0.7, 1.2)
    """Candidates, where the picture is 2 wide."""
    scales: tuple[float, ...] = (0.1, 0.2, 0.35, 0.5)
    """Candidates for the standard deviation."""

    def __post_init__(self) -> None:
        if not self.noise > 0:
            raise ConfigError(f"Gaussian process regression needs noise above 0; given was {self.noise}.")

    def predict(
        self, context: Observations, x: Float[Tensor, "B M 2"], draws: int, generator: Generator | None
    ) -> CorrelatedMixture:
        """The exact prediction at x under the likeliest pair; one hypothesis, K = 1, in float64."""
        points = (context if isinstance(context, PointSet) else context.points()).cleared()
        mean = torch.tensor(self.mean, dtype=torch.float64, device=x.device)
        residual = points.y.double() - mean
        residual = residual.masked_fill(~points.mask[..., None], 0.0)
        lengthscale, scale = self.likeliest(points, residual)
        factor = cholesky(self._covariance(points, lengthscale, scale))
        across = scale.square()[:, None, None] * matern52(points.x, x, lengthscale)
        across = across.masked_fill(~points.mask[..., None], 0.0)
        explained = solve_lower(factor, across)  # [B, N, M]
        predicted = mean + explained.mT @ solve_lower(factor, residual)
        prior = scale.square()[:, None, None] * matern52(x, x, lengthscale)
        identity = torch.eye(x.shape[1], dtype=torch.float64, device=x.device)
        shared = cholesky(prior - explained.mT @ explained + _JITTER * identity)
        channels = predicted.shape[-1]
        # The channels' functions are independent: each has columns of factors of its own.
        factors = torch.einsum("bmr,cd->bmcdr", shared, torch.eye(channels).to(shared))
        return CorrelatedMixture.of_parts(
            predicted[:, None],
            torch.full_like(predicted[:, None], self.noise),
            rearrange(factors, "b m c d r -> b 1 m c (d r)"),
        )

    def likeliest(
        self, points: PointSet, residual: Float[Tensor, "B N C"]
    ) -> tuple[Float[Tensor, "B"], Float[Tensor, "B"]]:
        """Lengthscale and scale of each picture, by the marginal likelihood of its context."""
        pairs = [(length, scale) for length in self.lengthscales for scale in self.scales]
        likelihoods = torch.stack([self._likelihood(points, residual, *pair) for pair in pairs])
        best = likelihoods.argmax(0)
        chosen = torch.tensor(pairs, dtype=torch.float64, device=best.device)[best]
        return chosen[:, 0], chosen[:, 1]

    def _likelihood(
        self, points: PointSet, residual: Float[Tensor, "B N C"], length: float, scale: float
    ) -> Float[Tensor, "B"]:
        parts = (repeat(residual.new_tensor(part), "-> b", b=len(residual)) for part in (length, scale))
        factor = cholesky(self._covariance(points, *parts))
        squares = solve_lower(factor, residual).square().sum((1, 2))
        return -0.5 * squares - residual.shape[-1] * factor.diagonal(dim1=1, dim2=2).log().sum(-1)

    def _covariance(
        self, points: PointSet, lengthscale: Float[Tensor, "B"], scale: Float[Tensor, "B"]
    ) -> Float[Tensor, "B N N"]:
        """Of what was observed; rows of the identity where a point is absent."""
        related = scale.square()[:, None, None] * matern52(points.x, points.x, lengthscale)
        both = points.mask[:, :, None] & points.mask[:, None]
        own = torch.where(points.mask, self.noise**2, 1.0).double()
        return related.masked_fill(~both, 0.0) + torch.diag_embed(own)


def matern52(
    x: Float[Tensor, "B N 2"], other: Float[Tensor, "B M 2"], lengthscale: Float[Tensor, "B"]
) -> Float[Tensor, "B N M"]:
    """(1 + a + a^2 / 3) exp(-a) with a = sqrt(5) |x - x'| / lengthscale, in float64."""
    squares = (x.double()[:, :, None] - other.double()[:, None]).square().sum(-1)
    a = math.sqrt(5) * squares.sqrt() / lengthscale[:, None, None]
    return (1 + a + a.square() / 3) * torch.exp(-a)
