import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import trimesh

from vnp_nerf.exporting import PointSet, SurfaceMesh, write_mesh, write_points


@pytest.fixture
def points(rng: np.random.Generator) -> PointSet:
    return PointSet(rng.normal(size=(4, 3)), rng.random((4, 3)), rng.random(4), rng.random(4), draws=2)


def test_what_is_written_is_read_back(points: PointSet, tmp_path: Path, read_ply: Callable):
    columns, notes = read_ply(write_points(tmp_path / "points.ply", points, {"scene": "one"}))
    assert list(columns) == ["x", "y", "z", "red", "green", "blue", "sigma_colour", "sigma_density"]
    np.testing.assert_allclose(np.stack([columns[name] for name in "xyz"], axis=1), points.points, rtol=1e-6)
    np.testing.assert_array_equal(columns["green"], (points.rgb[:, 1] * 255).round())
    np.testing.assert_allclose(columns["sigma_colour"], points.colour_sigma, rtol=1e-6)
    np.testing.assert_allclose(columns["sigma_density"], points.density_sigma, rtol=1e-6)
    assert notes["scene"] == "one"


def test_another_library_reads_the_same(points: PointSet, tmp_path: Path):
    faces = np.array([[0, 1, 2], [2, 1, 3]])
    read = trimesh.load_mesh(write_mesh(tmp_path / "mesh.ply", SurfaceMesh(points, faces)), process=False)
    np.testing.assert_allclose(read.vertices, points.points, rtol=1e-6)
    np.testing.assert_array_equal(read.faces, faces)
    np.testing.assert_array_equal(read.visual.vertex_colors[:, :3], (points.rgb * 255).round())
    data = read.metadata["_ply_raw"]["vertex"]["data"]
    np.testing.assert_allclose(np.ravel(data["sigma_density"]), points.density_sigma, rtol=1e-6)


def test_a_name_cannot_end_the_header(points: PointSet, tmp_path: Path, read_ply: Callable):
    name = "chair\nend_header\nélément"
    columns, notes = read_ply(write_points(tmp_path / "points.ply", points, {"scene": name}))
    assert len(columns["x"]) == 4
    assert json.loads(f'"{notes["scene"]}"'.replace("\\x", "\\u00")) == name
