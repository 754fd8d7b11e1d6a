"""Poses and a lens in each way that a notebook may hold them; anything else is refused with advice."""

import math

import numpy as np
import pytest
import torch

from vnp_core.errors import CameraError, ConfigError, SceneError, ViewCountError
from vnp_nerf.cameras import Cameras, orbit_cameras, picture_rays
from vnp_nerf.frames import BALL_ROOM
from vnp_nerf.given_cameras import object_frame, pinhole_cameras

SIZE = (30, 40)


@pytest.fixture
def orbit() -> Cameras:
    return orbit_cameras(4, 3.0, 20.0, 50.0, *SIZE)


def test_every_way_to_say_a_lens_gives_the_same_cameras(orbit: Cameras):
    focal = 20 / math.tan(math.radians(25))
    matrix = [[focal, 0, 20], [0, focal, 15], [0, 0, 1]]
    homogeneous = torch.cat(
        [orbit.camera_to_world, torch.tensor([0.0, 0, 0, 1]).expand(4, 1, 4)], dim=1
    ).numpy()
    ways = [
        pinhole_cameras(orbit.camera_to_world, SIZE, focal=focal),
        pinhole_cameras(homogeneous, [SIZE] * 4, focal=(focal, focal)),
        pinhole_cameras(list(homogeneous), SIZE, field_of_view=50),
        pinhole_cameras(homogeneous.tolist(), SIZE, intrinsics=[focal, focal, 20, 15]),
        pinhole_cameras(orbit.camera_to_world, SIZE, intrinsics=np.array(matrix)),
        pinhole_cameras(orbit.camera_to_world, SIZE, intrinsics=torch.tensor([matrix] * 4)),
    ]
    for cameras in ways:
        assert torch.allclose(cameras.camera_to_world, orbit.camera_to_world)
        assert torch.allclose(cameras.intrinsics, orbit.intrinsics)
        assert cameras.sizes.tolist() == [list(SIZE)] * 4


def test_one_matrix_is_one_camera(orbit: Cameras):
    assert len(pinhole_cameras(orbit.camera_to_world[1], SIZE, focal=30)) == 1


def test_a_field_of_view_spans_the_width_of_each_picture(orbit: Cameras):
    cameras = pinhole_cameras(orbit.camera_to_world[:2], [(10, 20), (10, 40)], field_of_view=90)
    assert torch.allclose(cameras.intrinsics[:, 0], torch.tensor([10.0, 20.0]))


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({}, ConfigError, "one of them; given: none"),
        ({"focal": 3, "field_of_view": 4}, ConfigError, "given: focal and field_of_view"),
        ({"field_of_view": 180}, CameraError, "between 0 and 180"),
        ({"focal": -2}, CameraError, "focal length is not positive"),
        ({"focal": (1, 2, 3)}, CameraError, r"\(fx, fy\)"),
        ({"focal": "long"}, CameraError, "focal must be numbers"),
        ({"intrinsics": [1, 2, 3]}, CameraError, r"shape \[3\]"),
        ({"intrinsics": [[5, 1, 2], [0, 5, 2], [0, 0, 1]]}, CameraError, "without skew"),
    ],
)
def test_an_impossible_lens_is_refused(orbit: Cameras, changes: dict, error: type[Exception], words: str):
    with pytest.raises(error, match=words):
        pinhole_cameras(orbit.camera_to_world, SIZE, **changes)


def test_matrices_that_are_no_poses_are_refused(orbit: Cameras):
    transposed = torch.eye(4).repeat(2, 1, 1)
    transposed[:, 3, :3] = 2.0
    with pytest.raises(CameraError, match="transposed"):
        pinhole_cameras(transposed, SIZE, focal=30)
    with pytest.raises(CameraError, match=r"shape \[2, 2\]"):
        pinhole_cameras([[1, 2], [3, 4]], SIZE, focal=30)
    with pytest.raises(CameraError, match="no rotation"):
        pinhole_cameras(2 * orbit.camera_to_world, SIZE, focal=30)
    with pytest.raises(CameraError, match="size is"):
        pinhole_cameras(orbit.camera_to_world, [SIZE] * 3, focal=30)


def test_the_ball_is_found_where_the_cameras_look(orbit: Cameras):
    moved = Cameras(orbit.camera_to_world.clone(), orbit.intrinsics, orbit.sizes)
    moved.camera_to_world[:, :, 3] += torch.tensor([5.0, -2.0, 1.0])
    frame = object_frame(moved)
    assert torch.allclose(frame.apply(torch.tensor([[5.0, -2.0, 1.0]])), torch.zeros(1, 3), atol=1e-5)
    given = object_frame(moved[0], centre=(5, -2, 1), radius=0.5)
    assert given.scale == 2
    at_origin = object_frame(orbit[0], "canonical")
    assert torch.equal(at_origin.rotation, torch.eye(3, dtype=torch.float64))
    assert not at_origin.translation.any()


def test_masks_tell_the_ball_where_the_cameras_look_past_it(orbit: Cameras):
    """A ball of radius .3 beside the point that all cameras look at."""
    around, centre = orbit_cameras(12, 3.0, 20.0, 50.0, 96, 96), torch.tensor([0.3, 0.2, 0.1])
    masks = []
    for pose, lens in zip(around.camera_to_world, around.intrinsics, strict=True):
        origins, directions = picture_rays(pose, lens, 96, 96)
        masks.append(torch.linalg.cross(origins - centre, directions).norm(dim=-1) < 0.3)
    frame = object_frame(around, masks=masks)
    assert frame.apply(centre[None]).norm() < 0.05
    assert 1 / frame.scale == pytest.approx(0.3 * BALL_ROOM, rel=0.03)
    assert object_frame(around).apply(centre[None]).norm() > 0.2
    about = object_frame(around, centre=(0.3, 0.2, 0.1), masks=masks)
    assert about.apply(centre[None]).norm() < 1e-6
    assert 1 / about.scale == pytest.approx(0.3 * BALL_ROOM, rel=0.03)
    stated = object_frame(around, centre=(0, 0, 0), radius=0.5, masks=masks)
    assert stated.scale == 2
    assert object_frame(around, "canonical", masks=masks).scale == object_frame(around, "canonical").scale


def test_one_capture_camera_needs_the_ball_and_a_ball_needs_numbers(orbit: Cameras):
    with pytest.raises(ViewCountError, match=r"centre=\(x, y, z\).*canonical"):
        object_frame(orbit[0])
    with pytest.raises(SceneError, match="three finite numbers"):
        object_frame(orbit, centre=(0, 0, float("nan")))
    with pytest.raises(SceneError, match="radius"):
        object_frame(orbit, radius=-1)
    with pytest.raises(ConfigError, match="frame is 'world'"):
        object_frame(orbit, "world")  # type: ignore[arg-type]
