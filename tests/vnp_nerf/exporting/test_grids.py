from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from vnp_core.errors import ConfigError, DataError
from vnp_nerf.exporting import field_to_grid
from vnp_nerf.exporting.grids import surface_density
from vnp_nerf.frames import Similarity
from vnp_nerf.radiance import RadianceModel
from vnp_nerf.radiance_config import RadianceConfig
from vnp_nerf.views import Views


class Everywhere:
    """A field that is the same wherever it is asked; keeps what it was asked."""

    def __init__(self, density: float, colour: float = 0.5) -> None:
        self.density, self.colour = density, colour
        self.asked: list[tuple[torch.Tensor, torch.Tensor]] = []

    def density_colour(self, points, directions=None):
        self.asked.append((points, directions))
        return torch.full(points.shape[:1], self.density), torch.full(points.shape, self.colour)


def test_a_cell_holds_what_the_field_says_at_its_centre(solid, make_field: Callable, world: Similarity):
    field = make_field(solid)
    grid = field_to_grid(field, 16, radius=1.0)
    ticks = (torch.arange(16) + 0.5) / 8 - 1
    for cell in [(0, 8, 8), (8, 8, 8), (9, 7, 6), (3, 12, 5)]:
        centre = torch.stack([ticks[index] for index in cell])[None]
        density, rgb = field.density_colour(centre)
        np.testing.assert_allclose(grid.positions(np.array([cell])), centre, atol=1e-6)
        assert grid.density[cell] == density.item()
        np.testing.assert_allclose(grid.rgb[cell], rgb[0])


def test_only_points_of_the_ball_are_asked_for_seen_from_outside():
    field = Everywhere(50.0)
    grid = field_to_grid(field, 12, radius=0.9)
    points, directions = (torch.cat(part) for part in zip(*field.asked, strict=True))
    assert float(points.norm(dim=-1).max()) <= 0.9
    assert len(points) == int(grid.occupied.sum())
    assert len(points) * grid.edge**3 == pytest.approx(4 / 3 * np.pi * 0.9**3, rel=0.05)
    torch.testing.assert_close(directions, -points / points.norm(dim=-1, keepdim=True))


def test_sigma_is_the_standard_deviation_over_the_draws():
    draws = [Everywhere(density, colour) for density, colour in [(30.0, 0.2), (60.0, 0.3), (90.0, 0.7)]]
    grid = field_to_grid(Everywhere(50.0), 6, draws=draws)
    assert grid.draws == 3
    np.testing.assert_allclose(grid.density_sigma[grid.occupied], 30.0, rtol=1e-6)
    np.testing.assert_allclose(grid.colour_sigma[grid.occupied], np.std([0.2, 0.3, 0.7], ddof=1), rtol=1e-6)
    assert not grid.density_sigma[~grid.occupied].any()


def test_a_single_field_has_no_sigma_and_says_so():
    grid = field_to_grid(Everywhere(50.0), 6)
    cells = grid.cells(np.argwhere(grid.occupied))
    assert not cells.colour_sigma.any()
    assert not cells.density_sigma.any()
    assert "single field" in cells.sigma_note()


def test_an_empty_field_is_one_clear_error():
    with pytest.raises(DataError, match=r"field is empty.*reaches 3 .*threshold of 20.*lower"):
        field_to_grid(Everywhere(3.0), 8, threshold=20.0)
    with pytest.raises(DataError, match=r"field is empty.*reaches 0\.2 "):
        field_to_grid(Everywhere(0.2), 8)  # the ball's 2.1 units absorb a third


def test_the_chosen_surface_has_the_outline_of_what_absorbs_half_of_the_light():
    # A fog a exp(-8 r^2): a ray at distance b from its middle has the depth a sqrt(pi / 8) exp(-8 b^2), which
    # is log 2 at the outline. The density there is that of the level set, whatever a is.
    ticks = (np.arange(64) + 0.5) / 32 - 1
    squares = sum(axis**2 for axis in np.meshgrid(ticks, ticks, ticks, indexing="ij"))
    for peak in (5.0, 50.0):
        outline = np.log(peak * np.sqrt(np.pi / 8) / np.log(2)) / 8  # b^2
        expected = peak * np.exp(-8 * outline)
        chosen = surface_density((peak * np.exp(-8 * squares)).astype(np.float32), 1 / 32)
        assert chosen == pytest.approx(expected, rel=0.15)


def test_a_field_that_is_not_finite_is_refused():
    with pytest.raises(DataError, match="NaN"):
        field_to_grid(Everywhere(float("nan")), 4)


def test_what_makes_no_grid_is_refused():
    for changes in ({"resolution": 1}, {"threshold": 0.0}, {"draws": [Everywhere(1.0)]}):
        with pytest.raises(ConfigError):
            field_to_grid(Everywhere(50.0), **{"resolution": 4, **changes})


def test_a_models_field_is_read_with_directions_where_its_colour_needs_them(smallest_model: RadianceConfig):
    torch.manual_seed(0)
    model = RadianceModel(replace(smallest_model, view_directions=True)).eval()
    field = model.infer_field(model.encode(Views.empty(1)))
    grid = field_to_grid(field, 8, radius=smallest_model.radius, threshold=0.01)
    cells = grid.cells(np.argwhere(grid.occupied))
    points = torch.from_numpy(cells.points.astype(np.float32))
    with torch.no_grad():
        _, rgb = field.density_colour(points, -points / points.norm(dim=-1, keepdim=True))
    np.testing.assert_allclose(cells.rgb, rgb, atol=1e-5)
