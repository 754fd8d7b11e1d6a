from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import trimesh

from vnp_core.errors import OutputExistsError
from vnp_nerf.exporting import field_to_grid, grid_to_mesh, write_glb
from vnp_nerf.exporting.glb import linear_bytes
from vnp_nerf.frames import Similarity
from vnp_nerf.making.meshes import srgb_from_linear

SIDE = 40
VOXEL = 2 * 1.05 / SIDE / 0.04
"""World length of a cell."""


def test_a_solid_of_the_world_comes_back_within_a_voxel(
    solid, make_field: Callable, world: Similarity, tmp_path: Path
):
    field = make_field(solid)
    grid = field_to_grid(field, SIDE, draws=(field, make_field(solid, density=700.0)))
    mesh = grid_to_mesh(grid).moved(world.inverse())
    scene = trimesh.load_scene(write_glb(tmp_path / "mesh.glb", mesh, {"latents": "their mean"}))
    (read,) = scene.geometry.values()
    assert float(solid.distance(read.vertices).abs().max()) < VOXEL
    assert float(solid.extents(read.vertices).abs().max()) < VOXEL
    assert read.volume == pytest.approx(solid.volume(), rel=0.03)
    assert read.is_watertight
    colours = read.visual.vertex_attributes["color"][:, :3] / 255
    np.testing.assert_allclose(
        srgb_from_linear(colours), np.tile((0.8, 0.4, 0.2), (len(colours), 1)), atol=0.01
    )
    sigma = np.ravel(read.vertex_attributes["_SIGMA_DENSITY"])
    np.testing.assert_allclose(sigma, np.std([500, 700], ddof=1) * world.scale, rtol=1e-5)
    assert not read.vertex_attributes["_SIGMA_COLOUR"].any()
    assert read.metadata["latents"] == "their mean"
    assert "2 draws" in read.metadata["sigma"]


def test_colours_are_linear_as_gltf_wants_them():
    srgb = np.linspace(0, 1, 30).reshape(10, 3)
    np.testing.assert_allclose(srgb_from_linear(linear_bytes(srgb) / 255), srgb, atol=0.03)
    np.testing.assert_array_equal(linear_bytes(np.array([[0.0, 0.5, 1.0]])), [[0, 55, 255]])


def test_nothing_is_overwritten(solid, make_field: Callable, tmp_path: Path):
    mesh = grid_to_mesh(field_to_grid(make_field(solid), 8))
    before = write_glb(tmp_path / "mesh.glb", mesh).read_bytes()
    with pytest.raises(OutputExistsError):
        write_glb(tmp_path / "mesh.glb", mesh)
    assert (tmp_path / "mesh.glb").read_bytes() == before
