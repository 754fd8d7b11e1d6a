"""Scores of several processes are those of one, and what goes wrong in one of them is told as if it were."""

import os
from pathlib import Path

import pytest

import vnp_nerf.score_workers
from vnp_core.errors import CheckpointError, DataError
from vnp_core.score_notes import ScoreNotes
from vnp_nerf.console import Speech, Voice
from vnp_nerf.corpora import open_corpus
from vnp_nerf.score_workers import Contest, Task, note_side_by_side, scores_side_by_side


def contest_of(workplace: Path, weights: str) -> Contest:
    corpus = open_corpus("noise", workplace / "noise", workplace / "pairs", ["test"], (1, 3))
    return Contest((weights,), corpus, "test")


def end_at_once(*_: object) -> None:
    os._exit(1)


@pytest.fixture
def contest(workplace: Path) -> Contest:
    return contest_of(workplace, str(workplace / "tiny.safetensors"))


def timeless(scores: dict[str, float]) -> dict[str, float]:
    return {metric: value for metric, value in scores.items() if metric != "seconds"}


def test_two_processes_score_as_one_does(contest: Contest) -> None:
    tasks = contest.tasks((1, 3))
    assert [(task.place, task.count) for task in tasks] == [(0, 1), (0, 3), (1, 1), (1, 3)]
    found = dict(scores_side_by_side(contest, tasks, 2))
    assert found.keys() == set(tasks)
    for task, scores in found.items():
        assert timeless(scores) == pytest.approx(timeless(contest.score(task)), rel=1e-4, abs=1e-5)


def test_what_is_noted_is_not_scored_again(contest: Contest, tmp_path: Path) -> None:
    notes = ScoreNotes(tmp_path / "notes", None)
    place, first = contest.corpus.place("", "test"), contest.tasks((1,))[0]
    notes((*place, *contest.names(first), 1), lambda: {"psnr": -1.0})
    note_side_by_side(contest, 1, 2, notes, Voice(Speech(quiet=True)))
    assert len(notes.known) == 2, "one object at two numbers of views"
    noted = [notes((*place, *contest.names(first), count), dict) for count in (1, 3)]
    assert noted[0] == {"psnr": -1.0}
    assert timeless(noted[1]) == pytest.approx(timeless(contest.score(first._replace(count=3))), rel=1e-4)


def test_an_error_of_one_process_is_raised_as_it_is(workplace: Path) -> None:
    missing = contest_of(workplace, str(workplace / "none.safetensors"))
    with pytest.raises(CheckpointError, match=r"none\.safetensors"):
        list(scores_side_by_side(missing, [Task(missing.weights[0], 0, 1)], 2))


def test_a_process_that_dies_is_told(contest: Contest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vnp_nerf.score_workers, "_enter", end_at_once)
    with pytest.raises(DataError, match="fewer --workers"):
        list(scores_side_by_side(contest, contest.tasks((1,)), 2))
