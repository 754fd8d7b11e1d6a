"""The encoder sees a set: no order, no padding, and nothing at all is legal."""

import torch

from vnp_core.encoder import BottleneckEncoder, EncoderConfig
from vnp_core.tokens import Tokens

CONFIG = EncoderConfig(width=16, layers=2, heads=2, hidden=24)


def made(config: EncoderConfig = CONFIG) -> BottleneckEncoder:
    torch.manual_seed(0)
    return BottleneckEncoder(config).double()


def some(batch: int = 2, count: int = 5, seed: int = 0) -> torch.Tensor:
    return torch.randn(batch, count, 16, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_permuting_the_tokens_permutes_the_answer():
    encoder, values = made(), some()
    order = torch.tensor([3, 0, 4, 1, 2])
    straight = encoder(Tokens.present(values)).values
    permuted = encoder(Tokens.present(values[:, order])).values
    torch.testing.assert_close(permuted[:, 1:], straight[:, 1:][:, order])
    torch.testing.assert_close(permuted[:, 0], straight[:, 0])


def test_padding_is_invisible_even_where_it_is_nan():
    encoder, values = made(), some(1)
    padded = torch.cat([values, torch.full((1, 2, 16), torch.nan, dtype=torch.float64)], dim=1)
    mask = torch.tensor([[True] * 5 + [False] * 2])
    answer = encoder(Tokens(padded, mask))
    torch.testing.assert_close(answer.values[:, :6], encoder(Tokens.present(values)).values)
    assert answer.mask.tolist() == [[True] * 6 + [False] * 2]


def test_an_empty_context_is_one_null_token_which_is_the_same_for_all():
    encoder = made()
    empty = encoder(Tokens.present(some(3, 0)))
    assert empty.values.shape == (3, 1, 16)
    assert torch.equal(empty.values[0], empty.values[2])
    masked = encoder(Tokens(some(3, 4), torch.zeros(3, 4, dtype=torch.bool)))
    torch.testing.assert_close(masked.values[:, :1], empty.values)


def test_the_papers_encoder_has_neither_null_token_nor_final_norm():
    encoder = made(EncoderConfig(16, 0, 2, 24, null_token=False, final_norm=False))
    values = some()
    assert torch.equal(encoder(Tokens.present(values)).values, values)
    assert not list(encoder.parameters())
