"""Whole pictures as models complete them: how close the mean is, how good samples are, where they differ.

`psnr` and `ssim` are of the mean: PSNR over the pixels that were not given, SSIM over the picture with the
given pixels put in. `psnr_best` is the best of K sampled functions, `psnr_sample` their average, and
`psnr_sample_mean` that of the samples' mean. `spread_unseen` and `spread_seen` are the standard deviation of
samples, in shares of white, at pixels that were not given and at given ones; `ratio_spread` divides them.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int64
from torch import Generator, Tensor

from vnp_core.bench.panels import function_samples
from vnp_core.bench.scoring import TaskScores
from vnp_core.likelihoods import GaussianMixture
from vnp_core.metrics.picture_quality import WINDOW, psnr, ssim
from vnp_core.model import Process
from vnp_core.observations import Grid, PointSet
from vnp_core.tasks.pictures import values_to_shares
from vnp_core.tasks.task import TaskBatch

QUALITY = ("psnr", "ssim", "psnr_best", "psnr_sample", "psnr_sample_mean")
SPREAD = ("spread_unseen", "spread_seen", "ratio_spread")


@dataclass(frozen=True)
class Completion:
    """B pictures that a model completed, in shares of white."""

    truth: Float[Tensor, "B C H W"]
    given: Bool[Tensor, "B H W"]
    """Which pixels were known; none of them where the context was a coarse grid."""
    mean: Float[Tensor, "B C H W"]
    """The model's mean, also at given pixels."""
    std: Float[Tensor, "B C H W"]
    """Its standard deviation, noise included."""
    samples: Float[Tensor, "B K C H W"]
    """Functions that the model finds likely, without noise."""

    def filled(self, pictures: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """The same pictures with the given pixels put in."""
        return torch.where(self.given[:, None], self.truth, pictures)


def complete(
    model: Process, batch: TaskBatch, size: tuple[int, int], draws: int, samples: int, generator: Generator
) -> Completion:
    """Completes pictures of a size whose pixels are all in the batch, known or asked for.

    One hypothesis is sampled `samples` times, several once each, at most `samples` of them.
    """
    known = given_pixels(batch, size)
    asked = batch.targets if known is None else known.cat(batch.targets)
    with torch.inference_mode():
        prediction = model.predict(batch.context, asked.x, draws, generator)
        functions = _functions(prediction, samples, generator)
    order = pixel_indices(asked.x, size).argsort(dim=-1)

    def picture(values: Float[Tensor, "B M C"]) -> Float[Tensor, "B C H W"]:
        sorted_values = values.gather(1, order[..., None].expand(-1, -1, values.shape[-1]))
        return rearrange(sorted_values, "b (h w) c -> b c h w", h=size[0]).cpu().float()

    count = 0 if known is None else known.x.shape[1]
    given = torch.arange(asked.x.shape[1], device=asked.x.device).expand(len(asked.x), -1) < count
    return Completion(
        values_to_shares(picture(asked.y)),
        picture(given[..., None].float())[:, 0] > 0.5,
        values_to_shares(picture(prediction.mean)),
        picture(prediction.variance.sqrt()),
        torch.stack([values_to_shares(picture(each)) for each in functions.unbind(1)], dim=1),
    )


def completion_scores(found: Completion) -> TaskScores:
    """Every score of every picture, each [B], NaN where it has none."""
    unseen = ~found.given
    scores: TaskScores = {"psnr": psnr(found.mean, found.truth, unseen)}
    if min(found.truth.shape[-2:]) >= WINDOW:
        scores["ssim"] = ssim(found.filled(found.mean), found.truth)
    draws = found.samples.shape[1]
    if draws == 1:
        return scores
    truth, mask = found.truth[:, None], unseen[:, None].expand(-1, draws, -1, -1)
    each = psnr(found.samples, truth.expand_as(found.samples), mask)
    scores["psnr_best"], scores["psnr_sample"] = each.amax(1), each.mean(1)
    scores["psnr_sample_mean"] = psnr(found.samples.mean(1), found.truth, unseen)
    spread = found.samples.double().std(1).mean(1)  # [B, H, W]
    for name, where in (("unseen", unseen), ("seen", found.given)):
        total, count = spread.masked_fill(~where, 0.0).sum((1, 2)), where.sum((1, 2))
        scores[f"spread_{name}"] = total / count  # NaN where no pixel was given
    scores["ratio_spread"] = scores["spread_unseen"] / scores["spread_seen"].clamp(min=1e-6)
    return scores


def resized(batch: TaskBatch, size: tuple[int, int], mode: str) -> Completion:
    """Super-resolution by `nearest` or `bicubic` interpolation of the coarse grid."""
    context = batch.context
    assert isinstance(context, PointSet)
    side = round(context.x.shape[1] ** 0.5)
    coarse = rearrange(context.y, "b (h w) c -> b c h w", h=side)
    fine = F.interpolate(coarse, size=size, mode=mode, align_corners=False if mode == "bicubic" else None)
    truth = rearrange(batch.targets.y, "b (h w) c -> b c h w", h=size[0])
    picture = values_to_shares(fine)
    given = torch.zeros_like(picture[:, 0], dtype=torch.bool)
    return Completion(values_to_shares(truth), given, picture, torch.zeros_like(picture), picture[:, None])


def given_pixels(batch: TaskBatch, size: tuple[int, int]) -> PointSet | None:
    """The known pixels as points, as many in each picture; None where what is known is no pixel of it."""
    context = batch.context
    if isinstance(context, Grid):
        whole = context.points()
        chosen = whole.mask.nonzero()[:, 1].reshape(len(whole.mask), -1)
        x, y = (
            part.gather(1, chosen[..., None].expand(-1, -1, part.shape[-1])) for part in (whole.x, whole.y)
        )
        return PointSet.present(x, y)
    return context if context.x.shape[1] + batch.targets.x.shape[1] == size[0] * size[1] else None


def pixel_indices(x: Float[Tensor, "B M 2"], size: tuple[int, int]) -> Int64[Tensor, "B M"]:
    """Places of pixel centres in the flattened picture."""
    sides = torch.tensor(size, device=x.device)
    rows, columns = (((x + 1) * sides - 1) / 2).round().long().unbind(-1)
    return rows * size[1] + columns


def _functions(prediction: GaussianMixture, samples: int, generator: Generator) -> Float[Tensor, "B K M Y"]:
    functions = function_samples(prediction, generator)
    if functions.shape[1] == 1 and type(prediction) is not GaussianMixture:
        more = [function_samples(prediction, generator) for _ in range(samples - 1)]
        functions = torch.cat([functions, *more], dim=1)
    return functions[:, :samples]
