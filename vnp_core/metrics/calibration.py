"""Whether intervals hold what they promise: the probability integral transform, coverage, and its curve.

Where predictions are calibrated, F(y) (the predicted distribution function at what came out) is uniform on
[0, 1], and the central interval of probability p covers a share p of all values. Coverage is signed: below p,
a model is too sure of itself; above, not sure enough. The area between the curve of coverage and the diagonal
(AUCE, Gustafsson et al. 2020) comes in two forms: of the distance, and of the signed difference.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from vnp_core.errors import ConfigError

AUCE_LEVELS = 100


class Mixture(Protocol):
    """K equally likely hypotheses, with a marginal at each channel of each target under each."""

    @property
    def means(self) -> Float[Tensor, "B K M Y"]:
        """Means."""
        ...

    @property
    def stds(self) -> Float[Tensor, "B K M Y"]:
        """Marginal standard deviations."""
        ...

    def log_probs(
        self, y: Float[Tensor, "B M Y"], mask: Bool[Tensor, "B M"] | None = None
    ) -> Float[Tensor, "B K M"]:
        """Log-density of each target under each hypothesis, summed over channels; 0 where absent."""
        ...

    def cdf(self, y: Float[Tensor, "B M Y"]) -> Float[Tensor, "B M Y"]:
        """The mixture's distribution function at each channel of each target, in float64."""
        ...

    def sample(self, generator: Generator) -> Float[Tensor, "B K M Y"]:
        """One sample of the targets under each hypothesis, observation noise included."""
        ...

    def scaled(self, factor: float) -> "Mixture":
        """The same means with `factor` times the standard deviations."""
        ...


class Auce(NamedTuple):
    """Areas between the curve of coverage and the diagonal, over levels from 0 to 1.

    distance: of |coverage - level|, from 0 (calibrated) to 1/2. signed: of coverage - level, from -1/2 (every
    value outside of every interval) to 1/2 (every value at the median); its size is at most `distance`.
    """

    distance: Float[Tensor, "B"]
    signed: Float[Tensor, "B"]


def integral_transform(prediction: Mixture, y: Float[Tensor, "B M Y"]) -> Float[Tensor, "B M Y"]:
    """F(y) in [0, 1] of each channel of each target, under the marginal of the mixture; in float64.

    Where a target is absent the number means nothing: leave it out by the mask.
    """
    return prediction.cdf(y)


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
    return coverage_of_transform(integral_transform(prediction, y), levels, mask)


def coverage_of_transform(
    transform: Float[Tensor, "B M Y"], levels: Sequence[float], mask: Bool[Tensor, "B M"] | None = None
) -> Float[Tensor, "B levels"]:
    """`calibration_curve` of predictions of which only F(y) is at hand, say after recalibration."""
    if not all(0 < level < 1 for level in levels):
        raise ConfigError(f"Levels of intervals lie between 0 and 1; given were {list(levels)}.")
    off_centre = 2 * (transform - 0.5).abs()  # the level at which y enters
    # One level at a time: all at once would hold a hundred copies of a picture.
    inside = [(off_centre <= level).to(off_centre.dtype).mean(-1) for level in levels]
    return torch.stack([mean_over_present(share, mask) for share in inside], dim=-1)


def auce(prediction: Mixture, y: Float[Tensor, "B M Y"], mask: Bool[Tensor, "B M"] | None = None) -> Auce:
    """Area under the calibration error curve, in both forms; NaN without any target."""
    return auce_of_transform(integral_transform(prediction, y), mask)


def auce_of_transform(transform: Float[Tensor, "B M Y"], mask: Bool[Tensor, "B M"] | None = None) -> Auce:
    """`auce` of predictions of which only F(y) is at hand. `AUCE_LEVELS` levels, by the midpoint rule.

    Even of a perfect prediction the distance is above 0 where values are few: about .3 / sqrt(their number).
    """
    levels = [(index + 0.5) / AUCE_LEVELS for index in range(AUCE_LEVELS)]
    off = coverage_of_transform(transform, levels, mask) - transform.new_tensor(levels)
    return Auce(off.abs().mean(-1), off.mean(-1))


def mean_over_present(
    values: Float[Tensor, "B M *rest"], mask: Bool[Tensor, "B M"] | None
) -> Float[Tensor, "B *rest"]:
    """Mean over those of M targets that are present; NaN where none is."""
    if mask is None:
        return values.mean(1)
    shape = (*mask.shape, *[1] * (values.ndim - 2))
    present = mask.reshape(shape)
    return values.masked_fill(~present, 0.0).sum(1) / present.sum(1)
