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


def test_places_follow_their_tokens_and_their_centre_is_that_of_the_present_ones():
    values, mask = torch.zeros(1, 3, 2), torch.tensor([[True, True, False]])
    tokens = Tokens(values, mask, torch.tensor([[[1.0], [4.0], [torch.nan]]]))
    centre, places = tokens.centre(), tokens.cleared().cat(tokens.cleared()).places
    assert centre is not None
    assert places is not None
    assert centre.tolist() == [[[2.5]]]
    assert places.flatten().tolist() == [1.0, 4.0, 0.0] * 2
    assert tokens.cat(Tokens.present(values)).places is None
    nowhere = Tokens(values, torch.zeros(1, 3, dtype=torch.bool), tokens.places).centre()
    assert nowhere is not None
    assert nowhere.tolist() == [[[0.0]]]
