"""Finds a factor on a model's noise by validation objects, and notes it on the card.

    python scripts/calibrate.py --weights furniture-draws --data outputs/scenes/furniture64

By default it is the factor under which 90 % intervals hold 90 % of the objects' colours; --by likelihood asks
for the likeliest one. Nothing changes for who loads the weights as before. The factor is used on demand:
`vnp-infer --calibrated`, `vnp_nerf.load(..., calibrated=True)`. What it does is shown on objects that it was
not fitted to.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import tyro
from rich.console import Console
from rich.markdown import Markdown

from vnp_core.checkpoints import load_weights, write_metadata
from vnp_core.errors import ConfigError, exit_on_error, with_exit_codes
from vnp_core.results import Row, mean_row
from vnp_core.tables import markdown_table
from vnp_nerf.console import Voice
from vnp_nerf.distributions import DrawingPredictor, FittedPixels, score_distributions
from vnp_nerf.evaluation import Case, cases_of
from vnp_nerf.library import NOISE_FACTOR, load_model, weights_path
from vnp_nerf.pairs import make_pairs
from vnp_nerf.radiance import RadianceModel
from vnp_nerf.readers import open_collection
from vnp_nerf.uncertainty_study import drawing_predictor

METRICS = ("coverage50_fg", "coverage90_fg", "nll_fg", "coverage90", "nll")


@dataclass
class Calibrate:
    """Note a factor on the noise of weights."""

    weights: str
    """Shipped name or .safetensors file."""
    data: Path
    """A collection of scenes with a split `val`."""
    objects: int = 12
    """Objects of `val` that the factor is fitted to; as many others show what it does."""
    views: tuple[int, ...] = (1, 2, 3, 5, 8)
    """Numbers of context views, all together."""
    draws: int = 16
    """Draws of the latents."""
    by: Literal["coverage", "likelihood"] = "coverage"
    """What the factor is to get right."""
    dry_run: bool = False
    """Leave the card as it is."""
    device: str = "cuda" if torch.cuda.is_available() else "cpu"
    """Where the model runs."""


def calibrate(config: Calibrate, console: Console, voice: Voice) -> float:
    """Fits the factor, shows its effect, writes it, and returns it."""
    predictor = drawing_predictor(config.weights, config.draws, config.device)
    stored = predictor.model.config.noise_factor
    if stored != 1:
        raise ConfigError(f"{config.weights} has a noise_factor of {stored} already: calibrate what it was")
    collection = open_collection(config.data)
    pairs = make_pairs(
        collection, "val", "", ["val"], contexts=max(config.views), queries=1, limit=2 * config.objects
    )
    cases = list(cases_of(collection, pairs, "val"))
    if len(cases) < 2:
        raise ConfigError(f"{config.data} has {len(cases)} objects under 'val': 2 or more are needed")
    fitted, others = cases[: len(cases) // 2], cases[len(cases) // 2 :]
    with voice.progress("fitting the factor", "objects", len(fitted)):
        pixels = FittedPixels.of_cases(predictor, fitted, config.views)
        factor = (pixels.covering() if config.by == "coverage" else pixels.likeliest()).factor
    rows = _rows("as it is", predictor, others, config.views)
    rows += _rows("calibrated", _with_factor(config, factor), others, config.views)
    console.print(
        f"\nfactor {factor:.3f}, fitted to {len(fitted)} objects; what it does to {len(others)} others"
    )
    console.print(Markdown(markdown_table(rows, ("metric", "model"), digits=3)))
    if not config.dry_run:
        path = weights_path(config.weights)
        write_metadata(path, {**load_weights(path).metadata, NOISE_FACTOR: round(factor, 4)})
        console.print(f"written to {path.with_suffix('.json')}")
    return factor


def _with_factor(config: Calibrate, factor: float) -> DrawingPredictor:
    model, _ = load_model(config.weights)
    assert isinstance(model, RadianceModel)
    model.noise.factor = factor
    draws = config.draws if model.config.train_draws else 0
    return DrawingPredictor("calibrated", model.to(config.device), draws, config.device)


def _rows(name: str, predictor: DrawingPredictor, cases: Sequence[Case], views: Sequence[int]) -> list[Row]:
    rows: list[Row] = []
    for count in views:
        scores = [score_distributions(predictor, case, count) for case in cases]
        rows += [
            mean_row(name, "val", "val", f"views={count}", metric, [each[metric] for each in scores])
            for metric in METRICS
        ]
    return rows


if __name__ == "__main__":
    with exit_on_error():
        calibrate(tyro.cli(Calibrate, description=with_exit_codes(__doc__)), Console(), Voice())
