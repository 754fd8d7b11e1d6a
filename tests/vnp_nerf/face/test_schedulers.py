import itertools
import math

import pytest
import torch

from vnp_core.muon import StackedMuon
from vnp_nerf.face.schedulers import (
    AdamWConfig,
    MuonConfig,
    WarmupCosineConfig,
    learning_rate_factor,
)


def test_the_rate_rises_to_its_peak_then_falls_along_a_cosine_to_the_floor() -> None:
    config = WarmupCosineConfig(warmup_steps=10, max_steps=110, floor=0.1)
    factors = [learning_rate_factor(step, config) for step in range(200)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[9] == factors[10] == 1
    assert factors[60] == pytest.approx(0.1 + 0.9 * 0.5)
    assert factors[110] == factors[199] == pytest.approx(0.1)
    assert all(later <= earlier for earlier, later in itertools.pairwise(factors[10:]))
    assert all(type(factor) is float for factor in factors)


def test_without_a_last_step_the_rate_stays_at_its_peak() -> None:
    assert learning_rate_factor(10**6, WarmupCosineConfig(max_steps=None)) == 1


@pytest.mark.parametrize("config", [AdamWConfig(), MuonConfig()])
def test_states_of_optimiser_and_scheduler_hold_no_numpy_numbers(config, tmp_path) -> None:
    optimizer = config.setup([torch.nn.Parameter(torch.ones(2, 2))])
    scheduler = WarmupCosineConfig(max_steps=20).setup().get_scheduler(optimizer, 8e-4)
    for _ in range(3):
        optimizer.step()
        scheduler.step()
    torch.save([optimizer.state_dict(), scheduler.state_dict()], tmp_path / "state")
    torch.load(tmp_path / "state", weights_only=True)
    assert math.isclose(scheduler.get_last_lr()[0], config.lr * 4 / 200)


def test_muon_moves_a_matrix_by_a_semi_orthogonal_step_on_adams_scale() -> None:
    matrix = torch.nn.Parameter(torch.zeros(16, 32))
    optimizer = MuonConfig(lr=1.0).setup([matrix])
    matrix.grad = torch.randn(16, 32, generator=torch.Generator().manual_seed(0))
    optimizer.step()
    lengths = torch.linalg.svdvals(matrix.detach().float()) / (0.2 * 32**0.5)
    # Five Newton-Schulz steps bring the singular values near 1, not onto it.
    assert lengths.min() > 0.6
    assert lengths.max() < 1.3


def test_muon_takes_the_steps_that_torchs_takes_with_the_same_settings() -> None:
    generator = torch.Generator().manual_seed(0)
    start = [torch.randn(shape, generator=generator) for shape in ((16, 16), (16, 16), (8, 24))]
    ours, torchs = ([torch.nn.Parameter(matrix.clone()) for matrix in start] for _ in range(2))
    optimizers = [
        MuonConfig(momentum=0.9, eps=1e-6).setup(ours),
        MuonConfig(momentum=0.9, eps=1e-6, _target=torch.optim.Muon).setup(torchs),
    ]
    assert [type(optimizer) for optimizer in optimizers] == [StackedMuon, torch.optim.Muon]
    assert {**optimizers[0].defaults, "lr": 0} == {**optimizers[1].defaults, "lr": 0}
    for _ in range(5):
        for pair in zip(ours, torchs, strict=True):
            gradient = torch.randn(pair[0].shape, generator=generator)
            for matrix in pair:
                matrix.grad = gradient.clone()
        for optimizer in optimizers:
            optimizer.step()
    for matrix, other, before in zip(ours, torchs, start, strict=True):
        moved = float((other.detach() - before).abs().max())
        assert moved > 0.003
        assert float((matrix - other).detach().abs().max()) < 0.03 * moved
