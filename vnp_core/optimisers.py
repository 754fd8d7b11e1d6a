"""How weights move: AdamW, or Muon for the matrices between hidden layers; warm-up, then a cosine."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from vnp_core.errors import ConfigError
from vnp_core.muon import StackedMuon


@dataclass(frozen=True)
class OptimiserConfig:
    """Which optimiser, and its learning rate over time."""

    kind: Literal["adamw", "muon"] = "adamw"
    """Muon orthogonalises the updates of hidden matrices; AdamW moves all else."""
    lr: float = 5e-4
    """Learning rate after warm-up."""
    warmup: int = 1000
    """Steps over which the rate rises linearly, but at most a tenth of all."""
    final: float = 0.0
    """Where the cosine ends, as a fraction of `lr`."""
    weight_decay: float = 0.0
    """Decoupled weight decay."""
    betas: tuple[float, float] = (0.9, 0.98)
    """Decays of AdamW's moments."""

    def __post_init__(self) -> None:
        if not (self.lr > 0 and self.warmup >= 0 and self.weight_decay >= 0 and 0 <= self.final <= 1):
            raise ConfigError(
                "lr is positive, warmup and weight_decay are 0 or more, and final lies in [0, 1]; "
                f"given was {self}."
            )

    def rate(self, step: int, steps: int) -> float:
        """The learning rate of a step, counted from 0, of `steps`."""
        warmup = min(self.warmup, steps // 10)
        if step < warmup:
            return self.lr * (step + 1) / warmup
        done = (step - warmup) / max(1, steps - warmup)
        return self.lr * (self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))


_SMALLEST_SIDE = 8
"""A map to or from fewer numbers than this is an input or output: orthogonal steps are of no use to it."""


def hidden_matrices(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that Muon is meant for: weights of linear maps between hidden layers."""
    return [
        parameter
        for name, parameter in model.named_parameters()
        if name.endswith("weight") and parameter.ndim == 2 and min(parameter.shape) >= _SMALLEST_SIDE
    ]


def build_optimisers(model: nn.Module, config: OptimiserConfig) -> list[torch.optim.Optimizer]:
    """One optimiser, or two with Muon: first Muon's. Empty parameters are left out."""
    hidden = hidden_matrices(model) if config.kind == "muon" else []
    taken = {id(parameter) for parameter in hidden}
    rest = [p for p in model.parameters() if p.numel() and id(p) not in taken]
    decay = config.weight_decay
    optimisers: list[torch.optim.Optimizer] = []
    if hidden:
        # Scaled so that its steps are as long as AdamW's: one learning rate serves both.
        optimisers.append(StackedMuon(hidden, config.lr, weight_decay=decay))
    optimisers.append(torch.optim.AdamW(rest, config.lr, betas=config.betas, weight_decay=decay))
    return optimisers


def set_rate(optimisers: list[torch.optim.Optimizer], rate: float) -> None:
    """Gives all parameters this learning rate."""
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = rate
