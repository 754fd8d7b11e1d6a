"""Where rays meet the surface of a field, and which way it faces: for tools that build surfaces."""

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from vnp_nerf.protocol import Field
from vnp_nerf.rendering import Rendering

SOLID = 0.5
"""A ray that absorbs less light than this ends behind the object, as far as depth is concerned."""
_NORMAL_REACH = 0.03
"""Radius, model units, of the sphere on which densities are compared for a normal."""
_GOLDEN = (1 + 5**0.5) / 2
_ICOSAHEDRON = [
    tuple(corner[(axis + turn) % 3] for axis in range(3))
    for turn in range(3)
    for corner in [(0.0, u, v * _GOLDEN) for u in (-1.0, 1.0) for v in (-1.0, 1.0)]
]


def solid_depth(seen: Rendering, far: Float[Tensor, "R"], behind: Float[Tensor, "R"]) -> Float[Tensor, "R"]:
    """Distance of the surface along each ray, for tools that build surfaces.

    Where more than half of the light is absorbed: the expected distance of what is absorbed, freed of the
    share at `far` that `Rendering.depth` gives to the light that passes. Elsewhere `behind`, so that a half-
    transparent rim leaves no points in mid-air.
    """
    absorbed = (seen.depth - (1 - seen.alpha) * far) / seen.alpha.clamp_min(SOLID)
    return torch.where(seen.alpha > SOLID, absorbed, behind)


def density_normals(
    field: Field, points: Float[Tensor, "R 3"], directions: Float[Tensor, "R 3"]
) -> Float[Tensor, "R 3"]:
    """Unit vectors along which opacity falls fastest, from density queries on a small sphere.

    Differences over a finite reach, not derivatives: the features that density is made from are interpolated
    linearly, so that their derivative is constant within a cell and jumps between cells.
    """
    corners = points.new_tensor(_ICOSAHEDRON) / (1 + _GOLDEN**2) ** 0.5
    around = points[:, None] + _NORMAL_REACH * corners
    density, _ = field.density_colour(
        rearrange(around, "R K xyz -> (R K) xyz"), directions.repeat_interleave(len(corners), dim=0)
    )
    opacity = -torch.expm1(-density * _NORMAL_REACH)
    rise = torch.einsum("rk,kc->rc", rearrange(opacity, "(R K) -> R K", K=len(corners)), corners)
    return F.normalize(-rise, dim=-1)
