"""The plain MLP."""

import torch
from torch import nn

from vnp_core.mlp import MLP


def test_activations_stand_between_the_layers_and_not_at_the_end():
    assert [type(layer) for layer in MLP(2, 3, 4, 5)] == [nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear]
    assert type(MLP(2, 3, 4, activation=nn.GELU)[1]) is nn.GELU


def test_it_computes_what_its_name_says():
    torch.manual_seed(0)
    mlp = MLP(2, 3, 1)
    x = torch.randn(4, 2)
    hidden = (x @ mlp[0].weight.T + mlp[0].bias).clamp(min=0)
    torch.testing.assert_close(mlp(x), hidden @ mlp[2].weight.T + mlp[2].bias)
