import torch

from vnp_nerf.cameras import look_at
from vnp_nerf.canvas import make_canvases
from vnp_nerf.ray_tokens import PIXEL_CHANNELS, RayTokenizer, pixel_channels
from vnp_nerf.views import Views


def _views(generator: torch.Generator, side: int = 16) -> Views:
    return Views(
        rgba=torch.rand(1, 2, 4, side, side, generator=generator),
        camera_to_world=look_at(torch.tensor([[[4.0, 0.0, 0.0], [0.0, 3.0, 2.0]]])),
        intrinsics=torch.tensor([20.0, 20.0, side / 2, side / 2]).expand(1, 2, 4),
        sizes=torch.full((1, 2, 2), side),
        mask=torch.ones(1, 2, dtype=torch.bool),
    )


def test_pluecker_moments_do_not_depend_on_the_point_of_the_ray(generator: torch.Generator):
    canvases = make_canvases(_views(generator), 16)
    pixels = pixel_channels(canvases, torch.eye(3)[None])
    canvases.origins = canvases.origins + 0.7 * canvases.directions
    moved = pixel_channels(canvases, torch.eye(3)[None])
    assert pixels.shape[2] == PIXEL_CHANNELS
    assert torch.allclose(pixels, moved, atol=1e-5)


def test_moment_is_the_rays_distance_from_the_origin(generator: torch.Generator):
    canvases = make_canvases(_views(generator), 16)
    moments = pixel_channels(canvases, torch.eye(3)[None])[:, :, 7:10]
    origins, directions = canvases.origins, canvases.directions
    along = (origins * directions).sum(2, keepdim=True)
    distance = (origins - along * directions).norm(dim=2)
    assert torch.allclose(moments.norm(dim=2), distance, atol=1e-5)


def test_tokens_come_view_after_view_and_row_after_row(generator: torch.Generator):
    tokenizer = RayTokenizer(patch=8, width=5)
    canvases = make_canvases(_views(generator), 16)
    pixels = pixel_channels(canvases, torch.eye(3)[None])
    tokens = tokenizer(pixels, canvases.filled)
    assert tokens.values.shape == (1, 2 * 4, 5)
    patch = pixels[0, 1, :, 8:, :8].reshape(-1)  # second view, second row, first column
    expected = tokenizer.embed.project(patch)
    assert torch.allclose(tokens.values[0, 4 + 2], expected, atol=1e-5)


def test_empty_patches_are_masked(generator: torch.Generator):
    views = _views(generator)
    views = Views(
        views.rgba, views.camera_to_world, views.intrinsics, torch.tensor([[[8, 16], [16, 16]]]), views.mask
    )
    canvases = make_canvases(views, 16)
    tokens = RayTokenizer(patch=8, width=5)(pixel_channels(canvases, torch.eye(3)[None]), canvases.filled)
    assert tokens.mask[0].tolist() == [True, True, False, False, True, True, True, True]
