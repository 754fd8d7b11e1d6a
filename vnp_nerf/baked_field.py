"""A field written down on a grid, and looked at by trilinear interpolation: no network, no tokens.

Density and colour are kept at the vertices of a lattice, where anything is. Between them it is opacity that
is interpolated, not density: a solid's surface then stays near the middle of the cell that it passes through,
instead of wherever a trace of its high density suffices. Colours are weighed by opacity, so that empty
vertices have none to bleed. Rays step through the lattice a cell's width at a time, pass over empty space in
leaps, and stop where hardly any light is left.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from vnp_core.errors import ConfigError
from vnp_nerf.protocol import Field
from vnp_nerf.ray_sampling import ball_span
from vnp_nerf.rendering import Background, Rendering, absorbed, over

RESOLUTIONS = (2, 256)
"""Fewest and most vertices a side."""
_FAINT = 1e-3
"""Density, 1 / model unit, that is not worth a vertex."""
_REACH = 0.05
"""Length, model units, of which opacities are taken."""
_MOST = 1 - 1e-6
"""Opacity that stands for any higher one: its density absorbs all light within a few cells."""
_POINTS = 2**18
"""Vertices that a field is asked about at a time."""
_BLOCK = 16
"""Samples a ray between two looks at how much light is left."""
_OPAQUE = 1e-4
"""Less light than this is none."""
_COARSE = 4
"""Cells a side of the blocks by which empty space is measured."""
_FARTHEST = 16
"""Blocks beyond which nobody looks for the nearest that is filled."""
_LEAPS = 4
"""Leaps between two blocks of samples."""


@dataclass(frozen=True, eq=False)
class BakedGrid:
    """N vertices a side over the cube [-radius, radius]^3 of the model frame, of which M hold something."""

    radius: float
    filled: Bool[Tensor, "N N N"]
    """Axes x, y, z."""
    density: Float[Tensor, "M"]
    """float16, 1 / model unit; vertices in the order of `filled.nonzero()`."""
    rgb: UInt8[Tensor, "M 3"]

    @property
    def resolution(self) -> int:
        """N."""
        return len(self.filled)

    def to(self, device: torch.device | str) -> "BakedGrid":
        """The same grid on another device."""
        parts = (self.filled.to(device), self.density.to(device), self.rgb.to(device))
        return BakedGrid(self.radius, *parts)


@torch.no_grad()
def bake(
    field: Field,
    radius: float,
    resolution: int,
    device: torch.device | str = "cpu",
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> BakedGrid:
    """Asks a field that is empty outside of the ball of `radius` once at every vertex.

    on_progress: told how many vertices are done, and of how many.

    Raises `ConfigError` for a resolution out of `RESOLUTIONS`, and what the field raises where its colour
    depends on the viewing direction.
    """
    if not RESOLUTIONS[0] <= resolution <= RESOLUTIONS[1]:
        raise ConfigError(f"a grid of {resolution} a side: it can have {RESOLUTIONS[0]} to {RESOLUTIONS[1]}")
    places = torch.linspace(-radius, radius, resolution, device=device)
    filled = torch.zeros(resolution, resolution, resolution, dtype=torch.bool, device=device)
    densities: list[Tensor] = []
    colours: list[Tensor] = []
    planes = max(1, _POINTS // resolution**2)
    done = 0
    for slab, x in zip(filled.split(planes), places.split(planes), strict=True):
        points = torch.stack(torch.meshgrid(x, places, places, indexing="ij"), dim=-1)
        density, rgb = field.density_colour(rearrange(points, "x y z xyz -> (x y z) xyz"))
        dense = density > _FAINT
        slab.copy_(dense.reshape(slab.shape))
        densities.append(density[dense].clamp_max(torch.finfo(torch.float16).max).half())
        colours.append((rgb[dense].clamp(0, 1) * 255).round().byte())
        done += slab.numel()
        on_progress(done, filled.numel())
    return BakedGrid(radius, filled, torch.cat(densities), torch.cat(colours))


class BakedField:
    """What a grid says between its vertices (see `vnp_nerf.protocol.Field`).

    ray_width: that of the field it was baked from (see `vnp_nerf.rendering.rays_across`).
    """

    def __init__(self, grid: BakedGrid, ray_width: float = 0.0) -> None:
        self.radius, self.ray_width = grid.radius, ray_width
        self.cells = grid.resolution - 1
        """Cells a side."""
        self.step = 2 * grid.radius / self.cells
        """Width of a cell, and distance between a ray's samples, model units."""
        filled = F.max_pool3d(grid.filled[None].float(), kernel_size=2, stride=1)[0] > 0
        cells = filled.flatten().nonzero()[:, 0]
        # Where a cell holds something, the row of its corners; else minus the steps that lead on from it.
        self.lookup = -free_steps(filled).flatten()
        self.lookup[cells] = torch.arange(len(cells), device=cells.device, dtype=torch.int32)
        self.corners = _corners(grid, cells)
        self.low, self.high = _bounds(filled, self.step, self.radius)

    @property
    def ray_bytes(self) -> int:
        """About how much memory one ray takes while it is rendered."""
        return _BLOCK * 640

    def density_colour(
        self, points: Float[Tensor, "N 3"], directions: Float[Tensor, "N 3"] | None = None
    ) -> tuple[Float[Tensor, "N"], Float[Tensor, "N 3"]]:
        """Density (1 / model unit) and colour (0 to 1) at points of the model frame; 0 in empty space."""
        inside = (points.abs() <= self.radius).all(-1)
        kept, held, colours = self._values((points.T + self.radius) / self.step, inside)
        density = points.new_zeros(len(points)).index_copy_(0, kept, held)
        return density, torch.zeros_like(points).index_copy_(0, kept, colours)

    def render(
        self,
        origins: Float[Tensor, "R 3"],
        directions: Float[Tensor, "R 3"],
        *,
        background: Background = "white",
    ) -> Rendering:
        """What the rays see. Samples lie at every (n + 1/2) steps from where a ray enters the ball."""
        near, far = ball_span(origins, directions, self.radius)
        first, last = self._steps(origins, directions, near, far)
        light = torch.ones_like(near)
        colour, depth = torch.zeros_like(origins), torch.zeros_like(near)
        # In cells from here on: a step along a ray has length 1. Coordinates come first, since operations on
        # long rows are several times faster than those on triples.
        begins, towards = ((origins + near[:, None] * directions + self.radius) / self.step).T, directions.T
        rays = (last > first).nonzero()[:, 0]
        at = first[rays]
        block = torch.arange(_BLOCK, device=near.device)
        while len(rays):
            begin, direction = begins[:, rays], towards[:, rays]
            at = self._leap(begin, direction, at)
            steps = at[:, None] + block
            along = steps + 0.5
            place = begin[..., None] + along * direction[..., None]
            kept, density, colours = self._values(place.flatten(1), (steps < last[rays, None]).flatten())
            thickness = torch.zeros_like(along).flatten().index_copy_(0, kept, density * self.step)
            thickness = thickness.unflatten(0, along.shape)
            weights = absorbed(thickness) * light[rays, None]
            colour.index_add_(0, rays[kept // _BLOCK], colours * weights.flatten()[kept, None])
            depth[rays] += (weights * (near[rays, None] + along * self.step)).sum(1)
            light[rays] *= torch.exp(-thickness.sum(1))
            at = at + _BLOCK
            going = (light[rays] > _OPAQUE) & (at < last[rays])
            rays, at = rays[going], at[going]
        alpha = 1 - light
        return Rendering(over(colour, alpha, background), alpha, depth + light * far)

    def _steps(
        self,
        origins: Float[Tensor, "R 3"],
        directions: Float[Tensor, "R 3"],
        near: Float[Tensor, "R"],
        far: Float[Tensor, "R"],
    ) -> tuple[Int[Tensor, "R"], Int[Tensor, "R"]]:
        """The first step from near that may meet the box about all filled cells; the one after the last."""
        safe = torch.where(directions.abs() < 1e-9, 1e-9, directions).T
        one, other = (self.low[:, None] - origins.T) / safe, (self.high[:, None] - origins.T) / safe
        enter = torch.minimum(one, other).amax(0).maximum(near)
        leave = torch.maximum(one, other).amin(0).minimum(far)
        first = ((enter - near) / self.step).floor().long()
        return first, torch.where(leave > enter, ((leave - near) / self.step).ceil().long(), first)

    def _leap(
        self, begins: Float[Tensor, "3 R"], directions: Float[Tensor, "3 R"], at: Int[Tensor, "R"]
    ) -> Int[Tensor, "R"]:
        """Moves each ray's step on over empty space."""
        for _ in range(_LEAPS):
            _, row = self._find(begins + (at + 0.5) * directions)
            at = at - row.clamp_max(0)
        return at

    def _find(self, place: Float[Tensor, "3 N"]) -> tuple[Float[Tensor, "3 N"], Int[Tensor, "N"]]:
        """The cell of each place, and what `lookup` says of it; outside of the cube, of the nearest cell.

        Cells are numbered in float32, which holds all whole numbers up to 2^24: more than there are cells.
        """
        cell = place.clamp(0, self.cells - 1).floor_()
        x, y, z = cell
        return cell, self.lookup.index_select(0, ((x * self.cells + y) * self.cells + z).int())

    def _values(
        self, place: Float[Tensor, "3 N"], wanted: Bool[Tensor, "N"]
    ) -> tuple[Int[Tensor, "M"], Float[Tensor, "M"], Float[Tensor, "M 3"]]:
        """The wanted places in cells that hold something: their numbers, density and colour."""
        cell, row = self._find(place)
        kept = ((row >= 0) & wanted).nonzero()[:, 0]
        x, y, z = (place.index_select(1, kept) - cell.index_select(1, kept)).clamp_(0, 1)[..., None]
        values = self.corners.index_select(0, row.index_select(0, kept))
        for share in (x, y, z):  # the eight corners become four, two, one
            half = values.shape[1] // 2
            values = torch.lerp(values[:, :half], values[:, half:], share[..., None])
        opacity, colour = values[:, 0].split([1, 3], dim=1)
        density = torch.log1p(-opacity[:, 0].clamp_max(_MOST)) / -_REACH
        return kept, density, colour / opacity.clamp_min(1e-12)


def free_steps(filled: Bool[Tensor, "C C C"]) -> Int[Tensor, "C C C"]:
    """How many steps of a cell's width a ray may take from anywhere in a cell, if that is empty, without
    passing over a sample in a filled one; int32, at least 1.

    Measured in blocks of cells: within D - 1 blocks of a block whose nearest filled one is D blocks away, by
    the largest coordinate, everything is empty.
    """
    cells = len(filled)
    pad = -cells % _COARSE
    reached = F.pad(filled.float()[None], (0, pad) * 3)
    reached = F.max_pool3d(reached, kernel_size=_COARSE)
    blocks = torch.zeros_like(reached)
    for _ in range(_FARTHEST):
        blocks += 1 - reached
        reached = F.max_pool3d(reached, kernel_size=3, stride=1, padding=1)
    steps = ((blocks[0] - 1).clamp_min(0) * _COARSE + 1).int()
    for axis in range(3):
        steps = steps.repeat_interleave(_COARSE, dim=axis)
    return steps[:cells, :cells, :cells]


def _corners(grid: BakedGrid, cells: Int[Tensor, "C"]) -> Float[Tensor, "C 8 4"]:
    """Opacity, and colour times opacity, at the corners of some cells, given by their flat numbers."""
    side = grid.resolution
    opacity = -torch.expm1(-_REACH * grid.density.float())[:, None]
    values = F.pad(torch.cat([opacity, opacity * grid.rgb.float() / 255], dim=1), (0, 0, 0, 1))
    # An empty vertex reads the row of zeros at the end.
    rows = torch.cumsum(grid.filled.flatten(), 0, dtype=torch.int32) - 1
    rows = torch.where(grid.filled.flatten(), rows, len(opacity))
    x, y, z = cells // (side - 1) ** 2, cells // (side - 1) % (side - 1), cells % (side - 1)
    steps = torch.arange(2, device=cells.device)
    offsets = rearrange(steps * side**2, "x -> x 1 1") + rearrange(steps * side, "y -> y 1") + steps
    vertices = ((x * side + y) * side + z)[:, None] + offsets.flatten()
    return values[rows[vertices]]


def _bounds(
    filled: Bool[Tensor, "C C C"], step: float, radius: float
) -> tuple[Float[Tensor, "3"], Float[Tensor, "3"]]:
    """The lowest and the highest corner of the box about all filled cells; twice the origin without any."""
    cells = filled.nonzero().float()
    if len(cells) == 0:
        return cells.new_zeros(3), cells.new_zeros(3)
    return cells.amin(0) * step - radius, (cells.amax(0) + 1) * step - radius
