import numpy as np
import pytest
import trimesh

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


def test_cameras_look_aside_by_the_angle_and_roll_by_less_than_theirs():
    straight, turned = poses(views=200), poses(views=200, aside=12, roll=30)
    np.testing.assert_array_equal(turned[:, :, 3], straight[:, :, 3])
    sideways, rolls = [], []
    for before, after in zip(straight[:, :3, :3], turned[:, :3, :3], strict=True):
        np.testing.assert_allclose(after.T @ after, np.eye(3), atol=1e-12)
        assert np.linalg.det(after) == pytest.approx(1)
        turn = before.T @ after
        assert np.degrees(np.arccos(turn[2, 2])) == pytest.approx(12)
        sideways.append(np.arctan2(turn[1, 2], turn[0, 2]))
        # What is left once the shortest turn to where it looks is undone is about the optical axis.
        axis = np.array([-turn[1, 2], turn[0, 2], 0]) / np.sin(np.radians(12))
        shortest = trimesh.transformations.rotation_matrix(np.radians(12), axis)[:3, :3]
        left = shortest.T @ turn
        np.testing.assert_allclose(left[2], [0, 0, 1], atol=1e-9)
        rolls.append(np.degrees(np.arctan2(left[1, 0], left[0, 0])))
    assert 25 < np.abs(rolls).max() <= 30
    assert np.histogram(sideways, 4, (-np.pi, np.pi))[0].min() > 25
    assert np.histogram(rolls, 4, (-30, 30))[0].min() > 25


def test_only_cameras_of_the_usual_framing_frame_the_usual_ball():
    assert Orbit(views=7, lowest=0, highest=20).has_usual_framing
    for other in ({"aside": 1.0}, {"roll": 1.0}, {"distance": 5.0}, {"field_of_view": 40.0}):
        assert not Orbit(**other).has_usual_framing


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"views": 0}, "views is 0"),
        ({"distance": 0.5}, "distance is 0.5"),
        ({"field_of_view": 0.0}, "field_of_view is 0.0"),
        ({"lowest": 50.0, "highest": 10.0}, "elevations run from 50.0 to 10.0"),
        ({"highest": 90.0}, "elevations run from -10.0 to 90.0"),
        ({"aside": 90.0}, "look 90.0 degrees aside"),
        ({"roll": -1.0}, "rolled by up to -1.0"),
    ],
)
def test_impossible_orbits_are_refused(options, text):
    with pytest.raises(ConfigError, match=text):
        Orbit(**options).validate()
