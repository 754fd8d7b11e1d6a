"""How far a long loop has come: a bar where somebody watches a terminal, else a line a minute.

Both tell the rate and the time that is left. They go to stderr, so that a program's results can be piped.
"""

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Protocol

from vnp_core.bench.extra import import_extra

Log = Callable[[str], None]
"""Told one line for the reader."""

LINE_SECONDS = 60.0
"""How often a line is printed where there is no terminal."""


class Report(Protocol):
    """Told how much is done, a few words on how it goes, and the total where that has become known."""

    def __call__(self, done: int, note: str = "", total: int | None = None) -> None:
        """Called whenever there is news."""
        ...


def quiet(_line: str) -> None:
    """A log that nobody reads."""


@contextmanager
def progress(
    label: str, total: int, log: Log | None = None, start: int = 0, unit: str = "steps"
) -> Generator[Report, None, None]:
    """Gives the function to tell. `log` takes the lines where there is no terminal; None shows nothing.

    total: 0 where it is not known yet. start: how much was done before, which does not count for the rate.
    unit: what is counted, a plural.
    """
    if log is None:
        yield lambda done, note="", total=None: None
    elif import_extra("rich.console").Console(stderr=True).is_terminal:
        with _bar(label, total, start, unit) as report:
            yield report
    else:
        yield _lines(label, total, log, start, unit)


@contextmanager
def _bar(label: str, total: int, start: int, unit: str) -> Generator[Report, None, None]:
    rich = import_extra("rich.progress")
    columns = (
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        rich.MofNCompleteColumn(),
        rich.TextColumn("{task.fields[rate]}"),
        rich.TimeRemainingColumn(),
        rich.TextColumn("{task.fields[note]}"),
    )
    console = import_extra("rich.console").Console(stderr=True)
    began = time.monotonic()
    # What is printed meanwhile goes above the bar; but not what is piped elsewhere.
    with rich.Progress(*columns, console=console, redirect_stdout=sys.stdout.isatty()) as bar:
        task = bar.add_task(label, total=total or None, completed=start, note="", rate="")

        def report(done: int, note: str = "", total: int | None = None) -> None:
            known = {} if total is None else {"total": total}
            rate = _rate(done - start, time.monotonic() - began, unit)
            bar.update(task, completed=done, note=note, rate=rate, **known)

        yield report


def _lines(label: str, total: int, log: Log, start: int, unit: str) -> Report:
    began = last = time.monotonic()
    all_of_it = total

    def report(done: int, note: str = "", total: int | None = None) -> None:
        nonlocal last, all_of_it
        all_of_it = all_of_it if total is None else total
        now = time.monotonic()
        if now - last < LINE_SECONDS:
            return
        last = now
        left = (now - began) / max(1, done - start) * (all_of_it - done)
        rate = _rate(done - start, now - began, unit)
        told = f"{label}: {done:,} of {all_of_it:,}, {rate}, {left / 60:.0f} min to go"
        log(f"{told}; {note}" if note else told)

    return report


def _rate(done: int, seconds: float, unit: str) -> str:
    if done <= 0 or seconds <= 0:
        return ""
    rate = done / seconds
    if rate < 1:
        return f"{1 / rate:.2g} s each"
    return f"{rate:,.0f} {unit}/s" if rate >= 10 else f"{rate:.1f} {unit}/s"
