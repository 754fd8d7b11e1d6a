"""Predictions with uncertainty on random pictures: agreement of the ways to make them, and closed forms."""

import dataclasses
import math

import pytest
import torch

from vnp_core.errors import ConfigError
from vnp_nerf.cameras import orbit_cameras
from vnp_nerf.distributions import (
    ConstantSigma,
    Distribution,
    DrawingPredictor,
    Ensemble,
    FittedPixels,
    Remembered,
    ScaledPredictor,
    score_distributions,
)
from vnp_nerf.evaluation import Case, ModelPredictor, foregrounds, pictures_over_white
from vnp_nerf.pixel_noise import DOF, FLOOR
from vnp_nerf.radiance import RadianceModel
from vnp_nerf.radiance_config import RadianceConfig
from vnp_nerf.rendering import render_picture
from vnp_nerf.views import Views

SIDE = 16


def some_views(count: int, seed: int) -> Views:
    cameras = orbit_cameras(count, 4.0, 20.0, 30.0, SIDE, SIDE)
    generator = torch.Generator().manual_seed(seed)
    return Views(
        rgba=torch.rand(1, count, 4, SIDE, SIDE, generator=generator).round(decimals=1),
        camera_to_world=cameras.camera_to_world[None],
        intrinsics=cameras.intrinsics[None],
        sizes=cameras.sizes[None],
        mask=torch.ones(1, count, dtype=torch.bool),
    )


@pytest.fixture(scope="module")
def case() -> Case:
    return Case("noise", some_views(3, 0), some_views(2, 1))


@pytest.fixture(scope="module")
def model(smallest_model: RadianceConfig) -> RadianceModel:
    torch.manual_seed(0)
    made = RadianceModel(dataclasses.replace(smallest_model, carve=False)).eval()
    with torch.no_grad():
        made.network.density.weight *= 100
    return made


def test_draws_are_what_their_seeds_give_one_by_one(case: Case, model: RadianceModel) -> None:
    told = DrawingPredictor("ours", model, 3).distributions(case, 2)[1]
    assert told.means.shape == (3, SIDE, SIDE, 3)
    assert told.scales.shape == (3, SIDE, SIDE, 1)
    with torch.no_grad():
        encoded = model.encode(case.first_views(2))
        for seed in range(3):
            field = model.infer_field(encoded, generator=torch.Generator().manual_seed(seed))
            pose, lens = case.query.camera_to_world[0, 1], case.query.intrinsics[0, 1]
            slow = render_picture(field, pose, lens, SIDE, SIDE)
            # Fast draws round their matrix products to 8 bits.
            assert (slow.rgb - told.means[seed]).abs().mean() < 2e-3
            std = told.scales[seed, ..., 0] * math.sqrt(DOF / (DOF - 2))
            assert (slow.rgb_variance.sqrt() - std).abs().mean() < 2e-3
    assert not torch.allclose(told.means[0], told.means[1], atol=1e-3)


def test_without_draws_a_model_is_asked_at_its_mean(case: Case, model: RadianceModel) -> None:
    told = DrawingPredictor("ours", model, 0).distributions(case, 2)
    pictures = ModelPredictor("ours", model).predict(case, 2)
    assert len(told[0].means) == 1
    assert (told[0].means[0] - pictures[0]).abs().mean() < 2e-3
    assert told[0].scales.min() >= FLOOR * math.sqrt((DOF - 2) / DOF) - 1e-6


def test_a_model_without_noise_is_refused(smallest_model: RadianceConfig) -> None:
    silent = RadianceModel(dataclasses.replace(smallest_model, noise=False, train_draws=0))
    with pytest.raises(ConfigError, match="no noise"):
        DrawingPredictor("silent", silent, 2)


def test_rivals_say_what_they_are_made_of(case: Case, model: RadianceModel) -> None:
    ours = DrawingPredictor("ours", model, 2)
    single = DrawingPredictor("single", model, 0)
    both = Ensemble("both", [ours, single]).distributions(case, 1)[0]
    assert both.means.shape[0] == both.scales.shape[0] == 3
    assert torch.equal(both.means[:2], ours.distributions(case, 1)[0].means)
    doubled = ScaledPredictor("doubled", ours, 2.0).distributions(case, 1)[0]
    assert torch.equal(doubled.scales, 2 * ours.distributions(case, 1)[0].scales)
    flat = ConstantSigma("flat", ModelPredictor("ours", model), 0.3).distributions(case, 1)[0]
    assert flat.dof is None
    assert (flat.scales == 0.3).all()


def test_predictions_of_a_case_are_remembered_until_another_is_asked_of(
    case: Case, model: RadianceModel
) -> None:
    asked: list[tuple[str, int]] = []

    class Counted(DrawingPredictor):
        def distributions(self, case: Case, count: int) -> list[Distribution]:
            asked.append((case.name, count))
            return super().distributions(case, count)

    kept = Remembered(Counted("ours", model, 2))
    first = kept.distributions(case, 1)
    assert torch.equal(kept.distributions(case, 1)[0].means, first[0].means)
    assert not torch.equal(kept.distributions(case, 2)[0].means, first[0].means)
    seen = kept.distributions(dataclasses.replace(case, query=case.first_views(1)), 1)
    assert len(seen) == 1
    assert asked == [("noise", 1), ("noise", 2), ("noise", 1)]
    elsewhere = dataclasses.replace(case, context=some_views(3, 5))  # the same object, given from elsewhere
    assert not torch.equal(kept.distributions(elsewhere, 1)[0].means, first[0].means)
    other = dataclasses.replace(case, name="other", context=some_views(3, 5))
    assert not torch.equal(kept.distributions(other, 1)[0].means, first[0].means)


def _likeliest(predictor: ConstantSigma, case: Case, alone: bool) -> float:
    return FittedPixels.of_cases(predictor, [case], (1, 2), alone).likeliest().factor


def test_the_constant_sigma_is_the_likeliest(case: Case, model: RadianceModel) -> None:
    at_mean = ModelPredictor("ours", model)
    for alone in (False, True):
        sigma = _likeliest(ConstantSigma("one", at_mean, 1.0), case, alone)
        name = "nll_fg" if alone else "nll"

        def nll(factor: float, sigma: float = sigma, name: str = name) -> float:
            flat = ConstantSigma("flat", at_mean, factor * sigma)
            return sum(score_distributions(flat, case, count)[name] for count in (1, 2))

        # Scores are means over pictures, the fit is over pixels: equal numbers of pixels make both one.
        if not alone:
            assert nll(1.0) < min(nll(0.99), nll(1.01))
        assert nll(1.0) < min(nll(0.8), nll(1.25))


def test_the_draws_variance_is_compared_with_that_on_what_was_seen(case: Case, model: RadianceModel) -> None:
    ours = DrawingPredictor("ours", model, 3)
    scores = score_distributions(ours, case, 2)
    [seen] = ours.distributions(dataclasses.replace(case, query=case.first_views(1)), 2)
    variances = [told.means.var(0).mean() for told in ours.distributions(case, 2)]
    assert scores["epistemic_seen"] == pytest.approx(seen.means.var(0).mean().sqrt().item(), rel=1e-4)
    expected = torch.stack(variances).mean() / seen.means.var(0).mean()
    assert scores["ratio_epistemic"] == pytest.approx(expected.item(), rel=1e-4)
    assert "ratio_epistemic" not in score_distributions(DrawingPredictor("single", model, 0), case, 2)


class Calibrated:
    """Says the truth's own distribution about the true picture, sigmas `off` times too small."""

    name = "calibrated"
    reads_context = True

    def __init__(self, off: float) -> None:
        self.off = off

    def distributions(self, case: Case, count: int) -> list[Distribution]:
        generator = torch.Generator().manual_seed(count)
        found = []
        for truth in pictures_over_white(case.query):
            sigma = 0.05 + 0.2 * torch.rand(1, *truth.shape[:2], 1, generator=generator)
            mean = truth[None] + sigma * torch.randn(truth[None].shape, generator=generator)
            found.append(Distribution(mean, sigma / self.off))
        return found


@pytest.mark.parametrize("off", [0.5, 1.0, 3.0])
def test_the_factor_that_makes_sigmas_right_is_found(case: Case, off: float) -> None:
    assert any(mask.any() for mask in foregrounds(case.query))
    pixels = FittedPixels.of_cases(Calibrated(off), [case], (1, 2, 3, 4, 5))
    assert pixels.likeliest().factor == pytest.approx(off, rel=0.03)
    assert pixels.covering().factor == pytest.approx(off, rel=0.03)
    scores = score_distributions(ScaledPredictor("mended", Calibrated(off), off), case, 1)
    assert scores["coverage90_fg"] == pytest.approx(0.9, abs=0.03)
