"""Figures of a model's uncertainty, from arrays to one PNG each.

A reliability diagram is `vnp_core.bench.figures.draw_calibration`, with the coverage at each level.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vnp_core.bench.figures import COLOURS, lines_of, new_figure, to_array, write_figure
from vnp_core.metrics.sparsification import Sparsification
from vnp_nerf.contact_sheets import views_word

HEAT = "magma"
INCH = 1.5
"""Width of a picture in a figure."""


@dataclass(frozen=True)
class PredictedView:
    """One view: what is true, what was predicted in the mean, and how sure the model was (colour units)."""

    title: str
    truth: Float[Tensor, "H W 3"]
    mean: Float[Tensor, "H W 3"]
    sigma: Float[Tensor, "H W"]

    @property
    def error(self) -> Float[Tensor, "H W"]:
        """Root mean square over colours: what sigma predicts the size of."""
        return (self.mean - self.truth).square().mean(-1).sqrt()


@dataclass(frozen=True)
class HiddenSide:
    """A view that the context does not show, with several draws of it."""

    title: str
    context: Float[Tensor, "H W 3"]
    truth: Float[Tensor, "H W 3"]
    draws: Float[Tensor, "K H W 3"]
    sigma: Float[Tensor, "H W"]


@dataclass(frozen=True)
class SpreadByViews:
    """What is expected and what comes out at each number of context views, in colour units."""

    views: Sequence[int]
    noise: Sequence[float]
    epistemic: Sequence[float]
    error: Sequence[float]
    """Root mean square."""


def draw_error_beside_sigma(path: Path, predictions: Sequence[PredictedView]) -> None:
    """A row a view: truth, mean, error, sigma. Error and sigma of a row share one scale."""
    figure, axes = _picture_grid(len(predictions), 4)
    for row, (line, seen) in enumerate(zip(axes, predictions, strict=True)):
        titles = ("truth", "mean", "error", "sigma") if row == 0 else ("",) * 4
        _show(line[0], seen.truth, titles[0], beside=seen.title)
        _show(line[1], seen.mean, titles[1])
        most = _most(seen.error, seen.sigma)
        _show_heat(line[2], seen.error, most, titles[2])
        _add_scale(figure, _show_heat(line[3], seen.sigma, most, titles[3]), line)
    write_figure(figure, path)


def draw_hidden_sides(path: Path, sides: Sequence[HiddenSide]) -> None:
    """A row a view: a context view, the truth, the mean, each draw, and sigma, all on one scale.

    As many draws in every row.
    """
    draws, heat = len(sides[0].draws), None
    figure, axes = _picture_grid(len(sides), draws + 4)
    most = _most(*(side.sigma for side in sides))
    for row, (line, side) in enumerate(zip(axes, sides, strict=True)):
        pictures = [side.context, side.truth, side.draws.mean(0), *side.draws]
        titles = ["given", "truth", "mean", *(f"draw {number}" for number in range(1, draws + 1))]
        for column, (axis, picture) in enumerate(zip(line, pictures, strict=False)):
            _show(axis, picture, titles[column] if row == 0 else "", side.title if column == 0 else "")
        heat = _show_heat(line[-1], side.sigma, most, "sigma" if row == 0 else "")
    _add_scale(figure, heat, [line[-1] for line in axes])
    write_figure(figure, path)


def draw_views_strip(path: Path, predictions: Mapping[int, PredictedView]) -> None:
    """One view, and how it is predicted from more and more context views: mean, error and sigma.

    All errors and sigmas share one scale; below each sigma stands its root mean square.
    """
    figure, axes = _picture_grid(3, 1 + len(predictions))
    most = _most(*(part for seen in predictions.values() for part in (seen.error, seen.sigma)))
    heat: Any = None
    for axis in axes[1:, 0]:
        axis.set_axis_off()
    _show(axes[0][0], next(iter(predictions.values())).truth, "truth")
    for column, (views, seen) in enumerate(predictions.items(), start=1):
        words = ("mean", "error", "sigma") if column == 1 else ("",) * 3
        _show(axes[0][column], seen.mean, views_word(views), words[0])
        _show_heat(axes[1][column], seen.error, most, beside=words[1])
        heat = _show_heat(axes[2][column], seen.sigma, most, beside=words[2])
        axes[2][column].set_xlabel(f"{seen.sigma.square().mean().sqrt().item():.3f}", fontsize=8)
    _add_scale(figure, heat, axes.ravel())
    write_figure(figure, path)


def draw_sparsification(path: Path, curves: Mapping[str, Sparsification]) -> None:
    """A panel a model: the error that is left, over the error of all, by sigma, by the oracle, at random."""
    figure = new_figure(3.2 * len(curves) + 1.2, 3.0)
    panels = figure.subplots(1, len(curves), squeeze=False, sharey=True)[0]
    for axis, (name, found) in zip(panels, curves.items(), strict=True):
        shares = to_array(found.shares)
        whole = found.model[0].clamp_min(1e-30)
        model, oracle = to_array(found.model / whole), to_array(found.oracle / whole)
        axis.fill_between(shares, oracle, model, color=COLOURS[0], alpha=0.15, linewidth=0)
        axis.plot(shares, model, color=COLOURS[0], linewidth=1.4, label="by sigma")
        axis.plot(shares, oracle, color="black", linewidth=1.2, label="by error (oracle)")
        axis.axhline(1, color=COLOURS[6], linewidth=1.2, linestyle="--", label="at random")
        axis.set_title(f"{name}: AUSE {found.relative:.2f} of random", fontsize=9)
        axis.set_xlabel("share of pixels taken away")
    panels[0].set_ylabel("mean error left / of all")
    panels[0].set_ylim(bottom=0)
    write_figure(figure, path, legend=panels[0])


def draw_spread_by_views(path: Path, models: Mapping[str, SpreadByViews]) -> None:
    """A panel a model: noise, epistemic part, their sum, and the error itself, against context views."""
    figure = new_figure(3.2 * len(models) + 1.4, 3.0)
    panels = figure.subplots(1, len(models), squeeze=False, sharey=True)[0]
    for axis, (name, spread) in zip(panels, models.items(), strict=True):
        total = [(n**2 + e**2) ** 0.5 for n, e in zip(spread.noise, spread.epistemic, strict=True)]
        lines = {"sigma, of both parts": total, "noise": spread.noise, "epistemic": spread.epistemic}
        for label, look in lines_of(list(lines)).items():
            axis.plot(spread.views, lines[label], **look, marker="o", markersize=3, label=label)
        axis.plot(spread.views, spread.error, color="black", linestyle="--", label="error (rms)")
        axis.set_title(name, fontsize=9)
        axis.set_xlabel("context views")
        axis.set_xticks(list(spread.views))
    panels[0].set_ylabel("colour, 0 to 1")
    panels[0].set_ylim(bottom=0)
    write_figure(figure, path, legend=panels[0])


def _picture_grid(rows: int, columns: int) -> tuple[Any, Any]:
    figure = new_figure(INCH * columns + 1.2, INCH * rows + 0.4)
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
    return figure, axes


def _show(axis: Any, picture: Float[Tensor, "H W 3"], above: str = "", beside: str = "") -> None:
    axis.imshow(to_array(picture.clamp(0, 1)), interpolation="nearest")
    _label(axis, above, beside)


def _show_heat(
    axis: Any, values: Float[Tensor, "H W"], most: float, above: str = "", beside: str = ""
) -> Any:
    _label(axis, above, beside)
    return axis.imshow(to_array(values), cmap=HEAT, vmin=0, vmax=most, interpolation="nearest")


def _label(axis: Any, above: str, beside: str) -> None:
    axis.set_title(above, fontsize=9)
    axis.set_ylabel(beside, fontsize=8)


def _add_scale(figure: Any, heat: Any, axes: Sequence[Any]) -> None:
    figure.colorbar(heat, ax=list(axes), shrink=0.9, aspect=16, pad=0.01).ax.tick_params(labelsize=7)


def _most(*maps: Float[Tensor, "H W"]) -> float:
    """Where a common scale ends: 99 % of the values are below, so that one pixel cannot darken all others."""
    values = torch.cat([each.flatten() for each in maps]).float()
    return max(values.kthvalue(math.ceil(0.99 * len(values))).values.item(), 1e-6)
