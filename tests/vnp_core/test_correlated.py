"""Correlated predictions against torch.distributions, sums over loops and their own marginals."""

import math

import pytest
import torch
from torch.distributions import MultivariateNormal

from vnp_core.correlated import CorrelatedMixture, LowRankHead, build_head
from vnp_core.errors import ConfigError
from vnp_core.likelihoods import GaussianHead, GaussianMixture


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def made(*shape: int, rank: int, seed: int = 0) -> CorrelatedMixture:
    generator = seeded(seed)
    means = torch.randn(*shape, generator=generator, dtype=torch.float64)
    noise = 0.1 + torch.rand(*shape, generator=generator, dtype=torch.float64)
    factors = torch.randn(*shape, rank, generator=generator, dtype=torch.float64)
    return CorrelatedMixture.of_parts(means, noise, factors)


def twin(prediction: CorrelatedMixture, scene: int, draw: int, present: torch.Tensor) -> MultivariateNormal:
    """The dense Gaussian over the present targets' channels, entry by entry."""
    noise, factors = (part[scene, draw, present] for part in (prediction.noise, prediction.factors))
    flat = factors.reshape(-1, factors.shape[-1])
    covariance = torch.zeros(len(flat), len(flat), dtype=torch.float64)
    for i, row in enumerate(flat):
        for j, column in enumerate(flat):
            covariance[i, j] = (row * column).sum() + (noise.flatten()[i] ** 2 if i == j else 0)
    return MultivariateNormal(prediction.means[scene, draw, present].flatten(), covariance)


@pytest.mark.parametrize("targets", [2, 9], ids=["fewer targets than factors", "more targets than factors"])
@pytest.mark.parametrize("y_dim", [1, 2])
def test_the_joint_density_is_the_dense_gaussians(targets, y_dim):
    prediction = made(2, 3, targets, y_dim, rank=5)
    y = torch.randn(2, targets, y_dim, generator=seeded(1), dtype=torch.float64)
    given = prediction.joint_log_probs(y)
    assert given.shape == (2, 3)
    everything = torch.ones(targets, dtype=torch.bool)
    for scene in range(2):
        for draw in range(3):
            expected = twin(prediction, scene, draw, everything).log_prob(y[scene].flatten())
            torch.testing.assert_close(given[scene, draw], expected)


@pytest.mark.parametrize("rank", [2, 20])
def test_absent_targets_drop_out_of_the_joint_density_even_where_they_are_nan(rank):
    prediction = made(2, 3, 7, 2, rank=rank)
    y = torch.randn(2, 7, 2, generator=seeded(1), dtype=torch.float64)
    mask = torch.tensor([[True, False, True, True, False, True, True], [False] * 7])
    y = y.masked_fill(~mask[..., None], torch.nan)
    given = prediction.joint_log_probs(y, mask)
    for draw in range(3):
        expected = twin(prediction, 0, draw, mask[0]).log_prob(y[0, mask[0]].flatten())
        torch.testing.assert_close(given[0, draw], expected)
    assert given[1].tolist() == [0.0, 0.0, 0.0]


def test_no_targets_have_density_1():
    prediction = made(2, 3, 0, 1, rank=4)
    assert prediction.joint_log_probs(torch.zeros(2, 0, 1)).tolist() == [[0.0] * 3] * 2


@pytest.mark.parametrize(("channels", "rank"), [(1, 4), (2, 4), (3, 2)])
def test_single_targets_are_the_joint_gaussians_marginals(channels: int, rank: int):
    prediction = made(2, 3, 6, channels, rank=rank)
    y = torch.randn(2, 6, channels, generator=seeded(1), dtype=torch.float64)
    present = torch.tensor([[True] * 6, [True] * 3 + [False] * 3])
    masked = prediction.log_probs(y, present)
    assert torch.equal(masked == 0, ~present[:, None].expand(2, 3, 6))
    for target in range(6):
        alone = torch.arange(6) == target
        joint = prediction.joint_log_probs(y, alone.expand(2, 6))
        torch.testing.assert_close(prediction.log_probs(y)[:, :, target], joint)


def test_without_factors_the_joint_density_is_the_product_of_the_single_ones():
    parts = made(2, 3, 6, 2, rank=4)
    correlated = CorrelatedMixture.of_parts(parts.means, parts.noise, torch.zeros_like(parts.factors))
    diagonal = GaussianMixture(parts.means, parts.noise)
    y = torch.randn(2, 6, 2, generator=seeded(1), dtype=torch.float64)
    torch.testing.assert_close(correlated.joint_log_probs(y), diagonal.joint_log_probs(y))
    torch.testing.assert_close(correlated.variance, diagonal.variance)


def test_samples_have_the_mean_and_the_covariance_that_they_are_scored_by():
    one = made(1, 1, 3, 2, rank=2)
    count = 100_000
    many = CorrelatedMixture.of_parts(
        *(part.expand(1, count, *part.shape[2:]) for part in (one.means, one.noise, one.factors))
    )
    samples = many.sample(seeded(1))[0].flatten(1)
    expected = twin(one, 0, 0, torch.ones(3, dtype=torch.bool))
    covariance = expected.covariance_matrix
    error = (covariance.diagonal()[:, None] * covariance.diagonal() / count).sqrt()
    assert ((samples.T.cov() - covariance).abs() < 8 * error).all()
    assert ((samples.mean(0) - expected.mean).abs() < 5 * (covariance.diagonal() / count).sqrt()).all()


def test_the_joint_density_adds_up_in_float64_and_has_gradients():
    prediction = made(1, 2, 40, 1, rank=8)
    parts = [
        part.float().requires_grad_() for part in (prediction.means, prediction.noise, prediction.factors)
    ]
    total = CorrelatedMixture.of_parts(*parts).joint_log_probs(torch.zeros(1, 40, 1))
    assert total.dtype == torch.float64
    total.sum().backward()
    assert all(part.grad is not None and part.grad.isfinite().all() for part in parts)


def test_the_smallest_noise_beside_large_factors_stays_finite():
    raw = torch.full((1, 1, 30, 2 + 6), -1e4)
    raw[..., 2:] = 100 * torch.randn(30, 6, generator=seeded())
    prediction = LowRankHead(1, 6)(raw)
    assert prediction.joint_log_probs(prediction.means[:, 0]).isfinite().all()
    assert prediction.joint_log_probs(prediction.means[:, 0] + 1).isfinite().all()


def test_the_head_takes_means_scales_and_factors_apart():
    y_dim, rank, floor = 2, 3, 0.1
    head = LowRankHead(y_dim, rank, floor)
    assert head.outputs() == 10
    raw = torch.arange(10, dtype=torch.bfloat16).reshape(1, 1, 1, 10) / 4
    prediction = head(raw)
    assert prediction.means.dtype == prediction.factors.dtype == torch.float32
    numbers = [value / 4 for value in range(10)]
    assert prediction.means.flatten().tolist() == numbers[:2]
    noise = [floor + (1 - floor) * math.log1p(math.exp(value)) for value in numbers[2:4]]
    assert prediction.noise.flatten().tolist() == pytest.approx(noise, rel=1e-6)
    factors = [value / math.sqrt(rank) for value in numbers[4:]]
    assert prediction.factors.flatten().tolist() == pytest.approx(factors, rel=1e-6)
    stds = [math.sqrt(noise[i] ** 2 + sum(f * f for f in factors[3 * i : 3 * i + 3])) for i in range(2)]
    assert prediction.stds.flatten().tolist() == pytest.approx(stds, rel=1e-6)


def test_rank_0_is_the_diagonal_head_and_a_negative_one_is_refused():
    assert build_head(3, 0, 0.1) == (GaussianHead(0.1), 6)
    assert build_head(3, 4, 0.1) == (LowRankHead(3, 4, 0.1), 18)
    with pytest.raises(ConfigError, match="given was -1"):
        build_head(3, -1, 0.1)
    with pytest.raises(ConfigError, match=r"given was 1\.5"):
        build_head(3, 4, 1.5)
