"""The laws of sparsification: an oracle's area is 0, a shuffle's the random one, only the order counts."""

import math

import pytest
import torch

from vnp_core.errors import DataError
from vnp_core.metrics.sparsification import Normalisation, Sparsification, sparsify

NORMALISATIONS: tuple[Normalisation, ...] = ("raw", "maximum", "first")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def some_errors(count: int = 777, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, generator=seeded(seed)).abs()


def test_the_curves_are_what_a_loop_over_sorted_targets_gives():
    errors, sigmas = some_errors(37), some_errors(37, seed=1)
    found = sparsify(errors, sigmas, seeded(), steps=10)
    for curve, order in ((found.model, sigmas), (found.oracle, errors)):
        ranked = sorted(zip(order.tolist(), errors.tolist(), strict=True))
        for step in range(10):
            left = ranked[: 37 - step * 37 // 10]
            assert curve[step].item() == pytest.approx(sum(e for _, e in left) / len(left), rel=1e-6)
    assert found.shares.tolist() == pytest.approx([step / 10 for step in range(10)])


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
@pytest.mark.parametrize("power", [1, 2])
def test_the_oracles_area_is_0_in_every_definition(normalisation, power):
    errors = some_errors() ** power
    errors[100:300] = errors[100]  # ties among errors too
    found = sparsify(errors, errors, seeded())
    assert found.ause(normalisation) == 0
    assert found.relative == 0


def test_a_shuffles_area_is_the_random_one_in_expectation():
    errors = some_errors()
    for normalisation in ("raw", "first"):
        found = [sparsify(errors, torch.rand(777, generator=seeded(seed)), seeded()) for seed in range(300)]
        areas = torch.tensor([each.ause(normalisation) for each in found])
        expected = found[0].random_ause(normalisation)
        assert abs(areas.mean() - expected) < 4 * areas.std() / math.sqrt(300)
        assert areas.std() < expected
    relative = torch.tensor([each.relative for each in found])
    assert abs(relative.mean() - 1) < 4 * relative.std() / math.sqrt(300)


def test_the_random_area_has_the_closed_form_of_exponential_errors():
    """Errors of an exponential law of mean 1: with the share f taken away, the oracle leaves 1 + f log f /
    (1 - f), so that the area to a random order is pi^2 / 6 - 1.
    """
    uniform = (torch.arange(200000, dtype=torch.float64) + 0.5) / 200000
    found = sparsify(-torch.log(uniform), torch.zeros(200000), seeded(), steps=1000)
    assert found.random_ause("raw") == pytest.approx(math.pi**2 / 6 - 1, abs=2e-3)


def test_the_worst_order_is_worse_than_random_and_a_partial_one_is_between():
    errors = some_errors()
    assert sparsify(errors, -errors, seeded()).relative > 1.5
    assert 0.05 < sparsify(errors, errors + some_errors(seed=3), seeded()).relative < 0.95


@pytest.mark.parametrize("change", [lambda s: s * 0.01, lambda s: s**2, lambda s: torch.log(s), torch.exp])
def test_a_monotone_change_of_sigma_changes_nothing(change):
    errors = some_errors().double()
    sigmas = 0.1 + some_errors(seed=1).double()
    before, after = sparsify(errors, sigmas, seeded()), sparsify(errors, change(sigmas), seeded())
    assert torch.equal(before.model, after.model)


def test_ties_are_broken_without_bias_by_the_generator():
    """One sigma for all is a random order, even of targets that came in sorted by their error."""
    errors = some_errors().sort().values
    for order in (errors, errors.flip(0)):
        areas = torch.tensor([sparsify(order, torch.ones(777), seeded(seed)).relative for seed in range(200)])
        assert abs(areas.mean() - 1) < 4 * areas.std() / math.sqrt(200)
    first, again, other = (sparsify(errors, torch.ones(777), seeded(seed)) for seed in (0, 0, 1))
    assert torch.equal(first.model, again.model)
    assert not torch.equal(first.model, other.model)


def test_the_three_definitions_are_three_and_the_relative_area_is_one():
    errors = 5 * some_errors()
    found = sparsify(errors, -errors, seeded())  # this curve rises, so its maximum is not its first value
    raw, maximum, first = (found.ause(normalisation) for normalisation in NORMALISATIONS)
    mean = errors.mean().item()
    assert first == pytest.approx(raw / mean, rel=1e-5)
    assert maximum == pytest.approx(raw / found.model.max().item(), rel=1e-9)
    assert maximum < 0.9 * first < 0.9 * raw
    scaled = sparsify(7 * errors, -errors, seeded())
    assert scaled.ause("raw") == pytest.approx(7 * raw, rel=1e-5)
    for normalisation in ("maximum", "first"):
        assert scaled.ause(normalisation) == pytest.approx(found.ause(normalisation), rel=1e-5)
    for normalisation in ("raw", "first"):
        ratio = found.ause(normalisation) / found.random_ause(normalisation)
        assert found.relative == pytest.approx(ratio, rel=1e-9)


def test_a_mask_is_the_same_as_leaving_targets_out():
    errors, sigmas = some_errors(), some_errors(seed=1)
    mask = torch.rand(777, generator=seeded(2)) < 0.3
    inside = sparsify(errors, sigmas, seeded(), mask)
    assert torch.equal(inside.model, sparsify(errors[mask], sigmas[mask], seeded()).model)
    assert inside.ause("raw") != sparsify(errors, sigmas, seeded()).ause("raw")


def values(found: Sparsification) -> list[float]:
    return [found.relative, *(found.ause(normalisation) for normalisation in NORMALISATIONS)]


def test_no_targets_are_nan_and_few_or_perfect_ones_have_no_relative_area():
    empty = sparsify(some_errors(5), some_errors(5), seeded(), torch.zeros(5, dtype=torch.bool))
    assert all(math.isnan(value) for value in values(empty))
    for errors in (torch.zeros(50), torch.ones(1), torch.full((50,), 0.3)):
        relative, *areas = values(sparsify(errors, some_errors(len(errors)), seeded()))
        assert math.isnan(relative)
        assert areas == pytest.approx([0, 0, 0], abs=1e-12)


def test_nan_and_unequal_shapes_are_refused():
    with pytest.raises(DataError, match="NaN"):
        sparsify(some_errors(5), torch.full((5,), math.nan), seeded())
    with pytest.raises(DataError, match="one number of each"):
        sparsify(some_errors(5), some_errors(6), seeded())
