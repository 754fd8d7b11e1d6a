"""The latent stack: KL, draws, the mean, and both uses of one network."""

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from vnp_core.latents import (
    DiagonalGaussian,
    LatentConfig,
    LatentHierarchy,
    SetGaussian,
    bounded_gaussian,
    stack_log_prob,
    standard_noise,
)
from vnp_core.tokens import Tokens


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_gaussian(seed: int) -> DiagonalGaussian:
    parameters = 3 * torch.randn(50, 2 * 6, generator=seeded(seed), dtype=torch.float64)
    return bounded_gaussian(parameters, 0.1)


def hierarchy(levels: int = 3, width: int = 8) -> LatentHierarchy:
    torch.manual_seed(0)
    return LatentHierarchy(LatentConfig(levels, dim=4, hidden=12), width).double()


def some_tokens(batch: int = 2, count: int = 5, seed: int = 0) -> Tokens:
    return Tokens.present(torch.randn(batch, count, 8, generator=seeded(seed), dtype=torch.float64))


def test_kl_and_log_density_match_torchs():
    p, q = random_gaussian(0), random_gaussian(1)
    expected = kl_divergence(Normal(q.mean, q.std), Normal(p.mean, p.std)).sum(-1)
    torch.testing.assert_close(q.kl(p), expected)
    x = torch.randn(50, 6, generator=seeded(2), dtype=torch.float64)
    torch.testing.assert_close(q.log_prob(x), Normal(q.mean, q.std).log_prob(x).sum(-1))


def test_kl_is_never_negative_and_0_when_equal():
    p, q = random_gaussian(0), random_gaussian(1)
    assert (q.kl(p) > 0).all()
    assert (q.kl(q) == 0).all()


def test_kl_passes_gradcheck():
    raw = [torch.randn(2, 6, generator=seeded(s), dtype=torch.float64).requires_grad_() for s in (0, 1)]
    assert torch.autograd.gradcheck(lambda a, b: bounded_gaussian(a, 0.1).kl(bounded_gaussian(b, 0.1)), raw)


def test_standard_deviations_lie_between_the_floor_and_1_and_in_float32():
    extreme = bounded_gaussian(torch.tensor([0.0, 0.0, -1e3, 1e3], dtype=torch.bfloat16), 0.1)
    assert extreme.std.dtype == torch.float32
    torch.testing.assert_close(extreme.std, torch.tensor([0.1, 1.0]))
    middle = bounded_gaussian(torch.zeros(2), 0.1)
    assert middle.std.item() == pytest.approx(0.55)


def test_draws_have_the_gaussians_moments():
    gaussian = DiagonalGaussian(torch.full((20_000, 1), 2.0), torch.full((20_000, 1), 0.3))
    sample = gaussian.sample(seeded())
    assert sample.mean().item() == pytest.approx(2.0, abs=4 * 0.3 / 20_000**0.5)
    assert sample.std().item() == pytest.approx(0.3, rel=0.03)
    assert torch.equal(gaussian.sample(None), gaussian.mean)


def test_the_same_seed_gives_the_same_bytes():
    model, tokens = hierarchy(), some_tokens()
    one, two, other = (model.draw(tokens, generator=seeded(s), draws=3).latents for s in (5, 5, 6))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    before = torch.get_rng_state()
    model.draw(tokens, generator=seeded())
    assert torch.equal(torch.get_rng_state(), before)


def test_shapes_and_the_mean_is_the_mean_at_every_level_given_the_means_above():
    model, tokens = hierarchy(), some_tokens()
    draw = model.draw(tokens, draws=2)
    assert draw.latents.shape == (2, 2, 3, 4)
    assert torch.equal(draw.latents[:, 0], draw.latents[:, 1])
    for level, gaussian in enumerate(draw.levels):
        assert gaussian.mean.shape == (2, 2, 4)
        assert torch.equal(draw.latents[:, :, level], gaussian.mean)


def test_each_level_depends_on_those_above_and_on_none_below():
    model, tokens = hierarchy(), some_tokens(1)
    noise = torch.zeros(1, 1, 3, 4, dtype=torch.float64)
    changed = noise.clone()
    changed[:, :, 1] += 1
    one, two = model(tokens, noise), model(tokens, changed)
    assert torch.equal(one.levels[0].mean, two.levels[0].mean)
    assert torch.equal(one.levels[1].mean, two.levels[1].mean)
    assert not torch.equal(one.levels[2].mean, two.levels[2].mean)


def test_prior_and_posterior_are_one_network_so_equal_tokens_have_kl_0():
    model, tokens = hierarchy(), some_tokens()
    same = model.draw_with_prior(tokens, tokens, seeded(), draws=3)
    assert same.kl.shape == (2, 3, 3)
    torch.testing.assert_close(same.kl, torch.zeros_like(same.kl), atol=1e-12, rtol=0)
    torch.testing.assert_close(same.log_prior(), same.log_posterior())
    other = model.draw_with_prior(tokens, some_tokens(seed=9), seeded(), draws=3)
    assert (other.kl > 0).all()
    assert torch.equal(other.latents, same.latents)


def test_the_kl_of_a_stack_is_the_expected_log_ratio():
    model = hierarchy()
    drawn = model.draw_with_prior(some_tokens(1, 4), some_tokens(1, 2, seed=3), seeded(), draws=20_000)
    ratios = (drawn.log_posterior() - drawn.log_prior())[0]
    standard_error = ratios.std().item() / 20_000**0.5
    assert ratios.mean().item() == pytest.approx(drawn.kl[0].sum(-1).mean().item(), abs=5 * standard_error)


def test_given_latents_the_levels_are_those_that_drew_them():
    model, tokens = hierarchy(), some_tokens()
    draw = model.draw(tokens, generator=seeded(), draws=2)
    for ours, again in zip(draw.levels, model.given(tokens, draw.latents), strict=True):
        torch.testing.assert_close(ours.mean, again.mean)
        torch.testing.assert_close(ours.std, again.std)
    torch.testing.assert_close(draw.log_prob(), stack_log_prob(draw.levels, draw.latents))


def test_token_order_and_padding_change_nothing():
    model, tokens = hierarchy(), some_tokens(1)
    padded = torch.cat([tokens.values[:, [4, 2, 0, 1, 3]], 7 * torch.ones(1, 2, 8, dtype=torch.float64)], 1)
    shuffled = Tokens(padded, torch.tensor([[True] * 5 + [False] * 2]))
    torch.testing.assert_close(model.draw(shuffled).latents, model.draw(tokens).latents)


def test_without_levels_there_is_nothing_to_draw():
    drawn = hierarchy(0).draw_with_prior(some_tokens(), some_tokens(), seeded(), draws=3)
    assert drawn.latents.shape == (2, 3, 0, 4)
    assert drawn.kl.shape == (2, 3, 0)
    assert torch.equal(drawn.log_prior(), torch.zeros(2, 3, dtype=torch.float64))


def test_latents_stay_in_float32_under_autocast():
    model = LatentHierarchy(LatentConfig(2, 4, 12), 8)
    tokens = Tokens.present(torch.randn(1, 3, 8, generator=seeded()))
    with torch.autocast("cpu", torch.bfloat16):
        inside = model.draw(Tokens.present(tokens.values.bfloat16()))
    assert inside.latents.dtype == torch.float32
    rounded = Tokens.present(tokens.values.bfloat16().float())
    torch.testing.assert_close(inside.latents, model.draw(rounded).latents)


def test_a_set_gaussian_pools_the_present_elements_whatever_their_order():
    torch.manual_seed(0)
    network = SetGaussian(3, LatentConfig(1, dim=4, hidden=12)).double()
    elements = torch.randn(2, 5, 3, generator=seeded(), dtype=torch.float64)
    expected = network.summary(torch.stack([network.element(elements[:, i]) for i in range(5)]).mean(0))
    torch.testing.assert_close(network(elements).mean, expected[:, :4])
    torch.testing.assert_close(network(elements[:, [3, 1, 4, 0, 2]]).mean, expected[:, :4])
    padded = torch.cat([elements, 9 * torch.ones(2, 2, 3, dtype=torch.float64)], dim=1)
    mask = torch.tensor([[True] * 5 + [False] * 2] * 2)
    torch.testing.assert_close(network(padded, mask).mean, expected[:, :4])
    torch.testing.assert_close(network(padded, mask).std, 0.1 + 0.9 / (1 + torch.exp(-expected[:, 4:])))


def test_noise_is_the_generators_and_zero_without_one():
    like = torch.zeros(1, dtype=torch.float64)
    assert torch.equal(standard_noise((3, 2), None, like), torch.zeros(3, 2, dtype=torch.float64))
    drawn = standard_noise((10_000,), seeded(), like)
    assert abs(drawn.mean().item()) < 4 / math.sqrt(10_000)
