"""The released model: its size, its blocks by hand, its rendering, and that it learns."""

import math
from itertools import pairwise

import pytest
import torch

from vnp_core.errors import ConfigError, ViewCountError
from vnp_nerf.batches import TrainBatch
from vnp_nerf.cameras import look_at, picture_rays
from vnp_nerf.paper import PaperConfig, PaperModel, ray_pictures
from vnp_nerf.rendering import render_picture
from vnp_nerf.views import Views

TINY = {
    "width": 32,
    "patch": 4,
    "encoder_layers": 1,
    "encoder_heads": 2,
    "encoder_hidden": 48,
    "attention_layers": 2,
    "attention_heads": 2,
    "frequencies": 6,
    "levels": 2,
    "latent_dim": 8,
    "samples": 12,
    "chunk_rays": 16,
}


def tiny(mode: str = "paper", seed: int = 0, **changes) -> PaperModel:
    torch.manual_seed(seed)
    model = PaperModel(PaperConfig(**{**TINY, "mode": mode, **changes}))
    # Density is a ReLU: at this width, most seeds give one that is 0 everywhere and stays there.
    torch.nn.init.constant_(model.decoder.output[-1].bias[3:], 0.3)
    return model


def some_views(batch: int = 2, count: int = 2, height: int = 8, width: int = 12, seed: int = 1) -> Views:
    generator = torch.Generator().manual_seed(seed)
    poses = torch.stack(
        [
            torch.stack(
                [
                    look_at(
                        4 * torch.nn.functional.normalize(position, dim=0),
                        torch.zeros(3),
                        torch.tensor([0.0, 0, 1]),
                    )
                    for position in torch.randn(count, 3, generator=generator)
                ]
            )
            for _ in range(batch)
        ]
    )
    return Views(
        rgba=torch.rand(batch, count, 4, height, width, generator=generator),
        camera_to_world=poses.float(),
        intrinsics=torch.tensor([20.0, 20.0, width / 2, height / 2]).expand(batch, count, 4).clone(),
        sizes=torch.tensor([height, width]).expand(batch, count, 2).clone(),
        mask=torch.ones(batch, count, dtype=torch.bool),
    )


def some_rays(views: Views, scene: int = 0, view: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    height, width = views.sizes[scene, view].tolist()
    origins, directions = picture_rays(
        views.camera_to_world[scene, view], views.intrinsics[scene, view], height, width
    )
    return origins.reshape(-1, 3), directions.reshape(-1, 3)


def some_batch(batch: int = 2, rays: int = 20) -> TrainBatch:
    views = some_views(batch, 3)
    chosen = [tuple(part[:rays] for part in some_rays(views, scene, 2)) for scene in range(batch)]
    return TrainBatch(
        context=views.select_views([0]),
        targets=views.select_views([1, 2]),
        origins=torch.stack([origins for origins, _ in chosen]),
        directions=torch.stack([directions for _, directions in chosen]),
        rgba=torch.rand(batch, rays, 4, generator=torch.Generator().manual_seed(3)),
        shown=torch.zeros(batch, rays, dtype=torch.bool),
        scene_names=[f"scene{index}" for index in range(batch)],
    )


def linear(inputs: int, outputs: int, bias: bool = True) -> int:
    return inputs * outputs + (outputs if bias else 0)


def mlp(*widths: int) -> int:
    return sum(linear(a, b) for a, b in pairwise(widths))


def test_the_released_size_is_34_3_million_parameters_layer_by_layer():
    d = 512
    norms = 2 * 2 * d  # two LayerNorms, scale and shift
    tokens = linear(9 * 8 * 8, d)
    self_attention = linear(d, d, bias=False) + linear(d, 2 * d, bias=False) + linear(d, d)
    encoder = 6 * (norms + self_attention + mlp(d, 1024, d))
    embedding = mlp(2 * 3 * 64, d, d)
    cross_attention = 3 * (norms + 4 * linear(d, d) + mlp(d, d, d)) + mlp(d, d, d)
    intermediate = mlp(d, d, d, 4)
    prior = mlp(3, d, d) + mlp(d, d, 128)
    posterior = mlp(6, d, d) + mlp(d, d, 128)
    modulated = 2 * (d * d + linear(d, d)) + d
    level = intermediate + prior + posterior + mlp(64, d, d) + mlp(2 * d, d, d) + modulated
    expected = tokens + encoder + embedding + cross_attention + 4 * level + mlp(d, d, 4)
    with torch.device("meta"):
        model = PaperModel(PaperConfig())
    assert sum(p.numel() for p in model.parameters()) == expected == 34_280_468
    assert f"{expected / 1e6:.1f}" == "34.3"


def test_a_context_picture_becomes_colour_over_white_origin_and_axial_direction():
    views = some_views(1, 1, height=6, width=10)
    channels, present = ray_pictures(views)
    pose, f = views.camera_to_world[0, 0], 20.0
    for row, column in [(0, 0), (2, 7), (5, 9)]:
        camera = torch.tensor([(column + 0.5 - 5) / f, -(row + 0.5 - 3) / f, -1.0])
        rgb, alpha = views.rgba[0, 0, :3, row, column], views.rgba[0, 0, 3, row, column]
        expected = torch.cat([rgb * alpha + 1 - alpha, pose[:, 3], pose[:, :3] @ camera])
        torch.testing.assert_close(channels[0, 0, :, row, column], expected, atol=1e-5, rtol=1e-5)
    assert present.all()


@pytest.mark.parametrize("mode", ["paper", "consistent"])
def test_padding_of_views_and_pictures_is_invisible(mode):
    model = tiny(mode).double()
    views = double(some_views(1, 2))
    alone = model.encode(views)
    padded = model.encode(Views.stack([views, double(some_views(1, 3, 11, 19))]))
    present = padded.tokens.mask[0]
    assert present.sum() == alone.tokens.mask.sum()
    torch.testing.assert_close(padded.tokens.values[0, present], alone.tokens.values[0])


def test_chunks_change_nothing_in_consistent_mode():
    views = double(some_views(1, 2))
    encoded_by = {rays: tiny("consistent", chunk_rays=rays).double() for rays in (7, 64, 1024)}
    origins, directions = some_rays(views)
    pictures = []
    for model in encoded_by.values():
        field = model.infer_field(model.encode(views), generator=torch.Generator().manual_seed(5))
        pictures.append(field.render(origins, directions).rgb)
    torch.testing.assert_close(pictures[0], pictures[1], atol=1e-10, rtol=0)
    torch.testing.assert_close(pictures[0], pictures[2], atol=1e-10, rtol=0)


def test_paper_mode_draws_anew_for_every_chunk_and_has_one_mean():
    model, views = tiny("paper"), some_views(1, 1)
    encoded = model.encode(views)
    origins, directions = (part[:1].expand(2 * 16, 3) for part in some_rays(views))
    drawn = model.infer_field(encoded, generator=torch.Generator().manual_seed(0)).render(origins, directions)
    assert (drawn.rgb[0] - drawn.rgb[16]).abs().max() > 1e-6
    mean = model.infer_field(encoded).render(origins, directions)
    torch.testing.assert_close(mean.rgb[0], mean.rgb[16])


@pytest.mark.parametrize("mode", ["paper", "consistent"])
def test_points_are_answered_without_rays_and_the_same_seed_gives_the_same_bytes(mode):
    model, views = tiny(mode), some_views(1, 2)
    points = torch.rand(9, 3, generator=torch.Generator().manual_seed(2)) * 2 - 1

    def answer() -> tuple[torch.Tensor, torch.Tensor]:
        field = model.infer_field(model.encode(views), generator=torch.Generator().manual_seed(4))
        return field.density_colour(points)

    (density, rgb), (again, rgb_again) = answer(), answer()
    assert density.shape == (9,)
    assert rgb.shape == (9, 3)
    assert (density >= 0).all()
    assert ((rgb >= 0) & (rgb <= 1)).all()
    assert torch.equal(density, again)
    assert torch.equal(rgb, rgb_again)


@pytest.mark.parametrize("mode", ["paper", "consistent"])
def test_a_picture_of_any_shape_is_rendered_over_the_background(mode):
    model, views = tiny(mode), some_views(1, 1, 5, 7)
    field = model.infer_field(model.encode(views))
    camera = (views.camera_to_world[0, 0], views.intrinsics[0, 0], 5, 7)
    white, black = (render_picture(field, *camera, chunk=35, background=b) for b in ("white", "black"))
    assert white.rgb.shape == (5, 7, 3)
    torch.testing.assert_close(white.rgb - black.rgb, (1 - white.alpha)[..., None].expand(5, 7, 3))
    assert ((white.depth > 2 - 1e-3) & (white.depth < 6 * 1.2)).all()


@pytest.mark.parametrize("mode", ["paper", "consistent"])
def test_every_parameter_is_trained_and_some_steps_reduce_the_loss(mode):
    model, batch = tiny(mode, kl_ramp=0), some_batch()
    batch.rgba = torch.tensor([0.9, 0.2, 0.1, 1.0]).expand_as(batch.rgba)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses: list[float] = []
    for step in range(12):
        outputs = model.train_outputs(batch, torch.Generator().manual_seed(0))
        loss = sum(model.loss_terms(outputs, batch, step).values())
        optimiser.zero_grad()
        loss.backward()
        assert all(p.grad is not None for p in model.parameters())
        optimiser.step()
        losses.append(loss.item())
    assert losses[1] < losses[0]
    assert losses[-1] < 0.8 * losses[0]
    assert set(model.metrics(outputs, batch)) == {"psnr", "kl_0", "kl_1"}
    assert (outputs["kl"] >= 0).all()


def test_the_loss_is_mean_squared_error_plus_beta_times_the_kl_of_all_levels():
    model, batch = tiny(kl_weight=0.01, kl_ramp=100), some_batch()
    outputs = model.train_outputs(batch, torch.Generator().manual_seed(0))
    terms = model.loss_terms(outputs, batch, step=50)
    torch.testing.assert_close(terms["kl"], 0.005 * outputs["kl"].sum() / 2)
    torch.testing.assert_close(
        terms["rgb"], (outputs["rgb"] - outputs["truth"]).square().sum() / (2 * 20 * 3)
    )


def test_the_embedding_is_cosines_then_sines_axis_by_axis_at_2_to_the_0_to_8():
    model = PaperModel(PaperConfig(**{**TINY, "frequencies": 64}))
    point = torch.tensor([0.3, -0.7, 0.1], dtype=torch.float64)
    features = model.double().decoder.fourier(point)
    angles = [float(point[axis]) * 2 ** (8 * k / 63) for axis in range(3) for k in range(64)]
    expected = [math.cos(a) for a in angles] + [math.sin(a) for a in angles]
    # The frequencies were made in float32.
    torch.testing.assert_close(features, torch.tensor(expected, dtype=torch.float64), atol=2e-5, rtol=0)


@pytest.mark.parametrize("mode", ["paper", "consistent"])
def test_no_rays_give_an_empty_rendering(mode):
    model = tiny(mode)
    field = model.infer_field(model.encode(some_views(1, 1)))
    assert field.render(torch.zeros(0, 3), torch.zeros(0, 3)).rgb.shape == (0, 3)


def test_a_scene_without_views_is_refused():
    with pytest.raises(ViewCountError, match="at least one"):
        tiny().encode(Views.empty(1, 8, 8))


def test_a_configuration_without_depth_is_refused():
    with pytest.raises(ConfigError, match="near 6"):
        PaperConfig(near=6.0, far=2.0)


def double(views: Views) -> Views:
    return Views(
        views.rgba.double(),
        views.camera_to_world.double(),
        views.intrinsics.double(),
        views.sizes,
        views.mask,
    )
