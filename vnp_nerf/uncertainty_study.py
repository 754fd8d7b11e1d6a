"""What `bench_3d` finds out about weights that say how far the truth may lie from their pictures.

Contestants are the weights, their rivals, an ensemble, and one sigma for all pixels; each stands in the table
as it is and with its sigmas times a factor, fitted to validation objects: the likeliest one, and the one
that makes intervals hold what they promise. Figures show the first query view of some objects.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vnp_core.bench.figures import draw_calibration
from vnp_core.bench.scoring import LEVELS
from vnp_core.errors import ConfigError
from vnp_core.metrics.calibration import calibration_curve
from vnp_core.metrics.predictive import split_variance
from vnp_core.metrics.sparsification import Sparsification, sparsify
from vnp_core.results import Row, mean_row
from vnp_nerf.console import Voice
from vnp_nerf.contact_sheets import views_word
from vnp_nerf.distributions import (
    ConstantSigma,
    Distribution,
    DistributionPredictor,
    DrawingPredictor,
    Ensemble,
    FittedPixels,
    Remembered,
    ScaledPredictor,
)
from vnp_nerf.evaluation import Case, ModelPredictor, foregrounds, pictures_over_white
from vnp_nerf.library import load_model, weights_path
from vnp_nerf.radiance import RadianceModel
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
from vnp_nerf.uncertainty_scores import predicted_mixture

SHOWN_DRAWS = 4
"""Draws of a hidden side in its figure."""


def drawing_predictor(name: str, draws: int, device: str) -> DrawingPredictor:
    """Weights by name, to be asked for their uncertainty: at draws, or at the mean of a model trained
    without. Raises `ConfigError` where they have no noise.
    """
    model, _ = load_model(name)
    stem = weights_path(name).stem
    if not isinstance(model, RadianceModel):
        raise ConfigError(f"{stem} is no model with noise: it cannot say how far the truth may lie")
    return DrawingPredictor(stem, model.to(device), draws if model.config.train_draws else 0, device)


@dataclass(frozen=True)
class Contestants:
    """Who is scored: `ours` first."""

    ours: DrawingPredictor
    others: Sequence[DistributionPredictor]

    @classmethod
    def load(
        cls, ours: str, rivals: Sequence[str], ensemble: Sequence[str], draws: int, device: str
    ) -> "Contestants":
        """By the names of weights. Raises `ConfigError` where one has no noise, before anything is scored."""
        others: list[DistributionPredictor] = [drawing_predictor(name, draws, device) for name in rivals]
        if ensemble:
            others.append(Ensemble("ensemble", [drawing_predictor(name, 0, device) for name in ensemble]))
        return cls(drawing_predictor(ours, draws, device), others)

    def calibrated(
        self, cases: Sequence[Case], context_counts: Sequence[int], task: str, voice: Voice
    ) -> tuple[list[DistributionPredictor], list[Row]]:
        """All as they are, all with the two factors that the object's pixels of these cases ask for
        (`scaled` makes them likeliest, `covering` makes 90 % intervals hold what they promise), and one sigma
        for all pixels (the likeliest for the picture, and for the object alone); with rows of the factors and
        sigmas.
        """
        plain = [Remembered(predictor) for predictor in (self.ours, *self.others)]
        at_mean = ModelPredictor(self.ours.name, self.ours.model, self.ours.device)
        scaled: list[DistributionPredictor] = []
        rows: list[Row] = []
        with voice.progress("factors on sigma", "predictors", len(plain) + 2) as report:
            for predictor in plain:
                pixels = FittedPixels.of_cases(predictor, cases, context_counts)
                for word, fitted in (("scaled", pixels.likeliest()), ("covering", pixels.covering())):
                    scaled.append(ScaledPredictor(f"{predictor.name} {word}", predictor, fitted.factor))
                    rows.append(mean_row(scaled[-1].name, task, "val", "", "sigma_factor", [fitted.factor]))
                report(len(rows) // 2)
            for name, alone in (("constant sigma", False), ("constant sigma fg", True)):
                unit = ConstantSigma(name, at_mean, 1.0)
                pixels = FittedPixels.of_cases(unit, cases, context_counts, foreground_only=alone)
                sigma = pixels.likeliest().factor
                scaled.append(ConstantSigma(name, at_mean, sigma))
                rows.append(mean_row(name, task, "val", "", "sigma", [sigma]))
                report(len(rows) - len(plain))
        return [*plain, *scaled], rows


@dataclass(frozen=True)
class _Shown:
    """The first query view of an object, as predicted from some context views."""

    name: str
    told: Distribution
    truth: Float[Tensor, "H W 3"]
    foreground: Bool[Tensor, "H W"]

    @classmethod
    def of_case(cls, predictor: DistributionPredictor, case: Case, count: int) -> "_Shown":
        query = case.query.select_views(slice(1))
        [told] = predictor.distributions(Case(case.name, case.context, query), count)
        return cls(case.name, told, pictures_over_white(query)[0], foregrounds(query)[0])

    def variance(self) -> tuple[Float[Tensor, "H W"], Float[Tensor, "H W"]]:
        """Noise and epistemic part at each pixel, mean over its colours."""
        split = split_variance(predicted_mixture(self.told.means, self.told.scales, self.told.dof))
        size = self.truth.shape[:2]
        noise, epistemic = (part[0].mean(-1).reshape(size) for part in (split.noise, split.epistemic))
        return noise.float(), epistemic.float()

    def predicted(self) -> PredictedView:
        noise, epistemic = self.variance()
        return PredictedView(self.name, self.truth, self.told.means.mean(0), (noise + epistemic).sqrt())


def draw_uncertainty(
    folder: Path,
    corpus: str,
    predictor: DistributionPredictor,
    cases: Sequence[Case],
    context_counts: Sequence[int],
    voice: Voice,
) -> list[Path]:
    """Figures CORPUS-*.png of the first query view of these objects; their paths.

    errors: error beside sigma; draws: four draws of a view from the fewest context views; views: sigma as
    views are added; sparsification; reliability; spread: noise, epistemic part and error against context
    views. The last three are over all pixels of these views.
    """
    shown: dict[int, list[_Shown]] = {}
    with voice.progress(f"{corpus}, figures", "pictures", len(cases) * len(context_counts)) as report:
        for count in context_counts:
            shown[count] = []
            for case in cases:
                shown[count].append(_Shown.of_case(predictor, case, count))
                report(sum(map(len, shown.values())))
    fewest = min(context_counts)
    middle = sorted(context_counts)[len(context_counts) // 2]
    paths = {
        name: folder / f"{corpus}-{name}.png"
        for name in ("errors", "draws", "views", "sparsification", "reliability", "spread")
    }
    draw_error_beside_sigma(paths["errors"], [each.predicted() for each in shown[middle]])
    sides = [_hidden_side(case, each) for case, each in zip(cases, shown[fewest], strict=True)]
    draw_hidden_sides(paths["draws"], sides)
    draw_views_strip(paths["views"], {count: found[0].predicted() for count, found in shown.items()})
    draw_sparsification(paths["sparsification"], {views_word(n): _curves(shown[n]) for n in (fewest, middle)})
    draw_calibration(
        paths["reliability"], LEVELS, {views_word(count): _coverage(found) for count, found in shown.items()}
    )
    draw_spread_by_views(paths["spread"], {corpus: _spread(shown)})
    return list(paths.values())


def _hidden_side(case: Case, seen: _Shown) -> HiddenSide:
    context = pictures_over_white(case.first_views(1))[0]
    sigma = seen.predicted().sigma
    return HiddenSide(case.name, context, seen.truth, seen.told.means[:SHOWN_DRAWS], sigma)


def _curves(found: Sequence[_Shown]) -> Sparsification:
    views = [each.predicted() for each in found]
    errors, sigmas = (
        torch.cat([part.flatten() for part in parts])
        for parts in ([view.error for view in views], [view.sigma for view in views])
    )
    return sparsify(errors, sigmas, torch.Generator().manual_seed(0))


def _coverage(found: Sequence[_Shown]) -> list[float]:
    each = [
        calibration_curve(
            predicted_mixture(seen.told.means, seen.told.scales, seen.told.dof),
            seen.truth.reshape(1, -1, 3),
            LEVELS,
        )[0]
        for seen in found
    ]
    return torch.stack(each).mean(0).tolist()


def _spread(shown: dict[int, list[_Shown]]) -> SpreadByViews:
    def root(values: list[Tensor]) -> float:
        return float(torch.stack([value.mean() for value in values]).mean().sqrt())

    counts = sorted(shown)
    parts = {count: [seen.variance() for seen in shown[count]] for count in counts}
    return SpreadByViews(
        counts,
        [root([noise for noise, _ in parts[count]]) for count in counts],
        [root([epistemic for _, epistemic in parts[count]]) for count in counts],
        [root([seen.predicted().error.square() for seen in shown[count]]) for count in counts],
    )
