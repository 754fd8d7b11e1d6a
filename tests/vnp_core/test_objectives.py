"""Bounds on a model whose likelihood is known: z ~ N(0, 1), y_i | z ~ N(z, s^2) independent."""

import math

import pytest
import torch
from torch.distributions import MultivariateNormal, Normal

from vnp_core.errors import ConfigError
from vnp_core.latents import DiagonalGaussian
from vnp_core.objectives import (
    BetaSchedule,
    CollapseMonitor,
    elbo,
    free_bits,
    importance_weighted_bound,
    log_mean_exp,
    mixture_log_likelihood,
)

NOISE = 0.7
Y = torch.tensor([0.9, 0.2, 1.4], dtype=torch.float64)
LOG_EVIDENCE = (
    MultivariateNormal(
        torch.zeros(3, dtype=torch.float64),
        torch.ones(3, 3, dtype=torch.float64) + NOISE**2 * torch.eye(3, dtype=torch.float64),
    )
    .log_prob(Y)
    .item()
)
PRECISION = 1 + 3 / NOISE**2
TRUE_POSTERIOR = (float(Y.sum()) / NOISE**2 / PRECISION, PRECISION**-0.5)


def bounds(mean: float, std: float, draws: int, repeats: int = 4000) -> tuple[torch.Tensor, torch.Tensor]:
    """ELBO and importance-weighted bound under q = N(mean, std^2), each from `repeats` sets of draws."""
    q = Normal(torch.tensor(mean, dtype=torch.float64), torch.tensor(std, dtype=torch.float64))
    prior = Normal(torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64))
    noise = torch.randn(repeats, draws, generator=torch.Generator().manual_seed(draws), dtype=torch.float64)
    z = mean + std * noise
    log_likelihood = Normal(z[..., None], NOISE).log_prob(Y).sum(-1)
    kl = DiagonalGaussian(q.loc[None], q.scale[None]).kl(DiagonalGaussian(prior.loc[None], prior.scale[None]))
    lower = elbo(log_likelihood, kl.expand(repeats, draws, 1))
    return lower, importance_weighted_bound(log_likelihood, prior.log_prob(z), q.log_prob(z))


def test_elbo_is_below_the_importance_weighted_bound_which_is_below_the_evidence_and_grows_with_draws():
    means, errors = [], []
    for draws in (1, 4, 16, 64):
        lower, tighter = bounds(0.1, 0.6, draws)
        means.append(tighter.mean().item())
        errors.append(4 * tighter.std().item() / 4000**0.5)
        assert lower.mean().item() <= means[-1] + errors[-1]
        assert means[-1] <= LOG_EVIDENCE + errors[-1]
    for few, many, error in zip(means[:-1], means[1:], errors[:-1], strict=True):
        assert many >= few - error
    assert means[0] < means[-1] - 0.1
    assert means[-1] == pytest.approx(LOG_EVIDENCE, abs=0.03)


def test_both_bounds_are_tight_at_the_true_posterior():
    lower, tighter = bounds(*TRUE_POSTERIOR, draws=8)
    torch.testing.assert_close(tighter, torch.full_like(tighter, LOG_EVIDENCE))
    assert lower.mean().item() == pytest.approx(LOG_EVIDENCE, abs=0.02)


def test_with_sampled_log_ratios_the_bound_is_above_their_mean_draw_by_draw():
    generator = torch.Generator().manual_seed(0)
    ll, prior, q = (5 * torch.randn(50, 6, generator=generator, dtype=torch.float64) for _ in range(3))
    assert (importance_weighted_bound(ll, prior, q) >= (ll + prior - q).mean(1) - 1e-12).all()


def test_the_mixture_objective_estimates_the_evidence_from_prior_draws():
    z = torch.randn(1, 200_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    log_likelihood = Normal(z[..., None], NOISE).log_prob(Y).sum(-1)
    assert mixture_log_likelihood(log_likelihood).item() == pytest.approx(LOG_EVIDENCE, abs=0.01)


def test_log_mean_exp_survives_extreme_values():
    x = torch.tensor([[-1e5, -1e5 + math.log(3)]], dtype=torch.float64)
    assert log_mean_exp(x, 1).item() == pytest.approx(-1e5 + math.log(2))


def test_beta_weighs_the_kl_and_free_bits_floor_it_level_by_level():
    log_likelihood = torch.zeros(2, 1, dtype=torch.float64)
    kl = torch.tensor([[[4.0, 0.1]], [[2.0, 0.3]]])
    assert elbo(log_likelihood, kl, beta=0.5).tolist() == pytest.approx([-2.05, -1.15])
    # Level means are 3 and 0.2; the second is lifted to 1.
    assert free_bits(kl, 1.0).item() == pytest.approx(4.0)
    assert elbo(log_likelihood, kl, beta=0.5, bits=1.0).tolist() == pytest.approx([-2.0, -2.0])
    assert free_bits(kl, 0.0).item() == pytest.approx(3.2)
    assert free_bits(torch.zeros(2, 1, 0), 1.0).item() == 0


def test_a_level_below_its_free_bits_has_no_gradient():
    kl = torch.tensor([[4.0, 0.1]], requires_grad=True)
    free_bits(kl, 1.0).backward()
    assert kl.grad is not None
    assert kl.grad.tolist() == [[1.0, 0.0]]


def test_beta_ramps_from_0_to_its_peak():
    schedule = BetaSchedule(peak=0.2, ramp_steps=10)
    assert [schedule(step) for step in (0, 5, 10, 99)] == pytest.approx([0.0, 0.1, 0.2, 0.2])
    assert BetaSchedule(0.3)(0) == 0.3


def test_the_monitor_names_a_collapsed_level_and_only_that():
    monitor = CollapseMonitor(levels=2, threshold=0.05, decay=0.9, patience=5)
    for step in range(30):
        monitor.update(torch.tensor([[[2.0, 0.001]]]))
        if step < 4:
            assert monitor.message() is None
    assert monitor.collapsed == [1]
    message = monitor.message()
    assert message is not None
    assert "level 1 (KL 0.001 nats)" in message
    assert "level 0" not in message
    assert monitor.means == pytest.approx([2.0, 0.001])
    for _ in range(40):
        monitor.update(torch.tensor([[[2.0, 1.0]]]))
    assert monitor.message() is None


def test_an_impossible_decay_is_refused():
    with pytest.raises(ConfigError, match="given was 1"):
        CollapseMonitor(1, decay=1.0)
