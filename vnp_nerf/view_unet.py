"""A U-Net over each context view by itself (Ronneberger et al. 2015): what its pixels show, at four scales.

Patches that one linear map makes into tokens know little of what lies in them, and tokens know little of
single pixels. Convolutions learn both in a fraction of the steps: how deep each pixel is, above all. The
network joins the transformer in both directions, by maps that begin at 0: its coarsest features are added to
the tokens of their patches, and what the encoder made of these comes back before the way up.
"""

import itertools
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from vnp_core.attention import SelfAttentionBlock
from vnp_nerf.convolutions import ConvBlock, MatrixConv, silent
from vnp_nerf.ray_tokens import PIXEL_CHANNELS
from vnp_nerf.view_depth import ViewDepth, depth_of_raw
from vnp_nerf.view_matching import Sights, ViewMatching
from vnp_nerf.views import Views

_HEADS = 4
_ATTENTION_LAYERS = 2


@dataclass
class Scales:
    """Features of V views on the way down, finest first; the last has a token's patch in a cell."""

    levels: list[Float[Tensor, "B*V C h w"]]
    views: int
    """V."""


class ViewUNet(nn.Module):
    """From the views' pixels to features for tokens, to their depth, and to features for points.

    channels: of the finest level, doubled with each halving; patch: side of a token's patch, a power of two;
    canvas: side of a view; feature_channels: of the maps that points read; matching: places along each ray
    where views look for each other's surfaces (`ViewMatching`), at half the canvas' resolution, or 0.
    """

    def __init__(
        self,
        channels: int,
        patch: int,
        canvas: int,
        token_width: int,
        feature_channels: int,
        matching: int = 0,
    ) -> None:
        super().__init__()
        halvings = patch.bit_length() - 1
        widths = [channels * 2**level for level in range(halvings + 1)]
        steps = list(itertools.pairwise(widths))
        self.cells = canvas // patch
        self.enter = nn.Conv2d(PIXEL_CHANNELS, channels, 3, padding=1)
        self.halve = nn.ModuleList(MatrixConv(fine, coarse, halve=True) for fine, coarse in steps)
        self.down = nn.ModuleList(ConvBlock(coarse) for _, coarse in steps)
        self.matching = ViewMatching(matching, widths[1]) if matching else None
        self.places = nn.Parameter(torch.zeros(self.cells**2, widths[-1]))
        self.attend = nn.ModuleList(
            SelfAttentionBlock(widths[-1], _HEADS, 2 * widths[-1]) for _ in range(_ATTENTION_LAYERS)
        )
        # Without norms cells grow to some hundred times the size of tokens, and do not hear them.
        self.cells_norm = nn.LayerNorm(widths[-1])
        self.tokens_norm = nn.LayerNorm(token_width)
        self.to_tokens = silent(nn.Linear(widths[-1], token_width))
        self.from_tokens = silent(nn.Linear(token_width, widths[-1]))
        self.narrow = nn.ModuleList(nn.Conv2d(coarse, fine, 1) for fine, coarse in reversed(steps))
        self.up = nn.ModuleList(ConvBlock(fine) for fine, _ in reversed(steps[1:]))
        self.to_features = silent(nn.Conv2d(widths[1], feature_channels, 1))
        self.finest = nn.Conv2d(channels, channels, 3, padding=1)
        self.depth = nn.Conv2d(channels, 2, 3, padding=1)

    def read(
        self,
        pixels: Float[Tensor, "B V C P P"],
        views: Views,
        canvas_scale: Float[Tensor, "B V"],
        keep: int | None = None,
    ) -> Scales:
        """The way down, which needs no tokens: of the first `keep` views, or of all.

        views: whose `pixels` these are, at `canvas_scale` canvas pixels a picture's; only matching asks.
        """
        count = pixels.shape[1]
        keep = count if keep is None else keep

        def kept(maps: Float[Tensor, "B*V C h w"]) -> Float[Tensor, "B*K C h w"]:
            by_view = rearrange(maps, "(B V) C h w -> B V C h w", V=count)
            return rearrange(by_view[:, :keep], "B K C h w -> (B K) C h w")

        x = F.gelu(self.enter(rearrange(pixels, "B V C H W -> (B V) C H W")))
        levels = [kept(x)]
        for halve, block in zip(self.halve, self.down, strict=True):
            x = block(halve(F.gelu(x) if len(levels) > 1 else x))
            if len(levels) == 1:
                matched = kept(x)
                if self.matching is not None:
                    alpha = F.avg_pool2d(pixels[:, :, 3], 2)
                    sights = Sights.of_maps(views, canvas_scale / 2, alpha.shape[-1])
                    matched = matched + self.matching(x, alpha, sights, keep)
                x = matched
            levels.append(x)
        cells = rearrange(x, "M C h w -> M (h w) C") + self.places
        for block in self.attend:
            cells = block(cells)
        levels[-1] = rearrange(self.cells_norm(cells), "M (h w) C -> M C h w", h=self.cells)
        return Scales(levels, keep)

    def token_features(self, scales: Scales) -> Float[Tensor, "B V*T D"]:
        """What is added to the views' tokens, view after view, row after row."""
        told = self.to_tokens(rearrange(scales.levels[-1], "M C h w -> M (h w) C"))
        return rearrange(told, "(B V) T D -> B (V T) D", V=scales.views)

    def maps(
        self, scales: Scales, view_tokens: Float[Tensor, "B V*T D"] | None
    ) -> tuple[ViewDepth, Float[Tensor, "B*V F P/2 P/2"]]:
        """The way up: the depth of each canvas pixel, and features at half the canvas' resolution.

        Without tokens each view is by itself.
        """
        x = scales.levels[-1]
        if view_tokens is not None:
            known = self.from_tokens(self.tokens_norm(view_tokens))
            known = rearrange(known, "B (V T) C -> (B V) T C", V=scales.views)
            x = x + rearrange(known, "M (h w) C -> M C h w", h=self.cells)
        for narrow, block, level in zip(self.narrow, self.up, reversed(scales.levels[1:-1]), strict=False):
            x = block(_doubled(narrow(x)) + level)
        features = self.to_features(x)
        x = F.gelu(self.finest(F.gelu(_doubled(self.narrow[-1](x)) + scales.levels[0])))
        raw = rearrange(self.depth(x), "(B V) two H W -> two B V H W", V=scales.views)
        return depth_of_raw(raw), features


def _doubled(x: Float[Tensor, "M C h w"]) -> Float[Tensor, "M C 2*h 2*w"]:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
