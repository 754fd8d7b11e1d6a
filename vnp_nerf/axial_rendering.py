"""The released 3D model's own volume rendering, along rays that are measured on the optical axis.

Its conventions differ from the rest of the package: directions have length 1 along the optical axis, so that
`depth` is measured along that axis; a step's length is a difference of such depths; samples are points, not
intervals, and the last one counts 0.001.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor

from vnp_nerf.rendering import Background, Rendering, over

LAST_STEP = 0.001
"""Length of the last sample's interval."""


def axial_directions(
    origins: Float[Tensor, "*R 3"], directions: Float[Tensor, "*R 3"]
) -> Float[Tensor, "*R 3"]:
    """Unit directions rescaled to length 1 along the optical axis, taken to point at the frame's centre.

    Exact for cameras that look at the object, as the paper's do; for others samples sit a bit nearer.
    """
    axis = -F.normalize(origins, dim=-1)
    return directions / (directions * axis).sum(-1, keepdim=True).clamp(min=0.25)


def ray_depths(
    near: float, far: float, samples: int, generator: Generator | None, origins: Float[Tensor, "*R 3"]
) -> Float[Tensor, "*R S"]:
    """Evenly spaced depths, near and far included; under a generator each moves on by up to a spacing."""
    depths = torch.linspace(near, far, samples, device=origins.device, dtype=origins.dtype)
    depths = depths.expand(*origins.shape[:-1], samples)
    if generator is None:
        return depths
    spacing = (far - near) / (samples - 1)
    jitter = torch.rand(depths.shape, generator=generator, device=generator.device)
    return depths + spacing * jitter.to(depths)


def activated(raw: Float[Tensor, "*N 4"]) -> tuple[Float[Tensor, "*N"], Float[Tensor, "*N 3"]]:
    """Raw outputs to density (ReLU) and colour (sigmoid), in float32 or better."""
    raw = raw.to(torch.promote_types(raw.dtype, torch.float32))
    return raw[..., 3].relu(), raw[..., :3].sigmoid()


def axial_weights(density: Float[Tensor, "*R S"], depths: Float[Tensor, "*R S"]) -> Float[Tensor, "*R S"]:
    """Share of a ray's light that each sample absorbs, as released.

    alpha = 1 - exp(-density * step), steps being differences of depth and the last 0.001; transmittance the
    running product of min(1 - alpha + 1e-10, 1) over the samples before.
    """
    steps = torch.cat(
        [depths[..., 1:] - depths[..., :-1], torch.full_like(depths[..., :1], LAST_STEP)], dim=-1
    )
    alpha = 1 - torch.exp(-density * steps)
    passing = torch.cumprod((1 - alpha + 1e-10).clamp(max=1), dim=-1)
    return alpha * torch.cat([torch.ones_like(passing[..., :1]), passing[..., :-1]], dim=-1)


def render_axial(
    raw: Float[Tensor, "RS 4"],
    depths: Float[Tensor, "*R S"],
    lengths: Float[Tensor, "*R"],
    background: Background,
) -> Rendering:
    """Raw outputs along rays, one row a sample, to what is seen. `lengths`: of the axial directions."""
    density, rgb = activated(raw.unflatten(-2, depths.shape[-2:]))
    weights = axial_weights(density, depths)
    alpha = weights.sum(-1)
    absorbed = (weights * depths).sum(-1) + (1 - alpha) * depths[..., -1]
    colour = over((weights[..., None] * rgb).sum(-2), alpha, background)
    return Rendering(colour, alpha, absorbed * lengths)


def white_colours(raw: Float[Tensor, "B RS 4"], depths: Float[Tensor, "B R S"]) -> Float[Tensor, "B R 3"]:
    """What rays see in front of white, from raw outputs."""
    return render_axial(raw, depths, torch.ones_like(depths[..., 0]), "white").rgb


def over_white(rgba: Float[Tensor, "*N 4"]) -> Float[Tensor, "*N 3"]:
    """Straight-alpha colour in front of white."""
    return over(rgba[..., :3] * rgba[..., 3:], rgba[..., 3], "white")
