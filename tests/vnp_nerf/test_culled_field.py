"""The fast way of looking agrees with the slow one, and asks less."""

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from smallest import SMALLEST

from vnp_core.latents import LatentConfig
from vnp_nerf.cameras import look_at, picture_rays
from vnp_nerf.culled_field import CulledField, DrawnFields
from vnp_nerf.execution import Execution
from vnp_nerf.image_metrics import psnr
from vnp_nerf.radiance import RadianceField, RadianceModel
from vnp_nerf.ray_sampling import ball_span
from vnp_nerf.rendering import Rendering, render_picture
from vnp_nerf.views import Views

SIDE = 24


def _views(count: int) -> Views:
    """Views of a ball of radius 0.6."""
    positions = F.normalize(torch.randn(count, 3, generator=torch.Generator().manual_seed(0)), dim=-1)
    poses = look_at(4 * positions)
    intrinsics = torch.tensor([SIDE * 1.86, SIDE * 1.86, SIDE / 2, SIDE / 2])
    pictures = []
    for pose in poses:
        origins, directions = picture_rays(pose, intrinsics, SIDE, SIDE)
        near, far = ball_span(origins, directions, 0.6)
        alpha = (far > near).float()[..., None]
        colour = (origins + near[..., None] * directions) / 1.2 + 0.5
        pictures.append(torch.cat([colour * alpha, alpha], dim=-1).permute(2, 0, 1))
    return Views(
        rgba=torch.stack(pictures)[None].clamp(0, 1),
        camera_to_world=poses[None],
        intrinsics=intrinsics.expand(1, count, 4).contiguous(),
        sizes=torch.full((1, count, 2), SIDE),
        mask=torch.ones(1, count, dtype=torch.bool),
    )


def _model(**changes: Any) -> RadianceModel:
    """A model whose field is solid in places, and truly empty in others."""
    torch.manual_seed(0)
    config = replace(
        SMALLEST,
        canvas=SIDE,
        latents=LatentConfig(levels=2, dim=4, hidden=16),
        plane_resolution=8,
        render_samples=24,
        bfloat16=False,
    )
    model = RadianceModel(replace(config, **changes)).eval()
    with torch.no_grad():
        model.network.density.weight *= 300
        model.network.density.bias -= 20
    return model


@torch.no_grad()
def _field(model: RadianceModel, seed: int | None = 1) -> RadianceField:
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    return model.infer_field(model.encode(_views(2)), generator=generator)


@torch.no_grad()
def _look(field: CulledField | RadianceField | DrawnFields, chunk: int = 4096) -> Rendering:
    camera, intrinsics = look_at(torch.tensor([3.0, 2.0, 1.5])), torch.tensor([60.0, 60.0, 20.0, 16.0])
    return render_picture(field, camera, intrinsics, 32, 40, chunk=chunk)


def _agree(fast: Rendering, slow: Rendering) -> None:
    for name in ("rgb", "alpha"):
        assert torch.allclose(getattr(fast, name), getattr(slow, name), atol=2e-3), name
    # A ray that ends at the surface need not know of the little light that would have gone on to the far end.
    assert torch.allclose(fast.depth, slow.depth, atol=5e-3)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"carve": False},
        {"importance_samples": 8},
        {"view_directions": True},
        {"readings": ("point", "planes", "local")},
    ],
    ids=str,
)
def test_law_9_the_culled_picture_is_the_slow_twins(changes: dict):
    field = _field(_model(**changes))
    slow = _look(field)
    assert slow.alpha.std() > 0.1
    _agree(_look(CulledField(field, faint=1e-5)), slow)
    # Scored against pictures that the slow twin is 25 dB away from, what is too faint costs less than .05 dB.
    noise = torch.randn(slow.rgb.shape, generator=torch.Generator().manual_seed(0))
    truth = slow.rgb + 10 ** (-25 / 20) * noise
    assert psnr(slow.rgb, truth) - psnr(_look(CulledField(field)).rgb, truth) < 0.05


def test_law_9_bfloat16_costs_less_than_a_twentieth_of_a_decibel():
    field = _field(_model())
    slow, rounded = _look(field), _look(CulledField(field, execution=Execution("bfloat16")))
    noise = torch.randn(slow.rgb.shape, generator=torch.Generator().manual_seed(0))
    truth = slow.rgb + 10 ** (-25 / 20) * noise
    assert psnr(slow.rgb, truth) - psnr(rounded.rgb, truth) < 0.05
    assert {part.dtype for part in vars(rounded).values()} == {torch.float32}
    assert 1e-5 < (slow.rgb - rounded.rgb).abs().max() < 0.1  # it does round


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_law_9_a_compiled_network_gives_the_same_picture_from_one_graph():
    torch.compiler.reset()
    field = _field(_model())
    compiled = CulledField(field, execution=Execution(compiled=True))
    with torch.compiler.set_stance("fail_on_recompile"):
        pictures = [_look(compiled, chunk) for chunk in (4096, 1024)]
    for picture in pictures:
        _agree(picture, _look(CulledField(field)))


def test_law_1_a_culled_field_is_the_same_in_any_chunk_and_order():
    field = CulledField(_field(_model()))
    whole = _look(field)
    for chunk in (64, 1024):
        assert torch.allclose(_look(field, chunk).rgb, whole.rgb, atol=1e-5)


@torch.no_grad()
def test_far_fewer_points_are_asked_for():
    slow = _field(_model())
    fast = CulledField(slow)
    asked: list[int] = []
    inner = slow.model.network_at

    def counted(decoded, points, directions):
        asked.append(points.shape[1])
        return inner(decoded, points, directions)

    slow.model.network_at = counted
    counts = []
    for field in (fast, slow):
        asked.clear()
        _look(field)
        counts.append(sum(asked))
    assert counts[0] < 0.6 * counts[1]


@torch.no_grad()
def test_points_in_filled_cells_are_the_slow_fields_and_all_others_are_empty():
    slow = _field(_model())
    fast = CulledField(slow)
    points = torch.rand(3000, 3, generator=torch.Generator().manual_seed(0)) * 2.4 - 1.2
    density, rgb = fast.density_colour(points)
    slow_density, slow_rgb = slow.density_colour(points)
    filled = fast.drawn.occupancy.contains(points)
    assert torch.allclose(density[filled], slow_density[filled], atol=1e-4, rtol=1e-4)
    assert torch.allclose(rgb[filled], slow_rgb[filled], atol=1e-5)
    assert density[~filled].abs().max() == 0
    assert slow_density[~filled].quantile(0.99) < 0.2


@pytest.mark.parametrize("readings", [("planes", "local"), ("point", "planes", "local")])
@torch.no_grad()
def test_draws_in_one_batch_are_what_each_is_alone(readings: tuple[str, ...]):
    model = _model(readings=readings)
    encoded = model.encode(_views(2))
    latents = model.latents.draw(encoded.tokens, generator=torch.Generator().manual_seed(3), draws=3).latents[
        0
    ]
    together = _look(DrawnFields.of(model, model.decode(encoded, latents), faint=1e-5))
    assert together.rgb.shape == (32, 40, 3, 3)
    for draw in range(3):
        alone = _look(RadianceField(model, model.decode(encoded, latents[draw : draw + 1])))
        _agree(together.map(lambda part, draw=draw: part[:, :, draw]), alone)
    assert (together.rgb[:, :, 0] - together.rgb[:, :, 1]).abs().max() > 1e-3
    inferred = DrawnFields.infer(model, encoded, 3, torch.Generator().manual_seed(3))
    for name in ("inputs", "outputs"):
        weights = (decoded.weights[0].first for decoded in (inferred.decoded, model.decode(encoded, latents)))
        assert torch.equal(*(getattr(first, name) for first in weights))


@torch.no_grad()
def test_a_background_picture_shows_through_all_draws():
    fields = DrawnFields.infer(_model(), _model().encode(_views(2)), 2, torch.Generator().manual_seed(0))
    origins, directions = (
        part.reshape(-1, 3)
        for part in picture_rays(look_at(torch.tensor([3.0, 0, 0])), torch.tensor([30.0, 30, 10, 10]), 20, 20)
    )
    behind = torch.rand(400, 3, generator=torch.Generator().manual_seed(0))
    seen, black = (fields.render(origins, directions, background=b) for b in (behind, "black"))
    expected = black.rgb + (1 - black.alpha[..., None]) * behind[:, None]
    assert torch.allclose(seen.rgb, expected, atol=1e-6)


@torch.no_grad()
def test_an_empty_field_is_all_background():
    model = _model()
    model.network.density.bias -= 1000
    model.network.density.weight *= 0
    seen = _look(CulledField(_field(model)))
    assert torch.equal(seen.rgb, torch.ones_like(seen.rgb))
    assert seen.alpha.max() == 0
