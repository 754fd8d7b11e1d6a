"""The nerfstudio model: a scene model of ours, trained on batches of scenes, and looked at through one
context at a time.
"""

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from nerfstudio.cameras.cameras import Cameras as NerfstudioCameras
from nerfstudio.cameras.cameras import CameraType
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.data.scene_box import OrientedBox
from nerfstudio.engine.callbacks import TrainingCallback, TrainingCallbackAttributes, TrainingCallbackLocation
from nerfstudio.model_components import renderers
from nerfstudio.models.base_model import Model, ModelConfig
from nerfstudio.utils import colormaps
from nerfstudio.utils.rich_utils import CONSOLE
from torch import Tensor
from torch.nn import Parameter

from vnp_core.errors import DataError
from vnp_core.optimisers import hidden_matrices
from vnp_nerf.axial_rendering import axial_directions
from vnp_nerf.batches import TrainBatch
from vnp_nerf.culled_field import DrawnFields
from vnp_nerf.execution import Precision
from vnp_nerf.face.active_field import ActiveField
from vnp_nerf.face.lazy_outputs import LazyOutputs
from vnp_nerf.image_metrics import picture_scores, psnr
from vnp_nerf.library import build_model, start_from
from vnp_nerf.memory_budget import MOST, rays_at_once
from vnp_nerf.paper import PaperConfig
from vnp_nerf.prediction import Prediction
from vnp_nerf.protocol import Field
from vnp_nerf.radiance import RadianceConfig, RadianceModel
from vnp_nerf.radiance_training import hold_still
from vnp_nerf.ray_sampling import ball_span, stratified_edges
from vnp_nerf.rendering import Rendering, composite, pixel_rays, rays_across
from vnp_nerf.surfaces import SOLID, density_normals, solid_depth
from vnp_nerf.views import Views

_BEHIND = 3**0.5
"""Beyond this distance past the origin a ray has left the cube about the object's ball."""
_SPANS = 4096
"""Rays at a time where a tool sets near and far: their samples may be many."""


@dataclass
class VNPModelConfig(ModelConfig):
    """A scene model and how nerfstudio's tools see through it."""

    _target: type = field(default_factory=lambda: VNPModel)
    enable_collider: bool = False
    """Rays are cut to the object's ball by the scene model itself."""
    collider_params: dict[str, float] | None = None
    """Not used."""
    radiance: RadianceConfig = field(default_factory=RadianceConfig)
    """The scene model."""
    initial_weights: str | None = None
    """Shipped name or .safetensors file of weights that training starts from; what does not fit is fresh."""
    draw: int | None = None
    """Seed of the draw of the latents that tools see; their mean if not given."""
    samples: int = 4
    """Draws of the latents, of the seeds 0, 1, ..., that tools compare: they add rgb_std, epistemic,
    accumulation_std and depth_std to what can be looked at, and the draws themselves; who looks at these
    waits longer. 0 for none, else 2 or more; baked fields and the paper's model have none.
    """
    background: Literal["white", "black"] = "white"
    """What tools see behind the object."""
    eval_num_rays_per_chunk: int = MOST
    """Most rays rendered at a time; fewer where memory is short."""
    culled: bool = True
    """Ask the network only where its field is not empty, and only as far as light gets."""
    precision: Precision = "float32"
    """Of matrix products in culled and in the paper's fields: float32, or bfloat16 of 8 bits, which is faster
    where processor or card have it, and much slower where they do not.
    """
    compiled: bool = False
    """Let torch.compile fuse the culled field's network, which takes a minute or so at the first frame."""
    baked: Path | None = None
    """A baked field, as vnp-infer --bake writes it; it is seen instead of the network as long as weights,
    context and draw are those that it was baked from.
    """
    span_step: float = 0.03
    """Largest distance, model units, between samples where a tool sets near and far: texturing, cropping."""


@dataclass
class VNPPaperModelConfig(VNPModelConfig):
    """The same around the paper's released model."""

    radiance: PaperConfig = field(default_factory=PaperConfig)  # type: ignore[assignment]
    """The scene model."""


class VNPModel(Model):
    """See `VNPModelConfig`.

    In training `forward(rays, batch)` renders the batch. Without a batch it looks through the active context,
    which is encoded at first use and kept until `invalidate`, so that all chunks of all frames see the same
    field.
    """

    config: VNPModelConfig

    def populate_modules(self) -> None:
        """Builds the scene model."""
        super().populate_modules()
        self.radiance = build_model(self.config.radiance)
        if self.config.initial_weights is not None:
            fresh = ", ".join(start_from(self.radiance, self.config.initial_weights)) or "nothing"
            CONSOLE.print(f"starting from {self.config.initial_weights}; fresh: {fresh}")
        if isinstance(self.radiance, RadianceModel):
            hold_still(self.radiance)
        self.step = 0
        self._seed = torch.initial_seed()
        self._active: ActiveField | None = None
        self.wanted: Callable[[], Iterable[str]] = tuple
        """Names of outputs that are looked at as soon as they are there: the viewer sets it."""
        self.hurried: Callable[[], bool] = bool
        """Whether a picture is to come at once rather than to be good: the viewer sets it."""

    def get_param_groups(self) -> dict[str, list[Parameter]]:
        """The scene model's parameters that learn: 'matrices' between hidden layers, and all the 'others'."""
        matrices = hidden_matrices(self.radiance)
        chosen = {id(parameter) for parameter in matrices}
        others = [parameter for parameter in self.radiance.parameters() if id(parameter) not in chosen]
        groups = {"matrices": matrices, "others": others}
        found = {name: [p for p in group if p.requires_grad] for name, group in groups.items()}
        return {name: group for name, group in found.items() if group}

    def get_training_callbacks(
        self, training_callback_attributes: TrainingCallbackAttributes
    ) -> list[TrainingCallback]:
        """Forgets the encoded context after each step, since the weights have changed."""
        return [
            TrainingCallback([TrainingCallbackLocation.AFTER_TRAIN_ITERATION], lambda step: self.invalidate())
        ]

    # -- the active context --------------------------------------------------------------------------------

    def set_context(self, context: Callable[[], Views]) -> None:
        """What the model is to see from now on; called at most once for each encoding."""
        self._active = ActiveField(self.radiance, context)

    def choose_draw(self, seed: int | None) -> None:
        """Which draw of the latents to look at: their mean, or the draw of a seed."""
        self.config.draw = seed

    def invalidate(self) -> None:
        """Reads and encodes the context anew at the next use."""
        if self._active is not None:
            self._active.forget()

    @contextmanager
    def looking_at(self, views: Views) -> Iterator[None]:
        """Another context, for as long as the block lasts."""
        before = self._active
        self.set_context(lambda: views)
        try:
            yield
        finally:
            self._active = before

    def field(self) -> Field:
        """The field that the active context and draw give; the same one until weights or draw change."""
        if self._active is None:
            raise DataError("the model has seen no views yet: set_context first")
        return self._active.field(self.config)

    def drawn_fields(self) -> DrawnFields | None:
        """The draws that `samples` asks for, of the active context; None where there are none."""
        return None if self._active is None else self._active.drawn(self.config)

    # -- training ------------------------------------------------------------------------------------------

    def forward(
        self, ray_bundle: RayBundle | NerfstudioCameras, batch: TrainBatch | None = None
    ) -> dict[str, Tensor | list[Tensor]]:
        """The scene model's training outputs for a batch; pixels of the rays without one."""
        if batch is None:
            return self.get_outputs(ray_bundle)
        # Each step and process has its own seed: a resumed run draws what an unbroken one would have drawn.
        seed = (self._seed * 1_000_003 + self.step) % 2**63
        generator = torch.Generator(self.device).manual_seed(seed)
        return dict(self.radiance.train_outputs(batch, generator, self.step))

    def get_loss_dict(self, outputs: Any, batch: Any, metrics_dict: Any = None) -> dict[str, Tensor]:
        """The terms of the loss."""
        return self.radiance.loss_terms(outputs, batch, self.step)

    def get_metrics_dict(self, outputs: Any, batch: Any) -> dict[str, Tensor]:
        """Numbers for the log."""
        return self.radiance.metrics(outputs, batch)

    # -- looking -------------------------------------------------------------------------------------------

    @torch.no_grad()
    def get_outputs(self, ray_bundle: RayBundle | NerfstudioCameras) -> Any:
        """rgb, depth (along the unit ray), accumulation and normals (0 to 1) of each ray, through the active
        context, by name; and with `samples` what draws of the latents say beside it (`vnp_nerf.prediction`),
        which is computed for who asks for any of it.
        """
        assert isinstance(ray_bundle, RayBundle)
        origins = ray_bundle.origins.float()[..., None, :]
        directions = F.normalize(ray_bundle.directions.float(), dim=-1)[..., None, :]
        spans = None
        if ray_bundle.nears is not None and ray_bundle.fars is not None:
            spans = torch.cat(
                [ray_bundle.nears.reshape(-1, 1), ray_bundle.fars.reshape(-1, 1)], dim=-1
            ).float()
        return self._outputs(origins, directions, spans)

    def _outputs(
        self,
        origins: Float[Tensor, "*N A 3"],
        directions: Float[Tensor, "*N A 3"],
        spans: Float[Tensor, "N 2"] | None = None,
    ) -> Any:
        """Those of pixels, each of which is seen along A rays; spans are of one ray a pixel."""
        *shape, rays, _ = origins.shape
        origins, directions = origins.reshape(-1, rays, 3), directions.reshape(-1, rays, 3)
        chunk = rays_at_once(self.field(), self.device, self.config.eval_num_rays_per_chunk)
        chunk = max(1, (chunk if spans is None else min(chunk, _SPANS)) // rays)

        @torch.no_grad()
        def through(look: Callable[..., dict[str, Tensor]]) -> dict[str, Tensor]:
            rows = [
                look(*part, None if spans is None else spans[start : start + chunk])
                for start, part in zip(
                    range(0, len(origins), chunk),
                    zip(origins.split(chunk), directions.split(chunk), strict=True),
                    strict=True,
                )
            ]
            return {name: torch.cat([row[name] for row in rows]).reshape(*shape, -1) for name in rows[0]}

        seen, active, config = through(self._look), self._active, copy.copy(self.config)
        if active is None or not active.has_draws(config):
            return seen

        names = _draw_names(config)

        def draws() -> dict[str, Tensor]:
            # Of what was looked at when the outputs were asked for, whatever is turned in the meantime.
            drawn = active.drawn(config)
            assert drawn is not None
            return through(partial(self._look_at_draws, drawn, names))

        outputs = LazyOutputs(seen, names, draws)
        for name in set(self.wanted()) & set(outputs):
            outputs[name] = outputs[name]  # now, while the viewer can interrupt it
        return outputs

    @torch.no_grad()
    def get_outputs_for_camera(
        self, camera: NerfstudioCameras, obb_box: OrientedBox | None = None
    ) -> dict[str, Tensor]:
        """The same of all pixels [H, W, ...] of one camera; a box cuts the rays to what is inside.

        Pixels that are wider than what the field learned from are seen along several rays each, except in the
        coarse pictures that `hurried` asks for.
        """
        pinhole = bool((camera.camera_type == CameraType.PERSPECTIVE.value).all())
        straight = camera.distortion_params is None or not bool(camera.distortion_params.any())
        if obb_box is not None or not (pinhole and straight):
            return super().get_outputs_for_camera(camera, obb_box)
        fx, fy, cx, cy = (getattr(camera, name).reshape(1) for name in ("fx", "fy", "cx", "cy"))
        pose, lens = camera.camera_to_worlds.reshape(3, 4).float(), torch.cat([fx, fy, cx, cy]).float()
        across = 1 if self.hurried() else rays_across(self.field(), pose, lens)
        size = int(camera.height), int(camera.width)
        origins, directions = pixel_rays(pose, lens, *size, across)
        return self._outputs(origins.unflatten(0, size), directions.unflatten(0, size))

    def _look(
        self,
        origins: Float[Tensor, "N A 3"],
        directions: Float[Tensor, "N A 3"],
        spans: Float[Tensor, "N 2"] | None,
    ) -> dict[str, Tensor]:
        field, rays = self.field(), origins.shape[1]
        origins, directions = origins.flatten(0, 1), directions.flatten(0, 1)
        if spans is None:
            seen = field.render(origins, directions, background=self._background())
            far = self._far(origins, directions)
        else:
            seen = self._render_spans(field, origins, directions, spans)
            far = spans[:, 1]
        depth = solid_depth(seen, far, origins.norm(dim=-1) + _BEHIND)
        normals = torch.zeros_like(origins)
        solid = (seen.alpha > SOLID).nonzero()[:, 0]
        if len(solid):
            surface = origins[solid] + depth[solid, None] * directions[solid]
            normals[solid] = density_normals(field, surface, directions[solid])
        pixels = seen.of_pixels(rays)
        return {
            "rgb": pixels.rgb,
            # The nearest: between two surfaces there is none.
            "depth": depth.unflatten(0, (-1, rays)).amin(1)[:, None],
            "accumulation": pixels.alpha[:, None],
            "normals": (normals.unflatten(0, (-1, rays)).mean(1) + 1) / 2,
        }

    def _look_at_draws(
        self,
        drawn: DrawnFields,
        names: Sequence[str],
        origins: Float[Tensor, "N A 3"],
        directions: Float[Tensor, "N A 3"],
        spans: Float[Tensor, "N 2"] | None,
    ) -> dict[str, Tensor]:
        """What several draws of the latents say, and how far they and the truth may lie apart."""
        rays = origins.shape[1]
        origins, directions = origins.flatten(0, 1), directions.flatten(0, 1)
        if spans is None:
            seen = drawn.render(origins, directions, background=self._background())
            far = self._far(origins, directions)
        else:
            seen = self._render_spans(drawn, origins, directions, spans)
            far = spans[:, 1]
        told = Prediction.of_draws(seen.of_pixels(rays), far.unflatten(0, (-1, rays)).mean(1))
        samples = iter(told.draws.unbind(1))
        return {
            name: next(samples) if name.startswith("sample_") else getattr(told, name)[:, None]
            for name in names
        }

    def _far(self, origins: Float[Tensor, "R 3"], directions: Float[Tensor, "R 3"]) -> Float[Tensor, "R"]:
        """Where the scene model's `Rendering.depth` puts light that nothing absorbs."""
        config = self.config.radiance
        if isinstance(config, PaperConfig):
            return config.far * axial_directions(origins, directions).norm(dim=-1)
        return ball_span(origins, directions, config.radius)[1]

    def _render_spans(
        self, field: Field | DrawnFields, origins: Tensor, directions: Tensor, spans: Float[Tensor, "R 2"]
    ) -> Rendering:
        """The part of each ray within a span; draws are a second axis of the rays."""
        longest = float((spans[:, 1] - spans[:, 0]).max())
        samples = min(max(math.ceil(longest / self.config.span_step), 4), 256)
        edges = stratified_edges(spans[:, 0], spans[:, 1].maximum(spans[:, 0]), samples)
        middles = (edges[:, 1:] + edges[:, :-1]) / 2
        points = origins[:, None] + middles[..., None] * directions[:, None]
        ask = field.query if isinstance(field, DrawnFields) else field.density_colour
        density, values = ask(
            rearrange(points, "R S xyz -> (R S) xyz"), directions.repeat_interleave(samples, dim=0)
        )
        if isinstance(field, DrawnFields):
            density = rearrange(density, "K (R S) -> R K S", S=samples)
            values, edges = rearrange(values, "K (R S) C -> R K S C", S=samples), edges[:, None]
        else:
            density = rearrange(density, "(R S) -> R S", S=samples)
            values = rearrange(values, "(R S) rgb -> R S rgb", S=samples)
        return composite(density, values, edges, self._background())

    def _background(self) -> Tensor | str:
        """The configured one, or what a tool asks for while it crops."""
        override = renderers.BACKGROUND_COLOR_OVERRIDE
        return self.config.background if override is None else override.to(self.device)

    def get_rgba_image(self, outputs: dict[str, Tensor], output_name: str = "rgb") -> Tensor:
        """Colour freed of the background, and alpha."""
        alpha = outputs["accumulation"]
        behind = 1.0 if self.config.background == "white" else 0.0
        colour = (outputs[output_name] - (1 - alpha) * behind) / alpha.clamp_min(1e-4)
        return torch.cat([colour.clamp(0, 1), alpha.clamp(0, 1)], dim=-1)

    def get_image_metrics_and_images(
        self, outputs: dict[str, Tensor], batch: dict[str, Tensor]
    ) -> tuple[dict[str, float], dict[str, Tensor]]:
        """Scores of one picture, and the pictures that TensorBoard shows: truth beside prediction, depth,
        alpha.
        """
        seen = outputs["rgb"]
        truth = batch["image"][..., :3].to(seen.device)
        if "alpha" in batch:
            scores = picture_scores(seen, truth, batch["alpha"].to(seen.device) > SOLID)
        else:
            scores = {"psnr": psnr(seen, truth)}
        images = {
            "img": torch.cat([truth, seen], dim=1),
            "depth": colormaps.apply_depth_colormap(outputs["depth"], accumulation=outputs["accumulation"]),
            "accumulation": colormaps.apply_colormap(outputs["accumulation"]),
        }
        return scores, images


def _draw_names(config: VNPModelConfig) -> list[str]:
    """What is told of draws. Without noise their disagreement is all there is: no deviation of a pixel."""
    noisy = ("rgb_std", "accumulation_std", "depth_std") if config.radiance.noise else ()
    return ["epistemic", *noisy, *(f"sample_{draw}" for draw in range(config.samples))]
