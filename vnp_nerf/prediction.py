"""What a model says of pixels that nobody has seen: a mean, and how far the truth may lie from it.

By the law of total variance it has two parts: the noise that each draw of the latents itself expects,
E[sigma^2], and what the latents leave open, Var[mu], by which draws disagree (epistemic).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vnp_core.errors import ConfigError
from vnp_nerf.rendering import Rendering

_FAINT = 0.01
_MOST = 0.25
"""No number between 0 and 1 has a larger variance (Popoviciu 1935). Nothing else bounds what noise says, and
the unbiased variance of few draws exceeds it.
"""


@dataclass(frozen=True, eq=False)
class Prediction:
    """K draws of the latents, looked at together; leading axes are those of the rays.

    Colours lie in 0 to 1, and their deviations are root mean squares over the channels. Depths have the unit
    of the rays' origins, and are those of light that is absorbed.
    """

    draws: Float[Tensor, "*R K 3"]
    """The colour of each draw."""
    rgb: Float[Tensor, "*R 3"]
    """Mean of the draws."""
    rgb_std: Float[Tensor, "*R"]
    """Of the colour, noise included; at most .5, as of all that lies in 0 to 1."""
    epistemic: Float[Tensor, "*R"]
    """Standard deviation of the colour over draws: the part that the latents leave open; at most .5."""
    accumulation_std: Float[Tensor, "*R"]
    """Of the share of light that is absorbed, noise included; at most .5."""
    depth_std: Float[Tensor, "*R"]
    """Of the distance at which light is absorbed, along the ray and over draws; 0 where hardly any is."""

    @classmethod
    def of_draws(cls, seen: Rendering, far: Float[Tensor, "*R"]) -> "Prediction":
        """From a rendering whose last axis of rays is that of K >= 2 draws, as `DrawnFields` give it.

        far: where its depth puts light that nothing absorbs. A model without noise tells of the disagreement
        of its draws alone.
        """
        epistemic = seen.rgb.var(-2).mean(-1)
        rgb = epistemic + _noise(seen.rgb_variance)
        alpha = seen.alpha.var(-1) + _noise(seen.alpha_variance)
        return cls(
            draws=seen.rgb,
            rgb=seen.rgb.mean(-2),
            rgb_std=rgb.clamp_max(_MOST).sqrt(),
            epistemic=epistemic.clamp_max(_MOST).sqrt(),
            accumulation_std=alpha.clamp_max(_MOST).sqrt(),
            depth_std=_depth_variance(seen, far).sqrt(),
        )


def check_draws(draws: int) -> None:
    """Raises `ConfigError` for a number of draws that have no spread."""
    if draws < 0 or draws == 1:
        raise ConfigError(f"{draws} draws have no spread: give 0, or 2 or more.")


def _noise(variance: Float[Tensor, "*R K"] | None) -> Float[Tensor, "*R"] | float:
    return 0.0 if variance is None else variance.mean(-1)


def _depth_variance(seen: Rendering, far: Float[Tensor, "*R"]) -> Float[Tensor, "*R"]:
    """Draws count as much as the light that they absorb: one that sees nothing there has no depth.

    Where all of them together absorb less than `_FAINT` of the light, a depth would be made of roundings.
    """
    share = seen.alpha / seen.alpha.sum(-1, keepdim=True).clamp_min(1e-6)
    depth = (seen.depth - (1 - seen.alpha) * far[..., None]) / seen.alpha.clamp_min(1e-6)
    mean = (share * depth).sum(-1, keepdim=True)
    along = torch.zeros_like(depth) if seen.depth_variance is None else seen.depth_variance
    variance = (share * (along + (depth - mean).square())).sum(-1)
    return torch.where(seen.alpha.mean(-1) > _FAINT, variance, 0.0)
