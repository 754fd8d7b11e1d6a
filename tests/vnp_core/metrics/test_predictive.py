"""Likelihoods of mixtures against sums by hand, and the split of the variance against simulated models."""

import math

import pytest
import torch

from vnp_core.likelihoods import GaussianMixture, point_score
from vnp_core.metrics.calibration import Mixture
from vnp_core.metrics.predictive import moment_matched, negative_log_likelihood, split_variance
from vnp_core.student import StudentMixture


def some_mixture(draws: int = 3, targets: int = 4, batch: int = 2) -> GaussianMixture:
    generator = torch.Generator().manual_seed(draws)
    shape = (batch, draws, targets, 3)
    return GaussianMixture(
        torch.rand(shape, generator=generator), 0.05 + 0.2 * torch.rand(shape, generator=generator)
    )


def some_values(targets: int = 4, batch: int = 2) -> torch.Tensor:
    return torch.rand(batch, targets, 3, generator=torch.Generator().manual_seed(9))


def density(prediction: Mixture, y: float, place: tuple[int, int, int, int]) -> float:
    mean = prediction.means[place].item()
    if isinstance(prediction, StudentMixture):
        scale, dof = prediction.scales[place].item(), prediction.dof
        front = math.gamma((dof + 1) / 2) / (math.gamma(dof / 2) * math.sqrt(math.pi * dof) * scale)
        return front * (1 + ((y - mean) / scale) ** 2 / dof) ** (-(dof + 1) / 2)
    std = prediction.stds[place].item()
    return math.exp(-0.5 * ((y - mean) / std) ** 2) / (std * math.sqrt(2 * math.pi))


@pytest.mark.parametrize("draws", [1, 3])
@pytest.mark.parametrize("kind", ["gaussian", "student"])
def test_nll_is_what_loops_over_draws_targets_and_channels_give(draws, kind):
    mixture, y = some_mixture(draws), some_values()
    prediction = mixture if kind == "gaussian" else StudentMixture(mixture.means, mixture.stds, 4.0)
    found = negative_log_likelihood(prediction, y)
    assert found.dtype == torch.float64
    for b in range(2):
        total = 0.0
        for m in range(4):
            mean = 0.0
            for k in range(draws):
                product = 1.0
                for c in range(3):
                    product *= density(prediction, y[b, m, c].item(), (b, k, m, c))
                mean += product / draws
            total -= math.log(mean)
        assert found[b].item() == pytest.approx(total / 4, rel=1e-9)


def test_nll_is_minus_the_point_score_where_all_targets_are_present():
    mixture, y = some_mixture(), some_values()
    torch.testing.assert_close(negative_log_likelihood(mixture, y), -point_score(mixture.log_probs(y)))


def test_the_distribution_that_values_come_from_has_the_lowest_nll():
    shape = (1, 1, 20000, 3)
    truth = GaussianMixture(torch.full(shape, 0.4), torch.full(shape, 0.1))
    y = truth.sample(torch.Generator().manual_seed(0))[:, 0]
    best = negative_log_likelihood(truth, y).item()
    entropy = 3 * (0.5 * math.log(2 * math.pi * math.e) + math.log(0.1))
    assert best == pytest.approx(entropy, abs=0.05)
    for worse in (truth.scaled(0.7), truth.scaled(1.4), GaussianMixture(truth.means + 0.05, truth.stds)):
        assert negative_log_likelihood(worse, y).item() > best + 0.05
    # Calibration error alone cannot tell half of sigma from twice, but the likelihood can.
    half, twice = (negative_log_likelihood(truth.scaled(factor), y).item() for factor in (0.5, 2.0))
    assert half == pytest.approx(best + 3 * (1.5 - math.log(2)), abs=0.2)
    assert twice == pytest.approx(best + 3 * (math.log(2) - 0.375), abs=0.2)


def test_a_mixture_of_far_draws_beats_its_one_gaussian():
    """Two sharp hypotheses, one of them right: a single Gaussian has to cover the gap between them."""
    means = torch.tensor([0.2, 0.8]).reshape(1, 2, 1, 1).expand(1, 2, 100, 3)
    mixture = GaussianMixture(means, torch.full_like(means, 0.05))
    y = torch.full((1, 100, 3), 0.8)
    assert negative_log_likelihood(mixture, y) < negative_log_likelihood(moment_matched(mixture), y) - 1


def test_the_moment_matched_gaussian_has_the_moments_of_many_samples_of_the_mixture():
    means = torch.tensor([0.0, 1.0, 3.0]).reshape(1, 3, 1, 1)
    mixture = GaussianMixture(means, torch.tensor([1.0, 0.5, 2.0]).reshape(1, 3, 1, 1))
    many = GaussianMixture(mixture.means.expand(-1, -1, 100000, -1), mixture.stds.expand(-1, -1, 100000, -1))
    samples = many.sample(torch.Generator().manual_seed(0))
    one = moment_matched(mixture)
    assert one.means.shape == (1, 1, 1, 1)
    assert one.means.item() == pytest.approx(samples.mean().item(), abs=0.02)
    assert one.stds.item() == pytest.approx(samples.std().item(), abs=0.02)
    torch.testing.assert_close(one.stds[:, 0].square(), mixture.variance.double())


@pytest.mark.parametrize("draws", [2, 3, 8])
def test_both_parts_of_the_variance_are_unbiased_for_any_number_of_draws(draws):
    """A model whose means have variance 4 over draws, and whose noise is 1 or 3, equally likely."""
    generator = torch.Generator().manual_seed(draws)
    shape = (1, draws, 40000, 1)
    means = 2 * torch.randn(shape, generator=generator)
    stds = 1 + 2 * torch.randint(2, shape, generator=generator).float()
    split = split_variance(GaussianMixture(means, stds))
    for part, expected in ((split.noise, 5.0), (split.epistemic, 4.0), (split.total, 9.0)):
        error = part.std().item() / math.sqrt(part.numel())
        assert abs(part.mean().item() - expected) < 4 * error


def test_a_students_noise_is_its_variance_not_its_scale():
    mixture = some_mixture()
    noise = split_variance(StudentMixture(mixture.means, mixture.stds, 4.0)).noise
    torch.testing.assert_close(noise, 2 * split_variance(mixture).noise)


def test_one_draw_does_not_disagree_with_itself():
    split = split_variance(some_mixture(1))
    assert (split.epistemic == 0).all()
    torch.testing.assert_close(split.total, some_mixture(1).stds.double().square()[:, 0])


def test_absent_targets_count_for_nothing_and_none_at_all_is_nan():
    mixture, y = some_mixture(), some_values()
    mask = torch.tensor([[True, False, True, False], [False] * 4])
    alone = GaussianMixture(mixture.means[:1, :, ::2], mixture.stds[:1, :, ::2])
    expected = negative_log_likelihood(alone, y[:1, ::2])
    y[~mask] = math.nan
    found = negative_log_likelihood(mixture, y, mask)
    torch.testing.assert_close(found[:1], expected)
    assert found[1].isnan()
