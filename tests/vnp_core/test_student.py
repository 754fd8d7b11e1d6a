"""The Student t: against its formula, its own integral, scipy's, and the Gaussian that it becomes."""

import math

import pytest
import torch
from scipy import stats

from vnp_core.errors import ConfigError
from vnp_core.likelihoods import GaussianMixture
from vnp_core.student import StudentMixture


def some_student(dof: float = 4.0, draws: int = 3, targets: int = 5) -> StudentMixture:
    generator = torch.Generator().manual_seed(0)
    shape = (2, draws, targets, 2)
    means = torch.randn(shape, generator=generator, dtype=torch.float64)
    scales = 0.2 + torch.rand(shape, generator=generator, dtype=torch.float64)
    return StudentMixture(means, scales, dof)


def some_values(targets: int = 5) -> torch.Tensor:
    return torch.randn(2, targets, 2, generator=torch.Generator().manual_seed(9), dtype=torch.float64)


@pytest.mark.parametrize("dof", [2.5, 4.0, 30.0])
def test_density_distribution_function_and_moments_are_scipys(dof):
    student, y = some_student(dof), some_values()
    each = stats.t(dof, student.means.numpy(), student.scales.numpy())
    expected = torch.from_numpy(each.logpdf(y[:, None].numpy())).sum(-1)
    torch.testing.assert_close(student.log_probs(y), expected)
    torch.testing.assert_close(student.cdf(y), torch.from_numpy(each.cdf(y[:, None].numpy())).mean(1))
    torch.testing.assert_close(student.stds, torch.from_numpy(each.std()))
    torch.testing.assert_close(student.scaled(3.0).stds, 3 * student.stds)


def test_the_density_is_the_slope_of_the_distribution_function():
    student, y, step = some_student(draws=1), some_values(), 1e-5
    slope = (student.cdf(y + step) - student.cdf(y - step)) / (2 * step)
    torch.testing.assert_close(slope.log().sum(-1), student.log_probs(y)[:, 0], atol=1e-6, rtol=0)


def test_with_many_degrees_of_freedom_it_is_the_gaussian():
    student, y = some_student(1e8), some_values()
    gaussian = GaussianMixture(student.means, student.scales)
    torch.testing.assert_close(student.log_probs(y), gaussian.log_probs(y), atol=0, rtol=1e-5)
    torch.testing.assert_close(student.cdf(y), gaussian.cdf(y), atol=1e-7, rtol=0)
    torch.testing.assert_close(student.variance, gaussian.variance)


def test_samples_follow_the_distribution_function_and_the_seed():
    one = StudentMixture(torch.full((1, 1, 20000, 1), 0.5), torch.full((1, 1, 20000, 1), 2.0), 3.0)
    drawn = one.sample(torch.Generator().manual_seed(0))
    values = one.cdf(drawn[:, 0]).flatten().sort().values
    even = (torch.arange(len(values)) + 0.5) / len(values)
    assert (values - even).abs().max() < 1.63 / math.sqrt(len(values))  # Kolmogorov and Smirnov, 1 %
    assert torch.equal(drawn, one.sample(torch.Generator().manual_seed(0)))
    assert not torch.equal(drawn, one.sample(torch.Generator().manual_seed(1)))


def test_an_error_of_ten_scales_costs_8_nats_at_four_degrees_of_freedom_and_a_gaussian_50():
    zero, one = torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1)
    near, far = torch.zeros(1, 1, 1), torch.full((1, 1, 1), 10.0)
    for prediction, cost in ((StudentMixture(zero, one, 4.0), 8.1), (GaussianMixture(zero, one), 50.0)):
        found = prediction.log_probs(near) - prediction.log_probs(far)
        assert found.item() == pytest.approx(cost, abs=0.1)


def test_absent_targets_have_log_density_0_even_where_they_are_nan_and_gradients_stay_finite():
    student, y = some_student(), some_values()
    mask = torch.tensor([[True, False, True, True, False]] * 2)
    y[~mask] = math.nan
    scales = student.scales.requires_grad_()
    found = student.log_probs(y, mask)
    assert (found[:, :, ~mask[0]] == 0).all()
    found.sum().backward()
    assert scales.grad is not None
    assert scales.grad.isfinite().all()


@pytest.mark.parametrize("dof", [2.0, 0.0, -1.0, math.inf, math.nan])
def test_degrees_of_freedom_without_a_variance_are_refused(dof):
    with pytest.raises(ConfigError, match="above 2"):
        some_student(dof)
