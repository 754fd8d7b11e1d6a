"""Corrections of a model's uncertainty after training, fitted on pictures that it was not trained on.

`SigmaScale` multiplies every sigma by one factor, which makes the fitted values likeliest, or intervals hold
what they promise: the mean stays, and so does the order of sigmas. `TransformMap` corrects what a factor
cannot, the shape: it maps F(y) to how often values lie below it. Kuleshov et al. (2018) find that map by
isotonic regression of the empirical distribution of F(y), which rises by itself: their regression is the
empirical distribution, kept here at its percentiles.

Nothing applies a correction unless it is told to. Both become plain JSON, for a checkpoint's card.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from itertools import pairwise
from statistics import fmean
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vnp_core.errors import DataError
from vnp_core.likelihoods import GaussianMixture
from vnp_core.metrics.calibration import Mixture
from vnp_core.metrics.predictive import negative_log_likelihood

LARGEST_SCALE = 100.0
"""Factors are looked for up to this, and down to one over it."""
PERCENTILES = 100
_BISECTIONS = 14
"""Halvings of the logarithm's range: to a thousandth."""


@dataclass(frozen=True)
class SigmaScale:
    """Every sigma is multiplied by `factor`: above 1 for a model that was too sure."""

    factor: float

    def __post_init__(self) -> None:
        if not 0 < self.factor < math.inf:
            raise DataError(f"A scale of sigma is a finite number above 0; given was {self.factor}.")

    def __call__(self, prediction: Mixture) -> Mixture:
        """The corrected prediction."""
        return prediction.scaled(self.factor)

    def to_json(self) -> dict[str, Any]:
        """What `correction_from_json` reads back exactly."""
        return {"kind": "sigma_scale", "factor": self.factor}


@dataclass(frozen=True)
class TransformMap:
    """F(y) to its corrected value: linear between knots, and constant beyond the first and the last.

    raw and calibrated rise strictly and lie in [0, 1]. It corrects coverage and quantiles; a density it gives
    none, for the channels of a target are mapped one by one.
    """

    raw: tuple[float, ...]
    calibrated: tuple[float, ...]

    def __post_init__(self) -> None:
        for knots in (self.raw, self.calibrated):
            rises = all(0 <= low < high <= 1 for low, high in pairwise(knots))
            if len(self.raw) != len(self.calibrated) or len(knots) < 2 or not rises:
                raise DataError(
                    "A map of F(y) needs as many raw as calibrated knots, two or more of each, which rise "
                    f"and lie between 0 and 1; given were {len(self.raw)} and {len(self.calibrated)}."
                )

    def __call__(self, transform: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """The corrected F(y), for `coverage_of_transform` and the like."""
        return _interpolated(transform, self.raw, self.calibrated)

    def inverse(self, levels: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """Which quantile of the raw prediction is the corrected one of each level."""
        return _interpolated(levels, self.calibrated, self.raw)

    def to_json(self) -> dict[str, Any]:
        """What `correction_from_json` reads back exactly."""
        return {"kind": "transform_map", "raw": list(self.raw), "calibrated": list(self.calibrated)}


def correction_from_json(values: Mapping[str, Any]) -> SigmaScale | TransformMap:
    """What `to_json` wrote. Raises `DataError` for anything else."""
    try:
        kind = values["kind"]
        if kind == "sigma_scale":
            return SigmaScale(float(values["factor"]))
        if kind == "transform_map":
            raw, calibrated = (tuple(map(float, values[name])) for name in ("raw", "calibrated"))
            return TransformMap(raw, calibrated)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"This is no correction of an uncertainty: {error!r}; given: {values!r}.") from error
    raise DataError(f"A correction's kind is sigma_scale or transform_map; given was {kind!r}.")


def fit_sigma_scale(
    prediction: Mixture, y: Float[Tensor, "B M Y"], mask: Bool[Tensor, "B M"] | None = None
) -> SigmaScale:
    """The factor under which the present targets are likeliest, all counted alike.

    One draw of Gaussians has it in closed form, the root mean square of (y - mean) / sigma; mixtures and
    Student's t by a search over 1 / `LARGEST_SCALE` to `LARGEST_SCALE`. Raises `DataError` without targets,
    and where no such factor is best, as where every prediction is exact.
    """
    present = torch.ones(y.shape[:2], dtype=torch.bool, device=y.device) if mask is None else mask
    if not bool(present.any()):
        raise DataError("No target is present: a scale of sigma needs values to be fitted to.")
    if isinstance(prediction, GaussianMixture) and prediction.means.shape[1] == 1:
        z = (y.double() - prediction.means[:, 0].double()) / prediction.stds[:, 0].double()
        factor = z[present].square().mean().sqrt().item()
    else:
        counts = present.sum(1)

        def cost(log_factor: float) -> float:
            each = negative_log_likelihood(prediction.scaled(math.exp(log_factor)), y, present)
            return (each.nan_to_num() * counts).sum().item() / counts.sum().item()

        factor = math.exp(_lowest(cost, math.log(LARGEST_SCALE)))
    # A search ends just within its bounds where the best lies beyond.
    if not 1.01 / LARGEST_SCALE < factor < 0.99 * LARGEST_SCALE:
        raise DataError(
            f"No scale of sigma between {1 / LARGEST_SCALE} and {LARGEST_SCALE} is the likeliest (found "
            f"{factor:.3g}): the predictions are exact, or far from the values; check that both are of one "
            f"unit."
        )
    return SigmaScale(factor)


def fit_coverage_scale(
    prediction: Mixture,
    y: Float[Tensor, "B M Y"],
    weights: Float[Tensor, "B M"],
    *,
    level: float = 0.9,
) -> SigmaScale:
    """The factor under which central intervals of probability `level` hold that share of the targets.

    weights: how much each target counts, 0 for those that are absent. Of a model whose errors have another
    shape than its distribution this is not the likeliest factor: most targets may be known better than they
    are said to be, and the others worse. Found by bisection between 1 / `LARGEST_SCALE` and `LARGEST_SCALE`,
    for intervals hold more the wider they are. Raises `DataError` without targets, and where no such factor
    is found.
    """
    total = weights.double().sum().item()
    if not total > 0:
        raise DataError("No target counts: a scale of sigma needs values to be fitted to.")

    def held(factor: float) -> float:
        off_centre = 2 * (prediction.scaled(factor).cdf(y) - 0.5).abs()
        inside = (off_centre <= level).double().mean(-1)
        return (inside * weights.double()).sum().item() / total

    low, high = -math.log(LARGEST_SCALE), math.log(LARGEST_SCALE)
    if held(math.exp(low)) > level or held(math.exp(high)) < level:
        raise DataError(
            f"No scale of sigma between {1 / LARGEST_SCALE} and {LARGEST_SCALE} makes intervals of "
            f"probability {level} hold that share: the predictions are exact, or far from the values"
        )
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (low, middle) if held(math.exp(middle)) >= level else (middle, high)
    return SigmaScale(math.exp((low + high) / 2))


def fit_transform_map(
    transform: Float[Tensor, "B M Y"], mask: Bool[Tensor, "B M"] | None = None
) -> TransformMap:
    """The percentiles of F(y) over all channels of the present targets.

    Values that many targets share, as 0 and 1 where a model was far too sure, count in their middle. Raises
    `DataError` where fewer than two different values are left.
    """
    values = transform if mask is None else transform[mask]
    if values.numel() == 0 or bool(values.isnan().any()):
        raise DataError("F(y) is NaN or there is none: leave absent targets out by the mask.")
    ranked = values.detach().cpu().double().flatten().sort().values
    shares_at: dict[float, list[float]] = {}
    for index in range(PERCENTILES):
        share = (index + 0.5) / PERCENTILES
        shares_at.setdefault(ranked[int(share * len(ranked))].item(), []).append(share)
    return TransformMap(tuple(shares_at), tuple(fmean(shares) for shares in shares_at.values()))


def _lowest(cost: Callable[[float], float], bound: float) -> float:
    """Where a function on [-bound, bound] is lowest: the best of a grid, then Brent's search around it."""
    grid = np.linspace(-bound, bound, 25)
    best = int(np.argmin([cost(float(place)) for place in grid]))
    around = (float(grid[max(best - 1, 0)]), float(grid[min(best + 1, len(grid) - 1)]))
    search: Any = import_module("scipy.optimize").minimize_scalar
    return float(search(cost, bounds=around, method="bounded", options={"xatol": 1e-6}).x)


def _interpolated(
    values: Float[Tensor, "*any"], places: tuple[float, ...], heights: tuple[float, ...]
) -> Float[Tensor, "*any"]:
    array = cast(Any, values.detach().cpu()).numpy()
    return torch.as_tensor(np.interp(array, places, heights)).to(values)
