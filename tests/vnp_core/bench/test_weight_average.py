"""The moving average of weights."""

import torch
from torch import nn

from vnp_core.bench.weight_average import WeightAverage


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))
        self.register_buffer("count", torch.zeros((), dtype=torch.long))


def test_the_average_is_the_recursion_it_says() -> None:
    model = Two()
    average = WeightAverage(model, 0.3)
    expected = 0.0
    for step in range(6):
        with torch.no_grad():
            model.weight.fill_(step + 1.0)
        average.update(model, step)
        decay = min(0.3, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * (step + 1)
    torch.testing.assert_close(average.tensors["weight"], torch.full((2,), expected))


def test_buffers_are_copied_and_a_decay_of_0_follows_the_weights() -> None:
    model = Two()
    average = WeightAverage(model, 0.0)
    with torch.no_grad():
        model.weight.fill_(5.0)
    model.count += 3
    average.update(model, 100)
    assert average.tensors["count"] == 3
    assert torch.equal(average.tensors["weight"], model.weight)


def test_an_average_goes_on_from_another() -> None:
    first, second = WeightAverage(Two(), 0.9), WeightAverage(Two(), 0.9)
    first.tensors["weight"].fill_(2.0)
    second.load(first.tensors)
    first.tensors["weight"].fill_(7.0)
    assert torch.equal(second.tensors["weight"], torch.full((2,), 2.0))
