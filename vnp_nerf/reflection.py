"""The mirror image of a scene in an upright plane of the model frame: the one that parts left from right."""

from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from vnp_nerf.views import Views

Axis = Literal["x", "y"]
"""Which axis of the model frame a reflection turns round."""


def reflected(vectors: Float[Tensor, "*N 3"], axis: Axis) -> Float[Tensor, "*N 3"]:
    """Points or directions on the other side of the plane where this axis is 0."""
    return vectors * vectors.new_tensor([-1.0, 1.0, 1.0] if axis == "x" else [1.0, -1.0, 1.0])


def reflected_views(views: Views, axis: Axis) -> Views:
    """The pictures that the mirrored cameras take of the mirrored objects; padding stays what it is.

    Such pictures run from right to left, and so does the camera's own x axis, which makes it right-handed
    again.
    """
    poses = rearrange(views.camera_to_world, "B V xyz column -> B V column xyz")
    poses = rearrange(reflected(poses, axis), "B V column xyz -> B V xyz column")
    poses = torch.cat([-poses[..., :1], poses[..., 1:]], dim=-1)
    width = views.sizes[..., 1]
    focal_x, focal_y, centre_x, centre_y = views.intrinsics.unbind(-1)
    intrinsics = torch.stack([focal_x, focal_y, width - centre_x, centre_y], dim=-1)
    rgba = rearrange(
        turned_pictures(rearrange(views.rgba, "B V C H W -> B V (C H) W"), width),
        "B V (C H) W -> B V C H W",
        C=4,
    )
    there = views.mask[..., None]
    return Views(
        rgba,
        torch.where(there[..., None], poses, views.camera_to_world),
        torch.where(there, intrinsics, views.intrinsics),
        views.sizes,
        views.mask,
    )


def turned_pictures(values: Float[Tensor, "B V H W"], widths: Int[Tensor, "B V"]) -> Float[Tensor, "B V H W"]:
    """Pictures from right to left, each within its own width: what pads it stays at the right."""
    column = torch.arange(values.shape[-1], device=widths.device)
    source = torch.where(column < widths[..., None], widths[..., None] - 1 - column, column)  # [B, V, W]
    return values.gather(-1, rearrange(source, "B V W -> B V 1 W").expand_as(values))
