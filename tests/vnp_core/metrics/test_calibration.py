"""Calibration: an oracle covers what it promises, and both ways of missing it are told apart."""

import math

import pytest
import torch

from vnp_core.errors import ConfigError
from vnp_core.likelihoods import GaussianMixture
from vnp_core.metrics.calibration import (
    AUCE_LEVELS,
    auce,
    auce_of_transform,
    calibration_curve,
    coverage,
    coverage_deviation,
    integral_transform,
)
from vnp_core.student import StudentMixture
from vnp_core.tasks.exact_gp import known_ceiling
from vnp_core.tasks.gaussian_processes import GaussianProcessConfig, GaussianProcessTasks


def some_mixture(batch: int = 2, draws: int = 3, targets: int = 4, seed: int = 0) -> GaussianMixture:
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, draws, targets, 2)
    return GaussianMixture(
        torch.randn(shape, generator=generator), 0.2 + torch.rand(shape, generator=generator)
    )


def drawn_from(mixture: GaussianMixture, seed: int) -> torch.Tensor:
    """One value of each target, from a hypothesis of its own."""
    generator = torch.Generator().manual_seed(seed)
    batch, draws, targets, channels = mixture.means.shape
    chosen = torch.randint(draws, (batch, 1, targets, channels), generator=generator)
    return mixture.sample(generator).gather(1, chosen)[:, 0]


def test_a_single_gaussian_has_the_error_functions_transform():
    mixture = GaussianMixture(torch.tensor([[[[1.0], [0.0]]]]), torch.tensor([[[[2.0], [0.5]]]]))
    found = integral_transform(mixture, torch.tensor([[[0.0], [0.8]]]))
    expected = [0.5 * (1 + math.erf(z / math.sqrt(2))) for z in (-0.5, float(torch.tensor(0.8)) / 0.5)]
    assert found.dtype == torch.float64
    assert found.flatten().tolist() == pytest.approx(expected, rel=1e-12)


def test_values_from_the_prediction_itself_are_uniform_after_the_transform():
    mixture = some_mixture(batch=100, draws=5, targets=40)
    values = integral_transform(mixture, drawn_from(mixture, 1)).flatten().sort().values
    even = (torch.arange(len(values)) + 0.5) / len(values)
    assert (values - even).abs().max() < 1.63 / math.sqrt(len(values))  # Kolmogorov and Smirnov, 1 %


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_an_oracle_covers_its_level_and_scaled_spreads_miss_it_on_the_right_side(level):
    mixture = some_mixture(batch=200, draws=1, targets=50)
    y = drawn_from(mixture, 2)
    error = math.sqrt(level * (1 - level) / y.numel())
    assert abs(coverage_deviation(mixture, y, level).mean()) < 4 * error
    for factor, sign in ((0.5, -1), (2.0, 1)):
        scaled = GaussianMixture(mixture.means, factor * mixture.stds)
        half = torch.erfinv(torch.tensor(level, dtype=torch.float64)) * math.sqrt(2)
        expected = float(torch.erf(factor * half / math.sqrt(2))) - level
        assert expected * sign > 0.05
        assert abs(float(coverage_deviation(scaled, y, level).mean()) - expected) < 5 * error


def test_the_interval_is_between_the_mixtures_own_quantiles():
    mixture = some_mixture(batch=1, draws=3, targets=1)

    def quantile(p: float, channel: int) -> float:
        low, high = -10.0, 10.0
        for _ in range(60):
            middle = (low + high) / 2
            share = sum(
                0.5 * (1 + math.erf((middle - float(m)) / float(s) / math.sqrt(2)))
                for m, s in zip(mixture.means[0, :, 0, channel], mixture.stds[0, :, 0, channel], strict=True)
            )
            low, high = (middle, high) if share / 3 < p else (low, middle)
        return low

    for channel in range(2):
        low, high = quantile(0.05, channel), quantile(0.95, channel)
        for value, inside in ((low - 1e-3, 0), (low + 1e-3, 1), (high - 1e-3, 1), (high + 1e-3, 0)):
            y = torch.zeros(1, 1, 2)
            y[..., channel] = value
            one = GaussianMixture(mixture.means[..., channel, None], mixture.stds[..., channel, None])
            assert coverage(one, y[..., channel, None], 0.9).item() == inside


def test_the_curve_rises_and_holds_the_coverages():
    mixture = some_mixture(batch=6, targets=30)
    y = drawn_from(mixture, 3)
    levels = [0.1, 0.5, 0.9, 0.99]
    curve = calibration_curve(mixture, y, levels)
    assert curve.shape == (6, 4)
    assert (curve.diff(dim=1) >= 0).all()
    for index, level in enumerate(levels):
        assert torch.equal(curve[:, index], coverage(mixture, y, level))


def test_absent_targets_count_for_nothing_and_none_at_all_is_nan():
    mixture, mask = some_mixture(), torch.tensor([[True, False, True, False], [False] * 4])
    y = drawn_from(mixture, 4)
    alone = GaussianMixture(mixture.means[:1, :, ::2], mixture.stds[:1, :, ::2])
    expected = coverage(alone, y[:1, ::2], 0.5)
    y[~mask] = math.nan
    found = coverage(mixture, y, 0.5, mask)
    assert found[0] == expected[0]
    assert found[1].isnan()


def test_the_exact_process_is_calibrated():
    config = GaussianProcessConfig(batch_size=400).sized(8, 10)
    batch = GaussianProcessTasks(config, seed=0).batch(0)
    ceiling = known_ceiling(batch, config)
    exact = GaussianMixture(ceiling.mean[:, None, :, None], ceiling.std[:, None, :, None])
    for level in (0.5, 0.9):
        each = coverage_deviation(exact, batch.targets.y, level)
        assert each.mean().abs() < 4 * each.std() / math.sqrt(400)


@pytest.mark.parametrize("level", [0.0, 1.0, 90.0])
def test_levels_are_probabilities(level):
    mixture = some_mixture()
    with pytest.raises(ConfigError, match="between 0 and 1"):
        coverage(mixture, drawn_from(mixture, 0), level)


def test_auce_of_an_oracle_is_near_0_and_of_scaled_spreads_signed():
    mixture = some_mixture(batch=1, draws=4, targets=20000)
    y = drawn_from(mixture, 5)
    oracle = auce(mixture, y)
    assert oracle.distance.item() < 0.01
    for factor, sign in ((0.5, -1), (2.0, 1)):
        found = auce(mixture.scaled(factor), y)
        assert found.signed.item() * sign > 0.05
        assert found.distance.item() == pytest.approx(abs(found.signed.item()), abs=0.01)


def test_auce_of_one_gaussian_has_the_integral_of_its_scaled_quantiles():
    """With sigma times s, the interval of level p covers erf(s erfinv(p)); the areas are that minus p."""
    shape = (1, 1, 100000, 1)
    mixture = GaussianMixture(torch.zeros(shape), torch.ones(shape))
    y = mixture.sample(torch.Generator().manual_seed(0))[:, 0]
    levels = (torch.arange(10000, dtype=torch.float64) + 0.5) / 10000
    for factor in (0.3, 0.5, 2.0):
        expected = (torch.erf(factor * torch.erfinv(levels)) - levels).mean().item()
        assert auce(mixture.scaled(factor), y).signed.item() == pytest.approx(expected, abs=3e-3)


def test_the_signed_area_is_one_half_minus_the_mean_level_at_which_values_enter():
    transform = torch.rand(3, 500, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) ** 2
    expected = 0.5 - (2 * (transform - 0.5).abs()).mean((1, 2))
    torch.testing.assert_close(auce_of_transform(transform).signed, expected, atol=1 / AUCE_LEVELS, rtol=0)


def test_signed_areas_cancel_and_distances_do_not():
    """Half of the values at the median, half outside of everything: too wide and too narrow at once."""
    transform = torch.tensor([0.5, 1.0], dtype=torch.float64).repeat(50)[None, :, None]
    found = auce_of_transform(transform)
    assert found.signed.item() == pytest.approx(0.0, abs=1e-9)
    assert found.distance.item() == pytest.approx(0.25, abs=1e-9)


def test_a_student_is_calibrated_by_its_own_distribution_function_and_not_by_a_gaussians():
    shape = (1, 1, 50000, 1)
    student = StudentMixture(torch.zeros(shape), torch.ones(shape), 3.0)
    y = student.sample(torch.Generator().manual_seed(0))[:, 0]
    assert auce(student, y).distance.item() < 0.01
    assert auce(GaussianMixture(student.means, student.stds), y).distance.item() > 0.05


def test_areas_leave_absent_targets_out():
    mixture, mask = some_mixture(), torch.tensor([[True, False, True, False], [False] * 4])
    y = drawn_from(mixture, 4)
    expected = auce(GaussianMixture(mixture.means[:1, :, ::2], mixture.stds[:1, :, ::2]), y[:1, ::2])
    y[~mask] = math.nan
    found = auce(mixture, y, mask)
    torch.testing.assert_close(found.distance[:1], expected.distance)
    assert found.distance[1].isnan()
    assert found.signed[1].isnan()
