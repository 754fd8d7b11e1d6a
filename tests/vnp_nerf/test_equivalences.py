"""The same numbers, within stated tolerances: in bfloat16, compiled, and on a GPU where one is at hand.

A shipped model looks at a demo object. That two processes have the gradients of one is in
test_data_parallel.py; that padding, batches and chunks are invisible, in test_radiance.py.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest
import torch
from torch import Tensor

from vnp_nerf import radiance_training
from vnp_nerf.batches import BatchConfig, SceneSampler
from vnp_nerf.image_metrics import psnr
from vnp_nerf.library import load_model
from vnp_nerf.radiance import RadianceField, RadianceModel
from vnp_nerf.readers import open_scene
from vnp_nerf.rendering import render_picture
from vnp_nerf.scene import Scene
from vnp_nerf.views import Views

DEMO = Path(__file__).resolve().parents[2] / "data" / "demo"
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU is at hand")


@pytest.fixture(scope="module")
def scene() -> Scene:
    return open_scene(next(path.parent for path in sorted(DEMO.rglob("transforms.json"))))


@pytest.fixture(scope="module")
def field_of(scene: Scene) -> Callable[[str], RadianceField]:
    """The field of the demo object on a device, from three views."""

    def make(device: str) -> RadianceField:
        model, _ = load_model("furniture")
        assert isinstance(model, RadianceModel)
        with torch.no_grad():
            return model.to(device).infer_field(model.encode(Views.from_scene(scene, [0, 3, 6]).to(device)))

    return make


@pytest.fixture(scope="module")
def picture_of(scene: Scene) -> Callable[[RadianceField], Tensor]:
    """An unseen view of a field, [H, W, 3] in float32 on the CPU."""
    seen = Views.from_scene(scene, [1])

    def render(field: RadianceField) -> Tensor:
        device = next(field.model.parameters()).device
        pose, intrinsics = seen.camera_to_world[0, 0].to(device), seen.intrinsics[0, 0].to(device)
        height, width = (side // 2 for side in seen.sizes[0, 0].tolist())
        with torch.no_grad():
            return render_picture(field, pose, intrinsics, height, width).rgb.float().cpu()

    return render


@pytest.fixture(scope="module")
def reference(field_of, picture_of) -> Tensor:
    """In float32 on the CPU; the object is in it."""
    picture = picture_of(field_of("cpu"))
    assert float(psnr(picture, torch.ones_like(picture))) < 20
    return picture


def points(device: str = "cpu") -> Tensor:
    return 1.2 * torch.rand(1000, 3, generator=torch.Generator().manual_seed(0)).to(device) - 0.6


@pytest.mark.equivalence("bfloat16 and float32")
def test_bfloat16_renders_the_picture_of_float32_to_50_db(field_of, picture_of, reference: Tensor) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        half = picture_of(field_of("cpu"))
    assert float(psnr(half, reference)) > 50
    assert float((half - reference).abs().max()) < 0.03
    assert not torch.equal(half, reference)


def constant(value: float, device: str) -> Callable[..., Tensor]:
    """In place of torch's random numbers: tensors of one value."""
    return lambda *shape, **_: torch.full(torch.empty(*shape, device="meta").shape, value, device=device)


def gradient(device: str, bfloat16: bool) -> Tensor:
    """Of a training batch's loss by all weights, [N], in float64 on the CPU."""
    scenes = sorted(path.parent for path in DEMO.rglob("transforms.json"))[:2]
    config = BatchConfig(scenes_per_batch=2, rays_per_scene=64, min_context_views=2, max_context_views=2)
    batch = SceneSampler(scenes, config).batch(0).to(device)
    shipped, _ = load_model("furniture")
    assert isinstance(shipped, RadianceModel)
    # What is drawn at random is another on each device.
    model = RadianceModel(replace(shipped.config, bfloat16=bfloat16)).to(device)
    model.load_state_dict(shipped.state_dict())
    numbers = mock.patch.multiple("torch", rand=constant(0.5, device), randn=constant(0.3, device))
    with numbers, mock.patch.object(radiance_training, "quick_in_bfloat16", return_value=True):
        outputs = model.train_outputs(batch, torch.Generator(device).manual_seed(0))
    losses = model.loss_terms(outputs, batch, 10)
    torch.stack([losses["rgb"], losses["alpha"]]).sum().backward()
    found = [p.grad for _, p in sorted(model.named_parameters()) if p.grad is not None]
    return torch.cat([part.flatten().double().cpu() for part in found])


def alike(first: Tensor, second: Tensor) -> float:
    """Cosine of the angle between two gradients."""
    return float(first @ second / (first.norm() * second.norm()))


@pytest.fixture(scope="module")
def reference_gradient() -> Tensor:
    return gradient("cpu", bfloat16=False)


@pytest.mark.equivalence("bfloat16 and float32")
def test_gradients_in_bfloat16_point_where_those_of_float32_do(reference_gradient: Tensor) -> None:
    half = gradient("cpu", bfloat16=True)
    assert 0.98 < alike(half, reference_gradient) < 1
    assert float(half.norm() / reference_gradient.norm()) == pytest.approx(1, abs=0.05)


@pytest.mark.equivalence("a GPU and the CPU")
@gpu
def test_gradients_on_a_gpu_are_those_of_the_cpu(reference_gradient: Tensor) -> None:
    other = gradient("cuda", bfloat16=False)
    assert alike(other, reference_gradient) > 0.99
    assert float(other.norm() / reference_gradient.norm()) == pytest.approx(1, abs=0.05)


@pytest.mark.equivalence("compiled code and plain")
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_compiled_field_agrees_to_rounding(field_of) -> None:
    field = field_of("cpu")
    with torch.no_grad():
        density, rgb = field.density_colour(points())
        compiled_density, compiled_rgb = torch.compile(field.density_colour)(points())
    assert float(density.max()) > 10
    torch.testing.assert_close(compiled_density, density, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(compiled_rgb, rgb, rtol=0, atol=1e-4)


@pytest.mark.equivalence("a GPU and the CPU")
@gpu
def test_a_gpu_renders_the_picture_of_the_cpu_to_50_db(field_of, picture_of, reference: Tensor) -> None:
    other = picture_of(field_of("cuda"))
    assert float(psnr(other, reference)) > 50
    assert float((other - reference).abs().max()) < 0.03


@pytest.mark.equivalence("a GPU and the CPU")
@gpu
def test_a_gpu_in_bfloat16_renders_the_picture_of_the_cpu_to_40_db(
    field_of, picture_of, reference: Tensor
) -> None:
    with torch.autocast("cuda", torch.bfloat16):
        assert float(psnr(picture_of(field_of("cuda")), reference)) > 40


@pytest.mark.equivalence("one seed twice")
def test_the_same_field_renders_to_the_same_bytes(field_of, picture_of, reference: Tensor) -> None:
    assert picture_of(field_of("cpu")).numpy().tobytes() == reference.numpy().tobytes()


@pytest.mark.equivalence("one seed twice")
def test_the_same_seed_draws_to_the_same_bytes_and_another_one_to_others(scene: Scene, picture_of) -> None:
    model, _ = load_model("furniture")
    assert isinstance(model, RadianceModel)

    def drawn(seed: int) -> bytes:
        with torch.no_grad():
            encoded = model.encode(Views.from_scene(scene, [0]))
            field = model.infer_field(encoded, generator=torch.Generator().manual_seed(seed))
        return picture_of(field).numpy().tobytes()

    first = drawn(1)
    assert drawn(1) == first
    assert drawn(2) != first
