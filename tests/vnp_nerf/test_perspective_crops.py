"""A camera that turns about its own centre, zooms or rolls shows the same rays: crops undo it."""

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F
from spheres import SIDE, TINY, sphere_batch, sphere_depth, sphere_model, sphere_views

from vnp_core.errors import ConfigError
from vnp_nerf.cameras import picture_rays
from vnp_nerf.perspective_crops import perspective_crops
from vnp_nerf.ray_sampling import ball_span
from vnp_nerf.views import Views, premultiply

MARGIN = SIDE / 2 / (SIDE * 1.86) * math.sqrt(4**2 - 1)
"""Of the framing that `sphere_views` has."""


def turned(degrees: float, axis: tuple[float, ...]) -> torch.Tensor:
    x, y, z = F.normalize(torch.tensor(axis, dtype=torch.float32), dim=0).tolist()
    across = torch.tensor([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return torch.linalg.matrix_exp(math.radians(degrees) * across)


def retaken(views: Views, height: int, width: int, focal: float, turn: torch.Tensor) -> Views:
    """The spheres of `sphere_views` from the same places, by cameras of another lens that are turned."""
    poses = torch.cat([views.camera_to_world[..., :3] @ turn, views.camera_to_world[..., 3:]], dim=-1)
    lens = torch.tensor([focal, focal, width / 2, height / 2])
    pictures = []
    for pose in poses[0]:
        origins, directions = picture_rays(pose, lens, height, width)
        near, far = ball_span(origins, directions, 0.6)
        colour = (origins + near[..., None] * directions) / 1.2 + 0.5
        alpha = (far > near).float()[..., None]
        pictures.append(torch.cat([colour.clamp(0, 1) * alpha, alpha], dim=-1).permute(2, 0, 1))
    return Views(
        rgba=torch.stack(pictures)[None],
        camera_to_world=poses,
        intrinsics=lens.expand(1, views.count, 4).contiguous(),
        sizes=torch.tensor([height, width]).expand(1, views.count, 2).contiguous(),
        mask=views.mask,
    )


def same_cameras(found: Views, wanted: Views, sides: int | None = None) -> None:
    """But for the number of pixels: `sides` a side, or those of the wanted ones."""
    torch.testing.assert_close(found.camera_to_world, wanted.camera_to_world, atol=1e-5, rtol=0)
    assert torch.equal(found.mask, wanted.mask)
    assert set(found.sizes.flatten().tolist()) == {sides or SIDE}
    scale = (sides or SIDE) / SIDE
    torch.testing.assert_close(found.intrinsics, scale * wanted.intrinsics, atol=2e-3, rtol=1e-5)


def test_views_of_the_wanted_framing_are_left_alone():
    views = sphere_views(3)
    assert perspective_crops(views, SIDE, MARGIN) is views
    larger = sphere_views(3, side=3 * SIDE)
    assert perspective_crops(larger, SIDE, MARGIN) is larger
    wide = retaken(views, 90, 120, 70.0, turned(9, (1, 0, 0)))
    assert perspective_crops(wide, SIDE, 0.0) is wide
    nobody = Views.padding(2, 2, 8, 8)
    assert perspective_crops(nobody, SIDE, MARGIN) is nobody


def test_a_picture_that_lies_somewhere_on_a_larger_one_is_found_again():
    """Oracle: the picture itself, for no pixel lies between others."""
    views = sphere_views(2)
    large = torch.zeros(1, 2, 4, 70, 100)
    large[..., 11 : 11 + SIDE, 60 : 60 + SIDE] = views.rgba
    shift = torch.tensor([0, 0, 60, 11])
    sizes = torch.tensor([70, 100]).expand(1, 2, 2)
    found = perspective_crops(
        dataclasses.replace(views, rgba=large, intrinsics=views.intrinsics + shift, sizes=sizes), SIDE, MARGIN
    )
    same_cameras(found, views)
    torch.testing.assert_close(premultiply(found.rgba), premultiply(views.rgba), atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("height", "width", "focal", "turn", "side"),
    [
        (384, 512, 300.0, turned(0, (1, 0, 0)), 161),  # wide
        (384, 512, 300.0, turned(14, (1, 2, 0)), 161),  # and aside
        (256, 256, 470.0, turned(70, (0, 0, 1)), 253),  # aslant
        (512, 384, 300.0, turned(12, (2, 1, 0)) @ turned(-140, (0, 0, 1)), 161),  # all of it, upside down
        (48, 48, 45.0, turned(5, (0, 1, 0)), SIDE),  # of fewer pixels than a crop has at least
        (2600, 2600, 4000.0, turned(3, (0, 1, 0)), 1024),  # of more than it has at most
    ],
)
def test_crops_are_what_a_camera_that_looks_straight_would_see(
    height: int, width: int, focal: float, turn: torch.Tensor, side: int
):
    """Oracle: the sphere in closed form, means over 4 x 4 rays a pixel."""
    views = sphere_views(1)
    found = perspective_crops(retaken(views, height, width, focal, turn), SIDE, MARGIN)
    same_cameras(found, views, side)
    truth = retaken(views, 4 * side, 4 * side, 4 * side * 1.86, turned(0, (1, 0, 0))).shrunk(4)
    error = (premultiply(found.rgba) - premultiply(truth.rgba)).abs()
    assert error.mean() < 0.3 / side if side > SIDE else 0.03
    inside = (truth.rgba[:, :, 3] == 1) & (found.rgba[:, :, 3] == 1)
    assert inside.float().mean() > 0.15
    assert error.amax(2)[inside].max() < 2.5 / side


def test_a_crop_beyond_the_picture_is_made_where_the_border_is_background():
    views = sphere_views(1)
    aside = retaken(views, 64, 64, 64 * 1.86, turned(4, (0, 1, 0)))  # cuts the ball, and not the sphere
    assert aside.rgba[0, 0, 3].sum() > 0
    same_cameras(perspective_crops(aside, SIDE, MARGIN), views, 64)
    further = retaken(views, 64, 64, 64 * 1.86, turned(9, (0, 1, 0)))  # cuts the sphere as well
    assert perspective_crops(further, SIDE, MARGIN) is further
    whole = retaken(views, 200, 200, 200.0, turned(4, (0, 1, 0)))  # without a mask, all of the ball in it
    whole.rgba[:, :, 3] = 1
    found = perspective_crops(whole, SIDE, MARGIN)
    same_cameras(found, views, 108)
    torch.testing.assert_close(found.rgba[:, :, 3], torch.ones(1, 1, 108, 108))
    unmasked = dataclasses.replace(aside, rgba=aside.rgba.clone())
    unmasked.rgba[:, :, 3] = 1
    assert perspective_crops(unmasked, SIDE, MARGIN) is unmasked


def test_cameras_that_are_too_near_or_look_away_keep_or_lose_their_picture():
    near = retaken(sphere_views(1), 64, 64, 32.0, turned(20, (1, 0, 0)))
    near.camera_to_world[..., 3] *= 1.2 / 4
    assert perspective_crops(near, SIDE, MARGIN) is near
    away = retaken(sphere_views(1), 64, 64, 120.0, turned(180, (0, 1, 0)))
    away.rgba[:] = 0
    assert perspective_crops(away, SIDE, MARGIN).rgba.abs().max() == 0


def test_each_view_of_a_batch_is_cropped_by_itself():
    straight, wide = sphere_views(2), retaken(sphere_views(3), 96, 128, 90.0, turned(8, (1, 1, 0)))
    mixed = Views.stack([straight.cat_views(wide), straight])
    found = perspective_crops(mixed, SIDE, MARGIN)
    alone = perspective_crops(wide, SIDE, MARGIN)
    assert torch.equal(found.mask, mixed.mask)
    for place in range(3):
        crop = found.select_scenes([0]).select_views([2 + place])
        side = alone.rgba.shape[-1]
        assert torch.equal(crop.rgba[..., :side, :side], alone.rgba[:, place : place + 1])
        assert crop.sizes[0, 0].tolist() == [side, side]
    kept = found.select_views([0, 1])
    assert torch.equal(kept.rgba[..., :SIDE, :SIDE], mixed.select_views([0, 1]).rgba[..., :SIDE, :SIDE])
    assert torch.equal(kept.camera_to_world, mixed.select_views([0, 1]).camera_to_world)


@torch.no_grad()
def test_a_field_does_not_depend_on_where_its_views_are_aimed():
    model = sphere_model(context_crop=MARGIN, carve=False, mirror_views=True, frame="canonical")
    views = sphere_views(2)
    taken = retaken(views, 512, 512, 400.0, turned(10, (1, 2, 0)) @ turned(30, (0, 0, 1)))
    points = torch.rand(200, 3, generator=torch.Generator().manual_seed(0)) - 0.5

    def asked(model, views: Views) -> torch.Tensor:
        density, colour = model.infer_field(model.encode(views)).density_colour(points)
        return torch.cat([density[:, None], colour], dim=-1)

    wanted = asked(model, views)
    assert wanted[:, 0].max() > 0
    error = (asked(model, taken) - wanted).abs().mean()
    model.config = dataclasses.replace(model.config, context_crop=0.0)
    assert torch.equal(asked(model, views), wanted)
    assert error < 0.1 * (asked(model, taken) - wanted).abs().mean()


def test_the_depth_of_views_that_are_cropped_cannot_be_taught():
    batch = sphere_batch()
    batch.context_depth = sphere_depth(batch.context)
    model = sphere_model(view_depth=True, context_crop=MARGIN)
    assert "view_depth" in model.train_outputs(batch, torch.Generator().manual_seed(0))
    batch.context.intrinsics[..., :2] /= 2
    with pytest.raises(ConfigError, match="context_crop to 0, or view_depth_weight to 0"):
        model.train_outputs(batch, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("crop", [-1.0, 0.9, math.inf, math.nan])
def test_a_crop_that_cuts_the_ball_is_refused(crop: float):
    with pytest.raises(ConfigError, match=r"context_crop is .*give 0, or at least 1"):
        dataclasses.replace(TINY, context_crop=crop)
