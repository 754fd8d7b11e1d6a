"""Functions drawn from Gaussian processes of unknown hyperparameters: the common 1D meta-regression tasks.

With d the distance of two points, l the lengthscale, s the scale and p the period, covariances are s^2 times

    rbf        exp(-d^2 / 2 l^2)
    matern52   (1 + a + a^2 / 3) exp(-a),  a = sqrt(5) d / l
    periodic   exp(-2 sin^2(pi d / p) / l^2)

and values are observed under independent noise. The defaults are the protocol that ANP, BNP, TNP and later
neural processes share: l, s and p uniform and drawn for each task; the numbers of contexts and of targets
uniform and drawn for each batch.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from vnp_core.errors import ConfigError
from vnp_core.factorisations import cholesky
from vnp_core.observations import PointSet
from vnp_core.tasks.task import TaskBatch, step_generator

KernelName = Literal["rbf", "matern52", "periodic"]

SMALLEST_NOISE = 1e-4
"""Below it, covariances of close points are singular even in float64."""


@dataclass(frozen=True)
class GaussianProcessConfig:
    """A distribution over tasks. Pairs are inclusive ranges, of which every value is equally likely."""

    kernel: KernelName = "rbf"
    """Covariance function."""
    lengthscale: tuple[float, float] = (0.1, 0.6)
    """Range of l."""
    scale: tuple[float, float] = (0.1, 1.0)
    """Range of s, the standard deviation of the noiseless function."""
    period: tuple[float, float] = (0.1, 0.5)
    """Range of p; only the periodic kernel reads it."""
    noise_std: float = 0.02
    """Standard deviation of the noise on every observed value, contexts and targets alike."""
    x_range: tuple[float, float] = (-2.0, 2.0)
    """Where points lie."""
    batch_size: int = 16
    """Tasks in a batch."""
    contexts: tuple[int, int] = (3, 46)
    """Range of the number of contexts."""
    targets: tuple[int, int] = (3, 46)
    """Range of the number of targets, which `total` may narrow."""
    total: int | None = 49
    """The most points that contexts and targets have together; None for no such bound."""

    def __post_init__(self) -> None:
        for name in ("lengthscale", "scale", "period"):
            low, high = getattr(self, name)
            if not 0 < low <= high < math.inf:
                raise ConfigError(f"{name} is a range of positive numbers; given was ({low}, {high}).")
        if not self.noise_std >= SMALLEST_NOISE:
            raise ConfigError(f"noise_std is {SMALLEST_NOISE} or more; given was {self.noise_std}.")
        if not -math.inf < self.x_range[0] < self.x_range[1] < math.inf:
            raise ConfigError(f"x_range is (low, high) with low < high; given was {self.x_range}.")
        for name, least in (("contexts", 0), ("targets", 1)):
            low, high = getattr(self, name)
            if not least <= low <= high:
                raise ConfigError(f"{name} is a range of counts from {least} on; given was ({low}, {high}).")
        if self.batch_size < 1:
            raise ConfigError(f"batch_size is 1 or more; given was {self.batch_size}.")
        if self.total is not None and self.contexts[1] + self.targets[0] > self.total:
            raise ConfigError(
                f"{self.contexts[1]} contexts and {self.targets[0]} targets exceed a total of {self.total}."
                " Raise `total`, or ask for fewer."
            )

    def sized(self, contexts: int, targets: int) -> "GaussianProcessConfig":
        """The same functions at exactly so many contexts and targets, for curves against their number."""
        return replace(self, contexts=(contexts, contexts), targets=(targets, targets), total=None)


@dataclass(frozen=True)
class Hyperparameters:
    """What the functions of a batch were drawn with, or a guess at it. Axes may precede B."""

    lengthscale: Float[Tensor, "*S B"]
    scale: Float[Tensor, "*S B"]
    period: Float[Tensor, "*S B"]

    def to(self, device: torch.device | str) -> "Hyperparameters":
        """The same numbers on another device."""
        return Hyperparameters(self.lengthscale.to(device), self.scale.to(device), self.period.to(device))


@dataclass(frozen=True)
class GaussianProcessBatch(TaskBatch):
    """Tasks that know what they were drawn with, so that the best possible score is known too."""

    context: PointSet
    everything: PointSet
    hyperparameters: Hyperparameters

    def to(self, device: torch.device | str) -> "GaussianProcessBatch":
        """The same tasks on another device."""
        return replace(super().to(device), hyperparameters=self.hyperparameters.to(device))


class GaussianProcessTasks:
    """A task source. Points are float32; values are drawn in float64, by Cholesky, and handed out in float32.

    Random numbers come from the CPU, so every device gets the same tasks but for rounding. A GPU of Apple's
    has no float64: there, draw on the CPU and move the batch.
    """

    x_dim = 1
    y_dim = 1

    def __init__(self, config: GaussianProcessConfig, seed: int, device: torch.device | str = "cpu") -> None:
        self.config = config
        self.seed = seed
        self.device = torch.device(device)

    @property
    def name(self) -> str:
        """The kernel."""
        return self.config.kernel

    def batch(self, step: int) -> GaussianProcessBatch:
        """The tasks of one step."""
        config, generator = self.config, step_generator(self.seed, step)
        contexts, targets = draw_counts(config.contexts, config.targets, config.total, generator)
        size, points = config.batch_size, contexts + targets
        hyperparameters = Hyperparameters(
            _uniform(config.lengthscale, (size,), generator).to(self.device),
            _uniform(config.scale, (size,), generator).to(self.device),
            _uniform(config.period, (size,), generator).to(self.device),
        )
        x = _uniform(config.x_range, (size, points, 1), generator).float().to(self.device)
        noise = torch.randn(size, points, 1, generator=generator, dtype=torch.float64).to(self.device)
        factor = cholesky(noisy_covariance(config, x, hyperparameters))
        y = (factor @ noise).float()
        context = PointSet.present(x[:, :contexts], y[:, :contexts])
        asked = PointSet.present(x[:, contexts:], y[:, contexts:])
        return GaussianProcessBatch(context, asked, context.cat(asked), hyperparameters)


def draw_counts(
    contexts: tuple[int, int], targets: tuple[int, int], total: int | None, generator: Generator
) -> tuple[int, int]:
    """Numbers of contexts and of targets, uniform on their ranges, the targets within what `total` leaves."""
    n_contexts = int(torch.randint(contexts[0], contexts[1] + 1, (), generator=generator))
    most = targets[1] if total is None else min(targets[1], total - n_contexts)
    return n_contexts, int(torch.randint(targets[0], most + 1, (), generator=generator))


def correlation(
    kernel: KernelName,
    x: Float[Tensor, "*S N 1"],
    other: Float[Tensor, "*S M 1"],
    lengthscale: Float[Tensor, "*S"],
    period: Float[Tensor, "*S"],
) -> Float[Tensor, "*S N M"]:
    """Correlation of the noiseless function between two sets of points, in float64."""
    distance = (x.double() - other.double().mT).abs()
    lengthscale = lengthscale.double()[..., None, None]
    if kernel == "rbf":
        return torch.exp(-0.5 * (distance / lengthscale).square())
    if kernel == "matern52":
        a = math.sqrt(5) * distance / lengthscale
        return (1 + a + a.square() / 3) * torch.exp(-a)
    sine = torch.sin(math.pi * distance / period.double()[..., None, None])
    return torch.exp(-2 * (sine / lengthscale).square())


def noisy_covariance(
    config: GaussianProcessConfig, x: Float[Tensor, "*B N 1"], hyperparameters: Hyperparameters
) -> Float[Tensor, "*B N N"]:
    """Covariance of observed values at N points of each function, in float64."""
    noise = config.noise_std**2 * torch.eye(x.shape[-2], dtype=torch.float64, device=x.device)
    related = correlation(config.kernel, x, x, hyperparameters.lengthscale, hyperparameters.period)
    return hyperparameters.scale.double().square()[..., None, None] * related + noise


def _uniform(
    bounds: tuple[float, float], shape: tuple[int, ...], generator: Generator
) -> Float[Tensor, "*shape"]:
    low, high = bounds
    return low + (high - low) * torch.rand(shape, generator=generator, dtype=torch.float64)
