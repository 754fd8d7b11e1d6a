"""The results format: what is written comes back, what is broken is refused, means are means."""

import json
import math
import shutil
import statistics
import subprocess
from pathlib import Path

import pytest

from vnp_core.errors import DataError
from vnp_core.results import Row, Stopwatch, command_line, git_state, mean_row, read_results, write_results

ROWS = (
    Row("vnp", "furniture", "test", "views=1", "psnr", 21.25, 0.25, 45),
    Row("vnp", "furniture", "test", "", "seconds", 3.0, None, 1),
)


def _written(folder: Path) -> Path:
    path = folder / "deep" / "results.json"
    write_results(path, Stopwatch("bench_3d", seed=7).results(ROWS))
    return path


def test_results_survive_the_round_trip_and_leave_no_other_file(tmp_path: Path) -> None:
    path = _written(tmp_path)
    results = read_results(path)
    assert results.rows == ROWS
    assert (results.bench, results.seed) == ("bench_3d", 7)
    assert results.seconds >= 0
    assert results.peak_bytes > 1_000_000
    assert all([results.hardware, results.torch, results.commit, results.command])
    assert [entry.name for entry in path.parent.iterdir()] == ["results.json"]


def test_the_file_has_the_stated_keys_and_one_row_a_line(tmp_path: Path) -> None:
    text = _written(tmp_path).read_text()
    raw = json.loads(text)
    head = [
        "bench",
        "commit",
        "dirty",
        "command",
        "hardware",
        "torch",
        "seed",
        "seconds",
        "peak_bytes",
        "rows",
    ]
    assert list(raw) == head
    assert list(raw["rows"][0]) == ["model", "task", "split", "condition", "metric", "value", "stderr", "n"]
    assert sum('"metric"' in line for line in text.splitlines()) == len(ROWS)


def test_weights_are_told_where_there_are_any(tmp_path: Path) -> None:
    digests = {"vnp": "ab" * 32}
    write_results(tmp_path / "r.json", Stopwatch("bench_3d", seed=7).results(ROWS, digests))
    assert read_results(tmp_path / "r.json").weights == digests
    assert read_results(_written(tmp_path)).weights == {}


def test_a_failed_write_leaves_the_old_file_alone(tmp_path: Path) -> None:
    path = _written(tmp_path)
    before = path.read_bytes()
    bad = Row("vnp", "furniture", "test", "", "psnr", math.inf, None, 1)
    with pytest.raises(DataError, match="not finite"):
        write_results(path, Stopwatch("bench_3d", seed=7).results([bad]))
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda raw: raw.pop("commit"), "'commit' is missing"),
        (lambda raw: raw.update(colour=1), "'colour'"),
        (lambda raw: raw.update(seed="7"), "'seed'"),
        (lambda raw: raw.update(seed=True), "'seed'"),
        (lambda raw: raw["rows"][1].pop("n"), "row 1: key 'n' is missing"),
        (lambda raw: raw["rows"][0].update(value=None), "row 0: key 'value'"),
        (lambda raw: raw["rows"][0].update(value=math.nan), "only finite"),
        (lambda raw: raw.update(rows={}), "'rows'"),
        (lambda raw: raw.update(weights=["vnp"]), "'weights'"),
        (lambda raw: raw.update(weights={"vnp": 3}), "'weights'"),
        (lambda raw: raw["rows"].append(3), "row 2: expected an object"),
    ],
)
def test_a_broken_file_is_refused_by_naming_what_is_wrong(tmp_path: Path, change, reason: str) -> None:
    path = _written(tmp_path)
    raw = json.loads(path.read_text())
    change(raw)
    path.write_text(json.dumps(raw))
    with pytest.raises(DataError, match=reason):
        read_results(path)


def test_a_missing_or_truncated_file_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no results at"):
        read_results(tmp_path / "none.json")
    path = _written(tmp_path)
    path.write_text(path.read_text()[:100])
    with pytest.raises(DataError, match="cannot be read as JSON"):
        read_results(path)


def test_a_mean_row_is_the_mean_with_its_standard_error_and_skips_what_is_not_there() -> None:
    values = [1.0, 2.0, 4.0, 9.0]
    row = mean_row("m", "t", "s", "views=1", "psnr", [*values, math.nan])
    assert (row.value, row.n) == (statistics.mean(values), 4)
    assert row.stderr == pytest.approx(statistics.stdev(values) / 2, abs=1e-6)
    assert mean_row("m", "t", "s", "", "psnr", [3.0]).stderr is None
    with pytest.raises(DataError, match="no value of psnr"):
        mean_row("m", "t", "s", "", "psnr", [math.nan])


def test_values_of_one_cluster_count_as_one_however_often_they_are_repeated() -> None:
    values = [1.0, 2.0, 4.0, 9.0]
    once = mean_row("m", "t", "s", "", "ll", values)
    often = mean_row("m", "t", "s", "", "ll", [value for value in values for _ in range(5)], cluster=5)
    assert (often.value, often.stderr, often.n) == (once.value, once.stderr, 20)
    assert mean_row("m", "t", "s", "", "ll", values, cluster=4).stderr is None  # one cluster has no spread


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git on this machine")
def test_the_git_state_is_the_commit_and_tells_changes_from_none(tmp_path: Path) -> None:
    assert git_state(tmp_path / "nowhere") == ("unknown", True)

    def git(*words: str) -> str:
        author = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "core.hooksPath=/dev/null"]
        return subprocess.run(
            ["git", *author, *words], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout

    git("init", "-q")
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "-q", "-m", "first")
    assert git_state(tmp_path) == (git("rev-parse", "HEAD").strip(), False)
    (tmp_path / "file").write_text("two")
    assert git_state(tmp_path)[1]


def test_the_command_names_no_folder_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    words = [f"{tmp_path}/scripts/bench.py", "--data", f"furniture:{tmp_path}/outputs/a b"]
    assert command_line(words) == "python scripts/bench.py --data 'furniture:outputs/a b'"
    elsewhere = ["scripts/bench.py", "--data", "emnist:/media/mine/emnist", "--output=/scratch/me/r.json"]
    assert command_line(elsewhere) == "python scripts/bench.py --data emnist:emnist --output=r.json"
