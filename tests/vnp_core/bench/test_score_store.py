"""Scores on disk: only what is missing is computed."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from vnp_core.bench import score_store
from vnp_core.bench.score_store import blockwise

pytestmark = pytest.mark.fault("damaged scores of a benchmark")


class Work:
    """Counts which blocks were asked for, and stops at one."""

    def __init__(self, stop: int | None = None) -> None:
        self.asked: list[int] = []
        self.stop = stop

    def __call__(self, block: int) -> dict[str, Tensor]:
        if block == self.stop:
            raise KeyboardInterrupt
        self.asked.append(block)
        return {"a": torch.tensor([block, block + 0.5]), "b": torch.full((2, 3), float(block))}


def run(work: Work, path: Path, described: dict[str, int], resume: bool = True) -> dict[str, Tensor]:
    return blockwise(work, 4, path, described, resume=resume, label="scores")


def test_blocks_are_joined_in_order(tmp_path: Path) -> None:
    scores = run(Work(), tmp_path / "s", {"seed": 0})
    assert scores["a"].tolist() == [0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5]
    assert scores["b"].shape == (8, 3)


def test_an_evaluation_goes_on_where_it_was_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score_store, "SAVE_SECONDS", 0.0)
    whole = run(Work(), tmp_path / "whole", {"seed": 0})
    with pytest.raises(KeyboardInterrupt):
        run(Work(stop=2), tmp_path / "s", {"seed": 0})
    work = Work()
    mended = run(work, tmp_path / "s", {"seed": 0})
    assert work.asked == [2, 3]
    assert all(torch.equal(whole[name], mended[name]) for name in whole)
    again = Work()
    run(again, tmp_path / "s", {"seed": 0})
    assert again.asked == []


def test_scores_of_something_else_are_not_taken(tmp_path: Path) -> None:
    run(Work(), tmp_path / "s", {"seed": 0})
    for described, resume in (({"seed": 1}, True), ({"seed": 1}, False)):
        work = Work()
        run(work, tmp_path / "s", described, resume)
        assert work.asked == [0, 1, 2, 3]


def test_of_torn_scores_the_last_interval_alone_is_computed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr(score_store, "SAVE_SECONDS", 0.0)
    whole = run(Work(), tmp_path / "s", {})
    for path in sorted(tmp_path.glob("*.safetensors"), key=lambda path: path.stat().st_size)[-1:]:
        path.write_bytes(b"torn")
    work = Work()
    mended = run(work, tmp_path / "s", {})
    assert work.asked == [3]
    assert all(torch.equal(whole[name], mended[name]) for name in whole)
    assert "WARNING" in capsys.readouterr().err
    for path in tmp_path.glob("*.safetensors"):
        path.write_bytes(b"torn")
    work = Work()
    run(work, tmp_path / "s", {})
    assert work.asked == [0, 1, 2, 3]


def test_a_new_evaluation_forgets_all_of_an_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score_store, "SAVE_SECONDS", 0.0)
    run(Work(), tmp_path / "s", {})
    with pytest.raises(KeyboardInterrupt):
        run(Work(stop=1), tmp_path / "s", {}, resume=False)
    work = Work()
    run(work, tmp_path / "s", {})
    assert work.asked == [1, 2, 3]
