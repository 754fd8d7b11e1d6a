"""Volume rendering: density and colour along rays become pixels.

The quadrature of NeRF (Mildenhall et al. 2020, equation 3): interval i with density s_i and length d_i
absorbs 1 - exp(-s_i d_i) of the light that reaches it. All sums run in float32, whatever the field was
computed in.
"""

import math
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
from vnp_nerf.pixel_noise import FLOOR, noise_variances

MOST_ACROSS = 4
"""Rays a pixel along each axis, at most."""
_BACKGROUNDS = {"white": 1.0, "black": 0.0}

Background = str | Tensor


@dataclass
class Rendering:
    """What rays see of one draw; leading axes are those of the rays.

    The variances are what the draw itself leaves open, None where the model does not tell.
    """

    rgb: Float[Tensor, "*R 3"]
    """Colour over the background, 0 to 1."""
    alpha: Float[Tensor, "*R"]
    """Share of the light that the field absorbs, 0 to 1."""
    depth: Float[Tensor, "*R"]
    """Expected distance of absorption along the unit ray, in the units of the origins; the far distance where
    nothing is absorbed."""
    rgb_variance: Float[Tensor, "*R"] | None = None
    """Of the colour, mean over its channels."""
    alpha_variance: Float[Tensor, "*R"] | None = None
    """Of alpha."""
    depth_variance: Float[Tensor, "*R"] | None = None
    """Of the distance at which light is absorbed, among what is absorbed; 0 where nothing is."""

    def map(self, function: Callable[[Tensor], Tensor]) -> "Rendering":
        """The same function applied to each part."""
        return Rendering(**{name: function(part) for name, part in self._parts().items()})

    def _parts(self) -> dict[str, Tensor]:
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: part for name, part in named.items() if part is not None}

    @classmethod
    def nothing(cls, far: Float[Tensor, "*R"], background: Background, noise: bool = False) -> "Rendering":
        """What rays see that meet nothing; with `noise` they are as sure of it as a pixel can be."""
        alpha = torch.zeros_like(far)
        rgb = over(alpha.new_zeros(*alpha.shape, 3), alpha, background)
        if not noise:
            return cls(rgb, alpha, far.clone())
        return cls(rgb, alpha, far.clone(), torch.full_like(far, FLOOR**2), alpha.clone(), alpha.clone())

    def put(self, rows: Int[Tensor, "H"], seen: "Rendering") -> "Rendering":
        """The same with other values in some rows of the first axis."""
        inner = seen._parts()
        return Rendering(
            **{name: part.index_copy(0, rows, inner[name]) for name, part in self._parts().items()}
        )

    def of_pixels(self, rays: int) -> "Rendering":
        """That of pixels, from that of `rays` rays of each in turn [R * rays, ...]: the mean.

        The noise of a pixel's rays is taken for one and the same, and that of their distance counts as much
        as the light that they absorb.
        """
        if rays == 1:
            return self
        apart = self.map(lambda part: part.unflatten(0, (-1, rays)))
        mean = apart.map(lambda part: part.mean(1))
        if apart.depth_variance is not None:
            mean.depth_variance = (apart.alpha * apart.depth_variance).mean(1) / mean.alpha.clamp_min(1e-6)
        return mean

    @staticmethod
    def cat(parts: list["Rendering"]) -> "Rendering":
        """Joins renderings along the first axis."""
        each = [part._parts() for part in parts]
        return Rendering(**{name: torch.cat([part[name] for part in each]) for name in each[0]})


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
    values: Float[Tensor, "*R S C"],
    edges: Float[Tensor, "*#R S+1"],
    background: Background,
    beyond: Float[Tensor, "*R"] | None = None,
) -> Rendering:
    """Renders S intervals a ray in front of a background (see `over`).

    values: colour, and noise of colour and of opacity where there are five channels. `beyond` is the distance
    that counts for light which nothing absorbs; the last edge if None.
    """
    weights = ray_weights(density, edges)
    alpha = weights.sum(-1)
    middles = (edges[..., 1:] + edges[..., :-1]).float() / 2
    last = edges[..., -1].float() if beyond is None else beyond
    inside = (weights * middles).sum(-1)
    colour = (weights[..., None] * values[..., :3].float()).sum(-2)
    seen = Rendering(over(colour, alpha, background), alpha, inside + (1 - alpha) * last)
    if values.shape[-1] > 3:
        behind = over(torch.zeros_like(colour), torch.zeros_like(alpha), background)
        lengths = (edges[..., 1:] - edges[..., :-1]).float()
        seen.rgb_variance, seen.alpha_variance = noise_variances(
            weights, lengths, values[..., 3:].float(), colour, behind
        )
        share = alpha.clamp_min(1e-6)
        offsets = (middles - (inside / share)[..., None]).square()
        seen.depth_variance = (weights * offsets).sum(-1) / share
    return seen


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


def rays_across(field: object, camera_to_world: Float[Tensor, "3 4"], intrinsics: Float[Tensor, "4"]) -> int:
    """Rays a pixel along each axis, 1 to `MOST_ACROSS`, so that none stands for more than the field's
    `ray_width`.

    A field that learned from fine pixels is sharper than a coarse one: that shows the mean of several rays,
    and one through its middle shows jagged outlines.
    """
    width = getattr(field, "ray_width", 0.0)
    if not width:
        return 1
    pixel = float(camera_to_world[:, 3].norm() / intrinsics[:2].amin())  # at the ball's middle
    return min(max(math.ceil(pixel / width - 0.1), 1), MOST_ACROSS)


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

    That changes memory and nothing else. Pixels are means over `rays_across` x `rays_across` rays.
    """
    across = rays_across(field, camera_to_world, intrinsics)
    chunk = rays_at_once(field, camera_to_world.device, chunk)
    origins, directions = pixel_rays(camera_to_world, intrinsics, height, width, across)
    pixels = max(1, chunk // across**2)
    parts = [
        field.render(o.flatten(0, 1), d.flatten(0, 1), background=background).of_pixels(across**2)
        for o, d in zip(origins.split(pixels), directions.split(pixels), strict=True)
    ]
    return Rendering.cat(parts).map(lambda part: part.unflatten(0, (height, width)))


def pixel_rays(
    camera_to_world: Float[Tensor, "3 4"],
    intrinsics: Float[Tensor, "4"],
    height: int,
    width: int,
    across: int,
) -> tuple[Float[Tensor, "H*W A 3"], Float[Tensor, "H*W A 3"]]:
    """(origins, directions) of the A = `across` x `across` rays of each pixel, spread evenly over it."""
    origins, directions = picture_rays(camera_to_world, intrinsics * across, height * across, width * across)
    pattern = "(H a) (W b) xyz -> (H W) (a b) xyz"
    return (
        rearrange(origins, pattern, a=across, b=across),
        rearrange(directions, pattern, a=across, b=across),
    )
