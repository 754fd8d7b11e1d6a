"""The fast way to look at a field: only where it is not empty, and only as far as light gets.

Samples lie where `RadianceModel.render_rays`, the slow twin, puts them. Those in empty cells, and those that
less than a ten-thousandth of the light reaches, are left out; all other arithmetic is the twin's own, unless
an `Execution` says otherwise. Several draws of the latents are looked at together: they share what depends on
the context and on the point alone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from vnp_core.errors import ConfigError
from vnp_nerf.execution import Execution
from vnp_nerf.occupancy import FAINT, OccupancyGrid
from vnp_nerf.radiance import Decoded, Encoded, RadianceField, RadianceModel
from vnp_nerf.ray_sampling import ball_span, importance_edges, stratified_edges
from vnp_nerf.rendering import Background, Rendering, background_of, composite, ray_weights

_BLOCK = 8
"""Samples a ray between two looks at how much light is left."""
_OPAQUE = -math.log(1e-4)
"""Optical thickness behind which nothing is seen."""
_PLAIN = Execution()


@dataclass(frozen=True, eq=False)
class DrawnFields:
    """K draws of one scene, and the union of the space that they fill.

    A `RayRenderer` whose renderings have the draws as their second axis.
    """

    model: RadianceModel
    decoded: Decoded
    occupancy: OccupancyGrid
    execution: Execution = _PLAIN

    @classmethod
    @torch.no_grad()
    def of(
        cls, model: RadianceModel, decoded: Decoded, faint: float = FAINT, execution: Execution = _PLAIN
    ) -> "DrawnFields":
        """Takes the occupancy from the densities of all draws, as far as they are over `faint`."""

        def densest(points: Float[Tensor, "N 3"]) -> Float[Tensor, "N"]:
            # Nearly half of the cube lies outside of the ball, where no mask need be asked.
            near = points.square().sum(-1) <= 1.01 * model.config.radius**2
            return _ask(model, decoded, points, torch.zeros_like(points), near, execution)[0].amax(0)

        device = decoded.encoded.rotation.device
        occupancy = OccupancyGrid.of_density(densest, model.config.radius, device, faint=faint)
        return cls(model, decoded, occupancy, execution)

    @classmethod
    def infer(
        cls,
        model: RadianceModel,
        encoded: Encoded,
        draws: int,
        generator: Generator | None,
        execution: Execution = _PLAIN,
    ) -> "DrawnFields":
        """`draws` draws of the one scene under a generator; without one, the mean as often."""
        latents = model.latents.draw(encoded.tokens, generator=generator, draws=draws).latents
        return cls.of(model, model.decode(encoded, latents[0]), execution=execution)

    @classmethod
    @torch.no_grad()
    def of_seeds(
        cls,
        model: RadianceModel,
        encoded: Encoded,
        seeds: Sequence[int | None],
        execution: Execution = _PLAIN,
        culled: bool = True,
    ) -> "DrawnFields":
        """The draws of some seeds, each of which is what that seed alone gives; None is the mean.

        Without `culled` no space is found to be empty beforehand, which a few small pictures do not repay.
        """
        # Generators of the CPU's: the same latents on every device.
        generators = [None if seed is None else Generator().manual_seed(seed) for seed in seeds]
        drawn = [model.latents.draw(encoded.tokens, generator=each).latents[:, 0] for each in generators]
        decoded = model.decode(encoded, torch.cat(drawn))
        if culled:
            return cls.of(model, decoded, execution=execution)
        everywhere = OccupancyGrid.full(model.config.radius, encoded.rotation.device)
        return cls(model, decoded, everywhere, execution)

    @property
    def ray_width(self) -> float:
        """See `vnp_nerf.rendering.rays_across`."""
        return self.model.config.ray_width

    @property
    def ray_bytes(self) -> int:
        """About how much memory one ray takes while it is rendered."""
        config = self.model.config
        samples = config.render_samples + config.importance_samples
        return samples * (80 + 48 * self.decoded.draws)

    def density_colour(
        self, points: Float[Tensor, "N 3"], directions: Float[Tensor, "N 3"] | None = None
    ) -> tuple[Float[Tensor, "K N"], Float[Tensor, "K N 3"]]:
        """Density (1 / model unit) and colour (0 to 1) of each draw; both are 0 in empty space."""
        if self.model.config.view_directions and directions is None:
            raise ConfigError(
                "this model's colour depends on the viewing direction: pass directions with points"
            )
        density, values = self.query(points, directions)
        return density, values[..., :3]

    def query(
        self, points: Float[Tensor, "N 3"], directions: Float[Tensor, "N 3"] | None
    ) -> tuple[Float[Tensor, "K N"], Float[Tensor, "K N C"]]:
        """Density and all that is rendered of points: see `RadianceModel.network_at`."""
        wanted = self.occupancy.contains(points)
        return _ask(self.model, self.decoded, points, directions, wanted, self.execution)

    def render(
        self,
        origins: Float[Tensor, "R 3"],
        directions: Float[Tensor, "R 3"],
        *,
        background: Background = "white",
    ) -> Rendering:
        """What the rays see of each draw, [R, K, ...]."""
        model = self.model
        near, far = ball_span(origins, directions, model.config.radius)
        hit = self.occupancy.touches(origins, directions, near, far).nonzero()[:, 0]
        behind = background if isinstance(background, str) or background.ndim == 1 else background[:, None]
        each = far[:, None].expand(-1, self.decoded.draws)
        nothing = Rendering.nothing(each, behind, noise=model.config.noise)
        if len(hit) == 0:
            return nothing
        origins, directions = origins[hit], directions[hit]
        near, end = (part[0] for part in model.spans(self.decoded.encoded, origins[None], directions[None]))
        edges = stratified_edges(near, end, model.config.render_samples)
        density, values = self._march(origins, directions, edges)
        if model.config.importance_samples:
            # The draws share their samples: where any of them has found something.
            weights = ray_weights(density, edges[:, None]).mean(1)
            edges = importance_edges(edges, weights, model.config.importance_samples)
            density, values = self._march(origins, directions, edges)
        seen = composite(density, values, edges[:, None], background_of(behind, hit), far[hit, None])
        return nothing.put(hit, seen)

    def _march(
        self,
        origins: Float[Tensor, "R 3"],
        directions: Float[Tensor, "R 3"],
        edges: Float[Tensor, "R S+1"],
    ) -> tuple[Float[Tensor, "R K S"], Float[Tensor, "R K S C"]]:
        """Density, colour and noise at the middles of the intervals, 0 where they are empty or out of
        sight.
        """
        rays, samples, draws = len(edges), edges.shape[1] - 1, self.decoded.draws
        middles, lengths = (edges[:, 1:] + edges[:, :-1]) / 2, edges[:, 1:] - edges[:, :-1]
        density = edges.new_zeros(rays, draws, samples)
        values = edges.new_zeros(rays, draws, samples, self.model.channels)
        thickness = edges.new_zeros(rays, draws)
        lit = torch.arange(rays, device=edges.device)
        for start in range(0, samples, _BLOCK):
            block = slice(start, start + _BLOCK)
            towards = directions[lit, None]
            points = origins[lit, None] + middles[lit, block, None] * towards
            size = points.shape[1]
            here, rendered = self.query(
                rearrange(points, "R S xyz -> (R S) xyz"),
                rearrange(towards.expand_as(points), "R S xyz -> (R S) xyz"),
            )
            here = rearrange(here, "K (R S) -> R K S", S=size)
            density[lit, :, block] = here
            values[lit, :, block] = rearrange(rendered, "K (R S) C -> R K S C", S=size)
            thickness[lit] += (here * lengths[lit, None, block]).sum(-1)
            lit = lit[thickness[lit].amin(1) < _OPAQUE]
            if len(lit) == 0:
                break
        return density, values


class CulledField:
    """One draw, looked at the fast way (see `vnp_nerf.protocol.Field`)."""

    def __init__(self, field: RadianceField, faint: float = FAINT, execution: Execution = _PLAIN) -> None:
        self.drawn = DrawnFields.of(field.model, field.decoded, faint, execution)
        self.ray_width = field.ray_width

    @property
    def ray_bytes(self) -> int:
        """About how much memory one ray takes while it is rendered."""
        return self.drawn.ray_bytes

    def density_colour(
        self, points: Float[Tensor, "N 3"], directions: Float[Tensor, "N 3"] | None = None
    ) -> tuple[Float[Tensor, "N"], Float[Tensor, "N 3"]]:
        """Density (1 / model unit) and colour (0 to 1) at points of the model frame; 0 in empty space."""
        density, rgb = self.drawn.density_colour(points, directions)
        return density[0], rgb[0]

    def render(
        self,
        origins: Float[Tensor, "R 3"],
        directions: Float[Tensor, "R 3"],
        *,
        background: Background = "white",
    ) -> Rendering:
        """What the rays see."""
        seen = self.drawn.render(origins, directions, background=background)
        return seen.map(lambda part: part[:, 0])


def _ask(
    model: RadianceModel,
    decoded: Decoded,
    points: Float[Tensor, "N 3"],
    directions: Float[Tensor, "N 3"] | None,
    wanted: Bool[Tensor, "N"],
    execution: Execution,
) -> tuple[Float[Tensor, "K N"], Float[Tensor, "K N C"]]:
    """What the networks make of the wanted points; 0 for the others, and for those that a mask rules out."""
    density = points.new_zeros(decoded.draws, len(points))
    values = points.new_zeros(decoded.draws, len(points), model.channels)
    index = wanted.nonzero()[:, 0]
    index = index[model.may_be_filled(decoded.encoded, points[None, index])[0]]
    towards = None
    for part, padded in execution.blocks(index, decoded.draws):
        if directions is not None and model.config.view_directions:
            towards = directions[None, padded]
        of_part, rendered = execution.ask(model, decoded, points[None, padded], towards)
        density[:, part] = of_part[:, : len(part)]
        values[:, part] = rendered[:, : len(part)]
    return density, values
