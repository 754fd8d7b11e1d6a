"""Sets of tokens."""

import torch

from vnp_core.tokens import Tokens


def test_the_union_keeps_both_masks():
    one = Tokens(torch.ones(2, 3, 4), torch.tensor([[True, False, True]] * 2))
    both = one.cat(Tokens.present(torch.zeros(2, 1, 4)))
    assert both.values.shape == (2, 4, 4)
    assert both.mask.tolist() == [[True, False, True, True]] * 2


def test_clearing_removes_nan_from_the_padding_only():
    values = torch.tensor([[[1.0], [torch.nan]]])
    assert Tokens(values, torch.tensor([[True, False]])).cleared().values.tolist() == [[[1.0], [0.0]]]
