"""The mirror image of a scene in the plane y = 0 of the model frame, which parts left from right."""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from vnp_nerf.views import Views


def reflected(vectors: Float[Tensor, "*N 3"]) -> Float[Tensor, "*N 3"]:
    """Points or directions on the other side of the plane."""
    return vectors * vectors.new_tensor([1.0, -1.0, 1.0])


def reflected_views(views: Views) -> Views:
    """The pictures that the mirrored cameras take of the mirrored objects; padding stays what it is.

    Such pictures run from right to left, and so does the camera's own x axis, which makes it right-handed
    again.
    """
    poses = rearrange(views.camera_to_world, "B V xyz column -> B V column xyz")
    poses = rearrange(reflected(poses), "B V column xyz -> B V xyz column")
    poses = torch.cat([-poses[..., :1], poses[..., 1:]], dim=-1)
    width = views.sizes[..., 1]
    focal_x, focal_y, centre_x, centre_y = views.intrinsics.unbind(-1)
    intrinsics = torch.stack([focal_x, focal_y, width - centre_x, centre_y], dim=-1)
    column = torch.arange(views.rgba.shape[-1], device=width.device)
    # Each picture is turned within its own width; what pads it stays at the right.
    source = torch.where(column < width[..., None], width[..., None] - 1 - column, column)  # [B, V, W]
    rgba = views.rgba.gather(-1, rearrange(source, "B V W -> B V 1 1 W").expand_as(views.rgba))
    there = views.mask[..., None]
    return Views(
        rgba,
        torch.where(there[..., None], poses, views.camera_to_world),
        torch.where(there, intrinsics, views.intrinsics),
        views.sizes,
        views.mask,
    )
