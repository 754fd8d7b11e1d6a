"""Points of B scenes turned and projected into V views each, as batched matrix products.

Always in float32, autocast or not: a pixel's position needs more digits than bfloat16 has.
"""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from vnp_nerf.views import Views


def turn(rotation: Float[Tensor, "B 3 3"], vectors: Float[Tensor, "B N 3"]) -> Float[Tensor, "B N 3"]:
    """The same rotation for all vectors of a scene."""
    with torch.autocast(vectors.device.type, enabled=False):
        return vectors @ rotation.transpose(-1, -2)


def projection_matrices(views: Views) -> Float[Tensor, "B V 3 4"]:
    """World point (x, y, z, 1) to (x d, y d, d): pixel times depth, and depth along the optical axis."""
    to_world = views.camera_to_world
    with torch.autocast(to_world.device.type, enabled=False):
        rotation = rearrange(to_world[..., :3], "B V i j -> B V j i")
        offset = -(rotation @ to_world[..., 3:])
        flip = to_world.new_tensor([1.0, -1.0, -1.0])  # OpenGL's axes to x right, y down, z forward
        to_camera = torch.cat([rotation, offset], dim=-1) * flip[:, None]
        fx, fy, cx, cy = views.intrinsics.unbind(-1)
        zero, one = torch.zeros_like(fx), torch.ones_like(fx)
        intrinsics = torch.stack([fx, zero, cx, zero, fy, cy, zero, zero, one], dim=-1)
        return rearrange(intrinsics, "B V (i j) -> B V i j", i=3) @ to_camera


def project_points(
    matrices: Float[Tensor, "B V 3 4"], points: Float[Tensor, "B N 3"]
) -> tuple[Float[Tensor, "B V N 2"], Float[Tensor, "B V N"]]:
    """Pixels (x, y) and depths of all points in all views: the fast twin of `vnp_nerf.cameras.project`.

    Where depth <= 0 the pixels are finite and mean nothing.
    """
    with torch.autocast(points.device.type, enabled=False):
        linear = rearrange(matrices[..., :3], "B V i j -> B (V i) j")
        offset = rearrange(matrices[..., 3], "B V i -> B (V i) 1")
        projected = torch.baddbmm(offset, linear, rearrange(points, "B N xyz -> B xyz N"))
        x, y, depth = rearrange(projected, "B (V i) N -> i B V N", i=3)
        pixels = torch.stack([x, y], dim=-1) / depth.clamp_min(1e-3)[..., None]
        return pixels.clamp(-1e4, 1e4), depth
