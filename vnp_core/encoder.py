"""The bottleneck encoder: self-attention among a set's few tokens (Guo et al. 2023, section 3.2)."""

from dataclasses import dataclass

import torch
from einops import repeat
from torch import nn

from vnp_core.attention import SelfAttentionBlock
from vnp_core.rotary import Rotary
from vnp_core.tokens import Tokens


@dataclass(frozen=True)
class EncoderConfig:
    """Sizes of the bottleneck encoder."""

    width: int = 128
    """Width D of every token."""
    layers: int = 4
    """Self-attention layers."""
    heads: int = 4
    """Attention heads; they divide the width."""
    hidden: int = 256
    """Hidden width of each feed-forward."""
    null_token: bool = True
    """Prepend a learned token, so that an empty context is legal and gives the prior. The paper has none."""
    final_norm: bool = True
    """Normalise the tokens after the last layer. The paper does not."""


class BottleneckEncoder(nn.Module):
    """Pre-norm self-attention over the tokens. Any order, any number of them, padding invisible.

    With `rotary`, tokens see where the others lie relative to them. The null token lies at the centre of all.
    """

    def __init__(self, config: EncoderConfig, rotary: Rotary | None = None) -> None:
        super().__init__()
        self.rotary = rotary
        self.blocks = nn.ModuleList(
            SelfAttentionBlock(config.width, config.heads, config.hidden) for _ in range(config.layers)
        )
        self.null_token = nn.Parameter(0.02 * torch.randn(config.width)) if config.null_token else None
        self.final_norm = nn.LayerNorm(config.width) if config.final_norm else nn.Identity()

    def forward(self, tokens: Tokens) -> Tokens:
        """[B, T, D] -> [B, T + 1, D] with the null token, [B, T, D] without."""
        tokens = tokens.cleared()
        if self.null_token is not None:
            null = repeat(self.null_token, "d -> b 1 d", b=tokens.values.shape[0]).to(tokens.values.dtype)
            here = torch.ones(null.shape[:2], dtype=torch.bool, device=null.device)
            tokens = Tokens(null, here, tokens.centre()).cat(tokens)
        values, rotation = tokens.values, tokens.rotation(self.rotary)
        for block in self.blocks:
            values = block(values, tokens.mask, rotation)
        return Tokens(self.final_norm(values), tokens.mask, tokens.places)
