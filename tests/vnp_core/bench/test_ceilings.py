"""The exact process as a line of the table."""

import torch

from vnp_core.bench.ceilings import INTEGRATED, KNOWN, NAMES, ceiling_names, ceiling_scores
from vnp_core.tasks.exact_gp import known_ceiling
from vnp_core.tasks.gaussian_processes import GaussianProcessConfig, GaussianProcessTasks


def test_the_periodic_kernel_has_the_known_ceiling_only() -> None:
    assert ceiling_names(GaussianProcessConfig(kernel="rbf")) == (INTEGRATED, KNOWN)
    assert ceiling_names(GaussianProcessConfig(kernel="periodic")) == (KNOWN,)


def test_scores_are_those_of_the_exact_process_in_order(tasks: GaussianProcessTasks) -> None:
    batches = [tasks.batch(step) for step in range(2)]
    scores = ceiling_scores(KNOWN, batches, tasks.config)
    expected = [known_ceiling(batch, tasks.config) for batch in batches]
    assert tuple(scores) == NAMES
    torch.testing.assert_close(scores["ll_joint"], torch.cat([part.joint for part in expected]))
    torch.testing.assert_close(scores["ll_point"], torch.cat([part.point for part in expected]))


def test_to_know_more_scores_more(tasks: GaussianProcessTasks) -> None:
    batches = [tasks.batch(step) for step in range(40)]
    known, integrated = (ceiling_scores(name, batches, tasks.config) for name in (KNOWN, INTEGRATED))
    gain = known["ll_joint"] - integrated["ll_joint"]
    assert float(gain.mean()) > 2 * float(gain.std()) / len(gain) ** 0.5
