"""The ball of an ellipsoid, whose outlines and bounding box are known in closed form, by its masks."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from vnp_core.errors import CameraError, ViewCountError
from vnp_nerf.cameras import Cameras, look_at, picture_rays
from vnp_nerf.frames import BALL_ROOM, axes_centre, inscribed_radius
from vnp_nerf.making.cameras import Orbit
from vnp_nerf.outlines import (
    is_cut_out,
    is_whole,
    object_points,
    outline_ball,
    outline_reach,
    without_specks,
)

SIDE = 128
CENTRE, AXES = torch.tensor([0.4, -0.3, 0.2]), torch.tensor([0.9, 0.5, 0.6])


def around(
    count: int, *, aside: float = 8.0, seed: int = 0, field_of_view: float = 50.0, target: Tensor = CENTRE
) -> Cameras:
    """Cameras that look past a target from all around, at a distance of 4."""
    orbit = Orbit(views=count, field_of_view=field_of_view, aside=aside, roll=30.0 if aside else 0.0)
    poses = torch.from_numpy(orbit.poses(np.random.default_rng(seed))[:, :3]).float()
    poses[:, :, 3] += target
    focal = SIDE / 2 / math.tan(math.radians(field_of_view / 2))
    lens = torch.tensor([focal, focal, SIDE / 2, SIDE / 2]).repeat(count, 1)
    return Cameras(poses, lens, torch.full((count, 2), SIDE))


def masks_of(cameras: Cameras, centre: Tensor = CENTRE, axes: Tensor = AXES) -> list[Tensor]:
    """Pixels whose rays meet the ellipsoid."""
    found = []
    for pose, lens in zip(cameras.camera_to_world, cameras.intrinsics, strict=True):
        origins, directions = ((part / axes) for part in picture_rays(pose, lens, SIDE, SIDE))
        offset = origins - centre / axes
        along = (offset * directions).sum(-1) / directions.norm(dim=-1)
        found.append((offset.square().sum(-1) - along.square() < 1) & (along < 0))
    return found


def off(found: tuple[Tensor, float] | None) -> tuple[float, float]:
    """Distance from the true centre, and the radius over the true one."""
    assert found is not None
    return float((found[0] - CENTRE).norm()), found[1] / (BALL_ROOM * float(AXES.max()))


def test_room_about_an_object_is_that_of_made_scenes():
    cameras = around(5, aside=0.0, field_of_view=Orbit().field_of_view, target=torch.zeros(3))
    assert inscribed_radius(cameras, torch.zeros(3)) == pytest.approx(BALL_ROOM, rel=1e-4)


@pytest.mark.parametrize(("count", "centre", "radius"), [(3, 0.2, 0.15), (6, 0.05, 0.04), (12, 0.02, 0.02)])
def test_more_views_tell_the_ball_better(count: int, centre: float, radius: float):
    for seed in range(3):
        cameras = around(count, seed=seed)
        distance, ratio = off(outline_ball(cameras, masks_of(cameras)))
        assert distance < centre
        assert abs(ratio - 1) < radius


def test_the_ball_moves_with_the_world():
    """Any similarity of cameras is one of the ball; up follows the cameras."""
    cameras = around(8)
    masks = masks_of(cameras)
    turn = torch.linalg.matrix_exp(torch.tensor([[0.0, -0.4, 0.9], [0.4, 0.0, -0.2], [-0.9, 0.2, 0.0]]))
    places = 3 * cameras.positions @ turn.T + torch.tensor([5.0, -2.0, 7.0])
    poses = torch.cat([turn @ cameras.camera_to_world[:, :, :3], places[..., None]], dim=-1)
    moved = outline_ball(Cameras(poses, cameras.intrinsics, cameras.sizes), masks)
    still = outline_ball(cameras, masks)
    assert moved is not None
    assert still is not None
    wanted = 3 * still[0] @ turn.T.double() + torch.tensor([5.0, -2.0, 7.0])
    assert (moved[0] - wanted).norm() < 0.05
    assert moved[1] == pytest.approx(3 * still[1], rel=0.02)


def test_a_known_centre_leaves_the_radius():
    cameras = around(12)
    centre, radius = outline_ball(cameras, masks_of(cameras), torch.zeros(3)) or (None, 0.0)
    assert centre is not None
    assert centre.tolist() == [0, 0, 0]
    angles = torch.linspace(0, 2 * math.pi, 400)
    tilt = torch.linspace(-math.pi / 2, math.pi / 2, 200)[:, None]
    surface = torch.stack(
        [tilt.cos() * angles.cos(), tilt.cos() * angles.sin(), tilt.sin().expand(200, 400)], dim=-1
    )
    furthest = (CENTRE + AXES * surface).norm(dim=-1).max().item()
    assert radius == pytest.approx(BALL_ROOM * furthest, rel=0.03)


def test_a_program_that_frames_the_object_is_believed():
    """Aimed at one point, and the ball filled: the cameras' own ball, to the last digit. Else the masks'."""
    cameras = around(4, aside=0.0, field_of_view=26.0)
    centre, radius = outline_ball(cameras, masks_of(cameras)) or (None, 0.0)
    assert centre is not None
    assert torch.equal(centre, axes_centre(cameras))
    assert radius == inscribed_radius(cameras, centre)
    for other in (around(12, aside=0.0, field_of_view=40.0), around(12, aside=2.0, field_of_view=26.0)):
        _, ratio = off(outline_ball(other, masks_of(other)))
        assert ratio == pytest.approx(1, abs=0.02)


def test_pictures_that_cut_the_object_rule_nothing_out_beyond_them():
    cameras = around(10, aside=0.0, field_of_view=50.0)
    # The first looks so far to its right that its border cuts the object.
    place = cameras.positions[0]
    right = cameras.camera_to_world[0, :, 0]
    cameras.camera_to_world[0] = look_at(place, CENTRE + 1.6 * right)
    masks = masks_of(cameras)
    assert is_cut_out(masks[0])
    assert not is_whole(masks[0])
    distance, ratio = off(outline_ball(cameras, masks))
    assert distance < 0.04
    assert abs(ratio - 1) < 0.04


def test_views_without_object_or_background_are_passed_over():
    cameras = around(12)
    masks = masks_of(cameras)
    wanted = outline_ball(cameras[2:], masks[2:])
    nothing, everything = torch.zeros_like(masks[0]), torch.ones_like(masks[0])
    found = outline_ball(cameras, [nothing, everything, *masks[2:]])
    assert off(found) == pytest.approx(off(wanted), abs=0.02)


def test_specks_are_none_of_the_object():
    mask = torch.zeros(40, 50, dtype=torch.bool)
    mask[5:25, 5:25] = True  # 400 pixels
    mask[25, 25] = True  # which touches it by a corner
    mask[30:32, 40:43] = True  # 6: just a part of it
    clean = mask.clone()
    mask[38, 1:4] = True  # 3: a speck
    assert torch.equal(without_specks(mask), clean)
    assert torch.equal(without_specks(clean), clean)
    assert not without_specks(torch.zeros_like(mask)).any()
    snake = torch.zeros(21, 21, dtype=torch.bool)  # one part, along all of which numbers must travel
    snake[::2], snake[1::4, -1], snake[3::4, 0] = True, True, True
    assert torch.equal(without_specks(snake), snake)


def test_specks_and_many_pixels_change_no_ball():
    cameras = around(12)
    masks = masks_of(cameras)
    wanted = outline_ball(cameras, masks)
    for place, mask in enumerate(masks):
        mask[3, 5 + 9 * place] = True
    assert off(outline_ball(cameras, masks)) == off(wanted)
    fine = [mask.repeat_interleave(3, 0).repeat_interleave(3, 1) for mask in masks]
    large = Cameras(cameras.camera_to_world, 3 * cameras.intrinsics, 3 * cameras.sizes)
    assert off(outline_ball(large, fine)) == pytest.approx(off(wanted), abs=1e-6)


def test_masks_that_leave_it_open_say_nothing():
    cameras = around(3)
    masks: Sequence[Tensor] = masks_of(cameras)
    assert outline_ball(cameras[0], masks[:1]) is None
    assert outline_ball(cameras, []) is None
    assert outline_ball(cameras, [torch.zeros_like(mask) for mask in masks]) is None
    assert outline_ball(cameras[[0, 0]], [masks[0], masks[0]]) is None  # one spot
    apart = [torch.zeros_like(mask) for mask in masks]
    for place, mask in enumerate(apart):
        mask[4 + 40 * place : 8 + 40 * place, 4:8] = True
    assert outline_ball(cameras, apart) is None
    with pytest.raises(ViewCountError):
        object_points(cameras[0], masks[:1])
    with pytest.raises(CameraError):
        object_points(cameras[[0, 0]], [masks[0], masks[0]])


def test_the_reach_is_that_of_the_furthest_ray():
    """Oracle: by hand. A camera at (0, 0, 5) looks down with f = SIDE; two pixels are in its mask."""
    pose = torch.cat([torch.eye(3), torch.tensor([[0.0], [0.0], [5.0]])], dim=1)[None]
    lens = torch.tensor([[SIDE, SIDE, SIDE / 2, SIDE / 2]], dtype=torch.float32)
    camera = Cameras(pose, lens, torch.tensor([[SIDE, SIDE]]))
    mask = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    mask[SIDE // 2, SIDE // 2 + 10] = mask[SIDE // 2 + 1, SIDE // 2 - 3] = True
    across = math.hypot(10.5, 0.5) / SIDE
    assert outline_reach(camera, [mask]) == pytest.approx(5 * across / math.hypot(1, across), rel=1e-6)
    nearby = outline_reach(camera, [mask], torch.tensor([5 * 10.5 / SIDE, -5 * 0.5 / SIDE, 0.0]))
    assert nearby == pytest.approx(5 * math.hypot(13, 1) / SIDE, rel=0.01)
    assert outline_reach(camera, [torch.zeros_like(mask)]) == 0
