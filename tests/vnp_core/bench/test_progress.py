"""Progress where nobody watches a terminal."""

import pytest

from vnp_core.bench import progress as module
from vnp_core.bench.progress import progress


def test_without_a_terminal_there_is_at_most_one_line_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    lines: list[str] = []
    with progress("tasks", 100, lines.append) as report:
        for done in range(1, 101):
            now += 2.5
            report(done, "well")
    assert len(lines) == 4
    assert lines[0] == "tasks: 24 of 100, 3 min to go; well"


def test_what_is_left_counts_from_where_a_run_was_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    lines: list[str] = []
    with progress("tasks", 100, lines.append, start=90) as report:
        now = 300.0
        report(95, "")
    assert "95 of 100, 5 min to go" in lines[0]


def test_without_a_log_nothing_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("tasks", 2) as report:
        report(1, "")
    assert capsys.readouterr() == ("", "")
