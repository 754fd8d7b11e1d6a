"""Whether intervals hold what they promise: the probability integral transform, coverage, and its curve.

Where predictions are calibrated, F(y) (the predicted distribution function at what came out) is uniform on
[0, 1], and the central interval of probability p covers a share p of all values. Coverage is signed: below p,
a model is too sure of itself; above, not sure enough.
"""

import math
from collections.abc import Sequence
from typing import Protocol

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vnp_core.errors import ConfigError
from vnp_core.likelihoods import accumulator


class Mixture(Protocol):
    """K equally likely hypotheses, with a Gaussian marginal at each channel of each target under each."""

    @property
    def means(self) -> Float[Tensor, "B K M Y"]:
        """Means."""
        ...

    @property
    def stds(self) -> Float[Tensor, "B K M Y"]:
        """Marginal standard deviations."""
        ...


def integral_transform(prediction: Mixture, y: Float[Tensor, "B M Y"]) -> Float[Tensor, "B M Y"]:
    """F(y) in [0, 1] of each channel of each target, under the marginal of the mixture; in float64.

    Where a target is absent the number means nothing: leave it out by the mask.
    """
    kind = accumulator(y.device)
    z = (y[:, None].to(kind) - prediction.means.to(kind)) / prediction.stds.to(kind)
    return (0.5 + 0.5 * torch.erf(z / math.sqrt(2))).mean(1)


def coverage(
    prediction: Mixture, y: Float[Tensor, "B M Y"], level: float, mask: Bool[Tensor, "B M"] | None = None
) -> Float[Tensor, "B"]:
    """Share of a task's values inside the central interval of probability `level`; NaN without any target."""
    return calibration_curve(prediction, y, [level], mask)[:, 0]


def coverage_deviation(
    prediction: Mixture, y: Float[Tensor, "B M Y"], level: float, mask: Bool[Tensor, "B M"] | None = None
) -> Float[Tensor, "B"]:
    """Coverage minus `level`: negative where intervals are too narrow, positive where too wide."""
    return coverage(prediction, y, level, mask) - level


def calibration_curve(
    prediction: Mixture,
    y: Float[Tensor, "B M Y"],
    levels: Sequence[float],
    mask: Bool[Tensor, "B M"] | None = None,
) -> Float[Tensor, "B levels"]:
    """Coverage at each of `levels`, in (0, 1). The diagonal is perfect; a task without targets is NaN.

    An interval is the one between the mixture's own quantiles (1 - level) / 2 and (1 + level) / 2, so no
    Gaussian shape is assumed of the mixture.
    """
    if not all(0 < level < 1 for level in levels):
        raise ConfigError(f"Levels of intervals lie between 0 and 1; given were {list(levels)}.")
    off_centre = 2 * (integral_transform(prediction, y) - 0.5).abs()  # the level at which y enters
    inside = off_centre[..., None] <= off_centre.new_tensor(levels)
    return mean_over_present(inside.to(off_centre.dtype).mean(-2), mask)


def mean_over_present(
    values: Float[Tensor, "B M *rest"], mask: Bool[Tensor, "B M"] | None
) -> Float[Tensor, "B *rest"]:
    """Mean over those of M targets that are present; NaN where none is."""
    if mask is None:
        return values.mean(1)
    shape = (*mask.shape, *[1] * (values.ndim - 2))
    present = mask.reshape(shape)
    return values.masked_fill(~present, 0.0).sum(1) / present.sum(1)
