"""Measured functions: every point is used once, as context or as target, and the split is fair."""

import math
from dataclasses import replace

import pytest
import torch

from vnp_core.errors import DataError
from vnp_core.observations import PointSet
from vnp_core.tasks.measured import MeasuredTasks, split_points
from vnp_core.tasks.scaling import Scaling

UNSCALED = Scaling((0.0,), (1.0,), (0.0,), (1.0,))


def numbered(counts: list[int]) -> PointSet:
    """Points whose x is 1, 2, ..., and whose y is 100 times that; NaN in the padding."""
    places = torch.arange(1, max(counts) + 1).expand(len(counts), -1)
    mask = places <= torch.tensor(counts)[:, None]
    x = places.float().masked_fill(~mask, math.nan)[..., None]
    return PointSet(x, 100 * x, mask)


def test_every_present_point_is_context_or_target_once():
    counts, wanted = [7, 3, 2, 5], torch.tensor([4, 9, 0, 1])
    batch = split_points(numbered(counts), wanted, torch.Generator().manual_seed(0))
    assert batch.context.mask.sum(-1).tolist() == [4, 2, 0, 1]  # a task of 3 has 2 to give
    assert batch.targets.mask.sum(-1).tolist() == [3, 1, 2, 4]
    for task, count in enumerate(counts):
        kept = batch.everything.mask[task]
        assert sorted(batch.everything.x[task][kept][:, 0].tolist()) == list(range(1, count + 1))
        assert torch.equal(batch.everything.y[task][kept], 100 * batch.everything.x[task][kept])
    batch.everything.validate()
    assert batch.everything.y.isfinite().all()


def test_each_point_is_equally_often_context():
    batch = split_points(numbered([6] * 4000), torch.full((4000,), 2), torch.Generator().manual_seed(1))
    share = torch.bincount(batch.context.x.long().flatten(), minlength=7)[1:] / 4000
    assert ((share - 1 / 3).abs() < 4 * math.sqrt(2 / 9 / 4000)).all()


def test_a_step_gives_the_same_tasks_in_any_order():
    tasks = MeasuredTasks("t", numbered([9, 4, 6]).cleared(), ("a", "b", "c"), UNSCALED, contexts=(1, 5))
    again = replace(tasks)
    late = tasks.batch(5)
    again.batch(1)
    assert torch.equal(late.everything.x, again.batch(5).everything.x)
    assert not torch.equal(late.targets.x, replace(tasks, seed=1).batch(5).targets.x)
    assert (tasks.x_dim, tasks.y_dim) == (1, 1)


def test_divided_tasks_have_no_function_in_common_and_lose_none():
    labels = tuple("abcdefghij")
    tasks = MeasuredTasks("t", numbered(list(range(2, 12))), labels, UNSCALED)
    train, test = tasks.divided(0.3, seed=0)
    assert len(test.labels) == 3
    assert sorted(train.labels + test.labels) == list(labels)
    for part in (train, test):
        for label, mask in zip(part.labels, part.functions.mask, strict=True):
            assert mask.sum() == 2 + labels.index(label)
    assert len(tasks.divided(0.999, seed=0)[0].labels) == 1
    assert len(tasks.divided(0.001, seed=0)[1].labels) == 1


def test_what_cannot_be_split_is_refused_by_name():
    with pytest.raises(DataError, match="Task 'b' of t has 1 point"):
        MeasuredTasks("t", numbered([3, 1]), ("a", "b"), UNSCALED)
    with pytest.raises(DataError, match="2 functions need as many labels"):
        MeasuredTasks("t", numbered([3, 3]), ("a",), UNSCALED)
    with pytest.raises(DataError, match="contexts is a range"):
        MeasuredTasks("t", numbered([3, 3]), ("a", "b"), UNSCALED, contexts=(4, 3))
    with pytest.raises(DataError, match="one task"):
        MeasuredTasks("t", numbered([3]), ("a",), UNSCALED).divided(0.5, seed=0)
    with pytest.raises(DataError, match="between 0 and 1"):
        MeasuredTasks("t", numbered([3, 3]), ("a", "b"), UNSCALED).divided(1.0, seed=0)
    bad = numbered([3, 3])
    bad.y[1, 2] = math.inf
    with pytest.raises(DataError, match="row 2 of task 1"):
        MeasuredTasks("t", bad, ("a", "b"), UNSCALED)
