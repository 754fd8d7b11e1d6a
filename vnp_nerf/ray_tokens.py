"""The 3D set tokenizer: patches of posed pictures, each pixel with its ray, become tokens.

As in VNP's 3D experiments (Guo et al. 2023, section 4.3): colour and ray are concatenated in each pixel and
a patch is embedded by one linear map. Here alpha is a channel, and a ray is given by Pluecker coordinates
(direction, moment), which do not depend on where along the ray the camera stands.
"""

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vnp_core.patches import PatchEmbedding, patch_mask
from vnp_core.tokens import Tokens
from vnp_nerf.canvas import Canvases
from vnp_nerf.projection import turn

PIXEL_CHANNELS = 11
"""Premultiplied colour (3), alpha (1), ray direction (3), ray moment (3), filled (1)."""


def pixel_channels(canvases: Canvases, rotation: Float[Tensor, "B 3 3"]) -> Float[Tensor, "B V C P P"]:
    """What a pixel tells the encoder, with rays turned into the scene's reading frame; 0 where nothing is
    filled.
    """
    _, count, _, side, _ = canvases.directions.shape

    def turned(vectors: Float[Tensor, "B V 3 P P"]) -> Float[Tensor, "B V 3 P P"]:
        flat = turn(rotation, rearrange(vectors, "B V xyz H W -> B (V H W) xyz"))
        return rearrange(flat, "B (V H W) xyz -> B V xyz H W", V=count, H=side)

    directions, origins = turned(canvases.directions), turned(canvases.origins)
    # A moment is as long as the ray's distance from the origin: at most 1 for rays that meet the object's
    # ball, whatever the camera's distance.
    moments = _cross(origins, directions)
    filled = canvases.filled[:, :, None].to(directions.dtype)
    return torch.cat([canvases.rgba, directions, moments, filled], dim=2)


def _cross(left: Float[Tensor, "B V 3 P P"], right: Float[Tensor, "B V 3 P P"]) -> Float[Tensor, "B V 3 P P"]:
    """The cross product, whole channels at a time: several times quicker here than torch's on a CPU."""
    return left.roll(-1, 2) * right.roll(1, 2) - left.roll(1, 2) * right.roll(-1, 2)


class RayTokenizer(nn.Module):
    """Patches of `patch` x `patch` pixels to tokens of `width`, by one linear map."""

    def __init__(self, patch: int, width: int) -> None:
        super().__init__()
        self.patch = patch
        self.embed = PatchEmbedding(PIXEL_CHANNELS, patch, width)

    def forward(self, pixels: Float[Tensor, "B V C P P"], filled: Bool[Tensor, "B V P P"]) -> Tokens:
        """Tokens [B, V x (P / patch)^2, width], view after view, row after row; empty patches are masked."""
        batch = pixels.shape[0]
        values = self.embed(rearrange(pixels, "B V C H W -> (B V) C H W"))
        mask = patch_mask(rearrange(filled, "B V H W -> (B V) H W"), self.patch)
        return Tokens(
            rearrange(values, "(B V) T D -> B (V T) D", B=batch),
            rearrange(mask, "(B V) T -> B (V T)", B=batch),
        )
