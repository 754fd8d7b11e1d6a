"""The optimisers' settings and their learning rate over time.

Matrices of hidden layers are trained by Muon, everything else by AdamW. nerfstudio's own schedulers put numpy
numbers into the checkpoint, which torch then refuses to read back; these are plain floats.
"""

import math
from dataclasses import dataclass, field
from typing import Literal

import torch
from nerfstudio.engine.optimizers import OptimizerConfig
from nerfstudio.engine.schedulers import Scheduler, SchedulerConfig
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from vnp_core.muon import StackedMuon


@dataclass
class AdamWConfig(OptimizerConfig):
    """AdamW, with gradients clipped to a norm."""

    _target: type = torch.optim.AdamW
    lr: float = 1e-3
    """Peak learning rate."""
    betas: tuple[float, float] = (0.9, 0.98)
    """Decay of the running mean and of the running square of the gradient."""
    weight_decay: float = 0.01
    """Decoupled weight decay."""
    max_norm: float | None = 1.0
    """Largest norm of the gradient; larger ones are scaled down to it."""


@dataclass
class MuonConfig(OptimizerConfig):
    """Muon (Jordan et al. 2024): a matrix moves along the nearest semi-orthogonal matrix to its momentum."""

    _target: type = StackedMuon
    lr: float = 6e-3
    """Peak learning rate, on AdamW's scale: that of a matrix is multiplied by 0.2 sqrt(its longer side)."""
    momentum: float = 0.95
    """Decay of the running mean of the gradient."""
    weight_decay: float = 0.01
    """Decoupled weight decay."""
    adjust_lr_fn: Literal["match_rms_adamw"] = "match_rms_adamw"
    """How the step's size depends on the matrix's shape."""
    max_norm: float | None = 1.0
    """Largest norm of the gradients together. The size of one does not matter here, but the momentum would
    remember one that is far larger than the others for hundreds of steps.
    """


@dataclass
class WarmupCosineConfig(SchedulerConfig):
    """A linear rise, then half a cosine down to a floor."""

    _target: type = field(default_factory=lambda: WarmupCosine)
    warmup_steps: int = 200
    """Steps of the linear rise."""
    max_steps: int | None = None
    """The step at which the floor is reached; the last step of the run if not given."""
    floor: float = 0.02
    """Share of the peak that is left at the end."""


class WarmupCosine(Scheduler):
    """Makes torch's scheduler from a `WarmupCosineConfig`, which it goes on reading."""

    config: WarmupCosineConfig

    def get_scheduler(self, optimizer: Optimizer, lr_init: float) -> LRScheduler:
        """The factor on the learning rate of each step, as a torch scheduler."""
        return LambdaLR(optimizer, lr_lambda=lambda step: learning_rate_factor(step, self.config))


def learning_rate_factor(step: int, config: WarmupCosineConfig) -> float:
    """Share of the peak learning rate at a step, above 0 and at most 1."""
    rise = min(1.0, (step + 1) / max(1, config.warmup_steps))
    if config.max_steps is None or config.max_steps <= config.warmup_steps:
        return rise
    progress = (step - config.warmup_steps) / (config.max_steps - config.warmup_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, progress))))
    return float(rise * (config.floor + (1 - config.floor) * cosine))
