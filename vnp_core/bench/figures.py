"""The benchmarks' figures, drawn with matplotlib and written whole or not at all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from vnp_core.bench.encoding_cost import Cost
from vnp_core.bench.extra import import_extra
from vnp_core.bench.training_state import HistoryRow
from vnp_core.whole_files import whole_file

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#b59f00")
"""Told apart by readers who see few colours (after Okabe and Ito)."""


@dataclass(frozen=True)
class Panel:
    """What one model says about one function."""

    title: str
    x: Float[Tensor, "G"]
    low: Float[Tensor, "G"]
    high: Float[Tensor, "G"]
    """The central interval of 90 %."""
    mean: Float[Tensor, "G"]
    samples: Float[Tensor, "S G"]
    """Functions that the model finds likely."""
    context: Float[Tensor, "N 2"]
    truth: Float[Tensor, "M 2"]
    """Points of the function that the model has not seen."""


@dataclass(frozen=True)
class Curve:
    """A score against the number of contexts."""

    name: str
    contexts: Sequence[int]
    values: Sequence[float]
    stderrs: Sequence[float]
    ceiling: bool = False


def draw_predictions(path: Path, rows: Sequence[Sequence[Panel]]) -> None:
    """One row a number of contexts, one column a model; all axes alike in a row."""
    figure = new_figure(2.9 * len(rows[0]), 2.2 * len(rows))
    axes = figure.subplots(len(rows), len(rows[0]), squeeze=False, sharex=True, sharey="row")
    for row, panels in enumerate(rows):
        for column, panel in enumerate(panels):
            axis = axes[row][column]
            x = to_array(panel.x)
            band = (to_array(panel.low), to_array(panel.high))
            axis.fill_between(x, *band, color=COLOURS[0], alpha=0.18, linewidth=0)
            axis.plot(x, to_array(panel.samples.mT), color=COLOURS[0], linewidth=0.6, alpha=0.7)
            axis.plot(x, to_array(panel.mean), color="black", linewidth=1.0)
            axis.plot(*to_array(panel.truth.mT), ".", color=COLOURS[1], markersize=3)
            axis.plot(*to_array(panel.context.mT), "o", color="black", markersize=3.5)
            if row == 0:
                axis.set_title(panel.title, fontsize=9)
            if column == 0:
                axis.set_ylabel(f"{len(panel.context)} contexts", fontsize=9)
        _bound(axes[row][0], panels)
    figure.legend(
        handles=_prediction_handles(), loc="outside lower center", ncols=5, fontsize=8, frameon=False
    )
    write_figure(figure, path)


def draw_context_curves(path: Path, panels: Mapping[str, Sequence[Curve]]) -> None:
    """Each panel a score, each line a model, of one look in all panels; ceilings are dashed and black.

    A ceiling far below all models, which is none there, is cut off.
    """
    figure = new_figure(4.2 * len(panels), 3.4)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    models = [curve.name for curves in panels.values() for curve in curves if not curve.ceiling]
    looks = lines_of(list(dict.fromkeys(models)))
    for axis, (score, curves) in zip(axes, panels.items(), strict=True):
        dashes = iter(("--", ":", "-."))
        for curve in curves:
            style: dict[str, Any] = {"color": "black", "linestyle": next(dashes)} if curve.ceiling else {}
            style = style or {**looks[curve.name], "marker": "o", "markersize": 3}
            axis.errorbar(
                curve.contexts, curve.values, curve.stderrs, label=curve.name, linewidth=1.2, **style
            )
        values = [value for curve in curves if not curve.ceiling for value in curve.values]
        if values:
            below = min(values) - max(max(values) - min(values), 1e-3)
            axis.set_ylim(bottom=max(axis.get_ylim()[0], below))
        axis.set_xlabel("contexts")
        axis.set_ylabel(score)
    write_figure(figure, path, legend=axes[0])


def draw_calibration(path: Path, levels: Sequence[float], curves: Mapping[str, Sequence[float]]) -> None:
    """Share of targets inside the central intervals, left; on the right the same minus what was promised."""
    figure = new_figure(8.4, 3.6)
    left, right = figure.subplots(1, 2)
    left.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle="--")
    right.axhline(0, color="black", linewidth=0.8, linestyle="--")
    for name, look in lines_of(list(curves)).items():
        left.plot(levels, curves[name], **look, linewidth=1.2, label=name)
        off = [share - level for share, level in zip(curves[name], levels, strict=True)]
        right.plot(levels, off, **look, linewidth=1.2)
    left.set_ylabel("share of targets inside")
    right.set_ylabel("share minus probability (below 0: too sure)")
    for axis in (left, right):
        axis.set_xlabel("probability of the central interval")
    write_figure(figure, path, legend=left)


def draw_training(path: Path, histories: Mapping[str, Sequence[HistoryRow]]) -> None:
    """The loss of each system against steps; and the KL of each latent level, where a posterior is drawn."""
    with_kl = {name: rows for name, rows in histories.items() if any(row.kl for row in rows)}
    figure = new_figure(8.4 if with_kl else 4.6, 3.6)
    axes = figure.subplots(1, 2 if with_kl else 1, squeeze=False)[0]
    looks = lines_of(list(histories))
    for name, rows in histories.items():
        steps = [row.step for row in rows]
        losses = [row.values["loss"] for row in rows]
        axes[0].plot(steps, losses, **looks[name], linewidth=1, label=name)
    losses = sorted(row.values["loss"] for rows in histories.values() for row in rows)
    if losses:  # the first steps, high above, would press the rest flat
        axes[0].set_ylim(losses[0] - 0.1, min(losses[-1], losses[int(0.95 * len(losses))] + 1) + 0.1)
    axes[0].set_ylabel("training loss, nats a target")
    for name, rows in with_kl.items():
        kept = [row for row in rows if row.kl]
        for level in range(len(kept[0].kl)):
            values = [max(row.kl[level], 1e-4) for row in kept]
            label = name if level == 0 else None
            style = ("-", "--", ":", "-.")[level % 4]
            steps, colour = [row.step for row in kept], looks[name]["color"]
            axes[1].semilogy(steps, values, style, color=colour, linewidth=1, label=label)
        axes[1].set_ylabel("KL of a latent level, nats (top level solid)")
    for axis in axes:
        axis.set_xlabel("step")
    write_figure(figure, path, legend=axes[0])


def draw_costs(path: Path, costs: Mapping[str, Sequence[Cost]], label: str = "contexts") -> None:
    """Time and memory of some work against its size, both logarithmic."""
    figure = new_figure(8.4, 3.4)
    left, right = figure.subplots(1, 2)
    for name, look in lines_of(list(costs)).items():
        sizes = [cost.contexts for cost in costs[name]]
        style: dict[str, Any] = {**look, "marker": "o", "markersize": 3, "label": name}
        left.loglog(sizes, [cost.seconds for cost in costs[name]], **style)
        right.loglog(sizes, [max(cost.peak_bytes, 1) / 2**20 for cost in costs[name]], **style)
    left.set_ylabel("seconds")
    right.set_ylabel("most memory, MiB")
    ticker = import_extra("matplotlib.ticker")
    for axis in (left, right):
        axis.set_xlabel(label)
        for side in (axis.xaxis, axis.yaxis):
            side.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
            side.set_minor_formatter(ticker.NullFormatter())
    write_figure(figure, path, legend=left)


def to_array(values: Tensor) -> Any:
    """As NumPy's array, for matplotlib."""
    return cast(Any, values.detach().cpu()).numpy()


def new_figure(width: float, height: float) -> Any:
    """An empty figure of so many inches."""
    # No pyplot: it would keep every figure, and look for a screen.
    figure = import_extra("matplotlib.figure").Figure(figsize=(width, height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.05)
    return figure


def lines_of(names: Sequence[str]) -> dict[str, dict[str, str]]:
    """The look of each line, in their order: no two alike, as long as there are at most 24."""
    looks: dict[str, dict[str, str]] = {}
    for place, name in enumerate(names):
        cycle, colour = divmod(place, len(COLOURS))
        looks[name] = {"color": COLOURS[colour], "linestyle": ("-", "--", ":")[cycle % 3]}
    return looks


def _bound(axis: Any, panels: Sequence[Panel]) -> None:
    """Limits that show the data and the bands, though one model may be far off."""
    seen = torch.cat([torch.cat([panel.context[:, 1], panel.truth[:, 1]]) for panel in panels])
    low, high = float(seen.min()), float(seen.max())
    margin = 0.6 * max(high - low, 0.1)
    axis.set_ylim(low - margin, high + margin)


def _prediction_handles() -> list[Any]:
    lines, patches = import_extra("matplotlib.lines"), import_extra("matplotlib.patches")
    return [
        lines.Line2D([], [], color="black", marker="o", markersize=3.5, linewidth=0, label="context"),
        lines.Line2D([], [], color=COLOURS[1], marker=".", linewidth=0, label="not seen"),
        lines.Line2D([], [], color="black", linewidth=1, label="mean"),
        lines.Line2D([], [], color=COLOURS[0], linewidth=0.8, label="sampled functions"),
        patches.Patch(color=COLOURS[0], alpha=0.18, label="90 % interval of an observation"),
    ]


def write_figure(figure: Any, path: Path, legend: Any = None) -> None:
    """Writes the figure whole or not at all, with the legend of an axis on its right."""
    if legend is not None:
        handles, labels = legend.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right upper", fontsize=8, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        figure.savefig(file, dpi=130, format=path.suffix[1:])
