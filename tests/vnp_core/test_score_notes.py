"""Scores that were noted are not computed again, and those of other code, weights or commands are."""

import errno
import math
from pathlib import Path

import pytest

from vnp_core.errors import StorageError
from vnp_core.score_notes import ScoreNotes

OURS = {"command": "bench", "commit": "abc", "weights": {"ours": "12"}}


def count_to(number: float, calls: list[float]) -> dict[str, float]:
    calls.append(number)
    return {"psnr": number, "iou": math.nan}


def test_what_was_noted_is_not_computed_again(tmp_path: Path):
    calls: list[float] = []
    notes = ScoreNotes(tmp_path / "deep" / "n", OURS)
    first = notes(("cars", "a", 1), lambda: count_to(1.5, calls))
    assert notes(("cars", "a", 1), lambda: count_to(9.0, calls)) == first
    again = ScoreNotes(tmp_path / "deep" / "n", dict(reversed(OURS.items())))
    assert len(again.known) == 1
    assert again.spent > 0
    told = again(("cars", "a", 1), lambda: count_to(9.0, calls))
    assert told["psnr"] == 1.5
    assert math.isnan(told["iou"])
    assert again(("cars", "a", 3), lambda: count_to(2.5, calls))["psnr"] == 2.5
    assert calls == [1.5, 2.5]
    third = ScoreNotes(tmp_path / "deep" / "n", OURS)
    assert len(third.known) == 2
    assert third.spent >= again.spent
    third.finish()
    assert list((tmp_path / "deep").iterdir()) == []


@pytest.mark.parametrize("other", [{**OURS, "commit": "abd"}, {**OURS, "weights": {"ours": "13"}}])
def test_notes_of_something_else_are_begun_anew(tmp_path: Path, other: dict[str, object]):
    ScoreNotes(tmp_path / "n", OURS)(("a",), lambda: {"psnr": 1.0})
    assert not ScoreNotes(tmp_path / "n", other).known
    assert not ScoreNotes(tmp_path / "n", OURS).known


def test_without_an_identity_nothing_is_noted(tmp_path: Path):
    notes = ScoreNotes(tmp_path / "n", None)
    assert notes(("a",), lambda: {"psnr": 1.0}) == {"psnr": 1.0}
    assert "nothing is kept" in notes.farewell
    notes.finish()
    assert list(tmp_path.iterdir()) == []


def test_a_torn_last_line_is_lost_and_no_other(tmp_path: Path):
    notes = ScoreNotes(tmp_path / "n", OURS)
    for name in ("a", "b"):
        notes((name,), lambda: {"psnr": 1.0})
    text = (tmp_path / "n").read_text()
    (tmp_path / "n").write_text(text[:-9])
    again = ScoreNotes(tmp_path / "n", OURS)
    assert list(again.known) == ['["a"]']
    again(("b",), lambda: {"psnr": 2.0})
    assert len(ScoreNotes(tmp_path / "n", OURS).known) == 2


@pytest.mark.parametrize("content", ["", "\n", "\xff", "null\n[1, 2]\n"])
def test_a_file_that_is_no_notes_is_begun_anew(tmp_path: Path, content: str):
    (tmp_path / "n").write_text(content, encoding="latin-1")
    assert not ScoreNotes(tmp_path / "n", OURS).known
    broken = (tmp_path / "n").read_text() + "[1, 2]\n"
    (tmp_path / "n").write_text(broken)
    assert not ScoreNotes(tmp_path / "n", OURS).known
    assert (tmp_path / "n").read_text().count("\n") == 1


def test_a_full_disk_says_that_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    notes = ScoreNotes(tmp_path / "n", OURS)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(StorageError, match="goes on where it was"):
        notes(("a",), lambda: {"psnr": 1.0})
