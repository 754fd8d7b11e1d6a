"""Three axis-aligned feature planes, decoded once from a scene's tokens and latents, then read by
interpolation.

A query costs three bilinear look-ups instead of attention over all tokens: the whole of space is paid for
once.
"""

from typing import cast

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vnp_core.attention import CrossAttentionBlock, KeysValues

_PLANES = 3


class PlaneDecoder(nn.Module):
    """Learned queries, one a plane cell, gather from the tokens; a small convolution refines them.

    `cells` a side are attended with, `resolution` (a multiple of it) come out, with `channels` features.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        layers: int,
        cells: int,
        resolution: int,
        channels: int,
        latent_width: int,
    ) -> None:
        super().__init__()
        if resolution % cells:
            raise ValueError(f"plane resolution {resolution} is not a multiple of its {cells} cells")
        self.cells, self.factor = cells, resolution // cells
        self.queries = nn.Parameter(torch.randn(_PLANES * cells * cells, width) * 0.02)
        self.blocks = nn.ModuleList(
            CrossAttentionBlock(width, heads, 2 * width, width) for _ in range(layers)
        )
        self.from_latents = nn.ModuleList(nn.Linear(latent_width, width) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, channels * self.factor**2)
        self.refine = nn.Sequential(
            nn.Conv2d(channels, 2 * channels, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(2 * channels, channels, 3, padding=1),
        )

    def keys_values(self, tokens: Float[Tensor, "B T D"]) -> list[KeysValues]:
        """Keys and values of each layer: they depend on the context alone and serve every draw."""
        return [cast(CrossAttentionBlock, block).keys_values(tokens) for block in self.blocks]

    def forward(
        self,
        keys_values: list[KeysValues],
        mask: Bool[Tensor, "B T"],
        latents: Float[Tensor, "B Z"],
    ) -> Float[Tensor, "B 3 C P P"]:
        """The planes (xy, xz, yz) of one draw: rows are the second axis of the pair, columns the first."""
        state = repeat(self.queries, "N D -> B N D", B=mask.shape[0])
        for block, project, kv in zip(self.blocks, self.from_latents, keys_values, strict=True):
            state = block(state + project(latents)[:, None], kv, mask)
        features = rearrange(
            self.expand(self.norm(state)),
            "B (planes h w) (C p q) -> (B planes) C (h p) (w q)",
            planes=_PLANES,
            h=self.cells,
            p=self.factor,
            q=self.factor,
        )
        features = features + self.refine(features)
        return rearrange(features, "(B planes) C H W -> B planes C H W", planes=_PLANES)


def read_planes(
    planes: Float[Tensor, "B 3 C P P"], points: Float[Tensor, "B N 3"]
) -> Float[Tensor, "B N 3*C"]:
    """Bilinear features at points of the cube [-1, 1]^3 (the border's beyond it), concatenated over the
    planes.
    """
    pairs = torch.stack(
        [points[..., [0, 1]], points[..., [0, 2]], points[..., [1, 2]]], dim=1
    )  # [B, 3, N, 2]
    sampled = F.grid_sample(
        rearrange(planes, "B planes C H W -> (B planes) C H W").float(),
        rearrange(pairs, "B planes N two -> (B planes) N 1 two").float(),
        mode="bilinear",
        padding_mode="border",
        align_corners=False,
    )
    return rearrange(sampled, "(B planes) C N 1 -> B N (planes C)", planes=_PLANES)
