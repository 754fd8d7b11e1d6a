"""Epipolar planes about a ball and about a cloud of points whose outlines are known."""

import math

import pytest
import torch

from vnp_core.errors import ViewCountError
from vnp_nerf.cameras import Cameras, orbit_cameras, picture_rays
from vnp_nerf.checking.drawing import plane_trace
from vnp_nerf.checking.silhouettes import (
    baseline_axes,
    compare,
    disagreement,
    plane_range,
)
from vnp_nerf.outlines import is_whole, object_points, outline_rays

RADIUS = 0.5
SIDE = 200


def ball_mask(camera: Cameras) -> torch.Tensor:
    """Pixels whose rays pass the origin at less than `RADIUS`."""
    origins, directions = picture_rays(camera.camera_to_world[0], camera.intrinsics[0], SIDE, SIDE)
    return torch.linalg.cross(origins, directions).norm(dim=-1) < RADIUS


@pytest.fixture
def cameras() -> Cameras:
    return orbit_cameras(5, 3.0, 30.0, 40.0, SIDE, SIDE)


def test_planes_that_meet_a_ball_are_those_that_pass_its_centre_closely_enough(cameras: Cameras):
    centre = torch.zeros(3, dtype=torch.float64)
    axes = baseline_axes(cameras, 0, 1, centre)
    assert torch.allclose(axes @ axes.T, torch.eye(3, dtype=torch.float64), atol=1e-6)
    off = float(torch.linalg.cross(cameras.positions[0].double(), axes[0]).norm())
    for place in (0, 1):
        found = plane_range(outline_rays(cameras[place], ball_mask(cameras[place])), axes)
        assert found is not None
        assert found.high == pytest.approx(math.asin(RADIUS / off), abs=0.01)
        assert found.low == pytest.approx(-found.high, abs=0.01)


def test_outlines_on_the_far_side_of_the_baseline_say_nothing(cameras: Cameras):
    behind = Cameras(
        cameras.camera_to_world * torch.tensor([1.0, -1, -1, 1]), cameras.intrinsics, cameras.sizes
    )
    masks = [ball_mask(cameras[place]) for place in range(len(cameras))]
    assert compare(behind, masks, torch.zeros(3, dtype=torch.float64)) == []


def test_right_poses_agree_and_wrong_ones_do_not(cameras: Cameras):
    masks = [ball_mask(cameras[place]) for place in range(len(cameras))]
    assert disagreement(cameras, masks) < 0.02
    moved = Cameras(cameras.camera_to_world.clone(), cameras.intrinsics, cameras.sizes)
    moved.camera_to_world[::2, 2, 3] += 0.3
    assert disagreement(moved, masks) > 0.05
    assert disagreement(cameras, None) == 0
    assert disagreement(cameras[[0, 0, 0]], masks[:3]) == math.inf


def test_views_that_cut_the_object_are_not_compared(cameras: Cameras):
    masks = [ball_mask(cameras[place]) for place in range(len(cameras))]
    masks[2][:, 0] = True
    assert not is_whole(masks[2])
    assert not is_whole(torch.zeros(4, 4, dtype=torch.bool))
    pairs = compare(cameras, masks, torch.zeros(3, dtype=torch.float64))
    assert pairs
    assert all(2 not in (pair.first, pair.second) for pair in pairs)


def test_the_object_is_found_where_all_masks_leave_room_for_it(cameras: Cameras):
    points = object_points(cameras, [ball_mask(cameras[place]) for place in range(len(cameras))])
    assert points.norm(dim=-1).min() < 0.1
    assert points.norm(dim=-1).quantile(0.5) < RADIUS
    assert points.mean(dim=0).norm() < 0.1
    with pytest.raises(ViewCountError):
        object_points(cameras[0], [ball_mask(cameras[0])])


def test_a_planes_trace_is_a_line_of_its_pixels(cameras: Cameras):
    axes = baseline_axes(cameras, 0, 1, torch.zeros(3, dtype=torch.float64))
    for angle in (-0.1, 0.0, 0.15):
        ends = plane_trace(cameras[1], axes, angle)
        assert ends is not None
        for x, y in ends:
            fx, fy, cx, cy = cameras.intrinsics[1].tolist()
            right, up, back, _ = cameras.camera_to_world[1].double().unbind(-1)
            ray = axes @ ((float(x) - cx) / fx * right - (float(y) - cy) / fy * up - back)
            assert math.atan2(ray[2], ray[1]) == pytest.approx(angle, abs=1e-5)
    assert plane_trace(cameras[1], axes, 1.2) is None
