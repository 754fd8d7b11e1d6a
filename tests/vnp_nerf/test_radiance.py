import dataclasses
import itertools

import pytest
import torch
import torch.nn.functional as F
from spheres import SIDE, sphere_model, sphere_views

from vnp_core.errors import ConfigError
from vnp_nerf.cameras import look_at, picture_rays
from vnp_nerf.radiance import RadianceField, RadianceModel
from vnp_nerf.radiance_config import RadianceConfig
from vnp_nerf.reflection import Axis, reflected_views
from vnp_nerf.rendering import render_picture
from vnp_nerf.views import Views


def _field(model: RadianceModel, views: Views, seed: int | None = 1) -> RadianceField:
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    with torch.no_grad():
        return model.infer_field(model.encode(views), generator=generator)


@torch.no_grad()
def _look(field: RadianceField, seed: int = 5) -> torch.Tensor:
    camera = look_at(4 * F.normalize(torch.randn(3, generator=torch.Generator().manual_seed(seed)), dim=-1))
    intrinsics = torch.tensor([30.0, 30.0, 10.0, 8.0])
    seen = render_picture(field, camera, intrinsics, 16, 20)
    return torch.cat([seen.rgb, seen.alpha[..., None], seen.depth[..., None]], dim=-1)


@pytest.mark.parametrize(
    "readings", [("planes",), ("local",), ("point",), ("planes", "local"), ("point", "planes", "local")]
)
@torch.no_grad()
def test_law_1_one_draw_is_one_field_in_any_chunk_and_order(readings: tuple[str, ...]):
    field = _field(sphere_model(readings=readings), sphere_views(2))
    camera, intrinsics = look_at(torch.tensor([3.0, 2.0, 1.0])), torch.tensor([60.0, 60.0, 20.0, 20.0])
    origins, directions = (part.reshape(-1, 3) for part in picture_rays(camera, intrinsics, 40, 40))
    whole = field.render(origins, directions)
    assert whole.alpha.std() > 0.05
    for chunk in (64, 1024):
        parts = [
            field.render(o, d).rgb for o, d in zip(origins.split(chunk), directions.split(chunk), strict=True)
        ]
        assert torch.allclose(torch.cat(parts), whole.rgb, atol=1e-5)
    order = torch.randperm(1600, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(field.render(origins[order], directions[order]).rgb, whole.rgb[order], atol=1e-5)


@torch.no_grad()
def test_law_1_batch_neighbours_do_not_matter():
    model = sphere_model()
    first, second = sphere_views(2, seed=1), sphere_views(2, seed=2)
    points = torch.rand(1, 500, 3, generator=torch.Generator().manual_seed(0)) * 1.6 - 0.8
    alone = model.encode(first)
    both = model.encode(Views.stack([first, second]))
    latents = torch.randn(2, 2, 6, generator=torch.Generator().manual_seed(0))
    density, rgb = model.query(model.decode(alone, latents[:1]), points)
    joint_density, joint_rgb = model.query(model.decode(both, latents), points.expand(2, -1, -1))
    assert torch.allclose(density[0], joint_density[0], atol=1e-4, rtol=1e-5)
    assert torch.allclose(rgb[0], joint_rgb[0], atol=1e-5)


def test_law_2_the_order_of_context_views_does_not_matter():
    # The first view also sets the heading that the network reads in; the canonical frame is free of it.
    model = sphere_model(frame="canonical")
    views = sphere_views(3)
    straight = _look(_field(model, views))
    for order in itertools.permutations(range(3)):
        assert torch.allclose(_look(_field(model, views.select_views(list(order)))), straight, atol=1e-4)


def test_law_2_an_empty_context_gives_the_prior():
    model = sphere_model()
    empty = Views.empty(1, SIDE, SIDE)
    padded = Views.padding(1, 2, SIDE, SIDE)
    seen = _look(_field(model, empty))
    assert torch.isfinite(seen).all()
    assert torch.allclose(_look(_field(model, padded)), seen, atol=1e-5)


def test_law_3_padded_views_and_pixels_are_invisible():
    model = sphere_model()
    small, large = sphere_views(1, side=24), sphere_views(3, side=40)
    joined = Views.stack([small, large])
    latents = torch.zeros(2, 2, 6)
    points = torch.rand(1, 500, 3, generator=torch.Generator().manual_seed(0)) * 1.2 - 0.6
    with torch.no_grad():
        joint, _ = model.query(model.decode(model.encode(joined), latents), points.expand(2, -1, -1))
        for scene, part in enumerate((small, large)):
            alone, _ = model.query(model.decode(model.encode(part), latents[:1]), points)
            assert torch.allclose(alone[0], joint[scene], atol=1e-4, rtol=1e-4)


def test_law_8_turning_all_cameras_about_the_vertical_changes_no_picture():
    # Densities' weights are a hundredfold: under some seeds float32's rounding alone comes to 1e-4.
    model = sphere_model(seed=2, frame="azimuth")
    views = sphere_views(3)
    angle = torch.tensor(1.1)
    turn = torch.tensor([[angle.cos(), -angle.sin(), 0.0], [angle.sin(), angle.cos(), 0.0], [0.0, 0.0, 1.0]])
    turned = Views(views.rgba, turn @ views.camera_to_world, views.intrinsics, views.sizes, views.mask)
    camera, intrinsics = look_at(torch.tensor([3.0, 2.0, 1.0])), torch.tensor([30.0, 30.0, 10.0, 8.0])
    with torch.no_grad():
        before = render_picture(_field(model, views), camera, intrinsics, 16, 20)
        after = render_picture(_field(model, turned), turn @ camera, intrinsics, 16, 20)
    assert torch.allclose(before.rgb, after.rgb, atol=1e-4)
    assert torch.allclose(before.depth, after.depth, atol=1e-4)


def test_law_11_the_same_seed_gives_the_same_bytes_and_another_seed_another_field():
    model, views = sphere_model(), sphere_views(1)
    first = _look(_field(model, views, seed=3))
    assert torch.equal(first, _look(_field(model, views, seed=3)))
    assert not torch.allclose(first, _look(_field(model, views, seed=4)), atol=1e-4)
    assert torch.equal(_look(_field(model, views, seed=None)), _look(_field(model, views, seed=None)))


def test_nothing_is_seen_where_a_mask_shows_background():
    views = sphere_views(1)
    field = _field(sphere_model(), views)
    with torch.no_grad():
        seen = render_picture(field, views.camera_to_world[0, 0], views.intrinsics[0, 0], SIDE, SIDE)
    grown = F.max_pool2d(views.rgba[0, :, 3], 3, stride=1, padding=1)[0]
    assert seen.alpha[grown == 0].abs().max() == 0
    assert torch.equal(seen.rgb[grown == 0], torch.ones(int((grown == 0).sum()), 3))


@pytest.mark.parametrize("axis", ["x", "y"])
def test_with_mirror_views_a_context_and_its_mirror_image_say_the_same(axis: Axis):
    views = sphere_views(2)
    model = sphere_model(mirror_views=True, mirror_axis=axis, frame="canonical", carve=False)
    here, there = (_look(_field(model, context)) for context in (views, reflected_views(views, axis)))
    assert torch.allclose(here, there, atol=1e-4)
    model.config = dataclasses.replace(model.config, mirror_views=False)
    here, there = (_look(_field(model, context)) for context in (views, reflected_views(views, axis)))
    assert (here - there).abs().max() > 0.01


def test_with_mirror_marks_a_view_itself_is_told_from_its_mirror_image():
    views = sphere_views(2)
    changes = {"mirror_views": True, "frame": "canonical", "carve": False}
    model = sphere_model(mirror_marks=True, **changes)
    plain = sphere_model(**changes)
    plain.load_state_dict(model.state_dict(), strict=False)
    assert torch.equal(_look(_field(model, views)), _look(_field(plain, views)))  # marks begin at 0
    for mark in (model.mirror_mark, model.local.mirror_mark):
        before = _look(_field(model, views))
        with torch.no_grad():
            mark += torch.randn(len(mark), generator=torch.Generator().manual_seed(0))
        here, there = (_look(_field(model, context)) for context in (views, reflected_views(views, "y")))
        assert (here - there).abs().max() > 1e-4
        assert (here - before).abs().max() > 1e-4


@torch.no_grad()
def test_the_mask_of_a_mirror_image_carves_nothing():
    views = sphere_views(1)
    views.rgba[..., SIDE // 2 :] = 0  # half of the object is out of sight, and seems to be background
    points = torch.rand(1, 400, 3, generator=torch.Generator().manual_seed(0)) * 1.6 - 0.8
    plain = sphere_model(frame="canonical")
    mirrored = sphere_model(frame="canonical", mirror_views=True)
    kept = [model.may_be_filled(model.encode(views), points) for model in (plain, mirrored)]
    assert 0 < kept[0].float().mean() < 1
    assert torch.equal(*kept)


@torch.no_grad()
def test_queries_in_packed_form_equal_the_network_at_every_point():
    model = sphere_model(carve=False)
    views = sphere_views(2)
    field = _field(model, views)
    points = torch.rand(1, 300, 3, generator=torch.Generator().manual_seed(0)) * 3 - 1.5
    with torch.no_grad():
        density, rgb = model.query(field.decoded, points)
        slow_density, slow_rgb = model.network_at(field.decoded, points, None)
    inside = points.norm(dim=-1) <= model.config.radius
    assert torch.allclose(density, slow_density * inside, atol=1e-4, rtol=1e-5)
    assert torch.allclose(rgb, slow_rgb * inside[..., None], atol=1e-5)


@torch.no_grad()
def test_view_directions_change_colour_and_not_density():
    model = sphere_model(view_directions=True)
    field = _field(model, sphere_views(1))
    points = torch.rand(50, 3, generator=torch.Generator().manual_seed(0)) * 0.6 - 0.3
    up = torch.tensor([[0.0, 0.0, 1.0]]).expand(50, 3)
    with torch.no_grad():
        density, rgb = field.density_colour(points, up)
        other_density, other_rgb = field.density_colour(points, -up)
    assert torch.equal(density, other_density)
    assert not torch.allclose(rgb, other_rgb)
    with pytest.raises(ConfigError, match="directions"):
        field.density_colour(points)


def test_bad_configurations_are_named():
    with pytest.raises(ConfigError, match="'plains'"):
        RadianceConfig(readings=("plains",))
    with pytest.raises(ConfigError, match="multiple"):
        RadianceConfig(canvas=60)
    with pytest.raises(ConfigError, match="canonical"):
        RadianceConfig(mirror_views=True)
