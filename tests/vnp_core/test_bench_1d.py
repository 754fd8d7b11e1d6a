"""The benchmark of one dimension from its flags to results, figures and tables, on tiny models."""

import contextlib
import io
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import tyro

from vnp_core.bench.one_dimension import Extent
from vnp_core.bench.systems import System
from vnp_core.errors import CheckpointError, ConfigError, DataError, OutputExistsError
from vnp_core.results import Results, read_results

TINY = Extent(
    draws=(1, 2),
    draw_tasks=16,
    autoregressive_tasks=16,
    contexts=(3, 6),
    targets=2,
    curve_tasks=8,
    pictured=(3,),
    encoded=(8, 16),
)


Values = Callable[..., dict[tuple[str, str, str], float]]


@pytest.fixture(scope="module")
def bench(
    load_script: Callable[[str], ModuleType], once: Callable[..., float], tiny_vnp: System, tiny_cnp: System
) -> Generator[Any, None, None]:
    """The program, with tiny systems under the names that it knows."""
    module = load_script("bench_1d")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SYSTEMS_1D", {"vnp": tiny_vnp, "tnp": replace(tiny_cnp, name="tnp")})
        patch.setattr(module, "QUICK_EXTENT", TINY)
        patch.setattr(module, "Extent", lambda: TINY)
        patch.setattr("vnp_core.bench.encoding_cost.fastest", once)
        yield module


@pytest.fixture(scope="module")
def first(bench: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Results, str]:
    """A quick run: where it wrote, what it measured, and what it printed."""
    folder = tmp_path_factory.mktemp("first")
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        results = run(bench, folder)
    return folder, results, printed.getvalue()


def run(bench: Any, folder: Path, **flags: Any) -> Results:
    output = folder / "results.json"
    given = {"quick": True, "models": ("vnp", "tnp"), "steps": 3, "test_tasks": 16, "accelerator": "cpu"}
    bench.main(bench.Bench1D(output=output, **{**given, **flags}))
    return read_results(output)


def test_a_quick_run_measures_everything_and_says_that_it_is_no_table(
    first: tuple[Path, Results, str], values: Values
) -> None:
    folder, results, printed = first
    assert {row.split for row in results.rows} == {
        "test",
        "ood",
        "curve",
        "draws",
        "autoregressive",
        "speed",
        "published",
        "training",
    }
    assert {row.task for row in results.rows if row.split == "ood"} == {"matern52", "periodic"}
    test = values(results, split="test", task="rbf")
    for model in ("gp-integrated", "gp-known", "vnp", "tnp"):
        assert {("ll_point"), ("ll_joint")} <= {metric for name, _, metric in test if name == model}
    assert test["vnp", "", "sigma_floor"] == 0
    gap = test["gp-integrated", "", "ll_joint"] - test["vnp", "", "ll_joint"]
    assert test["vnp", "", "gap_joint"] == pytest.approx(gap, abs=1e-5)
    assert {row.n for row in results.rows if row.metric == "ll_joint" and row.split == "test"} == {16}
    assert {name[1] for name in values(results, split="draws")} == {"draws=1", "draws=2"}
    ways = values(results, split="autoregressive", metric="ll_joint")
    assert {condition for _, condition, _ in ways} == {"way=one-pass", "way=autoregressive"}

    figures = {path.name for path in folder.glob("*.png")}
    assert figures == {
        "results-training-rbf.png",
        "results-calibration-rbf.png",
        "results-calibration-rbf-matern52.png",
        "results-calibration-rbf-periodic.png",
        "results-predictions-rbf.png",
        "results-contexts-rbf.png",
        "results-encoding.png",
    }
    assert "rbf (as in training)" in printed
    assert "periodic (never trained on)" in printed
    assert "not the table's numbers" in printed


def test_weights_alone_give_the_same_scores_without_training(
    bench: Any, first: tuple[Path, Results, str], tmp_path: Path, values: Values
) -> None:
    folder, trained, _ = first
    weights = folder / "results" / "weights"
    scored = run(bench, tmp_path / "second", eval_only=True, weights=weights)
    for split in ("test", "ood", "draws", "curve"):
        assert values(trained, split=split) == values(scored, split=split)
    assert not (tmp_path / "second" / "results" / "runs").exists()
    with pytest.raises(CheckpointError, match="no weights of these systems"):
        run(bench, tmp_path / "third", eval_only=True, weights=tmp_path)


def test_a_run_that_is_there_is_gone_on_with_or_left_alone(
    bench: Any, tmp_path: Path, values: Values
) -> None:
    flags = {"quick": False, "kernels": ("periodic",), "models": ("tnp",), "steps": 2}
    first = run(bench, tmp_path, **flags)
    with pytest.raises(OutputExistsError, match="--resume"):
        run(bench, tmp_path, **flags)
    again = run(bench, tmp_path, **flags, resume=True)
    assert values(first, split="test") == values(again, split="test")
    with pytest.raises(ConfigError, match="trainer.steps was 2, given is 4"):
        run(bench, tmp_path, **{**flags, "steps": 4}, resume=True)
    with pytest.raises(ConfigError, match="one of the two"):
        run(bench, tmp_path, **flags, resume=True, replace=True)


def test_quick_replaces_nothing_in_a_folder_that_was_named(bench: Any, tmp_path: Path) -> None:
    flags = {"kernels": ("periodic",), "models": ("tnp",), "steps": 2}
    run(bench, tmp_path, **flags)
    with pytest.raises(OutputExistsError, match="--resume"):
        run(bench, tmp_path, **flags)


def test_simulations_are_scored_on_measured_pelts(
    bench: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], values: Values
) -> None:
    results = run(bench, tmp_path, kernels=("lotka-volterra",))
    assert values(results, task="hudson-bay", split="real", metric="ll_joint").keys() == {
        ("vnp", "trained=lotka-volterra", "ll_joint"),
        ("tnp", "trained=lotka-volterra", "ll_joint"),
    }
    assert "hudson-bay (measured, after simulations)" in capsys.readouterr().out


def write_table(path: Path, tasks: int) -> Path:
    rows = [f"{task},{x},{task + x * x},{x}" for task in range(tasks) for x in range(8)]
    path.write_text("\n".join(["who,t,a,b", *rows]) + "\n")
    return path


def test_a_users_table_goes_through_the_same_door(bench: Any, tmp_path: Path, values: Values) -> None:
    columns = {"csv_x": ("t",), "csv_y": ("a", "b"), "csv_task": "who"}
    results = run(bench, tmp_path, csv=write_table(tmp_path / "mine.csv", 8), **columns)
    assert {("vnp", "", "ll_joint"), ("tnp", "", "crps")} <= values(results, task="mine", split="test").keys()
    with pytest.raises(DataError, match="two or more"):
        run(bench, tmp_path, csv=write_table(tmp_path / "one.csv", 1), **columns)
    with pytest.raises(DataError, match="has no column 'c'"):
        run(bench, tmp_path, csv=tmp_path / "mine.csv", **{**columns, "csv_y": ("c",)})


def test_names_that_are_none_are_told_before_any_training(bench: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'rfb'.*'rbf'"):
        run(bench, tmp_path, kernels=("rfb",))
    with pytest.raises(ConfigError, match="'tnq'"):
        run(bench, tmp_path, quick=False, models=("vnp", "tnq"))
    assert list(tmp_path.iterdir()) == []


def test_flags_are_read_and_defaults_are_the_tables(bench: Any) -> None:
    default = tyro.cli(bench.Bench1D, args=[])
    assert (default.test_tasks, default.draws, default.noise) == (48_000, 50, 0.02)
    assert not any((default.quick, default.resume, default.replace, default.eval_only))
    given = tyro.cli(bench.Bench1D, args=["--kernels", "rbf", "periodic", "--models", "vnp", "--resume"])
    assert (given.kernels, given.models, given.resume) == (("rbf", "periodic"), ("vnp",), True)
