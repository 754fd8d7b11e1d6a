"""Pictures of any size on square canvases of one size, so that every patch means the same to the encoder.

A picture is resampled until its longer side fills the canvas; the rest of the canvas is empty and masked.
Each view is treated by its own size alone, which keeps padding invisible: a batch of mixed sizes gives what
each view gives alone.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor

from vnp_nerf.cameras import pixel_rays
from vnp_nerf.views import Views, premultiply


@dataclass
class Canvases:
    """V views a scene on canvases of P x P pixels."""

    rgba: Float[Tensor, "B V 4 P P"]
    """Premultiplied colour and alpha, 0 to 1; 0 where empty."""
    origins: Float[Tensor, "B V 3 P P"]
    directions: Float[Tensor, "B V 3 P P"]
    """Unit rays through the canvas' pixel centres, in the model frame; 0 where empty."""
    scale: Float[Tensor, "B V"]
    """Canvas pixels a picture pixel."""
    filled: Bool[Tensor, "B V P P"]
    """Pixels that a picture covers, at least by half."""


def make_canvases(views: Views, resolution: int) -> Canvases:
    """Draws each view on a canvas of `resolution` x `resolution` pixels."""
    batch, count = views.mask.shape
    pictures = rearrange(premultiply(views.rgba), "B V C H W -> (B V) C H W")
    sizes = rearrange(views.sizes, "B V two -> (B V) two")
    canvas = pictures.new_zeros(batch * count, 4, resolution, resolution)
    for height, width in torch.unique(sizes, dim=0).tolist():
        if height == 0 or width == 0:
            continue
        same = (sizes == sizes.new_tensor([height, width])).all(-1)
        ratio = resolution / max(height, width)
        shape = (max(1, round(height * ratio)), max(1, round(width * ratio)))
        whole = pictures[same, :, :height, :width]
        if shape != (height, width):
            whole = F.interpolate(whole, size=shape, mode="bilinear", antialias=True, align_corners=False)
        canvas[same, :, : shape[0], : shape[1]] = whole
    scale = resolution / views.sizes.amax(-1).clamp_min(1).to(pictures.dtype)  # [B, V]
    filled_size = views.sizes * scale[..., None]  # [B, V, 2] canvas pixels
    ticks = torch.arange(resolution, device=canvas.device, dtype=canvas.dtype) + 0.5
    rows = ticks[None, None] < filled_size[..., 0, None]  # [B, V, P]
    columns = ticks[None, None] < filled_size[..., 1, None]
    filled = rows[..., :, None] & columns[..., None, :] & views.mask[..., None, None]
    grid = torch.stack(torch.meshgrid(ticks, ticks, indexing="xy"), dim=-1)  # [P, P, (x, y)]
    origins, directions = pixel_rays(
        views.camera_to_world[:, :, None, None],
        (views.intrinsics * scale[..., None])[:, :, None, None],
        grid.expand(batch, count, resolution, resolution, 2),
    )
    # A padded view's camera is all zeros, and its rays are NaN: they must not reach a sum.
    empty = ~filled[:, :, None]
    origins = rearrange(origins.expand_as(directions), "B V H W xyz -> B V xyz H W").masked_fill(empty, 0)
    directions = rearrange(directions, "B V H W xyz -> B V xyz H W").masked_fill(empty, 0)
    return Canvases(
        rgba=rearrange(canvas, "(B V) C H W -> B V C H W", B=batch) * filled[:, :, None],
        origins=origins,
        directions=directions,
        scale=scale,
        filled=filled,
    )
