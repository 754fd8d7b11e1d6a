"""The integral over lengthscale and scale, against rules of other kinds."""

import math

import pytest
import torch

from vnp_core.errors import ConfigError
from vnp_core.observations import PointSet
from vnp_core.tasks.gaussian_processes import (
    GaussianProcessConfig,
    GaussianProcessTasks,
    Hyperparameters,
    noisy_covariance,
)
from vnp_core.tasks.hyper_posterior import ObservedSpectrum, gauss_legendre, log_uniform_rule
from vnp_core.tasks.task import join_points


def log_evidence_by_midpoints(points: PointSet, config: GaussianProcessConfig, steps: int) -> torch.Tensor:
    """Mean likelihood over a plain grid of midpoints, linear in both, by multivariate normals."""
    fractions = (torch.arange(steps, dtype=torch.float64) + 0.5) / steps
    l, s = (low + (high - low) * fractions for low, high in (config.lengthscale, config.scale))  # noqa: E741
    lengthscale, scale = (grid.reshape(-1, 1) for grid in torch.meshgrid(l, s, indexing="ij"))
    guesses = Hyperparameters(lengthscale, scale, torch.ones_like(scale))
    covariance = noisy_covariance(config, points.x, guesses)
    normal = torch.distributions.MultivariateNormal(torch.zeros_like(covariance[..., 0]), covariance)
    return torch.logsumexp(normal.log_prob(points.y[..., 0].double()), 0) - math.log(steps**2)


@pytest.mark.parametrize("nodes", [1, 2, 7, 32])
def test_gauss_legendre_is_exact_for_polynomials_up_to_twice_its_size(nodes):
    at, weights = gauss_legendre(nodes)
    for power in range(2 * nodes):
        exact = 2 / (power + 1) if power % 2 == 0 else 0.0
        assert float((weights * at**power).sum()) == pytest.approx(exact, abs=1e-13)


def test_the_rule_gives_means_under_the_uniform_distribution():
    values, log_weights = log_uniform_rule((0.1, 0.6), 32, torch.device("cpu"))
    weights = log_weights.exp()
    assert float(weights.sum()) == pytest.approx(1)
    assert float((weights * values).sum()) == pytest.approx(0.35)
    assert float((weights * values.square()).sum()) == pytest.approx((0.6**3 - 0.1**3) / 3 / 0.5)


@pytest.mark.parametrize(("kernel", "count"), [("rbf", 1), ("rbf", 20), ("matern52", 8)])
def test_evidence_agrees_with_a_plain_grid(kernel, count):
    config = GaussianProcessConfig(kernel=kernel, batch_size=2)
    points = GaussianProcessTasks(config.sized(count, 1), seed=1).batch(0).context
    found = ObservedSpectrum(points, config).posterior().log_evidence
    torch.testing.assert_close(found, log_evidence_by_midpoints(points, config, 64), rtol=0, atol=2e-3)


def test_no_point_at_all_says_nothing():
    config = GaussianProcessConfig(batch_size=2)
    nothing = PointSet.present(torch.zeros(2, 0, 1), torch.zeros(2, 0, 1))
    posterior = ObservedSpectrum(nothing, config).posterior()
    torch.testing.assert_close(
        posterior.log_evidence, torch.zeros(2, dtype=torch.float64), atol=1e-12, rtol=0
    )


def test_padding_is_invisible_whatever_stands_in_it():
    config = GaussianProcessConfig(batch_size=2)
    source = (
        GaussianProcessTasks(config.sized(6, 1), seed=2),
        GaussianProcessTasks(config.sized(9, 1), seed=2),
    )
    short, long = (tasks.batch(0).context for tasks in source)
    both = join_points([short, long])
    both.y[:2, 6:] = math.nan
    x = torch.linspace(-2, 2, 5)[None, :, None].expand(4, -1, -1)
    together = ObservedSpectrum(both, config)
    means, variances = together.predict(x)
    for rows, points in ((slice(0, 2), short), (slice(2, 4), long)):
        alone = ObservedSpectrum(points, config)
        torch.testing.assert_close(together.posterior().log_weights[rows], alone.posterior().log_weights)
        expected = alone.predict(x[rows])
        torch.testing.assert_close((means[rows], variances[rows]), expected, rtol=1e-7, atol=1e-9)


def test_draws_follow_the_weights():
    config = GaussianProcessConfig(batch_size=3)
    points = GaussianProcessTasks(config.sized(6, 1), seed=3).batch(0).context
    posterior = ObservedSpectrum(points, config).posterior()
    weights = posterior.weights
    torch.testing.assert_close(weights.sum((1, 2)), torch.ones(3, dtype=torch.float64))
    draws = posterior.sample(4000, torch.Generator().manual_seed(0))
    assert draws.scale.shape == (4000, 3)
    for drawn, nodes, along in (
        (draws.lengthscale, posterior.lengthscales, weights.sum(2)),
        (draws.scale, posterior.scales, weights.sum(1)),
    ):
        mean = along @ nodes
        std = (along @ nodes.square() - mean.square()).sqrt()
        assert ((drawn.mean(0) - mean).abs() < 4 * std / math.sqrt(4000)).all()


def test_unknown_periods_are_not_integrated_out():
    config = GaussianProcessConfig(kernel="periodic")
    points = GaussianProcessTasks(config, seed=0).batch(0).context
    with pytest.raises(ConfigError, match="rbf and matern52 only"):
        ObservedSpectrum(points, config)
