import math

import pytest
import torch

from vnp_nerf.pixel_noise import (
    DOF,
    EMPTY,
    EVIDENCE,
    FLOOR,
    draw_spread,
    negative_log_likelihoods,
    noise_likelihood,
    pixel_distribution,
)
from vnp_nerf.rendering import Rendering, composite


def slabs(density: list[float], values: list[list[float]], background: object = "white") -> Rendering:
    """Slabs of length 1 along one ray."""
    edges = torch.arange(len(density) + 1.0)[None]
    return composite(torch.tensor([density]), torch.tensor([values]), edges, background)


def test_an_opaque_slab_has_its_own_noise_above_the_floor():
    seen = slabs([1e4], [[0.2, 0.4, 0.6, 0.3, 0.0]])
    assert seen.rgb_variance.item() == pytest.approx((0.3 + FLOOR) ** 2, rel=1e-5)
    assert seen.alpha_variance.item() == 0


def test_nothing_is_as_sure_as_a_pixel_can_be():
    empty = slabs([0.0], [[0.2, 0.4, 0.6, 0.3, 0.0]])
    missed = Rendering.nothing(torch.ones(1), "white", noise=True)
    assert empty.rgb_variance.item() == pytest.approx(FLOOR**2)
    assert torch.allclose(empty.rgb_variance, missed.rgb_variance)


def test_noise_of_opacity_counts_by_what_lies_behind():
    own = (torch.tensor([0.2, 0.4, 0.6]) + 0.01) / 1.02
    for background in (torch.zeros(3), torch.ones(3), torch.tensor([0.2, 0.4, 0.6])):
        contrast = (background - own).square().mean().item()
        seen = slabs([1e4], [[0.2, 0.4, 0.6, 0.0, 0.25]], background)
        # Where light is absorbed, and along the way of length 1.
        assert seen.alpha_variance.item() == pytest.approx((0.25 + 0.25) ** 2)
        assert seen.rgb_variance.item() == pytest.approx(FLOOR**2 + 0.25 * contrast, rel=1e-4)


def test_something_may_be_missing_where_light_passes_and_not_behind_a_wall():
    hint, sure = [0.0, 0.0, 0.0, 0.0, 0.1], [0.0] * 5
    assert slabs([0.0, 0.0], [hint, hint]).alpha_variance.item() == pytest.approx(0.2**2)
    assert slabs([1e4, 0.0], [sure, hint]).alpha_variance.item() == pytest.approx(0.0, abs=1e-8)
    # Over white, what is missing would be dark: half of the range, were its colour a middle grey.
    assert slabs([0.0], [hint]).rgb_variance.item() == pytest.approx(FLOOR**2 + 0.1**2 * 0.25)


def test_depth_varies_as_the_light_that_is_absorbed_does():
    # Half of the light ends in the first slab, at .5, and half of the rest in the second, at 1.5.
    seen = slabs([math.log(2), math.log(2)], [[0.0] * 5, [0.0] * 5])
    share = torch.tensor([2 / 3, 1 / 3])
    mean = (share * torch.tensor([0.5, 1.5])).sum()
    expected = (share * (torch.tensor([0.5, 1.5]) - mean).square()).sum()
    assert seen.depth_variance.item() == pytest.approx(expected.item(), rel=1e-5)


def test_variances_teach_noise_and_nothing_else():
    density, values = torch.tensor([[0.7, 0.9]]), torch.rand(1, 2, 5)
    density.requires_grad_()
    values.requires_grad_()
    seen = composite(density, values, torch.tensor([[0.0, 1.0, 2.0]]), "white")
    seen.rgb_variance.sum().backward()
    assert density.grad is None or density.grad.abs().max() == 0
    assert values.grad[..., :3].abs().max() == 0
    assert values.grad[..., 3:].abs().min() > 0


def test_a_pixel_has_the_standard_deviation_that_was_rendered():
    mixture = pixel_distribution(torch.zeros(1, 1, 2, 3), torch.tensor([[[0.04, 0.09]]]))
    assert mixture.dof == DOF
    assert torch.allclose(mixture.stds[0, 0, :, 0], torch.tensor([0.2, 0.3]))


def test_likelihoods_of_one_draw_are_its_mean_and_mixtures_lie_above_the_mean_of_draws():
    logs = torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    nowhere, everywhere = torch.zeros(2, 6, dtype=torch.bool), torch.ones(2, 6, dtype=torch.bool)
    alone = negative_log_likelihoods(logs[:, :1], nowhere)
    assert alone["joint"].item() == alone["point"].item() == pytest.approx(-logs[:, 0].mean().item())
    hidden, shown = (negative_log_likelihoods(logs, rays) for rays in (nowhere, everywhere))
    assert shown["shown"].item() == pytest.approx(-logs.mean().item())
    assert hidden["point"] == shown["point"] < hidden["joint"] < shown["shown"]
    assert hidden["shown"] == shown["joint"] == 0


def test_each_ray_counts_in_the_part_that_is_its():
    generator = torch.Generator().manual_seed(0)
    logs = torch.randn(2, 4, 6, generator=generator, dtype=torch.float64)
    shown = torch.tensor([[True] * 2 + [False] * 4, [True] * 5 + [False]])
    both = negative_log_likelihoods(logs, shown)
    other = torch.where(shown[:, None], logs, logs + 1)
    assert negative_log_likelihoods(other, shown)["shown"] == both["shown"]
    assert negative_log_likelihoods(other, shown)["joint"].item() == pytest.approx(both["joint"].item() - 1)
    other = torch.where(shown[:, None], logs + 1, logs)
    assert negative_log_likelihoods(other, shown)["joint"] == both["joint"]
    assert negative_log_likelihoods(other, shown)["shown"].item() == pytest.approx(both["shown"].item() - 1)


def test_joint_likelihood_by_hand():
    logs = torch.tensor([[[1.0, 2.0], [0.0, -4.0]]], dtype=torch.float64)
    weight = EVIDENCE * 2
    by_hand = math.log((math.exp(EVIDENCE * 3.0) + math.exp(EVIDENCE * -4.0)) / 2) / weight
    nowhere = torch.zeros(1, 2, dtype=torch.bool)
    assert negative_log_likelihoods(logs, nowhere)["joint"].item() == pytest.approx(-by_hand)


def test_noise_learns_from_the_object_more_than_from_what_lies_beside_it():
    logs = torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    foreground = torch.tensor([[True] * 2 + [False] * 4, [True] * 1 + [False] * 5])
    each = torch.logsumexp(logs, 1) - math.log(4)
    by_hand = [
        -(scene[inside].mean() + EMPTY * scene[~inside].mean()).item() / (1 + EMPTY)
        for scene, inside in zip(each, foreground, strict=True)
    ]
    assert noise_likelihood(logs, foreground).item() == pytest.approx(sum(by_hand) / 2, rel=1e-6)
    nothing = noise_likelihood(logs, torch.zeros_like(foreground))
    assert nothing.item() == pytest.approx(-each.mean().item() * EMPTY / (1 + EMPTY), rel=1e-6)


def test_spread_is_a_ratio_of_deviations():
    rgb = torch.tensor([0.0, 0.2])[None, :, None, None].expand(1, 2, 5, 3)
    expected = math.sqrt(0.02 / 0.01)
    assert draw_spread(rgb, torch.full((1, 2, 5), 0.01)).item() == pytest.approx(expected, rel=1e-5)
    assert draw_spread(torch.ones(1, 3, 5, 3), torch.full((1, 3, 5), 0.01)) == 0
