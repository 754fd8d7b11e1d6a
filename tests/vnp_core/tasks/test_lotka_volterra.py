"""Predators and prey: the limit of many animals is the differential equation; the pelts are the table's."""

import math

import pytest
import torch

from vnp_core.errors import ConfigError
from vnp_core.tasks.lotka_volterra import (
    POPULATIONS,
    LotkaVolterraConfig,
    LotkaVolterraTasks,
    hare_lynx,
    simulate,
)


def by_runge_kutta(years: float, step: float) -> torch.Tensor:
    """(lynx, hares) by the deterministic equation, every `step` years."""
    birth, eating, breeding, death = 0.55, 0.028, 0.024, 0.8

    def slope(state):
        lynx, hares = state
        return torch.stack([breeding * hares * lynx - death * lynx, birth * hares - eating * hares * lynx])

    state = torch.tensor([10.0, 30.0], dtype=torch.float64)
    states = [state]
    for _ in range(round(years / step)):
        a = slope(state)
        b = slope(state + step / 2 * a)
        c = slope(state + step / 2 * b)
        d = slope(state + step * c)
        state = state + step / 6 * (a + 2 * b + 2 * c + d)
        states.append(state)
    return torch.stack(states)


def fixed(**changes) -> LotkaVolterraConfig:
    values = {
        "birth": (0.55, 0.55),
        "eating": (0.028, 0.028),
        "breeding": (0.024, 0.024),
        "death": (0.8, 0.8),
        "first_lynx": (10.0, 10.0),
        "first_hares": (30.0, 30.0),
        "burn_in": 0.0,
        **changes,
    }
    return LotkaVolterraConfig(**values)


def test_with_very_many_animals_a_run_follows_the_differential_equation():
    config = fixed(grain=(1e-7, 1e-7), time_step=0.01)
    run = simulate(config, 1, torch.Generator().manual_seed(0))[0]
    exact = by_runge_kutta(20, 0.01)
    assert run.shape == exact.shape
    assert ((run - exact).abs().amax(0) < 0.02 * exact.amax(0)).all()


def test_leaps_of_the_default_length_neither_widen_nor_narrow_the_cycle():
    run = simulate(fixed(grain=(1e-7, 1e-7)), 1, torch.Generator().manual_seed(0))[0]
    exact = by_runge_kutta(20, 0.05)
    for turn in (slice(0, 200), slice(200, 401)):  # about one cycle each
        torch.testing.assert_close(run[turn].amax(0), exact[turn].amax(0), rtol=0.03, atol=0)
        torch.testing.assert_close(run[turn].amin(0), exact[turn].amin(0), rtol=0.06, atol=0)


def test_a_larger_grain_is_more_random():
    spreads = [
        simulate(fixed(grain=(grain, grain)), 200, torch.Generator().manual_seed(0))[:, 100].std(0)
        for grain in (0.01, 0.1)
    ]
    ratio = spreads[1] / spreads[0]
    assert ((ratio > 0.7 * math.sqrt(10)) & (ratio < 1.4 * math.sqrt(10))).all()


def test_populations_stay_within_bounds_and_move_about_as_the_pelts_do():
    config = LotkaVolterraConfig()
    runs = simulate(config, 300, torch.Generator().manual_seed(0))
    assert runs.shape == (300, 401, 2)
    assert config.least <= runs.min()
    assert runs.max() <= config.most
    centred = runs[..., 0] - runs[..., 0].mean(1, keepdim=True)
    cycles = torch.fft.rfft(centred, dim=1).abs()[:, 1:].argmax(1) + 1
    assert cycles.float().median() == 2  # in 20 years
    pelts = hare_lynx().functions.y[0]
    scaled = (runs - runs.new_tensor(POPULATIONS.y_shift)) / runs.new_tensor(POPULATIONS.y_scale)
    for of_pelts, of_runs in ((pelts.amax(0), scaled.amax(1)), (pelts.amin(0), scaled.amin(1))):
        low, high = of_runs.quantile(0.05, dim=0), of_runs.quantile(0.95, dim=0)
        assert ((low < of_pelts) & (of_pelts < high)).all()


def test_a_step_gives_the_same_bytes_in_any_order():
    config = LotkaVolterraConfig(batch_size=4, batches_at_once=2)
    source, again = LotkaVolterraTasks(config, seed=1), LotkaVolterraTasks(config, seed=1)
    steps = [source.batch(step) for step in (0, 1, 2)]
    for step in (2, 0, 1):
        assert torch.equal(again.batch(step).everything.y, steps[step].everything.y)
    other = LotkaVolterraTasks(config, seed=2).batch(0)
    assert other.everything.y.shape != steps[0].everything.y.shape or not torch.equal(
        other.everything.y, steps[0].everything.y
    )


def test_tasks_have_two_channels_and_about_unit_size():
    batch = LotkaVolterraTasks(LotkaVolterraConfig(batch_size=200, batches_at_once=1), seed=0).batch(0)
    points = batch.everything
    assert points.y.shape[-1] == 2
    assert points.x.min() >= -2
    assert points.x.max() <= 2
    assert points.y.mean((0, 1)).abs().max() < 0.3
    assert ((points.y.std((0, 1)) > 0.7) & (points.y.std((0, 1)) < 1.4)).all()
    points.validate()


def test_what_is_seen_is_noisy_by_its_share():
    quiet = LotkaVolterraConfig(batch_size=100, batches_at_once=1, noise=(0.0, 0.0))
    loud = LotkaVolterraConfig(batch_size=100, batches_at_once=1, noise=(0.2, 0.2))
    seen = [POPULATIONS.y_back(LotkaVolterraTasks(c, seed=0).batch(0).everything.y) for c in (quiet, loud)]
    ratio = (seen[1] / seen[0]).log()
    assert abs(float(ratio.std()) - 0.2) < 0.01


def test_the_pelts_are_the_tables():
    tasks = hare_lynx()
    assert tasks.functions.x.shape == (1, 21, 1)
    years = tasks.functions.x.double() * tasks.scaling.x_scale[0] + tasks.scaling.x_shift[0]
    assert years[0, :, 0].round().tolist() == list(range(1900, 1921))
    pelts = tasks.scaling.y_back(tasks.functions.y)[0]
    torch.testing.assert_close(pelts[0], torch.tensor([4.0, 30.0]))
    torch.testing.assert_close(pelts[4], torch.tensor([59.4, 36.3]))
    torch.testing.assert_close(pelts[-1], torch.tensor([8.6, 24.7]))
    batch = tasks.batch(0)
    assert (batch.context.mask.sum(-1) + batch.targets.mask.sum(-1) == 21).all()


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"birth": (0.0, 1.0)}, "birth is a range"),
        ({"grain": (0.2, 0.1)}, "grain is a range"),
        ({"noise": (-0.1, 0.1)}, "noise is a range"),
        ({"contexts": (3, 47)}, "exceed a total of 49"),
    ],
)
def test_settings_that_make_no_sense_are_refused(bad, said):
    with pytest.raises(ConfigError, match=said):
        LotkaVolterraConfig(**bad)


def test_rates_under_which_all_die_are_refused_after_a_while():
    config = LotkaVolterraConfig(death=(9.0, 9.0), breeding=(1e-4, 1e-4), time_step=0.5)
    with pytest.raises(ConfigError, match="Only 0 of 80 simulations"):
        simulate(config, 4, torch.Generator().manual_seed(0))
