import math

import pytest
import torch
from nerfstudio.cameras.rays import Frustums, RaySamples
from nerfstudio.model_components.renderers import AccumulationRenderer, RGBRenderer

from vnp_core.errors import ConfigError
from vnp_nerf.cameras import look_at
from vnp_nerf.ray_sampling import stratified_edges
from vnp_nerf.rendering import Rendering, composite, over, ray_weights, rays_across, render_picture


def test_a_constant_slab_absorbs_as_beer_lambert_says():
    edges = torch.linspace(0, 2, 65)[None]
    for density in (0.1, 1.0, 5.0):
        weights = ray_weights(torch.full((1, 64), density), edges)
        assert weights.sum().item() == pytest.approx(1 - math.exp(-2 * density), abs=1e-6)


@pytest.mark.parametrize(("background", "behind"), [("white", 1.0), ("black", 0.0)])
def test_two_slabs_mix_their_colours_by_transmittance(background: str, behind: float):
    edges = torch.tensor([[0.0, 1.0, 3.0]])
    density = torch.tensor([[0.7, 0.2]])
    rgb = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    seen = composite(density, rgb, edges, background)
    first, second = 1 - math.exp(-0.7), 1 - math.exp(-0.4)
    through = math.exp(-0.7 - 0.4)
    expected = torch.tensor([first, math.exp(-0.7) * second, 0.0]) + through * behind
    assert torch.allclose(seen.rgb[0], expected, atol=1e-6)
    assert seen.alpha.item() == pytest.approx(1 - through, abs=1e-6)
    assert seen.depth.item() == pytest.approx(
        first * 0.5 + math.exp(-0.7) * second * 2.0 + through * 3.0, abs=1e-6
    )


def test_weights_stay_finite_at_extreme_density_and_so_do_gradients():
    density = torch.tensor([[0.0, 1e30, math.inf, 1e-30]], requires_grad=True)
    weights = ray_weights(density, torch.linspace(0, 1, 5)[None])
    weights.sum().backward()
    assert torch.equal(weights.detach(), torch.tensor([[0.0, 1.0, 0.0, 0.0]]))
    assert density.grad is not None
    assert torch.isfinite(density.grad).all()


def test_compositing_passes_gradcheck():
    generator = torch.Generator().manual_seed(0)
    density = torch.rand(2, 5, generator=generator, requires_grad=True)
    rgb = torch.rand(2, 5, 3, generator=generator, requires_grad=True)
    edges = torch.linspace(0, 2, 6).expand(2, 6)

    def render(density: torch.Tensor, rgb: torch.Tensor) -> tuple[torch.Tensor, ...]:
        seen = composite(density, rgb, edges, "white")
        return seen.rgb, seen.alpha, seen.depth

    # Sums run in float32 by design, so the finite differences are coarse.
    assert torch.autograd.gradcheck(render, (density, rgb), eps=1e-2, atol=1e-2, rtol=1e-2)


def test_weights_and_colours_equal_nerfstudios_renderers():
    generator = torch.Generator().manual_seed(2)
    edges = stratified_edges(torch.full((7,), 2.0), torch.full((7,), 6.0), 24, generator)
    density = 3 * torch.rand(7, 24, generator=generator)
    rgb = torch.rand(7, 24, 3, generator=generator)
    starts, ends = edges[:, :-1, None], edges[:, 1:, None]
    samples = RaySamples(
        frustums=Frustums(torch.zeros(7, 24, 3), torch.ones(7, 24, 3), starts, ends, torch.ones(7, 24, 1)),
        deltas=ends - starts,
    )
    weights = samples.get_weights(density[..., None])
    seen = composite(density, rgb, edges, "white")
    assert torch.allclose(ray_weights(density, edges), weights[..., 0], atol=1e-6)
    theirs = RGBRenderer(background_color="white").eval()(rgb=rgb, weights=weights)
    assert torch.allclose(seen.rgb, theirs, atol=1e-6)
    assert torch.allclose(seen.alpha, AccumulationRenderer()(weights=weights)[..., 0], atol=1e-6)


def test_a_background_picture_shows_through_where_nothing_is():
    picture = torch.rand(4, 3, generator=torch.Generator().manual_seed(0))
    seen = over(torch.zeros(4, 3), torch.zeros(4), picture)
    assert torch.equal(seen, picture)
    with pytest.raises(ConfigError, match="'purple'"):
        over(torch.zeros(4, 3), torch.zeros(4), "purple")


class _Directions:
    """A 'field' whose picture is its rays, so that the order of pixels can be read off."""

    def render(
        self, origins: torch.Tensor, directions: torch.Tensor, *, background: object = "white"
    ) -> Rendering:
        return Rendering(directions, directions[:, 0], origins[:, 0])


def test_a_picture_is_the_same_for_every_chunk_size():
    camera = look_at(torch.tensor([3.0, 1.0, 1.0]), torch.zeros(3), torch.tensor([0.0, 0.0, 1.0]))
    intrinsics = torch.tensor([20.0, 20.0, 8.0, 5.0])
    whole = render_picture(_Directions(), camera, intrinsics, 10, 16, chunk=1000)
    parts = render_picture(_Directions(), camera, intrinsics, 10, 16, chunk=7)
    assert whole.rgb.shape == (10, 16, 3)
    assert torch.equal(whole.rgb, parts.rgb)
    assert torch.equal(whole.depth, parts.depth)


class _Fine(_Directions):
    """One that learned from rays of a width of its own."""

    def __init__(self, ray_width: float) -> None:
        self.ray_width = ray_width


def test_a_pixel_wider_than_the_fields_rays_is_the_mean_of_several():
    camera = look_at(torch.tensor([3.0, 1.0, 1.0]), torch.zeros(3), torch.tensor([0.0, 0.0, 1.0]))
    intrinsics = torch.tensor([20.0, 20.0, 8.0, 5.0])
    pixel = 11**0.5 / 20  # at the origin
    for width, across in ((0.0, 1), (2 * pixel, 1), (pixel, 1), (0.51 * pixel, 2), (pixel / 3, 3), (1e-3, 4)):
        field = _Fine(width)
        assert rays_across(field, camera, intrinsics) == across
        fine = render_picture(_Directions(), camera, across * intrinsics, across * 10, across * 16).rgb
        expected = torch.zeros(10, 16, 3)
        for row in range(across):
            for column in range(across):
                expected += fine[row::across, column::across] / across**2
        seen = render_picture(field, camera, intrinsics, 10, 16, chunk=100)
        assert torch.allclose(seen.rgb, expected, atol=1e-6)
        assert seen.depth.shape == (10, 16)
    assert rays_across(_Directions(), camera, intrinsics) == 1


def test_a_pixels_noise_is_its_rays_and_that_of_distance_counts_as_they_absorb():
    """Of two rays one is solid and sure within .1 of its distance, the other meets nothing."""
    alpha = torch.tensor([1.0, 0.0])
    rays = Rendering(torch.rand(2, 3), alpha, torch.rand(2), alpha * 0.04, alpha * 0.09, alpha * 0.01)
    pixel = rays.of_pixels(2)
    assert torch.allclose(pixel.rgb, rays.rgb.mean(0))
    assert pixel.alpha.item() == 0.5
    assert pixel.rgb_variance is not None
    assert pixel.rgb_variance.item() == pytest.approx(0.02)
    assert pixel.depth_variance is not None
    assert pixel.depth_variance.item() == pytest.approx(0.01)
    assert rays.of_pixels(1) is rays
