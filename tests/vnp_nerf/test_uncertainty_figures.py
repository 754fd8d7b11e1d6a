"""Figures are pictures of the arrays that they are given, and whole files."""

from collections.abc import Callable
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import torch

from vnp_core.metrics.sparsification import sparsify
from vnp_nerf.uncertainty_figures import (
    HiddenSide,
    PredictedView,
    SpreadByViews,
    draw_error_beside_sigma,
    draw_hidden_sides,
    draw_sparsification,
    draw_spread_by_views,
    draw_views_strip,
)

SIZE = 24


def some_prediction(seed: int) -> PredictedView:
    generator = torch.Generator().manual_seed(seed)
    truth = torch.rand(SIZE, SIZE, 3, generator=generator)
    sigma = 0.02 + 0.2 * torch.rand(SIZE, SIZE, generator=generator)
    noise = torch.randn(SIZE, SIZE, 3, generator=generator)
    return PredictedView(f"object {seed}", truth, truth + sigma[..., None] * noise, sigma)


def errors_beside_sigma(path: Path, seed: int) -> None:
    draw_error_beside_sigma(path, [some_prediction(seed)])


def hidden_sides(path: Path, seed: int) -> None:
    seen = some_prediction(seed)
    draws = torch.stack([seen.truth, 1 - seen.truth])
    side = HiddenSide("object", seen.truth, seen.truth, draws, seen.sigma)
    draw_hidden_sides(path, [side])


def views_strip(path: Path, seed: int) -> None:
    draw_views_strip(path, {views: some_prediction(seed + views) for views in (1, 8)})


def sparsification(path: Path, seed: int) -> None:
    seen = some_prediction(seed)
    curves = sparsify(seen.error.flatten(), seen.sigma.flatten(), torch.Generator().manual_seed(0))
    draw_sparsification(path, {"a": curves, "b": curves})


def spread_by_views(path: Path, seed: int) -> None:
    spread = SpreadByViews((1, 2, 8), (0.1, 0.1, 0.1), (0.3 + 0.1 * seed, 0.2, 0.1), (0.3, 0.2, 0.1))
    draw_spread_by_views(path, {"a": spread})


DRAW = [errors_beside_sigma, hidden_sides, views_strip, sparsification, spread_by_views]


@pytest.mark.parametrize("draw", DRAW)
def test_a_figure_is_one_whole_picture_of_its_arrays(draw: Callable[[Path, int], None], tmp_path: Path):
    paths = [tmp_path / "figures" / f"{name}.png" for name in ("first", "other")]
    for seed, path in enumerate(paths):
        draw(path, seed)
    assert sorted(paths[0].parent.iterdir()) == paths
    first, other = (matplotlib.image.imread(path) for path in paths)
    assert min(first.shape[:2]) > 200
    assert first[..., :3].std() > 0.05
    assert first.shape != other.shape or not np.array_equal(first, other)


def test_a_perfect_prediction_and_curves_without_error_can_be_drawn(tmp_path: Path):
    truth = torch.rand(SIZE, SIZE, 3, generator=torch.Generator().manual_seed(0))
    perfect = PredictedView("", truth, truth, torch.zeros(SIZE, SIZE))
    draw_error_beside_sigma(tmp_path / "a.png", [perfect])
    nothing = sparsify(torch.zeros(9), torch.zeros(9), torch.Generator())
    draw_sparsification(tmp_path / "b.png", {"perfect": nothing})
    assert {path.name for path in tmp_path.iterdir()} == {"a.png", "b.png"}


def test_the_error_is_what_sigma_predicts_the_size_of():
    seen = some_prediction(0)
    squares = ((seen.mean - seen.truth) ** 2).mean(-1)
    torch.testing.assert_close(seen.error, squares.sqrt())
    assert (squares / seen.sigma**2).mean().item() == pytest.approx(1, abs=0.15)
