"""Products in bfloat16 that keep the mean of their outputs."""

import torch
from torch import nn

from vnp_core.rounded_linear import Deviations, RoundedLinear


def _inputs(count: int = 512, width: int = 64) -> torch.Tensor:
    """Vectors that are much alike, as hidden layers are."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(width, generator=generator) + 0.1 * torch.randn(count, width, generator=generator)


def _layer() -> nn.Linear:
    torch.manual_seed(1)
    return nn.Linear(64, 32)


@torch.no_grad()
def test_a_rounded_map_is_the_map_but_for_rounding_and_keeps_its_mean():
    x, layer = _inputs(), _layer()
    exact, rounded = layer(x), RoundedLinear.like(layer)(x)
    assert rounded.dtype == torch.float32
    spread = exact.std(0).mean()
    assert 0 < (rounded - exact).abs().max() < 0.02 * spread
    assert (rounded - exact).mean(0).abs().max() < 1e-3 * spread


@torch.no_grad()
def test_plain_rounding_would_move_all_outputs_together():
    x, layer = _inputs(), _layer()
    plain = torch.nn.functional.linear(x.bfloat16(), layer.weight.bfloat16(), layer.bias.bfloat16()).float()
    shift = (plain - layer(x)).mean(0).abs().max()
    kept = (RoundedLinear.like(layer)(x) - layer(x)).mean(0).abs().max()
    assert kept < 0.02 * shift


@torch.no_grad()
def test_deviations_made_beforehand_give_the_same():
    x, layer = _inputs(), RoundedLinear.like(_layer())
    assert torch.equal(layer(Deviations.of(x)), layer(x))


@torch.no_grad()
def test_one_vector_alone_is_not_rounded():
    x, layer = _inputs(1), _layer()
    assert torch.allclose(RoundedLinear.like(layer)(x), layer(x), atol=1e-6)
