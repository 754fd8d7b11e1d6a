"""Scores of a picture that comes with its uncertainty: K draws of a view, each with a sigma at every pixel.

Everything is scored twice, over the full picture and over the object's pixels alone (`_fg`): a white
background is easy to be sure of, and flatters every one of these scores.

- `nll`, in nats a pixel (its three colours together), of the mixture of draws; `nll_gaussian`, of the one
  Gaussian with its moments.
- `coverage50`, `coverage90`: the share of colours inside central intervals; less than promised is too sure.
- `auce`: the area between the curve of coverage and the diagonal; `auce_signed`, below 0 where too sure.
- `ause_raw`, `ause_max`, `ause_first`: the area to the oracle when pixels are taken away by sigma, for
  absolute errors, under the three normalisations in use. `ause_rel`: over that of a random order; 0 is the
  oracle's, and 1 means that sigma knows nothing. `ause_sq_raw` and so on: the same four for squared errors.
- `crps`, in the unit of colours, of each colour by itself (of Student's t from samples: two draws or more).
- `noise`: the root of the mean E[sigma^2] over pixels and colours, in the unit of colours.
- `psnr_mean`, in dB, of the mean of the draws.
- With two draws or more: `epistemic`, the root of the mean Var[mu]; `energy`, the energy score of whole
  pictures, noise included; `psnr_draw`, the average over draws, and `best_of_k`, the best of them, in dB.
"""

from collections.abc import Mapping

from einops import rearrange
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from vnp_core.errors import DataError
from vnp_core.likelihoods import GaussianMixture
from vnp_core.metrics.calibration import auce_of_transform, coverage_of_transform, integral_transform
from vnp_core.metrics.crps import crps
from vnp_core.metrics.draws import draw_quality, energy_score, sample_crps
from vnp_core.metrics.predictive import moment_matched, negative_log_likelihood, split_variance
from vnp_core.metrics.sparsification import sparsify
from vnp_core.student import StudentMixture

LEVELS: Mapping[str, float] = {"coverage50": 0.5, "coverage90": 0.9}
FOREGROUND = "_fg"
"""What the names of the foreground's scores end with."""


def uncertainty_scores(
    means: Float[Tensor, "K H W 3"],
    sigmas: Float[Tensor, "K H W C"],
    truth: Float[Tensor, "H W 3"],
    foreground: Bool[Tensor, "H W"],
    generator: Generator,
    *,
    dof: float | None = None,
) -> dict[str, float]:
    """All scores of one view, those above by their names, each with and without `_fg`.

    sigmas: positive, in the unit of the colours; C is 3, or 1 where the colours of a pixel share it. Standard
    deviations of Gaussians, or with `dof` scales of Student t distributions of so many degrees of freedom.
    generator: breaks ties between equal sigmas, and draws the samples of `energy`.

    NaN where there is nothing to score (no foreground; one pixel, which has no order): a mean over pictures
    has to leave it out. Raises `DataError` for shapes that do not fit, and for values that are no prediction.
    """
    prediction = predicted_mixture(means, sigmas, dof)
    if truth.shape != means.shape[1:] or foreground.shape != truth.shape[:2]:
        raise DataError(
            f"draws of shape {tuple(means.shape)} against a truth of {tuple(truth.shape)} and a foreground "
            f"of {tuple(foreground.shape)}: pictures must be of one size"
        )
    y = rearrange(truth, "H W rgb -> 1 (H W) rgb").to(means)
    full = _scores(prediction, y, generator)
    inside = rearrange(foreground, "H W -> (H W)").to(means.device)
    object_alone = _scores(_at(prediction, inside), y[:, inside], generator)
    return {**full, **{name + FOREGROUND: value for name, value in object_alone.items()}}


def predicted_mixture(
    means: Float[Tensor, "K H W 3"], sigmas: Float[Tensor, "K H W C"], dof: float | None = None
) -> GaussianMixture | StudentMixture:
    """The predictive distribution of one view's pixels, B = 1 and M = H W, as `vnp_core.metrics` takes it.

    Raises `DataError` unless means are finite and sigmas finite and positive.
    """
    fits = means.ndim == 4 and sigmas.shape in (means.shape, (*means.shape[:3], 1)) and len(means) > 0
    if not fits:
        raise DataError(
            f"draws of shape {tuple(means.shape)} with sigmas of {tuple(sigmas.shape)}: give means "
            f"[K, H, W, 3] and sigmas [K, H, W, 3] or [K, H, W, 1]"
        )
    if not bool(means.isfinite().all() and sigmas.isfinite().all() and (sigmas > 0).all()):
        raise DataError("a prediction holds NaN, infinity, or a sigma that is not above 0: it has no score")
    centres, scales = (
        rearrange(part, "K H W rgb -> 1 K (H W) rgb") for part in (means, sigmas.expand_as(means))
    )
    return GaussianMixture(centres, scales) if dof is None else StudentMixture(centres, scales, dof)


def _at(
    prediction: GaussianMixture | StudentMixture, targets: Bool[Tensor, "M"]
) -> GaussianMixture | StudentMixture:
    """The same prediction of some targets alone."""
    if isinstance(prediction, StudentMixture):
        return StudentMixture(
            prediction.means[:, :, targets], prediction.scales[:, :, targets], prediction.dof
        )
    return GaussianMixture(prediction.means[:, :, targets], prediction.stds[:, :, targets])


def _scores(
    prediction: GaussianMixture | StudentMixture,
    y: Float[Tensor, "1 M 3"],
    generator: Generator,
) -> dict[str, float]:
    transform = integral_transform(prediction, y)
    areas = auce_of_transform(transform)
    quality = draw_quality(prediction.means, y)
    split = split_variance(prediction)
    several = prediction.means.shape[1] > 1
    scores = {
        "nll": negative_log_likelihood(prediction, y),
        "nll_gaussian": negative_log_likelihood(moment_matched(prediction), y),
        **dict(zip(LEVELS, coverage_of_transform(transform, list(LEVELS.values())).T, strict=True)),
        "auce": areas.distance,
        "auce_signed": areas.signed,
        "noise": split.noise.mean().sqrt(),
        "psnr_mean": quality.of_mean,
    }
    if isinstance(prediction, GaussianMixture):
        scores["crps"] = crps(prediction, y)
    if several:
        samples = prediction.sample(generator)
        scores["energy"] = energy_score(samples, y)
        scores["epistemic"] = split.epistemic.mean().sqrt()
        scores["psnr_draw"], scores["best_of_k"] = quality.average, quality.best
        if isinstance(prediction, StudentMixture):
            scores["crps"] = sample_crps(samples, y)
    found = {name: value.item() for name, value in scores.items()}
    off = prediction.mean[0].double() - y[0]
    sigmas = split.total[0].mean(-1).sqrt()
    for name, errors in (("ause", off.abs().mean(-1)), ("ause_sq", off.square().mean(-1))):
        curves = sparsify(errors, sigmas, generator)
        found[f"{name}_raw"] = curves.ause("raw")
        found[f"{name}_max"] = curves.ause("maximum")
        found[f"{name}_first"] = curves.ause("first")
        found[f"{name}_rel"] = curves.relative
    return found
