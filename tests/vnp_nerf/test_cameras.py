import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vnp_core.errors import CameraError
from vnp_nerf.cameras import (
    Cameras,
    colmap_from_opengl,
    look_at,
    opencv_from_opengl,
    opengl_from_colmap,
    opengl_from_opencv,
    orbit_cameras,
    picture_rays,
    pixel_rays,
    project,
)


def random_poses(generator: torch.Generator, count: int) -> torch.Tensor:
    """Proper rotations and positions, float64."""
    axes, _ = torch.linalg.qr(torch.randn(count, 3, 3, dtype=torch.float64, generator=generator))
    axes = axes * torch.linalg.det(axes)[:, None, None]
    return torch.cat([axes, torch.randn(count, 3, 1, dtype=torch.float64, generator=generator)], dim=-1)


def test_a_cubes_corners_land_on_the_pixels_worked_out_by_hand():
    # A camera at (0, 0, 5) with the identity pose looks down on the cube [-1, 1]^3; 40 x 30 pixels, f = 10:
    # the face z = 1 is 4 away (offset 10 / 4 = 2.5 pixels), the face z = -1 is 6 away (offset 10 / 6).
    pose = torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 5]])
    intrinsics = torch.tensor([10.0, 10.0, 20.0, 15.0])
    for x in (-1.0, 1.0):
        for y in (-1.0, 1.0):
            for z, offset in ((1.0, 2.5), (-1.0, 10 / 6)):
                pixel, depth = project(torch.tensor([x, y, z]), pose, intrinsics)
                torch.testing.assert_close(pixel, torch.tensor([20 + x * offset, 15 - y * offset]))
                torch.testing.assert_close(depth, torch.tensor(5 - z))


def test_rays_go_through_pixel_centres():
    # 2 rows, 4 columns, f = 1: the upper left centre is (0.5, 0.5), 1.5 left of and 0.5 above the middle.
    origins, directions = picture_rays(torch.eye(3, 4), torch.tensor([1.0, 1.0, 2.0, 1.0]), 2, 4)
    expected = torch.tensor([-1.5, 0.5, -1.0])
    torch.testing.assert_close(directions[0, 0], expected / expected.norm())
    torch.testing.assert_close(directions[1, 3], torch.tensor([1.5, -0.5, -1.0]) / expected.norm())
    assert directions.shape == (2, 4, 3)
    assert torch.equal(origins, torch.zeros(2, 4, 3))


def test_rays_agree_with_an_explicit_loop(generator):
    pose = random_poses(generator, 1)[0]
    intrinsics = torch.tensor([31.0, 29.0, 7.0, 4.5], dtype=torch.float64)
    _, directions = picture_rays(pose, intrinsics, 5, 9)
    for row in range(5):
        for column in range(9):
            fx, fy, cx, cy = intrinsics.tolist()
            local = np.array([(column + 0.5 - cx) / fx, -(row + 0.5 - cy) / fy, -1.0])
            world = pose[:, :3].numpy() @ (local / np.linalg.norm(local))
            np.testing.assert_allclose(directions[row, column].numpy(), world, atol=1e-12)


def test_projecting_points_of_rays_gives_their_pixels_back(generator):
    poses = random_poses(generator, 6)
    intrinsics = torch.tensor([[50.0, 40.0, 33.0, 20.0]], dtype=torch.float64)
    pixels = 60 * torch.rand(6, 11, 2, dtype=torch.float64, generator=generator)
    origins, directions = pixel_rays(poses[:, None], intrinsics[:, None], pixels)
    distance = 0.1 + 5 * torch.rand(6, 11, 1, dtype=torch.float64, generator=generator)
    back, depth = project(origins + distance * directions, poses[:, None], intrinsics[:, None])
    torch.testing.assert_close(back, pixels)
    forward = -poses[:, None, :, 2]
    torch.testing.assert_close(depth, (distance * directions * forward).sum(-1))


def test_depth_is_negative_behind_the_camera_and_pixels_stay_finite_everywhere():
    points = torch.tensor([[0.0, 0, 1], [0, 0, 0], [0, 0, -1]])
    pixels, depth = project(points, torch.eye(3, 4), torch.tensor([10.0, 10, 5, 5]))
    assert depth.tolist() == [-1, 0, 1]
    assert pixels.isfinite().all()


@given(st.integers(0, 2**32), st.sampled_from([torch.float32, torch.float64]))
@settings(max_examples=40, deadline=None)
def test_opengl_opencv_and_colmap_poses_round_trip(seed, dtype):
    poses = random_poses(torch.Generator().manual_seed(seed), 3).to(dtype)
    torch.testing.assert_close(opengl_from_opencv(opencv_from_opengl(poses)), poses)
    quaternion, translation = colmap_from_opengl(poses)
    torch.testing.assert_close(quaternion.norm(dim=-1), torch.ones(3, dtype=dtype))
    assert (quaternion[:, 0] >= 0).all()
    torch.testing.assert_close(opengl_from_colmap(quaternion, translation), poses, atol=2e-5, rtol=0)


def test_half_turns_survive_colmaps_quaternions():
    for axis in range(3):
        signs = -torch.ones(3)
        signs[axis] = 1
        pose = torch.cat([torch.diag(signs), torch.zeros(3, 1)], dim=1)
        torch.testing.assert_close(opengl_from_colmap(*colmap_from_opengl(pose)), pose)


def test_opencv_and_colmap_see_what_opengl_sees(generator):
    # The oracles are the textbook projections: p_camera = R p + t with x right, y down and z ahead.
    pose = look_at([3.0, 1.0, 2.0], [0.2, 0.1, 0.0]).double()
    intrinsics = torch.tensor([50.0, 40.0, 33.0, 20.0], dtype=torch.float64)
    points = 0.5 * torch.randn(20, 3, dtype=torch.float64, generator=generator)
    pixels, depth = project(points, pose, intrinsics)
    opencv = opencv_from_opengl(pose)
    local = (points - opencv[:, 3]) @ opencv[:, :3]
    torch.testing.assert_close(local[:, 2], depth)
    torch.testing.assert_close(local[:, :2] / local[:, 2:] * intrinsics[:2] + intrinsics[2:], pixels)
    (w, x, y, z), t = colmap_from_opengl(pose)
    axis, angle = torch.stack([x, y, z]), 2 * torch.atan2(torch.stack([x, y, z]).norm(), w)
    axis = axis / axis.norm()
    turned = points * angle.cos() + torch.linalg.cross(axis.expand_as(points), points) * angle.sin()
    turned = turned + axis * (points @ axis)[:, None] * (1 - angle.cos())
    torch.testing.assert_close(turned + t, local, atol=1e-6, rtol=0)


def test_look_at_is_upright_and_centres_its_target():
    pose = look_at([3.0, -2.0, 1.5], [0.5, 0.5, 0.0])
    pixel, depth = project(torch.tensor([0.5, 0.5, 0.0]), pose, torch.tensor([10.0, 10, 8, 6]))
    torch.testing.assert_close(pixel, torch.tensor([8.0, 6.0]))
    torch.testing.assert_close(depth, torch.tensor([2.5, -2.5, 1.5]).norm())
    above, _ = project(torch.tensor([0.5, 0.5, 0.1]), pose, torch.tensor([10.0, 10, 8, 6]))
    assert above[1] < 6
    torch.testing.assert_close(above[0], torch.tensor(8.0))
    assert torch.linalg.det(pose[:, :3]) == pytest.approx(1)


@pytest.mark.parametrize("up", [(0.0, 0, 1), (0, 1, 0), (1, 0, 0)])
def test_look_at_along_the_up_direction_is_still_a_camera(up):
    pose = look_at([2 * value for value in up], up=up)
    Cameras(pose[None], torch.tensor([[1.0, 1, 1, 1]]), torch.tensor([[2, 2]])).validate()


def test_an_orbit_stands_where_it_was_told_and_sees_its_field_of_view():
    cameras = orbit_cameras(8, 4.0, 30.0, 60.0, 48, 64)
    cameras.validate()
    torch.testing.assert_close(cameras.positions.norm(dim=-1), torch.full((8,), 4.0))
    torch.testing.assert_close(cameras.positions[:, 2], torch.full((8,), 2.0))
    torch.testing.assert_close(cameras.positions[0], torch.tensor([2 * math.sqrt(3), 0, 2]))
    torch.testing.assert_close(cameras.forwards, -cameras.positions / 4)
    _, left = pixel_rays(cameras.camera_to_world[0], cameras.intrinsics[0], torch.tensor([0.0, 24.0]))
    assert math.degrees(torch.acos(left @ cameras.forwards[0])) == pytest.approx(30.0, abs=1e-3)


def test_scaled_cameras_see_the_same_in_other_pixels():
    cameras = orbit_cameras(2, 4.0, 30.0, 60.0, 48, 64)
    scaled = cameras.scaled_to(12, 32)
    _, before = pixel_rays(cameras.camera_to_world[1], cameras.intrinsics[1], torch.tensor([10.0, 40.0]))
    _, after = pixel_rays(scaled.camera_to_world[1], scaled.intrinsics[1], torch.tensor([5.0, 10.0]))
    torch.testing.assert_close(before, after)
    assert scaled.sizes.tolist() == [[12, 32]] * 2


def test_cameras_framed_anew_keep_the_shape_of_pixels():
    cameras = orbit_cameras(2, 4.0, 30.0, 60.0, 48, 64)
    cameras.intrinsics[:, 2] += 3
    wide = cameras.framed_as(24, 50)
    assert wide.sizes.tolist() == [[24, 50]] * 2
    torch.testing.assert_close(wide.intrinsics[:, 0], wide.intrinsics[:, 1])
    # Half as many rows; 32 columns show what was seen before, and 9 more lie at each side.
    for x, y in ((0.0, 0.0), (64.0, 48.0), (10.0, 40.0)):
        before = pixel_rays(cameras.camera_to_world[1], cameras.intrinsics[1], torch.tensor([x, y]))
        after = pixel_rays(wide.camera_to_world[1], wide.intrinsics[1], torch.tensor([x / 2 + 9, y / 2]))
        torch.testing.assert_close(before, after)
    same, scaled = cameras.framed_as(12, 16), cameras.scaled_to(12, 16)
    torch.testing.assert_close(same.intrinsics, scaled.intrinsics)


def test_cameras_are_chosen_by_number_list_slice_and_mask():
    cameras = orbit_cameras(5, 4.0, 30.0, 60.0, 8, 8)
    assert len(cameras[2]) == 1
    assert torch.equal(cameras[-1].camera_to_world[0], cameras.camera_to_world[4])
    assert torch.equal(cameras[[3, 3, 0]].camera_to_world, cameras.camera_to_world[[3, 3, 0]])
    assert len(cameras[1:4]) == 3
    assert len(cameras[torch.tensor([True, False, True, False, False])]) == 2
    assert len(cameras[[]]) == 0
    with pytest.raises(IndexError):
        cameras[5]


def broken(part: str, index: tuple[int, ...], value: float) -> Cameras:
    cameras = orbit_cameras(3, 4.0, 30.0, 60.0, 8, 8)
    parts = {
        "camera_to_world": cameras.camera_to_world,
        "intrinsics": cameras.intrinsics,
        "sizes": cameras.sizes,
    }
    parts[part] = parts[part].clone()
    parts[part][index] = value
    return Cameras(**parts)


@pytest.mark.parametrize(
    ("part", "index", "value", "message"),
    [
        ("camera_to_world", (1, 0, 3), math.nan, "NaN"),
        ("camera_to_world", (1, 2, 1), math.inf, "NaN or infinity"),
        ("camera_to_world", (1, 2, 1), 0.95, "no rotation"),
        ("intrinsics", (1, 0), 0.0, "not positive"),
        ("intrinsics", (1, 1), -10.0, "not positive"),
        ("intrinsics", (1, 2), math.nan, "NaN"),
        ("sizes", (1, 0), 0, "no pixels"),
    ],
)
def test_broken_cameras_are_refused_by_name(part, index, value, message):
    with pytest.raises(CameraError, match=message) as caught:
        broken(part, index, value).validate("the scene", ["a", "b", "c"])
    assert "the scene: view b" in str(caught.value)


def test_a_reflection_is_refused_and_digits_of_rounding_are_not():
    cameras = orbit_cameras(3, 4.0, 30.0, 60.0, 8, 8)
    flipped = Cameras(
        cameras.camera_to_world * torch.tensor([-1.0, 1, 1, 1]), cameras.intrinsics, cameras.sizes
    )
    with pytest.raises(CameraError, match="reflection"):
        flipped.validate()
    rounded = (cameras.camera_to_world * 1e4).round() / 1e4
    Cameras(rounded, cameras.intrinsics, cameras.sizes).validate()
