import torch
import torch.nn.functional as F

from vnp_nerf.cameras import look_at, project
from vnp_nerf.projection import project_points, projection_matrices, turn
from vnp_nerf.views import Views


def _views(generator: torch.Generator) -> Views:
    positions = 4 * F.normalize(torch.randn(2, 3, 3, generator=generator), dim=-1)
    intrinsics = torch.rand(2, 3, 4, generator=generator) * 10 + 20
    return Views(
        rgba=torch.zeros(2, 3, 4, 8, 8),
        camera_to_world=look_at(positions),
        intrinsics=intrinsics,
        sizes=torch.full((2, 3, 2), 8),
        mask=torch.ones(2, 3, dtype=torch.bool),
    )


def test_projection_by_matrices_equals_its_slow_twin(generator: torch.Generator):
    views = _views(generator)
    points = torch.rand(2, 50, 3, generator=generator) * 2 - 1
    pixels, depth = project_points(projection_matrices(views), points)
    slow_pixels, slow_depth = project(
        points[:, None], views.camera_to_world[:, :, None], views.intrinsics[:, :, None]
    )
    assert torch.allclose(depth, slow_depth, atol=1e-5)
    assert torch.allclose(pixels, slow_pixels, atol=1e-4)


def test_projection_ignores_autocast(generator: torch.Generator):
    views = _views(generator)
    points = torch.rand(2, 50, 3, generator=generator)
    exact = project_points(projection_matrices(views), points)
    with torch.autocast("cpu", torch.bfloat16):
        cast = project_points(projection_matrices(views), points)
        turned = turn(torch.eye(3).expand(2, 3, 3), points)
    assert torch.equal(exact[0], cast[0])
    assert torch.equal(turned, points)


def test_points_behind_a_camera_stay_finite(generator: torch.Generator):
    views = _views(generator)
    points = views.camera_to_world[:, 0, :, 3][:, None] * torch.linspace(0.9, 2, 12)[:, None]
    pixels, depth = project_points(projection_matrices(views), points)
    assert torch.isfinite(pixels).all()
    assert (depth[:, 0, 2:] < 0).all()
