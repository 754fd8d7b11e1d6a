"""Volume rendering: density and colour along rays become pixels.

The quadrature of NeRF (Mildenhall et al. 2020, equation 3): interval i with density s_i and length d_i
absorbs 1 - exp(-s_i d_i) of the light that reaches it. All sums run in float32, whatever the field was
computed in.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Protocol

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from vnp_core.errors import ConfigError
from vnp_nerf.cameras import picture_rays
from vnp_nerf.memory_budget import rays_at_once

_BACKGROUNDS = {"white": 1.0, "black": 0.0}

Background = str | Tensor


@dataclass
class Rendering:
    """What rays see; leading axes are those of the rays."""

    rgb: Float[Tensor, "*R 3"]
    """Colour over the background, 0 to 1."""
    alpha: Float[Tensor, "*R"]
    """Share of the light that the field absorbs, 0 to 1."""
    depth: Float[Tensor, "*R"]
    """Expected distance of absorption along the unit ray, in the units of the origins; the far distance where
    nothing is absorbed."""

    def map(self, function: Callable[[Tensor], Tensor]) -> "Rendering":
        """The same function applied to each part."""
        return Rendering(*(function(getattr(self, field.name)) for field in fields(self)))

    @classmethod
    def nothing(cls, far: Float[Tensor, "*R"], background: Background) -> "Rendering":
        """What rays see that meet nothing."""
        alpha = torch.zeros_like(far)
        return cls(over(alpha.new_zeros(*alpha.shape, 3), alpha, background), alpha, far.clone())

    def put(self, rows: Int[Tensor, "H"], seen: "Rendering") -> "Rendering":
        """The same with other values in some rows of the first axis."""
        parts = [(getattr(self, field.name), getattr(seen, field.name)) for field in fields(self)]
        return Rendering(*(whole.index_copy(0, rows, part) for whole, part in parts))

    @staticmethod
    def cat(parts: list["Rendering"]) -> "Rendering":
        """Joins renderings along the first axis."""
        return Rendering(
            *(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(Rendering))
        )


class RayRenderer(Protocol):
    """Anything that can be looked at from outside: see `vnp_nerf.protocol.Field`."""

    def render(
        self,
        origins: Float[Tensor, "R 3"],
        directions: Float[Tensor, "R 3"],
        *,
        background: Background = "white",
    ) -> Rendering:
        """What the rays see."""
        ...


def ray_weights(density: Float[Tensor, "*R S"], edges: Float[Tensor, "*R S+1"]) -> Float[Tensor, "*R S"]:
    """The share of a ray's light that each interval absorbs; their sum is the ray's alpha.

    Transmittance is the exponential of a shifted cumulative sum, never a quotient or a difference, so that
    it stays finite for any density, infinite ones included.
    """
    return absorbed(density.float() * (edges[..., 1:] - edges[..., :-1]).float())


def absorbed(thickness: Float[Tensor, "*R S"]) -> Float[Tensor, "*R S"]:
    """`ray_weights` of intervals whose density times length is known, float32."""
    before = torch.cat([torch.zeros_like(thickness[..., :1]), thickness[..., :-1]], dim=-1)
    return -torch.expm1(-thickness) * torch.exp(-torch.cumsum(before, dim=-1))


def composite(
    density: Float[Tensor, "*R S"],
    rgb: Float[Tensor, "*R S 3"],
    edges: Float[Tensor, "*R S+1"],
    background: Background,
    beyond: Float[Tensor, "*R"] | None = None,
) -> Rendering:
    """Renders S intervals a ray in front of a background (see `over`).

    `beyond` is the distance that counts for light which nothing absorbs; the last edge if None.
    """
    weights = ray_weights(density, edges)
    alpha = weights.sum(-1)
    middles = (edges[..., 1:] + edges[..., :-1]).float() / 2
    last = edges[..., -1].float() if beyond is None else beyond
    depth = (weights * middles).sum(-1) + (1 - alpha) * last
    colour = (weights[..., None] * rgb.float()).sum(-2)
    return Rendering(over(colour, alpha, background), alpha, depth)


def over(
    premultiplied: Float[Tensor, "*R 3"], alpha: Float[Tensor, "*R"], background: Background
) -> Float[Tensor, "*R 3"]:
    """Premultiplied colour in front of 'white', 'black', or a given colour [3] or picture [*R, 3]."""
    if isinstance(background, str):
        if background not in _BACKGROUNDS:
            raise ConfigError(
                f"unknown background {background!r}: use one of {sorted(_BACKGROUNDS)} or a tensor of colours"
            )
        return premultiplied + (1 - alpha[..., None]) * _BACKGROUNDS[background]
    return premultiplied + (1 - alpha[..., None]) * background


def background_of(background: Background, rows: Int[Tensor, "H"]) -> Background:
    """The background of some rays."""
    return background if isinstance(background, str) or background.ndim == 1 else background[rows]


def render_picture(
    field: RayRenderer,
    camera_to_world: Float[Tensor, "3 4"],
    intrinsics: Float[Tensor, "4"],
    height: int,
    width: int,
    *,
    chunk: int = 4096,
    background: Background = "white",
) -> Rendering:
    """A whole picture [H, W, ...], at most `chunk` rays at a time, fewer where memory is short.

    That changes memory and nothing else.
    """
    chunk = rays_at_once(field, camera_to_world.device, chunk)
    origins, directions = picture_rays(camera_to_world, intrinsics, height, width)
    origins = rearrange(origins, "H W xyz -> (H W) xyz")
    directions = rearrange(directions, "H W xyz -> (H W) xyz")
    parts = [
        field.render(o, d, background=background)
        for o, d in zip(origins.split(chunk), directions.split(chunk), strict=True)
    ]
    return Rendering.cat(parts).map(lambda part: part.unflatten(0, (height, width)))
