"""Between a table's own units and the numbers about 1 that a model reads."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vnp_core.observations import PointSet


@dataclass(frozen=True)
class Scaling:
    """x becomes (x - x_shift) / x_scale, and so does y, channel by channel."""

    x_shift: tuple[float, ...]
    x_scale: tuple[float, ...]
    y_shift: tuple[float, ...]
    y_scale: tuple[float, ...]

    @classmethod
    def of(cls, points: PointSet, x_range: tuple[float, float] = (-2.0, 2.0)) -> "Scaling":
        """Brings present points to `x_range` in x, and to mean 0 and standard deviation 1 in y.

        Where all values of a channel are equal, it is shifted and not scaled.
        """
        x, y = points.x[points.mask].double(), points.y[points.mask].double()
        low, high = x.amin(0), x.amax(0)
        x_scale = _nonzero((high - low) / (x_range[1] - x_range[0]))
        x_shift = (low + high) / 2 - x_scale * sum(x_range) / 2
        return cls(
            _floats(x_shift), _floats(x_scale), _floats(y.mean(0)), _floats(_nonzero(y.std(0, correction=0)))
        )

    def apply(self, points: PointSet) -> PointSet:
        """The same points in a model's numbers: computed in float64, returned in float32."""
        return PointSet(
            self.x_there(points.x), _standardised(points.y, self.y_shift, self.y_scale), points.mask
        )

    def x_there(self, x: Float[Tensor, "*B X"]) -> Float[Tensor, "*B X"]:
        """Coordinates in a model's numbers: computed in float64, returned in float32."""
        return _standardised(x, self.x_shift, self.x_scale)

    def y_spread(self, spread: Float[Tensor, "*B Y"]) -> Float[Tensor, "*B Y"]:
        """Standard deviations of values in the table's units."""
        return spread * spread.new_tensor(self.y_scale)

    def y_back(self, y: Float[Tensor, "*B Y"]) -> Float[Tensor, "*B Y"]:
        """Values in the table's units."""
        return y * y.new_tensor(self.y_scale) + y.new_tensor(self.y_shift)

    @property
    def log_volume(self) -> float:
        """What to subtract from a target's log-density (all channels) to have it in the table's units."""
        return math.fsum(math.log(scale) for scale in self.y_scale)


def _standardised(
    values: Float[Tensor, "*B C"], shift: tuple[float, ...], scale: tuple[float, ...]
) -> Float[Tensor, "*B C"]:
    wide = values.double()
    return ((wide - wide.new_tensor(shift)) / wide.new_tensor(scale)).float()


def _nonzero(scale: Float[Tensor, "C"]) -> Float[Tensor, "C"]:
    return torch.where(scale > 0, scale, torch.ones_like(scale))


def _floats(values: Float[Tensor, "C"]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
