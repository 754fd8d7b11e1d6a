"""Which optimiser moves what, and how fast."""

import itertools

import pytest
import torch
from torch import nn

from vnp_core.errors import ConfigError
from vnp_core.optimisers import OptimiserConfig, build_optimisers, hidden_matrices, set_rate


def test_the_rate_rises_linearly_then_falls_as_a_cosine() -> None:
    config = OptimiserConfig(lr=1.0, warmup=10, final=0.1)
    rates = [config.rate(step, 110) for step in range(110)]
    assert rates[:10] == pytest.approx([0.1 * step for step in range(1, 11)])
    assert rates[10] == pytest.approx(1.0)
    assert rates[60] == pytest.approx(0.55)
    assert all(after <= before for before, after in itertools.pairwise(rates[10:]))
    assert config.rate(110, 110) == pytest.approx(0.1)


def test_warm_up_takes_at_most_a_tenth_of_all_steps() -> None:
    assert OptimiserConfig(lr=1.0, warmup=1000).rate(2, 20) == pytest.approx(1.0)


class Stack(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(1, 8)
        self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8))])
        self.after_blocks = nn.Linear(8, 2)


def test_with_muon_hidden_matrices_are_its_own_and_every_parameter_has_one_optimiser() -> None:
    model = Stack()
    muon, adamw = build_optimisers(model, OptimiserConfig(kind="muon"))
    assert isinstance(muon, torch.optim.Muon)
    assert [id(parameter) for parameter in muon.param_groups[0]["params"]] == [id(model.blocks[0][0].weight)]
    held = [id(p) for optimiser in (muon, adamw) for group in optimiser.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(parameter) for parameter in model.parameters())


def test_empty_parameters_are_left_out() -> None:
    model = nn.Linear(2, 2)
    model.register_parameter("none", nn.Parameter(torch.zeros(0, 3)))
    (adamw,) = build_optimisers(model, OptimiserConfig())
    assert len(adamw.param_groups[0]["params"]) == 2


def test_the_rate_is_set_for_all_groups() -> None:
    optimisers = build_optimisers(Stack(), OptimiserConfig(kind="muon"))
    set_rate(optimisers, 0.125)
    assert [group["lr"] for optimiser in optimisers for group in optimiser.param_groups] == [0.125, 0.125]


@pytest.mark.parametrize("bad", [{"lr": 0.0}, {"warmup": -1}, {"final": 1.5}, {"weight_decay": -0.1}])
def test_impossible_values_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="given was"):
        OptimiserConfig(**bad)


def test_hidden_matrices_are_weights_between_layers_and_neither_queries_nor_outputs() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.queries = nn.Parameter(torch.ones(16, 16))
            self.hidden = nn.Linear(16, 24)
            self.norm = nn.LayerNorm(24)
            self.convolution = nn.Conv2d(8, 8, 3)
            self.output = nn.Linear(24, 4)

    net = Net()
    assert [id(p) for p in hidden_matrices(net)] == [id(net.hidden.weight)]
