"""What training maximises: the ELBO, the importance-weighted bound, or the mixture's likelihood.

`log_likelihood` [B, K] is log p(all targets of a scene | one draw), in nats and float64. Each objective comes
as one number a scene; training minimises minus their mean.
"""

import math
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from vnp_core.errors import ConfigError


def log_mean_exp(x: Float[Tensor, "*batch"], dim: int) -> Float[Tensor, "*rest"]:
    """Log of the mean of exp(x) along `dim`, without overflow."""
    return x.logsumexp(dim) - math.log(x.shape[dim])


def free_bits(kl: Float[Tensor, "*batch L"], bits: float = 0.0) -> Float[Tensor, ""]:
    """Sum over levels of max(`bits`, mean KL of that level), in nats.

    The mean is over everything but the levels, so that a batch shares its allowance. Below the floor a
    level's KL has no gradient, which is what keeps it from collapsing.
    """
    return kl.flatten(0, -2).mean(0).clamp(min=bits).sum()


def elbo(
    log_likelihood: Float[Tensor, "B K"], kl: Float[Tensor, "B K L"], beta: float = 1.0, bits: float = 0.0
) -> Float[Tensor, "B"]:
    """E_q[log p(y | z)] - beta KL(q || prior), from K draws of q (Guo et al. 2023, section 3.3).

    With `bits` > 0 the batch's shared penalty of `free_bits` is taken off every scene.
    """
    penalty = free_bits(kl, bits) if bits > 0 else kl.sum(-1).mean(1)
    return log_likelihood.mean(1) - beta * penalty.to(log_likelihood.dtype)


def importance_weighted_bound(
    log_likelihood: Float[Tensor, "B K"], log_prior: Float[Tensor, "B K"], log_posterior: Float[Tensor, "B K"]
) -> Float[Tensor, "B"]:
    """Log of mean_k p(y | z_k) p(z_k) / q(z_k) over K draws from q (Burda et al. 2016).

    At least the ELBO, at most the log-likelihood, and it does not fall with K, in expectation.
    """
    return log_mean_exp(
        log_likelihood + log_prior.to(log_likelihood.dtype) - log_posterior.to(log_likelihood.dtype), 1
    )


def mixture_log_likelihood(log_likelihood: Float[Tensor, "B K"]) -> Float[Tensor, "B"]:
    """Log of mean_k p(y | z_k) over draws from the prior: maximum likelihood of the predictive mixture."""
    return log_mean_exp(log_likelihood, 1)


@dataclass(frozen=True)
class BetaSchedule:
    """The weight of the KL: a linear ramp from 0 to `peak` over `ramp_steps`, then constant."""

    peak: float = 1.0
    ramp_steps: int = 0

    def __call__(self, step: int) -> float:
        """The weight at a step, counted from 0."""
        return self.peak * min(1.0, step / self.ramp_steps) if self.ramp_steps > 0 else self.peak


class CollapseMonitor:
    """Running mean of each level's KL, and the names of the levels that have stopped saying anything.

    A level counts as collapsed when its running mean is below `threshold` nats after `patience` updates.
    """

    def __init__(
        self, levels: int, threshold: float = 0.05, decay: float = 0.99, patience: int = 100
    ) -> None:
        if not 0 <= decay < 1:
            raise ConfigError(f"The monitor's decay lies in [0, 1); given was {decay}.")
        self.threshold, self.decay, self.patience = threshold, decay, patience
        self.updates = 0
        self._sums = [0.0] * levels

    def update(self, kl: Float[Tensor, "*batch L"]) -> None:
        """Takes in one step's KL, in nats."""
        means = [float(mean) for mean in kl.detach().flatten(0, -2).mean(0).cpu()]
        pairs = zip(self._sums, means, strict=True)
        self._sums = [self.decay * total + (1 - self.decay) * mean for total, mean in pairs]
        self.updates += 1

    @property
    def means(self) -> list[float]:
        """The running mean of each level, top first, corrected for having started at 0."""
        return [total / max(1 - self.decay**self.updates, 1e-12) for total in self._sums]

    @property
    def collapsed(self) -> list[int]:
        """The levels whose KL has died, top level 0; none before `patience` updates."""
        if self.updates < self.patience:
            return []
        return [level for level, mean in enumerate(self.means) if mean < self.threshold]

    def message(self) -> str | None:
        """One line for the log, or None where every level lives."""
        parts = [f"level {level} (KL {self.means[level]:.3g} nats)" for level in self.collapsed]
        if not parts:
            return None
        return (
            f"Collapsed latents: {', '.join(parts)}. Raise the free bits, or lower beta or lengthen its ramp."
        )
