import numpy as np

from vnp_nerf.exporting import PointSet
from vnp_nerf.frames import Similarity


def test_moving_there_and_back_changes_nothing(world: Similarity, rng: np.random.Generator):
    normals = rng.normal(size=(5, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    before = PointSet(rng.normal(size=(5, 3)), rng.random((5, 3)), rng.random(5), rng.random(5), 4, normals)
    there = before.moved(world)
    back = there.moved(world.inverse())
    np.testing.assert_allclose(back.points, before.points, atol=1e-12)
    np.testing.assert_allclose(back.normals, normals, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(there.normals, axis=1), 1)
    np.testing.assert_allclose(back.density_sigma, before.density_sigma)
    # Lengths shrink by the scale, so that a density per length grows by it.
    np.testing.assert_allclose(there.density_sigma, before.density_sigma / world.scale)
    assert there.colour_sigma is before.colour_sigma
