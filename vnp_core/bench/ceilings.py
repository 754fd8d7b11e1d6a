"""The exact Gaussian process as one more line of a table: the best that any model can score."""

from collections.abc import Iterable

import torch

from vnp_core.bench.scoring import TaskScores
from vnp_core.tasks.exact_gp import Ceiling, integrated_ceiling, known_ceiling
from vnp_core.tasks.gaussian_processes import GaussianProcessBatch, GaussianProcessConfig

INTEGRATED = "gp-integrated"
"""Lengthscale and scale integrated out: no model that sees only the context scores higher on average."""
KNOWN = "gp-known"
"""The hyperparameters of each task known, which no model can know."""

NAMES = ("ll_point", "ll_joint", "ll_point_gaussian")
"""Scores of a ceiling; the last is `ll_point` of the best single Gaussian at each target."""


def ceiling_names(config: GaussianProcessConfig) -> tuple[str, ...]:
    """The ceilings that can be computed, the tightest first: of the periodic kernel only one."""
    return (KNOWN,) if config.kernel == "periodic" else (INTEGRATED, KNOWN)


def ceiling_scores(
    name: str, batches: Iterable[GaussianProcessBatch], config: GaussianProcessConfig
) -> TaskScores:
    """Every score of every task under the ceiling of this name."""
    scorer = integrated_ceiling if name == INTEGRATED else known_ceiling
    found = [_scores(scorer(batch, config)) for batch in batches]
    return {name: torch.cat([scores[name] for scores in found]) for name in NAMES}


def _scores(ceiling: Ceiling) -> TaskScores:
    parts = (ceiling.point, ceiling.joint, ceiling.point_gaussian)
    return {name: part.double().cpu() for name, part in zip(NAMES, parts, strict=True)}
