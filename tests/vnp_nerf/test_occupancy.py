"""What is dense is in a filled cell, and what is far from it is not."""

import torch
import torch.nn.functional as F

from vnp_nerf.occupancy import OccupancyGrid
from vnp_nerf.ray_sampling import ball_span

CPU = torch.device("cpu")
CELLS = 32


def _shell(points: torch.Tensor) -> torch.Tensor:
    """A hollow sphere of radius 0.6 whose wall is two cells thick."""
    return 50.0 * ((points.norm(dim=-1) - 0.6).abs() < 2 / CELLS)


def _points(count: int) -> torch.Tensor:
    return torch.rand(count, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1


def _rays(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    origins = 3 * F.normalize(torch.randn(count, 3, generator=generator), dim=-1)
    aims = torch.rand(count, 3, generator=generator) * 2 - 1
    return origins, F.normalize(aims - origins, dim=-1)


def test_every_dense_point_is_contained_and_none_a_cells_diagonal_away():
    grid = OccupancyGrid.of_density(_shell, 1.0, CPU, CELLS)
    points = _points(20_000)
    inside = grid.contains(points)
    assert inside[_shell(points) > 0].all()
    wall = (points.norm(dim=-1) - 0.6).abs() - 2 / CELLS
    assert not inside[wall > 3**0.5 * (2 / CELLS)].any()
    assert 0 < inside.float().mean() < 0.7


def test_a_density_that_nobody_could_see_fills_nothing():
    def haze(points: torch.Tensor) -> torch.Tensor:
        return torch.full_like(points[:, 0], 0.1)

    assert not OccupancyGrid.of_density(haze, 1.0, CPU, CELLS).filled.any()


def test_points_beyond_the_cube_have_the_nearest_cells_answer():
    filled = torch.zeros(4, 4, 4, dtype=torch.bool)
    filled[3, 0, 1] = True
    grid = OccupancyGrid(filled, 2.0)
    points = torch.tensor([[9.0, -9.0, -0.5], [1.5, -1.5, -0.5], [9.0, -9.0, 0.5], [-9.0, -1.5, -0.5]])
    assert grid.contains(points).tolist() == [True, True, False, False]


def test_no_ray_that_meets_something_dense_is_missed():
    grid = OccupancyGrid.of_density(_shell, 1.0, CPU, CELLS)
    origins, directions = _rays(2000)
    near, far = ball_span(origins, directions)
    touched = grid.touches(origins, directions, near, far)
    along = near[:, None] + (far - near)[:, None] * torch.linspace(0, 1, 400)
    meets = (_shell(origins[:, None] + along[..., None] * directions[:, None]) > 0).any(-1) & (far > near)
    assert touched[meets].all()
    assert meets.any()
    assert not touched.all()
