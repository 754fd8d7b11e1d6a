"""Batches of tasks: their union, their joining, and the seeds of their steps."""

from dataclasses import dataclass

import pytest
import torch

from vnp_core.errors import ConfigError, DataError
from vnp_core.observations import Grid, PointSet
from vnp_core.tasks.task import TaskBatch, join_tasks, step_generator


def some_points(batch: int, count: int, seed: int) -> PointSet:
    generator = torch.Generator().manual_seed(seed)
    return PointSet.present(
        torch.randn(batch, count, 1, generator=generator), torch.randn(batch, count, 2, generator=generator)
    )


def test_everything_is_context_and_targets_together():
    context, targets = some_points(2, 3, 0), some_points(2, 4, 1)
    batch = TaskBatch.of_points(context, targets)
    assert torch.equal(batch.everything.x, torch.cat([context.x, targets.x], 1))
    assert torch.equal(batch.everything.y, torch.cat([context.y, targets.y], 1))
    assert batch.everything.mask.all()


def test_joined_tasks_are_each_what_they_were_alone():
    batches = [
        TaskBatch.of_points(some_points(2, n, n), some_points(2, m, 10 + m))
        for n, m in ((3, 5), (0, 2), (7, 1))
    ]
    joined = join_tasks(batches)
    assert joined.context.mask.shape == (6, 7)
    assert joined.targets.mask.shape == (6, 5)
    assert joined.everything.mask.shape == (6, 8)
    for kind in ("context", "targets", "everything"):
        together = getattr(joined, kind)
        for index, batch in enumerate(batches):
            alone = getattr(batch, kind)
            for row in range(2):
                task = 2 * index + row
                kept = together.mask[task]
                assert torch.equal(together.x[task][kept], alone.x[row])
                assert torch.equal(together.y[task][kept], alone.y[row])
                assert (together.y[task][~kept] == 0).all()


def test_nothing_and_grids_cannot_be_joined():
    with pytest.raises(DataError, match="no batches"):
        join_tasks([])
    grid = Grid(torch.zeros(1, 1, 2, 2), torch.ones(1, 2, 2, dtype=torch.bool))
    with pytest.raises(DataError, match="grids"):
        join_tasks([TaskBatch(grid, some_points(1, 2, 0), grid)])


def test_moving_keeps_the_kind_of_batch_and_every_number():
    @dataclass(frozen=True)
    class NamedBatch(TaskBatch):
        label: str

    grid = Grid(torch.rand(1, 1, 2, 2), torch.ones(1, 2, 2, dtype=torch.bool))
    moved = NamedBatch(grid, some_points(1, 2, 0), grid, "a").to("meta")
    assert isinstance(moved, NamedBatch)
    assert moved.label == "a"
    assert moved.context.values.device.type == moved.targets.x.device.type == "meta"


def test_a_step_has_its_own_numbers_and_always_the_same():
    def draw(*key: int) -> tuple[float, ...]:
        return tuple(torch.rand(4, generator=step_generator(*key)).tolist())

    keys = [(0, 0), (0, 1), (1, 0), (0, 0, 1), (2**31 - 1, 2**40), (0, 2**32)]
    assert len({draw(*key) for key in keys}) == len(keys)
    assert all(draw(*key) == draw(*key) for key in keys)
    for bad in (-1, 2**64):
        with pytest.raises(ConfigError, match="lie in"):
            step_generator(0, bad)
