"""What a model is told about a function: an irregular set of points, or a partly observed grid."""

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor

from vnp_core.errors import DataError


@dataclass(frozen=True)
class PointSet:
    """N points (x, y) of each of B functions, of which `mask` says which are present."""

    x: Float[Tensor, "B N X"]
    y: Float[Tensor, "B N Y"]
    mask: Bool[Tensor, "B N"]

    @classmethod
    def present(cls, x: Float[Tensor, "B N X"], y: Float[Tensor, "B N Y"]) -> "PointSet":
        """A set of which no point is padding."""
        return cls(x, y, torch.ones(x.shape[:2], dtype=torch.bool, device=x.device))

    def cat(self, other: "PointSet") -> "PointSet":
        """The union of both sets, function by function."""
        return PointSet(
            torch.cat([self.x, other.x], dim=1),
            torch.cat([self.y, other.y], dim=1),
            torch.cat([self.mask, other.mask], dim=1),
        )

    def cleared(self) -> "PointSet":
        """The same set with zeros in the padding, so that what stood there (NaN too) reaches nothing."""
        absent = ~self.mask[..., None]
        return PointSet(self.x.masked_fill(absent, 0.0), self.y.masked_fill(absent, 0.0), self.mask)

    def validate(self) -> None:
        """Raises `DataError`, naming the first bad row, unless shapes agree and present points are finite."""
        shapes = f"x {tuple(self.x.shape)}, y {tuple(self.y.shape)} and mask {tuple(self.mask.shape)}"
        agree = self.x.shape[:2] == self.y.shape[:2] == self.mask.shape
        if self.x.ndim != 3 or self.y.ndim != 3 or not agree:
            raise DataError(f"Points are x [B, N, X], y [B, N, Y] and mask [B, N]; given were {shapes}.")
        for name, values in (("x", self.x), ("y", self.y)):
            bad = (~values.isfinite().all(dim=-1) & self.mask).nonzero()
            if len(bad):
                task, row = (int(index) for index in bad[0])
                given = [float(value) for value in values[task, row]]
                raise DataError(f"{name} of row {row} of task {task} is {given}. Drop the row, or mask it.")


@dataclass(frozen=True)
class Grid:
    """B pictures of C channels, of which `mask` says which pixels were observed."""

    values: Float[Tensor, "B C H W"]
    mask: Bool[Tensor, "B H W"]

    def validate(self) -> None:
        """Raises `DataError`, naming the first bad pixel, unless shapes agree and all observed are finite."""
        shapes = f"values {tuple(self.values.shape)} and mask {tuple(self.mask.shape)}"
        if self.values.ndim != 4 or self.mask.shape != self.values[:, 0].shape:
            raise DataError(f"A grid is values [B, C, H, W] and mask [B, H, W]; given were {shapes}.")
        bad = (~self.values.isfinite().all(dim=1) & self.mask).nonzero()
        if len(bad):
            task, row, column = (int(index) for index in bad[0])
            raise DataError(f"Pixel ({row}, {column}) of picture {task} is NaN or infinite. Mask it.")

    def points(self) -> PointSet:
        """The same observations as a set of points, for models that read no grids."""
        batch, _, height, width = self.values.shape
        x = grid_coordinates(height, width, self.values.device)
        return PointSet(
            rearrange(x, "h w two -> 1 (h w) two").expand(batch, -1, -1),
            rearrange(self.values, "b c h w -> b (h w) c"),
            rearrange(self.mask, "b h w -> b (h w)"),
        )


Observations = PointSet | Grid


def grid_coordinates(
    height: int, width: int, device: torch.device | str | None = None
) -> Float[Tensor, "H W 2"]:
    """(row, column) of every pixel's centre on [-1, 1]^2: the same square at any resolution."""
    rows = (2 * torch.arange(height, device=device) + 1) / height - 1
    columns = (2 * torch.arange(width, device=device) + 1) / width - 1
    return torch.stack(torch.meshgrid(rows, columns, indexing="ij"), dim=-1)
