"""A larger model begins as the smaller one that it grew from."""

from dataclasses import replace

import pytest
import torch
from smallest import SMALLEST

from vnp_core.encoder import EncoderConfig
from vnp_nerf.cameras import look_at
from vnp_nerf.growth import grown
from vnp_nerf.radiance import RadianceModel
from vnp_nerf.radiance_config import RadianceConfig
from vnp_nerf.views import Views


@pytest.fixture
def two_views() -> Views:
    """Two views of noise."""
    generator = torch.Generator().manual_seed(0)
    positions = torch.tensor([[3.0, 1.0, 1.0], [-1.0, 3.0, 0.5]])
    return Views(
        rgba=torch.rand(1, 2, 4, 16, 16, generator=generator),
        camera_to_world=look_at(positions)[None],
        intrinsics=torch.tensor([24.0, 24.0, 8.0, 8.0]).expand(1, 2, 4),
        sizes=torch.full((1, 2, 2), 16),
        mask=torch.ones(1, 2, dtype=torch.bool),
    )


def outputs(model: RadianceModel, views: Views) -> tuple[torch.Tensor, torch.Tensor]:
    """Density and values at fixed points."""
    points = torch.rand(1, 200, 3, generator=torch.Generator().manual_seed(1)) - 0.5
    towards = torch.nn.functional.normalize(points + 0.1, dim=-1)
    with torch.no_grad():
        encoded = model.encode(views)
        decoded = model.decode(encoded, model.latents.draw(encoded.tokens).latents[:, 0])
        return model.query(decoded, points, towards)


CHANGES = {
    "width": 40,
    "local_width": 24,
    "local_channels": 20,
    "plane_channels": 20,
    "plane_layers": SMALLEST.plane_layers + 2,
    "encoder": replace(SMALLEST.encoder, layers=SMALLEST.encoder.layers + 2),
}


@pytest.mark.parametrize("view_directions", [False, True])
@pytest.mark.parametrize("names", [*([name] for name in CHANGES), list(CHANGES)], ids=str)
def test_a_grown_model_is_the_same_function(names: list[str], view_directions: bool, two_views: Views):
    torch.manual_seed(0)
    config = replace(SMALLEST, carve=False, view_directions=view_directions)
    small = RadianceModel(config)
    with torch.no_grad():
        for parameter in small.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    large = RadianceModel(replace(config, **{name: CHANGES[name] for name in names}))
    state, fresh = grown(small.state_dict(), config, large)
    assert fresh == []
    before = outputs(large, two_views)
    large.load_state_dict(state)
    wanted, found = outputs(small, two_views), outputs(large, two_views)
    for a, b, c in zip(wanted, found, before, strict=True):
        assert torch.allclose(a, b, atol=1e-5)
        assert not torch.allclose(a, c, atol=1e-3)


def test_a_model_that_learns_to_predict_depth_begins_as_it_was(two_views: Views):
    torch.manual_seed(0)
    config = replace(SMALLEST, carve=False)
    small, large = RadianceModel(config), RadianceModel(replace(config, view_depth=True))
    state, fresh = grown(small.state_dict(), config, large)
    assert all(name.startswith("local.depth.") for name in fresh)
    large.load_state_dict(state)
    for a, b in zip(outputs(small, two_views), outputs(large, two_views), strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def test_new_channels_learn_from_the_first_step(two_views: Views):
    torch.manual_seed(0)
    config = replace(SMALLEST, carve=False)
    small = RadianceModel(config)
    large = RadianceModel(replace(config, width=40, plane_layers=SMALLEST.plane_layers + 1))
    large.load_state_dict(grown(small.state_dict(), config, large)[0])
    encoded = large.encode(two_views)
    decoded = large.decode(encoded, large.latents.draw(encoded.tokens).latents[:, 0])
    density, values = large.query(decoded, torch.rand(1, 50, 3) - 0.5)
    (density.sum() + values.sum()).backward()
    assert large.network.density.weight.grad[:, config.width :].abs().min() > 0
    assert large.planes.blocks[-1].attention.to_output.weight.grad.abs().max() > 0


def test_what_cannot_grow_stays_fresh_and_is_told():
    config = RadianceConfig(encoder=EncoderConfig(width=32, layers=1, heads=2, hidden=32))
    small = RadianceModel(config)
    for change in (
        {"encoder": EncoderConfig(width=64, layers=1, heads=2, hidden=32)},
        {"plane_resolution": 16},
        {"width": 32},
        {"position_octaves": 6},
    ):
        large = RadianceModel(replace(config, **change))
        state, fresh = grown(small.state_dict(), config, large)
        assert fresh
        own = large.state_dict()
        assert all(torch.equal(state[name], own[name]) for name in fresh)
