"""A study on disk: what is trained is what is scored, and nothing is done twice."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from vnp_core.autoregressive import autoregressive_score
from vnp_core.bench.ceilings import KNOWN
from vnp_core.bench.families import Family, build_family
from vnp_core.bench.scoring import score_tasks
from vnp_core.bench.study import Study, weights_name
from vnp_core.bench.systems import System, describe, load_system
from vnp_core.bench.trainer import Start, TrainerConfig, build_fabric
from vnp_core.checkpoints import save_weights
from vnp_core.errors import CheckpointError, ConfigError
from vnp_core.tasks.exact_gp import known_ceiling
from vnp_core.tasks.task import step_generator

TRAINER = TrainerConfig(steps=3)


@pytest.fixture(scope="module")
def fabric() -> Any:
    return build_fabric(TRAINER, "cpu")


@pytest.fixture(scope="module")
def family() -> Family:
    return build_family("rbf", seed=0, batch_size=4, test_tasks=48)


def study(folder: Path, fabric: Any, start: Start = "new", **options: Any) -> Study:
    return Study(folder, TRAINER, fabric, seed=0, start=start, **options)


@pytest.mark.parametrize("half", [False, True])
def test_what_is_scored_is_what_the_file_of_weights_holds(
    fabric: Any, family: Family, tiny_vnp: System, tmp_path: Path, half: bool
) -> None:
    entry = study(tmp_path, fabric, half=half).train(tiny_vnp, family)
    path = tmp_path / "weights" / weights_name("vnp", "rbf")
    system, model, card = load_system(path)
    assert system == tiny_vnp
    assert card["trained_on"] == "rbf"
    assert (card["steps"], card["seed"]) == (3, 0)
    for name, tensor in entry.model.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name])
        assert not half or torch.equal(tensor, tensor.bfloat16().float())
    assert [row.step for row in entry.history] == [3]


def test_training_can_begin_from_weights_that_are_there(
    fabric: Any, family: Family, tiny_cnp: System, tmp_path: Path
) -> None:
    first = study(tmp_path / "first", fabric).train(tiny_cnp, family)
    folder = tmp_path / "first" / "weights"
    # Steps of hardly any length leave the weights where they began.
    still = replace(tiny_cnp, optimiser=replace(tiny_cnp.optimiser, lr=1e-12))
    entry = study(tmp_path / "second", fabric, initial=folder).train(still, family)
    for name, tensor in entry.model.state_dict().items():
        torch.testing.assert_close(tensor, first.model.state_dict()[name])
    told = entry.metadata["began_from"]
    assert (told["sha256"], told["steps"], told["trained_on"]) == (first.sha256, 3, "rbf")
    again = study(tmp_path / "third", fabric, initial=tmp_path / "second" / "weights").train(still, family)
    assert again.metadata["began_from"]["began_from"] == told
    with pytest.raises(ConfigError, match="another configuration: began_from"):
        study(tmp_path / "second", fabric, "resume").train(still, family)


def test_weights_to_begin_from_must_be_there_and_of_the_same_shapes(
    fabric: Any, family: Family, tiny_cnp: System, tiny_vnp: System, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match="vnp-rbf"):
        study(tmp_path / "first", fabric, initial=tmp_path).train(tiny_vnp, family)
    study(tmp_path / "first", fabric).train(tiny_cnp, family)
    folder = tmp_path / "first" / "weights"
    wider = replace(tiny_cnp, model=replace(tiny_cnp.model, width=24))
    with pytest.raises(CheckpointError, match="cnp-rbf"):
        study(tmp_path / "second", fabric, initial=folder).train(wider, family)


def test_scores_are_those_of_the_tasks_and_survive_a_restart(
    fabric: Any, family: Family, tiny_cnp: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = study(tmp_path, fabric)
    entry = first.train(tiny_cnp, family)
    scores = first.scores(entry, family.tests[0], 1)
    batches = [family.tests[0].source.batch(step) for step in range(3)]
    torch.testing.assert_close(
        scores["ll_joint"], score_tasks(entry.process, batches, 1, 0)["ll_joint"], atol=1e-6, rtol=1e-6
    )
    again = study(tmp_path, fabric, "resume")
    entry = again.train(tiny_cnp, family)
    monkeypatch.setattr("vnp_core.bench.study.score_tasks", None)
    restored = again.scores(entry, family.tests[0], 1)
    assert all(torch.equal(scores[name].nan_to_num(), restored[name].nan_to_num()) for name in scores)


def test_the_ceiling_and_the_autoregressive_score_are_their_functions(
    fabric: Any, family: Family, tiny_cnp: System, tmp_path: Path
) -> None:
    work = study(tmp_path, fabric)
    test = replace(family.tests[0], batches=2)
    process: Any = test.process
    batches: list[Any] = [test.source.batch(step) for step in range(2)]
    expected = torch.cat([known_ceiling(batch, process).joint for batch in batches])
    torch.testing.assert_close(work.ceiling(KNOWN, test)["ll_joint"], expected)
    entry = work.train(tiny_cnp, family)
    generator = step_generator(0, 0, 1)
    with torch.inference_mode():
        expected = torch.cat(
            [autoregressive_score(entry.process, b.context, b.targets, 1, generator) for b in batches]
        )
    torch.testing.assert_close(work.autoregressive(entry, test, 1)["ll_joint"], expected)


def test_draws_are_changed_only_where_there_are_latents(
    fabric: Any, family: Family, tiny_vnp: System, tiny_cnp: System, tmp_path: Path
) -> None:
    work = study(tmp_path, fabric)
    assert work.train(tiny_vnp, family).with_draws(7).system.draws == 7
    assert work.train(tiny_cnp, family).with_draws(7).system.draws == 1


def test_weights_of_something_else_are_refused(fabric: Any, tiny_cnp: System, tmp_path: Path) -> None:
    save_weights(tmp_path / "w", tiny_cnp.build(0), describe(tiny_cnp))
    with pytest.raises(CheckpointError, match="trained on"):
        study(tmp_path, fabric).load(tmp_path / "w")


def test_kept_ceilings_are_of_the_seed_that_drew_the_tasks(fabric: Any, tmp_path: Path) -> None:
    """The same command with another seed is about other tasks, and its test is described alike."""
    found = []
    for seed in (0, 1):
        (test, *_) = build_family("rbf", seed=seed, batch_size=4, test_tasks=48).tests
        kept = Study(tmp_path, TRAINER, fabric, seed=seed, start="resume")
        fresh = Study(tmp_path / f"{seed}", TRAINER, fabric, seed=seed, start="new")
        scores = kept.ceiling(KNOWN, test)
        for name, values in fresh.ceiling(KNOWN, test).items():
            torch.testing.assert_close(scores[name], values, rtol=0, atol=0, equal_nan=True)
        found.append(scores["ll_joint"])
    assert not torch.equal(*found)
