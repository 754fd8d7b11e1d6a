import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vnp_core.errors import OutputExistsError
from vnp_nerf.exporting import field_to_grid, grid_to_voxels, write_voxels
from vnp_nerf.frames import Similarity

SIDE = 40
VOXEL = 2 * 1.05 / SIDE / 0.04
"""World length of a cell."""


def test_a_solid_of_the_world_comes_back_within_a_voxel(
    solid, make_field: Callable, world: Similarity, tmp_path: Path
):
    field = make_field(solid)
    grid = field_to_grid(field, SIDE, draws=(field, make_field(solid, density=700.0)))
    voxels = grid_to_voxels(grid).moved(world.inverse())
    path = write_voxels(tmp_path / "voxels.npz", voxels, {"frame": "world"})
    with np.load(path, allow_pickle=False) as read:
        indices, to_frame = read["indices"], read["to_frame"]
        assert (indices >= 0).all()
        assert (indices < read["shape"]).all()
        centres = indices @ to_frame[:3, :3].T + to_frame[:3, 3]
        np.testing.assert_allclose(centres, voxels.centres.points, atol=1e-4)
        assert float(solid.distance(centres).max()) <= 1e-4
        assert float(solid.extents(centres).abs().max()) < VOXEL
        filled = len(indices) * np.linalg.det(to_frame[:3, :3])
        assert filled == pytest.approx(solid.volume(), rel=0.03)
        assert np.cbrt(np.linalg.det(to_frame[:3, :3])) == pytest.approx(VOXEL)
        np.testing.assert_allclose(read["density"], 500 * world.scale, rtol=1e-6)
        np.testing.assert_allclose(read["sigma_density"], np.std([500, 700], ddof=1) * world.scale, rtol=1e-5)
        assert not read["sigma_colour"].any()
        assert (read["rgb"] == (204, 102, 51)).all()
        notes = json.loads(str(read["notes"]))
    assert notes["frame"] == "world"
    assert "2 draws" in notes["sigma"]


def test_nothing_is_overwritten(solid, make_field: Callable, tmp_path: Path):
    voxels = grid_to_voxels(field_to_grid(make_field(solid), 8))
    first = write_voxels(tmp_path / "voxels.npz", voxels).read_bytes()
    with pytest.raises(OutputExistsError):
        write_voxels(tmp_path / "voxels.npz", voxels)
    assert (tmp_path / "voxels.npz").read_bytes() == first
    assert write_voxels(tmp_path / "again.npz", voxels).read_bytes() == first  # no clock in the file
