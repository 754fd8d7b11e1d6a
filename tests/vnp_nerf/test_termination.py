"""Where a ray ends: a distribution over distances and nowhere, and the likelihood of the true one."""

import math

import pytest
import torch

from vnp_nerf.ray_sampling import stratified_edges
from vnp_nerf.rendering import ray_weights
from vnp_nerf.termination import termination_likelihood, termination_probability

WINDOW = 0.05


def rays(count: int = 7, samples: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights and edges of rays from 2 to 4, under random density."""
    generator = torch.Generator().manual_seed(0)
    near = torch.full((count,), 2.0)
    edges = stratified_edges(near, near + 2, samples, generator)
    return ray_weights(3 * torch.rand(count, samples, generator=generator), edges), edges


def test_all_the_places_where_a_ray_can_end_make_one() -> None:
    weights, edges = rays()
    middles = torch.arange(2 + WINDOW, 4, 2 * WINDOW)  # of windows that cover the span once
    somewhere = sum(termination_probability(weights, edges, middle.expand(7), WINDOW) for middle in middles)
    nowhere = termination_probability(weights, edges, torch.full((7,), torch.inf), WINDOW)
    torch.testing.assert_close(somewhere + nowhere, torch.ones(7))
    torch.testing.assert_close(nowhere, 1 - weights.sum(-1))


def test_an_even_fog_ends_rays_by_its_closed_form() -> None:
    near = torch.full((1,), 2.0)
    depth = torch.tensor([2.5])
    found = []
    for samples in (400, 800):
        edges = stratified_edges(near, near + 2, samples)
        weights = ray_weights(torch.ones(1, samples), edges)
        found.append(termination_probability(weights, edges, depth, WINDOW))
    exact = math.exp(-0.5 + WINDOW) - math.exp(-0.5 - WINDOW)
    assert found[0].item() == pytest.approx(exact, rel=1e-4)
    assert found[1].item() == pytest.approx(exact, rel=1e-4)


def test_rays_that_end_outside_their_span_are_left_out() -> None:
    weights, edges = rays()
    depth = torch.tensor([2.5, 3.0, 3.5, torch.inf, 1.0, 4.5, torch.inf])
    kept = [0, 1, 2, 3, 6]
    mean = termination_likelihood(weights, edges, depth, WINDOW)
    torch.testing.assert_close(mean, termination_likelihood(weights[kept], edges[kept], depth[kept], WINDOW))
    assert termination_likelihood(weights, edges, torch.full((7,), 9.0), WINDOW) == 0


def test_a_surface_at_the_truth_is_likeliest_and_no_ray_costs_without_bound() -> None:
    edges = stratified_edges(torch.tensor([2.0]), torch.tensor([4.0]), 40)
    depth = torch.tensor([3.025])
    density = torch.zeros(1, 40)
    fog = termination_likelihood(ray_weights(density + 1, edges), edges, depth, WINDOW)
    nothing = termination_likelihood(ray_weights(density, edges), edges, depth, WINDOW)
    density[0, 20] = 1e4
    wall = termination_likelihood(ray_weights(density, edges), edges, depth, WINDOW)
    assert wall.abs() < 0.01 < fog < nothing < 7


def test_its_gradient_moves_density_to_the_truth() -> None:
    edges = stratified_edges(torch.tensor([2.0]), torch.tensor([4.0]), 40)
    density = torch.ones(1, 40, requires_grad=True)
    termination_likelihood(ray_weights(density, edges), edges, torch.tensor([3.025]), WINDOW).backward()
    assert density.grad is not None
    assert (density.grad[0, :19] > 0).all()  # in front of the surface there is too much
    assert density.grad[0, 20] < 0
