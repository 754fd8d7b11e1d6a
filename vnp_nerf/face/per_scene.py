"""The rival that a user has already: nerfstudio's nerfacto, optimised anew for each object from its views.

Model, losses, optimisers and schedule of the proposal networks are nerfstudio's; the settings are those that
its documentation gives for objects without a background, with tables and samples for pictures of some 100
pixels a side: a processor takes minutes for them, and hours for nerfacto's own. What is ours is where rays
come from, and that they are bounded by the object's ball.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from nerfstudio.cameras.camera_optimizers import CameraOptimizerConfig
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.data.scene_box import SceneBox
from nerfstudio.engine.callbacks import TrainingCallbackAttributes, TrainingCallbackLocation
from nerfstudio.engine.optimizers import AdamOptimizerConfig, Optimizers
from nerfstudio.engine.schedulers import ExponentialDecaySchedulerConfig
from nerfstudio.models.nerfacto import NerfactoModel, NerfactoModelConfig
from torch import Tensor, nn

from vnp_core.errors import ConfigError
from vnp_nerf.cameras import picture_rays
from vnp_nerf.evaluation import Case, query_pictures
from vnp_nerf.ray_sampling import ball_span
from vnp_nerf.rendering import Background, Rendering, background_of, over
from vnp_nerf.views import Views

RADIUS = 1.05
"""Of the ball that holds the object, model units: that of `vnp-nerf`."""
_LAST_SHARE = 0.01
"""The learning rates' last share of the first."""


@dataclass(frozen=True)
class NerfactoConfig:
    """How long, and on how much at a time."""

    steps: int = 1000
    """Steps of optimisation for each object and number of context views."""
    rays: int = 1024
    """Rays a step."""
    learning_rate: float = 1e-2
    """Of Adam, nerfacto's own; it decays exponentially to a hundredth."""
    seed: int = 0
    """Draws the initial weights, the rays and their samples."""

    def __post_init__(self) -> None:
        for name in ("steps", "rays"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}: nerfacto needs at least 1")


class NerfactoField:
    """One object, as nerfacto has it: see `vnp_nerf.rendering.RayRenderer`."""

    def __init__(self, model: NerfactoModel) -> None:
        self.model = model

    def render(
        self,
        origins: Float[Tensor, "R 3"],
        directions: Float[Tensor, "R 3"],
        *,
        background: Background = "white",
    ) -> Rendering:
        """What the rays see; those that miss the ball see the background."""
        near, far = ball_span(origins, directions, RADIUS)
        hit = (far > near).nonzero()[:, 0]
        nothing = Rendering.nothing(far, background)
        if len(hit) == 0:
            return nothing
        outputs = self.model(_bundle(origins[hit], directions[hit], near[hit], far[hit]))
        alpha = outputs["accumulation"][:, 0]
        # Under a random background nerfacto's colour is premultiplied.
        rgb = over(outputs["rgb"], alpha, background_of(background, hit)).clamp(0, 1)
        # Its depth is that of what is absorbed; ours counts light that passes as absorbed at the far end.
        depth = alpha * outputs["expected_depth"][:, 0] + (1 - alpha) * far[hit]
        return nothing.put(hit, Rendering(rgb, alpha, depth))


def optimise_nerfacto(
    views: Views, config: NerfactoConfig, on_step: Callable[[int], None] = lambda done: None
) -> NerfactoField:
    """nerfacto fitted to the views of one scene (B = 1, model frame), masks included.

    on_step: is told how many steps are done.
    """
    device = views.rgba.device
    origins, directions, rgba = _rays(views)
    near, far = ball_span(origins, directions, RADIUS)
    kept = (far > near).nonzero()[:, 0]
    generator = torch.Generator().manual_seed(config.seed)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(config.seed)
        model = _fresh_model(views.count).to(device)
        optimizers = Optimizers(_optimizers(config), model.get_param_groups())
        attributes = TrainingCallbackAttributes(
            optimizers=optimizers, grad_scaler=None, pipeline=None, trainer=None
        )
        callbacks = model.get_training_callbacks(attributes)
        model.train()
        for step in range(config.steps):
            rows = kept[torch.randint(len(kept), (config.rays,), generator=generator).to(device)]
            for callback in callbacks:
                callback.run_callback_at_location(step, TrainingCallbackLocation.BEFORE_TRAIN_ITERATION)
            outputs = model(_bundle(origins[rows], directions[rows], near[rows], far[rows]))
            batch = {"image": rgba[rows]}
            losses = model.get_loss_dict(outputs, batch, model.get_metrics_dict(outputs, batch))
            optimizers.zero_grad_all()
            torch.stack(list(losses.values())).sum().backward()
            optimizers.optimizer_step_all()
            for callback in callbacks:
                callback.run_callback_at_location(step, TrainingCallbackLocation.AFTER_TRAIN_ITERATION)
            optimizers.scheduler_step_all(step)
            on_step(step + 1)
    return NerfactoField(model.eval())


@dataclass
class NerfactoPredictor:
    """nerfacto, optimised for each case and number of context views anew (see `RenderingPredictor`)."""

    config: NerfactoConfig
    device: torch.device | str = "cpu"
    name: str = "nerfacto"
    reads_context: bool = True

    def render(self, case: Case, count: int) -> list[Rendering]:
        """The query views, on the CPU."""
        field = optimise_nerfacto(case.first_views(count).to(self.device), self.config)
        with torch.inference_mode():
            return query_pictures(field, case, torch.device(self.device))

    def predict(self, case: Case, count: int) -> list[Float[Tensor, "H W 3"]]:
        """The rendered colours."""
        return [rendering.rgb for rendering in self.render(case, count)]


def _rays(views: Views) -> tuple[Float[Tensor, "R 3"], Float[Tensor, "R 3"], Float[Tensor, "R 4"]]:
    """Origins, directions and straight RGBA of all pixels of the first scene's views."""
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    for number, (height, width) in enumerate(views.sizes[0].tolist()):
        origins, directions = picture_rays(
            views.camera_to_world[0, number], views.intrinsics[0, number], height, width
        )
        rgba = rearrange(views.rgba[0, number, :, :height, :width], "C H W -> H W C")
        parts.append((origins.flatten(0, 1), directions.flatten(0, 1), rgba.flatten(0, 1)))
    origins, directions, rgba = (torch.cat(part) for part in zip(*parts, strict=True))
    return origins, directions, rgba


def _bundle(origins: Tensor, directions: Tensor, near: Tensor, far: Tensor) -> RayBundle:
    """Rays as nerfstudio has them; those whose ends are given are not cut anew."""
    return RayBundle(
        origins=origins,
        directions=directions,
        pixel_area=torch.ones_like(near)[:, None],
        camera_indices=torch.zeros_like(near, dtype=torch.long)[:, None],
        nears=near[:, None],
        fars=far[:, None],
    )


def _fresh_model(views: int) -> NerfactoModel:
    config = NerfactoModelConfig(
        background_color="random",
        proposal_initial_sampler="uniform",
        use_appearance_embedding=False,
        use_average_appearance_embedding=False,
        distortion_loss_mult=0.0,
        disable_scene_contraction=True,
        average_init_density=0.01,
        camera_optimizer=CameraOptimizerConfig(mode="off"),
        max_res=256,
        log2_hashmap_size=15,
        num_proposal_samples_per_ray=(64, 32),
        num_nerf_samples_per_ray=24,
        proposal_net_args_list=[
            {"hidden_dim": 16, "log2_hashmap_size": 13, "num_levels": 5, "max_res": side, "use_linear": False}
            for side in (64, 128)
        ],
        implementation="tcnn" if torch.cuda.is_available() else "torch",
    )
    box = SceneBox(aabb=torch.tensor([[-1.0] * 3, [1.0] * 3]) * RADIUS)
    with _without_lpips():
        return config.setup(scene_box=box, num_train_data=views)


@contextmanager
def _without_lpips() -> Iterator[None]:
    """nerfacto builds a measure for its own evaluation, and fetches that measure's weights: none is built."""
    import torchmetrics.image.lpip as module

    kept = module.LearnedPerceptualImagePatchSimilarity
    module.LearnedPerceptualImagePatchSimilarity = _Unused  # pyright: ignore
    try:
        yield
    finally:
        module.LearnedPerceptualImagePatchSimilarity = kept


class _Unused(nn.Module):
    def __init__(self, **_: Any) -> None:
        super().__init__()


def _optimizers(config: NerfactoConfig) -> dict[str, Any]:
    optimizer = AdamOptimizerConfig(lr=config.learning_rate, eps=1e-15)
    decay = ExponentialDecaySchedulerConfig(
        lr_final=_LAST_SHARE * config.learning_rate, max_steps=config.steps
    )
    return {
        name: {"optimizer": replace(optimizer), "scheduler": decay}
        for name in ("proposal_networks", "fields")
    }
