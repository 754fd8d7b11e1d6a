"""A U-Net over each context view by itself (Ronneberger et al. 2015): what its pixels show, at four scales.

Patches that one linear map makes into tokens know little of what lies in them, and tokens know little of
single pixels. Convolutions learn both in a fraction of the steps: how deep each pixel is, above all. The
network joins the transformer in both directions, by maps that begin at 0: its coarsest features are added to
the tokens of their patches, and what the encoder made of these comes back before the way up.
"""

import itertools
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from vnp_core.attention import SelfAttentionBlock
from vnp_nerf.ray_tokens import PIXEL_CHANNELS
from vnp_nerf.view_depth import ViewDepth, depth_of_raw

_Layer = TypeVar("_Layer", nn.Linear, nn.Conv2d)
_GROUPS = 8
"""Of the norms: the number of channels is a multiple of it."""
_HEADS = 4
_ATTENTION_LAYERS = 2


@dataclass
class Scales:
    """Features of V views on the way down, finest first; the last has a token's patch in a cell."""

    levels: list[Float[Tensor, "B*V C h w"]]
    views: int
    """V."""


class MatrixConv(nn.Module):
    """A 3 x 3 convolution, or 4 x 4 with a stride of 2, whose weights are kept as the matrix that they are.

    Optimisers of hidden matrices (Muon) take it for one; `torch.nn.Conv2d` is the same function.
    """

    def __init__(self, inputs: int, outputs: int, *, halve: bool = False) -> None:
        super().__init__()
        self.side, self.stride, self.inputs = (4, 2, inputs) if halve else (3, 1, inputs)
        bound = (inputs * self.side**2) ** -0.5
        self.weight = nn.Parameter(torch.empty(outputs, inputs * self.side**2).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(outputs).uniform_(-bound, bound))

    def forward(self, x: Float[Tensor, "M I h w"]) -> Float[Tensor, "M O H W"]:
        """Maps of the same size, or of half of it."""
        kernel = rearrange(self.weight, "O (I y x) -> O I y x", y=self.side, x=self.side)
        return F.conv2d(x, kernel, self.bias, stride=self.stride, padding=1)


class ConvBlock(nn.Module):
    """x + conv(gelu(conv(norm x)))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(_GROUPS, channels)
        self.first = MatrixConv(channels, channels)
        self.second = MatrixConv(channels, channels)

    def forward(self, x: Float[Tensor, "M C h w"]) -> Float[Tensor, "M C h w"]:
        """Maps of the same size."""
        return x + self.second(F.gelu(self.first(self.norm(x))))


class ViewUNet(nn.Module):
    """From the views' pixels to features for tokens, to their depth, and to features for points.

    channels: of the finest level, doubled with each halving; patch: side of a token's patch, a power of two;
    canvas: side of a view; feature_channels: of the maps that points read.
    """

    def __init__(
        self, channels: int, patch: int, canvas: int, token_width: int, feature_channels: int
    ) -> None:
        super().__init__()
        halvings = patch.bit_length() - 1
        widths = [channels * 2**level for level in range(halvings + 1)]
        steps = list(itertools.pairwise(widths))
        self.cells = canvas // patch
        self.enter = nn.Conv2d(PIXEL_CHANNELS, channels, 3, padding=1)
        self.halve = nn.ModuleList(MatrixConv(fine, coarse, halve=True) for fine, coarse in steps)
        self.down = nn.ModuleList(ConvBlock(coarse) for _, coarse in steps)
        self.places = nn.Parameter(torch.zeros(self.cells**2, widths[-1]))
        self.attend = nn.ModuleList(
            SelfAttentionBlock(widths[-1], _HEADS, 2 * widths[-1]) for _ in range(_ATTENTION_LAYERS)
        )
        # Without norms cells grow to some hundred times the size of tokens, and do not hear them.
        self.cells_norm = nn.LayerNorm(widths[-1])
        self.tokens_norm = nn.LayerNorm(token_width)
        self.to_tokens = _silent(nn.Linear(widths[-1], token_width))
        self.from_tokens = _silent(nn.Linear(token_width, widths[-1]))
        self.narrow = nn.ModuleList(nn.Conv2d(coarse, fine, 1) for fine, coarse in reversed(steps))
        self.up = nn.ModuleList(ConvBlock(fine) for fine, _ in reversed(steps[1:]))
        self.to_features = _silent(nn.Conv2d(widths[1], feature_channels, 1))
        self.finest = nn.Conv2d(channels, channels, 3, padding=1)
        self.depth = nn.Conv2d(channels, 2, 3, padding=1)

    def read(self, pixels: Float[Tensor, "B V C P P"]) -> Scales:
        """The way down: everything that needs no tokens."""
        x = F.gelu(self.enter(rearrange(pixels, "B V C H W -> (B V) C H W")))
        levels = [x]
        for halve, block in zip(self.halve, self.down, strict=True):
            levels.append(block(halve(x)))
            x = F.gelu(levels[-1])
        cells = rearrange(levels[-1], "M C h w -> M (h w) C") + self.places
        for block in self.attend:
            cells = block(cells)
        levels[-1] = rearrange(self.cells_norm(cells), "M (h w) C -> M C h w", h=self.cells)
        return Scales(levels, pixels.shape[1])

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


def _silent(layer: _Layer) -> _Layer:
    """A layer that gives 0 until it learns."""
    nn.init.zeros_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer
