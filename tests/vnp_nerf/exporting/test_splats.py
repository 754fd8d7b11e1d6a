from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from vnp_core.errors import OutputExistsError
from vnp_nerf.exporting import field_to_grid, grid_to_splats, write_splats
from vnp_nerf.frames import Similarity

SIDE = 40
VOXEL = 2 * 1.05 / SIDE / 0.04
"""World length of a cell."""


class Fog:
    """A ball of even density about the origin."""

    def __init__(self, density: float, radius: float = 0.8) -> None:
        self.density, self.radius = density, radius

    def density_colour(self, points, directions=None):
        return (points.norm(dim=-1) <= self.radius) * self.density, torch.full_like(points, 0.3)


def absorbed(splats: dict[str, np.ndarray], origins: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Optical depth along parallel rays, as splat renderers composite: each Gaussian once, at its nearest."""
    centres = np.stack([splats[name] for name in "xyz"], axis=1).astype(np.float64)
    opacity = 1 / (1 + np.exp(-splats["opacity"].astype(np.float64)))
    deviation = np.exp(splats["scale_0"].astype(np.float64))
    apart = centres - origins[:, None]
    squares = (apart**2).sum(-1) - (apart @ direction) ** 2
    return -np.log1p(-opacity * np.exp(-squares / (2 * deviation**2))).sum(1)


def test_the_layout_is_the_one_that_viewers_read(
    solid, make_field: Callable, tmp_path: Path, read_ply: Callable
):
    splats = grid_to_splats(field_to_grid(make_field(solid), 16))
    read, notes = read_ply(write_splats(tmp_path / "splat.ply", splats, {"latents": "the draw of seed 3"}))
    expected = ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2"]
    expected += [f"f_rest_{number}" for number in range(45)]
    expected += ["opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]
    assert list(read) == expected
    assert all(column.dtype == np.float32 for column in read.values())
    assert not notes  # a comment makes some readers give up
    assert read_ply(tmp_path / "splat_sigma.ply")[1]["latents"] == "the draw of seed 3"
    harmonic = 0.28209479177387814  # of degree 0
    for channel, value in enumerate((0.8, 0.4, 0.2)):
        np.testing.assert_allclose(0.5 + harmonic * read[f"f_dc_{channel}"], value, atol=1e-6)
    quaternion = np.stack([read[f"rot_{part}"] for part in range(4)], axis=1)
    assert (quaternion == (1, 0, 0, 0)).all()


def test_a_solid_of_the_world_comes_back_within_a_voxel(
    solid, make_field: Callable, world: Similarity, tmp_path: Path, read_ply: Callable
):
    field = make_field(solid)
    grid = field_to_grid(field, SIDE, draws=(field, make_field(solid, density=700.0)))
    splats = grid_to_splats(grid).moved(world.inverse())
    read, _ = read_ply(write_splats(tmp_path / "splat.ply", splats))
    centres = np.stack([read[name] for name in "xyz"], axis=1)
    assert float(solid.distance(centres).max()) < 1e-3
    assert float(solid.extents(centres).abs().max()) < VOXEL
    np.testing.assert_allclose(np.exp(read["scale_1"]), VOXEL / 2, rtol=1e-5)
    sigma, notes = read_ply(tmp_path / "splat_sigma.ply")
    np.testing.assert_array_equal(np.stack([sigma[name] for name in "xyz"], axis=1), centres)
    np.testing.assert_allclose(sigma["sigma_density"], np.std([500, 700], ddof=1) * world.scale, rtol=1e-5)
    assert "2 draws" in notes["sigma"]


@pytest.mark.parametrize("density", [0.5, 3.0, 11.0])
def test_rays_lose_to_the_splats_what_they_lose_to_the_field(
    density: float, rng: np.random.Generator, tmp_path: Path, read_ply: Callable
):
    grid = field_to_grid(Fog(density), 24, threshold=0.1)
    read, _ = read_ply(write_splats(tmp_path / "splat.ply", grid_to_splats(grid)))
    direction = np.array([0.5, -0.3, 0.8])
    direction /= np.linalg.norm(direction)
    across = np.linalg.svd(direction[None])[2][1:]  # two unit vectors at right angles to it
    offsets = rng.uniform(-0.3, 0.3, (100, 2))
    lost = absorbed(read, offsets @ across, direction)
    chord = 2 * np.sqrt(0.8**2 - (offsets**2).sum(1))
    # The law is about the mean over rays: a single one passes near or between the lattice's Gaussians.
    assert lost.mean() == pytest.approx((density * chord).mean(), rel=0.03)


def test_what_lies_deep_inside_is_left_out_and_missed_by_no_ray(
    rng: np.random.Generator, tmp_path: Path, read_ply: Callable
):
    grid = field_to_grid(Fog(400.0), 48)
    splats = grid_to_splats(grid)
    assert len(splats.centres) < 0.75 * grid.occupied.sum()
    read, _ = read_ply(write_splats(tmp_path / "splat.ply", splats))
    rays = np.concatenate([rng.uniform(-0.3, 0.3, (20, 2)), np.zeros((20, 1))], axis=1)
    assert np.exp(-absorbed(read, rays, np.array([0.0, 0.0, 1.0]))).max() < 1e-3


def test_neither_file_is_overwritten(solid, make_field: Callable, tmp_path: Path):
    splats = grid_to_splats(field_to_grid(make_field(solid), 8))
    (tmp_path / "splat_sigma.ply").write_text("mine")
    with pytest.raises(OutputExistsError, match="splat_sigma"):
        write_splats(tmp_path / "splat.ply", splats)
    assert [path.name for path in tmp_path.iterdir()] == ["splat_sigma.ply"]
