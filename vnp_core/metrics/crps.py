"""The continuous ranked probability score of a mixture of Gaussians, in closed form.

CRPS = E|X - y| - E|X - X'| / 2 with X and X' independent draws from the prediction (Gneiting and Raftery,
2007). A Gaussian of mean m and standard deviation s has E|X| = 2 s phi(m / s) + m (2 Phi(m / s) - 1), and
each pair of a mixture's parts is such a term (Grimit et al., 2006).
"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vnp_core.likelihoods import GaussianMixture, accumulator
from vnp_core.metrics.calibration import mean_over_present


def crps(
    prediction: GaussianMixture, y: Float[Tensor, "B M Y"], mask: Bool[Tensor, "B M"] | None = None
) -> Float[Tensor, "B"]:
    """Mean over a task's channels and present targets, in the units of y; 0 is best, NaN without any target.

    Each channel of each target is scored by itself, under its own marginal. The work grows with K^2, the
    memory with K.
    """
    kind = accumulator(y.device)
    means, stds = prediction.means.to(kind), prediction.stds.to(kind)
    draws = means.shape[1]
    to_truth = mean_absolute(y[:, None].to(kind) - means, stds).mean(1)
    # Pairs (j, k) and (k, j) are equal: those with j < k count twice.
    own = mean_absolute(torch.zeros_like(stds), math.sqrt(2) * stds).sum(1)
    others = torch.zeros_like(own)
    for k in range(draws - 1):
        apart = means[:, k + 1 :] - means[:, k, None]
        wide = (stds[:, k + 1 :].square() + stds[:, k, None].square()).sqrt()
        others += 2 * mean_absolute(apart, wide).sum(1)
    each = to_truth - 0.5 * (own + others) / draws**2
    return mean_over_present(each.mean(-1), mask)


def mean_absolute(mean: Float[Tensor, "*B"], std: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
    """E|X| of a Gaussian X."""
    z = mean / std
    density = (-0.5 * z.square()).exp() / math.sqrt(2 * math.pi)
    return 2 * std * density + mean * torch.erf(z / math.sqrt(2))
