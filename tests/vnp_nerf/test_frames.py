import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vnp_core.errors import CameraError, SceneError, ViewCountError
from vnp_nerf.cameras import Cameras, look_at, orbit_cameras, project
from vnp_nerf.frames import Similarity, axes_centre, ball_frame, inscribed_radius, upright_rotation


def random_similarity(seed: int) -> Similarity:
    generator = torch.Generator().manual_seed(seed)
    rotation, _ = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=generator))
    rotation = rotation * torch.linalg.det(rotation)
    scale = float(torch.exp(torch.randn(1, generator=generator)))
    return Similarity(rotation, torch.randn(3, dtype=torch.float64, generator=generator), scale)


@given(st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_a_similarity_its_inverse_and_its_matrix_agree(seed):
    frame = random_similarity(seed)
    points = torch.randn(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    homogeneous = torch.cat([points, torch.ones(7, 1, dtype=torch.float64)], dim=1)
    torch.testing.assert_close(frame.apply(points), (homogeneous @ frame.to_matrix().T)[:, :3])
    torch.testing.assert_close(frame.inverse().apply(frame.apply(points)), points)
    torch.testing.assert_close(
        frame.inverse().to_matrix() @ frame.to_matrix(), torch.eye(4, dtype=torch.float64)
    )


@given(st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_moving_cameras_and_object_together_changes_no_pixel(seed):
    frame = random_similarity(seed)
    cameras = orbit_cameras(4, 4.0, 20.0, 50.0, 30, 40)
    moved = frame.apply_cameras(cameras)
    points = 0.5 * torch.randn(9, 1, 3, generator=torch.Generator().manual_seed(seed))
    before, depth = project(points, cameras.camera_to_world, cameras.intrinsics)
    after, moved_depth = project(frame.apply(points), moved.camera_to_world, moved.intrinsics)
    torch.testing.assert_close(after, before, atol=2e-3, rtol=0)
    torch.testing.assert_close(moved_depth, frame.scale * depth, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(frame.apply_directions(cameras.forwards), moved.forwards)


def test_a_similarity_survives_json_to_the_last_bit():
    frame = random_similarity(3)
    back = Similarity.from_json(json.loads(json.dumps(frame.to_json())))
    assert torch.equal(back.to_matrix(), frame.to_matrix())


@pytest.mark.parametrize(
    "change",
    [
        {"scale": 0.0},
        {"scale": math.nan},
        {"scale": None},
        {"translation": [0.0, 0.0]},
        {"translation": [0.0, 0.0, math.inf]},
        {"rotation": [[1.0, 0, 0], [0, 1, 0], [0, 0, -1]]},
        {"rotation": [[2.0, 0, 0], [0, 1, 0], [0, 0, 1]]},
        {"rotation": "none"},
    ],
)
def test_what_is_no_similarity_is_refused(change):
    with pytest.raises(SceneError):
        Similarity.from_json({**Similarity.identity().to_json(), **change})


def test_the_balls_centre_goes_to_the_origin_and_its_surface_to_distance_one(generator):
    centre = torch.tensor([3.0, -2.0, 0.5])
    frame = ball_frame(centre, 2.5, random_similarity(1).rotation)
    directions = torch.nn.functional.normalize(torch.randn(20, 3, generator=generator), dim=-1)
    torch.testing.assert_close(frame.apply(centre), torch.zeros(3), atol=1e-6, rtol=0)
    torch.testing.assert_close(frame.apply(centre + 2.5 * directions).norm(dim=-1), torch.ones(20))


def test_the_inscribed_ball_touches_the_edges_of_the_view():
    # In a wide picture the vertical field of view is the smaller one: tan(half) = (30 / 40) tan(25 degrees).
    cameras = orbit_cameras(5, 4.0, 20.0, 50.0, 30, 40)
    half = math.atan(0.75 * math.tan(math.radians(25)))
    assert inscribed_radius(cameras, torch.zeros(3)) == pytest.approx(4 * math.sin(half), rel=1e-5)
    made = orbit_cameras(5, 4.0, 20.0, 30.0, 64, 64)
    assert inscribed_radius(made, torch.zeros(3)) == pytest.approx(1.0353, abs=1e-4)


def test_axes_that_meet_give_the_point_where_they_meet(generator):
    target = torch.tensor([0.7, -1.2, 0.4])
    positions = target + torch.randn(6, 3, generator=generator) * 3
    poses = look_at(positions, target)
    cameras = Cameras(poses, torch.ones(6, 4), torch.ones(6, 2, dtype=torch.int64))
    torch.testing.assert_close(axes_centre(cameras).float(), target, atol=1e-5, rtol=0)


def test_axes_that_miss_each_other_give_the_least_squares_point(generator):
    # The oracle is a direct minimisation: no nearby point has a smaller summed squared distance to the axes.
    positions = torch.randn(6, 3, generator=generator) * 3
    cameras = Cameras(
        look_at(positions, 0.2 * torch.randn(6, 3, generator=generator)),
        torch.ones(6, 4),
        torch.ones(6, 2, dtype=torch.int64),
    )

    def cost(point: torch.Tensor) -> float:
        offset = cameras.positions.double() - point
        return float(torch.linalg.cross(offset, cameras.forwards.double()).pow(2).sum())

    centre = axes_centre(cameras)
    steps = 1e-3 * torch.randn(50, 3, dtype=torch.float64, generator=generator)
    assert all(cost(centre) <= cost(centre + step) for step in steps)


def test_one_view_parallel_views_and_views_of_a_room_have_no_centre():
    cameras = orbit_cameras(4, 4.0, 20.0, 50.0, 30, 40)
    with pytest.raises(ViewCountError, match="two or more"):
        axes_centre(cameras[0])
    with pytest.raises(CameraError, match="parallel"):
        axes_centre(cameras[[0, 0, 0]])
    outward = Cameras(
        cameras.camera_to_world * torch.tensor([-1.0, 1, -1, 1]), cameras.intrinsics, cameras.sizes
    )
    outward.validate()
    with pytest.raises(CameraError, match="look away"):
        axes_centre(outward)


def test_cameras_on_the_objects_centre_have_no_radius():
    cameras = orbit_cameras(4, 4.0, 20.0, 50.0, 30, 40)
    with pytest.raises(CameraError, match="centre"):
        inscribed_radius(cameras[0], cameras.positions[0])


@pytest.mark.parametrize("turn", [[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
def test_upright_rotation_takes_the_mean_up_vector_to_z(turn):
    cameras = orbit_cameras(6, 4.0, 20.0, 50.0, 30, 40)
    turned = Similarity(torch.diag(torch.tensor(turn, dtype=torch.float64)), torch.zeros(3).double(), 1.0)
    moved = turned.apply_cameras(cameras)
    rotation = upright_rotation(moved)
    mean_up = rotation @ moved.ups.double().mean(0)
    torch.testing.assert_close(
        mean_up / mean_up.norm(), torch.tensor([0.0, 0, 1]).double(), atol=1e-6, rtol=0
    )
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(3).double())
    assert torch.linalg.det(rotation) == pytest.approx(1)


def test_up_vectors_that_cancel_out_turn_nothing():
    cameras = orbit_cameras(2, 4.0, 0.0, 50.0, 30, 40)
    upside_down = Cameras(
        cameras.camera_to_world * torch.tensor([[[1.0, 1, 1, 1]], [[-1.0, -1, 1, 1]]]),
        cameras.intrinsics,
        cameras.sizes,
    )
    assert torch.equal(upright_rotation(upside_down), torch.eye(3).double())
