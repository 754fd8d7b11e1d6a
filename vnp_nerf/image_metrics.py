"""How close a picture is to the truth: PSNR and SSIM, of the full picture and of the object's pixels alone.

Pictures are RGB, 0 to 1, already composited over their background. The foreground is where the true alpha is
above one half, grown by nothing: on white, most of a picture is easy, and its full score flatters.
"""

import math
import warnings

import torch
from einops import rearrange, reduce
from jaxtyping import Bool, Float
from torch import Tensor

from vnp_core.errors import DataError

PSNR_CAP = 100.0
"""dB; a picture equal to the truth has no finite PSNR, and scores this."""
SSIM_WINDOW = 11
"""Pixels a side of the Gaussian window (sigma 1.5), as in Wang et al. 2004."""
FOREGROUND_ALPHA = 0.5


def over_white(rgba: Float[Tensor, "... 4 H W"]) -> Float[Tensor, "... H W 3"]:
    """Straight-alpha pictures over white, channels last."""
    colour, alpha = rgba[..., :3, :, :], rgba[..., 3:, :, :]
    return rearrange(colour * alpha + (1 - alpha), "... rgb H W -> ... H W rgb")


def foreground(rgba: Float[Tensor, "... 4 H W"]) -> Bool[Tensor, "... H W"]:
    """The object's pixels."""
    return rgba[..., 3, :, :] > FOREGROUND_ALPHA


def psnr(
    prediction: Float[Tensor, "H W 3"], truth: Float[Tensor, "H W 3"], mask: Bool[Tensor, "H W"] | None = None
) -> float:
    """-10 log10 of the mean squared error in dB, at most `PSNR_CAP`; of the pixels in `mask` if one is given.

    The prediction is clamped to 0 and 1 first, as a screen would. NaN where the mask is empty. Raises
    `DataError` where the prediction holds NaN or the shapes differ.
    """
    error = (_checked(prediction, truth) - truth).double().square()
    if mask is not None:
        error = error[mask]
    if error.numel() == 0:
        return math.nan
    return min(PSNR_CAP, -10 * math.log10(max(error.mean().item(), 1e-30)))


def ssim_map(prediction: Float[Tensor, "H W 3"], truth: Float[Tensor, "H W 3"]) -> Float[Tensor, "H W"]:
    """Structural similarity about each pixel (Wang et al. 2004), its mean over the colours.

    Gaussian window of `SSIM_WINDOW` pixels and sigma 1.5, data range 1, k1 = .01, k2 = .03, reflected at the
    borders. Raises `DataError` where a picture is smaller than the window.
    """
    prediction = _checked(prediction, truth)
    if min(truth.shape[:2]) < SSIM_WINDOW:
        raise DataError(
            f"SSIM needs pictures of {SSIM_WINDOW} pixels a side or more, got {tuple(truth.shape[:2])}"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchmetrics warns about packages that this function does not need
        from torchmetrics.functional.image import structural_similarity_index_measure
    _, whole = structural_similarity_index_measure(
        rearrange(prediction.float(), "H W rgb -> 1 rgb H W"),
        rearrange(truth.float(), "H W rgb -> 1 rgb H W"),
        sigma=1.5,
        kernel_size=SSIM_WINDOW,
        data_range=1.0,
        return_full_image=True,
    )
    return reduce(whole, "1 rgb H W -> H W", "mean")


def ssim_scores(
    prediction: Float[Tensor, "H W 3"], truth: Float[Tensor, "H W 3"], mask: Bool[Tensor, "H W"]
) -> tuple[float, float]:
    """SSIM of the full picture and of the foreground.

    The first is the mean over windows that lie wholly inside the picture, which is what nerfstudio reports;
    the second is the mean of the map over `mask`, NaN where that is empty. A foreground pixel's window
    reaches five pixels beyond the object: the second score is local to the object, not blind to the rest.
    """
    similarity = ssim_map(prediction, truth)
    margin = SSIM_WINDOW // 2
    inner = similarity[margin:-margin, margin:-margin]
    return inner.mean().item(), similarity[mask].mean().item()


def picture_scores(
    prediction: Float[Tensor, "H W 3"], truth: Float[Tensor, "H W 3"], mask: Bool[Tensor, "H W"]
) -> dict[str, float]:
    """All scores of one picture: `psnr`, `psnr_fg`, `ssim`, `ssim_fg`."""
    similarity, similarity_fg = ssim_scores(prediction, truth, mask)
    return {
        "psnr": psnr(prediction, truth),
        "psnr_fg": psnr(prediction, truth, mask),
        "ssim": similarity,
        "ssim_fg": similarity_fg,
    }


def mask_iou(alpha: Float[Tensor, "H W"], mask: Bool[Tensor, "H W"]) -> float:
    """Intersection over union of what absorbs more than half of the light and the object's pixels.

    From 0 (apart) to 1 (the same); NaN where both are empty.
    """
    found = alpha > FOREGROUND_ALPHA
    union = (found | mask).sum().item()
    return (found & mask).sum().item() / union if union else math.nan


def depth_error(
    depth: Float[Tensor, "H W"], truth: Float[Tensor, "H W"], alpha: Float[Tensor, "H W"]
) -> float:
    """Mean distance between depth and truth, in their unit, where the truth is finite and more than half of
    the light is absorbed: what is missing or too much is the mask's to tell. In `Rendering.depth` light that
    passes counts as absorbed at the far end of the ball. NaN without any such pixel.
    """
    both = truth.isfinite() & (alpha > FOREGROUND_ALPHA)
    return (depth - truth)[both].abs().double().mean().item()


def shape_scores(
    alpha: Float[Tensor, "H W"],
    depth: Float[Tensor, "H W"],
    mask: Bool[Tensor, "H W"],
    true_depth: Float[Tensor, "H W"] | None = None,
) -> dict[str, float]:
    """`iou` of the object's outline; `depth`, its error in radii of the object's ball, where it is known."""
    scores = {"iou": mask_iou(alpha, mask)}
    if true_depth is not None:
        scores["depth"] = depth_error(depth, true_depth, alpha)
    return scores


def _checked(prediction: Float[Tensor, "H W 3"], truth: Float[Tensor, "H W 3"]) -> Float[Tensor, "H W 3"]:
    """The prediction clamped to 0 and 1."""
    if prediction.shape != truth.shape:
        raise DataError(
            f"a picture of shape {tuple(prediction.shape)} against a truth of {tuple(truth.shape)}"
        )
    if not bool(torch.isfinite(prediction).all()):
        raise DataError("a picture holds NaN or infinity: it has no score")
    return prediction.clamp(0, 1)
