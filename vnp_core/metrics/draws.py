"""How good draws are as draws: the energy score, the CRPS of samples, and the best of K.

Both scores are E|X - y| - E|X - X'| / 2 over draws X, X' of the prediction (Gneiting and Raftery, 2007): near
to the truth, and as far apart as the truth varies. From K draws they are estimated without bias (pairs of
different draws alone), so that in expectation the truth's own distribution scores best at every K. The best
of K is no such score: it never asks how bad the other draws are. It tells what a user who picks gets.
"""

from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor

from vnp_core.likelihoods import accumulator
from vnp_core.metrics.calibration import mean_over_present
from vnp_core.metrics.picture_quality import psnr


class DrawQuality(NamedTuple):
    """PSNR in dB of K pictures of one thing: of the best of them, of their mean, and on average."""

    best: Float[Tensor, "B"]
    of_mean: Float[Tensor, "B"]
    average: Float[Tensor, "B"]


def draw_quality(
    pictures: Float[Tensor, "B K M Y"], y: Float[Tensor, "B M Y"], mask: Bool[Tensor, "B M"] | None = None
) -> DrawQuality:
    """PSNR over M targets of Y channels from 0 to 1 (clamped, as a screen would); NaN without any target."""

    def score(some: Float[Tensor, "B K M Y"]) -> Float[Tensor, "B K"]:
        planes = rearrange(some, "b k m y -> b k y 1 m")
        truth = rearrange(y, "b m y -> b 1 y 1 m")
        present = None if mask is None else rearrange(mask, "b m -> b 1 1 m")
        return psnr(planes, truth, present)

    each = score(pictures)
    return DrawQuality(each.amax(1), score(pictures.mean(1, keepdim=True))[:, 0], each.mean(1))


def energy_score(
    samples: Float[Tensor, "B K M Y"], y: Float[Tensor, "B M Y"], mask: Bool[Tensor, "B M"] | None = None
) -> Float[Tensor, "B"]:
    """Energy score of whole functions: the distance of two is their root mean squared difference.

    In the units of y; lower is better, NaN without any target. Unlike a CRPS it sees whether a draw's targets
    fit together. The work grows with K^2. One draw alone is scored as a point: its distance.
    """
    kind = accumulator(y.device)
    samples, y = samples.to(kind), y.to(kind)
    draws = samples.shape[1]

    def distance(a: Tensor, b: Tensor) -> Float[Tensor, "B"]:
        return mean_over_present((a - b).square().mean(-1), mask).sqrt()

    to_truth = torch.stack([distance(samples[:, k], y) for k in range(draws)]).mean(0)
    pairs = [distance(samples[:, j], samples[:, k]) for k in range(draws) for j in range(k)]
    return to_truth - 0.5 * torch.stack(pairs).mean(0) if pairs else to_truth


def sample_crps(
    samples: Float[Tensor, "B K M Y"], y: Float[Tensor, "B M Y"], mask: Bool[Tensor, "B M"] | None = None
) -> Float[Tensor, "B"]:
    """CRPS of each channel of each target by itself from K samples, then the mean; NaN without any target.

    In the units of y; lower is better. One sample alone is scored as a point: its absolute error.
    """
    kind = accumulator(y.device)
    samples, y = samples.to(kind), y.to(kind)
    draws = samples.shape[1]
    each = (samples - y[:, None]).abs().mean(1)
    if draws > 1:
        # The sum of |x_j - x_k| over pairs, each pair once, is one of (2 i - K + 1) x_i over sorted x.
        weights = 2 * torch.arange(draws, dtype=kind, device=y.device) - draws + 1
        apart = torch.einsum("k,bkmy->bmy", weights, samples.sort(dim=1).values)
        each = each - apart / (draws * (draws - 1))
    return mean_over_present(each.mean(-1), mask)
