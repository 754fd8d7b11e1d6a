"""Scores of pictures against closed forms, a slow twin, and the laws of a foreground."""

import math

import numpy as np
import pytest
import torch
from einops import rearrange
from torch import Tensor

from vnp_core.errors import DataError
from vnp_nerf.image_metrics import (
    PSNR_CAP,
    depth_error,
    foreground,
    mask_iou,
    over_white,
    picture_scores,
    psnr,
    shape_scores,
    ssim_map,
    ssim_scores,
)


def _pair(seed: int = 0, size: tuple[int, int] = (20, 17)) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    truth = torch.rand(*size, 3, generator=generator)
    return (truth + 0.2 * torch.randn(*size, 3, generator=generator)).clamp(0, 1), truth


def test_outlines_and_depths_of_squares_are_counted_by_hand() -> None:
    mask, alpha = torch.zeros(6, 6, dtype=torch.bool), torch.zeros(6, 6)
    mask[:2, :3], alpha[:2, 1:5] = True, 0.6  # 6 and 8 pixels, 4 of them shared
    assert mask_iou(alpha, mask) == pytest.approx(4 / 10)
    assert mask_iou(alpha * 0.5, mask) == 0
    assert math.isnan(mask_iou(alpha * 0, torch.zeros_like(mask)))
    truth = torch.full((6, 6), math.inf).masked_fill(mask, 3.0)
    depth = torch.full((6, 6), 9.0)
    depth[0], depth[1] = 3.5, 2.9
    assert depth_error(depth, truth, alpha) == pytest.approx((2 * 0.5 + 2 * 0.1) / 4, rel=1e-6)
    assert math.isnan(depth_error(depth, truth, alpha * 0))
    assert set(shape_scores(alpha, depth, mask)) == {"iou"}


def test_psnr_of_a_constant_error_is_known() -> None:
    truth = torch.full((4, 5, 3), 0.25)
    assert psnr(truth + 0.1, truth) == pytest.approx(20.0, abs=1e-4)
    assert psnr(truth + 0.5, truth) == pytest.approx(-20 * math.log10(0.5), abs=1e-5)


def test_a_perfect_picture_scores_the_cap_and_one() -> None:
    _, truth = _pair()
    mask = torch.ones(truth.shape[:2], dtype=torch.bool)
    scores = picture_scores(truth, truth, mask)
    assert scores["psnr"] == scores["psnr_fg"] == PSNR_CAP
    assert scores["ssim"] == pytest.approx(1, abs=1e-5)
    assert scores["ssim_fg"] == pytest.approx(1, abs=1e-5)


def test_values_outside_zero_and_one_are_clamped_as_a_screen_would() -> None:
    truth = torch.ones(12, 12, 3)
    assert psnr(truth * 7, truth) == PSNR_CAP


def test_the_foreground_score_ignores_the_background() -> None:
    prediction, truth = _pair()
    mask = torch.zeros(truth.shape[:2], dtype=torch.bool)
    mask[5:9, 4:12] = True
    spoilt = torch.where(mask[..., None], prediction, 1 - prediction)
    assert psnr(spoilt, truth, mask) == psnr(prediction, truth, mask)
    assert psnr(spoilt, truth) < psnr(prediction, truth)
    by_hand = -10 * math.log10(float(np.mean((prediction - truth).double().numpy()[5:9, 4:12] ** 2)))
    assert psnr(prediction, truth, mask) == pytest.approx(by_hand, abs=1e-9)


def test_the_foreground_ssim_does_not_see_beyond_its_window() -> None:
    prediction, truth = _pair(size=(40, 40))
    mask = torch.zeros(40, 40, dtype=torch.bool)
    mask[18:22, 18:22] = True
    spoilt = prediction.clone()
    spoilt[:12] = 1 - spoilt[:12]  # six rows and more away from the mask
    assert ssim_scores(spoilt, truth, mask)[1] == pytest.approx(
        ssim_scores(prediction, truth, mask)[1], abs=1e-5
    )
    assert ssim_scores(spoilt, truth, mask)[0] != pytest.approx(
        ssim_scores(prediction, truth, mask)[0], abs=1e-3
    )


def _slow_ssim_map(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """One window at a time, straight from the formula."""
    offsets = np.arange(11) - 5
    kernel = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * 1.5**2))
    kernel /= kernel.sum()
    height, width, colours = truth.shape
    result = np.zeros((height, width))
    a, b = (np.pad(picture, ((5, 5), (5, 5), (0, 0)), mode="reflect") for picture in (prediction, truth))
    for y in range(height):
        for x in range(width):
            for colour in range(colours):
                p, t = a[y : y + 11, x : x + 11, colour], b[y : y + 11, x : x + 11, colour]
                mp, mt = (kernel * p).sum(), (kernel * t).sum()
                vp, vt = (kernel * p * p).sum() - mp**2, (kernel * t * t).sum() - mt**2
                covariance = (kernel * p * t).sum() - mp * mt
                luminance = (2 * mp * mt + 0.01**2) / (mp**2 + mt**2 + 0.01**2)
                result[y, x] += luminance * (2 * covariance + 0.03**2) / (vp + vt + 0.03**2) / colours
    return result


def test_ssim_agrees_with_its_slow_twin() -> None:
    prediction, truth = _pair()
    slow = _slow_ssim_map(prediction.double().numpy(), truth.double().numpy())
    np.testing.assert_allclose(ssim_map(prediction, truth).numpy(), slow, atol=2e-4)
    mask = truth[..., 0] > 0.5
    full, fg = ssim_scores(prediction, truth, mask)
    assert full == pytest.approx(slow[5:-5, 5:-5].mean(), abs=2e-4)
    assert fg == pytest.approx(slow[mask.numpy()].mean(), abs=2e-4)


def test_an_empty_foreground_has_no_score() -> None:
    prediction, truth = _pair()
    scores = picture_scores(prediction, truth, torch.zeros(truth.shape[:2], dtype=torch.bool))
    assert math.isnan(scores["psnr_fg"])
    assert math.isnan(scores["ssim_fg"])
    assert math.isfinite(scores["psnr"])


def test_straight_alpha_goes_over_white_and_the_foreground_is_above_one_half() -> None:
    alpha = torch.tensor([[0.0, 0.25, 0.5, 0.75, 1.0]])
    rgba = torch.cat([torch.zeros(3, 1, 5), alpha[None]])
    assert torch.equal(over_white(rgba), rearrange((1 - alpha).expand(3, 1, 5), "rgb H W -> H W rgb"))
    assert foreground(rgba).tolist() == [[False, False, False, True, True]]


def test_nan_other_shapes_and_tiny_pictures_are_refused() -> None:
    prediction, truth = _pair()
    with pytest.raises(DataError, match="NaN"):
        psnr(prediction * math.nan, truth)
    with pytest.raises(DataError, match="shape"):
        psnr(prediction[:-1], truth)
    with pytest.raises(DataError, match="11 pixels"):
        ssim_map(prediction[:10], truth[:10])
