"""What models, and the exact process beside them, say about single functions: bands and samples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from vnp_core.bench.figures import Panel
from vnp_core.correlated import CorrelatedMixture
from vnp_core.factorisations import cholesky
from vnp_core.latents import standard_noise
from vnp_core.likelihoods import GaussianMixture
from vnp_core.metrics.calibration import integral_transform
from vnp_core.model import Process
from vnp_core.observations import Observations, PointSet
from vnp_core.tasks.exact_gp import exact_prediction
from vnp_core.tasks.gaussian_processes import GaussianProcessConfig, Hyperparameters
from vnp_core.tasks.hyper_posterior import ObservedSpectrum

GRID = 201
"""Points at which functions are drawn."""


@dataclass(frozen=True)
class ExactMixture(GaussianMixture):
    """Exact predictions under K guesses at the hyperparameters."""

    covariances: Float[Tensor, "B K M M"]
    noise_std: float


@dataclass(frozen=True)
class ExactProcess:
    """The Gaussian process itself as a model: each draw is a draw of the hyperparameters given the context.

    With `known` hyperparameters all draws are those.
    """

    config: GaussianProcessConfig
    known: Hyperparameters | None = None

    def predict(
        self, context: Observations, x: Float[Tensor, "B M X"], draws: int, generator: Generator | None
    ) -> ExactMixture:
        """The exact prediction at x under each draw, in float64."""
        points = context if isinstance(context, PointSet) else context.points()
        if self.known is None:
            posterior = ObservedSpectrum(points, self.config).posterior()
            guesses = posterior.sample(draws, generator or Generator().manual_seed(0))
        else:
            parts = (getattr(self.known, part.name) for part in fields(self.known))
            guesses = Hyperparameters(*(part.expand(draws, -1) for part in parts))
        exact = exact_prediction(self.config, points, x, guesses)
        means, stds = exact.mean.transpose(0, 1)[..., None], exact.std.transpose(0, 1)[..., None]
        return ExactMixture(means, stds, exact.covariance.transpose(0, 1), self.config.noise_std)


def function_samples(prediction: GaussianMixture, generator: Generator) -> Float[Tensor, "B K M Y"]:
    """One function under each draw, without the noise of observations.

    A diagonal head does not tell noise from function: its samples are the means.
    """
    if isinstance(prediction, CorrelatedMixture):
        return replace(prediction, noise=torch.zeros_like(prediction.noise)).sample(generator)
    if isinstance(prediction, ExactMixture):
        covariances = prediction.covariances
        # All but 1e-6 of the noise's variance is taken off: without any, the matrix is singular.
        noise = torch.eye(covariances.shape[-1], dtype=covariances.dtype) * (prediction.noise_std**2 - 1e-6)
        factor = cholesky(covariances - noise)
        return prediction.means + factor @ standard_noise(prediction.means.shape, generator, prediction.means)
    return prediction.means


def quantile(prediction: GaussianMixture, share: float) -> Float[Tensor, "B M Y"]:
    """The `share` quantile of each target's marginal, by bisection, to 1e-9 of its spread."""
    reach = 10 * prediction.stds
    low = (prediction.means - reach).amin(1).double()
    high = (prediction.means + reach).amax(1).double()
    for _ in range(40):
        middle = (low + high) / 2
        below = integral_transform(prediction, middle) < share
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return (low + high) / 2


def prediction_panels(
    models: Mapping[str, tuple[Process, int]],
    context: PointSet,
    truth: PointSet,
    x_range: tuple[float, float],
    *,
    seed: int,
    samples: int = 4,
) -> list[Panel]:
    """A panel for each model, given with its number of draws, about one function: [1, N, 1] points."""
    x = torch.linspace(*x_range, GRID)
    seen, unseen = _pairs(context), _pairs(truth)
    panels: list[Panel] = []
    with torch.inference_mode():
        for name, (model, draws) in models.items():
            generator = torch.Generator().manual_seed(seed)
            prediction = model.predict(context, x[None, :, None], max(draws, samples), generator)
            functions = function_samples(prediction, generator)[0, :, :, 0]
            if len(functions) == 1:  # one hypothesis can still have many functions
                more = [function_samples(prediction, generator)[0, :, :, 0] for _ in range(samples)]
                functions = torch.cat(more)
            low, high = (quantile(prediction, share)[0, :, 0].float() for share in (0.05, 0.95))
            mean = prediction.mean[0, :, 0].float()
            panels.append(Panel(name, x, low, high, mean, functions[:samples].float(), seen, unseen))
    return panels


def _pairs(points: PointSet) -> Float[Tensor, "N 2"]:
    here = points.mask[0]
    return torch.stack([points.x[0, here, 0], points.y[0, here, 0]], dim=-1).float().cpu()


def nested_contexts(points: PointSet, sizes: Sequence[int]) -> list[tuple[PointSet, PointSet]]:
    """The first points of one function as context, for each size, and all others as truth."""

    def part(where: slice) -> PointSet:
        return PointSet(points.x[:1, where], points.y[:1, where], points.mask[:1, where])

    return [(part(slice(size)), part(slice(size, None))) for size in sizes]
