"""The plain multilayer perceptron that every other part is built from."""

from collections.abc import Callable
from itertools import pairwise

from torch import nn


class MLP(nn.Sequential):
    """Linear maps with an activation between them, none at the end: MLP(a, b, c) is Linear, act, Linear."""

    def __init__(self, *widths: int, activation: Callable[[], nn.Module] = nn.ReLU) -> None:
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [nn.Linear(inputs, outputs), activation()]
        super().__init__(*layers[:-1])
