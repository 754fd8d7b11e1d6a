import torch
import torch.nn.functional as F

from vnp_nerf.cameras import look_at, pixel_rays
from vnp_nerf.projected_features import ColourBlend, LocalEvidence, LocalMaps, ProjectedFeatures, bilinear
from vnp_nerf.views import Views


def _views(count: int, side: int = 16) -> Views:
    generator = torch.Generator().manual_seed(0)
    positions = F.normalize(torch.randn(count, 3, generator=generator), dim=-1) * 4
    return Views(
        rgba=torch.rand(1, count, 4, side, side, generator=generator),
        camera_to_world=look_at(positions)[None],
        intrinsics=torch.tensor([30.0, 30.0, side / 2, side / 2]).expand(1, count, 4),
        sizes=torch.full((1, count, 2), side),
        mask=torch.ones(1, count, dtype=torch.bool),
    )


def _maps(reader: ProjectedFeatures, views: Views) -> LocalMaps:
    generator = torch.Generator().manual_seed(1)
    count = views.mask.shape[1]
    pixels = torch.rand(1, 1, 11, 16, 16, generator=generator).expand(1, count, 11, 16, 16)
    tokens = torch.rand(1, 4, 8, generator=generator).repeat(1, count, 1)
    return reader.maps(pixels, tokens, views, torch.ones(1, count), torch.eye(3)[None])


def _reader() -> ProjectedFeatures:
    torch.manual_seed(0)
    return ProjectedFeatures(token_width=8, patch=8, channels=6, width=10)


def test_bilinear_reads_pixels_at_their_centres():
    maps = torch.rand(1, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    pixels = torch.tensor([[[2.5, 3.5], [0.5, 0.5], [3.0, 3.5]]])
    read = bilinear(maps, pixels)
    assert torch.allclose(read[0, 0], maps[0, :, 3, 2])
    assert torch.allclose(read[0, 1], maps[0, :, 0, 0])
    assert torch.allclose(read[0, 2], (maps[0, :, 3, 2] + maps[0, :, 3, 3]) / 2, atol=1e-6)


def test_a_point_on_a_pixels_ray_sees_that_pixels_colour():
    views, reader = _views(2), _reader()
    origins, directions = pixel_rays(
        views.camera_to_world[0, 1], views.intrinsics[0, 1], torch.tensor([[7.5, 9.5]])
    )
    evidence = reader(_maps(reader, views), (origins + 4 * directions)[None])
    assert evidence.seen[0, 1, 0]
    assert torch.allclose(evidence.colours[0, 1, 0], views.rgba[0, 1, :3, 9, 7], atol=1e-4)


def test_the_order_of_views_does_not_matter_and_a_duplicate_is_legal():
    views, reader = _views(3), _reader()
    points = torch.rand(1, 20, 3, generator=torch.Generator().manual_seed(3)) - 0.5
    straight = reader(_maps(reader, views), points).pooled
    order = [2, 0, 1]
    permuted = views.select_views(order)
    assert torch.allclose(straight, reader(_maps(reader, permuted), points).pooled, atol=1e-5)
    # A duplicate counts as one more view, and changes neither mean nor deviation.
    doubled = reader(_maps(reader, views.select_views([0, 1, 2, 0, 1, 2])), points).pooled
    assert torch.allclose(straight[..., :-1], doubled[..., :-1], atol=1e-5)
    assert torch.allclose(1 / doubled[..., -1] - 1, 2 * (1 / straight[..., -1] - 1), atol=1e-4)


def test_points_behind_a_camera_or_outside_its_picture_are_not_seen():
    views, reader = _views(1), _reader()
    camera = views.camera_to_world[0, 0]
    behind = camera[:, 3] + camera[:, 2]
    beside = camera[:, 3] - 4 * camera[:, 2] + 4 * camera[:, 0]
    evidence = reader(_maps(reader, views), torch.stack([behind, beside, torch.zeros(3)])[None])
    assert evidence.seen[0, 0].tolist() == [False, False, True]
    assert torch.equal(evidence.pooled[0, 0, :10], torch.zeros(10))


def test_a_colour_blend_is_convex_and_unseen_views_have_no_vote():
    torch.manual_seed(0)
    blend = ColourBlend(8, 10)
    states = torch.randn(1, 4, 8)
    colours = torch.rand(1, 2, 4, 3)
    nobody = LocalEvidence(
        torch.randn(1, 2, 4, 10), colours, torch.zeros(1, 2, 4, dtype=torch.bool), torch.zeros(1, 4, 20)
    )
    own = blend(states, None)
    assert torch.allclose(blend(states, nobody), own, atol=1e-6)
    everybody = LocalEvidence(nobody.states, colours, ~nobody.seen, nobody.pooled)
    mixed = blend(states, everybody)
    stacked = torch.cat([own[:, None], colours], dim=1)
    assert (mixed >= stacked.amin(1) - 1e-6).all()
    assert (mixed <= stacked.amax(1) + 1e-6).all()
