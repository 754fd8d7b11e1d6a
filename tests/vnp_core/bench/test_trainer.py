"""The training loop: exact resumption, and a clear end whatever happens."""

import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vnp_core.bench.systems import System
from vnp_core.bench.trainer import Start, Trained, Trainer, TrainerConfig, build_fabric, collapse_message
from vnp_core.bench.training_state import HistoryRow, read_state
from vnp_core.config import to_dict
from vnp_core.errors import ConfigError, DivergenceError, InterruptedRunError, OutputExistsError
from vnp_core.optimisers import OptimiserConfig
from vnp_core.process_objectives import LossTerms, process_loss
from vnp_core.tasks.gaussian_processes import GaussianProcessTasks

Spoil = Callable[[nn.Module, int, LossTerms], LossTerms]
CONFIG = TrainerConfig(steps=12, optimiser=OptimiserConfig(lr=1e-2, warmup=2), log_every=5, ema=0.9)


@pytest.fixture(scope="module")
def fabric() -> Any:
    return build_fabric(CONFIG, "cpu")


@pytest.fixture
def fit(
    tiny_vnp: System, tasks: GaussianProcessTasks, fabric: Any
) -> Callable[..., tuple[nn.Module, Trained]]:
    """Trains the tiny system in a folder; `at` is called with each step before its loss, which `spoil` may
    change.
    """

    def run(
        folder: Path,
        start: Start = "new",
        at: Callable[[int], None] | None = None,
        config: TrainerConfig = CONFIG,
        spoil: Spoil = lambda model, step, terms: terms,
        **settings: Any,
    ) -> tuple[nn.Module, Trained]:
        system = replace(tiny_vnp, optimiser=config.optimiser)
        model = system.build(0)

        def loss(model: Any, batch: Any, step: int, generator: torch.Generator) -> LossTerms:
            if at is not None:
                at(step)
            return spoil(model, step, process_loss(model, batch, system.objective, step, generator))

        trainer = Trainer(config, folder, seed=3, described={"a": 1}, fabric=fabric, **settings)
        return model, trainer.fit(model, tasks, loss, start)

    return run


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_an_interrupted_run_ends_with_the_bytes_of_an_unbroken_one(fit, tmp_path: Path, kind: Any) -> None:
    config = replace(CONFIG, optimiser=replace(CONFIG.optimiser, kind=kind))
    whole, unbroken = fit(tmp_path / "whole", config=config)

    def interrupt(step: int) -> None:
        if step == 7:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(InterruptedRunError, match=r"step 8 of 12.*--resume"):
        fit(tmp_path / "broken", at=interrupt, config=config)
    mended, resumed = fit(tmp_path / "broken", "resume", config=config)
    assert same(whole.state_dict(), mended.state_dict())
    assert unbroken.history == resumed.history
    states = [read_state(tmp_path / name, _description(config)) for name in ("whole", "broken")]
    assert states[0] is not None
    assert states[1] is not None
    assert same(states[0].tensors, states[1].tensors)


def _description(config: TrainerConfig) -> dict[str, Any]:
    return {"trainer": to_dict(config), "seed": 3, "a": 1}


def test_a_run_that_is_killed_loses_what_came_after_its_last_checkpoint_and_no_more(
    fit, tmp_path: Path
) -> None:
    def die(step: int) -> None:
        if step == 9:
            raise KeyboardInterrupt

    whole, _ = fit(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "killed", at=die, checkpoint_seconds=0.0)
    steps: list[int] = []
    mended, _ = fit(tmp_path / "killed", "resume", at=steps.append)
    assert steps == [9, 10, 11]
    assert same(whole.state_dict(), mended.state_dict())


def test_a_finished_run_is_taken_up_without_a_step(fit, tmp_path: Path) -> None:
    first, before = fit(tmp_path)
    steps: list[int] = []
    again, after = fit(tmp_path, "resume", at=steps.append)
    assert steps == []
    assert same(first.state_dict(), again.state_dict())
    assert before == after


def test_a_run_that_is_there_is_neither_overwritten_nor_mixed_up(fit, tmp_path: Path) -> None:
    fit(tmp_path)
    with pytest.raises(OutputExistsError, match=r"12 steps.*--resume"):
        fit(tmp_path)
    other = replace(CONFIG, optimiser=replace(CONFIG.optimiser, lr=0.02))
    with pytest.raises(ConfigError, match=r"trainer.optimiser.lr was 0.01, given is 0.02"):
        fit(tmp_path, "resume", config=other)
    _, replaced = fit(tmp_path, "replace", config=replace(other, steps=2))
    assert replaced.steps == 2


NO_NUMBER = torch.tensor(math.nan)


def no_joint(model: nn.Module, terms: LossTerms) -> LossTerms:
    return terms._replace(loss=terms.loss * math.nan, log={**terms.log, "joint": NO_NUMBER})


def no_level(model: nn.Module, terms: LossTerms) -> LossTerms:
    assert terms.kl is not None
    kl = torch.stack([terms.kl[..., 0], terms.kl[..., 1] + math.inf], dim=-1)
    return terms._replace(loss=terms.loss + kl.sum(), kl=kl)


def no_gradient(model: nn.Module, terms: LossTerms) -> LossTerms:
    """0 more, whose gradient is no number."""
    weight = dict(model.named_parameters())[SPOILED]
    return terms._replace(loss=terms.loss + (weight - weight.detach()).square().sum().sqrt())


SPOILED = "decoder.output.2.bias"


def spoiled_at(steps: set[int], how: Callable[[nn.Module, LossTerms], LossTerms]) -> Spoil:
    return lambda model, step, terms: how(model, terms) if step in steps else terms


@pytest.mark.fault("numbers that are not finite")
@pytest.mark.parametrize(
    ("how", "part"),
    [
        (no_joint, "the loss is not finite: joint is nan"),
        (no_level, "the loss is not finite: kl1 is inf"),
        (no_gradient, f"gradients are not finite: {SPOILED}"),
    ],
)
def test_what_is_not_finite_is_named_with_its_step_and_the_weights_before_it_are_kept(
    fit, tmp_path: Path, how: Any, part: str
) -> None:
    def die(step: int) -> None:
        if step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "good", at=die, checkpoint_seconds=0.0)
    with pytest.raises(DivergenceError, match=rf"step 4: {part}\. .*learning rate.*--on-divergence skip"):
        fit(tmp_path / "bad", spoil=spoiled_at({4}, how))
    good, kept = (read_state(tmp_path / name, _description(CONFIG)) for name in ("good", "bad"))
    assert good is not None
    assert kept is not None
    assert (good.step, kept.step) == (4, 4)
    assert same(good.tensors, kept.tensors)


@pytest.mark.fault("numbers that are not finite")
@pytest.mark.parametrize("how", [no_joint, no_gradient])
def test_a_step_is_skipped_on_demand_by_a_run_from_its_start_or_by_one_that_stopped_at_it(
    fit, tmp_path: Path, how: Any
) -> None:
    spoil, lines = spoiled_at({4, 5}, how), list[str]()
    model, trained = fit(tmp_path / "a", spoil=spoil, on_divergence="skip", log=lines.append)
    assert (trained.steps, trained.skipped) == (12, 2)
    assert [row.step for row in trained.history] == [5, 10, 12]
    assert all(math.isfinite(value) for row in trained.history for value in (*row.values.values(), *row.kl))
    assert all(tensor.isfinite().all() for tensor in model.state_dict().values())
    state = read_state(tmp_path / "a", _description(CONFIG))
    assert state is not None
    assert float(state.part("optimiser0.")["0.step"]) == 10  # of twelve steps, two moved nothing
    assert sum("This step is skipped" in line for line in lines) == 2
    with pytest.raises(DivergenceError, match="step 4"):
        fit(tmp_path / "b", spoil=spoil)
    other, again = fit(tmp_path / "b", "resume", spoil=spoil, on_divergence="skip")
    assert same(model.state_dict(), other.state_dict())
    assert (trained.history, trained.skipped) == (again.history, again.skipped)


@pytest.mark.fault("numbers that are not finite")
def test_ten_in_a_row_stop_a_run_that_skips(fit, tmp_path: Path) -> None:
    config = replace(CONFIG, log_every=3)
    with pytest.raises(DivergenceError, match=r"step 11: .* 10 steps in a row"):
        fit(tmp_path, config=config, spoil=spoiled_at(set(range(2, 12)), no_joint), on_divergence="skip")
    state = read_state(tmp_path, _description(config))
    assert state is not None
    assert (state.step, state.skipped) == (11, 9)
    assert [row.step for row in state.history] == [3]
    assert all(tensor.isfinite().all() for tensor in state.tensors.values())


@pytest.mark.fault("numbers that are not finite")
def test_weights_that_are_not_finite_are_named_and_never_saved(fit, tmp_path: Path) -> None:
    def ruin(model: nn.Module, step: int, terms: LossTerms) -> LossTerms:
        if step == 6:
            with torch.no_grad():
                dict(model.named_parameters())[SPOILED].fill_(math.nan)
        return terms

    with pytest.raises(DivergenceError, match=rf"by step 7: weights are not finite: {SPOILED}\."):
        fit(tmp_path, spoil=ruin, checkpoint_seconds=0.0)
    state = read_state(tmp_path, _description(CONFIG))
    assert state is not None
    assert state.step == 6
    assert all(tensor.isfinite().all() for tensor in state.tensors.values())


def test_the_history_holds_means_over_its_steps_and_every_level_of_the_latents(fit, tmp_path: Path) -> None:
    _, trained = fit(tmp_path)
    assert [row.step for row in trained.history] == [5, 10, 12]
    assert all(len(row.kl) == 2 and min(row.kl) >= 0 for row in trained.history)
    rates = [CONFIG.optimiser.rate(step, 12) for step in range(12)]
    assert trained.history[0].values["lr"] == pytest.approx(sum(rates[:5]) / 5)
    assert {"loss", "lr", "joint", "kl", "beta"} == trained.history[0].values.keys()


def test_training_lowers_the_loss_and_returns_the_average(
    tiny_cnp: System, tasks: GaussianProcessTasks, fabric: Any, tmp_path: Path
) -> None:
    model = tiny_cnp.build(0)

    def loss(model: Any, batch: Any, step: int, generator: torch.Generator) -> LossTerms:
        return process_loss(model, batch, tiny_cnp.objective, step, generator)

    config = replace(CONFIG, steps=80, log_every=20)
    trainer = Trainer(config, tmp_path, seed=0, described={}, fabric=fabric)
    trained = trainer.fit(model, tasks, loss, "new")
    assert trained.history[-1].values["loss"] < trained.history[0].values["loss"] - 0.1
    state = read_state(tmp_path, trainer.description)
    assert state is not None
    assert same(model.state_dict(), state.part("average."))
    assert not same(state.part("model."), state.part("average."))


def test_bfloat16_trains_too(fit, tiny_vnp: System, tasks: GaussianProcessTasks, tmp_path: Path) -> None:
    config = replace(CONFIG, steps=3, precision="bf16-mixed")
    model = tiny_vnp.build(0)

    def loss(model: Any, batch: Any, step: int, generator: torch.Generator) -> LossTerms:
        return process_loss(model, batch, tiny_vnp.objective, step, generator)

    half = build_fabric(config, "cpu")
    trainer = Trainer(config, tmp_path, seed=0, described={}, fabric=half)
    trained = trainer.fit(model, tasks, loss, "new")
    assert math.isfinite(trained.history[-1].values["loss"])


def test_dead_levels_are_told_after_a_while() -> None:
    rows = [HistoryRow(step, {}, [1.0, 0.001]) for step in range(30)]
    message = collapse_message(rows)
    assert message is not None
    assert "level 1" in message
    assert "level 0" not in message
    assert collapse_message(rows[:10]) is None
    assert collapse_message([HistoryRow(0, {}, [])]) is None


@pytest.mark.parametrize("bad", [{"steps": 0}, {"devices": 0}, {"clip": 0.0}, {"ema": 1.0}])
def test_impossible_budgets_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="given was"):
        TrainerConfig(**bad)


TWO_PROCESSES = """
import sys
from pathlib import Path
import torch
from vnp_core.bench.systems import System
from vnp_core.bench.trainer import Trainer, TrainerConfig, build_fabric
from vnp_core.peers import CNPConfig
from vnp_core.process_objectives import ObjectiveConfig, process_loss
from vnp_core.tasks.gaussian_processes import GaussianProcessConfig, GaussianProcessTasks

system = System("cnp", "cnp", CNPConfig(width=8, layers=2), ObjectiveConfig(kind="mixture"))
config = TrainerConfig(steps=4, devices=2)
fabric = build_fabric(config, "cpu")
seen = []
tasks = GaussianProcessTasks(GaussianProcessConfig(batch_size=4), seed=1)
model = system.build(0)
def loss(model, batch, step, generator):
    seen.append(float(batch.targets.x.sum()))
    return process_loss(model, batch, system.objective, step, generator)
Trainer(config, Path(sys.argv[1]), seed=0, described={}, fabric=fabric).fit(model, tasks, loss, "new")
weights = torch.cat([parameter.flatten() for parameter in model.parameters()])
every = fabric.all_gather(weights)
batches = fabric.all_gather(torch.tensor(seen)).flatten()
if fabric.is_global_zero:
    print("alike", torch.equal(every[0], every[1]), "batches", len(set(batches.tolist())))
"""


@pytest.mark.slow
def test_two_processes_share_one_run_on_batches_of_their_own(tmp_path: Path) -> None:
    program = tmp_path / "train.py"
    program.write_text(TWO_PROCESSES)
    run = subprocess.run(
        [sys.executable, str(program), str(tmp_path / "run")], capture_output=True, text=True, timeout=250
    )
    assert run.returncode == 0, run.stderr
    assert "alike True batches 8" in run.stdout
    assert [path.suffix for path in sorted((tmp_path / "run").iterdir())] == [".json", ".safetensors"]
