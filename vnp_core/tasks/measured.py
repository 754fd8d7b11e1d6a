"""Measured functions as tasks: which of their points are context is drawn anew at every step."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Int
from torch import Generator, Tensor

from vnp_core.errors import DataError
from vnp_core.observations import PointSet
from vnp_core.tasks.scaling import Scaling
from vnp_core.tasks.task import TaskBatch, step_generator


@dataclass(frozen=True)
class MeasuredTasks:
    """A task source over F functions of which some points were measured, padded to the longest.

    A batch holds functions drawn with replacement. Of each, n_c points are the context, with n_c uniform on
    `contexts` but at most all points except one, and all others are targets.
    """

    name: str
    functions: PointSet
    """[F, N, ...] with a mask; each function has 2 points or more."""
    labels: tuple[str, ...]
    """What each function is called."""
    scaling: Scaling
    """From the table's units, where the points came from, to theirs."""
    seed: int = 0
    batch_size: int = 16
    contexts: tuple[int, int] = (3, 46)
    """Inclusive range of the number of contexts."""

    def __post_init__(self) -> None:
        self.functions.validate()
        counts = self.functions.mask.sum(-1)
        if len(self.labels) != len(counts):
            raise DataError(f"{len(counts)} functions need as many labels; given were {len(self.labels)}.")
        for label, count in zip(self.labels, counts, strict=True):
            if count < 2:
                raise DataError(
                    f"Task '{label}' of {self.name} has {int(count)} point: one for the context and one to"
                    " predict are the least. Drop the task, or give it more rows."
                )
        if not 0 <= self.contexts[0] <= self.contexts[1]:
            raise DataError(f"contexts is a range of counts from 0 on; given was {self.contexts}.")

    @property
    def x_dim(self) -> int:
        """Coordinates of a point."""
        return self.functions.x.shape[-1]

    @property
    def y_dim(self) -> int:
        """Channels of a value."""
        return self.functions.y.shape[-1]

    def batch(self, step: int) -> TaskBatch:
        """The tasks of one step."""
        generator = step_generator(self.seed, step)
        chosen = torch.randint(len(self.labels), (self.batch_size,), generator=generator)
        low, high = self.contexts
        contexts = torch.randint(low, high + 1, (self.batch_size,), generator=generator)
        points = self.functions
        return split_points(
            PointSet(points.x[chosen], points.y[chosen], points.mask[chosen]), contexts, generator
        )

    def divided(self, share: float, seed: int) -> tuple["MeasuredTasks", "MeasuredTasks"]:
        """Two sources without a function in common; the second has `share` of them, and at least one.

        Raises `DataError` where only one function is there.
        """
        count = len(self.labels)
        if count < 2:
            raise DataError(f"{self.name} has one task: none would be left to test on. Give two or more.")
        if not 0 < share < 1:
            raise DataError(f"The share of tasks to keep for testing is between 0 and 1; given was {share}.")
        order = [int(index) for index in torch.randperm(count, generator=step_generator(seed, 0))]
        kept = min(max(1, round(share * count)), count - 1)
        return self._of(sorted(order[kept:])), self._of(sorted(order[:kept]))

    def _of(self, indices: list[int]) -> "MeasuredTasks":
        points = self.functions
        part = PointSet(points.x[indices], points.y[indices], points.mask[indices])
        return replace(self, functions=part, labels=tuple(self.labels[index] for index in indices))


def split_points(points: PointSet, contexts: Int[Tensor, "B"], generator: Generator) -> TaskBatch:
    """Draws `contexts[b]` points of each function as its context; all others that are present are targets.

    Where a function has fewer points than that and one more, all but one are the context.
    """
    counts = points.mask.sum(-1)
    contexts = torch.minimum(contexts, counts - 1)
    keys = torch.rand(points.mask.shape, generator=generator).masked_fill(~points.mask, 2.0)
    order = keys.argsort(dim=-1)  # the present points first, in random order
    place = torch.arange(order.shape[1])
    most = int(contexts.max())
    context = _picked(points, order[:, :most], place[:most] < contexts[:, None])
    targets = int((counts - contexts).max())
    after = contexts[:, None] + place[:targets]
    asked = _picked(points, order.gather(1, after.clamp(max=len(place) - 1)), after < counts[:, None])
    return TaskBatch.of_points(context, asked)


def _picked(points: PointSet, order: Int[Tensor, "B N"], mask: Bool[Tensor, "B N"]) -> PointSet:
    x, y = (
        values.gather(1, order[..., None].expand(-1, -1, values.shape[-1])) for values in (points.x, points.y)
    )
    return PointSet(x, y, mask).cleared()
