"""How deep each context view is, pixel by pixel: predicted, learned from true depth, and read at points.

What a view shows at a point's projection says little of the point unless it is known how far away that is: a
point behind it is hidden, a point before it empty. The colours of rays teach that slowly. Where a corpus
knows the depth of its pictures, each of their pixels teaches it at once (Splatter Image, Szymanowicz et al.
2024, predicts each pixel's depth as well, and learns it from colours alone).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from vnp_core.fourier import fourier_features, octave_frequencies
from vnp_nerf.canvas import Canvases
from vnp_nerf.reflection import turned_pictures
from vnp_nerf.views import Views

_SPREAD_FLOOR = 0.01
"""Least spread of a prediction, model units: no pixel is taken to be surer."""
_OCTAVES = 6
SURFACE_CHANNELS = 1 + 2 * _OCTAVES + 2
"""Of `surface_features`."""


@dataclass
class ViewDepth:
    """Where the views are taken to see a surface: a Laplace distribution in each canvas pixel.

    offset: along the optical axis, from the plane through the ball's centre, model units; spread: its scale.
    """

    offset: Float[Tensor, "B V P P"]
    spread: Float[Tensor, "B V P P"]

    def first(self, count: int) -> "ViewDepth":
        """That of the first views."""
        return ViewDepth(self.offset[:, :count], self.spread[:, :count])

    def agreed(self, filled: Bool[Tensor, "B V P P"]) -> "ViewDepth":
        """Where the second half of the views are mirror images of the first: the mean of the two guesses at
        each pixel's depth, for both. `filled` are the pixels that pictures cover, as `Canvases` has them.
        """
        widths = filled.any(-2).sum(-1).chunk(2, dim=1)[0]  # [B, V/2]
        return ViewDepth(_mean_of_twins(self.offset, widths), _mean_of_twins(self.spread, widths))


def _mean_of_twins(
    values: Float[Tensor, "B V P P"], widths: Int[Tensor, "B V/2"]
) -> Float[Tensor, "B V P P"]:
    first, second = values.chunk(2, dim=1)
    mean = (first + turned_pictures(second, widths)) / 2
    return torch.cat([mean, turned_pictures(mean, widths)], dim=1)


class DepthHead(nn.Module):
    """From tokens, each of which knows its whole patch, and from feature maps of half the canvas' resolution,
    which know where its edges are, to `ViewDepth`.
    """

    def __init__(self, token_width: int, patch: int, channels: int) -> None:
        super().__init__()
        self.patch = patch
        self.from_tokens = nn.Linear(token_width, 2 * patch**2)
        self.project = nn.Conv2d(channels, 8, 3, padding=1)

    def forward(self, view_tokens: Float[Tensor, "B T D"], features: Float[Tensor, "B V C h w"]) -> ViewDepth:
        """A prediction for each canvas pixel; T are the V views' tokens, row after row."""
        views, cells = features.shape[1], 2 * features.shape[-1] // self.patch
        coarse = rearrange(
            self.from_tokens(view_tokens),
            "B (V h w) (two p q) -> two B V (h p) (w q)",
            V=views,
            h=cells,
            p=self.patch,
            q=self.patch,
        )
        flat = self.project(rearrange(features, "B V C h w -> (B V) C h w"))
        fine = rearrange(F.pixel_shuffle(flat, 2), "(B V) two H W -> two B V H W", V=views)
        return depth_of_raw(coarse + fine)


def depth_of_raw(raw: Float[Tensor, "two B V P P"]) -> ViewDepth:
    """What a network's last layer says: the offset, and the spread before it is made positive."""
    offset, spread = raw.float()
    return ViewDepth(offset, F.softplus(spread) + _SPREAD_FLOOR)


def surface_features(
    along: Float[Tensor, "*N"], offset: Float[Tensor, "*N"], spread: Float[Tensor, "*N"]
) -> Float[Tensor, "*N F"]:
    """What a point at `along` the optical axis is told of a predicted surface: how far behind it lies, plain,
    as Fourier features and in spreads, and the spread.
    """
    behind = (along - offset)[..., None]
    frequencies = octave_frequencies(_OCTAVES, _OCTAVES - 1, torch.pi).to(behind.device)
    wide = spread[..., None]
    return torch.cat(
        [behind, fourier_features(behind, frequencies), torch.tanh(behind / wide), torch.log(wide)], dim=-1
    )


def true_offsets(
    depth: Float[Tensor, "B V H W"], views: Views, canvases: Canvases
) -> Float[Tensor, "B V P P"]:
    """True distances along pixels' rays as offsets along the optical axis, at the canvas' pixels; infinite
    where there is none.

    A pixel without any takes that of its nearest neighbour in front: between pixels a prediction is
    interpolated, and at an edge nothing that was never taught must get into it.
    """
    side = canvases.rgba.shape[-1]
    ticks = torch.arange(side, device=depth.device) + 0.5
    place = (ticks / canvases.scale[..., None]).long()  # [B, V, P]: the picture pixel under a canvas pixel's
    rows, columns = place.clamp_max(depth.shape[-2] - 1), place.clamp_max(depth.shape[-1] - 1)
    by_row = depth.gather(2, repeat(rows, "B V P -> B V P W", W=depth.shape[-1]))
    found = by_row.gather(3, repeat(columns, "B V Q -> B V P Q", P=side))
    forward = -views.camera_to_world[..., 2]
    cosine = (canvases.directions * forward[..., None, None]).sum(2)
    offset = found * cosine - views.camera_to_world[..., 3].norm(dim=-1)[..., None, None]
    offset = torch.where(found.isfinite() & canvases.filled, offset, torch.inf)
    alone = rearrange(offset, "B V P Q -> (B V) 1 P Q")
    nearest = -F.max_pool2d(-alone, kernel_size=3, stride=1, padding=1)
    return torch.where(offset.isfinite(), offset, nearest.view_as(offset))


def offset_likelihood(predicted: ViewDepth, truth: Float[Tensor, "B V P P"]) -> Float[Tensor, ""]:
    """Mean negative log-likelihood of the true offsets, nats a pixel that has one."""
    known = truth.isfinite()
    error = (predicted.offset - torch.where(known, truth, 0.0)).abs()
    lost = error / predicted.spread + torch.log(2 * predicted.spread)
    return (lost * known).sum() / known.sum().clamp_min(1)


def offset_error(predicted: ViewDepth, truth: Float[Tensor, "B V P P"]) -> Float[Tensor, ""]:
    """Mean distance between predicted and true offsets, model units, over pixels that have one; NaN without
    any.
    """
    known = truth.isfinite()
    return (predicted.offset - truth)[known].double().abs().mean()
