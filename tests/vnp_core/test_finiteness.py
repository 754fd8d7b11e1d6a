"""What is not finite is named; many names are counted."""

import math

import pytest
import torch

from vnp_core.finiteness import listed, not_finite


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_tensors_with_a_number_that_is_not_finite_are_named(value: float) -> None:
    tensors = [("a", torch.ones(3)), ("empty", torch.empty(0)), ("b", torch.ones(2, 2).bfloat16())]
    assert not_finite(tensors) == []
    tensors[2][1][1, 0] = value
    assert not_finite(tensors) == ["b"]
    assert not_finite([]) == []


def test_the_largest_finite_numbers_are_finite() -> None:
    assert not_finite([("a", torch.full((1000,), torch.finfo(torch.float32).max))]) == []


def test_many_names_are_counted() -> None:
    assert listed(["a", "b"]) == "a, b"
    assert listed([str(number) for number in range(12)]) == "0, 1, 2, 3, 4, 5, 6, 7 and 4 more"
