"""All tensors of a model's passes are on the model's device, as far as that can be told without a GPU.

Fake tensors have shapes and devices and no values, and torch refuses operations on those of two devices.
Operations whose shapes depend on values cannot be followed: the canvases are handed in, and points are asked
for as the networks see them.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode

from vnp_core.tokens import Tokens
from vnp_nerf import radiance
from vnp_nerf.cameras import orbit_cameras
from vnp_nerf.canvas import Canvases, make_canvases
from vnp_nerf.library import Model, build_model
from vnp_nerf.paper import PaperConfig, PaperEncoded, PaperModel, ray_pictures, spread_rays
from vnp_nerf.radiance import RadianceModel
from vnp_nerf.radiance_config import RadianceConfig
from vnp_nerf.views import Views

SIDE, VIEWS, RAYS = 16, 2, 6
TINY_PAPER = PaperConfig(
    width=16,
    encoder_layers=1,
    encoder_heads=2,
    encoder_hidden=16,
    attention_layers=1,
    samples=4,
    chunk_rays=4,
)


def _views() -> Views:
    cameras = orbit_cameras(VIEWS, 4.0, 20.0, 30.0, SIDE, SIDE)
    return Views(
        rgba=torch.rand(1, VIEWS, 4, SIDE, SIDE),
        camera_to_world=cameras.camera_to_world[None],
        intrinsics=cameras.intrinsics[None],
        sizes=cameras.sizes[None],
        mask=torch.ones(1, VIEWS, dtype=torch.bool),
    )


def _on_gpu(tensor: Tensor) -> Tensor:
    return torch.empty(tensor.shape, dtype=tensor.dtype, device="cuda")


def _model(config: RadianceConfig | PaperConfig) -> Model:
    with torch.device("cuda"):
        return build_model(config)


@pytest.fixture
def views_on_gpu(monkeypatch: pytest.MonkeyPatch, smallest_model: RadianceConfig) -> Callable[[], Views]:
    """Gives views on a GPU that need not exist; their canvases are made beforehand."""
    views = _views()
    canvases = make_canvases(views, smallest_model.canvas)
    monkeypatch.setattr(
        radiance,
        "make_canvases",
        lambda *_: Canvases(**{name: _on_gpu(part) for name, part in vars(canvases).items()}),
    )
    return lambda: Views(**{name: _on_gpu(part) for name, part in vars(views).items()})


@pytest.mark.parametrize("readings", [("planes", "local"), ("point", "planes", "local")])
def test_the_fields_network_stays_on_its_device(
    views_on_gpu: Callable[[], Views], smallest_model: RadianceConfig, readings: tuple[str, ...]
) -> None:
    with FakeTensorMode(), torch.no_grad():
        model = _model(replace(smallest_model, readings=readings))
        assert isinstance(model, RadianceModel)
        field = model.infer_field(model.encode(views_on_gpu()))
        points = torch.zeros(1, 8, 3, device="cuda")
        density, rgb = model.network_at(field.decoded, points, torch.zeros_like(points))
    assert density.device.type == rgb.device.type == "cuda"


def test_the_papers_model_stays_on_its_device(views_on_gpu: Callable[[], Views]) -> None:
    with FakeTensorMode(), torch.no_grad():
        model, views = _model(TINY_PAPER), views_on_gpu()
        assert isinstance(model, PaperModel)
        pictures, _ = ray_pictures(views)
        tokens = model.encoder(Tokens.present(model.patches(pictures[0]).flatten(0, 1)[None]))
        encoded = PaperEncoded(tokens, model.decoder.cache(tokens), *spread_rays(views, RAYS))
        field = model.infer_field(encoded)
        seen = field.render(encoded.origins[0], encoded.directions[0])
        density, rgb = field.density_colour(encoded.directions[0])
    assert {part.device.type for part in (seen.rgb, seen.alpha, seen.depth, density, rgb)} == {"cuda"}
