import numpy as np
import pytest

from vnp_core.errors import ConfigError
from vnp_nerf.making.shapes import BUILDERS, ShapeSource, identities, load_shape, split_identities


@pytest.mark.parametrize("category", BUILDERS)
def test_every_object_is_a_sound_mesh_that_stands_upright(category):
    for index in range(25):
        mesh = load_shape(ShapeSource(category, 5, index))
        assert np.isfinite(mesh.corners).all()
        np.testing.assert_allclose(np.linalg.norm(mesh.normals, axis=-1), 1, atol=1e-4)
        assert (mesh.materials < len(mesh.palette)).all()
        assert all(0 <= value <= 1 for material in mesh.palette for value in material.colour)
        assert 50 < len(mesh) < 40_000


@pytest.mark.parametrize("category", BUILDERS)
def test_one_source_gives_one_mesh_and_others_give_others(category):
    first, again, other, reseeded = (
        load_shape(ShapeSource(category, seed, index)) for seed, index in ((0, 1), (0, 1), (0, 2), (1, 1))
    )
    np.testing.assert_array_equal(first.corners, again.corners)
    assert first.palette == again.palette
    for different in (other, reseeded):
        assert first.corners.shape != different.corners.shape or not np.allclose(
            first.corners, different.corners
        )


@pytest.mark.parametrize("category", BUILDERS)
def test_objects_vary_in_proportions_and_colour(category):
    meshes = [load_shape(ShapeSource(category, 0, index)) for index in range(40)]
    extents = np.array([np.ptp(mesh.corners.reshape(-1, 3), axis=0) for mesh in meshes])
    shape = extents / np.linalg.norm(extents, axis=1, keepdims=True)
    assert shape.std(axis=0).max() > 0.03
    mean_colours = np.array(
        [
            np.average([m.colour for m in mesh.palette], axis=0, weights=np.bincount(mesh.materials))
            for mesh in meshes
        ]
    )
    assert mean_colours.std(axis=0).min() > 0.05


def test_cars_drive_along_x_and_their_windscreens_face_forward():
    for index in range(20):
        mesh = load_shape(ShapeSource("cars", 2, index))
        points = mesh.corners.reshape(-1, 3)
        extent = np.ptp(points, axis=0)
        assert extent[0] > extent[1] > 0.9
        assert points[:, 2].min() == pytest.approx(0, abs=0.03)
        lamps = [
            i for i, m in enumerate(mesh.palette) if m.colour[0] >= 0.97 and 0.3 < m.colour[2] < m.colour[1]
        ]
        red = [i for i, m in enumerate(mesh.palette) if m.colour[0] > 0.55 and m.colour[1:] == (0.05, 0.06)]
        assert lamps
        assert red
        front, rear = (mesh.corners[np.isin(mesh.materials, which)][..., 0] for which in (lamps, red))
        assert front.max() > 0 > rear.max()


def test_more_objects_move_none_between_splits():
    few, many = (split_identities(identities("cars", count)) for count in (60, 1000))
    for split in ("train", "val", "test"):
        assert set(few[split]) <= set(many[split])
    assert {name: len(members) for name, members in many.items()} == {"train": 860, "val": 20, "test": 120}


def test_unknown_categories_and_counts_are_refused():
    with pytest.raises(ConfigError, match="no category 'boats'; known: cars, chairs, lamps, tables"):
        identities("boats", 3)
    with pytest.raises(ConfigError, match="count is 0"):
        identities("cars", 0)
