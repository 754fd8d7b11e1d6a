"""Stacked Muon takes the steps of torch's."""

import copy

import pytest
import torch
from torch import Tensor, nn

from vnp_core.errors import ConfigError
from vnp_core.muon import StackedMuon, orthogonal_directions

SHAPES = ((16, 16), (16, 16), (8, 24), (24, 8), (16, 16))


def _matrices() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def _give_gradients(matrices: list[nn.Parameter], step: int) -> None:
    generator = torch.Generator().manual_seed(step)
    for matrix in matrices:
        matrix.grad = torch.randn(matrix.shape, generator=generator)


def _largest_difference(one: list[nn.Parameter], other: list[nn.Parameter]) -> float:
    return max(float((a - b).detach().abs().max()) for a, b in zip(one, other, strict=True))


def test_its_steps_are_those_of_torch_up_to_bfloat16() -> None:
    stacked, single = _matrices(), _matrices()
    fast = StackedMuon(stacked, 0.02, weight_decay=0.1)
    slow = torch.optim.Muon(single, 0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    start = copy.deepcopy(single)
    for step in range(5):
        _give_gradients(stacked, step)
        _give_gradients(single, step)
        fast.step()
        slow.step()
    moved = _largest_difference(single, start)
    assert _largest_difference(stacked, single) < 0.02 * moved


def test_a_state_of_torch_goes_on_here() -> None:
    matrices = _matrices()
    slow = torch.optim.Muon(matrices, 0.02, adjust_lr_fn="match_rms_adamw")
    _give_gradients(matrices, 0)
    slow.step()
    fast = StackedMuon(matrices, 0.02)
    fast.load_state_dict(slow.state_dict())
    for matrix in matrices:
        assert torch.equal(fast.state[matrix]["momentum_buffer"], slow.state[matrix]["momentum_buffer"])


def test_a_rule_for_rates_that_it_does_not_follow_is_refused() -> None:
    with pytest.raises(ConfigError, match="given was 'original'"):
        StackedMuon(_matrices(), 0.02, adjust_lr_fn="original")


def test_matrices_without_a_gradient_stay() -> None:
    matrices = _matrices()
    before = matrices[1].detach().clone()
    _give_gradients(matrices, 0)
    matrices[1].grad = None
    StackedMuon(matrices, 0.02, weight_decay=0.1).step()
    assert torch.equal(matrices[1], before)


@pytest.mark.parametrize("shape", [(3, 16, 16), (2, 8, 24), (2, 24, 8)])
def test_singular_values_come_near_1(shape: tuple[int, ...]) -> None:
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    directions = orthogonal_directions(matrices, (3.4445, -4.7750, 2.0315), 5, 1e-7).float()
    values: Tensor = torch.linalg.svdvals(directions)
    assert float(values.min()) > 0.3
    assert float(values.max()) < 1.3


def test_a_zero_matrix_has_no_direction() -> None:
    assert not orthogonal_directions(torch.zeros(1, 8, 8), (3.4445, -4.7750, 2.0315), 5, 1e-7).any()
