"""The latent-modulated decoder (Guo et al. 2023, section 3.3): from query coordinates to predictions.

Cross-attention reads the tokens, whose keys and values are computed once a context. Then each level asks a
*latent source* for its modulated weights. The `consistent` source holds them ready, one set a draw; the
`paper` source infers them from the state of the very queries that are being decoded. That is all in which the
two modes differ.
"""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol, cast

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vnp_core.attention import CrossAttentionBlock, KeysValues, PostNormCrossAttentionBlock
from vnp_core.fourier import FourierConfig, FourierEmbedding
from vnp_core.latents import LatentConfig
from vnp_core.mlp import MLP
from vnp_core.modulation import ModulatedBlock, ModulatedWeights, ResidualBlock
from vnp_core.rotary import Rotary, Rotation
from vnp_core.tokens import Tokens


@dataclass(frozen=True)
class DecoderConfig:
    """Sizes of the decoder. It has as many modulated blocks as there are latent levels."""

    width: int = 128
    """Width D of the state of each query."""
    fourier: FourierConfig = field(default_factory=FourierConfig)
    """Features of the query coordinates."""
    attention: Literal["pre_norm", "post_norm"] = "pre_norm"
    """Kind of the cross-attention layers; the released model has post-norm ones, on a state from 0."""
    layers: int = 2
    """Cross-attention layers."""
    heads: int = 4
    """Attention heads; they divide the width."""
    hidden: int = 256
    """Hidden width of each feed-forward."""


ContextReader = CrossAttentionBlock | PostNormCrossAttentionBlock


class DecoderCache(NamedTuple):
    """All that the decoder needs of a context: keys and values of each cross-attention layer."""

    layers: list[KeysValues]
    mask: Bool[Tensor, "B T"]


class LatentSource(Protocol):
    """Gives level l its modulated weights, one set for each of the B * K draws."""

    def __call__(self, level: int, state: Float[Tensor, "B_or_BK M D"]) -> ModulatedWeights:
        """The weights of one level, asked for in order; `state` is that of the queries before this level."""
        ...


class DecoderLevel(nn.Module):
    """One level: latent -> style -> weights; then an unmodulated residual block and the modulated block."""

    def __init__(self, width: int, latent_dim: int) -> None:
        super().__init__()
        self.style = MLP(latent_dim, width, width)
        self.residual = ResidualBlock(width, width)
        self.modulated = ModulatedBlock(width, width)

    def modulate(self, latent: Float[Tensor, "BK dim"], *, ready: bool = False) -> ModulatedWeights:
        """The weights that this level's latent asks for; see `ModulatedBlock.modulate`."""
        return self.modulated.modulate(self.style(latent), ready=ready)

    def forward(
        self,
        state: Float[Tensor, "B_or_BK M D"],
        embedding: Float[Tensor, "B M D"],
        weights: ModulatedWeights,
    ) -> Float[Tensor, "BK M D"]:
        """Until the first modulation all draws of a scene share one state."""
        state = self.residual(state, per_draw(embedding, state.shape[0]))
        return self.modulated(per_draw(state, weights.rows), weights)


class Decoder(nn.Module):
    """Query coordinates -> [B * K, M, outputs], given a context's cache and a source of latents.

    With `rotary`, queries see where the tokens lie relative to them.
    """

    def __init__(
        self,
        config: DecoderConfig,
        latents: LatentConfig,
        x_dim: int,
        token_width: int,
        outputs: int,
        rotary: Rotary | None = None,
    ) -> None:
        super().__init__()
        width = config.width
        self.rotary = rotary
        self.post_norm = config.attention == "post_norm"
        block = PostNormCrossAttentionBlock if self.post_norm else CrossAttentionBlock
        self.fourier = FourierEmbedding(config.fourier, x_dim)
        self.embed = MLP(self.fourier.width, width, width)
        self.attention = nn.ModuleList(
            block(width, config.heads, config.hidden, token_width) for _ in range(config.layers)
        )
        self.after_attention = MLP(width, width, width)
        self.levels = nn.ModuleList(DecoderLevel(width, latents.dim) for _ in range(latents.levels))
        self.output = MLP(width, width, outputs)

    def cache(self, tokens: Tokens) -> DecoderCache:
        """Keys and values of every layer, once a context."""
        rotation = tokens.rotation(self.rotary)
        layers = [cast(ContextReader, block).keys_values(tokens.values, rotation) for block in self.attention]
        return DecoderCache(layers, tokens.mask)

    def modulate(self, latents: Float[Tensor, "B K L dim"], *, ready: bool = False) -> list[ModulatedWeights]:
        """The weights of every level, once a draw; see `ModulatedBlock.modulate`."""
        stacks = rearrange(latents, "b k l d -> l (b k) d")
        return [self.modulate_level(level, latent, ready=ready) for level, latent in enumerate(stacks)]

    def modulate_level(
        self, level: int, latent: Float[Tensor, "BK dim"], *, ready: bool = False
    ) -> ModulatedWeights:
        """The weights of one level."""
        return cast(DecoderLevel, self.levels[level]).modulate(latent, ready=ready)

    def forward(
        self, x: Float[Tensor, "B M X"], cache: DecoderCache, source: LatentSource
    ) -> Float[Tensor, "BK M O"]:
        """What is predicted at each query. No query sees another, unless through the source."""
        return self.output(self.state(x, cache, source))

    def first_outputs(
        self, x: Float[Tensor, "B M X"], cache: DecoderCache, source: LatentSource, count: int
    ) -> Float[Tensor, "BK M count"]:
        """The first `count` outputs of `forward`, without the work of the others."""
        first, activation, last = self.output
        hidden = activation(first(self.state(x, cache, source)))
        last = cast(nn.Linear, last)
        return F.linear(hidden, last.weight[:count], last.bias[:count])

    def state(
        self, x: Float[Tensor, "B M X"], cache: DecoderCache, source: LatentSource
    ) -> Float[Tensor, "B_or_BK M D"]:
        """What the queries have become after the last level."""
        embedding = self.embed(self.fourier(x))
        rotation = None if self.rotary is None else self.rotary(x)
        state = self.after_attention(self.read(embedding, cache, rotation))
        for index, level in enumerate(self.levels):
            weights = source(index, state)
            state = level(state, embedding, weights)
        return state

    def read(
        self, embedding: Float[Tensor, "B M D"], cache: DecoderCache, rotation: Rotation | None = None
    ) -> Float[Tensor, "B M D"]:
        """The queries' state after they have read the context; `rotation` is that of where they ask."""
        if self.post_norm:
            state = torch.zeros_like(embedding)
            for block, context in zip(self.attention, cache.layers, strict=True):
                state = block(state, embedding, context, cache.mask, rotation)
            return state
        state = embedding
        for block, context in zip(self.attention, cache.layers, strict=True):
            state = block(state, context, cache.mask, rotation)
        return state


def per_draw(x: Float[Tensor, "B *rest"], rows: int) -> Float[Tensor, "BK *rest"]:
    """Repeats each scene's row until there are `rows` = B * K of them, draws of one scene side by side."""
    return x if x.shape[0] == rows else repeat(x, "b ... -> (b k) ...", k=rows // x.shape[0])
