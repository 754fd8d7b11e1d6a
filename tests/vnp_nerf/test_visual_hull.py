import torch

from vnp_nerf.cameras import look_at, pixel_centres, pixel_rays
from vnp_nerf.canvas import make_canvases
from vnp_nerf.ray_sampling import ball_span
from vnp_nerf.views import Views
from vnp_nerf.visual_hull import VisualHull

SIDE = 64


def _sphere_views(radius: float, positions: list[list[float]]) -> Views:
    """Pictures of a sphere about the origin: a pixel is opaque where its ray meets the sphere."""
    poses = look_at(torch.tensor(positions))
    intrinsics = torch.tensor([119.0, 119.0, SIDE / 2, SIDE / 2]).expand(len(positions), 4)
    pictures = []
    for pose, k in zip(poses, intrinsics, strict=True):
        near, far = ball_span(*pixel_rays(pose, k, pixel_centres(SIDE, SIDE)), radius)
        pictures.append((far > near).float().expand(4, SIDE, SIDE))
    return Views(
        rgba=torch.stack(pictures)[None],
        camera_to_world=poses[None],
        intrinsics=intrinsics[None],
        sizes=torch.full((1, len(positions), 2), SIDE),
        mask=torch.ones(1, len(positions), dtype=torch.bool),
    )


def _hull(views: Views) -> VisualHull:
    return VisualHull.from_canvases(make_canvases(views, SIDE), views)


POSITIONS = [[4.0, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, 0.0, 4.0]]


def test_the_hull_holds_the_whole_object(generator: torch.Generator):
    directions = torch.nn.functional.normalize(torch.randn(2000, 3, generator=generator), dim=-1)
    hull = _hull(_sphere_views(0.5, POSITIONS))
    assert hull.contains(0.5 * directions[None]).all()


def test_the_hull_is_empty_where_a_view_shows_background():
    hull = _hull(_sphere_views(0.5, POSITIONS))
    # 0.6 along an axis lies outside the sphere's silhouette in the views along the other two axes.
    assert not hull.contains(0.6 * torch.eye(3)[None]).any()
    alone = _hull(_sphere_views(0.5, POSITIONS[:1]))
    # One view rules out nothing along its own axis.
    assert alone.contains(0.9 * torch.eye(3)[None]).tolist() == [[True, False, False]]


def test_more_views_never_add_to_the_hull(generator: torch.Generator):
    points = torch.rand(1, 5000, 3, generator=generator) * 2 - 1
    inside = [_hull(_sphere_views(0.4, POSITIONS[:count])).contains(points) for count in (1, 2, 3)]
    assert (inside[0] >= inside[1]).all()
    assert (inside[1] >= inside[2]).all()
    assert inside[2].sum() < inside[1].sum() < inside[0].sum()


def test_views_without_a_mask_and_padded_views_rule_out_nothing(generator: torch.Generator):
    views = _sphere_views(0.4, POSITIONS[:1])
    opaque = Views(
        torch.ones_like(views.rgba), views.camera_to_world, views.intrinsics, views.sizes, views.mask
    ).cat_views(Views.padding(1, 1, SIDE, SIDE))
    points = torch.rand(1, 5000, 3, generator=generator) * 8 - 4
    assert _hull(opaque).contains(points).all()


def test_clipped_spans_lose_no_stretch_of_the_hull_as_long_as_a_step(generator: torch.Generator):
    hull = _hull(_sphere_views(0.4, POSITIONS))
    pose = look_at(torch.tensor([2.5, 2.0, 2.0]))
    pixels = torch.rand(300, 2, generator=generator) * SIDE
    origins, directions = pixel_rays(pose, torch.tensor([119.0, 119.0, 32.0, 32.0]), pixels)
    near, far = ball_span(origins, directions, 1.05)
    start, end = hull.clip(origins[None], directions[None], near[None], far[None], steps=48)
    distances = near + (far - near) * torch.linspace(0, 1, 1001)[:, None]  # [1001, R]
    points = origins + distances[..., None] * directions
    inside = hull.contains(points.reshape(1, -1, 3)).reshape(1001, -1)
    lost = inside & ((distances < start[0] - 1e-4) | (distances > end[0] + 1e-4))
    longest = torch.zeros(300)
    stretch = torch.zeros(300)
    for row in lost.float():
        stretch = (stretch + 1) * row
        longest = torch.maximum(longest, stretch)
    assert (longest / 1000 < 1 / 48).all()
    assert (end - start).mean() < 0.6 * (far - near).mean()


def test_rays_that_miss_the_hull_have_empty_spans():
    hull = _hull(_sphere_views(0.4, POSITIONS))
    origins = torch.tensor([[[4.0, 0.9, 0.0]]])
    directions = torch.tensor([[[-1.0, 0.0, 0.0]]])
    near, far = ball_span(origins, directions, 1.05)
    start, end = hull.clip(origins, directions, near, far)
    assert (start == end).all()
