"""Attention against torch's own modules, and the laws of masks."""

import pytest
import torch
from torch import nn

from vnp_core.attention import (
    Attention,
    CrossAttentionBlock,
    FeedForward,
    KeysValues,
    PostNormCrossAttentionBlock,
    SelfAttentionBlock,
)
from vnp_core.errors import ConfigError


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_attention_with_biases_is_torchs_multihead_attention():
    ours = Attention(12, 3, bias=True).double()
    theirs = nn.MultiheadAttention(12, 3, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([ours.to_queries.weight, ours.to_keys_values.weight]))
        theirs.in_proj_bias.copy_(torch.cat([ours.to_queries.bias, ours.to_keys_values.bias]))
        theirs.out_proj.load_state_dict(ours.to_output.state_dict())
    queries, context = noise(2, 5, 12), noise(2, 7, 12, seed=1)
    mask = torch.tensor([[True] * 7, [True] * 4 + [False] * 3])
    expected, _ = theirs(queries, context, context, key_padding_mask=~mask)
    torch.testing.assert_close(ours(queries, ours.keys_values(context), mask), expected)


def test_attention_is_the_softmax_sum_written_out():
    layer = Attention(4, 2, context_width=3).double()
    queries, context = noise(1, 2, 4), noise(1, 3, 3, seed=1)
    q = queries[0] @ layer.to_queries.weight.T
    k, v = (context[0] @ layer.to_keys_values.weight.T).chunk(2, dim=-1)
    rows = []
    for n in range(2):
        heads = []
        for h in (slice(0, 2), slice(2, 4)):
            scores = torch.stack([q[n, h] @ k[t, h] / 2**0.5 for t in range(3)])
            heads.append(sum(w * v[t, h] for t, w in enumerate(scores.softmax(0))))
        rows.append(torch.cat(heads))
    expected = torch.stack(rows) @ layer.to_output.weight.T + layer.to_output.bias
    torch.testing.assert_close(layer(queries, layer.keys_values(context))[0], expected)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.bfloat16, 2e-2)])
def test_the_formula_that_trains_on_a_cpu_agrees_with_the_kernel_that_infers(dtype, tolerance):
    layer = Attention(12, 3, context_width=5).to(dtype)
    queries, context = noise(2, 6, 12).to(dtype), noise(2, 7, 5, seed=1).to(dtype)
    mask = torch.tensor([[True] * 7, [True] * 4 + [False] * 3])
    written_out = layer(queries, layer.keys_values(context), mask)
    assert written_out.requires_grad  # by which it is chosen
    with torch.no_grad():
        fused = layer(queries, layer.keys_values(context), mask)
    torch.testing.assert_close(written_out.detach(), fused, atol=tolerance, rtol=tolerance)


def test_the_self_attention_block_is_torchs_pre_norm_layer():
    ours = SelfAttentionBlock(8, 2, 16).double()
    theirs = nn.TransformerEncoderLayer(
        8, 2, 16, dropout=0.0, activation="gelu", batch_first=True, norm_first=True, dtype=torch.float64
    )
    with torch.no_grad():
        both = [ours.attention.to_queries.weight, ours.attention.to_keys_values.weight]
        theirs.self_attn.in_proj_weight.copy_(torch.cat(both))
        theirs.self_attn.in_proj_bias.zero_()
        theirs.self_attn.out_proj.load_state_dict(ours.attention.to_output.state_dict())
        theirs.linear1.load_state_dict(ours.feed_forward[0].state_dict())
        theirs.linear2.load_state_dict(ours.feed_forward[2].state_dict())
        for norm, mine in ((theirs.norm1, ours.attention_norm), (theirs.norm2, ours.feed_forward_norm)):
            mine.weight.uniform_(0.5, 1.5)
            norm.load_state_dict(mine.state_dict())
    tokens = noise(2, 6, 8)
    torch.testing.assert_close(ours(tokens), theirs(tokens))


def test_absent_tokens_are_invisible_and_order_does_not_matter():
    block = CrossAttentionBlock(8, 2, 16, context_width=5).double()
    queries, context = noise(2, 3, 8), noise(2, 4, 5, seed=1)
    alone = block(queries, block.keys_values(context))
    padded = torch.cat([context, 1e3 * noise(2, 3, 5, seed=2)], dim=1)[:, [6, 2, 0, 4, 3, 5, 1]]
    mask = torch.tensor([False, True, True, False, True, False, True]).expand(2, 7)
    torch.testing.assert_close(block(queries, block.keys_values(padded), mask), alone)


def test_the_post_norm_block_is_its_equation():
    block = PostNormCrossAttentionBlock(8, 2, 16).double()
    state, embedding, context = noise(1, 3, 8), noise(1, 3, 8, seed=1), noise(1, 4, 8, seed=2)
    kv = block.keys_values(context)
    middle = block.attention_norm(state + block.attention(state + embedding, kv))
    expected = block.feed_forward_norm(middle + block.feed_forward(middle))
    torch.testing.assert_close(block(state, embedding, kv), expected)
    assert isinstance(block.feed_forward[1], nn.ReLU)
    assert isinstance(FeedForward(8, 16)[1], nn.GELU)


def test_keys_and_values_made_under_autocast_may_be_asked_outside_of_it():
    layer = Attention(8, 2)
    with torch.autocast("cpu", torch.bfloat16):
        kv = layer.keys_values(torch.randn(1, 4, 8))
    assert kv.keys.dtype == torch.bfloat16
    assert layer(torch.randn(1, 2, 8), kv).dtype == torch.float32


def test_no_queries_are_legal():
    layer = Attention(8, 2)
    assert layer(torch.zeros(2, 0, 8), layer.keys_values(torch.zeros(2, 3, 8))).shape == (2, 0, 8)


def test_attention_passes_gradcheck():
    layer = Attention(4, 2).double()

    def attend(queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        return layer(queries, KeysValues(keys, values), torch.tensor([[True, False, True]]))

    inputs = [noise(1, 2, 4), noise(1, 2, 3, 2, seed=1), noise(1, 2, 3, 2, seed=2)]
    assert torch.autograd.gradcheck(attend, [part.requires_grad_() for part in inputs])


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(ConfigError, match="multiple of its heads"):
        Attention(10, 3)
