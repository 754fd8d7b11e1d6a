import numpy as np
import pytest

from vnp_core.errors import DataError
from vnp_nerf.making.mesh import Material, Mesh, flat_normals, join_meshes


def triangles(count, seed=0):
    corners = np.random.default_rng(seed).normal(3.0, 2.0, (count, 3, 3)).astype(np.float32)
    return Mesh(corners, np.zeros(count, np.int64), (Material(),))


def test_unit_ball_touches_the_farthest_vertex_about_the_box_centre():
    points = triangles(50).in_unit_ball().corners.reshape(-1, 3)
    assert np.linalg.norm(points, axis=1).max() == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(points.min(axis=0), -points.max(axis=0), atol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_coordinates_that_are_no_numbers_are_refused(value):
    mesh = triangles(3)
    mesh.corners[1, 2, 0] = value
    with pytest.raises(DataError, match="infinite or no number"):
        mesh.in_unit_ball()


def test_meshes_without_extent_are_refused():
    with pytest.raises(DataError, match="no triangle"):
        triangles(0).in_unit_ball()
    with pytest.raises(DataError, match="one point"):
        Mesh(np.ones((2, 3, 3), np.float32), np.zeros(2, np.int64), (Material(),)).in_unit_ball()


def test_joining_keeps_every_triangle_with_its_material():
    red, blue = Material((1, 0, 0)), Material((0, 0, 1))
    first = Mesh(triangles(2).corners, np.array([0, 0]), (red,))
    second = Mesh(
        triangles(3, 1).corners, np.array([1, 0, 1]), (red, blue), uvs=np.ones((3, 3, 2), np.float32)
    )
    both = join_meshes([first, second])
    assert [both.palette[index].colour for index in both.materials] == [
        red.colour, red.colour, blue.colour, red.colour, blue.colour,
    ]  # fmt: skip
    assert both.normals is None
    np.testing.assert_array_equal(both.uvs[:2], 0)
    np.testing.assert_array_equal(both.uvs[2:], 1)


def test_joining_gives_flat_normals_to_parts_without():
    plain = triangles(2)
    smooth = Mesh(
        triangles(1, 2).corners, np.zeros(1, np.int64), (Material(),), normals=np.ones((1, 3, 3), np.float32)
    )
    np.testing.assert_array_equal(join_meshes([plain, smooth]).normals[:2], flat_normals(plain.corners))


def test_flat_normals_are_perpendicular_unit_vectors_and_zero_for_slivers():
    corners = triangles(20).corners
    corners[3] = corners[3, :1]
    normals = flat_normals(corners)
    lengths = np.linalg.norm(normals[:, 0], axis=1)
    np.testing.assert_allclose(np.delete(lengths, 3), 1, atol=1e-5)
    assert lengths[3] == 0
    np.testing.assert_allclose((normals[:, 0] * (corners[:, 1] - corners[:, 0])).sum(axis=1), 0, atol=1e-4)


def test_rotation_turns_corners_and_normals_alike():
    rotation = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]], np.float32)
    plain = triangles(4)
    mesh = Mesh(plain.corners, plain.materials, plain.palette, normals=flat_normals(plain.corners))
    turned = mesh.rotated(rotation)
    np.testing.assert_allclose(turned.normals, flat_normals(turned.corners), atol=1e-5)
