"""Regression against the textbook's formulas, and against all that scoring expects of a model."""

import math

import pytest
import torch

from vnp_core.bench.gp_regression import GaussianProcessRegression, matern52
from vnp_core.errors import ConfigError
from vnp_core.observations import Grid, PointSet

MODEL = GaussianProcessRegression(0.05, (0.1, -0.2), lengthscales=(0.2, 0.6), scales=(0.3, 0.5))


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 - 1


CONTEXT = PointSet.present(noise(3, 6, 2), noise(3, 6, 2, seed=1))
ASKED = noise(3, 4, 2, seed=2)
TRUTH = noise(3, 4, 2, seed=3)


def kernel(a: torch.Tensor, b: torch.Tensor, length: float) -> torch.Tensor:
    distance = torch.cdist(a, b)
    r = math.sqrt(5) * distance / length
    return (1 + r + r**2 / 3) * torch.exp(-r)


def test_the_kernel_is_matern_five_halves_in_the_plane():
    found = matern52(CONTEXT.x, ASKED, torch.tensor([0.2, 0.4, 0.9], dtype=torch.float64))
    for place, length in enumerate((0.2, 0.4, 0.9)):
        torch.testing.assert_close(found[place], kernel(CONTEXT.x[place], ASKED[place], length))


def evidence(place: int, length: float, scale: float) -> torch.Tensor:
    x, y = CONTEXT.x[place], CONTEXT.y[place] - torch.tensor([0.1, -0.2])
    covariance = scale**2 * kernel(x, x, length) + 0.05**2 * torch.eye(6)
    gaussian = torch.distributions.MultivariateNormal(torch.zeros(6).double(), covariance)
    return gaussian.log_prob(y.mT).sum()


def test_the_prediction_is_the_textbooks_under_the_likeliest_pair_of_the_grid():
    prediction = MODEL.predict(CONTEXT, ASKED, 5, None)
    joint = prediction.joint_log_probs(TRUTH)
    assert prediction.means.shape == (3, 1, 4, 2)
    for place in range(3):
        pairs = [(length, scale) for length in (0.2, 0.6) for scale in (0.3, 0.5)]
        length, scale = max(pairs, key=lambda pair: float(evidence(place, *pair)))
        x, asked = CONTEXT.x[place], ASKED[place]
        mean = torch.tensor([0.1, -0.2], dtype=torch.float64)
        own = scale**2 * kernel(x, x, length) + 0.05**2 * torch.eye(6)
        across = scale**2 * kernel(x, asked, length)
        weights = torch.linalg.solve(own, across).mT
        expected = mean + weights @ (CONTEXT.y[place] - mean)
        covariance = scale**2 * kernel(asked, asked, length) - weights @ across + 0.05**2 * torch.eye(4)
        torch.testing.assert_close(prediction.means[place, 0], expected, atol=1e-9, rtol=0)
        log_prob = sum(
            torch.distributions.MultivariateNormal(expected[:, c], covariance).log_prob(TRUTH[place, :, c])
            for c in range(2)
        )
        torch.testing.assert_close(joint[place, 0], log_prob, atol=2e-3, rtol=0)  # the jitter


def test_padding_grids_and_empty_contexts_are_understood():
    padded = CONTEXT.cat(PointSet(noise(3, 2, 2), noise(3, 2, 2), torch.zeros(3, 2, dtype=torch.bool)))
    torch.testing.assert_close(
        MODEL.predict(padded, ASKED, 1, None).means, MODEL.predict(CONTEXT, ASKED, 1, None).means
    )
    grid = Grid(noise(3, 2, 3, 3), torch.ones(3, 3, 3, dtype=torch.bool))
    torch.testing.assert_close(
        MODEL.predict(grid, ASKED, 1, None).stds, MODEL.predict(grid.points(), ASKED, 1, None).stds
    )
    nothing = PointSet(CONTEXT.x, CONTEXT.y, torch.zeros_like(CONTEXT.mask))
    prior = MODEL.predict(nothing, ASKED, 1, None)
    torch.testing.assert_close(prior.means, torch.tensor([0.1, -0.2]).double().expand(3, 1, 4, 2))


def test_noise_of_nothing_is_refused():
    with pytest.raises(ConfigError, match="noise above 0"):
        GaussianProcessRegression(0.0)
