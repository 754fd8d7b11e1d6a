"""The unseen side, worked out by hand from a few cameras, and its symmetries."""

import math

import pytest
import torch
from torch import Tensor

from vnp_core.errors import CameraError
from vnp_nerf.unseen_side import azimuths, sees_unseen_side


def at(*places: tuple[float, float]) -> Tensor:
    """Cameras at (azimuth, elevation) in degrees, 4 from the origin."""
    turns = [(math.radians(azimuth), math.radians(elevation)) for azimuth, elevation in places]
    return 4 * torch.tensor(
        [[math.cos(a) * math.cos(e), math.sin(a) * math.cos(e), math.sin(e)] for a, e in turns]
    )


def test_azimuths_run_from_x_towards_y_whatever_the_elevation():
    found = azimuths(at((0, 0), (30, 50), (90, -10), (170, 79), (-170, 20)))
    assert found.tolist() == pytest.approx([0, 30, 90, 170, -170], abs=1e-4)
    assert azimuths(at((30, 85), (30, -85), (0, 90))).isnan().all()


def test_one_view_leaves_the_half_beyond_90_degrees():
    context = at((20, 40))
    query = at((20, -10), (109, 0), (111, 0), (200, 60), (-69, 0), (-71, 0))
    assert sees_unseen_side(context, query).tolist() == [False, False, True, True, False, True]


def test_the_angle_goes_the_short_way_around():
    assert sees_unseen_side(at((170, 0)), at((-170, 0), (-90, 0), (90, 0), (0, 0))).tolist() == [
        False,
        True,  # 100 degrees apart over the seam
        False,
        True,
    ]


def test_a_second_view_hides_what_it_sees_and_views_all_around_leave_nothing():
    query = at((180, 0), (120, 0), (-120, 0))
    assert sees_unseen_side(at((0, 0)), query).tolist() == [True, True, True]
    assert sees_unseen_side(at((0, 0), (60, 0)), query).tolist() == [True, False, True]
    assert not sees_unseen_side(at((0, 0), (120, 0), (-120, 0)), query).any()


def test_an_overhead_camera_sees_all_sides_and_is_on_none():
    assert not sees_unseen_side(at((0, 0)), at((180, 85))).any()
    assert not sees_unseen_side(at((0, 0), (0, 88)), at((180, 0))).any()


def test_without_context_every_side_is_unseen():
    assert sees_unseen_side(torch.zeros(0, 3), at((0, 0), (90, 10))).tolist() == [True, True]


def test_turning_scaling_and_moving_all_together_changes_nothing():
    generator = torch.Generator().manual_seed(0)
    places = torch.rand(40, 2, generator=generator) * torch.tensor([360.0, 70.0])
    cameras = at(*[(a, e) for a, e in places.tolist()])
    before = sees_unseen_side(cameras[:2], cameras[2:])
    assert 0 < before.sum() < len(before)
    turned = at(*[(a + 77, e) for a, e in places.tolist()])
    assert torch.equal(sees_unseen_side(turned[:2], turned[2:]), before)
    centre = torch.tensor([3.0, -2.0, 1.0])
    moved = 0.3 * cameras + centre
    assert torch.equal(sees_unseen_side(moved[:2], moved[2:], centre), before)


def test_a_camera_in_the_centre_is_refused():
    with pytest.raises(CameraError, match="centre"):
        azimuths(torch.zeros(1, 3))
