"""Whole pictures put together from what was known and what was predicted, and their scores by hand."""

from typing import Any

import pytest
import torch

from vnp_core.bench.completion import (
    Completion,
    complete,
    completion_scores,
    given_pixels,
    pixel_indices,
    resized,
)
from vnp_core.correlated import CorrelatedMixture
from vnp_core.likelihoods import GaussianMixture
from vnp_core.observations import grid_coordinates
from vnp_core.tasks.picture_tasks import PictureTasks, PictureTasksConfig
from vnp_core.tasks.pictures import Pictures

SIDE = 8
PIXELS = torch.randint(
    0, 256, (3, 2, SIDE, SIDE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)
SOURCE = PictureTasks(
    "noise",
    Pictures(PIXELS, torch.zeros(3, dtype=torch.long)),
    PictureTasksConfig(batch_size=4).sized(10, SIDE * SIDE - 10),
)


class Gradient:
    """Predicts the row at every place, with a hypothesis a draw, each brighter than the one before."""

    def predict(self, context: Any, x: torch.Tensor, draws: int, generator: Any) -> GaussianMixture:
        brighter = 0.1 * torch.arange(draws)[None, :, None, None]
        means = (x[:, None, :, :1] / 4 + brighter).expand(-1, -1, -1, 2)
        return GaussianMixture(means, torch.full_like(means, 0.05))


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_pixels_find_their_places_in_any_order():
    order = torch.randperm(12, generator=generator())
    x = grid_coordinates(3, 4).reshape(1, 12, 2)[:, order]
    assert torch.equal(pixel_indices(x, (3, 4))[0], order)


@pytest.mark.parametrize("as_grids", [False, True])
def test_a_completion_has_every_pixel_in_its_place(as_grids: bool):
    source = SOURCE.gridded() if as_grids else SOURCE
    found = complete(Gradient(), source.batch(0), (SIDE, SIDE), 3, 2, generator())
    truths = {tuple(picture.flatten().tolist()) for picture in (PIXELS / 255).float()}
    for picture in found.truth:
        nearest = min(truths, key=lambda t: (torch.tensor(t) - picture.flatten()).abs().max())
        torch.testing.assert_close(torch.tensor(nearest), picture.flatten(), atol=1e-6, rtol=0)
    rows = grid_coordinates(SIDE, SIDE)[..., 0] / 4 + 0.5
    torch.testing.assert_close(found.mean, (rows + 0.1).clamp(0, 1).expand(4, 2, -1, -1))
    torch.testing.assert_close(found.samples[:, 1], (rows + 0.1).clamp(0, 1).expand(4, 2, -1, -1))
    assert found.samples.shape == (4, 2, 2, SIDE, SIDE)
    assert found.given.sum((1, 2)).tolist() == [10] * 4
    seen = found.given[:, None].expand_as(found.truth)
    filled = found.filled(found.mean)
    assert torch.equal(filled[seen], found.truth[seen])
    assert torch.equal(filled[~seen], found.mean[~seen])


def test_points_and_grids_give_the_same_pixels():
    places = []
    for source in (SOURCE, SOURCE.gridded()):
        known = given_pixels(source.batch(1), (SIDE, SIDE))
        assert known is not None
        places.append(pixel_indices(known.x, (SIDE, SIDE)).sort(-1).values)
    assert torch.equal(*places)


def test_scores_of_a_made_up_completion():
    truth = torch.full((1, 1, 12, 12), 0.5)
    given = torch.zeros(1, 12, 12, dtype=torch.bool)
    given[0, 0] = True
    samples = truth[:, None] + torch.tensor([0.1, -0.1, 0.2])[None, :, None, None, None]
    samples[:, :, :, 0] = 0.5 + torch.tensor([0.01, -0.01, 0.02])[None, :, None, None]
    found = Completion(truth, given, truth + 0.1, torch.zeros_like(truth), samples)
    scores = completion_scores(found)
    assert float(scores["psnr"]) == pytest.approx(20, abs=1e-4)
    assert float(scores["psnr_best"]) == pytest.approx(20, abs=1e-4)
    assert float(scores["psnr_sample"]) == pytest.approx((20 + 20 + 13.9794) / 3, abs=1e-4)
    mean_error = 0.2 / 3
    expected = -20 * torch.tensor(mean_error).log10()
    assert float(scores["psnr_sample_mean"]) == pytest.approx(float(expected), abs=1e-4)
    spread = float(torch.tensor([0.1, -0.1, 0.2]).std())
    assert float(scores["spread_unseen"]) == pytest.approx(spread, rel=1e-5)
    assert float(scores["ratio_spread"]) == pytest.approx(10, rel=1e-4)
    assert 0.9 < float(scores["ssim"]) < 1


def test_small_pictures_have_no_ssim_and_one_sample_no_spread():
    found = complete(Gradient(), SOURCE.batch(0), (SIDE, SIDE), 1, 4, generator())
    assert set(completion_scores(found)) == {"psnr"}


def test_one_correlated_hypothesis_is_sampled_as_often_as_asked():
    class Waves:
        def predict(self, context: Any, x: torch.Tensor, draws: int, generator: Any) -> CorrelatedMixture:
            means = torch.zeros(len(x), 1, x.shape[1], 2)
            return CorrelatedMixture.of_parts(
                means, means + 0.05, (x[:, None, :, None, :1] + 2).expand(-1, -1, -1, 2, -1) / 9
            )

    found = complete(Waves(), SOURCE.batch(0), (SIDE, SIDE), 1, 3, generator())
    assert found.samples.shape[1] == 3
    assert completion_scores(found)["spread_unseen"].min() > 0.01


def test_interpolations_of_a_coarse_picture():
    flat = torch.full((2, 1, SIDE, SIDE), 51, dtype=torch.uint8)
    config = PictureTasksConfig(kinds=("coarse2",), batch_size=2)
    tasks = PictureTasks("flat", Pictures(flat, torch.zeros(2, dtype=torch.long)), config)
    assert given_pixels(tasks.batch(0), (SIDE, SIDE)) is None
    for mode in ("nearest", "bicubic"):
        found = resized(tasks.batch(0), (SIDE, SIDE), mode)
        torch.testing.assert_close(found.mean, torch.full((2, 1, SIDE, SIDE), 0.2))
        assert (completion_scores(found)["psnr"] > 99).all()
    enlarged = complete(
        Gradient(), PictureTasks("noise", SOURCE.pictures, config).batch(0), (SIDE, SIDE), 2, 2, generator()
    )
    assert not enlarged.given.any()
    assert completion_scores(enlarged)["spread_seen"].isnan().all()
