"""What figures of predictions are made of."""

from typing import Any

import pytest
import torch

from vnp_core.bench.panels import (
    GRID,
    ExactProcess,
    function_samples,
    nested_contexts,
    prediction_panels,
    quantile,
)
from vnp_core.correlated import CorrelatedMixture
from vnp_core.likelihoods import GaussianMixture
from vnp_core.tasks.exact_gp import exact_prediction
from vnp_core.tasks.gaussian_processes import GaussianProcessConfig, GaussianProcessTasks, Hyperparameters


@pytest.fixture
def process() -> GaussianProcessTasks:
    return GaussianProcessTasks(GaussianProcessConfig(batch_size=1).sized(8, 6), seed=2)


def test_the_quantile_of_one_gaussian_is_known() -> None:
    prediction = GaussianMixture(torch.full((1, 1, 2, 1), 3.0), torch.full((1, 1, 2, 1), 2.0))
    expected = torch.full((1, 2, 1), 3.0 + 2.0 * 1.6448536269514722, dtype=torch.float64)
    torch.testing.assert_close(quantile(prediction, 0.95), expected, atol=1e-6, rtol=0)


def test_the_median_of_two_far_gaussians_lies_between_them() -> None:
    means = torch.tensor([-5.0, 5.0])[None, :, None, None]
    prediction = GaussianMixture(means, torch.full_like(means, 0.1))
    assert abs(float(quantile(prediction, 0.5))) < 4.7
    assert float(quantile(prediction, 0.25)) == pytest.approx(-5, abs=0.01)


def test_the_exact_process_with_known_hyperparameters_is_the_exact_prediction(
    process: GaussianProcessTasks,
) -> None:
    batch = process.batch(0)
    known = ExactProcess(process.config, batch.hyperparameters)
    found = known.predict(batch.context, batch.targets.x, 3, None)
    expected = exact_prediction(process.config, batch.context, batch.targets.x, batch.hyperparameters)
    assert found.means.shape == (1, 3, 6, 1)
    for draw in range(3):
        torch.testing.assert_close(found.means[:, draw, :, 0], expected.mean)
        torch.testing.assert_close(found.stds[:, draw, :, 0], expected.std)


def test_the_exact_process_draws_hyperparameters_within_their_prior(process: GaussianProcessTasks) -> None:
    batch = process.batch(0)
    drawn = ExactProcess(process.config).predict(batch.context, batch.targets.x, 16, torch.Generator())
    assert drawn.means.shape == (1, 16, 6, 1)
    assert float(drawn.means.std(1).max()) > 0


def test_sampled_functions_of_the_exact_process_have_its_covariance_without_noise(
    process: GaussianProcessTasks, generator: torch.Generator
) -> None:
    batch = process.batch(0)
    wide = Hyperparameters(*(part.expand(1) for part in vars(batch.hyperparameters).values()))
    drawn = ExactProcess(process.config, wide).predict(batch.context, batch.targets.x, 4000, generator)
    samples = function_samples(drawn, generator)[0, :, :, 0]
    exact = exact_prediction(process.config, batch.context, batch.targets.x, wide)
    expected = exact.covariance[0] - process.config.noise_std**2 * torch.eye(6)
    error = (samples.T.cov() - expected).abs().max()
    assert float(error) < 0.1 * float(expected.diagonal().max()) + 1e-4


def test_sampled_functions_of_a_correlated_head_carry_no_noise(generator: torch.Generator) -> None:
    factors = torch.ones(1, 2, 5, 1, 1)
    prediction = CorrelatedMixture.of_parts(torch.zeros(1, 2, 5, 1), torch.ones(1, 2, 5, 1), factors)
    samples = function_samples(prediction, generator)
    # One shared factor: each function is flat, and without the noise exactly so.
    assert torch.equal(samples, samples[:, :, :1].expand_as(samples))


def test_contexts_are_nested_and_the_rest_is_the_truth(process: GaussianProcessTasks) -> None:
    points = process.batch(0).everything
    assert not isinstance(points, tuple)
    (small, rest), (large, _) = nested_contexts(points, (3, 8))  # type: ignore[arg-type]
    assert torch.equal(small.x, large.x[:, :3])
    assert (small.x.shape[1], rest.x.shape[1]) == (3, 11)


def test_a_panel_holds_band_mean_and_as_many_functions_as_asked(
    guess: Any, process: GaussianProcessTasks
) -> None:
    batch = process.batch(0)
    models = {"exact": (ExactProcess(process.config), 8), "guess": (guess((0.0,), 1.0), 1)}
    context: Any = batch.context
    exact, other = prediction_panels(models, context, batch.targets, (-2.0, 2.0), seed=0, samples=3)
    for panel in (exact, other):
        assert panel.samples.shape == (3, GRID)
        assert bool((panel.low < panel.high).all())
        assert panel.context.shape == (8, 2)
    torch.testing.assert_close(other.high, torch.full((GRID,), 1.6448536), atol=1e-5, rtol=0)
