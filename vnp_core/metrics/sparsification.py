"""Whether a model is least sure where it is most wrong: sparsification curves, and the area between them.

Targets are taken away, the least sure first, and the mean error of the rest is followed; the oracle takes
them away by their true error. The area between both curves is the AUSE (Ilg et al. 2018): 0 where the order
by sigma is the order by error. Only the order counts: calibration is another question.

Three definitions are in use under one name, so `Normalisation` must be said. The area relative to that of a
random order is the same under all that divide by a constant: 0 for the oracle, 1 where sigma knows nothing.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from vnp_core.errors import DataError

Normalisation = Literal["raw", "maximum", "first"]
"""raw: the errors as they are. maximum: both curves divided by the largest value of either. first: each curve
divided by its own first value, the mean error of all targets."""

STEPS = 100


@dataclass(frozen=True)
class Sparsification:
    """Mean errors of what is left when shares of all targets are taken away; float64, NaN without targets.

    A random order leaves, in expectation, the mean of all: the first value, at every share.
    """

    shares: Float[Tensor, "S"]
    """Taken away: 0, 1 / S, ..., (S - 1) / S."""
    model: Float[Tensor, "S"]
    oracle: Float[Tensor, "S"]

    def ause(self, normalisation: Normalisation) -> float:
        """Area between the model's curve and the oracle's, by the trapezoid rule."""
        return self._area(self.model, normalisation)

    def random_ause(self, normalisation: Normalisation) -> float:
        """The expected area of a random order."""
        return self._area(self.model[0].expand_as(self.model), normalisation)

    @property
    def relative(self) -> float:
        """Area of the model over that of a random order; NaN where all errors are equal: no order is best."""
        random = self.random_ause("raw")
        return self.ause("raw") / random if random > 1e-12 * self.model[0].item() else math.nan

    def _area(self, curve: Float[Tensor, "S"], normalisation: Normalisation) -> float:
        curve, oracle = curve.clone(), self.oracle.clone()
        if normalisation == "maximum":
            largest = torch.maximum(curve.max(), oracle.max())
            curve, oracle = _over(curve, largest), _over(oracle, largest)
        elif normalisation == "first":
            curve, oracle = _over(curve, curve[0]), _over(oracle, oracle[0])
        return torch.trapezoid(curve - oracle, self.shares).item()


def sparsify(
    errors: Float[Tensor, "N"],
    sigmas: Float[Tensor, "N"],
    generator: Generator,
    mask: Bool[Tensor, "N"] | None = None,
    steps: int = STEPS,
) -> Sparsification:
    """The curves of N targets, or of those in `mask`. Errors are 0 or more: absolute, or squared.

    Equal sigmas are put into a random order by the generator: the order that targets came in, which often
    follows the picture and so the error, must not help. Raises `DataError` for NaN and for unequal shapes.
    """
    if errors.ndim != 1 or errors.shape != sigmas.shape:
        raise DataError(
            f"errors {tuple(errors.shape)} and sigmas {tuple(sigmas.shape)}: give one number of each a target"
        )
    if mask is not None:
        errors, sigmas = errors[mask], sigmas[mask]
    errors, sigmas = errors.detach().cpu().double(), sigmas.detach().cpu().double()
    if errors.isnan().any() or sigmas.isnan().any():
        raise DataError("errors or sigmas hold NaN: targets cannot be put in an order")
    count = len(errors)
    shares = torch.arange(steps, dtype=torch.float64) / steps
    if count == 0:
        nothing = torch.full_like(shares, math.nan)
        return Sparsification(shares, nothing, nothing)
    left = count - torch.arange(steps) * count // steps  # at least one
    shuffle = torch.randperm(count, generator=generator, device=generator.device).cpu()
    errors, sigmas = errors[shuffle], sigmas[shuffle]
    surest_first = errors[sigmas.argsort(stable=True)]
    return Sparsification(
        shares, _mean_of_first(surest_first, left), _mean_of_first(errors.sort().values, left)
    )


def _mean_of_first(values: Float[Tensor, "N"], counts: Tensor) -> Float[Tensor, "S"]:
    return values.cumsum(0)[counts - 1] / counts


def _over(curve: Float[Tensor, "S"], divisor: Tensor) -> Float[Tensor, "S"]:
    """The quotient; a curve of zeros stays one."""
    return curve / divisor if divisor != 0 else curve
