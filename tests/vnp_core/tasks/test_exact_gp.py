"""The exact Gaussian process: textbook formulas, the chain rule, and the ceilings that all models face."""

import math
from dataclasses import replace

import pytest
import torch

from vnp_core.observations import PointSet
from vnp_core.tasks.exact_gp import exact_prediction, integrated_ceiling, known_ceiling
from vnp_core.tasks.gaussian_processes import (
    GaussianProcessBatch,
    GaussianProcessConfig,
    GaussianProcessTasks,
    Hyperparameters,
    noisy_covariance,
)
from vnp_core.tasks.task import join_points

KERNELS = ("rbf", "matern52", "periodic")


def tasks(kernel: str, contexts: int, targets: int, batch: int = 4, seed: int = 0):
    config = GaussianProcessConfig(kernel=kernel, batch_size=batch).sized(contexts, targets)
    return config, GaussianProcessTasks(config, seed).batch(0)


def log_normal(y: torch.Tensor, covariance: torch.Tensor) -> torch.Tensor:
    normal = torch.distributions.MultivariateNormal(torch.zeros_like(covariance[..., 0]), covariance)
    return normal.log_prob(y[..., 0].double())


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_prediction_is_the_textbooks(kernel):
    config, batch = tasks(kernel, 9, 6)
    found = exact_prediction(config, batch.context, batch.targets.x, batch.hyperparameters)
    everything = noisy_covariance(config, batch.everything.x, batch.hyperparameters)
    gain = everything[:, 9:, :9] @ torch.linalg.inv(everything[:, :9, :9])
    torch.testing.assert_close(found.mean, (gain @ batch.context.y.double())[..., 0], rtol=1e-7, atol=1e-9)
    covariance = everything[:, 9:, 9:] - gain @ everything[:, :9, 9:]
    torch.testing.assert_close(found.covariance, covariance, rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(found.std.square(), covariance.diagonal(dim1=1, dim2=2), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("kernel", KERNELS)
def test_joint_is_all_less_context_and_the_chain_of_single_points(kernel):
    config, batch = tasks(kernel, 5, 7)
    joint = known_ceiling(batch, config).joint * 7
    covariance = noisy_covariance(config, batch.everything.x, batch.hyperparameters)
    difference = log_normal(batch.everything.y, covariance) - log_normal(
        batch.context.y, covariance[:, :5, :5]
    )
    torch.testing.assert_close(joint, difference, rtol=1e-7, atol=1e-8)

    chain = torch.zeros(4, dtype=torch.float64)
    for seen in range(5, 12):
        x, y = batch.everything.x, batch.everything.y
        context = PointSet.present(x[:, :seen], y[:, :seen])
        one = exact_prediction(config, context, x[:, seen : seen + 1], batch.hyperparameters)
        chain += one.point_log_probs(y[:, seen : seen + 1])[:, 0]
    torch.testing.assert_close(joint, chain, rtol=1e-7, atol=1e-8)


def test_without_context_the_prediction_is_the_prior():
    config, batch = tasks("rbf", 0, 5)
    found = exact_prediction(config, batch.context, batch.targets.x, batch.hyperparameters)
    assert (found.mean == 0).all()
    torch.testing.assert_close(
        found.covariance, noisy_covariance(config, batch.targets.x, batch.hyperparameters)
    )
    for ceiling in (known_ceiling(batch, config), integrated_ceiling(batch, config)):
        assert ceiling.joint.isfinite().all()
        assert ceiling.point.isfinite().all()


@pytest.mark.parametrize("ceiling", [known_ceiling, integrated_ceiling])
def test_padding_changes_no_score(ceiling):
    config, short = tasks("matern52", 4, 3, batch=2)
    _, long = tasks("matern52", 8, 6, batch=2)
    numbers = {
        name: torch.cat([getattr(part.hyperparameters, name) for part in (short, long)])
        for name in ("lengthscale", "scale", "period")
    }
    context = join_points([short.context, long.context])
    targets = join_points([short.targets, long.targets])
    targets.y[:2, 3:] = math.nan
    together = GaussianProcessBatch(context, targets, context.cat(targets), Hyperparameters(**numbers))
    found = ceiling(together, config)
    for rows, part in ((slice(0, 2), short), (slice(2, 4), long)):
        alone = ceiling(part, config)
        for name in ("joint", "point", "point_gaussian"):
            torch.testing.assert_close(getattr(found, name)[rows], getattr(alone, name), rtol=1e-7, atol=1e-8)


def test_a_place_measured_twice_is_legal():
    config, batch = tasks("rbf", 5, 4)
    twice = batch.context.cat(batch.context)
    doubled = replace(batch, context=twice, everything=twice.cat(batch.targets))
    for ceiling in (known_ceiling, integrated_ceiling):
        assert ceiling(doubled, config).joint.isfinite().all()


def test_samples_have_the_predictions_mean_and_covariance():
    config, batch = tasks("rbf", 3, 4, batch=2)
    prediction = exact_prediction(config, batch.context, batch.targets.x, batch.hyperparameters)
    drawn = prediction.sample(20000, torch.Generator().manual_seed(0))
    assert drawn.shape == (2, 20000, 4)
    assert ((drawn.mean(1) - prediction.mean).abs() < 5 * prediction.std / math.sqrt(20000)).all()
    centred = drawn - prediction.mean[:, None]
    found = centred.mT @ centred / 20000
    both = prediction.std[:, :, None] * prediction.std[:, None, :]
    assert ((found - prediction.covariance).abs() < 5 * both * math.sqrt(2 / 20000)).all()


def test_several_guesses_at_once_are_each_what_they_are_alone():
    config, batch = tasks("periodic", 5, 4, batch=2)
    guesses = Hyperparameters(*(torch.tensor([[0.2, 0.3], [0.4, 0.5], [0.25, 0.45]]) for _ in range(3)))
    found = exact_prediction(config, batch.context, batch.targets.x, guesses)
    for index in range(3):
        one = Hyperparameters(guesses.lengthscale[index], guesses.scale[index], guesses.period[index])
        alone = exact_prediction(config, batch.context, batch.targets.x, one)
        torch.testing.assert_close(found.mean[index], alone.mean)
        torch.testing.assert_close(found.covariance[index], alone.covariance)


@pytest.mark.parametrize("kernel", ["rbf", "matern52"])
def test_with_a_range_of_one_value_integrating_is_knowing(kernel):
    config = replace(
        GaussianProcessConfig(kernel=kernel), lengthscale=(0.3, 0.3), scale=(0.7, 0.7), batch_size=8
    )
    batch = GaussianProcessTasks(config, 4).batch(0)
    known, integrated = known_ceiling(batch, config), integrated_ceiling(batch, config, nodes=4)
    for name in ("joint", "point", "point_gaussian", "mean", "std"):
        torch.testing.assert_close(getattr(integrated, name), getattr(known, name), rtol=1e-5, atol=1e-6)


def test_the_integrated_marginal_is_the_mean_over_drawn_hyperparameters():
    config, batch = tasks("rbf", 6, 1, batch=6)
    ceiling = integrated_ceiling(batch, config, nodes=48)
    # One target: joint and per point are one thing, reached by two roads (two evidences; a mixture).
    torch.testing.assert_close(ceiling.joint, ceiling.point, rtol=0, atol=1e-4)

    generator = torch.Generator().manual_seed(0)
    draws = 4000
    lengthscale, scale = (
        low + (high - low) * torch.rand(draws, 1, generator=generator, dtype=torch.float64).expand(-1, 6)
        for low, high in (config.lengthscale, config.scale)
    )
    guesses = Hyperparameters(lengthscale, scale, scale)
    of_context = log_normal(batch.context.y, noisy_covariance(config, batch.context.x, guesses))
    weights = of_context.softmax(0)
    prediction = exact_prediction(config, batch.context, batch.targets.x, guesses)
    mean = (weights[..., None] * prediction.mean).sum(0)
    spread = (weights[..., None] * (prediction.mean - mean).square()).sum(0)
    error = (spread / (1 / weights.square().sum(0))[:, None]).sqrt()
    assert ((ceiling.mean - mean).abs() < 5 * error + 1e-4).all()


@pytest.mark.parametrize("kernel", ["rbf", "matern52"])
def test_thirty_two_nodes_are_enough(kernel):
    config = GaussianProcessConfig(kernel=kernel, batch_size=3)
    for contexts, targets in ((3, 46), (40, 9)):
        sized = config.sized(contexts, targets)
        batch = GaussianProcessTasks(sized, 2).batch(0)
        rough, fine = integrated_ceiling(batch, sized), integrated_ceiling(batch, sized, nodes=48)
        for name in ("joint", "point", "point_gaussian"):
            torch.testing.assert_close(getattr(rough, name), getattr(fine, name), rtol=0, atol=2e-3)


def test_who_knows_more_scores_higher_and_the_mixture_beats_its_gaussian_on_average():
    config = replace(GaussianProcessConfig(), batch_size=200, contexts=(6, 6), targets=(10, 10))
    batch = GaussianProcessTasks(config, 9).batch(0)
    known, integrated = known_ceiling(batch, config), integrated_ceiling(batch, config, nodes=16)
    gaps = (
        known.joint - integrated.joint,
        known.point - integrated.point,
        integrated.point - integrated.point_gaussian,
        integrated.joint - integrated.point,
    )
    for gap in gaps:
        assert gap.mean() > 3 * gap.std() / math.sqrt(200)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kernel", "known", "integrated"),
    [
        ("rbf", (1.810, 1.522), (1.782, 1.458)),
        ("matern52", (1.387, 1.118), (1.360, 1.064)),
        ("periodic", (1.486, 1.177), None),
    ],
)
def test_ceilings_of_the_common_protocol(kernel, known, integrated):
    # Batches of one: tasks of a common batch share their sizes, so they would not be independent.
    config = GaussianProcessConfig(kernel=kernel, batch_size=1)
    source = GaussianProcessTasks(config, seed=21)
    scores = []
    for step in range(1500):
        batch = source.batch(step)
        ceiling = known_ceiling(batch, config)
        row = [ceiling.joint, ceiling.point]
        if integrated:
            ceiling = integrated_ceiling(batch, config)
            row += [ceiling.joint, ceiling.point_gaussian]
        scores.append(torch.cat(row))
    table = torch.stack(scores)
    error = table.std(0) / math.sqrt(len(table))
    expected = torch.tensor([*known, *(integrated or ())], dtype=torch.float64)
    assert ((table.mean(0) - expected).abs() < 3 * error + 0.006).all()
