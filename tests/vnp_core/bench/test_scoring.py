"""Scores of tasks against their plain definitions, and the order and joining of batches."""

import math
from typing import Any

import pytest
import torch

from vnp_core.bench.scoring import (
    LEVELS,
    SCORES,
    Portions,
    gap_rows,
    score_batch,
    score_rows,
    score_tasks,
    share_outside,
)
from vnp_core.bench.systems import System
from vnp_core.errors import DataError
from vnp_core.observations import PointSet
from vnp_core.tasks.gaussian_processes import GaussianProcessTasks
from vnp_core.tasks.task import TaskBatch


def test_scores_of_two_gaussians_are_their_definitions(guess: Any, tasks: GaussianProcessTasks) -> None:
    batch = tasks.batch(0)
    scores = score_batch(guess((-0.5, 1.0), 0.7), batch, 2, torch.Generator())
    for task in range(4):
        y = batch.targets.y[task, :, 0].double()
        each = torch.stack([torch.distributions.Normal(m, 0.7).log_prob(y) for m in (-0.5, 1.0)])
        point = (each.exp().mean(0)).log().mean()
        joint = each.sum(1).exp().mean().log() / len(y)
        torch.testing.assert_close(scores["ll_point"][task], point)
        torch.testing.assert_close(scores["ll_joint"][task], joint)
        seen = batch.context.y[task, :, 0].double()
        each = torch.stack([torch.distributions.Normal(m, 0.7).log_prob(seen) for m in (-0.5, 1.0)])
        torch.testing.assert_close(scores["ll_context"][task], each.exp().mean(0).log().mean())
    # Means -.5 and 1 are .75 from their middle.
    torch.testing.assert_close(
        scores["draw_share"], torch.full((4,), 0.75**2 / (0.75**2 + 0.49), dtype=torch.float64)
    )


def test_coverage_is_the_curve_at_its_level(guess: Any, tasks: GaussianProcessTasks) -> None:
    scores = score_batch(guess((0.0,), 0.4), tasks.batch(0), 1, torch.Generator())
    reach = 0.4 * 1.6448536269514722
    inside = (tasks.batch(0).targets.y[..., 0].abs() <= reach).double().mean(1)
    torch.testing.assert_close(scores["coverage90"], inside)
    assert scores["calibration"].shape == (4, len(LEVELS))
    assert bool((scores["calibration"].diff(dim=1) >= 0).all())
    assert bool(scores["draw_share"].isnan().all())


@pytest.mark.parametrize("portions", [Portions(), Portions(1, 1), Portions(24, 60)])
def test_joining_batches_changes_neither_scores_nor_their_order(
    tiny_cnp: System, tasks: GaussianProcessTasks, portions: Portions
) -> None:
    model: Any = tiny_cnp.build(0).eval()
    batches = [tasks.batch(step) for step in range(9)]
    joined = score_tasks(model, batches, 1, 0, portions=portions)
    for name in (*SCORES[:-1], "calibration"):
        alone = torch.cat([score_batch(model, batch, 1, torch.Generator())[name] for batch in batches])
        torch.testing.assert_close(joined[name], alone, atol=1e-5, rtol=1e-5)


def test_the_same_seed_gives_the_same_scores_and_another_gives_others(
    tiny_vnp: System, tasks: GaussianProcessTasks
) -> None:
    model: Any = tiny_vnp.build(0).eval()
    batches = [tasks.batch(step) for step in range(3)]
    first, again, other = (score_tasks(model, batches, 3, seed)["ll_joint"] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_without_the_context_all_other_scores_stay(tiny_cnp: System, tasks: GaussianProcessTasks) -> None:
    model: Any = tiny_cnp.build(0).eval()
    full, less = (score_tasks(model, [tasks.batch(0)], 1, 0, context=context) for context in (True, False))
    assert bool(less["ll_context"].isnan().all())
    torch.testing.assert_close(full["ll_joint"], less["ll_joint"])


def test_an_empty_context_is_scored_and_has_no_score_of_its_own(
    tiny_vnp: System, tasks: GaussianProcessTasks
) -> None:
    model: Any = tiny_vnp.build(0).eval()
    nothing = PointSet.present(torch.zeros(4, 0, 1), torch.zeros(4, 0, 1))
    batch = TaskBatch.of_points(nothing, tasks.batch(0).targets)
    scores = score_tasks(model, [batch], 3, 0)
    assert bool(scores["ll_context"].isnan().all())
    assert bool(scores["ll_joint"].isfinite().all())


def test_rows_are_means_with_standard_errors_and_leave_out_what_no_task_has() -> None:
    scores = {
        "ll_point": torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64),
        "ll_context": torch.full((3,), math.nan),
    }
    (row,) = score_rows(scores, "m", "t", "test", "c=1")
    assert (row.metric, row.n) == ("ll_point", 3)
    assert row.value == pytest.approx(7 / 3, abs=1e-6)
    assert row.stderr == pytest.approx(math.sqrt(7 / 3 / 3), abs=1e-6)


def test_gaps_are_taken_task_by_task() -> None:
    ceiling = {"ll_point": torch.tensor([5.0, 1.0, 9.0]), "ll_joint": torch.tensor([5.0, 1.0, 9.0])}
    scores = {"ll_point": torch.tensor([4.5, 0.5]), "crps": torch.zeros(2)}
    (row,) = gap_rows(scores, ceiling, "m", "t", "test")
    assert (row.metric, row.value, row.stderr, row.n) == ("gap_point", 0.5, 0.0, 2)


def test_targets_outside_of_the_range_are_counted_and_padding_is_not() -> None:
    x = torch.tensor([[[-2.5], [0.0], [9.0]], [[1.0], [2.0], [2.1]]])
    mask = torch.tensor([[True, True, False], [True, True, True]])
    targets = PointSet(x, torch.zeros_like(x), mask)
    batch = TaskBatch.of_points(PointSet.present(x, x), targets)
    assert share_outside([batch], (-2.0, 2.0)) == pytest.approx(2 / 5)


def test_no_batches_at_all_are_refused(tiny_cnp: System) -> None:
    model: Any = tiny_cnp.build(0)
    with pytest.raises(DataError, match="no batches"):
        score_tasks(model, [], 1, 0)


def test_bits_of_values_in_steps_are_those_of_their_probabilities(guess: Any) -> None:
    # A Gaussian far wider than the step: a step's probability is its density times the width.
    step, std = 1 / 255, 0.3
    y = torch.tensor([[[0.1], [-0.2], [0.0]]])
    points = PointSet.present(torch.zeros(1, 3, 1), y)
    batch = TaskBatch.of_points(points, points)
    scores = score_tasks(guess((0.0,), std), [batch], 1, 0, context=False, step=step)
    edges = torch.distributions.Normal(0.0, std).cdf(y.double() + step / 2)
    edges = edges - torch.distributions.Normal(0.0, std).cdf(y.double() - step / 2)
    expected = float(-edges.log2().mean())
    assert float(scores["bits_point"]) == pytest.approx(expected, abs=0.02)
    assert float(scores["bits_joint"]) == pytest.approx(expected, abs=0.02)
    assert "bits_point" not in score_tasks(guess((0.0,), std), [batch], 1, 0, context=False)


def test_spread_values_are_no_narrower_than_their_step(guess: Any) -> None:
    # A density as wide as a step has the probability of that step: 0 bits. A spike on it costs many.
    y = 0.1 * (torch.rand(1, 2000, 1, generator=torch.Generator().manual_seed(0)) - 0.5)
    points = PointSet.present(torch.zeros_like(y), y)
    batch = TaskBatch.of_points(points, points)
    uniform, spike = (
        float(score_tasks(guess((0.0,), std), [batch], 1, 0, context=False, step=0.1)["bits_point"])
        for std in (0.1 / math.sqrt(12), 1e-4)
    )
    assert 0 < uniform < 0.3  # the Gaussian of a uniform's variance
    assert spike > 1000
