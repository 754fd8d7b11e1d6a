"""Curves and the table of what was timed."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from vnp_core.bench.extra import import_extra
from vnp_core.bench.figures import write_figure
from vnp_core.results import Row

Curves = dict[str, list[tuple[int, float]]]


def draw_figure(path: Path, rows: Sequence[Row], model: str) -> None:
    """Seconds of a frame against its size, of a ready field against views, and of a picture against draws."""
    figure = import_extra("matplotlib.figure").Figure(figsize=(11, 3.4), layout="constrained")
    frames, views, draws = figure.subplots(1, 3)
    timed = [row for row in rows if row.metric == "seconds" and row.model == model]
    by_size = _curves(timed, ("frame",), "size", lambda row, parts: parts.get("way"))
    _plot(frames.loglog, by_size)
    frames.set(xlabel="pixels a side", ylabel="seconds a frame")
    sizes = sorted({size for points in by_size.values() for size, _ in points})
    frames.set_xticks(sizes, labels=[str(size) for size in sizes])
    frames.minorticks_off()
    _plot(
        views.plot,
        _curves(timed, ("encode", "ready field", "next frame"), "views", lambda row, parts: row.task),
    )
    views.set(xlabel="context views", ylabel="seconds", ylim=(0, None))
    by_draws = _curves(timed, ("draw",), "draws", lambda row, parts: "views to pictures")
    _plot(draws.plot, by_draws)
    draws.set(xlabel="draws", ylabel="seconds", ylim=(0, None))
    draws.set_xticks([count for points in by_draws.values() for count, _ in points])
    for axis in (frames, views, draws):
        axis.legend(fontsize=7, frameon=False)
    write_figure(figure, path)


def print_table(rows: Sequence[Row], console: Console) -> None:
    """All numbers."""
    table = Table("model", "task", "condition", "metric", "value", box=None)
    for row in rows:
        bytes_of = row.metric == "peak_bytes"
        shown = f"{row.value / 2**20:.1f} MiB" if bytes_of else f"{row.value:.4g}"
        table.add_row(row.model, row.task, row.condition, row.metric, shown)
    console.print(table)


def _curves(
    rows: Sequence[Row],
    tasks: Sequence[str],
    axis: str,
    name: Callable[[Row, dict[str, str]], str | None],
) -> Curves:
    """The rows of some tasks by name, as places on an axis of their condition; those without a name not."""
    curves: Curves = {}
    for row in rows:
        pairs = [part.split("=", 1) for part in row.condition.split(",")]
        parts = {pair[0]: pair[-1] for pair in pairs}
        label = name(row, parts)
        if row.task in tasks and axis in parts and label is not None:
            curves.setdefault(label, []).append((int(parts[axis]), row.value))
    return curves


def _plot(plot: Any, curves: Curves) -> None:
    for name, points in curves.items():
        plot(*zip(*sorted(points), strict=True), marker="o", markersize=3, label=name)
