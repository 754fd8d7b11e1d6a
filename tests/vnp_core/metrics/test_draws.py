"""Scores of draws: unbiased, proper, and each its slow twin; the best of K only grows."""

import itertools
import math

import pytest
import torch
from torchmetrics.functional.regression import continuous_ranked_probability_score

from vnp_core.likelihoods import GaussianMixture
from vnp_core.metrics.crps import crps
from vnp_core.metrics.draws import draw_quality, energy_score, sample_crps


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("draws", [1, 2, 5])
def test_both_scores_are_what_loops_over_pairs_of_different_draws_give(draws):
    samples, y = noise(2, draws, 4, 3), noise(2, 4, 3, seed=1)
    energy, by_channel = energy_score(samples, y), sample_crps(samples, y)
    pairs = list(itertools.permutations(range(draws), 2))
    for b in range(2):

        def length(difference: torch.Tensor) -> float:
            return math.sqrt(sum(value**2 for value in difference.flatten().tolist()) / difference.numel())

        expected = [0.0, 0.0]
        for k in range(draws):
            expected[0] += length(samples[b, k] - y[b]) / draws
            expected[1] += (samples[b, k] - y[b]).abs().mean().item() / draws
        for j, k in pairs:
            expected[0] -= 0.5 * length(samples[b, j] - samples[b, k]) / len(pairs)
            expected[1] -= 0.5 * (samples[b, j] - samples[b, k]).abs().mean().item() / len(pairs)
        assert [energy[b].item(), by_channel[b].item()] == pytest.approx(expected, rel=1e-9)


def test_the_crps_is_torchmetrics_but_for_the_pairs_of_a_draw_with_itself():
    samples, y = noise(1, 6, 40, 1), noise(1, 40, 1, seed=1)
    theirs = continuous_ranked_probability_score(samples[0, :, :, 0].T, y[0, :, 0])
    with_itself = (samples - y[:, None]).abs().mean() - theirs
    ours = (samples - y[:, None]).abs().mean() - with_itself * 6 / 5
    torch.testing.assert_close(sample_crps(samples, y)[0], ours)


@pytest.mark.parametrize("draws", [2, 3, 10])
def test_the_crps_of_samples_is_without_bias_that_of_the_distribution(draws):
    targets = 40000
    one = GaussianMixture(torch.full((1, 1, targets, 1), 0.3), torch.full((1, 1, targets, 1), 0.7))
    many = GaussianMixture(one.means.expand(-1, draws, -1, -1), one.stds.expand(-1, draws, -1, -1))
    y = torch.full((1, targets, 1), 1.1)
    samples = many.sample(torch.Generator().manual_seed(draws))
    assert sample_crps(samples, y).item() == pytest.approx(crps(one, y).item(), abs=0.02)


@pytest.mark.parametrize("draws", [2, 8])
@pytest.mark.parametrize("score", [energy_score, sample_crps])
def test_the_truths_own_distribution_scores_best_at_any_number_of_draws(score, draws):
    """3,000 truths of 4 channels, each with draws of its own law, of laws too wide, too narrow and aside."""

    def mean_score(shift: float, spread: float) -> float:
        samples = shift + spread * noise(3000, draws, 1, 4, seed=2)
        return score(samples, noise(3000, 1, 4, seed=3)).mean().item()

    best = mean_score(0.0, 1.0)
    for shift, spread in ((0.0, 0.4), (0.0, 2.0), (0.5, 1.0)):
        assert mean_score(shift, spread) > best + 0.02


def test_the_energy_score_sees_whether_a_draws_targets_fit_together_and_the_crps_does_not():
    """The truth is one common shift of all targets; draws either share a shift or shift each target alone."""
    batch, count, targets = 2000, 8, 16
    y = noise(batch, 1, 1, seed=1).expand(-1, targets, -1)
    together = noise(batch, count, 1, 1, seed=2).expand(-1, -1, targets, -1)
    apart = noise(batch, count, targets, 1, seed=3)
    assert energy_score(together, y).mean() < energy_score(apart, y).mean() - 0.05
    one_by_one = [sample_crps(draws, y).mean().item() for draws in (together, apart)]
    assert one_by_one[0] == pytest.approx(one_by_one[1], abs=0.03)


def test_draw_quality_is_psnr_by_hand_and_its_best_only_grows_with_draws():
    truth = torch.full((1, 10, 3), 0.5)
    offsets = torch.tensor([0.1, -0.1, 0.2]).reshape(1, 3, 1, 1)
    found = draw_quality(truth[:, None] + offsets, truth)
    each = [-20 * math.log10(abs(offset)) for offset in (0.1, 0.1, 0.2)]
    assert found.best.item() == pytest.approx(max(each), abs=1e-4)
    assert found.average.item() == pytest.approx(sum(each) / 3, abs=1e-4)
    assert found.of_mean.item() == pytest.approx(-20 * math.log10(0.2 / 3), abs=1e-4)
    pictures, y = 0.5 + 0.1 * noise(2, 12, 30, 3), torch.full((2, 30, 3), 0.5)
    bests = torch.stack([draw_quality(pictures[:, :k], y).best for k in range(1, 13)])
    assert (bests.diff(dim=0) >= 0).all()
    assert (bests[-1] > bests[0]).any()
    assert (draw_quality(pictures, y).best >= draw_quality(pictures, y).average).all()


def test_averaging_independent_draws_gains_what_the_variance_says():
    """The mean of K draws about the truth has 1 / K of a draw's squared error."""
    pictures, y = 0.5 + 0.05 * noise(1, 10, 5000, 3), torch.full((1, 5000, 3), 0.5)
    found = draw_quality(pictures, y)
    assert (found.of_mean - found.average).item() == pytest.approx(10.0, abs=0.2)


@pytest.mark.parametrize("score", [energy_score, sample_crps, lambda *given: draw_quality(*given).best])
def test_absent_targets_count_for_nothing_and_none_at_all_is_nan(score):
    samples, y = noise(2, 3, 4, 2), noise(2, 4, 2, seed=1)
    mask = torch.tensor([[True, False, True, False], [False] * 4])
    expected = score(samples[:1, :, ::2], y[:1, ::2])
    y[~mask] = math.nan
    found = score(samples, y, mask)
    torch.testing.assert_close(found[:1], expected)
    assert found[1].isnan()
