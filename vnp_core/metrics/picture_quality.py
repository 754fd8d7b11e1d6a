"""How close pictures are to the truth: PSNR and SSIM of batches, on brightness from 0 to 1, in float64."""

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor

from vnp_core.errors import DataError

PSNR_CAP = 100.0
"""dB; a picture equal to the truth has no finite PSNR, and scores this."""
WINDOW, WINDOW_STD = 11, 1.5
"""Pixels a side of SSIM's Gaussian window, and its standard deviation (Wang et al. 2004)."""


def psnr(
    pictures: Float[Tensor, "*B C H W"], truth: Float[Tensor, "*B C H W"], mask: Bool[Tensor, "*B H W"] | None
) -> Float[Tensor, "*B"]:
    """-10 log10 of the mean squared error in dB, at most `PSNR_CAP`; of the pixels in `mask` if one is given.

    Pictures are clamped to 0 and 1 first, as a screen would. NaN where a mask is empty.
    """
    squares = (pictures.double().clamp(0, 1) - truth.double()).square().mean(-3)
    if mask is None:
        errors = squares.mean((-2, -1))
    else:
        errors = squares.masked_fill(~mask, 0.0).sum((-2, -1)) / mask.sum((-2, -1))
    return (-10 * errors.clamp(min=1e-30).log10()).clamp(max=PSNR_CAP)


def ssim(pictures: Float[Tensor, "B C H W"], truth: Float[Tensor, "B C H W"]) -> Float[Tensor, "B"]:
    """Structural similarity (Wang et al. 2004): its mean over windows wholly inside of the picture.

    Gaussian window of `WINDOW` pixels, data range 1, k1 = .01, k2 = .03; the mean over channels. Raises
    `DataError` where a picture is smaller than the window.
    """
    if min(truth.shape[-2:]) < WINDOW:
        raise DataError(
            f"SSIM needs pictures of {WINDOW} pixels a side or more; given were {tuple(truth.shape[-2:])}."
        )
    a, b = (part.double().clamp(0, 1) for part in (pictures, truth))
    mean_a, mean_b = _blurred(a), _blurred(b)
    variance_a = _blurred(a * a) - mean_a.square()
    variance_b = _blurred(b * b) - mean_b.square()
    covariance = _blurred(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    likeness = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    likeness = likeness / ((mean_a.square() + mean_b.square() + c1) * (variance_a + variance_b + c2))
    return likeness.mean((1, 2, 3))


def _blurred(pictures: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C h w"]:
    offsets = torch.arange(WINDOW, dtype=pictures.dtype, device=pictures.device) - WINDOW // 2
    bell = torch.exp(-0.5 * (offsets / WINDOW_STD).square())
    bell = bell / bell.sum()
    batch = pictures.shape[0]
    planes = rearrange(pictures, "b c h w -> (b c) 1 h w")
    planes = F.conv2d(F.conv2d(planes, bell[None, None, :, None]), bell[None, None, None])
    return rearrange(planes, "(b c) 1 h w -> b c h w", b=batch)
