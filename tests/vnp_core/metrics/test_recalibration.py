"""Corrections fitted on some values and tried on others: right factors, right coverage, exact JSON."""

import json
import math
from statistics import fmean

import pytest
import torch
from torch import Tensor

from vnp_core.errors import DataError
from vnp_core.likelihoods import GaussianMixture
from vnp_core.metrics.calibration import Mixture, auce, coverage, coverage_of_transform, integral_transform
from vnp_core.metrics.predictive import negative_log_likelihood
from vnp_core.metrics.recalibration import (
    LARGEST_SCALE,
    SigmaScale,
    TransformMap,
    correction_from_json,
    fit_coverage_scale,
    fit_sigma_scale,
    fit_transform_map,
)
from vnp_core.student import StudentMixture

TARGETS = 20000


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gaussians(draws: int = 1, seed: int = 0) -> GaussianMixture:
    shape = (1, draws, TARGETS, 2)
    means = 0.3 * torch.randn(shape, generator=seeded(seed))
    return GaussianMixture(means, 0.1 + torch.rand(shape, generator=seeded(seed + 1)))


def students(seed: int = 0) -> StudentMixture:
    gaussian = gaussians(seed=seed)
    return StudentMixture(gaussian.means, gaussian.stds, 4.0)


def drawn_from(prediction: Mixture, seed: int) -> Tensor:
    """One value of each target, from a hypothesis of its own."""
    _, draws, targets, channels = prediction.means.shape
    chosen = torch.randint(draws, (1, 1, targets, 1), generator=seeded(seed)).expand(-1, -1, -1, channels)
    return prediction.sample(seeded(seed)).gather(1, chosen)[:, 0]


def pooled_adjacent(values: list[float]) -> list[float]:
    """Isotonic regression: neighbours that fall are pooled into their mean until nothing falls."""
    pools: list[list[float]] = []
    for value in values:
        pools.append([value])
        while len(pools) > 1 and fmean(pools[-2]) > fmean(pools[-1]):
            pools[-2:] = [pools[-2] + pools[-1]]
    return [fmean(pool) for pool in pools for _ in pool]


def test_the_regression_of_these_tests_is_isotonic():
    assert pooled_adjacent([1, 3, 2, 5, 4, 0]) == pytest.approx([1, 2.5, 2.5, 3, 3, 3])


@pytest.mark.parametrize("factor", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("kind", ["gaussian", "mixture", "student"])
def test_a_sigma_that_is_wrong_by_a_factor_is_put_right(kind, factor):
    def truth(seed: int) -> Mixture:
        return students(seed) if kind == "student" else gaussians(2 if kind == "mixture" else 1, seed)

    fitted, tried = truth(0), truth(10)
    y, y_tried = drawn_from(fitted, 2), drawn_from(tried, 3)
    found = fit_sigma_scale(fitted.scaled(1 / factor), y)
    assert found.factor == pytest.approx(factor, rel=0.03)
    wrong = tried.scaled(1 / factor)
    if factor != 1:
        assert auce(found(wrong), y_tried).distance < 0.3 * auce(wrong, y_tried).distance
        assert negative_log_likelihood(found(wrong), y_tried) < negative_log_likelihood(wrong, y_tried) - 0.2


@pytest.mark.parametrize("kind", ["gaussian", "mixture", "student"])
def test_no_other_factor_makes_the_values_likelier(kind):
    prediction = students() if kind == "student" else gaussians(3 if kind == "mixture" else 1)
    y = torch.randn(1, TARGETS, 2, generator=seeded(5))
    best = fit_sigma_scale(prediction, y)
    lowest = negative_log_likelihood(best(prediction), y)
    for factor in (0.2, 0.5, 0.9, 0.99, 1.01, 1.1, 2.0, 5.0):
        assert negative_log_likelihood(prediction.scaled(factor * best.factor), y) > lowest


def test_the_closed_form_is_what_the_search_finds():
    prediction, y = gaussians(), torch.randn(1, TARGETS, 2, generator=seeded(5))
    twice = GaussianMixture(prediction.means.expand(-1, 2, -1, -1), prediction.stds.expand(-1, 2, -1, -1))
    assert fit_sigma_scale(prediction, y).factor == pytest.approx(fit_sigma_scale(twice, y).factor, rel=1e-4)


@pytest.mark.parametrize("draws", [1, 2])
def test_absent_targets_do_not_count(draws):
    prediction, y = gaussians(draws), torch.randn(1, TARGETS, 2, generator=seeded(5))
    mask = torch.arange(TARGETS)[None] < 1000
    alone = GaussianMixture(prediction.means[:, :, :1000], prediction.stds[:, :, :1000])
    expected = fit_sigma_scale(alone, y[:, :1000]).factor
    y[~mask] = math.nan
    assert fit_sigma_scale(prediction, y, mask).factor == pytest.approx(expected, rel=1e-5)
    batched = GaussianMixture(prediction.means.repeat(2, 1, 1, 1), prediction.stds.repeat(2, 1, 1, 1))
    none = torch.cat([mask, torch.zeros_like(mask)])
    found = fit_sigma_scale(batched, y.repeat(2, 1, 1), none).factor
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", ["gaussian", "mixture", "student"])
@pytest.mark.parametrize("level", [0.5, 0.9])
def test_intervals_hold_what_they_promise_whatever_the_shape_of_the_errors(kind, level):
    prediction = students() if kind == "student" else gaussians(3 if kind == "mixture" else 1)
    heavy = torch.randn(1, TARGETS, 2, generator=seeded(5)) / torch.rand(
        1, TARGETS, 1, generator=seeded(6)
    ).clamp_min(0.01)
    evenly = torch.ones(1, TARGETS)
    scale = fit_coverage_scale(prediction, heavy, evenly, level=level)
    assert coverage(scale(prediction), heavy, level).item() == pytest.approx(level, abs=1e-3)


def test_a_factor_for_coverage_has_a_closed_form_where_all_predictions_are_alike():
    # The least factor whose interval of 80 % reaches 8 of the values 1, 2, ..., 10 about a mean of 0.
    y = torch.arange(1.0, 11.0)[None, :, None]
    prediction = GaussianMixture(torch.zeros(1, 1, 10, 1), torch.ones(1, 1, 10, 1))
    reach = torch.distributions.Normal(0, 1).icdf(torch.tensor(0.9)).item()
    found = fit_coverage_scale(prediction, y, torch.ones(1, 10), level=0.8)
    assert found.factor == pytest.approx(8 / reach, rel=2e-3)
    # 5 that counts four times, and 6 to 10 that count as one together: 8 of 9 are reached at 5.
    weights = torch.tensor([[1.0, 1, 1, 1, 4, 0.2, 0.2, 0.2, 0.2, 0.2]])
    found = fit_coverage_scale(prediction, y, weights, level=0.8)
    assert found.factor == pytest.approx(5 / reach, rel=2e-3)
    with pytest.raises(DataError, match="No target counts"):
        fit_coverage_scale(prediction, y, torch.zeros(1, 10))
    with pytest.raises(DataError, match="No scale of sigma"):
        fit_coverage_scale(prediction, 1e4 * y, torch.ones(1, 10))


def test_a_map_puts_right_a_shape_that_no_factor_can():
    """Values with heavy tails under a Gaussian: 50 % and 90 % need different factors."""
    shape = (1, 1, TARGETS, 2)
    gaussian = GaussianMixture(torch.zeros(shape), torch.ones(shape))
    heavy = StudentMixture(gaussian.means, gaussian.stds, 2.1)
    y, y_tried = drawn_from(heavy, 0), drawn_from(heavy, 1)
    scaled = fit_sigma_scale(gaussian, y)(gaussian)
    levels = [0.5, 0.8, 0.9]

    def off(transform: Tensor) -> Tensor:
        return coverage_of_transform(transform, levels)[0] - torch.tensor(levels, dtype=torch.float64)

    correct = fit_transform_map(integral_transform(gaussian, y))
    assert off(integral_transform(scaled, y_tried))[0] > 0.2
    assert off(integral_transform(gaussian, y_tried))[2] < -0.05
    assert off(correct(integral_transform(gaussian, y_tried))).abs().max() < 0.02


def test_the_map_is_the_isotonic_regression_of_the_empirical_distribution():
    values = torch.rand(1, TARGETS, 1, generator=seeded(0), dtype=torch.float64) ** 3
    ranked = values.flatten().sort().values
    shares = (torch.arange(TARGETS, dtype=torch.float64) + 0.5) / TARGETS
    regressed = torch.tensor(pooled_adjacent(shares.tolist()), dtype=torch.float64)
    inner = (ranked > ranked[200]) & (ranked < ranked[-200])
    found = fit_transform_map(values)(ranked)
    torch.testing.assert_close(found[inner], regressed[inner], atol=5e-3, rtol=0)


def test_the_map_rises_and_its_inverse_undoes_it():
    correct = fit_transform_map(torch.rand(1, 5000, 2, generator=seeded(0), dtype=torch.float64) ** 2)
    levels = torch.linspace(0.05, 0.95, 50, dtype=torch.float64)
    assert (correct(torch.linspace(0, 1, 200, dtype=torch.float64)).diff() >= 0).all()
    torch.testing.assert_close(correct(correct.inverse(levels)), levels)


def test_values_that_many_targets_share_count_in_their_middle():
    """A fifth of all at exactly 0, a fifth at exactly 1: far too sure. No interval can hold them all."""
    values = torch.cat([torch.zeros(200), torch.linspace(0.01, 0.99, 600), torch.ones(200)]).double()
    correct = fit_transform_map(values[None, :, None])
    ends = correct(torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64))
    assert ends.tolist() == pytest.approx([0.1, 0.5, 0.9], abs=0.011)


@pytest.mark.parametrize("kind", ["scale", "map"])
def test_a_correction_survives_json_to_the_last_bit(kind):
    values = torch.rand(1, 500, 2, generator=seeded(0), dtype=torch.float64)
    correction = SigmaScale(1 / 3) if kind == "scale" else fit_transform_map(values)
    assert correction_from_json(json.loads(json.dumps(correction.to_json()))) == correction


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"kind": "other"},
        {"kind": "sigma_scale"},
        {"kind": "sigma_scale", "factor": "wide"},
        {"kind": "sigma_scale", "factor": 0},
        {"kind": "sigma_scale", "factor": math.inf},
        {"kind": "transform_map", "raw": [0, 1], "calibrated": [0.5]},
        {"kind": "transform_map", "raw": [0.5], "calibrated": [0.5]},
        {"kind": "transform_map", "raw": [0, 0.5, 0.4], "calibrated": [0, 0.5, 1]},
        {"kind": "transform_map", "raw": [0, 0.5, 1], "calibrated": [0, 0.5, math.nan]},
        {"kind": "transform_map", "raw": 3, "calibrated": [0, 1]},
    ],
)
def test_what_is_no_correction_is_refused(values):
    with pytest.raises(DataError):
        correction_from_json(values)


def test_what_cannot_be_fitted_is_refused():
    prediction = gaussians()
    y = drawn_from(prediction, 0)
    with pytest.raises(DataError, match="No target"):
        fit_sigma_scale(prediction, y, torch.zeros(1, TARGETS, dtype=torch.bool))
    with pytest.raises(DataError, match="exact"):
        fit_sigma_scale(prediction, prediction.means[:, 0])
    with pytest.raises(DataError, match="exact"):
        fit_sigma_scale(students(), students().means[:, 0])
    with pytest.raises(DataError, match="one unit"):
        fit_sigma_scale(prediction, y + 100 * LARGEST_SCALE)
    with pytest.raises(DataError, match="mask"):
        fit_transform_map(torch.full((1, 3, 1), math.nan))
    with pytest.raises(DataError, match="two or more"):
        fit_transform_map(torch.full((1, 3, 1), 0.5))
    assert isinstance(fit_transform_map(torch.tensor([[[0.2], [0.7]]])), TransformMap)
