"""How far a long loop has come: a bar where somebody watches a terminal, else a line a minute."""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

from vnp_core.bench.extra import import_extra

Report = Callable[[int, str], None]
"""Told how many steps are done, and a few words on how it goes."""

Log = Callable[[str], None]
"""Told one line for the reader."""

LINE_SECONDS = 60.0
"""How often a line is printed where there is no terminal."""


def quiet(_line: str) -> None:
    """A log that nobody reads."""


@contextmanager
def progress(label: str, total: int, log: Log | None = None, start: int = 0) -> Generator[Report, None, None]:
    """Gives the function to tell. `log` takes the lines where there is no terminal; None shows nothing."""
    if log is None:
        yield lambda _done, _note: None
    elif import_extra("rich").get_console().is_terminal:
        with _bar(label, total, start) as report:
            yield report
    else:
        yield _lines(label, total, log, start)


@contextmanager
def _bar(label: str, total: int, start: int) -> Generator[Report, None, None]:
    rich = import_extra("rich.progress")
    columns = (
        rich.TextColumn(label),
        rich.BarColumn(),
        rich.MofNCompleteColumn(),
        rich.TimeRemainingColumn(),
        rich.TextColumn("{task.fields[note]}"),
    )
    with rich.Progress(*columns, console=import_extra("rich").get_console()) as bar:
        task = bar.add_task(label, total=total, completed=start, note="")
        yield lambda done, note: bar.update(task, completed=done, note=note)


def _lines(label: str, total: int, log: Log, start: int) -> Report:
    began = last = time.monotonic()

    def report(done: int, note: str) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < LINE_SECONDS:
            return
        last = now
        left = (now - began) / max(1, done - start) * (total - done)
        log(f"{label}: {done:,} of {total:,}, {left / 60:.0f} min to go; {note}")

    return report
