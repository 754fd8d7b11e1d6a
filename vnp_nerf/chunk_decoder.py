"""The paper's decoder for the 131,072 samples of a chunk of rays, a block of them at a time.

`Decoder.forward`, the slow twin, holds every hidden layer of all samples at once. Here only the state after
attention and after each level is held for all of them, since the latents pool over the chunk at each level;
the layers between pass through a processor's cache. In float32 the arithmetic is the twin's. In bfloat16 all
matrix products, and attention, are taken of deviations from a mean (see `vnp_core.rounded_linear`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from vnp_core.attention import KeysValues, PostNormCrossAttentionBlock
from vnp_core.decoder import Decoder, DecoderCache, DecoderLevel, LatentSource
from vnp_core.latent_sources import QueriedLatents
from vnp_core.modulation import ModulatedLinear, ModulatedWeights, Modulation
from vnp_core.rounded_linear import Deviations, RoundedLinear
from vnp_nerf.execution import Precision

_CPU_BLOCK = 1024
"""Points at a time: their hidden layers stay in a processor's cache."""
_GPU_BLOCK = 32 * 1024
"""The same where thousands of cores want work."""

Map = Callable[[Any], Tensor]


class ChunkDecoder:
    """Query points -> raw outputs, for one scene; without gradients."""

    def __init__(self, decoder: Decoder, cache: DecoderCache, precision: Precision) -> None:
        self.decoder, self.rounded = decoder, precision == "bfloat16"
        present = cache.mask if not bool(cache.mask.all()) else None
        self.embed, self.after, self.output = (
            self._perceptron(part) for part in (decoder.embed, decoder.after_attention, decoder.output)
        )
        self.readers = [
            self._reader(cast(PostNormCrossAttentionBlock, block), context, present)
            for block, context in zip(decoder.attention, cache.layers, strict=True)
        ]

    @torch.no_grad()
    def __call__(self, points: Float[Tensor, "N 3"], source: LatentSource) -> Float[Tensor, "N O"]:
        """What `Decoder.forward` gives for one scene and one draw."""
        size = _CPU_BLOCK if points.device.type == "cpu" else _GPU_BLOCK
        blocks = [slice(start, start + size) for start in range(0, len(points), size)]
        states = points.new_empty(len(points), cast(nn.Linear, self.decoder.after_attention[-1]).out_features)
        embeddings: list[Tensor | Deviations] = []
        for block in blocks:
            embedding = self.embed(self.decoder.fourier(points[block]))
            states[block] = self.after(self._read(embedding))
            embeddings.append(Deviations.of(embedding) if self.rounded else embedding)
        for number, level in enumerate(self.decoder.levels):
            weights = self._weights(source, number, states, blocks)
            step = self._level(cast(DecoderLevel, level), weights)
            for block, embedding in zip(blocks, embeddings, strict=True):
                states[block] = step(states[block], embedding)
        return torch.cat([self.output(states[block]) for block in blocks])

    def _weights(
        self, source: LatentSource, level: int, states: Float[Tensor, "N D"], blocks: Sequence[slice]
    ) -> ModulatedWeights:
        if not isinstance(source, QueriedLatents):
            return source(level, states[None])
        predict = self._perceptron(source.networks.predict[level])
        return source.given(level, torch.cat([predict(states[block]) for block in blocks])[None])

    def _read(self, embedding: Float[Tensor, "n D"]) -> Float[Tensor, "n D"]:
        """The state, which starts at 0, after it has read the tokens."""
        state = torch.zeros_like(embedding)
        for reader in self.readers:
            state = reader(state, embedding)
        return state

    def _level(
        self, level: DecoderLevel, weights: ModulatedWeights
    ) -> Callable[[Tensor, Tensor | Deviations], Tensor]:
        """One level's step from state and embedding to the next state."""
        enter, leave = (cast(nn.Linear, level.residual.mlp[index]) for index in (0, 2))
        width = enter.in_features // 2
        of_embedding = self._map(enter.weight[:, :width], enter.bias)
        of_state, out = self._map(enter.weight[:, width:].contiguous()), self._map(leave.weight, leave.bias)
        block = level.modulated
        first = self._modulated(block.first, weights.first, block.bias)
        second = self._modulated(block.second, weights.second)

        def step(state: Tensor, embedding: Tensor | Deviations) -> Tensor:
            hidden = F.relu_(of_embedding(embedding).add_(of_state(state)))
            state = out(hidden).add_(state)
            hidden = F.leaky_relu_(first(state), 0.2).mul_(2**0.5)
            return second(hidden).add_(state)

        return step

    def _modulated(self, layer: ModulatedLinear, modulation: Modulation, bias: Tensor | None = None) -> Map:
        return self._map(layer.matrix(modulation)[0], bias)

    def _reader(
        self, block: PostNormCrossAttentionBlock, context: KeysValues, present: Tensor | None
    ) -> "_Reader":
        attention = block.attention
        mask = None if present is None else rearrange(present, "1 t -> 1 1 1 t")
        keys, values = context
        shift = torch.zeros_like(values[:, :, :1])
        if self.rounded:
            # A vector added to all keys changes no softmax, and one added to all values adds to any mean.
            shift = values.mean(2, keepdim=True)
            keys = (keys - keys.mean(2, keepdim=True)).bfloat16()
            values = (values - shift).bfloat16()
        return _Reader(
            queries=self._layer(attention.to_queries),
            context=KeysValues(keys, values),
            shift=rearrange(shift, "1 h 1 d -> (h d)"),
            mask=mask,
            output=self._layer(attention.to_output),
            attention_norm=block.attention_norm,
            feed_forward=self._perceptron(block.feed_forward),
            feed_forward_norm=block.feed_forward_norm,
        )

    def _perceptron(self, mlp: nn.Module) -> Map:
        """An MLP with ReLU between its maps."""
        maps = [self._layer(layer) for layer in mlp.modules() if isinstance(layer, nn.Linear)]

        def apply(x: Tensor) -> Tensor:
            for number, layer in enumerate(maps):
                x = layer(F.relu_(x) if number else x)
            return x

        return apply

    def _layer(self, linear: nn.Linear) -> Map:
        return self._map(linear.weight, linear.bias)

    def _map(self, weight: Tensor, bias: Tensor | None = None) -> Map:
        return RoundedLinear(weight, bias) if self.rounded else lambda x: F.linear(x, weight, bias)


@dataclass(frozen=True, eq=False)
class _Reader:
    """One cross-attention layer with its context. shift: what the values lack of the true ones."""

    queries: Map
    context: KeysValues
    shift: Float[Tensor, "D"]
    mask: Tensor | None
    output: Map
    attention_norm: nn.LayerNorm
    feed_forward: Map
    feed_forward_norm: nn.LayerNorm

    def __call__(self, state: Float[Tensor, "n D"], embedding: Float[Tensor, "n D"]) -> Float[Tensor, "n D"]:
        """The state after one more reading."""
        keys, values = self.context
        queries = self.queries(state + embedding).to(keys.dtype)
        queries = rearrange(queries, "n (h d) -> 1 h n d", h=keys.shape[1])
        attended = F.scaled_dot_product_attention(queries, keys, values, attn_mask=self.mask)
        attended = rearrange(attended, "1 h n d -> n (h d)").to(state.dtype) + self.shift
        state = self.attention_norm(self.output(attended).add_(state))
        return self.feed_forward_norm(self.feed_forward(state).add_(state))
