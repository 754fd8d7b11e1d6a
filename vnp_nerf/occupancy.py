"""Where a field is not empty: a grid of cells taken from the field's own density, so that rendering need not
ask in the others.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor

CELLS = 64
"""Cells a side, as fine as the pixels that a field is inferred from."""
FAINT = 0.2
"""Density, 1 / model unit, that counts as empty: a cell of it absorbs less than a hundredth of the light."""

Density = Callable[[Float[Tensor, "N 3"]], Float[Tensor, "N"]]


@dataclass(frozen=True, eq=False)
class OccupancyGrid:
    """G cells a side over the cube [-radius, radius]^3 of the model frame."""

    filled: Bool[Tensor, "G G G"]
    """Whether light may be absorbed in a cell; axes x, y, z."""
    radius: float

    @classmethod
    @torch.no_grad()
    def of_density(
        cls, density: Density, radius: float, device: torch.device, cells: int = CELLS, faint: float = FAINT
    ) -> "OccupancyGrid":
        """A cell is filled where the density at one of its eight corners is over `faint`.

        Nothing that is thicker than a cell's diagonal can hide.
        """
        places = torch.linspace(-radius, radius, cells + 1, device=device)
        grid = torch.stack(torch.meshgrid(places, places, places, indexing="ij"), dim=-1)
        dense = density(rearrange(grid, "x y z xyz -> (x y z) xyz")) > faint
        dense = rearrange(dense, "(x y z) -> 1 x y z", x=cells + 1, y=cells + 1).float()
        return cls(F.max_pool3d(dense, kernel_size=2, stride=1)[0] > 0, radius)

    @classmethod
    def full(cls, radius: float, device: torch.device) -> "OccupancyGrid":
        """One that rules nothing out: for a few small pictures, which cost less than a look at every cell."""
        return cls(torch.ones(1, 1, 1, dtype=torch.bool, device=device), radius)

    @cached_property
    def surroundings(self) -> "OccupancyGrid":
        """The same with the neighbours of filled cells filled."""
        grown = F.max_pool3d(self.filled[None].float(), kernel_size=3, stride=1, padding=1)
        return OccupancyGrid(grown[0] > 0, self.radius)

    def contains(self, points: Float[Tensor, "*N 3"]) -> Bool[Tensor, "*N"]:
        """Whether the cell about each point is filled; beyond the cube, whether the nearest cell is."""
        cells = len(self.filled)
        place = (points + self.radius).mul_(cells / (2 * self.radius)).clamp_(0, cells - 1).long()
        x, y, z = place.unbind(-1)
        return self.filled.flatten()[(x * cells + y) * cells + z]

    def touches(
        self,
        origins: Float[Tensor, "R 3"],
        directions: Float[Tensor, "R 3"],
        near: Float[Tensor, "R"],
        far: Float[Tensor, "R"],
    ) -> Bool[Tensor, "R"]:
        """Whether each ray may meet a filled cell between near and far, which lie in the ball of `radius`.

        It is enough to look every two cells, since filled cells lie one cell deep in their surroundings.
        """
        steps = -(-len(self.filled) // 2)
        middles = (torch.arange(steps, device=near.device) + 0.5) / steps
        along = near[:, None] + (far - near)[:, None] * middles
        points = origins[:, None] + along[..., None] * directions[:, None]
        return self.surroundings.contains(points).any(-1) & (far > near)
