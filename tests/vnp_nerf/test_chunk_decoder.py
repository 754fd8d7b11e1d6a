"""The paper's decoder a block at a time: the slow twin's picture, with less memory."""

import pytest
import torch

from vnp_core.bench.encoding_cost import peak_bytes
from vnp_nerf import chunk_decoder
from vnp_nerf.cameras import orbit_cameras, picture_rays
from vnp_nerf.execution import Precision
from vnp_nerf.paper import PaperConfig, PaperEncoded, PaperField, PaperModel
from vnp_nerf.rendering import Rendering
from vnp_nerf.views import Views

SMALL = {
    "width": 64,
    "patch": 4,
    "encoder_layers": 1,
    "encoder_heads": 2,
    "encoder_hidden": 64,
    "attention_layers": 2,
    "attention_heads": 2,
    "frequencies": 8,
    "levels": 2,
    "latent_dim": 8,
    "samples": 16,
    "chunk_rays": 96,
}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many blocks a chunk, the last one not full."""
    monkeypatch.setattr(chunk_decoder, "_CPU_BLOCK", 100)


def _views(padded: bool = False) -> Views:
    cameras = orbit_cameras(2, 4.0, 20.0, 30.0, 16, 16)
    generator = torch.Generator().manual_seed(0)
    views = Views(
        rgba=torch.rand(1, 2, 4, 16, 16, generator=generator),
        camera_to_world=cameras.camera_to_world[None],
        intrinsics=cameras.intrinsics[None],
        sizes=cameras.sizes[None],
        mask=torch.ones(1, 2, dtype=torch.bool),
    )
    return Views.stack([views, Views.padding(1, 3, 20, 20)]).select_scenes([0]) if padded else views


@torch.no_grad()
def _encoded(mode: str = "paper", padded: bool = False, seed: int = 0) -> tuple[PaperModel, PaperEncoded]:
    torch.manual_seed(seed)
    model = PaperModel(PaperConfig(**{**SMALL, "mode": mode})).eval()
    torch.nn.init.constant_(model.decoder.output[-1].bias[3:], 0.3)
    return model, model.encode(_views(padded))


@torch.no_grad()
def _look(model: PaperModel, encoded: PaperEncoded, precision: Precision | None) -> Rendering:
    cameras = orbit_cameras(1, 4.0, 40.0, 20.0, 14, 14)
    origins, directions = (
        part.reshape(-1, 3)
        for part in picture_rays(cameras.camera_to_world[0], cameras.intrinsics[0], 14, 14)
    )
    return PaperField(model, encoded, torch.Generator().manual_seed(5), precision).render(origins, directions)


@pytest.mark.parametrize("mode", ["paper", "consistent"])
@pytest.mark.parametrize("padded", [False, True])
def test_law_9_blocks_in_float32_give_the_slow_twins_picture(mode: str, padded: bool):
    made = _encoded(mode, padded)
    slow, fast = _look(*made, None), _look(*made, "float32")
    assert slow.rgb.std() > 1e-3
    for name in ("rgb", "alpha", "depth"):
        assert torch.allclose(getattr(fast, name), getattr(slow, name), atol=1e-5), name


@pytest.mark.parametrize("mode", ["paper", "consistent"])
@pytest.mark.parametrize("seed", range(4))
def test_law_9_blocks_in_bfloat16_give_the_slow_twins_picture_to_a_thousandth(mode: str, seed: int):
    made = _encoded(mode, seed=seed)
    slow, fast = _look(*made, None), _look(*made, "bfloat16")
    difference = (fast.rgb - slow.rgb).abs().max()
    assert 1e-7 < difference < 1e-3
    assert fast.rgb.dtype == torch.float32


@torch.no_grad()
def test_points_without_rays_agree_too():
    model, encoded = _encoded()
    points = torch.rand(333, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
    fields = [
        PaperField(model, encoded, torch.Generator().manual_seed(5), precision)
        for precision in (None, "float32")
    ]
    (slow_density, slow_rgb), (density, rgb) = (field.density_colour(points) for field in fields)
    assert torch.allclose(density, slow_density, atol=1e-5)
    assert torch.allclose(rgb, slow_rgb, atol=1e-5)


def test_blocks_take_less_than_half_of_the_slow_twins_memory():
    made = _encoded()
    slow, *fast = (
        peak_bytes(lambda way=way: _look(*made, way), torch.device("cpu"))
        for way in (None, "float32", "bfloat16")
    )
    assert max(fast) < slow / 2
