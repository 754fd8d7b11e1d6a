import numpy as np
import pytest

from vnp_core.errors import ConfigError
from vnp_nerf.making.cameras import Orbit


def poses(seed=0, **options):
    return Orbit(**options).poses(np.random.default_rng(seed))


def test_poses_are_rotations_that_look_at_the_origin():
    for pose in poses(views=30, distance=2.5):
        np.testing.assert_allclose(pose[:3, :3].T @ pose[:3, :3], np.eye(3), atol=1e-12)
        assert np.linalg.det(pose[:3, :3]) == pytest.approx(1)
        np.testing.assert_allclose(pose[:3, 3] - 2.5 * pose[:3, 2], 0, atol=1e-12)
        np.testing.assert_array_equal(pose[3], [0, 0, 0, 1])
        assert pose[2, 1] > 0, "the picture's up must point upward"
        assert pose[2, 0] == 0, "the horizon must be level"


def test_elevations_fill_their_range_evenly():
    heights = np.sort(poses(views=50, lowest=-20, highest=70)[:, 2, 3] / 4)
    low, high = np.sin(np.radians([-20, 70]))
    bands = low + (high - low) * np.arange(51) / 50
    assert (bands[:-1] <= heights).all()
    assert (heights <= bands[1:]).all()


def test_first_views_surround_the_object():
    for seed in range(10):
        position = poses(seed, views=40)[:5, :2, 3]
        azimuth = np.sort(np.arctan2(position[:, 1], position[:, 0]))
        gaps = np.diff(np.append(azimuth, azimuth[0] + 2 * np.pi))
        assert gaps.max() < np.radians(145)


def test_poses_depend_on_the_generator_alone():
    np.testing.assert_array_equal(poses(3), poses(3))
    assert not np.array_equal(poses(3), poses(4))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"views": 0}, "views is 0"),
        ({"distance": 0.5}, "distance is 0.5"),
        ({"field_of_view": 0.0}, "field_of_view is 0.0"),
        ({"lowest": 50.0, "highest": 10.0}, "elevations run from 50.0 to 10.0"),
        ({"highest": 90.0}, "elevations run from -10.0 to 90.0"),
    ],
)
def test_impossible_orbits_are_refused(options, text):
    with pytest.raises(ConfigError, match=text):
        Orbit(**options).validate()
