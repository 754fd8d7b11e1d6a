"""What observed points say about the lengthscale and the scale of the Gaussian process behind them.

Integrals are a product of Gauss-Legendre rules in log l and log s. One eigen-decomposition a lengthscale
serves all scales: where R = Q diag(e) Q^T, s^2 R + v I = Q diag(s^2 e + v) Q^T. Under the common protocol (49
points, noise .02) posteriors of log l are .06 wide or wider, which 32 nodes resolve.
"""

import math
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Generator, Tensor

from vnp_core.errors import ConfigError
from vnp_core.factorisations import eigh
from vnp_core.observations import PointSet
from vnp_core.tasks.gaussian_processes import GaussianProcessConfig, Hyperparameters, correlation

LOG_2PI = math.log(2 * math.pi)


@dataclass(frozen=True)
class HyperPosterior:
    """Log-weights on the rule's nodes: marginal likelihood times prior times the rule's own weight."""

    lengthscales: Float[Tensor, "L"]
    scales: Float[Tensor, "S"]
    log_weights: Float[Tensor, "B L S"]
    """Not normalised: their log-sum-exp is `log_evidence`."""

    @property
    def log_evidence(self) -> Float[Tensor, "B"]:
        """Log-density of the observed points with the hyperparameters integrated out."""
        return torch.logsumexp(self.log_weights, dim=(-2, -1))

    @property
    def weights(self) -> Float[Tensor, "B L S"]:
        """Posterior probability of each node."""
        return (self.log_weights - self.log_evidence[:, None, None]).exp()

    def sample(self, count: int, generator: Generator) -> Hyperparameters:
        """`count` nodes [count, B] by their probability, with a CPU generator. Periods come out as 1."""
        weights = rearrange(self.weights, "b l s -> b (l s)").cpu()
        nodes = torch.multinomial(weights, count, replacement=True, generator=generator).T
        nodes = nodes.to(self.scales.device)
        lengthscale = self.lengthscales[nodes // len(self.scales)]
        scale = self.scales[nodes % len(self.scales)]
        return Hyperparameters(lengthscale, scale, torch.ones_like(scale))


class ObservedSpectrum:
    """The eigen-decompositions of B sets' correlations, one a lengthscale, and what follows from them."""

    def __init__(self, points: PointSet, config: GaussianProcessConfig, nodes: int = 32) -> None:
        """`nodes` of lengthscale and as many of scale. Raises `ConfigError` for the periodic kernel."""
        if config.kernel == "periodic":
            # Its posterior over periods has many narrow peaks, which no rule of this size would find.
            raise ConfigError(
                "Hyperparameters are integrated out for rbf and matern52 only. Use known_ceiling."
            )
        self.config = config
        self.points = points.cleared()
        device = points.x.device
        self.lengthscales, self.log_prior_lengthscale = log_uniform_rule(config.lengthscale, nodes, device)
        self.scales, self.log_prior_scale = log_uniform_rule(config.scale, nodes, device)
        present = self.points.mask[:, None]
        related = self._correlation(self.points.x)
        eigenvalues, self.vectors = eigh(related * present[..., None, :] * present[..., None])
        self.projected = (self.vectors.mT @ self.points.y.double()[:, None])[..., 0]
        variances = self.scales.square()[:, None]
        # Rounding can leave an eigenvalue a little below 0.
        self.spread = variances * eigenvalues.clamp(min=0)[:, :, None] + config.noise_std**2

    def posterior(self) -> HyperPosterior:
        """Probabilities of all pairs of lengthscale and scale."""
        fit = (self.projected.square()[:, :, None] / self.spread + self.spread.log()).sum(-1)
        present = self.points.mask.sum(-1).double()[:, None, None]
        # An absent point is an eigenvalue of 0 whose vector meets no value: one log(noise) too much, no more.
        absent = self.points.mask.shape[-1] - present
        log_likelihood = -0.5 * (fit - absent * math.log(self.config.noise_std**2) + present * LOG_2PI)
        log_prior = self.log_prior_lengthscale[:, None] + self.log_prior_scale
        return HyperPosterior(self.lengthscales, self.scales, log_likelihood + log_prior)

    def predict(self, x: Float[Tensor, "B M 1"]) -> tuple[Float[Tensor, "B L S M"], Float[Tensor, "B L S M"]]:
        """Mean and variance of the observed value at each of `x`, for every lengthscale and scale."""
        across = self._correlation(x) * self.points.mask[:, None, None]
        across = across @ self.vectors  # [B, L, M, N]
        variances = self.scales.square()[:, None]
        gains = variances / self.spread
        means = (gains * self.projected[:, :, None]) @ across.mT
        explained = variances * (gains @ across.square().mT)
        return means, variances - explained + self.config.noise_std**2

    def _correlation(self, x: Float[Tensor, "B M 1"]) -> Float[Tensor, "B L M N"]:
        """Correlations of `x` with the points, for every lengthscale."""
        unread = torch.ones_like(self.lengthscales)
        return correlation(self.config.kernel, x[:, None], self.points.x[:, None], self.lengthscales, unread)


def log_uniform_rule(
    bounds: tuple[float, float], nodes: int, device: torch.device
) -> tuple[Float[Tensor, "nodes"], Float[Tensor, "nodes"]]:
    """Nodes and log-weights of a mean under the uniform distribution on (low, high); the weights sum to 1.

    Gauss-Legendre in the logarithm, in which posteriors are about equally wide everywhere. A range of a
    single value becomes one of relative width 1e-9.
    """
    low, high = bounds[0], max(bounds[1], bounds[0] * (1 + 1e-9))
    at, weights = gauss_legendre(nodes)
    values = low * (0.5 * (at + 1) * math.log(high / low)).exp()
    weights = weights * values
    return values.to(device), (weights / weights.sum()).log().to(device)


def gauss_legendre(nodes: int) -> tuple[Float[Tensor, "nodes"], Float[Tensor, "nodes"]]:
    """Nodes and weights on [-1, 1], from the eigenvectors of the Jacobi matrix (Golub and Welsch, 1969)."""
    k = torch.arange(1, nodes, dtype=torch.float64)
    beside = k / (4 * k.square() - 1).sqrt()
    values, vectors = eigh(torch.diag(beside, 1) + torch.diag(beside, -1))
    return values, 2 * vectors[0].square()
