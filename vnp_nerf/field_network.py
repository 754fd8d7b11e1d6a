"""The point network: from what was read at a point to density and colour, under the latents' modulation."""

from typing import cast

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vnp_core.modulation import ModulatedBlock, ModulatedWeights, ResidualBlock

_DENSITY_SCALE = 25.0
"""Densities that make a surface opaque within a sample's width need not come from huge weights."""
_DENSITY_SHIFT = 4.0
"""A fresh field absorbs about a third of the light that crosses the ball: neither empty nor a white-out."""


class FieldNetwork(nn.Module):
    """Per latent level a modulated block and an unmodulated residual one, as in VNP (Guo et al. 2023,
    section 3.3).
    """

    def __init__(self, inputs: int, width: int, levels: int, latent_dim: int, style_width: int) -> None:
        super().__init__()
        self.enter = nn.Linear(inputs, width)
        self.styles = nn.ModuleList(
            nn.Sequential(nn.Linear(latent_dim, style_width), nn.GELU()) for _ in range(levels)
        )
        self.modulated = nn.ModuleList(ModulatedBlock(width, style_width) for _ in range(levels))
        self.residual = nn.ModuleList(ResidualBlock(width, width) for _ in range(levels))
        self.density = nn.Linear(width, 1)

    def modulate(self, latents: Float[Tensor, "B L Z"]) -> list[ModulatedWeights]:
        """The modulated weights of each level, computed once a draw."""
        return [
            cast(ModulatedBlock, block).modulate(style(latents[:, level]))
            for level, (style, block) in enumerate(zip(self.styles, self.modulated, strict=True))
        ]

    def forward(
        self, read: Float[Tensor, "B N I"], weights: list[ModulatedWeights]
    ) -> Float[Tensor, "B N D"]:
        """The state of each point."""
        entered = F.gelu(self.enter(read))
        state = entered
        for modulated, residual, level_weights in zip(self.modulated, self.residual, weights, strict=True):
            state = modulated(state, level_weights)
            state = residual(state, entered)
        return state

    def density_of(self, state: Float[Tensor, "B N D"]) -> Float[Tensor, "B N"]:
        """Density, >= 0, float32."""
        raw = self.density(state).float()[..., 0]
        return _DENSITY_SCALE * F.softplus(raw - _DENSITY_SHIFT)
