"""How a process is trained on a batch of tasks: which bound, on which of the two scores.

One set of weights can serve both: (1 - w) times the bound on the joint score plus w times the score per
point, which is that of the very predictions that are made after training.
"""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from vnp_core.errors import ConfigError
from vnp_core.likelihoods import joint_score, point_score, target_counts
from vnp_core.model import LatentProcess, Process
from vnp_core.objectives import BetaSchedule, elbo, importance_weighted_bound
from vnp_core.tasks.task import TaskBatch

ObjectiveKind = Literal["elbo", "importance", "mixture"]


@dataclass(frozen=True)
class ObjectiveConfig:
    """What training maximises, in nats a target and averaged over tasks."""

    kind: ObjectiveKind = "elbo"
    """The bound on the joint score: under posterior draws the ELBO or the importance-weighted bound, under
    prior draws the mixture's likelihood. Models without latents take the mixture."""
    draws: int = 1
    """Draws K of the latents in training."""
    beta: BetaSchedule = field(default_factory=BetaSchedule)
    """Weight of the KL in the ELBO."""
    free_nats: float = 0.0
    """KL that each level has for free in the ELBO, so that it does not collapse."""
    point_weight: float = 0.0
    """Share of the score per point, from 0 (only joint) to 1 (only per point)."""

    def __post_init__(self) -> None:
        if self.kind not in get_args(ObjectiveKind):
            raise ConfigError(f"An objective is one of {get_args(ObjectiveKind)}; given was '{self.kind}'.")
        if self.draws < 1:
            raise ConfigError(f"Training takes 1 draw or more; given were {self.draws}.")
        if not 0 <= self.point_weight <= 1:
            raise ConfigError(f"point_weight lies in [0, 1]; given was {self.point_weight}.")


class LossTerms(NamedTuple):
    """What a training step needs: the number to minimise, the latents' KL to watch, numbers for the log."""

    loss: Float[Tensor, ""]
    kl: Float[Tensor, "B K L"] | None
    log: dict[str, Tensor]


def process_loss(
    model: Process, batch: TaskBatch, config: ObjectiveConfig, step: int, generator: Generator | None
) -> LossTerms:
    """Minus the objective, averaged over the batch, in nats a target; float64.

    `kl` is None where no posterior was drawn. The log has "joint" (the bound) and "point", each where it has
    a share, and "kl" (nats a task, summed over levels) with "beta" under the ELBO.
    """
    if config.kind == "mixture":
        return _mixture_loss(model, batch, config, generator)
    if not isinstance(model, LatentProcess):
        raise ConfigError(
            f"Objective '{config.kind}' needs latents with a posterior, which {type(model).__name__} has "
            "not. Use kind 'mixture'."
        )
    targets = batch.targets.cleared()
    prediction, drawn = model.posterior_predict(
        batch.context, batch.everything, targets, config.draws, generator
    )
    log_likelihood = prediction.joint_log_probs(targets.y, targets.mask)
    beta = config.beta(step)
    if config.kind == "elbo":
        bound = elbo(log_likelihood, drawn.kl, beta, config.free_nats)
    else:
        bound = importance_weighted_bound(log_likelihood, drawn.log_prior(), drawn.log_posterior())
    joint = bound / target_counts(targets.mask, bound.dtype)
    log = {"kl": drawn.kl.sum(-1).mean(), "beta": torch.tensor(beta)}
    point = None
    if config.point_weight > 0:
        # Under prior draws: posterior ones have seen the targets, and flatter.
        predicted = model.predict(batch.context, targets.x, config.draws, generator)
        point = point_score(predicted.log_probs(targets.y, targets.mask), targets.mask)
    return _terms(joint, point, config.point_weight, drawn.kl, log)


def _mixture_loss(
    model: Process, batch: TaskBatch, config: ObjectiveConfig, generator: Generator | None
) -> LossTerms:
    targets = batch.targets.cleared()
    prediction = model.predict(batch.context, targets.x, config.draws, generator)
    joint = point = None
    if config.point_weight < 1:
        joint = joint_score(prediction.joint_log_probs(targets.y, targets.mask), targets.mask)
    if config.point_weight > 0:
        point = point_score(prediction.log_probs(targets.y, targets.mask), targets.mask)
    return _terms(joint, point, config.point_weight, None, {})


def _terms(
    joint: Float[Tensor, "B"] | None,
    point: Float[Tensor, "B"] | None,
    point_weight: float,
    kl: Float[Tensor, "B K L"] | None,
    log: dict[str, Tensor],
) -> LossTerms:
    shares = {"joint": (joint, 1 - point_weight), "point": (point, point_weight)}
    means = {name: (score.mean(), share) for name, (score, share) in shares.items() if score is not None}
    objective = torch.stack([score * share for score, share in means.values()]).sum()
    log = {name: score for name, (score, _) in means.items()} | log
    return LossTerms(-objective, kl, {name: value.detach() for name, value in log.items()})
