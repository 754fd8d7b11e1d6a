"""Losses, gradients and weights that are not finite are named; empty and full fields are told of."""

import math

import pytest
import torch
from torch import nn

from vnp_core.errors import DivergenceError
from vnp_nerf.face.guards import FieldMonitor, GuardedOptimizers, check_losses, check_weights
from vnp_nerf.face.schedulers import AdamWConfig, MuonConfig


@pytest.mark.fault("numbers that are not finite")
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_the_part_of_the_loss_that_is_not_finite_is_named(value: float) -> None:
    good = {"rgb": torch.tensor(0.1), "kl": torch.tensor(3.0)}
    check_losses(good)
    with pytest.raises(DivergenceError, match=rf"^the loss is not finite: kl is {value}$"):
        check_losses({**good, "kl": torch.tensor(value)})


@pytest.mark.fault("numbers that are not finite")
def test_weights_that_are_not_finite_are_named() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model.register_buffer("nothing", torch.empty(0))
    check_weights(model)
    with torch.no_grad():
        model[1].bias[0] = math.nan
    with pytest.raises(DivergenceError, match=r"not finite: 1\.bias$"):
        check_weights(model)


@pytest.mark.fault("numbers that are not finite")
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_changes_no_weight_of_any_group(value: float) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    groups = {"first": list(model[0].parameters()), "second": list(model[1].parameters())}
    config = {name: {"optimizer": AdamWConfig(), "scheduler": None} for name in groups}
    optimizers = GuardedOptimizers(config, groups)
    optimizers.guard(model)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    model(torch.ones(3, 2)).sum().backward()
    before = [parameter.clone() for parameter in model.parameters()]
    model[1].weight.grad[1, 0] = value
    with pytest.raises(DivergenceError, match=r"gradients are not finite: 1\.weight$"):
        optimizers.optimizer_scaler_step_some(scaler, ["first", "second"])
    assert all(map(torch.equal, before, model.parameters()))
    model[1].weight.grad[1, 0] = 1.0
    optimizers.optimizer_scaler_step_some(scaler, ["first", "second"])
    assert not any(map(torch.equal, before, model.parameters()))


@pytest.mark.parametrize("config", [AdamWConfig(), MuonConfig()])
def test_gradients_are_clipped(config: AdamWConfig | MuonConfig) -> None:
    model = nn.Linear(3, 3, bias=False)
    optimizers = GuardedOptimizers({"all": {"optimizer": config, "scheduler": None}}, {"all": [model.weight]})
    optimizers.guard(model)
    model.weight.grad = torch.full((3, 3), 1e6)
    optimizers.optimizer_scaler_step_some(torch.amp.GradScaler("cpu", enabled=False), ["all"])
    assert float(model.weight.grad.norm()) == pytest.approx(1)


def watch(steps: int, alpha: float | None, spread: float, share: float = 0.3) -> list[tuple[int, str]]:
    """What the monitor says, and when, of rays that see a constant alpha and colours of a spread."""
    generator = torch.Generator().manual_seed(0)
    monitor, news = FieldMonitor(), []
    for step in range(steps):
        outputs = {"rgb": 0.5 + spread * torch.randn(2, 50, 3, generator=generator)}
        if alpha is not None:
            outputs["alpha"] = torch.full((2, 50), alpha)
        rgba = torch.cat([torch.zeros(2, 50, 3), torch.full((2, 50, 1), share)], dim=-1)
        if (sentence := monitor.update(outputs, rgba)) is not None:
            news.append((step, sentence))
    return news


@pytest.mark.parametrize(
    ("alpha", "spread", "expected"),
    [
        (0.0, 0.3, "is empty: rays see 0.00% of an object that covers 30.0%"),
        (1.0, 0.3, "is full: rays see 100.0% where the object covers 30.0%"),
        (None, 0.0, "is of one colour"),
    ],
)
def test_a_collapsed_field_is_said_once_and_within_the_first_thousand_steps(
    alpha: float | None, spread: float, expected: str
) -> None:
    ((step, sentence),) = watch(1000, alpha, spread)
    assert expected in sentence
    assert step < 1000


@pytest.mark.parametrize(("alpha", "spread", "share"), [(0.3, 0.3, 0.3), (None, 0.2, 0.3), (0.99, 0.2, 0.99)])
def test_a_field_that_shows_something_is_not_spoken_of(
    alpha: float | None, spread: float, share: float
) -> None:
    assert watch(1000, alpha, spread, share) == []


def test_a_field_that_comes_to_life_is_said_to() -> None:
    monitor, news = FieldMonitor(), []
    rgba = torch.full((1, 20, 4), 0.5)
    for step in range(1000):
        alpha = torch.full((1, 20), 0.0 if step < 500 else 0.5)
        sentence = monitor.update({"rgb": torch.linspace(0, 1, 60).reshape(1, 20, 3), "alpha": alpha}, rgba)
        news += [sentence] if sentence else []
    assert [sentence.split(":")[0] for sentence in news] == [
        "the field is empty",
        "the field is no longer collapsed.",
    ]
