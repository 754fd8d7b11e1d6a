from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from vnp_core.errors import ConfigError, OutputExistsError
from vnp_nerf.exporting import field_to_grid, grid_to_mesh, mesh_to_points, write_mesh, write_points
from vnp_nerf.frames import Similarity

SIDE = 40
VOXEL = 2 * 1.05 / SIDE / 0.04
"""World length of a cell."""


def enclosed(vertices: np.ndarray, faces: np.ndarray) -> float:
    """Volume of a closed mesh, by the divergence theorem; negative if its faces look inwards."""
    first, second, third = (vertices[faces[:, corner]].astype(np.float64) for corner in range(3))
    return float((first * np.cross(second, third)).sum() / 6)


@pytest.fixture
def mesh(solid, make_field: Callable, world: Similarity):
    field, other = make_field(solid), make_field(solid, density=700.0, colour=(0.8, 0.4, 0.4))
    grid = field_to_grid(field, SIDE, draws=(field, other))
    return grid_to_mesh(grid).moved(world.inverse())


def test_a_solid_of_the_world_comes_back_within_a_voxel(mesh, solid, tmp_path: Path, read_ply: Callable):
    read, notes = read_ply(write_mesh(tmp_path / "deep" / "mesh.ply", mesh, {"latents": "their mean"}))
    vertices = np.stack([read[name] for name in "xyz"], axis=1)
    assert float(solid.distance(vertices).abs().max()) < VOXEL
    assert float(solid.extents(vertices).abs().max()) < VOXEL
    assert enclosed(vertices, read["faces"]) == pytest.approx(solid.volume(), rel=0.03)
    assert notes["latents"] == "their mean"
    assert "2 draws" in notes["sigma"]


def test_every_edge_of_the_surface_has_two_sides(mesh):
    edges = np.concatenate([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]], mesh.faces[:, [2, 0]]])
    there = set(map(tuple, edges.tolist()))
    assert len(there) == len(edges)
    assert there == {(end, start) for start, end in there}


def test_normals_point_out_of_the_solid(mesh, solid):
    points, normals = mesh.vertices.points, mesh.vertices.normals
    reach = 0.5 * VOXEL * normals
    rise = (solid.distance(points + reach) - solid.distance(points - reach)) / VOXEL  # 1 if straight out
    assert float(rise.min()) > 0  # steps of the cells turn some normals, but none inwards
    assert float(rise.mean()) > 0.9


def test_vertices_have_the_objects_colour_and_sigma_and_nothing_of_the_empty_cells(
    mesh, tmp_path: Path, read_ply: Callable, world: Similarity
):
    read, _ = read_ply(write_mesh(tmp_path / "mesh.ply", mesh))
    for name, value in {"red": 0.8, "green": 0.4, "blue": 0.2}.items():
        assert set(read[name].tolist()) == {round(value * 255)}
    blue = np.std([0.2, 0.4], ddof=1)
    np.testing.assert_allclose(read["sigma_colour"], blue / np.sqrt(3), rtol=1e-5)
    np.testing.assert_allclose(read["sigma_density"], np.std([500, 700], ddof=1) * world.scale, rtol=1e-5)


def test_an_object_that_fills_its_ball_is_closed_all_the_same(make_field: Callable, solid, world: Similarity):
    huge = type(solid)(solid.centre, 1e6, solid.axes)
    grid = field_to_grid(make_field(huge), 12, radius=0.5)
    mesh = grid_to_mesh(grid)
    assert enclosed(mesh.vertices.points, mesh.faces) == pytest.approx(np.pi / 6, rel=0.1)


def test_points_lie_on_the_surface_and_all_over_it(
    mesh, solid, tmp_path: Path, read_ply: Callable, rng: np.random.Generator
):
    read, notes = read_ply(write_points(tmp_path / "points.ply", mesh_to_points(mesh, 4000, rng)))
    points = np.stack([read[name] for name in "xyz"], axis=1)
    normals = np.stack([read["n" + name] for name in "xyz"], axis=1)
    assert len(points) == 4000
    assert float(solid.distance(points).abs().max()) < VOXEL
    assert float(solid.extents(points).abs().max()) < VOXEL
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-5)
    # Each octant about the centre has an eighth of the area of a solid that is symmetric.
    octants = (solid.local(torch.from_numpy(points)) > 0).int().numpy() @ [1, 2, 4]
    assert abs(np.bincount(octants, minlength=8) / 4000 - 1 / 8).max() < 0.03
    assert set(read["red"].tolist()) == {204}
    assert "2 draws" in notes["sigma"]


def test_the_same_seed_gives_the_same_points(mesh):
    same = [mesh_to_points(mesh, 50, np.random.default_rng(3)).points for _ in range(2)]
    assert np.array_equal(*same)


def test_no_points_are_refused(mesh, rng: np.random.Generator):
    with pytest.raises(ConfigError, match="1 or more"):
        mesh_to_points(mesh, 0, rng)


def test_nothing_is_overwritten_and_nothing_left_behind(mesh, tmp_path: Path):
    (tmp_path / "mesh.ply").write_text("mine")
    with pytest.raises(OutputExistsError, match=r"mesh\.ply exists already"):
        write_mesh(tmp_path / "mesh.ply", mesh)
    assert (tmp_path / "mesh.ply").read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 1
