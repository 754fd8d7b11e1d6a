"""The CRPS: closed forms, its definition as an integral, and properness."""

import math

import pytest
import torch

from vnp_core.likelihoods import GaussianMixture
from vnp_core.metrics.crps import crps, mean_absolute


def some_mixture(draws: int, targets: int = 3, batch: int = 2) -> GaussianMixture:
    generator = torch.Generator().manual_seed(draws)
    shape = (batch, draws, targets, 2)
    return GaussianMixture(
        torch.randn(shape, generator=generator, dtype=torch.float64),
        0.2 + torch.rand(shape, generator=generator, dtype=torch.float64),
    )


def some_values(targets: int = 3, batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, targets, 2, generator=torch.Generator().manual_seed(9), dtype=torch.float64)


def test_one_gaussian_has_the_known_closed_form():
    mixture, y = some_mixture(1), some_values()
    z = (y - mixture.means[:, 0]) / mixture.stds[:, 0]
    density = torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi)
    closed = mixture.stds[:, 0] * (z * torch.erf(z / math.sqrt(2)) + 2 * density - 1 / math.sqrt(math.pi))
    found = crps(mixture, y)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, closed.mean((1, 2)))


@pytest.mark.parametrize("draws", [1, 2, 5])
def test_it_is_the_integral_of_the_squared_distance_of_distribution_functions(draws):
    mixture, y = some_mixture(draws), some_values()
    grid = torch.linspace(-12, 12, 48001, dtype=torch.float64)
    z = (grid[:, None, None, None, None] - mixture.means) / mixture.stds
    distribution = (0.5 * (1 + torch.erf(z / math.sqrt(2)))).mean(2)
    step = (grid[:, None, None, None] >= y).double()
    integral = torch.trapezoid((distribution - step).square(), grid, dim=0)
    torch.testing.assert_close(crps(mixture, y), integral.mean((1, 2)), atol=5e-4, rtol=0)


def test_copies_of_one_hypothesis_are_one():
    one, y = some_mixture(1), some_values()
    many = GaussianMixture(one.means.expand(-1, 7, -1, -1), one.stds.expand(-1, 7, -1, -1))
    torch.testing.assert_close(crps(many, y), crps(one, y))


def test_units_scale_it_and_a_shift_of_all_changes_nothing():
    mixture, y = some_mixture(4), some_values()
    scaled = GaussianMixture(3 * mixture.means + 5, 3 * mixture.stds)
    torch.testing.assert_close(crps(scaled, 3 * y + 5), 3 * crps(mixture, y))


def test_without_spread_it_is_the_absolute_error():
    mixture, y = some_mixture(1), some_values()
    sure = GaussianMixture(mixture.means, torch.full_like(mixture.stds, 1e-12))
    torch.testing.assert_close(crps(sure, y), (y - mixture.means[:, 0]).abs().mean((1, 2)))


def test_the_distribution_that_values_come_from_scores_best():
    truth = GaussianMixture(
        torch.tensor([-1.0, 1.0]).reshape(1, 2, 1, 1).expand(1, 2, 20000, 1),
        torch.tensor([0.3, 0.6]).reshape(1, 2, 1, 1).expand(1, 2, 20000, 1),
    )
    generator = torch.Generator().manual_seed(0)
    chosen = torch.randint(2, (1, 1, 20000, 1), generator=generator)
    y = truth.sample(generator).gather(1, chosen)[:, 0]
    best = crps(truth, y)
    one = GaussianMixture(truth.mean[:, None], truth.variance.sqrt()[:, None])
    for worse in (
        GaussianMixture(truth.means + 0.3, truth.stds),
        GaussianMixture(truth.means, 2 * truth.stds),
        GaussianMixture(truth.means, 0.4 * truth.stds),
        one,
    ):
        assert best < crps(worse, y) - 1e-3


def test_absent_targets_count_for_nothing_and_none_at_all_is_nan():
    mixture, y = some_mixture(3), some_values()
    mask = torch.tensor([[True, False, True], [False, False, False]])
    alone = crps(GaussianMixture(mixture.means[:, :, ::2], mixture.stds[:, :, ::2]), y[:, ::2])
    y[~mask] = math.nan
    found = crps(mixture, y, mask)
    torch.testing.assert_close(found[0], alone[0])
    assert found[1].isnan()


def test_the_mean_size_of_a_gaussian_is_that_of_many_draws():
    mean, std = torch.tensor([0.0, 1.0, -3.0]), torch.tensor([1.0, 2.0, 0.5])
    draws = mean + std * torch.randn(200000, 3, generator=torch.Generator().manual_seed(0))
    found = mean_absolute(mean, std)
    assert ((draws.abs().mean(0) - found).abs() < 5 * std / math.sqrt(200000)).all()
