"""A baked field says at its vertices what the field says, and renders what its grid interpolates to."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from vnp_core.errors import ConfigError
from vnp_nerf.baked_field import BakedField, BakedGrid, bake, free_steps
from vnp_nerf.cameras import look_at
from vnp_nerf.ray_sampling import ball_span
from vnp_nerf.rendering import Rendering, composite, render_picture

RADIUS = 1.05


class Ball:
    """A ball off the centre, opaque within and with a soft rim, whose colour tells the place."""

    def __init__(self, size: float = 0.4) -> None:
        self.size = size
        self.middle = torch.tensor([0.2, -0.1, 0.15])

    def density_colour(
        self, points: torch.Tensor, directions: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        depth = self.size - (points - self.middle).norm(dim=-1)
        return 60 * (depth / 0.1).clamp(0, 1), (points / 2 + 0.5).clamp(0, 1)

    def render(self, origins: torch.Tensor, directions: torch.Tensor, *, background="white") -> Rendering:
        near, far = ball_span(origins, directions, RADIUS)
        edges = near[:, None] + (far - near)[:, None] * torch.linspace(0, 1, 513)
        middles = (edges[:, 1:] + edges[:, :-1]) / 2
        points = origins[:, None] + middles[..., None] * directions[:, None]
        density, rgb = self.density_colour(points)
        return composite(density, rgb, edges, background)


class SlowBaked:
    """The twin: dense grids, torch's own interpolation of opacity over 0.05, every step of every ray."""

    def __init__(self, grid: BakedGrid) -> None:
        side = grid.resolution
        density = torch.zeros(side, side, side)
        density[grid.filled] = 1 - torch.exp(-0.05 * grid.density.float())
        colour = torch.zeros(side, side, side, 3)
        colour[grid.filled] = grid.rgb.float() / 255
        self.values = torch.cat([density[..., None], density[..., None] * colour], dim=-1)
        self.step = 2 * grid.radius / (side - 1)

    def density_colour(self, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        volume = self.values.permute(3, 2, 1, 0)[None]  # [1, C, z, y, x]
        where = (points / RADIUS).reshape(1, 1, 1, -1, 3)
        read = F.grid_sample(volume, where, align_corners=True, padding_mode="border").reshape(4, -1).T
        read = read.reshape(*points.shape[:-1], 4)
        density = -torch.log(1 - read[..., 0].double().clamp(0, 1 - 1e-6)).float() / 0.05
        return density, read[..., 1:] / read[..., :1].clamp_min(1e-12)

    def render(self, origins: torch.Tensor, directions: torch.Tensor, *, background="white") -> Rendering:
        near, far = ball_span(origins, directions, RADIUS)
        steps = torch.arange(int(2 * RADIUS / self.step) + 2)
        edges = near[:, None] + steps * self.step
        middles = (edges[:, 1:] + edges[:, :-1]) / 2
        density, rgb = self.density_colour(origins[:, None] + middles[..., None] * directions[:, None])
        density = torch.where(middles - self.step / 2 < far[:, None], density, 0)
        return composite(density, rgb, edges, background, far)


@pytest.fixture(scope="module")
def grid() -> BakedGrid:
    return bake(Ball(), RADIUS, 48)


def _look(field, chunk: int = 4096, azimuth: float = 0.0, **options) -> Rendering:
    turn = torch.tensor(azimuth)
    camera = look_at(torch.stack([3 * turn.cos(), 3 * turn.sin(), torch.tensor(1.0)]))
    return render_picture(
        field, camera, torch.tensor([60.0, 60.0, 20.0, 16.0]), 32, 40, chunk=chunk, **options
    )


def test_only_what_is_there_is_kept(grid: BakedGrid):
    places = torch.linspace(-RADIUS, RADIUS, 48)
    points = torch.stack(torch.meshgrid(places, places, places, indexing="ij"), dim=-1)
    density, rgb = Ball().density_colour(points)
    assert torch.equal(grid.filled, density > 1e-3)
    assert torch.allclose(grid.density.float(), density[grid.filled], rtol=1e-3)
    assert torch.allclose(grid.rgb.float() / 255, rgb[grid.filled], atol=0.51 / 255)
    field = BakedField(grid)
    at_vertices = field.density_colour(points[grid.filled])
    assert torch.allclose(at_vertices[0], grid.density.float(), rtol=1e-3, atol=1e-3)
    assert torch.allclose(at_vertices[1], grid.rgb.float() / 255, atol=1e-3)


def test_between_vertices_it_is_torchs_trilinear_interpolation_and_nothing_beyond_the_cube(grid: BakedGrid):
    points = (torch.rand(5000, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1) * RADIUS
    density, rgb = BakedField(grid).density_colour(points)
    slow_density, slow_rgb = SlowBaked(grid).density_colour(points)
    assert slow_density.max() > 50
    assert torch.allclose(density, slow_density, atol=1e-3)
    assert torch.allclose(density[:, None] * rgb, slow_density[:, None] * slow_rgb, atol=1e-3)
    assert BakedField(grid).density_colour(points + 2.2)[0].abs().max() == 0


@pytest.mark.parametrize("background", ["white", "black"])
def test_law_9_leaps_and_early_stops_change_no_picture(grid: BakedGrid, background: str):
    for azimuth in (0.0, 1.0, 4.0):
        fast = _look(BakedField(grid), azimuth=azimuth, background=background)
        slow = _look(SlowBaked(grid), azimuth=azimuth, background=background)
        assert 0.05 < slow.alpha.mean() < 0.5
        for name in ("rgb", "alpha", "depth"):
            assert torch.allclose(getattr(fast, name), getattr(slow, name), atol=1e-3), name


def test_a_field_that_fills_the_ball_is_cut_off_at_the_grids_border():
    grid = bake(Ball(size=3.0), RADIUS, 20)
    fast, slow = _look(BakedField(grid)), _look(SlowBaked(grid))
    assert slow.alpha.mean() > 0.5
    assert torch.allclose(fast.rgb, slow.rgb, atol=1e-3)
    assert fast.rgb.max() <= 1 + 1e-5


def test_law_1_a_baked_picture_is_the_same_in_any_chunk(grid: BakedGrid):
    field = BakedField(grid)
    whole = _look(field)
    for chunk in (64, 1000):
        assert torch.allclose(_look(field, chunk).rgb, whole.rgb, atol=1e-6)


def test_a_finer_grid_comes_closer_to_the_field():
    truth = _look(Ball()).rgb
    errors = [
        (_look(BakedField(bake(Ball(), RADIUS, side))).rgb - truth).square().mean() for side in (24, 48, 96)
    ]
    assert errors[0] > 2 * errors[1] > 4 * errors[2]
    assert errors[2] < 2e-4  # 37 dB, on a soft rim that six cells span


def test_an_empty_field_bakes_to_nothing_and_renders_as_background():
    grid = bake(Ball(size=0.0), RADIUS, 16)
    assert len(grid.density) == 0
    field = BakedField(grid)
    assert torch.equal(_look(field, background="black").rgb, torch.zeros(32, 40, 3))
    assert field.density_colour(torch.zeros(3, 3))[0].abs().max() == 0


def test_free_steps_never_lead_past_what_is_filled():
    generator = torch.Generator().manual_seed(0)
    filled = torch.rand(45, 45, 45, generator=generator) > 0.9998
    steps = free_steps(filled)
    assert steps.shape == filled.shape
    assert steps.min() == 1
    assert steps.max() > 4
    where = filled.nonzero()
    grid = torch.stack(torch.meshgrid(*[torch.arange(45)] * 3, indexing="ij"), dim=-1)
    nearest = torch.stack([(grid - cell).abs().amax(-1) for cell in where]).amin(0)
    # The samples between are at most steps - 1 cells' widths away, from anywhere in the cell.
    assert (steps - 1 < nearest.clamp_min(1)).all()


def test_a_grid_that_is_too_fine_is_refused():
    with pytest.raises(ConfigError, match="1000"):
        bake(Ball(), RADIUS, 1000)


def test_extreme_densities_stay_finite():
    class Wall(Ball):
        def density_colour(self, points, directions=None):
            density, rgb = super().density_colour(points)
            return density * 1e30, rgb

    grid = bake(Wall(), RADIUS, 16)
    assert grid.density.isfinite().all()
    seen = _look(BakedField(dataclasses.replace(grid)))
    assert all(part.isfinite().all() for part in (seen.rgb, seen.alpha, seen.depth))
