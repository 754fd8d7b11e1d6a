"""Training objectives on models whose likelihoods are known, and that training by them works."""

from dataclasses import dataclass, field

import pytest
import torch

from vnp_core.errors import ConfigError
from vnp_core.latents import DiagonalGaussian, PosteriorDraw
from vnp_core.likelihoods import GaussianMixture, joint_score, point_score
from vnp_core.objectives import BetaSchedule, elbo, importance_weighted_bound
from vnp_core.observations import PointSet
from vnp_core.process_objectives import ObjectiveConfig, process_loss
from vnp_core.tasks.task import TaskBatch

MIXTURE = ObjectiveConfig("mixture", draws=3)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def tasks() -> TaskBatch:
    """Two tasks of 4 targets, of which the second lacks one."""
    mask = torch.tensor([[True] * 4, [True] * 3 + [False]])
    targets = PointSet(noise(2, 4, 1, seed=1), noise(2, 4, 1, seed=2), mask)
    return TaskBatch.of_points(PointSet.present(noise(2, 5, 1, seed=3), noise(2, 5, 1, seed=4)), targets)


@dataclass
class Deterministic:
    """Answers with fixed means, and remembers how many draws were wanted."""

    wanted: list[int] = field(default_factory=list)

    def predict(self, context, x, draws, generator):
        self.wanted.append(draws)
        return GaussianMixture(noise(2, draws, x.shape[1], 1, seed=5), torch.full((2, draws, 4, 1), 0.7))


class WithLatents(Deterministic):
    """The same under prior draws; other means, and a known KL, under posterior ones."""

    def posterior_predict(self, context, everything, targets, draws, generator):
        prediction = GaussianMixture(noise(2, draws, 4, 1, seed=6), torch.full((2, draws, 4, 1), 0.5))
        levels, priors = (
            [DiagonalGaussian(noise(2, draws, 3, seed=seed), torch.ones(2, draws, 3).double())]
            for seed in (7, 8)
        )
        return prediction, PosteriorDraw(noise(2, draws, 1, 3, seed=9), levels, priors)


def scores(prediction: GaussianMixture) -> tuple[float, float]:
    """(joint, per point) of these tasks."""
    targets = tasks().targets
    joint = joint_score(prediction.joint_log_probs(targets.y, targets.mask), targets.mask).mean()
    point = point_score(prediction.log_probs(targets.y, targets.mask), targets.mask).mean()
    return joint.item(), point.item()


@pytest.mark.parametrize("weight", [0.0, 0.25, 1.0])
def test_the_mixture_objective_is_the_weighted_mean_of_both_scores(weight):
    terms = process_loss(
        Deterministic(), tasks(), ObjectiveConfig("mixture", 3, point_weight=weight), 0, None
    )
    joint, point = scores(Deterministic().predict(None, tasks().targets.x, 3, None))
    assert terms.loss.item() == pytest.approx(-(1 - weight) * joint - weight * point)
    assert terms.kl is None
    assert set(terms.log) == {name for name, share in (("joint", 1 - weight), ("point", weight)) if share}


@pytest.mark.parametrize("kind", ["elbo", "importance"])
@pytest.mark.parametrize("weight", [0.0, 0.25])
def test_bounds_come_from_posterior_draws_and_the_score_per_point_from_prior_ones(kind, weight):
    model, batch = WithLatents(), tasks()
    config = ObjectiveConfig(kind, 3, BetaSchedule(0.2, 10), point_weight=weight)
    terms = process_loss(model, batch, config, 5, None)
    prediction, drawn = model.posterior_predict(None, None, batch.targets, 3, None)
    log_likelihood = prediction.joint_log_probs(batch.targets.y, batch.targets.mask)
    if kind == "elbo":
        bound = elbo(log_likelihood, drawn.kl, beta=0.1)
    else:
        bound = importance_weighted_bound(log_likelihood, drawn.log_prior(), drawn.log_posterior())
    joint = (bound / torch.tensor([4.0, 3.0])).mean().item()
    _, point = scores(model.predict(None, batch.targets.x, 3, None))
    assert terms.loss.item() == pytest.approx(-(1 - weight) * joint - weight * point)
    assert terms.log["joint"].item() == pytest.approx(joint)
    assert terms.kl is not None
    torch.testing.assert_close(terms.kl, drawn.kl)


def test_without_a_share_per_point_nothing_is_predicted_from_the_prior():
    model = WithLatents()
    process_loss(model, tasks(), ObjectiveConfig("elbo", 3), 0, None)
    assert model.wanted == []


def test_free_nats_floor_each_levels_kl():
    free, plain = (
        process_loss(WithLatents(), tasks(), ObjectiveConfig("elbo", 1, free_nats=nats), 0, None).loss
        for nats in (1e3, 0.0)
    )
    assert free > plain + 100


def test_nan_in_padded_targets_changes_nothing():
    batch = tasks()
    spoilt = PointSet(batch.targets.x, batch.targets.y.clone(), batch.targets.mask)
    spoilt.y[1, 3] = torch.nan
    for config in (MIXTURE, ObjectiveConfig("elbo", 2, point_weight=0.5)):
        losses = [
            process_loss(WithLatents(), TaskBatch.of_points(batch.context, targets), config, 0, None).loss
            for targets in (batch.targets, spoilt)
        ]
        assert losses[0].item() == losses[1].item()


def test_a_model_without_latents_needs_the_mixture():
    with pytest.raises(ConfigError, match="Deterministic has not. Use kind 'mixture'"):
        process_loss(Deterministic(), tasks(), ObjectiveConfig("elbo"), 0, None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "vae"}, "given was 'vae'"),
        ({"draws": 0}, "given were 0"),
        ({"point_weight": 1.5}, r"given was 1\.5"),
    ],
)
def test_impossible_objectives_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        ObjectiveConfig(**change)
