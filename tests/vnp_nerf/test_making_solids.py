import numpy as np
import pytest

from vnp_nerf.making.solids import Solids, at_height, rounded_rectangle, superellipse, turned

RED = (1.0, 0.0, 0.0)


def area(mesh):
    edges = mesh.corners[:, 1:] - mesh.corners[:, :1]
    return np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1).sum() / 2


def built(name, *args, **options):
    solids = Solids()
    getattr(solids, name)(*args, **options)
    return solids.mesh()


def test_box_has_its_surface_and_axis_aligned_normals():
    mesh = built("box", (1, 2, 3), (2, 3, 4), RED)
    assert area(mesh) == pytest.approx(2 * (6 + 8 + 12), rel=1e-5)
    np.testing.assert_allclose(np.abs(mesh.normals).max(axis=-1), 1, atol=1e-5)
    np.testing.assert_allclose(mesh.corners.reshape(-1, 3).mean(axis=0), (1, 2, 3), atol=0.4)


def test_cylinder_has_its_surface_and_smooth_sides_with_a_sharp_rim():
    mesh = built("cylinder", (0, 0, 0), 0.5, 2.0, RED)
    assert area(mesh) == pytest.approx(2 * np.pi * 0.5 * 2 + 2 * np.pi * 0.25, rel=0.02)
    upright = np.abs(mesh.normals[..., 2])
    assert ((upright < 1e-5) | (upright > 1 - 1e-5)).all()
    side = upright[:, 0] < 0.5
    outward = mesh.corners[side][..., :2] / 0.5
    np.testing.assert_allclose(np.abs((mesh.normals[side][..., :2] * outward).sum(axis=-1)), 1, atol=0.01)


def test_ellipsoid_normals_point_along_the_gradient():
    mesh = built("ellipsoid", (0, 0, 0), (1.0, 2.0, 1.5), RED)
    gradient = mesh.corners / np.array([1.0, 4.0, 2.25])
    gradient /= np.linalg.norm(gradient, axis=-1, keepdims=True)
    assert np.abs((gradient * mesh.normals).sum(axis=-1)).min() > 0.95


def test_tube_keeps_its_radius_along_a_bent_path():
    path = np.column_stack([np.sin(np.linspace(0, 2, 30)), np.cos(np.linspace(0, 2, 30)), np.zeros(30)])
    points = built("tube", path, 0.1, RED, segments=16).corners.reshape(-1, 3)
    to_path = np.linalg.norm(points[:, None] - path, axis=-1).min(axis=1)
    assert to_path.max() == pytest.approx(0.1, abs=5e-3)


def test_solids_that_touch_do_not_blend_their_normals():
    solids = Solids(crease=180.0)
    ring = superellipse(1, 1, 2, 12)
    solids.loft(np.stack([at_height(ring, 0), at_height(ring, 1)]), RED, capped=False)
    alone = solids.mesh().normals
    solids.loft(np.stack([at_height(ring, 1), at_height(ring * 0.2, 1)]), RED, capped=False)
    np.testing.assert_array_equal(solids.mesh().normals[: len(alone)], alone)


def test_colours_make_up_the_palette_once():
    solids = Solids()
    for colour in (RED, (0.0, 1.0, 0.0), RED):
        solids.box((0, 0, 0), (1, 1, 1), colour)
    mesh = solids.mesh()
    assert len(mesh.palette) == 2
    assert np.bincount(mesh.materials).tolist() == [2 * len(mesh) // 3, len(mesh) // 3]


def test_outlines_stay_within_their_size():
    for outline in (rounded_rectangle(2, 1, 0.3), rounded_rectangle(2, 1, 0), superellipse(2, 1, 4)):
        np.testing.assert_allclose(np.abs(outline).max(axis=0), [1, 0.5], rtol=0.03)


def test_turns_are_right_handed():
    np.testing.assert_allclose(turned(90, "z") @ [1, 0, 0], [0, 1, 0], atol=1e-12)
    np.testing.assert_allclose(turned(90, "x") @ [0, 1, 0], [0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(turned(90, "y") @ [0, 0, 1], [1, 0, 0], atol=1e-12)
