"""Multi-head attention and the blocks made of it. Keys and values are computed once and asked many times."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vnp_core.errors import ConfigError
from vnp_core.mlp import MLP
from vnp_core.rotary import Rotation

_MOST_SCORES = 2**24
"""More scores than this, 64 MiB in float32, are never held at once."""


class KeysValues(NamedTuple):
    """What a context looks like to one attention layer: split into heads h of depth d."""

    keys: Float[Tensor, "B h T d"]
    values: Float[Tensor, "B h T d"]


class Attention(nn.Module):
    """softmax(q k^T / sqrt(d)) v over `heads` heads. Only the output projection always has a bias."""

    def __init__(
        self, width: int, heads: int, context_width: int | None = None, *, bias: bool = False
    ) -> None:
        super().__init__()
        if width % heads:
            raise ConfigError(f"The width of attention ({width}) must be a multiple of its heads ({heads}).")
        self.heads = heads
        self.to_queries = nn.Linear(width, width, bias=bias)
        self.to_keys_values = nn.Linear(context_width or width, 2 * width, bias=bias)
        self.to_output = nn.Linear(width, width)

    def keys_values(self, context: Float[Tensor, "B T C"], rotation: Rotation | None = None) -> KeysValues:
        """Keys and values of the context, to be kept for as many queries as there will be.

        `rotation` is that of the places where the context lies, if these matter.
        """
        both = self.to_keys_values(context)
        both = rearrange(both, "b t (two_h d) -> b two_h t d", two_h=2 * self.heads)
        if rotation is not None:
            both = rotation.turn(both)
        return KeysValues(*both.chunk(2, dim=1))

    def forward(
        self,
        queries: Float[Tensor, "B N D"],
        context: KeysValues,
        mask: Bool[Tensor, "B T"] | None = None,
        rotation: Rotation | None = None,
    ) -> Float[Tensor, "B N D"]:
        """Attended values. `mask` is True where a token is present; every row needs at least one that is.

        `rotation` is that of the places where the queries ask, given if and only if the context has one.
        """
        q = rearrange(self.to_queries(queries), "b n (h d) -> b h n d", h=self.heads)
        if rotation is not None:
            q = rotation.turn(q)
        # A cache made under autocast may be asked outside of it.
        k, v = context.keys.to(q.dtype), context.values.to(q.dtype)
        present = None if mask is None else rearrange(mask, "b t -> b 1 1 t")
        attended = _attend(q, k, v, present)
        if rotation is not None:
            attended = rotation.turn_back(attended)
        return self.to_output(rearrange(attended, "b h n d -> b n (h d)"))


def _attend(
    q: Float[Tensor, "B h N d"],
    k: Float[Tensor, "B h T d"],
    v: Float[Tensor, "B h T d"],
    present: Bool[Tensor, "B 1 1 T"] | None,
) -> Float[Tensor, "B h N d"]:
    """softmax(q k^T / sqrt(d)) v by torch's kernels, or written out where they are slow.

    The fused kernel's gradient on a CPU takes several times longer than the formula's for the few hundred
    tokens that models are trained on here. It never holds all scores, though: large ones are left to it.
    """
    scores = q.shape[0] * q.shape[1] * q.shape[2] * k.shape[2]
    trains = torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad)
    if not trains or q.device.type != "cpu" or scores > _MOST_SCORES:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=present)
    logits = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    # Looking at the mask's values would break a compiled graph in two.
    if present is not None and (torch.compiler.is_compiling() or not present.all()):
        logits = logits.masked_fill(~present, -torch.inf)
    # In bfloat16 the CPU's kernel sums in float32 and rounds once, without a copy of all scores.
    return torch.softmax(logits, dim=-1).to(v.dtype) @ v


class FeedForward(MLP):
    """The two-layer MLP that follows an attention: GELU between."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__(width, hidden, width, activation=nn.GELU)


class SelfAttentionBlock(nn.Module):
    """Pre-norm transformer layer: x + Attn(LN x), then x + FF(LN x)."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, hidden)

    def forward(
        self,
        x: Float[Tensor, "B T D"],
        mask: Bool[Tensor, "B T"] | None = None,
        rotation: Rotation | None = None,
    ) -> Float[Tensor, "B T D"]:
        """Tokens that have read each other; those that the mask calls absent are read by none."""
        normed = self.attention_norm(x)
        x = x + self.attention(normed, self.attention.keys_values(normed, rotation), mask, rotation)
        return x + self.feed_forward(self.feed_forward_norm(x))


class CrossAttentionBlock(nn.Module):
    """Pre-norm layer that reads a context: x + Attn(LN x, context), then x + FF(LN x)."""

    def __init__(self, width: int, heads: int, hidden: int, context_width: int | None = None) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads, context_width)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, hidden)

    def keys_values(self, context: Float[Tensor, "B T C"], rotation: Rotation | None = None) -> KeysValues:
        """What this layer reads of the context."""
        return self.attention.keys_values(context, rotation)

    def forward(
        self,
        x: Float[Tensor, "B N D"],
        context: KeysValues,
        mask: Bool[Tensor, "B T"] | None = None,
        rotation: Rotation | None = None,
    ) -> Float[Tensor, "B N D"]:
        """Queries [B, N, D] that have read the context."""
        x = x + self.attention(self.attention_norm(x), context, mask, rotation)
        return x + self.feed_forward(self.feed_forward_norm(x))


class PostNormCrossAttentionBlock(nn.Module):
    """The released model's layer: s = LN(s + Attn(s + e, context)), then s = LN(s + MLP(s)).

    The query's embedding e comes in before each layer, so the state s may start at 0. Biases everywhere.
    """

    def __init__(self, width: int, heads: int, hidden: int, context_width: int | None = None) -> None:
        super().__init__()
        self.attention = Attention(width, heads, context_width, bias=True)
        self.attention_norm = nn.LayerNorm(width)
        self.feed_forward = MLP(width, hidden, width)
        self.feed_forward_norm = nn.LayerNorm(width)

    def keys_values(self, context: Float[Tensor, "B T C"], rotation: Rotation | None = None) -> KeysValues:
        """What this layer reads of the context."""
        return self.attention.keys_values(context, rotation)

    def forward(
        self,
        state: Float[Tensor, "B N D"],
        embedding: Float[Tensor, "B N D"],
        context: KeysValues,
        mask: Bool[Tensor, "B T"] | None = None,
        rotation: Rotation | None = None,
    ) -> Float[Tensor, "B N D"]:
        """The state [B, N, D] after one more reading of the context."""
        state = self.attention_norm(state + self.attention(state + embedding, context, mask, rotation))
        return self.feed_forward_norm(state + self.feed_forward(state))
