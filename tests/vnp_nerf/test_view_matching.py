"""Views that look for each other's surfaces: where places are looked up, and what is told of them."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from einops import rearrange
from spheres import TINY, sphere_batch, sphere_depth, sphere_model, sphere_views

from vnp_core.errors import ConfigError
from vnp_nerf.cameras import pixel_rays, project
from vnp_nerf.canvas import make_canvases
from vnp_nerf.growth import grown
from vnp_nerf.radiance import RadianceModel
from vnp_nerf.radiance_training import view_depth_alone
from vnp_nerf.reflection import reflected_views, turned_pictures
from vnp_nerf.view_depth import true_offsets
from vnp_nerf.view_matching import Sights, looked_up, sweep
from vnp_nerf.views import Views

MATCHING = {"view_depth": True, "view_unet": 8, "view_matching": 12}
SIDE = 16
"""Of maps; a picture has twice as many pixels."""


def maps_of(views: Views, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, Sights]:
    """Random unit features, the silhouettes and the cameras of maps half as large as the pictures."""
    generator = torch.Generator().manual_seed(seed)
    batch, count = views.mask.shape
    unit = F.normalize(torch.randn(batch, count, 4, SIDE, SIDE, generator=generator), dim=2)
    alpha = F.avg_pool2d(make_canvases(views, 2 * SIDE).rgba[:, :, 3], 2)
    return unit, alpha, Sights.of_maps(views, torch.full(views.mask.shape, 0.5), SIDE)


def slow_sweep(
    unit: torch.Tensor,
    alpha: torch.Tensor,
    views: Views,
    offsets: torch.Tensor,
    view: int,
    row: int,
    column: int,
) -> torch.Tensor:
    """`sweep` of one pixel, place after place and view after view, through the cameras' own functions."""
    found = torch.zeros(3, len(offsets))
    intrinsics, poses = views.intrinsics[0] / 2, views.camera_to_world[0]
    origin, direction = pixel_rays(poses[view], intrinsics[view], torch.tensor([column + 0.5, row + 0.5]))
    forward = -poses[view, :, 2]
    for place, offset in enumerate(offsets):
        point = origin + direction * (origin.norm() + offset) / (direction @ forward)
        likeness, opacity = [], []
        for other in range(views.count):
            pixel, depth = project(point, poses[other], intrinsics[other])
            if other == view or depth <= 0 or (pixel < 0).any() or (pixel > SIDE).any():
                continue
            both = torch.cat([unit[0, other], alpha[0, other, None]])[None]
            grid = rearrange(pixel / SIDE * 2 - 1, "two -> 1 1 1 two")
            seen = F.grid_sample(both, grid, padding_mode="border", align_corners=False).flatten()
            likeness.append(seen[:-1] @ unit[0, view, :, row, column])
            opacity.append(seen[-1])
        if likeness:
            told = torch.stack(likeness)
            found[:, place] = torch.stack([told.mean(), told.max(), torch.stack(opacity).min()])
    return found


def test_the_sweep_is_its_slow_twin():
    """Also where places leave other views' pictures: one camera looks aside."""
    views = sphere_views(3)
    views.intrinsics[0, 1, 2] += 9
    unit, alpha, sights = maps_of(views)
    offsets = torch.linspace(-1, 1, 7)
    found = rearrange(sweep(unit, alpha, sights, offsets, 3), "1 V (S D) h w -> V h w S D", S=3)
    opaque = (alpha[0] > 0).nonzero().tolist()
    assert len(opaque) > 60
    some_unseen = False
    for view, row, column in opaque[::5]:
        wanted = slow_sweep(unit, alpha, views, offsets, view, row, column)
        torch.testing.assert_close(found[view, row, column], wanted, atol=2e-5, rtol=1e-4)
        some_unseen |= bool((wanted == 0).all(0).any())
    assert some_unseen
    assert not found[alpha[0] == 0].any()


def test_positions_are_looked_up_as_torch_does():
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(2, 3, 5, 4, generator=generator)
    x, y = (torch.rand(2, 3, 6, generator=generator) * (side + 2) - 1 for side in (4, 5))
    grid = torch.stack([x / 4, y / 5], dim=-1) * 2 - 1
    wanted = F.grid_sample(
        rearrange(values, "M N h w -> (M N) 1 h w"),
        rearrange(grid, "M N D two -> (M N) 1 D two"),
        padding_mode="border",
        align_corners=False,
    )
    found = looked_up(rearrange(values, "M N h w -> M N (h w)"), x, y, 5)
    torch.testing.assert_close(found, rearrange(wanted, "(M N) 1 1 D -> M N D", M=2))


def test_what_is_seen_alike_lies_on_the_surface():
    """Features that tell the point that they show: most alike where the ray truly ends."""
    views = sphere_views(4, side=2 * SIDE)
    depth = sphere_depth(views)
    canvases = make_canvases(views, 2 * SIDE)
    points = canvases.origins + canvases.directions * torch.nan_to_num(depth, posinf=0.0)[:, :, None]
    waves = torch.cat([torch.sin(3 * points), torch.cos(3 * points)], dim=2)
    sights = Sights.of_maps(views, torch.ones(1, 4), 2 * SIDE)
    alpha = depth.isfinite().float()
    offsets = torch.linspace(-1, 1, 81)
    found = sweep(F.normalize(waves, dim=2), alpha, sights, offsets, 4)
    _, largest, least = rearrange(found, "B V (S D) h w -> S B V h w D", S=3)
    truth = true_offsets(depth, views, canvases)
    error = (offsets[largest.argmax(-1)] - truth).abs()[depth.isfinite()]
    assert error.median() < 0.03  # places lie .025 apart
    # No view shows background alone where the surface is.
    nearest = (offsets - truth[..., None]).abs().argmin(-1, keepdim=True)
    surface = least.gather(-1, nearest)[depth.isfinite()]
    assert (surface > 0).float().mean() > 0.97
    assert (least[depth.isfinite()] < 0.5).float().mean() > 0.3


def test_a_mirror_image_is_told_the_mirror_image():
    views = sphere_views(2)
    views = views.cat_views(reflected_views(views, "y"))
    unit, alpha, sights = maps_of(views)
    widths = torch.full((1, 2), SIDE)

    def turned(maps: torch.Tensor) -> torch.Tensor:
        flat = turned_pictures(rearrange(maps, "B V C h w -> B V (C h) w"), widths)
        return rearrange(flat, "B V (C h) w -> B V C h w", h=SIDE)

    unit = torch.cat([unit[:, :2], turned(unit[:, :2])], dim=1)
    found = sweep(unit, alpha, sights, torch.linspace(-1, 1, 5), 4)
    torch.testing.assert_close(found[:, 2:], turned(found[:, :2]), atol=1e-4, rtol=1e-4)
    assert found.abs().max() > 0.1


def test_the_order_of_other_views_and_padding_do_not_matter():
    views = sphere_views(3)
    unit, alpha, sights = maps_of(views)
    offsets = torch.linspace(-1, 1, 5)
    wanted = sweep(unit, alpha, sights, offsets, 1)
    order = [0, 2, 1]
    moved = Sights.of_maps(views.select_views(order), torch.full((1, 3), 0.5), SIDE)
    found = sweep(unit[:, order], alpha[:, order], moved, offsets, 1)
    torch.testing.assert_close(found, wanted)
    padded = Views.stack([views, sphere_views(5)])
    unit, alpha = (torch.cat([part, torch.ones_like(part[:, :2])], dim=1) for part in (unit, alpha))
    unit, alpha = unit.expand(2, *unit.shape[1:]), alpha.expand(2, *alpha.shape[1:])
    found = sweep(unit, alpha, Sights.of_maps(padded, torch.full((2, 5), 0.5), SIDE), offsets, 1)
    torch.testing.assert_close(found[:1], wanted)


def test_one_view_alone_is_told_nothing():
    unit, alpha, sights = maps_of(sphere_views(1))
    assert not sweep(unit, alpha, sights, torch.linspace(-1, 1, 5), 1).any()


def test_a_model_that_gets_it_is_the_model_of_before():
    torch.manual_seed(0)
    views = sphere_views(2)
    small = sphere_model(**{**MATCHING, "view_matching": 0})
    large = RadianceModel(replace(small.config, view_matching=12)).eval()
    state, fresh = grown(small.state_dict(), small.config, large)
    assert {name.rsplit(".", 2)[0] for name in fresh} == {"unet.matching"}
    large.load_state_dict(state)
    before, after = small.encode(views), large.encode(views)
    torch.testing.assert_close(after.tokens.values, before.tokens.values)
    torch.testing.assert_close(after.local.depth.offset, before.local.depth.offset)


def told(**changes: object) -> RadianceModel:
    """A model whose matching has learned to say something."""
    model = sphere_model(**{**MATCHING, **changes})
    torch.manual_seed(1)
    torch.nn.init.normal_(model.unet.matching.tell.weight)
    return model


def test_alone_it_knows_other_views_and_mirror_images():
    two, one = sphere_views(2), sphere_views(1)
    other = replace(two, rgba=torch.cat([two.rgba[:, :1], two.rgba[:, 1:].flip(2)], dim=1))
    plain = told()
    by_itself = view_depth_alone(plain, one).offset
    together = view_depth_alone(plain, two).offset[:, :1]
    assert (together - by_itself).abs().max() > 1e-3
    assert (together - view_depth_alone(plain, other).offset[:, :1]).abs().max() > 1e-3
    mirrored = told(frame="canonical", mirror_views=True)
    assert (view_depth_alone(mirrored, one).offset - by_itself).abs().max() > 1e-3


def test_padded_views_change_nothing():
    model = told(frame="canonical", mirror_views=True)
    padded = Views.stack([sphere_views(1), sphere_views(2)])
    found, wanted = model.encode(padded).local, model.encode(sphere_views(1)).local
    # Of the padded one: the view, padding, and the mirror images of both.
    torch.testing.assert_close(found.depth.offset[:1, ::2], wanted.depth.offset, atol=1e-4, rtol=1e-4)


def test_it_learns_and_without_any_view_does_not_fail():
    model = told()
    batch = sphere_batch(rays=16)
    batch.context_depth = sphere_depth(batch.context)
    outputs = model.train_outputs(batch, torch.Generator().manual_seed(0))
    outputs["view_depth"].backward()
    for name, parameter in model.unet.matching.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name
    assert model.encode(Views.empty(1)).local is not None


@pytest.mark.parametrize(
    "changes",
    [
        {"view_matching": 12, "view_depth": True},
        {**MATCHING, "view_matching": 1},
        {**MATCHING, "view_matching": -3},
    ],
)
def test_configs_that_cannot_be_are_refused(changes: dict[str, object]):
    with pytest.raises(ConfigError, match="2 to 256 places"):
        replace(TINY, **changes)
