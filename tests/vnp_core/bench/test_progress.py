"""Progress where nobody watches a terminal."""

import os
import pty
import subprocess
import sys

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
    assert lines[0] == "tasks: 24 of 100, 2.5 s each, 3 min to go; well"


def test_what_is_left_counts_from_where_a_run_was_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    lines: list[str] = []
    with progress("tasks", 100, lines.append, start=90) as report:
        now = 300.0
        report(95, "")
    assert "95 of 100, 60 s each, 5 min to go" in lines[0]


def test_a_total_may_become_known_later_and_rates_are_of_units(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    lines: list[str] = []
    with progress("reading", 0, lines.append, unit="points") as report:
        now = 100.0
        report(150_000, total=600_000)
        now = 200.0
        report(500, total=1000)
    assert lines[0] == "reading: 150,000 of 600,000, 1,500 points/s, 5 min to go"
    assert "500 of 1,000, 2.5 points/s, 3 min to go" in lines[1]


def test_in_a_terminal_there_is_a_bar_with_rate_and_time_left_and_stdout_stays_clean() -> None:
    code = (
        "import time\n"
        "from vnp_core.bench.progress import progress\n"
        "with progress('reading', 0, print, unit='points') as report:\n"
        "    for done in range(1, 9):\n"
        "        time.sleep(0.1)\n"
        "        report(done, 'well', total=16)\n"
        "print('results')\n"
    )
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=slave, env=environment, timeout=60
    )
    os.close(slave)
    shown = os.read(master, 1 << 16).decode()
    os.close(master)
    assert done.stdout.decode() == "results\n"
    assert "8/16" in shown
    assert "points/s" in shown
    assert "0:00:0" in shown
    assert "well" in shown


def test_without_a_log_nothing_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("tasks", 2) as report:
        report(1, "")
    assert capsys.readouterr() == ("", "")
