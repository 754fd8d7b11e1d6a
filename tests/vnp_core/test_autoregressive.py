"""One target after another, on the exact Gaussian process: the chain rule says what must come out."""

from dataclasses import dataclass

import pytest
import torch
from torch.distributions import MultivariateNormal

from vnp_core.autoregressive import autoregressive_samples, autoregressive_score
from vnp_core.likelihoods import GaussianMixture
from vnp_core.observations import PointSet


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def covariance(x: torch.Tensor) -> torch.Tensor:
    return torch.exp(-0.5 * (x - x.mT) ** 2) + 0.01 * torch.eye(x.shape[-2], dtype=torch.float64)


@dataclass
class ExactProcess:
    """A Gaussian process as a process of ours, scene by scene, with independent answers per point."""

    calls: int = 0

    def predict(self, context, x, draws, generator):
        self.calls += 1
        means, stds = torch.zeros_like(x), torch.zeros_like(x)
        for scene in range(len(x)):
            present = context.mask[scene]
            known, values = context.x[scene, present], context.y[scene, present]
            for target in range(x.shape[1]):
                both = covariance(torch.cat([known, x[scene, target : target + 1]]))
                weights = torch.linalg.solve(both[:-1, :-1], both[:-1, -1:])
                means[scene, target] = (weights * values).sum()
                stds[scene, target] = (both[-1, -1] - (weights * both[:-1, -1:]).sum()).sqrt()
        return GaussianMixture(*(part[:, None].expand(-1, draws, -1, -1) for part in (means, stds)))


def points(batch: int, count: int, seed: int) -> PointSet:
    x, y = (torch.randn(batch, count, 1, generator=seeded(seed + i), dtype=torch.float64) for i in (0, 1))
    return PointSet.present(x, y)


def conditional(context: PointSet, x: torch.Tensor, scene: int) -> MultivariateNormal:
    """The exact joint distribution of the targets."""
    both, known = covariance(torch.cat([context.x[scene], x[scene]])), context.x.shape[1]
    weights = torch.linalg.solve(both[:known, :known], both[:known, known:])
    mean = (weights.T @ context.y[scene])[:, 0]
    return MultivariateNormal(mean, both[known:, known:] - weights.T @ both[:known, known:])


@pytest.mark.parametrize("contexts", [0, 3])
def test_the_score_is_the_exact_joint_density_in_any_order(contexts):
    context, targets = points(2, contexts, seed=0), points(2, 5, seed=2)
    for seed in (0, 1):
        score = autoregressive_score(ExactProcess(), context, targets, 3, seeded(seed))
        assert score.dtype == torch.float64
        for scene in range(2):
            exact = conditional(context, targets.x, scene).log_prob(targets.y[scene, :, 0]) / 5
            torch.testing.assert_close(score[scene], exact)


class Nearest:
    """Predicts the last value of the context: what it says depends on the order."""

    def predict(self, context, x, draws, generator):
        last = context.y[:, -1:, :].expand(-1, x.shape[1], -1)[:, None]
        return GaussianMixture(last, torch.ones_like(last))


def test_the_order_is_random_by_the_generator_alone():
    context, targets = points(3, 2, seed=0), points(3, 6, seed=2)
    one, two, other = (
        autoregressive_score(Nearest(), context, targets, 1, seeded(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(one, two)
    assert not torch.isclose(one, other).any()


def test_padded_targets_change_nothing():
    context, targets = points(2, 2, seed=0), points(2, 4, seed=2)
    nothing = torch.full((2, 3, 1), torch.nan, dtype=torch.float64)
    padded = targets.cat(PointSet(nothing, nothing, torch.zeros(2, 3, dtype=torch.bool)))
    for model in (ExactProcess(), Nearest()):
        torch.testing.assert_close(
            autoregressive_score(model, context, padded, 1, seeded()),
            autoregressive_score(model, context, targets, 1, seeded()),
        )


def test_no_targets_score_0_and_have_no_samples():
    context, none = points(2, 2, seed=0), points(2, 0, seed=2)
    assert autoregressive_score(ExactProcess(), context, none, 1, seeded()).tolist() == [0.0, 0.0]
    assert autoregressive_samples(ExactProcess(), context, none.x, 4, seeded()).shape == (2, 4, 0, 1)


def test_samples_have_the_exact_joint_mean_and_covariance():
    context, x, count = points(1, 2, seed=0), points(1, 3, seed=2).x, 4000
    samples = autoregressive_samples(FixedContext(context), context, x, count, seeded())
    assert samples.shape == (1, count, 3, 1)
    exact = conditional(context, x, 0)
    variances = exact.covariance_matrix.diagonal()
    given = samples[0, :, :, 0]
    assert ((given.mean(0) - exact.mean).abs() < 5 * (variances / count).sqrt()).all()
    error = (variances[:, None] * variances / count).sqrt()
    assert ((given.T.cov() - exact.covariance_matrix).abs() < 8 * error).all()


@dataclass
class FixedContext:
    """The exact process for many rows at once."""

    context: PointSet

    def predict(self, context, x, draws, generator):
        known = context.x.shape[1]
        both = torch.exp(-0.5 * (torch.cat([context.x, x], 1) - torch.cat([context.x, x], 1).mT) ** 2)
        both = both + 0.01 * torch.eye(known + 1, dtype=torch.float64)
        weights = torch.linalg.solve(both[:, :-1, :-1], both[:, :-1, -1:])
        means = (weights * context.y).sum(1, keepdim=True)
        stds = (both[:, -1:, -1:] - (weights * both[:, :-1, -1:]).sum(1, keepdim=True)).sqrt()
        return GaussianMixture(means[:, None], stds[:, None])
