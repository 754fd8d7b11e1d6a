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

CONFIG = TrainerConfig(steps=12, optimiser=OptimiserConfig(lr=1e-2, warmup=2), log_every=5, ema=0.9)


@pytest.fixture(scope="module")
def fabric() -> Any:
    return build_fabric(CONFIG, "cpu")


@pytest.fixture
def fit(
    tiny_vnp: System, tasks: GaussianProcessTasks, fabric: Any
) -> Callable[..., tuple[nn.Module, Trained]]:
    """Trains the tiny system in a folder; `at` is called with each step before its loss."""

    def run(
        folder: Path,
        start: Start = "new",
        at: Callable[[int], None] | None = None,
        config: TrainerConfig = CONFIG,
        **settings: Any,
    ) -> tuple[nn.Module, Trained]:
        system = replace(tiny_vnp, optimiser=config.optimiser)
        model = system.build(0)

        def loss(model: Any, batch: Any, step: int, generator: torch.Generator) -> LossTerms:
            if at is not None:
                at(step)
            return process_loss(model, batch, system.objective, step, generator)

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


def test_a_loss_that_is_no_number_names_the_step_and_keeps_the_weights_before_it(
    tiny_cnp: System, tasks: GaussianProcessTasks, fabric: Any, tmp_path: Path
) -> None:
    model = tiny_cnp.build(0)

    def loss(model: Any, batch: Any, step: int, generator: torch.Generator) -> LossTerms:
        terms = process_loss(model, batch, tiny_cnp.objective, step, generator)
        return terms._replace(loss=terms.loss * math.nan) if step == 4 else terms

    trainer = Trainer(CONFIG, tmp_path, seed=0, described={}, fabric=fabric)
    with pytest.raises(DivergenceError, match=r"step 4.*nan.*lower learning rate"):
        trainer.fit(model, tasks, loss, "new")
    state = read_state(tmp_path, trainer.description)
    assert state is not None
    assert state.step == 4
    assert all(tensor.isfinite().all() for tensor in state.tensors.values())
    assert same(model.state_dict(), state.part("average."))


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
