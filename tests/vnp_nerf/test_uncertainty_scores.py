"""Scores of pictures with a sigma: of models that know the answer and how well they know it, and of liars."""

import math

import pytest
import torch
from torch import Tensor

from vnp_core.errors import DataError
from vnp_nerf.image_metrics import psnr
from vnp_nerf.uncertainty_scores import predicted_mixture, uncertainty_scores

SIZE, DRAWS = 48, 4


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def disc(radius: float = 12) -> Tensor:
    rows, columns = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    return (rows - SIZE / 2) ** 2 + (columns - SIZE / 2) ** 2 < radius**2


class View:
    """A disc of colours known up to a sigma that grows from left to right; the rest is almost sure."""

    def __init__(self, seed: int = 0) -> None:
        self.mask = disc()
        self.sigmas = torch.where(self.mask, torch.linspace(0.02, 0.2, SIZE).expand(SIZE, SIZE), 0.001)
        self.sigmas = self.sigmas[None, :, :, None].expand(DRAWS, -1, -1, 1)
        middle = torch.full((SIZE, SIZE, 3), 0.5)
        self.means = middle.expand(DRAWS, -1, -1, -1)
        self.truth = middle + self.sigmas[0] * torch.randn(SIZE, SIZE, 3, generator=seeded(seed))

    def scores(self, factor: float = 1.0, **options: float) -> dict[str, float]:
        return uncertainty_scores(
            self.means, factor * self.sigmas, self.truth, self.mask, seeded(), **options
        )


def test_a_view_that_knows_its_sigma_scores_its_entropy_and_is_calibrated():
    view = View()
    found = view.scores()
    for name, inside in (("nll", torch.ones_like(view.mask)), ("nll_fg", view.mask)):
        sigmas = view.sigmas[0, ..., 0][inside]
        entropy = 3 * (0.5 * math.log(2 * math.pi * math.e) + sigmas.log().mean().item())
        assert found[name] == pytest.approx(entropy, abs=0.15)
        assert found[name] == pytest.approx(found[name.replace("nll", "nll_gaussian")], abs=1e-9)
    assert found["coverage50_fg"] == pytest.approx(0.5, abs=0.05)
    assert found["coverage90_fg"] == pytest.approx(0.9, abs=0.03)
    assert found["auce_fg"] < 0.02
    assert found["noise_fg"] == pytest.approx(view.sigmas[0][view.mask].square().mean().sqrt().item())
    assert found["epistemic"] == 0


@pytest.mark.parametrize(("factor", "sign"), [(0.5, -1), (2.0, 1)])
def test_too_sure_and_not_sure_enough_are_told_apart_and_the_order_of_sigmas_is_the_same(factor, sign):
    view = View()
    right, scaled = view.scores(), view.scores(factor)
    for region in ("", "_fg"):
        assert sign * (scaled["coverage50" + region] - 0.5) > 0.1
        assert sign * scaled["auce_signed" + region] > 0.1
        assert scaled["auce" + region] > right["auce" + region] + 0.1
        assert scaled["nll" + region] > right["nll" + region] + 0.5
        assert scaled["crps" + region] > right["crps" + region]
        for name in ("ause_rel", "ause_sq_rel", "ause_raw", "ause_max", "ause_first"):
            assert scaled[name + region] == pytest.approx(right[name + region], rel=1e-9)


def test_a_sure_background_flatters_and_the_foreground_does_not():
    found = View().scores()
    assert found["nll"] < found["nll_fg"] - 3
    assert found["ause_rel"] < 0.2 < found["ause_rel_fg"] < 0.9
    assert found["crps"] < found["crps_fg"] / 2


def test_a_sigma_that_knows_nothing_scores_a_random_order():
    view = View()
    flat = torch.full_like(view.sigmas, 0.1)
    areas = [
        uncertainty_scores(view.means, flat, view.truth, view.mask, seeded(seed))["ause_rel_fg"]
        for seed in range(20)
    ]
    assert sum(areas) / 20 == pytest.approx(1.0, abs=0.1)
    assert len(set(areas)) == 20


def test_draws_about_the_truth_score_what_their_spread_says():
    view, spread = View(), 0.1
    offsets = spread * torch.randn(DRAWS, 1, 1, 1, generator=seeded(1))
    found = uncertainty_scores(
        view.truth.clamp(0, 1) + offsets, 0.01 * torch.ones_like(view.sigmas), view.truth, view.mask, seeded()
    )
    assert found["epistemic"] == pytest.approx(offsets.std().item(), rel=1e-3)
    assert found["noise"] == pytest.approx(0.01, rel=1e-5)
    draws = [psnr(view.truth + offset, view.truth) for offset in offsets[:, 0]]
    assert found["best_of_k"] > found["psnr_draw"]
    assert found["best_of_k"] == pytest.approx(max(draws), abs=0.5)
    assert found["nll"] < found["nll_gaussian"] + 10


def test_the_pictures_psnr_is_that_of_the_other_scores():
    view = View()
    found, mean = view.scores(), view.means.mean(0)
    assert found["psnr_mean"] == pytest.approx(psnr(mean, view.truth), abs=1e-6)
    assert found["psnr_mean_fg"] == pytest.approx(psnr(mean, view.truth, view.mask), abs=1e-6)


def test_every_score_comes_in_both_regions_and_one_draw_has_no_score_of_draws():
    view = View()
    found = view.scores()
    assert {name + "_fg" for name in found if not name.endswith("_fg")} == {
        name for name in found if name.endswith("_fg")
    }
    one = uncertainty_scores(view.means[:1], view.sigmas[:1], view.truth, view.mask, seeded())
    missing = {"epistemic", "energy", "psnr_draw", "best_of_k"}
    assert set(found) - set(one) == missing | {name + "_fg" for name in missing}
    assert one["nll"] == pytest.approx(found["nll"])


def test_a_sigma_of_three_colours_is_read_by_colour():
    view = View()
    same = uncertainty_scores(view.means, view.sigmas.expand(-1, -1, -1, 3), view.truth, view.mask, seeded())
    assert same == view.scores()
    sigmas = view.sigmas * torch.tensor([0.2, 1.0, 1.0])
    found = uncertainty_scores(view.means, sigmas, view.truth, view.mask, seeded())
    assert found["nll_fg"] > same["nll_fg"] + 1


def test_a_student_forgives_far_pixels_and_its_noise_is_its_standard_deviation():
    view = View()
    view.truth[20:24, 20:24] += 2.0
    gaussian, student = view.scores(), view.scores(dof=4.0)
    assert student["nll_fg"] < gaussian["nll_fg"] - 10
    assert student["noise"] == pytest.approx(math.sqrt(2) * gaussian["noise"])
    assert student["crps_fg"] == pytest.approx(gaussian["crps_fg"], rel=0.3)
    assert student["ause_rel_fg"] == pytest.approx(gaussian["ause_rel_fg"], rel=0.05)


@pytest.mark.parametrize("pixels", [0, 1, 2])
def test_of_a_tiny_or_empty_foreground_comes_a_number_or_nan_and_never_an_error(pixels):
    view = View()
    view.mask = torch.zeros_like(view.mask)
    view.mask.view(-1)[:pixels] = True
    found = view.scores()
    full = {name: value for name, value in found.items() if not name.endswith("_fg")}
    assert all(math.isfinite(value) for value in full.values())
    for name, value in found.items():
        if name.endswith("_fg"):
            assert math.isnan(value) == (pixels == 0 or (pixels == 1 and name.endswith("rel_fg"))), name


def test_the_same_generator_gives_the_same_scores():
    view = View()
    assert view.scores() == view.scores()


def test_what_is_no_prediction_is_refused():
    view = View()
    for sigmas in (0 * view.sigmas, -view.sigmas, view.sigmas / 0, view.sigmas * math.nan):
        with pytest.raises(DataError, match="no score"):
            predicted_mixture(view.means, sigmas)
    with pytest.raises(DataError, match="give means"):
        predicted_mixture(view.means, view.sigmas[:, 1:])
    with pytest.raises(DataError, match="give means"):
        predicted_mixture(view.means[:0], view.sigmas[:0])
    with pytest.raises(DataError, match="one size"):
        uncertainty_scores(view.means, view.sigmas, view.truth[1:], view.mask, seeded())
    with pytest.raises(DataError, match="one size"):
        uncertainty_scores(view.means, view.sigmas, view.truth, view.mask[1:], seeded())
