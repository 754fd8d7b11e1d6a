"""The local reading: what the context views show where a point projects into them.

A point looks up features and colours of every view at its projection (as pixelNeRF, Yu et al. 2021, and
IBRNet, Wang et al. 2021, do), a small network turns each view's evidence into a vector, and a masked mean
over views joins them. The point's own state can later ask the views again and blend their colours. All are
functions of position alone.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vnp_core.fourier import fourier_features, octave_frequencies
from vnp_nerf.projection import project_points, projection_matrices, turn
from vnp_nerf.ray_tokens import PIXEL_CHANNELS
from vnp_nerf.view_depth import SURFACE_CHANNELS, DepthHead, ViewDepth, surface_features
from vnp_nerf.views import Views, premultiply

_OPAQUE_ENOUGH = 0.02
_DEPTH_OCTAVES = 4
_GEOMETRY_CHANNELS = 1 + 2 * _DEPTH_OCTAVES + 3 + 1
"""Offset along the optical axis, plain and as Fourier features; direction from the camera; whether seen."""


@dataclass
class LocalMaps:
    """What is kept of the context views to be projected into."""

    features: Float[Tensor, "B V C P/2 P/2"]
    rgba: Float[Tensor, "B V 4 H W"]
    """Premultiplied, at the pictures' own resolution."""
    views: Views
    matrices: Float[Tensor, "B V 3 4"]
    """World to picture pixels."""
    canvas_scale: Float[Tensor, "B V"]
    rotation: Float[Tensor, "B 3 3"]
    """From the model frame to the frame that the network reads in."""
    depth: ViewDepth | None = None
    """What the views are taken to see a surface at, where the model predicts it."""


@dataclass
class LocalEvidence:
    """What the views say of N points."""

    states: Float[Tensor, "B V N D"]
    colours: Float[Tensor, "B V N 3"]
    seen: Bool[Tensor, "B V N"]
    """The point projects into the picture, in front of the camera."""
    pooled: Float[Tensor, "B N 2*D+1"]
    """Mean and standard deviation over the views that see the point, 0 where none does, and 1 / (1 + their
    number): what one mask leaves possible, eight masks make nearly sure."""


def bilinear(maps: Float[Tensor, "M C H W"], pixels: Float[Tensor, "M N 2"]) -> Float[Tensor, "M N C"]:
    """Values at pixel positions (x, y), pixel centres at +0.5; the border's outside."""
    height, width = maps.shape[-2:]
    grid = pixels / pixels.new_tensor([width, height]) * 2 - 1
    sampled = F.grid_sample(
        maps,
        rearrange(grid, "M N two -> M N 1 two"),
        mode="bilinear",
        padding_mode="border",
        align_corners=False,
    )
    return rearrange(sampled, "M C N 1 -> M N C")


class ProjectedFeatures(nn.Module):
    """Feature maps from pixels and tokens, and the network that reads them at projected points.

    The maps have half the canvas' resolution; what is finer comes with the pictures' own colours.
    """

    def __init__(
        self,
        token_width: int,
        patch: int,
        channels: int,
        width: int,
        mirror_marks: bool = False,
        view_depth: bool = False,
        unet: bool = False,
    ) -> None:
        super().__init__()
        self.patch = patch
        self.stem = nn.Sequential(
            nn.Conv2d(PIXEL_CHANNELS, channels, 4, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )
        self.from_tokens = nn.Linear(token_width, channels)
        self.mix = nn.Sequential(
            nn.Conv2d(2 * channels, channels, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )
        self.depth = DepthHead(token_width, patch, channels) if view_depth and not unet else None
        inputs = channels + 4 + _GEOMETRY_CHANNELS + SURFACE_CHANNELS * view_depth
        self.per_view = nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())

        self.mirror_mark = nn.Parameter(torch.zeros(width)) if mirror_marks else None
        """What is added to the first layer's evidence of mirror images, the second half of the views."""

    def maps(
        self,
        pixels: Float[Tensor, "B V C P P"],
        view_tokens: Float[Tensor, "B T D"],
        views: Views,
        canvas_scale: Float[Tensor, "B V"],
        rotation: Float[Tensor, "B 3 3"],
        unet_maps: tuple[ViewDepth, Float[Tensor, "B*V C P/2 P/2"]] | None = None,
    ) -> LocalMaps:
        """Feature maps of the views; `view_tokens` are those of the V views, in the tokenizer's order, and
        `unet_maps` what a `ViewUNet` made of them, where the model has one.
        """
        batch, count, _, side, _ = pixels.shape
        cells = side // self.patch
        coarse = rearrange(
            self.from_tokens(view_tokens),
            "B (V h w) C -> (B V) C h w",
            V=count,
            h=cells,
        )
        coarse = F.interpolate(coarse, size=(side // 2, side // 2), mode="bilinear", align_corners=False)
        fine = self.stem(rearrange(pixels, "B V C H W -> (B V) C H W"))
        features = self.mix(torch.cat([fine, coarse], dim=1))
        if unet_maps is not None:
            features = features + unet_maps[1]
        features = rearrange(features, "(B V) C H W -> B V C H W", B=batch)
        depth = None if unet_maps is None else unet_maps[0]
        return LocalMaps(
            features,
            premultiply(views.rgba),
            views,
            projection_matrices(views),
            canvas_scale,
            rotation,
            depth if self.depth is None else self.depth(view_tokens, features),
        )

    def forward(self, maps: LocalMaps, points: Float[Tensor, "B N 3"]) -> LocalEvidence:
        """Evidence of all views at points of the model frame."""
        views = maps.views
        batch = views.mask.shape[0]
        pixels, depth = project_points(maps.matrices, points)  # [B, V, N, ...]
        size = views.sizes[:, :, None].flip(-1).to(pixels.dtype)  # (width, height)
        seen = ((pixels >= 0) & (pixels <= size)).all(-1) & (depth > 1e-3) & views.mask[..., None]

        flat = rearrange(pixels, "B V N two -> (B V) N two")
        scale = (
            rearrange(maps.canvas_scale, "B V -> (B V) 1 1") / 2
        )  # the maps have half the canvas' resolution
        features = bilinear(rearrange(maps.features, "B V C H W -> (B V) C H W").float(), flat * scale)
        rgba = bilinear(rearrange(maps.rgba, "B V C H W -> (B V) C H W"), flat)
        rgba = rearrange(rgba, "(B V) N C -> B V N C", B=batch)

        origins = views.camera_to_world[..., 3]
        offset = turn(maps.rotation, points)[:, None] - turn(maps.rotation, origins)[:, :, None]
        distance = origins.norm(dim=-1)[..., None]  # the ball's centre is the origin
        along = (depth - distance)[..., None]
        frequencies = octave_frequencies(_DEPTH_OCTAVES, _DEPTH_OCTAVES - 1, torch.pi).to(along.device)
        geometry = torch.cat(
            [
                along,
                fourier_features(along, frequencies),
                offset / offset.norm(dim=-1, keepdim=True).clamp_min(1e-6),
                seen[..., None].to(offset.dtype),
            ],
            dim=-1,
        )
        features = rearrange(features, "(B V) N C -> B V N C", B=batch)
        told = [features, rgba, geometry]
        if maps.depth is not None:
            both = torch.stack([maps.depth.offset, maps.depth.spread], dim=2)
            surface = bilinear(rearrange(both, "B V C H W -> (B V) C H W"), flat * scale * 2)
            offset, spread = rearrange(surface, "(B V) N two -> two B V N", B=batch)
            told.append(surface_features(along[..., 0], offset, spread))
        evidence = self.per_view[0](torch.cat(told, dim=-1))
        if self.mirror_mark is not None:
            second = torch.arange(views.count, device=points.device) >= views.count // 2
            evidence = evidence + (second[:, None, None] * self.mirror_mark).to(evidence.dtype)
        states = self.per_view[1:](evidence)
        # Where hardly anything is opaque, a colour is the ratio of two roundings: let it fade instead.
        colours = rgba[..., :3] / rgba[..., 3:].clamp_min(_OPAQUE_ENOUGH)
        return LocalEvidence(states, colours.clamp(0, 1), seen, _pool(states, seen))


def _pool(states: Float[Tensor, "B V N D"], seen: Bool[Tensor, "B V N"]) -> Float[Tensor, "B N 2*D+1"]:
    """Mean, standard deviation and a measure of number, over the views that see a point, in any order."""
    weight = seen[..., None].to(states.dtype)
    number = seen.sum(1)[..., None].to(states.dtype)
    mean = (states * weight).sum(1) / number.clamp_min(1)
    variance = ((states - mean[:, None]).square() * weight).sum(1) / number.clamp_min(1)
    deviation = (variance.float() + 1e-6).sqrt().to(mean.dtype)
    return torch.cat([mean, deviation, 1 / (1 + number)], dim=-1)


class ColourBlend(nn.Module):
    """The colour of a point: a learned blend of the views' projected colours and of the field's own.

    The point's state asks each view's state (scaled dot product), a learned score stands for the field's
    own colour; views that do not see the point have no vote. With no view at all the field's own colour is
    all there is.
    """

    def __init__(self, width: int, view_width: int, key_width: int = 16) -> None:
        super().__init__()
        self.query = nn.Linear(width, key_width)
        self.key = nn.Linear(view_width, key_width)
        self.own = nn.Linear(width, 4)
        self.key_width = key_width

    def forward(
        self, state: Float[Tensor, "B*K N D"], evidence: LocalEvidence | None
    ) -> Float[Tensor, "B*K N 3"]:
        """Colours, 0 to 1, float32; the K draws of a scene share its evidence."""
        own = self.own(state).float()
        colour = torch.sigmoid(own[..., :3])
        if evidence is None:
            return colour
        scenes = len(evidence.colours)
        by_scene = "(B K) N D -> B K 1 N D"
        query, key = rearrange(self.query(state), by_scene, B=scenes), self.key(evidence.states)
        # Written out: as a batched matrix product this is B * K * N products of 1 x 16 by 16 x V.
        scores = (query * key[:, None]).float().sum(-1) / self.key_width**0.5  # [B, K, V, N]
        scores = scores.masked_fill(~evidence.seen[:, None], -torch.inf)
        own_score = rearrange(own[..., 3], "(B K) N -> B K 1 N", B=scenes)
        weights = torch.softmax(torch.cat([own_score, scores], dim=2), dim=2)  # [B, K, 1 + V, N]
        seen = (weights[:, :, 1:, :, None] * evidence.colours.float()[:, None]).sum(2)
        blended = weights[:, :, 0, :, None] * rearrange(colour, "(B K) N rgb -> B K N rgb", B=scenes) + seen
        return rearrange(blended, "B K N rgb -> (B K) N rgb")
