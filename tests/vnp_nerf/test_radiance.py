import dataclasses
import itertools

import pytest
import torch
import torch.nn.functional as F
from smallest import SMALLEST

from vnp_core.encoder import EncoderConfig
from vnp_core.errors import ConfigError
from vnp_core.latents import LatentConfig
from vnp_nerf.batches import TrainBatch
from vnp_nerf.cameras import look_at, picture_rays, pixel_rays
from vnp_nerf.radiance import RadianceField, RadianceModel
from vnp_nerf.radiance_config import RadianceConfig
from vnp_nerf.radiance_training import level_spreads
from vnp_nerf.ray_sampling import ball_span
from vnp_nerf.reflection import reflected_views
from vnp_nerf.rendering import render_picture
from vnp_nerf.views import Views

SIDE = 32
TINY = dataclasses.replace(
    SMALLEST,
    canvas=SIDE,
    patch=8,
    encoder=EncoderConfig(width=24, layers=1, heads=2, hidden=32),
    latents=LatentConfig(levels=2, dim=6, hidden=16),
    plane_resolution=8,
    local_channels=6,
    train_samples=12,
    render_samples=16,
    importance_samples=8,
    bfloat16=False,
)


def _sphere_views(count: int, seed: int = 0, side: int = SIDE) -> Views:
    """Views of a sphere of radius 0.6 whose colour tells the direction."""
    generator = torch.Generator().manual_seed(seed)
    positions = 4 * F.normalize(torch.randn(count, 3, generator=generator), dim=-1)
    poses = look_at(positions)
    intrinsics = torch.tensor([side * 1.86, side * 1.86, side / 2, side / 2])
    pictures = []
    for pose in poses:
        origins, directions = picture_rays(pose, intrinsics, side, side)
        near, far = ball_span(origins, directions, 0.6)
        colour = (origins + near[..., None] * directions) / 1.2 + 0.5
        alpha = (far > near).float()[..., None]
        pictures.append(torch.cat([colour * alpha, alpha], dim=-1).permute(2, 0, 1))
    return Views(
        rgba=torch.stack(pictures)[None].clamp(0, 1),
        camera_to_world=poses[None],
        intrinsics=intrinsics.expand(1, count, 4).contiguous(),
        sizes=torch.full((1, count, 2), side),
        mask=torch.ones(1, count, dtype=torch.bool),
    )


def _model(seed: int = 0, **changes: object) -> RadianceModel:
    torch.manual_seed(seed)
    model = RadianceModel(dataclasses.replace(TINY, **changes)).eval()
    with torch.no_grad():
        # A fresh field is a faint fog; make densities vary, so that agreement means something.
        model.network.density.weight *= 100
    return model


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
    field = _field(_model(readings=readings), _sphere_views(2))
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
    model = _model()
    first, second = _sphere_views(2, seed=1), _sphere_views(2, seed=2)
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
    model = _model(frame="canonical")
    views = _sphere_views(3)
    straight = _look(_field(model, views))
    for order in itertools.permutations(range(3)):
        assert torch.allclose(_look(_field(model, views.select_views(list(order)))), straight, atol=1e-4)


def test_law_2_an_empty_context_gives_the_prior():
    model = _model()
    empty = Views.empty(1, SIDE, SIDE)
    padded = Views.padding(1, 2, SIDE, SIDE)
    seen = _look(_field(model, empty))
    assert torch.isfinite(seen).all()
    assert torch.allclose(_look(_field(model, padded)), seen, atol=1e-5)


def test_law_3_padded_views_and_pixels_are_invisible():
    model = _model()
    small, large = _sphere_views(1, side=24), _sphere_views(3, side=40)
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
    model = _model(seed=2, frame="azimuth")
    views = _sphere_views(3)
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
    model, views = _model(), _sphere_views(1)
    first = _look(_field(model, views, seed=3))
    assert torch.equal(first, _look(_field(model, views, seed=3)))
    assert not torch.allclose(first, _look(_field(model, views, seed=4)), atol=1e-4)
    assert torch.equal(_look(_field(model, views, seed=None)), _look(_field(model, views, seed=None)))


def test_nothing_is_seen_where_a_mask_shows_background():
    views = _sphere_views(1)
    field = _field(_model(), views)
    with torch.no_grad():
        seen = render_picture(field, views.camera_to_world[0, 0], views.intrinsics[0, 0], SIDE, SIDE)
    grown = F.max_pool2d(views.rgba[0, :, 3], 3, stride=1, padding=1)[0]
    assert seen.alpha[grown == 0].abs().max() == 0
    assert torch.equal(seen.rgb[grown == 0], torch.ones(int((grown == 0).sum()), 3))


def test_with_mirror_views_a_context_and_its_mirror_image_say_the_same():
    views = _sphere_views(2)
    model = _model(mirror_views=True, frame="canonical", carve=False)
    here, there = (_look(_field(model, context)) for context in (views, reflected_views(views)))
    assert torch.allclose(here, there, atol=1e-4)
    model.config = dataclasses.replace(model.config, mirror_views=False)
    here, there = (_look(_field(model, context)) for context in (views, reflected_views(views)))
    assert (here - there).abs().max() > 0.01


@torch.no_grad()
def test_the_mask_of_a_mirror_image_carves_nothing():
    views = _sphere_views(1)
    views.rgba[..., SIDE // 2 :] = 0  # half of the object is out of sight, and seems to be background
    points = torch.rand(1, 400, 3, generator=torch.Generator().manual_seed(0)) * 1.6 - 0.8
    plain = _model(frame="canonical")
    mirrored = _model(frame="canonical", mirror_views=True)
    kept = [model.may_be_filled(model.encode(views), points) for model in (plain, mirrored)]
    assert 0 < kept[0].float().mean() < 1
    assert torch.equal(*kept)


@torch.no_grad()
def test_queries_in_packed_form_equal_the_network_at_every_point():
    model = _model(carve=False)
    views = _sphere_views(2)
    field = _field(model, views)
    points = torch.rand(1, 300, 3, generator=torch.Generator().manual_seed(0)) * 3 - 1.5
    with torch.no_grad():
        density, rgb = model.query(field.decoded, points)
        slow_density, slow_rgb = model.network_at(field.decoded, points, None)
    inside = points.norm(dim=-1) <= model.config.radius
    assert torch.allclose(density, slow_density * inside, atol=1e-4, rtol=1e-5)
    assert torch.allclose(rgb, slow_rgb * inside[..., None], atol=1e-5)


def _batch(scenes: int = 2, rays: int = 48) -> TrainBatch:
    generator = torch.Generator().manual_seed(0)
    parts = [_sphere_views(4, seed=seed) for seed in range(scenes)]
    context = Views.stack([part.select_views([0, 1]) for part in parts])
    targets = Views.stack([part.select_views([2, 3]) for part in parts])
    pixels = torch.randint(SIDE, (scenes, rays, 2), generator=generator)
    origins, directions = pixel_rays(targets.camera_to_world[:, :1], targets.intrinsics[:, :1], pixels + 0.5)
    rgba = torch.stack([targets.rgba[s, 0][:, pixels[s, :, 1], pixels[s, :, 0]].T for s in range(scenes)])
    shown = (torch.arange(rays) % 3 == 0).repeat(scenes, 1)
    return TrainBatch(
        context, targets, origins.contiguous(), directions, rgba, shown, [str(s) for s in range(scenes)]
    )


def test_every_parameter_gets_a_gradient():
    model = RadianceModel(dataclasses.replace(TINY, readings=("point", "planes", "local")))
    batch = _batch()
    outputs = model.train_outputs(batch, torch.Generator().manual_seed(0))
    sum(model.loss_terms(outputs, batch, 10).values()).backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or p.grad.abs().max() == 0]
    assert silent == []


def test_training_on_one_batch_lowers_its_loss():
    torch.manual_seed(0)
    model = RadianceModel(TINY)
    batch = _batch(rays=128)
    optimiser = torch.optim.Adam(model.parameters(), 5e-3)
    losses = []
    for step in range(40):
        outputs = model.train_outputs(batch, torch.Generator().manual_seed(step))
        loss = sum(model.loss_terms(outputs, batch, step).values())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])


def test_bfloat16_training_outputs_are_close_to_float32():
    batch = _batch()
    model = _model()
    half = _model(bfloat16=True)
    exact = model.train_outputs(batch, torch.Generator().manual_seed(0))
    rough = half.train_outputs(batch, torch.Generator().manual_seed(0))
    assert rough["rgb"].dtype == torch.float32
    assert (exact["rgb"] - rough["rgb"]).abs().mean() < 0.02
    assert torch.equal(exact["truth"], rough["truth"])


@torch.no_grad()
def test_draws_of_several_scenes_together_are_what_each_is_alone():
    model = _model(readings=("point", "planes", "local"))
    views = [_sphere_views(2, seed=seed) for seed in (1, 2)]
    together = model.encode(Views.stack(views))
    latents = model.latents.draw(together.tokens, generator=torch.Generator().manual_seed(0), draws=3).latents
    points = torch.rand(2, 400, 3, generator=torch.Generator().manual_seed(0)) * 1.6 - 0.8
    density, values = model.query(model.decode(together, latents.flatten(0, 1)), points)
    assert density.shape == (6, 400)
    assert values.shape == (6, 400, 5)
    for scene in range(2):
        encoded = model.encode(views[scene])
        for draw in range(3):
            one = model.decode(encoded, latents[scene, draw][None])
            alone, value = model.query(one, points[scene][None])
            assert torch.allclose(density[3 * scene + draw], alone[0], atol=1e-4)
            assert torch.allclose(values[3 * scene + draw], value[0], atol=1e-4)
    assert not torch.allclose(density[0], density[1], atol=1e-3)


def test_the_loss_knows_how_far_the_model_says_the_truth_may_lie():
    model, batch = _model(), _batch()
    outputs = model.train_outputs(batch, torch.Generator().manual_seed(0))
    terms = model.loss_terms(outputs, batch, 0)
    assert set(terms) == {"rgb", "alpha", "mean_of_draws", "joint", "point", "shown", "noise"}
    rays = outputs["log_probs"].shape[-1]
    assert outputs["rgb"].shape[:3] == (2, 1 + model.config.train_draws, rays)
    heads = (model.noise.of_state.weight, model.network.density.weight)
    for name, taught in (("noise", (True, False)), ("point", (False, True))):
        found = torch.autograd.grad(terms[name], heads, retain_graph=True, allow_unused=True)
        assert [gradient is not None and bool(gradient.any()) for gradient in found] == list(taught)


def test_a_model_without_draws_is_deterministic_and_keeps_its_noise():
    model, batch = _model(train_draws=0), _batch()
    outputs = [model.train_outputs(batch, torch.Generator().manual_seed(0)) for _ in range(2)]
    assert torch.equal(outputs[0]["rgb"], outputs[1]["rgb"])
    assert outputs[0]["rgb"].shape[1] == outputs[0]["log_probs"].shape[1] == 1
    assert set(model.metrics(outputs[0], batch)) == {"psnr"}
    silent = _model(noise=False, train_draws=0)
    assert set(silent.loss_terms(silent.train_outputs(batch, torch.Generator()), batch, 0)) == {
        "rgb",
        "alpha",
    }
    with pytest.raises(ConfigError, match="noise"):
        _model(noise=False)


def test_a_level_that_nothing_listens_to_has_no_spread():
    model, batch = _model(), _batch()
    alive = level_spreads(model, batch, torch.Generator().manual_seed(0))
    assert (alive > 0).all()
    dim = model.config.latents.dim
    with torch.no_grad():
        model.network.styles[1][0].weight.zero_()
        for layer in model.planes.from_latents:
            layer.weight[:, dim:] = 0
    spreads = level_spreads(model, batch, torch.Generator().manual_seed(0))
    assert spreads[1] == 0
    assert spreads[0] > 0


def test_view_directions_change_colour_and_not_density():
    model = _model(view_directions=True)
    field = _field(model, _sphere_views(1))
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
