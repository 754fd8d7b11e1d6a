"""A field on a lattice of cubic cells: what every export is made from.

    grid = field_to_grid(field, draws=others)
    mesh = grid_to_mesh(grid).moved(scene.frame.inverse())     # model frame -> the user's world
    write_mesh(path, mesh)

A grid is in the model frame; what is made of it can be moved to any other.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float32, Int
from torch import Tensor

from vnp_core.errors import ConfigError, DataError
from vnp_nerf.exporting.point_sets import PointSet
from vnp_nerf.protocol import Field
from vnp_nerf.radiance_config import RadianceConfig

_SOLID = 0.5
"""A ray that loses more of its light than this meets the object."""
_FAINT = 1 / 255
"""A cell that absorbs less of the light than this shows in no 8-bit picture."""
_CHUNK = 32_768
"""Points that a field is asked about at a time."""

OnPoints = Callable[[int, int], None]
"""Told how many points are done, and of how many."""


@dataclass(frozen=True, eq=False)
class FieldGrid:
    """A field at the centres of N x N x N cubic cells, which fill the cube about its ball; model frame.

    density: 1 / model unit; 0 outside of the ball. rgb: 0 to 1. colour_sigma, density_sigma: see `PointSet`;
    known where `visible`, 0 elsewhere. radius: of the ball, model units. threshold: the density from which a
    cell is `occupied`.
    """

    density: Float32[np.ndarray, "N N N"]
    rgb: Float32[np.ndarray, "N N N 3"]
    colour_sigma: Float32[np.ndarray, "N N N"]
    density_sigma: Float32[np.ndarray, "N N N"]
    radius: float
    threshold: float
    draws: int

    @property
    def edge(self) -> float:
        """Length of a cell's edge, model units."""
        return 2 * self.radius / len(self.density)

    @property
    def occupied(self) -> Bool[np.ndarray, "N N N"]:
        """The cells that belong to the object."""
        return self.density >= self.threshold

    @property
    def visible(self) -> Bool[np.ndarray, "N N N"]:
        """The cells that could change an 8-bit picture."""
        return _visible(self.density, self.edge)

    def positions(
        self, indices: Float[np.ndarray, "M 3"] | Int[np.ndarray, "M 3"]
    ) -> Float[np.ndarray, "M 3"]:
        """Points of the model frame at (fractional) cell numbers; a whole number is a cell's centre."""
        return (indices + 0.5) * self.edge - self.radius

    def cells(self, indices: Int[np.ndarray, "M 3"]) -> PointSet:
        """The centres of these cells, with what the field holds there."""
        place = tuple(indices.T)
        return PointSet(
            points=self.positions(indices),
            rgb=self.rgb[place],
            colour_sigma=self.colour_sigma[place],
            density_sigma=self.density_sigma[place],
            draws=self.draws,
        )


def field_to_grid(
    field: Field,
    resolution: int = 128,
    *,
    radius: float = RadianceConfig.radius,
    threshold: float | None = None,
    draws: Sequence[Field] = (),
    device: torch.device | str = "cpu",
    on_points: OnPoints = lambda done, total: None,
) -> FieldGrid:
    """Asks a field for density and colour at `resolution` cells a side, and `draws` for its uncertainty.

    Colours are those seen from outside, along rays to the ball's centre, where they depend on a direction.
    threshold: density, 1 / model unit, from which a cell counts as the object; chosen by `surface_density`
    if None. draws: none, or two or more other draws of the same scene; their spread is sigma. on_points: told
    how many answers there are, and of how many as far as one knows.

    Raises `ConfigError` for a resolution below 2, a threshold that is not positive or a single draw, and
    `DataError` where the field is not finite or empty.
    """
    positive = threshold is None or 0 < threshold < float("inf")
    if resolution < 2 or not positive or len(draws) == 1:
        raise ConfigError(
            f"a grid of {resolution} cells a side, threshold {threshold} and {len(draws)} draw(s) cannot be "
            f"exported: give 2 or more cells, a positive density, and no draws or at least 2"
        )
    shape, edge = (resolution,) * 3, 2 * radius / resolution
    ticks = (np.arange(resolution) + 0.5) * edge - radius
    x, y, z = np.meshgrid(ticks, ticks, ticks, indexing="ij", sparse=True)
    asked = x**2 + y**2 + z**2 <= radius**2
    density, rgb = np.zeros(shape, np.float32), np.zeros((*shape, 3), np.float32)
    first = _centres(asked, ticks)
    density[asked], rgb[asked] = _ask(field, first, device, on_points)
    highest = float(density.max())
    if threshold is None:
        threshold = surface_density(density, edge)
    elif highest < threshold:
        raise DataError(
            f"the field is empty: its density reaches {highest:.4g} per model unit, and nothing is above the "
            f"threshold of {threshold:.4g}. Give a lower threshold, or views that show the object"
        )
    colour_sigma, density_sigma = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    if draws:
        seen = _visible(density, edge) | (density >= threshold)
        points = _centres(seen, ticks)
        total = len(first) + len(points) * len(draws)

        def told(number: int) -> OnPoints:
            before = len(first) + len(points) * number
            return lambda done, _: on_points(before + done, total)

        asks = (_ask(draw, points, device, told(number)) for number, draw in enumerate(draws))
        colour_sigma[seen], density_sigma[seen] = _spread(asks)
    return FieldGrid(density, rgb, colour_sigma, density_sigma, radius, threshold, len(draws))


def surface_density(density: Float32[np.ndarray, "N N N"], edge: float) -> float:
    """The density, 1 / length unit of `edge`, whose level set looks most like the field itself.

    No one density is every field's surface: a thick object may be opaque at a tenth of a thin one's. So along
    each axis the rays that lose half of their light make one outline, the cells above a candidate another,
    and the candidate (of 64, the middle one of several equals) of the largest intersection over union wins.
    Raises `DataError` where no ray loses that much.
    """
    seen = np.stack([-np.expm1(-density.sum(axis) * edge) > _SOLID for axis in range(3)])
    highest = np.stack([density.max(axis) for axis in range(3)])
    if not seen.any():
        raise DataError(
            f"the field is empty: no ray along an axis of its frame loses half of its light, and its density "
            f"reaches {highest.max():.4g} per model unit. Give views that show the object, or a threshold"
        )
    candidates = np.geomspace(0.1, highest.max(), 64)
    overlaps = [((highest >= c) & seen).sum() / ((highest >= c) | seen).sum() for c in candidates]
    best = np.flatnonzero(np.isclose(overlaps, max(overlaps), rtol=1e-9))
    return float(candidates[best[len(best) // 2]])


def _visible(density: Float32[np.ndarray, "N N N"], edge: float) -> Bool[np.ndarray, "N N N"]:
    return -np.expm1(-density * edge) >= _FAINT


def _centres(chosen: Bool[np.ndarray, "N N N"], ticks: Float[np.ndarray, "N"]) -> Float32[Tensor, "M 3"]:
    return torch.from_numpy(ticks[np.argwhere(chosen)].astype(np.float32))


@torch.no_grad()
def _ask(
    field: Field, points: Float32[Tensor, "M 3"], device: torch.device | str, on_points: OnPoints
) -> tuple[Float32[np.ndarray, "M"], Float32[np.ndarray, "M 3"]]:
    """Density and colour at points, a chunk at a time. Raises `DataError` where one is not finite."""
    parts: list[tuple[Tensor, Tensor]] = []
    for chunk in points.to(device).split(_CHUNK):
        density, rgb = field.density_colour(chunk, -F.normalize(chunk, dim=-1))
        parts.append((density.float().cpu(), rgb.float().cpu()))
        on_points(min(len(parts) * _CHUNK, len(points)), len(points))
    density, rgb = (torch.cat(part) for part in zip(*parts, strict=True))
    if not (density.isfinite().all() and rgb.isfinite().all()):
        raise DataError("the field holds NaN or infinity, and cannot be exported: its weights have diverged")
    return density.numpy(), rgb.numpy()


def _spread(
    asked: Iterator[tuple[Float32[np.ndarray, "M"], Float32[np.ndarray, "M 3"]]],
) -> tuple[Float[np.ndarray, "M"], Float[np.ndarray, "M"]]:
    """Standard deviations of colour and density over draws, K - 1 degrees of freedom, by Welford's sums."""
    mean, squares, count = np.zeros(()), np.zeros(()), 0
    for density, rgb in asked:
        values = np.concatenate([rgb, density[:, None]], axis=1).astype(np.float64)  # [M, 4]
        count += 1
        off = values - mean
        mean = mean + off / count
        squares = squares + off * (values - mean)
    variance = squares / (count - 1)
    return np.sqrt(variance[:, :3].mean(axis=1)), np.sqrt(variance[:, 3])
