"""A task: some observations of a function, and the points at which the rest is asked for."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from vnp_core.errors import ConfigError, DataError
from vnp_core.observations import Grid, Observations, PointSet

SomeBatch = TypeVar("SomeBatch", bound="TaskBatch")


@dataclass(frozen=True)
class TaskBatch:
    """B tasks: what is observed, what is asked for (with the answers), and both as one set of observations.

    A model predicts `targets.y` at `targets.x` from `context`. `everything` is what its posterior sees in
    training: a point set where the context is one, a grid with more pixels observed where it is a grid.
    """

    context: Observations
    targets: PointSet
    everything: Observations

    @classmethod
    def of_points(cls, context: PointSet, targets: PointSet) -> "TaskBatch":
        """Tasks on points, with context and targets together as `everything`."""
        return TaskBatch(context, targets, context.cat(targets))

    def to(self: SomeBatch, device: torch.device | str) -> SomeBatch:
        """The same tasks on another device."""
        return replace(
            self,
            context=_moved(self.context, device),
            targets=_moved_points(self.targets, device),
            everything=_moved(self.everything, device),
        )


class TaskSource(Protocol):
    """An endless supply of tasks, of which any one can be asked for."""

    @property
    def name(self) -> str:
        """What results call these tasks."""
        ...

    @property
    def x_dim(self) -> int:
        """Coordinates of a point."""
        ...

    @property
    def y_dim(self) -> int:
        """Channels of a value."""
        ...

    def batch(self, step: int) -> TaskBatch:
        """The tasks of one step (0, 1, ...): a function of the source's own seed and `step` alone."""
        ...


@runtime_checkable
class GridTaskSource(TaskSource, Protocol):
    """A source whose contexts can come as partly observed grids too."""

    def gridded(self) -> TaskSource:
        """The same tasks with grids as their contexts."""
        ...


def as_grids(source: TaskSource) -> TaskSource:
    """The same tasks with grids as their contexts. Raises `ConfigError` where they come from no grid."""
    if not isinstance(source, GridTaskSource):
        raise ConfigError(
            f"Tasks of {source.name} lie on no grid, which patches need. Use a model of points."
        )
    return source.gridded()


def step_generator(seed: int, step: int, stream: int = 0) -> torch.Generator:
    """A CPU generator for one step of one seed; other steps, seeds and streams give unrelated numbers.

    All three lie in [0, 2^64). NumPy's SeedSequence keeps neighbours apart, which PyTorch's seeding does not
    promise. PyTorch keeps 32 bits of a CPU seed: among n steps about n^2 / 2^33 pairs are equal.
    """
    if not (min(seed, step, stream) >= 0 and max(seed, step, stream) < 2**64):
        raise ConfigError(f"Seed, step and stream lie in [0, 2^64); given were {seed}, {step} and {stream}.")
    # Two words each: SeedSequence would cut larger numbers into words itself, and confuse their borders.
    words = [word for value in (seed, step, stream) for word in divmod(value, 2**32)]
    state = np.random.SeedSequence(words).generate_state(1)
    return torch.Generator().manual_seed(int(state[0]))


def join_tasks(batches: Sequence[TaskBatch]) -> TaskBatch:
    """Several batches as one, padded to the longest under masks. Points only; grids raise `DataError`."""
    if not batches:
        raise DataError("There are no batches of tasks to join. Give at least one.")
    contexts = [_points_of(batch.context) for batch in batches]
    everything = [_points_of(batch.everything) for batch in batches]
    targets = [batch.targets for batch in batches]
    return TaskBatch(join_points(contexts), join_points(targets), join_points(everything))


def join_points(sets: Sequence[PointSet]) -> PointSet:
    """Point sets below each other along the batch axis, zeros and a false mask where one is shorter."""
    longest = max(points.mask.shape[1] for points in sets)
    return PointSet(
        torch.cat([_padded(points.x, longest) for points in sets]),
        torch.cat([_padded(points.y, longest) for points in sets]),
        torch.cat([F.pad(points.mask, (0, longest - points.mask.shape[1])) for points in sets]),
    )


def _padded(values: Float[Tensor, "B N C"], count: int) -> Float[Tensor, "B count C"]:
    return F.pad(values, (0, 0, 0, count - values.shape[1]))


def _points_of(observations: Observations) -> PointSet:
    if isinstance(observations, Grid):
        raise DataError("Only tasks on points can be joined; these hold grids. Join their points() instead.")
    return observations


def _moved(observations: Observations, device: torch.device | str) -> Observations:
    if isinstance(observations, Grid):
        return Grid(observations.values.to(device), observations.mask.to(device))
    return _moved_points(observations, device)


def _moved_points(points: PointSet, device: torch.device | str) -> PointSet:
    return PointSet(points.x.to(device), points.y.to(device), points.mask.to(device))
