"""Models that say how far the truth may lie from their pictures, their rivals, and the scores of both.

A prediction of a picture is a `Distribution`: a mixture of draws, each with a sigma at every pixel. Rivals
come out of the same code: one sigma for all pixels, several models as draws of one, and any of these with
its sigmas rescaled by the factor that fits validation scenes best.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from vnp_core.errors import ConfigError
from vnp_core.likelihoods import GaussianMixture
from vnp_core.metrics.recalibration import SigmaScale, fit_coverage_scale, fit_sigma_scale
from vnp_core.precision import quick_in_bfloat16
from vnp_core.student import StudentMixture
from vnp_nerf.culled_field import DrawnFields
from vnp_nerf.evaluation import (
    Case,
    Contestant,
    ModelPredictor,
    foregrounds,
    mean_of_known,
    pictures_over_white,
    query_pictures,
)
from vnp_nerf.execution import Execution
from vnp_nerf.pixel_noise import DOF, pixel_scale
from vnp_nerf.radiance import RadianceModel
from vnp_nerf.rendering import Rendering
from vnp_nerf.uncertainty_scores import predicted_mixture, uncertainty_scores


@dataclass(frozen=True, eq=False)
class Distribution:
    """What a model says of a picture's pixels: K draws, each a colour and what it leaves open itself."""

    means: Float[Tensor, "K H W 3"]
    scales: Float[Tensor, "K H W 1"]
    """Standard deviations of Gaussians, or scales of Student's t with `dof` degrees of freedom."""
    dof: float | None = None

    @classmethod
    def of_draws(cls, seen: Rendering) -> "Distribution":
        """From a picture of K draws [H, W, K, ...] of a model with noise."""
        assert seen.rgb_variance is not None
        scales = rearrange(pixel_scale(seen.rgb_variance), "H W K -> K H W 1")
        return cls(rearrange(seen.rgb, "H W K rgb -> K H W rgb"), scales, DOF)

    def scaled(self, factor: float) -> "Distribution":
        """The same with all scales times a factor."""
        return replace(self, scales=factor * self.scales)


class DistributionPredictor(Contestant, Protocol):
    """Whatever says how far the truth may lie from its pictures."""

    def distributions(self, case: Case, count: int) -> list[Distribution]:
        """Of the query pictures over white, given the first `count` context views."""
        ...


class DrawingPredictor:
    """A model with noise at draws of its latents: the seeds 0, 1, ... With 0 draws it is at their mean."""

    reads_context = True

    def __init__(
        self, name: str, model: RadianceModel, draws: int, device: torch.device | str = "cpu"
    ) -> None:
        if not model.config.noise:
            raise ConfigError(
                f"{name} has no noise, so it cannot say how far the truth may lie: train it anew"
            )
        self.name, self.model, self.device = name, model, torch.device(device)
        self.seeds: Sequence[int | None] = range(draws) if draws else [None]

    @torch.inference_mode()
    def distributions(self, case: Case, count: int) -> list[Distribution]:
        """A mixture of the draws."""
        encoded = self.model.encode(case.first_views(count).to(self.device))
        # Matrix products in bfloat16 move a picture by less than a grey level.
        way = Execution("bfloat16" if quick_in_bfloat16(self.device) else "float32")
        drawn = DrawnFields.of_seeds(self.model, encoded, self.seeds, way, culled=False)
        return [Distribution.of_draws(seen) for seen in query_pictures(drawn, case, self.device)]


class Remembered:
    """Another's predictions, each made once for the case that was asked of last: its rescaled twin asks for
    the same ones.
    """

    reads_context = True

    def __init__(self, inner: DistributionPredictor) -> None:
        self.inner, self.name = inner, inner.name
        self._case: Case | None = None
        self._found: dict[int, list[Distribution]] = {}

    def distributions(self, case: Case, count: int) -> list[Distribution]:
        """The inner predictor's."""
        if case is not self._case:
            self._case, self._found = case, {}
        if count not in self._found:
            self._found[count] = self.inner.distributions(case, count)
        return self._found[count]


@dataclass(frozen=True)
class ScaledPredictor:
    """Another's predictions with all of its sigmas times a factor."""

    name: str
    inner: DistributionPredictor
    factor: float
    reads_context: bool = True

    def distributions(self, case: Case, count: int) -> list[Distribution]:
        """The inner predictor's, rescaled."""
        return [found.scaled(self.factor) for found in self.inner.distributions(case, count)]


@dataclass(frozen=True)
class ConstantSigma:
    """A model's pictures with the same sigma at every pixel, as a Gaussian."""

    name: str
    inner: ModelPredictor
    sigma: float
    reads_context: bool = True

    def distributions(self, case: Case, count: int) -> list[Distribution]:
        """One draw a picture."""
        pictures = self.inner.predict(case, count)
        return [Distribution(rgb[None], torch.full_like(rgb[None, ..., :1], self.sigma)) for rgb in pictures]


@dataclass(frozen=True)
class Ensemble:
    """Several models: a draw each."""

    name: str
    members: Sequence[DistributionPredictor]
    reads_context: bool = True

    def distributions(self, case: Case, count: int) -> list[Distribution]:
        """All members' draws together."""
        each = [member.distributions(case, count) for member in self.members]
        return [
            Distribution(
                torch.cat([part.means for part in parts]),
                torch.cat([part.scales for part in parts]),
                parts[0].dof,
            )
            for parts in zip(*each, strict=True)
        ]


def score_distributions(predictor: DistributionPredictor, case: Case, count: int) -> dict[str, float]:
    """One object's scores of uncertainty: means over its query views.

    With two draws or more also `epistemic_seen`, as `epistemic` but on the first context view itself, and
    `ratio_epistemic`, how many times larger the draws' variance is on the query views than there.
    """
    found = predictor.distributions(case, count)
    each = [
        uncertainty_scores(
            told.means, told.scales, truth, mask, torch.Generator().manual_seed(number), dof=told.dof
        )
        for number, (told, truth, mask) in enumerate(
            zip(found, pictures_over_white(case.query), foregrounds(case.query), strict=True)
        )
    ]
    scores = {metric: mean_of_known([scores[metric] for scores in each]) for metric in each[0]}
    if len(found[0].means) > 1:
        seen = predictor.distributions(replace(case, query=case.first_views(1)), count)
        asked, known = (
            float(torch.stack([told.means.double().var(0).mean() for told in views]).mean())
            for views in (found, seen)
        )
        scores["epistemic_seen"] = known**0.5
        scores["ratio_epistemic"] = asked / max(known, 1e-12)
    return scores


@dataclass(frozen=True, eq=False)
class FittedPixels:
    """What a predictor says of many pixels, and what they are: what factors on sigma are fitted to."""

    prediction: GaussianMixture | StudentMixture
    truth: Float[Tensor, "1 P 3"]
    weights: Float[Tensor, "1 P"]
    """One over the number of pixels from the same picture: pictures count alike."""

    @classmethod
    def of_cases(
        cls,
        predictor: DistributionPredictor,
        cases: Iterable[Case],
        context_counts: Sequence[int],
        foreground_only: bool = True,
    ) -> "FittedPixels":
        """The object's pixels, or all, of the cases' query views at all numbers of context views."""
        found = [
            (told, truth, mask if foreground_only else torch.ones_like(mask))
            for case in cases
            for count in context_counts
            for told, truth, mask in zip(
                predictor.distributions(case, count),
                pictures_over_white(case.query),
                foregrounds(case.query),
                strict=True,
            )
        ]
        # All pixels become one picture of one row.
        means, scales = (
            torch.cat([getattr(told, name)[:, mask] for told, _, mask in found], dim=1)[:, None]
            for name in ("means", "scales")
        )
        truth = torch.cat([truth[mask] for _, truth, mask in found])
        weights = torch.cat(
            [torch.full((int(mask.sum()),), 1 / max(int(mask.sum()), 1)) for *_, mask in found]
        )
        return cls(predicted_mixture(means, scales, found[0][0].dof), truth[None], weights[None])

    def likeliest(self) -> SigmaScale:
        """The one factor on sigma under which these pixels are likeliest."""
        return fit_sigma_scale(self.prediction, self.truth)

    def covering(self) -> SigmaScale:
        """The one factor on sigma under which 90 % intervals hold 90 % of these pixels' colours."""
        return fit_coverage_scale(self.prediction, self.truth, self.weights)
