"""How well a model predicts tasks: every score of every task, and the rows that results are made of.

`ll_point` and `ll_joint` are nats a target and never mixed; `ll_context` is `ll_point` at the context itself;
`bits_point` and `bits_joint`, of values that come in steps, are bits a channel of the steps' probabilities:
minus the score, in base 2, of values spread evenly over their step, plus the logarithm of its width. They
compare with any model of 8-bit pictures, and lower is better;
`coverage50` and `coverage90` are shares of targets inside the central intervals; `crps` has the units of y;
`draw_share` is the share of the predicted variance that lies between the draws' means: 0 where latents say
nothing.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vnp_core.errors import DataError
from vnp_core.likelihoods import GaussianMixture, joint_score, point_score
from vnp_core.metrics.calibration import calibration_curve, mean_over_present
from vnp_core.metrics.crps import crps
from vnp_core.model import Process
from vnp_core.observations import Grid, Observations, PointSet
from vnp_core.results import Row, mean_row
from vnp_core.tasks.task import TaskBatch, join_tasks, step_generator

SCORES = (
    "ll_point",
    "ll_joint",
    "ll_context",
    "coverage50",
    "coverage90",
    "crps",
    "draw_share",
)
"""What is measured of each task."""

BITS = ("bits_point", "bits_joint")
"""What is measured besides where values come in steps."""

LEVELS = tuple(round(0.05 * step, 2) for step in range(1, 20))
"""Probabilities of the intervals of a calibration curve."""

TaskScores = dict[str, Tensor]
"""Scores by name, each [tasks]; `calibration` is [tasks, LEVELS]. float64, NaN where a task has none."""


@dataclass(frozen=True)
class Portions:
    """Up to how much batches are joined to be predicted at once; a single one is never divided. The defaults
    suit a core's cache, a GPU can take far more.
    """

    functions: int = 512
    """Most tasks times draws."""
    queries: int = 30_000
    """Most tasks times draws times targets, padding included."""


def score_tasks(
    model: Process,
    batches: Sequence[TaskBatch],
    draws: int,
    seed: int,
    *,
    context: bool = True,
    step: float | None = None,
    portions: Portions | None = None,
) -> TaskScores:
    """Every score of every task, in the order of the batches, with `draws` draws of the latents.

    Batches of about one size are predicted together, padded. `seed` makes the draws. Without `context`,
    `ll_context` stays NaN, and less than half of the work is left. With the `step` between neighbouring
    values there are scores in bits.
    """
    order = sorted(range(len(batches)), key=lambda index: _size(batches[index]))
    scores: list[tuple[list[int], TaskScores]] = []
    with torch.inference_mode():
        for number, portion in enumerate(_portions(batches, order, draws, portions or Portions())):
            chosen = [batches[index] for index in portion]
            joined = chosen[0] if len(chosen) == 1 else join_tasks(chosen)
            generator = step_generator(seed, number)
            scores.append((portion, score_batch(model, joined, draws, generator, context=context, step=step)))
    return _in_order(batches, scores)


def score_batch(
    model: Process,
    batch: TaskBatch,
    draws: int,
    generator: torch.Generator,
    *,
    context: bool = True,
    step: float | None = None,
) -> TaskScores:
    """Every score of every task of one batch."""
    given, targets = _points(batch.context).cleared(), batch.targets.cleared()
    seen = given if isinstance(batch.context, PointSet) else batch.context
    asked = torch.cat([given.x, targets.x], dim=1) if context else targets.x
    prediction = model.predict(seen, asked, draws, generator)
    scores: TaskScores = {}
    if context:
        size = given.x.shape[1]
        at_context, prediction = _part(prediction, slice(size)), _part(prediction, slice(size, None))
        found = point_score(at_context.log_probs(given.y, given.mask), given.mask)
        scores["ll_context"] = found.masked_fill(~given.mask.any(-1), math.nan)
    else:
        scores["ll_context"] = torch.full((len(targets.mask),), math.nan, dtype=torch.float64)
    y, mask = targets.y, targets.mask
    scores["ll_point"] = point_score(prediction.log_probs(y, mask), mask)
    scores["ll_joint"] = joint_score(prediction.joint_log_probs(y, mask), mask)
    if step is not None:
        scores |= _bits(scores, y.shape[-1], step)
    scores["crps"] = crps(prediction, y, mask)
    scores["calibration"] = calibration_curve(prediction, y, LEVELS, mask)
    scores["draw_share"] = _draw_share(prediction, mask)
    scores["coverage50"] = scores["calibration"][:, LEVELS.index(0.5)]
    scores["coverage90"] = scores["calibration"][:, LEVELS.index(0.9)]
    return {name: value.double().cpu() for name, value in scores.items()}


def score_rows(
    scores: TaskScores,
    model: str,
    task: str,
    split: str,
    condition: str = "",
    names: Iterable[str] = (*SCORES, *BITS),
    *,
    batch_size: int = 1,
) -> list[Row]:
    """A row for each score: its mean over tasks with the standard error. What no task has is left out.

    The error counts batches of `batch_size` tasks in a row as independent, not their tasks.
    """
    rows: list[Row] = []
    for name in names:
        if name in scores and not bool(scores[name].isnan().all()):
            values = cast("list[float]", cast(Any, scores[name]).tolist())
            rows.append(mean_row(model, task, split, condition, name, values, cluster=batch_size))
    return rows


def gap_rows(
    scores: TaskScores,
    ceiling: TaskScores,
    model: str,
    task: str,
    split: str,
    condition: str = "",
    *,
    batch_size: int = 1,
) -> list[Row]:
    """How far below the ceiling a model is, task by task: far less noisy than the scores themselves.

    Where one of them has fewer tasks, those are the first of the other's.
    """
    gaps: TaskScores = {}
    for name in ("ll_point", "ll_joint"):
        if name in scores and name in ceiling:
            count = min(len(scores[name]), len(ceiling[name]))
            gaps[name.replace("ll_", "gap_")] = ceiling[name][:count] - scores[name][:count]
    return score_rows(gaps, model, task, split, condition, gaps, batch_size=batch_size)


def share_outside(batches: Iterable[TaskBatch], x_range: tuple[float, float]) -> float:
    """Share of targets outside the range of x that was trained on: they are answered, and that is said."""
    outside, count = 0, 0
    for batch in batches:
        x, mask = batch.targets.x, batch.targets.mask
        beyond = ((x < x_range[0]) | (x > x_range[1])).any(-1) & mask
        outside, count = outside + int(beyond.sum()), count + int(mask.sum())
    return outside / max(1, count)


def _portions(
    batches: Sequence[TaskBatch], order: Sequence[int], draws: int, most: Portions
) -> Iterable[list[int]]:
    """Neighbours of the order, as many as fit. Grids, which cannot be joined, stay by themselves."""
    portion: list[int] = []
    tasks = points = 0
    for index in order:
        more = len(batches[index].targets.mask)
        wide = sum(_size(batches[index]))
        longest = max(points, wide)
        functions = (tasks + more) * draws
        full = functions > most.functions or functions * longest > most.queries
        if portion and (full or isinstance(batches[index].context, Grid)):
            yield portion
            portion, tasks, longest = [], 0, wide
        portion.append(index)
        tasks, points = tasks + more, longest
    if portion:
        yield portion


def _in_order(batches: Sequence[TaskBatch], scored: Sequence[tuple[list[int], TaskScores]]) -> TaskScores:
    pieces: dict[int, TaskScores] = {}
    for portion, scores in scored:
        start = 0
        for index in portion:
            stop = start + len(batches[index].targets.mask)
            pieces[index] = {name: values[start:stop] for name, values in scores.items()}
            start = stop
    if not pieces:
        raise DataError("There are no batches of tasks to score. Give at least one.")
    return {name: torch.cat([pieces[index][name] for index in sorted(pieces)]) for name in pieces[0]}


def _part(prediction: GaussianMixture, points: slice) -> GaussianMixture:
    """The same prediction at some of its targets: all that it holds is target by target."""
    parts = {name: value[:, :, points] for name, value in vars(prediction).items()}
    return type(prediction)(**parts)


def _bits(scores: TaskScores, channels: int, step: float) -> TaskScores:
    """Both scores in bits a channel, of values that are spread evenly over their steps."""
    return {
        f"bits_{kind}": -(scores[f"ll_{kind}"] / channels + math.log(step)) / math.log(2)
        for kind in ("point", "joint")
    }


def _draw_share(prediction: GaussianMixture, mask: Bool[Tensor, "B M"]) -> Float[Tensor, "B"]:
    if prediction.means.shape[1] == 1:
        return torch.full((len(mask),), math.nan, dtype=torch.float64)
    between = prediction.means.double().var(1, correction=0)
    within = prediction.stds.double().square().mean(1)
    return mean_over_present((between / (between + within)).mean(-1), mask)


def _size(batch: TaskBatch) -> tuple[int, int]:
    return batch.targets.mask.shape[1], _points(batch.context).mask.shape[1]


def _points(observations: Observations) -> PointSet:
    return observations if isinstance(observations, PointSet) else observations.points()
