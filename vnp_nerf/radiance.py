"""VNP as a radiance field: a set of posed pictures becomes tokens, latents, and one function of space.

    encoded = model.encode(views)                  # tokens, feature maps, keys and values: once a context
    draw    = model.latents.draw(encoded.tokens)   # the mean, or a draw under a generator
    decoded = model.decode(encoded, draw.latents)  # planes and modulated weights: once a draw
    density, rgb = model.query(decoded, points)    # a frame pays for its points only

Each line is computed as often as its comment says.
"""

from dataclasses import dataclass, replace
from typing import cast

import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from vnp_core.attention import CrossAttentionBlock, KeysValues
from vnp_core.decoder import per_draw
from vnp_core.encoder import BottleneckEncoder
from vnp_core.errors import ConfigError
from vnp_core.fourier import fourier_features, octave_frequencies
from vnp_core.latents import LatentHierarchy
from vnp_core.modulation import ModulatedWeights
from vnp_core.tokens import Tokens
from vnp_nerf import radiance_training as training
from vnp_nerf.batches import TrainBatch
from vnp_nerf.canvas import make_canvases
from vnp_nerf.feature_planes import PlaneDecoder, read_planes
from vnp_nerf.field_network import FieldNetwork
from vnp_nerf.perspective_crops import perspective_crops
from vnp_nerf.pixel_noise import NoiseHead
from vnp_nerf.projected_features import ColourBlend, LocalMaps, ProjectedFeatures
from vnp_nerf.projection import turn
from vnp_nerf.radiance_config import RadianceConfig
from vnp_nerf.ray_sampling import ball_span, importance_edges, stratified_edges
from vnp_nerf.ray_tokens import RayTokenizer, pixel_channels
from vnp_nerf.reflection import reflected_views
from vnp_nerf.rendering import Background, Rendering, background_of, composite, ray_weights
from vnp_nerf.view_unet import Scales, ViewUNet
from vnp_nerf.views import Views
from vnp_nerf.visual_hull import VisualHull

PACK = 1024
"""Points are packed into a multiple of this many."""


@dataclass
class Encoded:
    """All that depends on the context alone; B scenes."""

    tokens: Tokens
    rotation: Float[Tensor, "B 3 3"]
    hull: VisualHull | None
    plane_keys: list[KeysValues] | None
    point_keys: list[KeysValues] | None
    local: LocalMaps | None


@dataclass
class Decoded:
    """All that depends on the context and K draws of each of B scenes, scene by scene."""

    encoded: Encoded
    planes: Float[Tensor, "B*K 3 C P P"] | None
    weights: list[ModulatedWeights]
    draws: int
    """K."""


class RadianceModel(nn.Module):
    """The model behind `vnp-nerf`."""

    def __init__(self, config: RadianceConfig) -> None:
        super().__init__()
        self.config = config
        width, encoder = config.width, config.encoder
        latent_width = config.latents.levels * config.latents.dim
        self.tokenizer = RayTokenizer(config.patch, encoder.width)
        self.encoder = BottleneckEncoder(encoder)
        if config.mirror_marks:
            self.mirror_mark = nn.Parameter(torch.zeros(encoder.width))
            """What is added to tokens of mirror images, the second half of the views."""
        self.latents = LatentHierarchy(config.latents, encoder.width)
        self.unet: ViewUNet | None = None
        if config.view_unet:
            self.unet = ViewUNet(
                config.view_unet, config.patch, config.canvas, encoder.width, config.local_channels
            )
        inputs = 3 + 6 * config.position_octaves
        if "planes" in config.readings:
            self.planes = PlaneDecoder(
                encoder.width,
                encoder.heads,
                config.plane_layers,
                config.plane_cells,
                config.plane_resolution,
                config.plane_channels,
                latent_width,
            )
            inputs += 3 * config.plane_channels
        if "local" in config.readings:
            self.local = ProjectedFeatures(
                encoder.width,
                config.patch,
                config.local_channels,
                config.local_width,
                config.mirror_marks,
                config.view_depth,
                bool(config.view_unet),
            )
            inputs += 2 * config.local_width + 1
        self.network = FieldNetwork(inputs, width, config.latents.levels, config.latents.dim, encoder.width)
        if "point" in config.readings:
            self.points = nn.ModuleList(
                CrossAttentionBlock(width, 4, 2 * width, encoder.width) for _ in range(config.point_layers)
            )
        self.blend = ColourBlend(width + 3 * config.view_directions, config.local_width)
        self.channels = 3
        """What is rendered of a point: its colour, and with `config.noise` that of colour and opacity."""
        if config.noise:
            self.noise = NoiseHead(width, config.noise_factor)
            self.channels = 5

    def tokens(
        self, pixels: Float[Tensor, "B V C P P"], filled: Bool[Tensor, "B V P P"], scales: Scales | None
    ) -> Tokens:
        """Encoded tokens of views on canvases."""
        tokens = self.tokenizer(pixels, filled)
        if self.unet is not None and scales is not None:
            tokens = Tokens(tokens.values + self.unet.token_features(scales), tokens.mask)
        if self.config.mirror_marks:
            second = torch.arange(tokens.values.shape[1], device=pixels.device) >= tokens.values.shape[1] // 2
            tokens = Tokens(tokens.values + second[:, None] * self.mirror_mark, tokens.mask)
        return self.encoder(tokens)

    def encode(self, views: Views) -> Encoded:
        """Everything that depends on the context views alone."""
        config, readings = self.config, self.config.readings
        views = perspective_crops(views.or_padding(config.canvas), config.canvas, config.context_crop)
        rotation = self.reading_rotation(views)
        canvases = make_canvases(views, config.canvas)
        hull = VisualHull.from_canvases(canvases, views) if config.carve else None
        if config.mirror_views:
            views = views.cat_views(reflected_views(views, config.mirror_axis))
            canvases = make_canvases(views, config.canvas)
        pixels = pixel_channels(canvases, rotation)
        scales = None if self.unet is None else self.unet.read(pixels)
        tokens = self.tokens(pixels, canvases.filled, scales)
        local = None
        if "local" in readings:
            count = views.mask.shape[1] * (config.canvas // config.patch) ** 2
            view_tokens = tokens.values[:, -count:]  # all but the encoder's null token
            unet_maps = None
            if self.unet is not None and scales is not None:
                unet_maps = self.unet.maps(scales, None if config.hold_view_depth else view_tokens)
            local = self.local.maps(pixels, view_tokens, views, canvases.scale, rotation, unet_maps)
            if config.mirror_depth:
                assert local.depth is not None
                local = replace(local, depth=local.depth.agreed(canvases.filled))
        return Encoded(
            tokens=tokens,
            rotation=rotation,
            hull=hull,
            plane_keys=self.planes.keys_values(tokens.values) if "planes" in readings else None,
            point_keys=self._point_keys(tokens) if "point" in readings else None,
            local=local,
        )

    def _point_keys(self, tokens: Tokens) -> list[KeysValues]:
        return [cast(CrossAttentionBlock, block).keys_values(tokens.values) for block in self.points]

    def decode(self, encoded: Encoded, latents: Float[Tensor, "B*K L Z"]) -> Decoded:
        """Everything that depends on the context and K draws of the latents of each scene, scene by scene."""
        planes, rows = None, len(latents)
        if encoded.plane_keys is not None:
            joined = rearrange(latents, "BK L Z -> BK (L Z)")
            keys = [_shared(kv, rows) for kv in encoded.plane_keys]
            planes = self.planes(keys, per_draw(encoded.tokens.mask, rows), joined)
        return Decoded(encoded, planes, self.network.modulate(latents), rows // len(encoded.rotation))

    def query(
        self,
        decoded: Decoded,
        points: Float[Tensor, "B N 3"],
        directions: Float[Tensor, "B N 3"] | None = None,
    ) -> tuple[Float[Tensor, "B*K N"], Float[Tensor, "B*K N C"]]:
        """Density and what is rendered at points of the model frame: see `network_at`.

        Points outside the object's ball, and those that a mask rules out, are empty and black and cost
        nothing: the others are packed together, padded to the largest count of any scene, and on to a
        multiple of 1,024.
        """
        if self.config.view_directions and directions is None:
            raise ConfigError(
                "this model's colour depends on the viewing direction: pass directions with points"
            )
        keep = self.may_be_filled(decoded.encoded, points)
        scene, point = keep.nonzero(as_tuple=True)
        slot = (keep.cumsum(1) - 1)[scene, point]
        # Few distinct sizes: every new one costs the CPU's matrix library a new kernel, which it then keeps.
        size = -(-int(keep.sum(1).amax()) // PACK) * PACK
        packed = torch.zeros(len(keep), size, dtype=torch.int64, device=points.device)
        packed[scene, slot] = point
        index = repeat(packed, "B M -> B M xyz", xyz=3)
        towards = None if directions is None else directions.gather(1, index)
        density, values = self.network_at(decoded, points.gather(1, index), towards)
        return (
            _unpacked(density, decoded.draws, (scene, point, slot), keep.shape),
            _unpacked(values, decoded.draws, (scene, point, slot), keep.shape),
        )

    def may_be_filled(self, encoded: Encoded, points: Float[Tensor, "B N 3"]) -> Bool[Tensor, "B N"]:
        """Whether a point lies in the object's ball and in no view's background."""
        inside = points.square().sum(-1) <= self.config.radius**2 * (1 + 1e-5)
        return inside & encoded.hull.contains(points) if encoded.hull is not None else inside

    def network_at(
        self, decoded: Decoded, points: Float[Tensor, "B N 3"], directions: Float[Tensor, "B N 3"] | None
    ) -> tuple[Float[Tensor, "B*K N"], Float[Tensor, "B*K N C"]]:
        """What the networks make of points: everything that can be read at them, then the modulated MLP.

        C is 3, the colour, or 5 with `config.noise`: then the noise of colour and of opacity follow. Points
        of one scene are asked of all of its draws: what no latent touches is read once.
        """
        encoded, config = decoded.encoded, self.config
        rows = len(points) * decoded.draws
        turned = turn(encoded.rotation, points)
        read = [
            turned,
            fourier_features(
                turned, octave_frequencies(config.position_octaves, config.position_octaves - 1)
            ),
        ]
        if decoded.planes is not None:
            read.append(read_planes(decoded.planes, per_draw(turned / config.radius, rows)))
        evidence = None
        if encoded.local is not None:
            evidence = self.local(encoded.local, points)
            read.append(evidence.pooled)
        read = [per_draw(part.to(read[-1].dtype), rows) for part in read]
        state = self.network(torch.cat(read, dim=-1), decoded.weights)
        if encoded.point_keys is not None:
            for block, kv in zip(self.points, encoded.point_keys, strict=True):
                state = block(state, _shared(kv, rows), per_draw(encoded.tokens.mask, rows))
        density = self.network.density_of(state)
        noise = self.noise(state) if config.noise else None
        if config.view_directions and directions is not None:
            towards = turn(encoded.rotation, directions).to(state.dtype)
            state = torch.cat([state, per_draw(towards, rows)], dim=-1)
        colour = self.blend(state, evidence)
        return density, colour if noise is None else torch.cat([colour, noise], dim=-1)

    def infer_field(self, encoded: Encoded, *, generator: torch.Generator | None = None) -> "RadianceField":
        """The field at the latents' mean, or at one draw under a generator. One scene."""
        draw = self.latents.draw(encoded.tokens, generator=generator)
        return RadianceField(self, self.decode(encoded, draw.latents[:, 0]))

    def reading_rotation(self, views: Views) -> Float[Tensor, "B 3 3"]:
        """Turns the model frame about z so that the first context camera stands at azimuth 0 ('azimuth'
        frame).

        A scene without any view, or with a first camera on the axis, keeps its heading.
        """
        first = views.camera_to_world[:, 0, :, 3] * views.mask[:, :1]  # [B, 3]
        reach = first[:, :2].norm(dim=-1, keepdim=True)
        heading = torch.where(
            reach > 1e-4, first[:, :2] / reach.clamp_min(1e-4), first.new_tensor([1.0, 0.0])
        )
        if self.config.frame == "canonical":
            heading = torch.zeros_like(heading) + heading.new_tensor([1.0, 0.0])
        cosine, sine = heading.unbind(-1)
        zero, one = torch.zeros_like(cosine), torch.ones_like(cosine)
        rows = [cosine, sine, zero, -sine, cosine, zero, zero, zero, one]
        return rearrange(torch.stack(rows, dim=-1), "B (i j) -> B i j", i=3)

    def train_outputs(
        self, batch: TrainBatch, generator: torch.Generator, step: int | None = None
    ) -> dict[str, Tensor]:
        """See `vnp_nerf.radiance_training.train_outputs`."""
        return training.train_outputs(self, batch, generator, step)

    def loss_terms(self, outputs: dict[str, Tensor], batch: TrainBatch, step: int) -> dict[str, Tensor]:
        """See `vnp_nerf.radiance_training.loss_terms`."""
        return training.loss_terms(self.config, outputs, batch)

    def metrics(self, outputs: dict[str, Tensor], batch: TrainBatch) -> dict[str, Tensor]:
        """See `vnp_nerf.radiance_training.metrics`."""
        return training.metrics(outputs)

    def spans(
        self, encoded: Encoded, origins: Float[Tensor, "B R 3"], directions: Float[Tensor, "B R 3"]
    ) -> tuple[Float[Tensor, "B R"], Float[Tensor, "B R"]]:
        """The part of each ray that can meet the object: in its ball, and where masks leave room for it."""
        near, far = ball_span(origins, directions, self.config.radius)
        return (near, far) if encoded.hull is None else encoded.hull.clip(origins, directions, near, far)

    def query_rays(
        self,
        decoded: Decoded,
        origins: Float[Tensor, "B R 3"],
        directions: Float[Tensor, "B R 3"],
        edges: Float[Tensor, "B R S+1"],
    ) -> tuple[Float[Tensor, "B*K R S"], Float[Tensor, "B*K R S C"]]:
        """Density and what is rendered at the middles of each ray's intervals."""
        middles = (edges[..., 1:] + edges[..., :-1]) / 2
        points = origins[..., None, :] + middles[..., None] * directions[..., None, :]
        samples = middles.shape[-1]
        spread = None
        if self.config.view_directions:
            spread = repeat(directions, "B R xyz -> B (R S) xyz", S=samples)
        density, values = self.query(decoded, rearrange(points, "B R S xyz -> B (R S) xyz"), spread)
        return (
            rearrange(density, "BK (R S) -> BK R S", S=samples),
            rearrange(values, "BK (R S) C -> BK R S C", S=samples),
        )

    def render_rays(
        self,
        decoded: Decoded,
        origins: Float[Tensor, "B R 3"],
        directions: Float[Tensor, "B R 3"],
        background: Background,
    ) -> Rendering:
        """One draw of each scene: evenly spaced samples through the ball, then importance samples by
        configuration.
        """
        near, far = self.spans(decoded.encoded, origins, directions)
        edges = stratified_edges(near, far, self.config.render_samples)
        density, values = self.query_rays(decoded, origins, directions, edges)
        if self.config.importance_samples:
            edges = importance_edges(edges, ray_weights(density, edges), self.config.importance_samples)
            density, values = self.query_rays(decoded, origins, directions, edges)
        _, beyond = ball_span(origins, directions, self.config.radius)
        return composite(density, values, edges, background, beyond)


class RadianceField:
    """One scene and one draw: a fixed function of space (see `vnp_nerf.protocol.Field`)."""

    def __init__(self, model: RadianceModel, decoded: Decoded) -> None:
        self.model = model
        self.decoded = decoded
        self.ray_width = model.config.ray_width
        """See `vnp_nerf.rendering.rays_across`."""

    @property
    def ray_bytes(self) -> int:
        """About how much memory a ray takes while it is rendered: all views' features at all its samples."""
        local, config = self.decoded.encoded.local, self.model.config
        views = 0 if local is None else local.views.count
        samples = config.render_samples + config.importance_samples
        return samples * 4 * (12 * config.width + 6 * config.plane_channels + 8 * views * config.local_width)

    def density_colour(
        self, points: Float[Tensor, "N 3"], directions: Float[Tensor, "N 3"] | None = None
    ) -> tuple[Float[Tensor, "N"], Float[Tensor, "N 3"]]:
        """Density (1 / model unit) and colour (0 to 1) at points of the model frame."""
        spread = None if directions is None else directions[None]
        density, values = self.model.query(self.decoded, points[None], spread)
        return density[0], values[0, :, :3]

    def render(
        self,
        origins: Float[Tensor, "R 3"],
        directions: Float[Tensor, "R 3"],
        *,
        background: Background = "white",
    ) -> Rendering:
        """What the rays see; rays that miss the object's ball see the background at no cost."""
        near, far = ball_span(origins, directions, self.model.config.radius)
        hit = (far > near).nonzero()[:, 0]
        nothing = Rendering.nothing(far, background, noise=self.model.config.noise)
        if len(hit) == 0:
            return nothing
        behind = background_of(background, hit)
        seen = self.model.render_rays(self.decoded, origins[None, hit], directions[None, hit], behind)
        return nothing.put(hit, seen.map(lambda part: part[0]))


def _shared(context: KeysValues, rows: int) -> KeysValues:
    """Keys and values of each scene for each of its draws; without a copy for one scene or one draw."""
    return KeysValues(*(per_draw(part, rows) for part in context))


def _unpacked(
    packed: Float[Tensor, "B*K M *C"],
    draws: int,
    index: tuple[Int[Tensor, "P"], Int[Tensor, "P"], Int[Tensor, "P"]],
    shape: torch.Size,
) -> Float[Tensor, "B*K N *C"]:
    """Puts the values of packed points back in their places: index is their scene, point and slot."""
    scene, point, slot = index
    values = packed.unflatten(0, (-1, draws)).transpose(1, 2)  # [B, M, K, *C]
    whole = values.new_zeros(*shape, *values.shape[2:]).index_put((scene, point), values[scene, slot])
    return whole.transpose(1, 2).flatten(0, 1)
