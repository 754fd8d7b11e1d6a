"""PSNR by hand, SSIM against scikit-image, and the laws of both."""

import pytest
import torch
from skimage.metrics import structural_similarity

from vnp_core.errors import DataError
from vnp_core.metrics.picture_quality import PSNR_CAP, psnr, ssim


def noise(seed: int, *shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_psnr_of_known_errors_and_of_none():
    truth = torch.full((3, 1, 2, 2), 0.5)
    pictures = truth + torch.tensor([0.1, 0.01, 0.0])[:, None, None, None]
    expected = torch.tensor([20.0, 40.0, PSNR_CAP]).double()
    torch.testing.assert_close(psnr(pictures, truth, None), expected, atol=1e-4, rtol=0)


def test_psnr_looks_at_the_mask_alone_and_clamps_like_a_screen():
    truth = torch.ones(1, 2, 2, 2)
    pictures = truth.clone()
    pictures[0, :, 0, 0], pictures[0, :, 0, 1] = 0.9, 7.0
    mask = torch.zeros(1, 2, 2, dtype=torch.bool)
    mask[0, 0, 0] = True
    torch.testing.assert_close(psnr(pictures, truth, mask), torch.tensor([20.0]).double())
    assert psnr(pictures, truth, ~mask) == PSNR_CAP
    assert psnr(pictures, truth, torch.zeros_like(mask)).isnan()


def test_ssim_is_that_of_scikit_image_inside_of_the_borders():
    truth, picture = noise(0, 2, 3, 20, 17), noise(1, 2, 3, 20, 17)
    picture = 0.7 * truth + 0.3 * picture
    for place in range(2):
        _, whole = structural_similarity(
            picture[place].double().numpy(),
            truth[place].double().numpy(),
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=1.0,
            channel_axis=0,
            full=True,
        )
        expected = whole[:, 5:-5, 5:-5].mean()
        assert float(ssim(picture, truth)[place]) == pytest.approx(expected, abs=1e-7)


def test_ssim_is_one_for_equal_pictures_and_needs_room_for_its_window():
    truth = noise(0, 2, 1, 11, 11)
    torch.testing.assert_close(ssim(truth, truth), torch.ones(2).double())
    assert (ssim(noise(1, 2, 1, 11, 11), truth) < 0.5).all()
    with pytest.raises(DataError, match="11 pixels a side"):
        ssim(truth[..., :10], truth[..., :10])
