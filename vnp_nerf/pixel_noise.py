"""What one draw of the latents leaves open of a pixel, and the likelihood that teaches it.

A point has a colour noise and an opacity noise, which are rendered along the ray as its colour is. A pixel's
values given a draw follow Student's t about the rendered colour, which has the heavy tails of the errors that
edges make; over draws the prediction is a mixture of these. Space that no view has seen is noisy because
likelihood says so; space that the latents decide is not, since each draw knows better.
"""

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vnp_core.objectives import log_mean_exp, mixture_log_likelihood
from vnp_core.student import StudentMixture

FLOOR = 1 / 255
"""Smallest standard deviation of a pixel: one grey level of 256."""
DOF = 5.0
"""Degrees of freedom of a pixel's distribution."""
EVIDENCE = 1 / 16
"""Rays of one picture err together: this many independent ones stand for each."""
EMPTY = 0.4
"""By how much the rays that miss the object count for its noise, against those that meet it."""
_UNKNOWN = 0.02
"""Where less light than this is absorbed, the object's own colour fades to a middle grey."""
_QUIET = -2.0
"""A fresh model's raw noise: a standard deviation of about .13."""


class NoiseHead(nn.Module):
    """Noise of colour and of opacity at points, >= 0, float32; 1 is the range from black to white.

    factor: times what the weights say.
    """

    def __init__(self, width: int, factor: float = 1.0) -> None:
        super().__init__()
        self.factor = factor
        self.of_state = nn.Linear(width, 2)
        nn.init.constant_(self.of_state.bias, _QUIET)

    def forward(self, state: Float[Tensor, "B N D"]) -> Float[Tensor, "B N 2"]:
        """Standard deviations at points."""
        return self.factor * F.softplus(self.of_state(state).float())


def pixel_distribution(rgb: Float[Tensor, "B K R 3"], variance: Float[Tensor, "B K R"]) -> StudentMixture:
    """Of R pixels of B scenes under K draws, from what was rendered of them."""
    return StudentMixture(rgb, pixel_scale(variance)[..., None], DOF)


def pixel_scale(variance: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """The scale of Student's t that has this variance."""
    return (variance * ((DOF - 2) / DOF)).sqrt()


def noise_variances(
    weights: Float[Tensor, "*R S"],
    lengths: Float[Tensor, "*#R S"],
    noise: Float[Tensor, "*R S 2"],
    colour: Float[Tensor, "*R 3"],
    background: Float[Tensor, "*#R 3"],
) -> tuple[Float[Tensor, "*R"], Float[Tensor, "*R"]]:
    """Variance of a pixel's colour over a background (mean over channels), and of its alpha.

    weights, lengths: of the ray's intervals. colour: premultiplied. Noise of colour counts where light is
    absorbed. Noise of opacity counts there and wherever light passes, for something may be missing, by the
    length of the way. An alpha that is off by e moves the colour by e times what lies between the object's
    own colour and the background. Neither geometry nor colour learns from here.
    """
    weights, colour = weights.detach(), colour.detach()
    alpha = weights.sum(-1)
    # What reaches an interval: what is absorbed in none of those before.
    light = 1 - (weights.cumsum(-1) - weights)
    of_colour = (weights * noise[..., 0]).sum(-1)
    of_alpha = ((weights + light * lengths) * noise[..., 1]).sum(-1)
    own = (colour + _UNKNOWN * 0.5) / (alpha + _UNKNOWN)[..., None]
    contrast = (background - own).square().mean(-1)
    alpha_variance = of_alpha.square()
    return (of_colour + FLOOR).square() + alpha_variance * contrast, alpha_variance


def negative_log_likelihoods(
    log_probs: Float[Tensor, "B K R"], shown: Bool[Tensor, "B R"]
) -> dict[str, Float[Tensor, ""]]:
    """Minus the log-likelihood of R rays a scene under the mixture of K draws of its latents, nats a ray.

    'joint': of all rays together that no context view shows, which teaches draws to be whole objects that
    differ; each ray counts for `EVIDENCE` of one, else the draw that comes nearest would have all the weight,
    however close the others are. 'point': of each ray by itself, which teaches the mixture's marginals to be
    calibrated. 'shown': of the rays through context views under each draw by itself, for what was seen is
    not for a draw to change, and a mixture forgives it. 0 where there are no such rays.
    """
    of_hidden = EVIDENCE * (log_probs * ~shown[:, None]).sum(-1)  # [B, K]
    joint = (mixture_log_likelihood(of_hidden) / (EVIDENCE * (~shown).sum(1).clamp_min(1))).mean()
    single = _scene_means(log_probs.mean(1), shown).mean()
    terms = {"joint": joint, "point": log_mean_exp(log_probs, 1).mean(), "shown": single}
    return {name: -value.float() for name, value in terms.items()}


def noise_likelihood(log_probs: Float[Tensor, "B K R"], foreground: Bool[Tensor, "B R"]) -> Float[Tensor, ""]:
    """Minus the log-likelihood of single rays under the mixture of K draws, nats a ray: what noise learns
    from.

    A scene's rays that meet the object and those that miss it are averaged apart, and the latter count
    `EMPTY` times. Most of a picture is easily known background: all rays alike would teach a sigma that is
    right on the whole, and too small wherever something turns out to be.
    """
    each = -log_mean_exp(log_probs, 1)  # [B, R]
    inside, outside = _scene_means(each, foreground), _scene_means(each, ~foreground)
    return ((inside + EMPTY * outside) / (1 + EMPTY)).mean().float()


def _scene_means(values: Float[Tensor, "B R"], rays: Bool[Tensor, "B R"]) -> Float[Tensor, "B"]:
    """Of each scene's own rays, 0 where it has none of these: a batch shared out among processes has the loss
    of the whole.
    """
    return (values * rays).sum(1) / rays.sum(1).clamp_min(1)


def draw_spread(rgb: Float[Tensor, "B K R 3"], variance: Float[Tensor, "B K R"]) -> Float[Tensor, ""]:
    """By how much K draws differ, as a share of the noise that each expects; 0 where latents say nothing.

    A ratio of two root mean squares.
    """
    return (rgb.var(1).mean() / variance.mean()).sqrt()
