"""A process predicts the same, within stated tolerances, in bfloat16, compiled, and on a GPU."""

from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor

from vnp_core.bench.systems_1d import OURS, SYSTEMS_1D
from vnp_core.model import VersatileNeuralProcess
from vnp_core.observations import PointSet
from vnp_core.tasks.gaussian_processes import GaussianProcessConfig, GaussianProcessTasks

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU is at hand")


def process(device: str = "cpu") -> VersatileNeuralProcess:
    system = SYSTEMS_1D[OURS].sized(1, 1)
    model = system.build(0)
    assert isinstance(model, VersatileNeuralProcess)
    return model.to(device).eval()


def prediction(model: VersatileNeuralProcess) -> tuple[Tensor, Tensor]:
    """Means and standard deviations of 4 draws for 8 tasks, in float32 on the CPU."""
    device = next(model.parameters()).device

    def noise(*shape: Any, **_: Any) -> Tensor:
        return torch.full(torch.empty(*shape, device="meta").shape, 0.3, device=device)

    batch = GaussianProcessTasks(GaussianProcessConfig(batch_size=8), seed=0).batch(0).to(device)
    with torch.no_grad(), mock.patch("torch.randn", noise):
        assert isinstance(batch.context, PointSet)
        found = model.predict(batch.context, batch.targets.x, 4, torch.Generator(device).manual_seed(0))
    return found.mean.float().cpu(), found.variance.sqrt().float().cpu()


@pytest.mark.equivalence("bfloat16 and float32")
def test_bfloat16_predicts_as_float32_does() -> None:
    model = process()
    mean, std = prediction(model)
    with torch.autocast("cpu", torch.bfloat16):
        half_mean, half_std = prediction(model)
    assert not torch.equal(half_mean, mean)
    torch.testing.assert_close(half_mean, mean, rtol=0, atol=0.02 * float(mean.abs().max()))
    torch.testing.assert_close(half_std, std, rtol=0.02, atol=0)


@pytest.mark.equivalence("compiled code and plain")
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_compiled_process_agrees_to_rounding() -> None:
    model = process()
    mean, std = prediction(model)
    with mock.patch.object(model, "encode", torch.compile(model.encode)):
        compiled_mean, compiled_std = prediction(model)
    torch.testing.assert_close(compiled_mean, mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(compiled_std, std, rtol=1e-4, atol=1e-5)


@pytest.mark.equivalence("a GPU and the CPU")
@gpu
def test_a_gpu_predicts_as_the_cpu_does() -> None:
    mean, std = prediction(process())
    other_mean, other_std = prediction(process("cuda"))
    torch.testing.assert_close(other_mean, mean, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(other_std, std, rtol=1e-3, atol=1e-4)
