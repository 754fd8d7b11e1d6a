"""Predictive distributions against closed forms and against scipy-free sums."""

import math

import pytest
import torch

from vnp_core.errors import ConfigError
from vnp_core.likelihoods import (
    GaussianHead,
    GaussianMixture,
    accumulator,
    joint_score,
    point_score,
)


def log_normal(y: float, mean: float, std: float) -> float:
    return -0.5 * ((y - mean) / std) ** 2 - math.log(std) - 0.5 * math.log(2 * math.pi)


def mixture(means: list[list[float]], stds: list[list[float]]) -> GaussianMixture:
    """Draws x targets of one scene and one channel."""
    return GaussianMixture(torch.tensor(means)[None, ..., None], torch.tensor(stds)[None, ..., None])


def test_both_scores_match_a_hand_made_case():
    prediction = mixture([[0.0, 1.0], [2.0, -1.0]], [[1.0, 0.5], [0.25, 2.0]])
    y, mask = torch.tensor([[[0.5], [0.25]]]), torch.ones(1, 2, dtype=torch.bool)
    ll = [
        [log_normal(0.5, 0, 1), log_normal(0.25, 1, 0.5)],
        [log_normal(0.5, 2, 0.25), log_normal(0.25, -1, 2)],
    ]
    per_point = sum(math.log((math.exp(ll[0][i]) + math.exp(ll[1][i])) / 2) for i in range(2)) / 2
    joint = math.log((math.exp(sum(ll[0])) + math.exp(sum(ll[1]))) / 2) / 2
    assert point_score(prediction.log_probs(y)).item() == pytest.approx(per_point, rel=1e-12)
    assert joint_score(prediction.joint_log_probs(y), mask).item() == pytest.approx(joint, rel=1e-12)


def test_with_one_draw_both_scores_agree():
    generator = torch.Generator().manual_seed(0)
    prediction = GaussianMixture(torch.randn(3, 1, 7, 2, generator=generator), torch.full((3, 1, 7, 2), 0.3))
    y, mask = torch.randn(3, 7, 2, generator=generator), torch.ones(3, 7, dtype=torch.bool)
    torch.testing.assert_close(
        point_score(prediction.log_probs(y)), joint_score(prediction.joint_log_probs(y), mask)
    )


def test_absent_targets_do_not_count_even_where_they_are_nan():
    generator = torch.Generator().manual_seed(0)
    prediction = GaussianMixture(torch.randn(1, 4, 5, 2, generator=generator), torch.full((1, 4, 5, 2), 0.3))
    y = torch.randn(1, 5, 2, generator=generator)
    y[0, 3:] = torch.nan
    mask = torch.tensor([[True, True, True, False, False]])
    whole = GaussianMixture(prediction.means[:, :, :3], prediction.stds[:, :, :3])
    torch.testing.assert_close(
        point_score(prediction.log_probs(y, mask), mask), point_score(whole.log_probs(y[:, :3]))
    )
    torch.testing.assert_close(
        joint_score(prediction.joint_log_probs(y, mask), mask),
        joint_score(whole.joint_log_probs(y[:, :3]), mask[:, :3]),
    )


def test_no_targets_score_0():
    prediction = GaussianMixture(torch.zeros(2, 3, 0, 1), torch.ones(2, 3, 0, 1))
    y, mask = torch.zeros(2, 0, 1), torch.ones(2, 0, dtype=torch.bool)
    assert joint_score(prediction.joint_log_probs(y, mask), mask).tolist() == [0.0, 0.0]
    assert point_score(prediction.log_probs(y)).tolist() == [0.0, 0.0]


def test_log_likelihoods_add_up_in_float64():
    count = 200_000
    prediction = GaussianMixture(torch.zeros(1, 1, count, 1), torch.full((1, 1, count, 1), 0.1))
    total = prediction.joint_log_probs(torch.full((1, count, 1), 0.01))[0, 0]
    assert total.dtype == torch.float64
    exact = count * log_normal(float(torch.tensor(0.01)), 0.0, float(torch.tensor(0.1)))
    assert total.item() == pytest.approx(exact, rel=1e-12)
    assert accumulator(torch.device("mps")) == torch.float32


def test_the_mixtures_variance_is_mean_of_variances_plus_variance_of_means():
    prediction = mixture([[0.0], [2.0]], [[1.0], [3.0]])
    assert prediction.mean.item() == 1.0
    assert prediction.variance.item() == pytest.approx((1 + 9) / 2 + 1)
    many = GaussianMixture(prediction.means.expand(1, 2, 50_000, 1), prediction.stds.expand(1, 2, 50_000, 1))
    samples = many.sample(torch.Generator().manual_seed(0))
    assert samples.var().item() == pytest.approx(6.0, rel=0.03)


def test_the_floor_caps_the_score_of_a_point_and_0_is_allowed():
    raw = torch.tensor([0.0, -1e4]).reshape(1, 1, 1, 2)
    for floor, cap in ((0.1, 1.384), (0.05, 2.077)):
        best = GaussianHead(floor)(raw).log_probs(torch.zeros(1, 1, 1))
        assert best.item() == pytest.approx(cap, abs=1e-3)
    free = GaussianHead(0.0)(raw)
    assert 0 < free.stds.item() <= 1e-19
    assert free.log_probs(torch.ones(1, 1, 1)).isfinite().all()


def test_the_head_is_softplus_above_the_floor_in_float32():
    raw = torch.tensor([1.5, -0.5, 0.2, 3.0], dtype=torch.bfloat16).reshape(1, 1, 1, 4)
    prediction = GaussianHead(0.1)(raw)
    assert prediction.stds.dtype == torch.float32
    torch.testing.assert_close(prediction.means.flatten(), raw.flatten()[:2].float())
    expected = [0.1 + 0.9 * math.log1p(math.exp(float(value))) for value in raw.flatten()[2:]]
    torch.testing.assert_close(prediction.stds.flatten(), torch.tensor(expected))


def test_a_floor_outside_of_0_to_1_is_refused():
    with pytest.raises(ConfigError, match=r"given was 1\.5"):
        GaussianHead(1.5)
