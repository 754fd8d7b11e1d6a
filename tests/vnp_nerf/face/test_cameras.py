import torch
from nerfstudio.cameras.camera_paths import get_path_from_json

from vnp_nerf.cameras import orbit_cameras, picture_rays
from vnp_nerf.face.cameras import (
    camera_path,
    elevation_of,
    nerfstudio_cameras,
    spiral_cameras,
    turntable_cameras,
)


def test_nerfstudio_casts_the_same_rays_as_we_do() -> None:
    ours = orbit_cameras(3, 4.0, 20.0, 40.0, 5, 8)
    theirs = nerfstudio_cameras(ours)
    for view in range(3):
        bundle = theirs.generate_rays(view, keep_shape=True)
        origins, directions = picture_rays(ours.camera_to_world[view], ours.intrinsics[view], 5, 8)
        torch.testing.assert_close(bundle.origins, origins)
        torch.testing.assert_close(bundle.directions, directions)


def test_a_spiral_looks_at_the_ball_from_all_sides_and_wastes_no_pixels() -> None:
    cameras = spiral_cameras(24, 64, 48)
    towards = -cameras.positions / cameras.positions.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(cameras.forwards, towards, atol=1e-5, rtol=0)
    probes = torch.nn.functional.normalize(
        torch.randn(500, 3, generator=torch.Generator().manual_seed(0)), dim=-1
    )
    nearest = (probes @ -towards.T).amax(dim=-1).acos().rad2deg()
    assert float(nearest.max()) < 40  # 24 equal caps that tile a sphere have a radius of 23.6 degrees
    steps = (towards[1:] * towards[:-1]).sum(-1).acos().rad2deg()
    assert float(steps.max()) < 75
    # The ball of radius 1.1 touches the border of the smaller side: sin(half field) = 1.1 / distance.
    half_field = torch.atan(24 / cameras.intrinsics[:, 0])
    torch.testing.assert_close(half_field.sin() * cameras.positions.norm(dim=-1), torch.full((24,), 1.1))


def test_a_turntable_keeps_the_elevation_of_the_views_it_stands_in_for() -> None:
    views = orbit_cameras(5, 4.0, 25.0, 40.0, 8, 8)
    turntable = turntable_cameras(12, elevation_of(views), 16, 16)
    assert abs(elevation_of(turntable) - 25) < 1e-3
    assert abs(elevation_of(views) - 25) < 1e-3


def test_a_camera_path_read_by_nerfstudio_is_the_path_that_was_written() -> None:
    cameras = turntable_cameras(7, 20.0, 32, 48)
    read = get_path_from_json(camera_path(cameras, seconds=1.0))
    torch.testing.assert_close(read.camera_to_worlds, cameras.camera_to_world)
    torch.testing.assert_close(read.fx[:, 0].float(), cameras.intrinsics[:, 0])
    torch.testing.assert_close(read.fy[:, 0].float(), cameras.intrinsics[:, 1])
    assert int(read.width[0]) == 48
    assert int(read.height[0]) == 32
