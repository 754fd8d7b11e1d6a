"""Figures of pictures: what was known, what a model makes of it, and the truth."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor

from vnp_core.bench.completion import Completion
from vnp_core.bench.figures import draw_costs, new_figure, to_array, write_figure
from vnp_core.bench.picture_costs import PictureCost

_UNKNOWN = torch.tensor([0.16, 0.32, 0.62])
"""The colour of pixels that were not given: no grey, so that none is taken for a value."""


def draw_completions(path: Path, rows: Sequence[Completion], picture: int = 0) -> None:
    """One row a number of known pixels: what was known, mean, standard deviation, samples, truth."""
    widest = max(float(row.std[picture].amax()) for row in rows)
    columns: list[tuple[str, list[Float[Tensor, "H W 3"]]]] = [
        ("known", [known_pixels(row, picture) for row in rows]),
        ("mean", [_screen(row.filled(row.mean)[picture]) for row in rows]),
        ("std", [_screen(row.std[picture] / max(widest, 1e-6)) for row in rows]),
    ]
    for place in range(min(row.samples.shape[1] for row in rows)):
        shown = [_screen(row.filled(row.samples[:, place])[picture]) for row in rows]
        columns.append((f"sample {place + 1}", shown))
    columns.append(("truth", [_screen(row.truth[picture]) for row in rows]))
    labels = [f"{int(row.given[picture].sum())} pixels" for row in rows]
    _draw(path, columns, labels)


def draw_super_resolution(path: Path, rows: Sequence[Mapping[str, Completion]], picture: int = 0) -> None:
    """One row a factor: interpolations and models side by side, each with the truth at the end."""
    names = list(rows[0])
    columns = [(name, [_screen(row[name].mean[picture]) for row in rows]) for name in names]
    columns.append(("truth", [_screen(row[names[0]].truth[picture]) for row in rows]))
    _draw(path, columns, [f"{2 ** (place + 1)} x" for place in range(len(rows))])


def draw_picture_costs(path: Path, costs: Mapping[str, Sequence[PictureCost]]) -> None:
    """Seconds and memory of encoding and of completing, against the number of pixels."""
    curves = {f"{name}: encode": [cost.encoding for cost in curve] for name, curve in costs.items()}
    curves |= {f"{name}: complete": [cost.completion for cost in curve] for name, curve in costs.items()}
    draw_costs(path, curves, "pixels")


def known_pixels(found: Completion, picture: int) -> Float[Tensor, "H W 3"]:
    """The given pixels on a ground of a colour of its own."""
    truth, given = _screen(found.truth[picture]), found.given[picture]
    return torch.where(given[..., None], truth, _UNKNOWN)


def _screen(picture: Float[Tensor, "C H W"]) -> Float[Tensor, "H W 3"]:
    if picture.shape[0] == 1:
        picture = repeat(picture, "1 h w -> three h w", three=3)
    return rearrange(picture.clamp(0, 1), "c h w -> h w c")


def _draw(
    path: Path, columns: Sequence[tuple[str, Sequence[Float[Tensor, "H W 3"]]]], labels: Sequence[str]
) -> None:
    figure = new_figure(1.15 * len(columns) + 0.4, 1.2 * len(labels) + 0.3)
    axes: Any = figure.subplots(len(labels), len(columns), squeeze=False)
    for column, (title, pictures) in enumerate(columns):
        for row, picture in enumerate(pictures):
            axis = axes[row][column]
            axis.imshow(to_array(picture), interpolation="nearest")
            axis.set_xticks([])
            axis.set_yticks([])
            if row == 0:
                axis.set_title(title, fontsize=9)
            if column == 0:
                axis.set_ylabel(labels[row], fontsize=9)
    write_figure(figure, path)
