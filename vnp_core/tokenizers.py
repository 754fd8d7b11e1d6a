"""Set tokenizers: observations of any number become a few tokens (Guo et al. 2023, section 3.2).

Points go through an MLP each, and by choice through cross-attention into a fixed number of learned tokens,
after which cost no longer depends on their number. Grids go patch by patch. 3D brings its own ray patches.
"""

import math
from dataclasses import dataclass, field
from typing import Literal

import torch
from einops import repeat
from torch import nn

from vnp_core.attention import CrossAttentionBlock
from vnp_core.errors import ConfigError
from vnp_core.fourier import FourierConfig, FourierEmbedding
from vnp_core.mlp import MLP
from vnp_core.observations import Grid, PointSet
from vnp_core.patches import PatchEmbedding, patch_mask
from vnp_core.tokens import Tokens


@dataclass(frozen=True)
class PointTokenizerConfig:
    """How single points become tokens."""

    kind: Literal["points"] = "points"
    """Which tokenizer this configures."""
    fourier: FourierConfig = field(default_factory=FourierConfig)
    """Features of x."""
    hidden: int = 128
    """Hidden width of the MLP on (x, y)."""
    bottleneck: int = 0
    """Number of learned tokens that read the points; 0 keeps one token a point."""
    heads: int = 4
    """Attention heads of the bottleneck."""


@dataclass(frozen=True)
class PatchTokenizerConfig:
    """How grids become tokens."""

    kind: Literal["patches"] = "patches"
    """Which tokenizer this configures."""
    fourier: FourierConfig = field(default_factory=lambda: FourierConfig(count=8, octaves=4.0, base=math.pi))
    """Features of a patch's centre."""
    patch: int = 4
    """Side of a patch in pixels."""


TokenizerConfig = PointTokenizerConfig | PatchTokenizerConfig


class PointTokenizer(nn.Module):
    """(x, y) -> MLP([fourier(x), y]), then optionally a bottleneck of learned tokens."""

    def __init__(self, config: PointTokenizerConfig, x_dim: int, y_dim: int, width: int) -> None:
        super().__init__()
        self.fourier = FourierEmbedding(config.fourier, x_dim)
        self.embed = MLP(self.fourier.width + y_dim, config.hidden, width, activation=nn.GELU)
        self.bottleneck = Bottleneck(config.bottleneck, width, config.heads) if config.bottleneck else None

    def forward(self, points: PointSet) -> Tokens:
        """N tokens, or as many as the bottleneck has. No points at all are legal."""
        points = points.cleared()
        embedded = self.embed(torch.cat([self.fourier(points.x), points.y], dim=-1))
        tokens = Tokens(embedded, points.mask, points.x)
        return tokens if self.bottleneck is None else self.bottleneck(tokens)


class Bottleneck(nn.Module):
    """A fixed number of learned tokens that read a set of any size once, in time linear in that size."""

    def __init__(self, count: int, width: int, heads: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(count, width))
        # Stands beside the set, so that there is always something to attend to.
        self.nothing = nn.Parameter(0.02 * torch.randn(width))
        self.norm = nn.LayerNorm(width)
        self.read = CrossAttentionBlock(width, heads, 2 * width)

    def forward(self, tokens: Tokens) -> Tokens:
        """[B, any, D] -> [B, count, D], all present."""
        batch = tokens.values.shape[0]
        nothing = repeat(self.nothing, "d -> b 1 d", b=batch).to(tokens.values.dtype)
        source = Tokens.present(nothing).cat(tokens)
        queries = repeat(self.queries, "t d -> b t d", b=batch)
        return Tokens.present(
            self.read(queries, self.read.keys_values(self.norm(source.values)), source.mask)
        )


class PatchTokenizer(nn.Module):
    """Patches of (channels, observed or not), with their place. One without an observed pixel is no token."""

    def __init__(self, config: PatchTokenizerConfig, y_dim: int, width: int) -> None:
        super().__init__()
        self.patch = config.patch
        self.embed = PatchEmbedding(y_dim + 1, config.patch, width)
        self.fourier = FourierEmbedding(config.fourier, 2)
        self.place = MLP(self.fourier.width, width, width, activation=nn.GELU)

    def forward(self, grid: Grid) -> Tokens:
        """T = ceil(H / patch) * ceil(W / patch) tokens, for any H and W."""
        observed = grid.mask[:, None]
        values = grid.values.masked_fill(~observed, 0.0)
        patches = self.embed(torch.cat([values, observed.to(values.dtype)], dim=1))
        centres = repeat(self.centres(grid), "t two -> b t two", b=len(patches))
        return Tokens(patches + self.places(grid), patch_mask(grid.mask, self.patch), centres)

    def places(self, grid: Grid) -> torch.Tensor:
        """[T, D]: what each patch's centre adds."""
        return self.place(self.fourier(self.centres(grid)))

    def centres(self, grid: Grid) -> torch.Tensor:
        """[T, 2]: the centre of each patch. Those at the far edges may lie outside of [-1, 1]."""
        height, width = grid.mask.shape[1:]
        rows, columns = -(-height // self.patch), -(-width // self.patch)
        steps = grid.values.new_tensor([2 * self.patch / height, 2 * self.patch / width])
        index = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).to(steps) + 0.5
        return index * steps - 1


Tokenizer = PointTokenizer | PatchTokenizer


def build_tokenizer(config: TokenizerConfig, x_dim: int, y_dim: int, width: int) -> Tokenizer:
    """The tokenizer that a configuration asks for. Grids have two coordinates."""
    if isinstance(config, PointTokenizerConfig):
        return PointTokenizer(config, x_dim, y_dim, width)
    if x_dim != 2:
        raise ConfigError(f"Patches need x_dim 2; given was x_dim {x_dim}. Use the points tokenizer.")
    return PatchTokenizer(config, y_dim, width)
