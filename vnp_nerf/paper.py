"""The 3D model of the paper as released: parameter for parameter, with its own volume rendering.

Guo et al. 2023, section 4.3 and the released ShapeNet configuration. A context picture's (colour, origin,
direction) in 8 x 8 patches becomes tokens; each sample on a ray reads them; four latent levels follow.

Mode `paper` pools each level's prior over the 1,024 rays that are rendered together, and draws anew for each
such chunk. Mode `consistent` is the same decoder with latents inferred from the tokens once: one draw is one
field. How it renders stands in `axial_rendering.py`.
"""

from dataclasses import dataclass
from functools import cached_property, partial
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Generator, Tensor, nn

from vnp_core.decoder import Decoder, DecoderCache, DecoderConfig, LatentSource
from vnp_core.encoder import BottleneckEncoder, EncoderConfig
from vnp_core.errors import ConfigError, ViewCountError
from vnp_core.fourier import FourierConfig
from vnp_core.latent_sources import DrawnLatents, PooledLatents, QueriedLatents
from vnp_core.latents import LatentConfig, LatentHierarchy, standard_noise
from vnp_core.objectives import BetaSchedule
from vnp_core.patches import PatchEmbedding, patch_mask
from vnp_core.tokens import Tokens
from vnp_nerf.axial_rendering import (
    activated,
    axial_directions,
    over_white,
    ray_depths,
    render_axial,
    white_colours,
)
from vnp_nerf.batches import TrainBatch
from vnp_nerf.cameras import pixel_rays
from vnp_nerf.chunk_decoder import ChunkDecoder
from vnp_nerf.execution import Precision
from vnp_nerf.rendering import Background, Rendering
from vnp_nerf.views import Views

RAY_CHANNELS = 9
"""Colour, origin, direction."""


@dataclass(frozen=True)
class PaperConfig:
    """The released configuration; every number may be made smaller."""

    kind: Literal["paper"] = "paper"
    """Which model this configures."""
    mode: Literal["paper", "consistent"] = "paper"
    """Latents pooled over each chunk of rays, as released, or drawn once a scene."""
    width: int = 512
    """Width of tokens, states, styles and hidden layers."""
    patch: int = 8
    """Side of a token's patch, pixels."""
    encoder_layers: int = 6
    """Self-attention layers."""
    encoder_heads: int = 8
    """Heads of each self-attention layer."""
    encoder_hidden: int = 1024
    """Hidden width of each feed-forward of the encoder."""
    attention_layers: int = 3
    """Cross-attention layers from samples to tokens."""
    attention_heads: int = 4
    """Heads of each cross-attention layer."""
    frequencies: int = 64
    """Frequencies a coordinate, from 1 to 256 radians a unit."""
    levels: int = 4
    """Latent levels."""
    latent_dim: int = 64
    """Width of each latent."""
    near: float = 2.0
    """Depth of a ray's first sample, model units."""
    far: float = 6.0
    """Depth of a ray's last sample, model units."""
    samples: int = 128
    """Samples a ray."""
    chunk_rays: int = 1024
    """Rays that are rendered, and in the 'paper' mode pooled, together."""
    kl_weight: float = 1e-3
    """Weight of the KL divergence, nats, at the end of its ramp."""
    kl_ramp: int = 6250
    """Steps of the ramp: 50 epochs, each two passes over about 2,000 objects, 32 a batch."""

    def __post_init__(self) -> None:
        if not 0 <= self.near < self.far or self.samples < 2:
            raise ConfigError(
                f"Rays need 0 <= near < far and 2 samples; given were near {self.near}, far {self.far}, "
                f"{self.samples} samples."
            )


@dataclass(frozen=True)
class PaperEncoded:
    """All that depends on the context alone; B scenes."""

    tokens: Tokens
    cache: DecoderCache
    origins: Float[Tensor, "B R 3"]
    """Rays spread over the first context view, for a field that is asked about points before any ray."""
    directions: Float[Tensor, "B R 3"]


class PaperModel(nn.Module):
    """The model behind `vnp-nerf-paper`."""

    def __init__(self, config: PaperConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        latents = LatentConfig(config.levels, config.latent_dim, hidden=width, min_std=0.1)
        self.patches = PatchEmbedding(RAY_CHANNELS, config.patch, width)
        self.encoder = BottleneckEncoder(
            EncoderConfig(
                width,
                config.encoder_layers,
                config.encoder_heads,
                config.encoder_hidden,
                null_token=False,
                final_norm=False,
            )
        )
        self.latents: PooledLatents | LatentHierarchy
        if config.mode == "paper":
            self.latents = PooledLatents(latents, width, outputs=4, observed=3)
        else:
            self.latents = LatentHierarchy(latents, width)
        fourier = FourierConfig(config.frequencies, octaves=8.0, base=1.0, raw=False)
        attention = DecoderConfig(
            width, fourier, "post_norm", config.attention_layers, config.attention_heads, hidden=width
        )
        self.decoder = Decoder(attention, latents, x_dim=3, token_width=width, outputs=4)
        self.kl_schedule = BetaSchedule(config.kl_weight, config.kl_ramp)

    # -- encode, infer, decode -------------------------------------------------------------------------------

    def tokens(self, views: Views) -> Tokens:
        """Encoded patches of all views of a scene. Raises `ViewCountError` for a scene without any view."""
        if not bool(views.mask.any(1).all()):
            raise ViewCountError("The paper's model needs at least one context view of every scene.")
        pictures, present = ray_pictures(views)
        count = views.count
        values = self.patches(rearrange(pictures, "B V C H W -> (B V) C H W"))
        mask = patch_mask(rearrange(present, "B V H W -> (B V) H W"), self.config.patch)
        values, mask = (rearrange(part, "(B V) T ... -> B (V T) ...", V=count) for part in (values, mask))
        return self.encoder(Tokens(values, mask))

    def encode(self, views: Views) -> PaperEncoded:
        """Tokens, and each cross-attention layer's keys and values."""
        tokens = self.tokens(views)
        origins, directions = spread_rays(views, self.config.chunk_rays)
        return PaperEncoded(tokens, self.decoder.cache(tokens), origins, directions)

    def infer_field(self, encoded: PaperEncoded, *, generator: Generator | None = None) -> "PaperField":
        """One scene's field at the latents' mean, or under draws of the generator."""
        return PaperField(self, encoded, generator)

    def noise(self, scenes: int, generator: Generator | None) -> Float[Tensor, "B 1 L dim"]:
        """What makes one draw of a scene's latents; zeros, for the mean, without a generator."""
        shape = (scenes, 1, self.config.levels, self.config.latent_dim)
        return standard_noise(shape, generator, next(self.parameters()))

    def depths(self, origins: Float[Tensor, "B R 3"], generator: Generator | None) -> Float[Tensor, "B R S"]:
        """Where rays are sampled; jittered under a generator."""
        return ray_depths(self.config.near, self.config.far, self.config.samples, generator, origins)

    def queried(
        self,
        noise: Float[Tensor, "B 1 L dim"],
        depths: Float[Tensor, "B R S"],
        truth: Float[Tensor, "B R 3"] | None = None,
    ) -> QueriedLatents:
        """The 'paper' mode's source: latents of the rays at these depths, with truth from the posterior."""
        assert isinstance(self.latents, PooledLatents)
        observe = partial(white_colours, depths=depths)
        return QueriedLatents(self.latents, self.decoder, noise, observe=observe, truth=truth)

    def march(
        self,
        cache: DecoderCache,
        origins: Float[Tensor, "B R 3"],
        axial: Float[Tensor, "B R 3"],
        depths: Float[Tensor, "B R S"],
        source: LatentSource,
    ) -> Float[Tensor, "B RS 4"]:
        """Raw colour and density at every sample of every ray."""
        return self.decoder(samples_on(origins, axial, depths), cache, source)

    # -- training --------------------------------------------------------------------------------------------

    def train_outputs(
        self, batch: TrainBatch, generator: Generator, step: int | None = None
    ) -> dict[str, Tensor]:
        """The batch's rays over white, under latents from the posterior."""
        encoded = self.encode(batch.context)
        axial = axial_directions(batch.origins, batch.directions)
        depths = self.depths(batch.origins, generator)
        truth = over_white(batch.rgba)
        if isinstance(self.latents, LatentHierarchy):
            everything = self.tokens(batch.context.cat_views(batch.targets))
            drawn = self.latents.draw_with_prior(everything, encoded.tokens, generator)
            source = DrawnLatents(self.decoder.modulate(drawn.latents))
            raw = self.march(encoded.cache, batch.origins, axial, depths, source)
        else:
            source = self.queried(self.noise(len(depths), generator), depths, truth)
            raw = self.march(encoded.cache, batch.origins, axial, depths, source)
            drawn = source.drawn()
        return {"rgb": white_colours(raw, depths), "truth": truth, "kl": drawn.kl[:, 0]}

    def loss_terms(self, outputs: dict[str, Tensor], batch: TrainBatch, step: int) -> dict[str, Tensor]:
        """Mean squared error over white, and the KL summed over levels."""
        return {
            "rgb": F.mse_loss(outputs["rgb"], outputs["truth"]),
            "kl": self.kl_schedule(step) * outputs["kl"].sum(-1).mean(),
        }

    @torch.no_grad()
    def metrics(self, outputs: dict[str, Tensor], batch: TrainBatch) -> dict[str, Tensor]:
        """PSNR of the batch's rays over white, dB, and the KL of each level, nats."""
        psnr = -10 * torch.log10(F.mse_loss(outputs["rgb"], outputs["truth"]))
        return {"psnr": psnr, **{f"kl_{level}": kl for level, kl in enumerate(outputs["kl"].mean(0))}}


class PaperField:
    """One scene (see `vnp_nerf.protocol.Field`).

    In the 'paper' mode every rendered chunk has latents of its own, as released; only points that are asked
    for without rays share a draw, made from rays spread over the first context view.

    With a precision, points pass through the decoder in blocks; without one, as in training, all at once.
    """

    def __init__(
        self,
        model: PaperModel,
        encoded: PaperEncoded,
        generator: Generator | None,
        precision: Precision | None = None,
    ) -> None:
        self.model, self.encoded, self.generator = model, encoded, generator
        self.blocks = None if precision is None else ChunkDecoder(model.decoder, encoded.cache, precision)
        self.fixed: DrawnLatents | None = None
        if isinstance(model.latents, LatentHierarchy):
            draw = model.latents.draw(encoded.tokens, generator=generator)
            self.fixed = DrawnLatents(model.decoder.modulate(draw.latents))

    def density_colour(
        self, points: Float[Tensor, "N 3"], directions: Float[Tensor, "N 3"] | None = None
    ) -> tuple[Float[Tensor, "N"], Float[Tensor, "N 3"]]:
        """Density and colour at points; this model has no view direction."""
        density, rgb = activated(self._decode(points[None], self.fixed or self.spread)[0])
        return density, rgb

    @cached_property
    def spread(self) -> DrawnLatents:
        """The 'paper' mode's latents over rays spread over the first context view."""
        source = self._chunk(self.encoded.origins[0], self.encoded.directions[0])[-1]
        assert isinstance(source, QueriedLatents)
        return DrawnLatents(self.model.decoder.modulate(source.drawn().latents))

    def render(
        self,
        origins: Float[Tensor, "R 3"],
        directions: Float[Tensor, "R 3"],
        *,
        background: Background = "white",
    ) -> Rendering:
        """What the rays see, a chunk at a time."""
        rays = self.model.config.chunk_rays
        behind = background
        parts: list[Rendering] = []
        for start in range(0, max(1, len(origins)), rays):
            chunk = slice(start, start + rays)
            if isinstance(background, Tensor) and background.ndim > 1:
                behind = background[chunk]
            raw, depths, axial, _ = self._chunk(origins[chunk], directions[chunk])
            parts.append(render_axial(raw[0], depths[0], axial[0].norm(dim=-1), behind))
        return Rendering.cat(parts)

    def _chunk(
        self, origins: Float[Tensor, "R 3"], directions: Float[Tensor, "R 3"]
    ) -> tuple[Float[Tensor, "1 RS 4"], Float[Tensor, "1 R S"], Float[Tensor, "1 R 3"], LatentSource]:
        model, origins, directions = self.model, origins[None], directions[None]
        axial = axial_directions(origins, directions)
        depths = model.depths(origins, None)
        source = self.fixed or model.queried(model.noise(1, self.generator), depths)
        return self._decode(samples_on(origins, axial, depths), source), depths, axial, source

    def _decode(self, points: Float[Tensor, "1 N 3"], source: LatentSource) -> Float[Tensor, "1 N 4"]:
        if self.blocks is None:
            return self.model.decoder(points, self.encoded.cache, source)
        return self.blocks(points[0], source)[None]


def samples_on(
    origins: Float[Tensor, "B R 3"], axial: Float[Tensor, "B R 3"], depths: Float[Tensor, "B R S"]
) -> Float[Tensor, "B RS 3"]:
    """The points at these depths, ray by ray."""
    points = origins[:, :, None] + depths[..., None] * axial[:, :, None]
    return rearrange(points, "B R S xyz -> B (R S) xyz")


def ray_pictures(views: Views) -> tuple[Float[Tensor, "B V 9 H W"], Tensor]:
    """Each pixel's colour over white, origin and axial direction; 0 and False outside of the picture."""
    height, width = views.rgba.shape[-2:]
    rows = torch.arange(height, device=views.rgba.device)
    columns = torch.arange(width, device=views.rgba.device)
    pixels = torch.stack(torch.meshgrid(columns + 0.5, rows + 0.5, indexing="xy"), dim=-1)  # [H, W, (x, y)]
    poses = views.camera_to_world[:, :, None, None]
    origins, directions = pixel_rays(poses, views.intrinsics[:, :, None, None], pixels)
    axial = directions / (directions * -poses[..., 2]).sum(-1, keepdim=True)
    colour = over_white(rearrange(views.rgba, "B V C H W -> B V H W C"))
    channels = torch.cat([colour, origins.expand_as(axial), axial], dim=-1)
    inside = (rows[:, None] < views.sizes[..., 0, None, None]) & (columns < views.sizes[..., 1, None, None])
    present = inside & views.mask[..., None, None]
    channels = channels.masked_fill(~present[..., None], 0.0)
    return rearrange(channels, "B V H W C -> B V C H W"), present


def spread_rays(views: Views, count: int) -> tuple[Float[Tensor, "B R 3"], Float[Tensor, "B R 3"]]:
    """About `count` unit rays on a square lattice over each scene's first view."""
    first = views.mask.int().argmax(1)
    scenes = torch.arange(views.batch, device=first.device)
    side = max(1, round(count**0.5))
    ticks = (torch.arange(side, device=first.device) + 0.5) / side
    lattice = torch.stack(torch.meshgrid(ticks, ticks, indexing="xy"), dim=-1)
    size = views.sizes[scenes, first].flip(-1)  # (width, height)
    pixels = rearrange(lattice, "h w xy -> 1 (h w) xy") * size[:, None]
    poses, intrinsics = (
        views.camera_to_world[scenes, first][:, None],
        views.intrinsics[scenes, first][:, None],
    )
    origins, directions = pixel_rays(poses, intrinsics, pixels)
    return origins.expand_as(directions), directions
