"""The pipeline: data-parallel training, strict checkpoints, and evaluation scene by scene."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import torch
import torch.distributed as dist
from einops import rearrange
from nerfstudio.pipelines.base_pipeline import VanillaPipeline, VanillaPipelineConfig
from nerfstudio.utils import comms
from nerfstudio.utils.rich_utils import CONSOLE
from rich.progress import track
from torch import Tensor
from torch.cuda.amp.grad_scaler import GradScaler
from torch.nn.parallel import DistributedDataParallel
from torchvision.utils import save_image

from vnp_core.checkpoints import load_into
from vnp_core.errors import exit_on_error
from vnp_nerf.batches import TrainBatch
from vnp_nerf.distributions import Distribution
from vnp_nerf.face.checkpoints import model_state
from vnp_nerf.face.datamanager import VNPDataManager, VNPDataManagerConfig
from vnp_nerf.face.guards import FieldMonitor, LevelMonitor, check_losses
from vnp_nerf.face.model import VNPModel, VNPModelConfig
from vnp_nerf.face.viewer_controls import ViewerControls
from vnp_nerf.image_metrics import foreground, over_white, picture_scores
from vnp_nerf.radiance import RadianceModel
from vnp_nerf.radiance_training import level_spreads
from vnp_nerf.rendering import RayRenderer, Rendering, render_picture
from vnp_nerf.scene import Scene
from vnp_nerf.uncertainty_scores import uncertainty_scores
from vnp_nerf.views import Views

_TRAINING_EVAL_SCENES = 8
_TRAINING_EVAL_VIEWS = 4
_LEVELS_EVERY = 50
"""Steps between two looks at whether the levels of the latents are alive: each costs about a step."""


@dataclass
class VNPPipelineConfig(VanillaPipelineConfig):
    """Data and model of `vnp-nerf`."""

    _target: type = field(default_factory=lambda: VNPPipeline)
    datamanager: VNPDataManagerConfig = field(default_factory=VNPDataManagerConfig)
    """Where scenes come from."""
    model: VNPModelConfig = field(default_factory=VNPModelConfig)
    """What is trained."""

    def setup(self, **kwargs: Any) -> Any:
        """Builds the pipeline; every nerfstudio program does so here, and ends with one line on an error of
        ours.
        """
        with exit_on_error():
            return super().setup(**kwargs)


class VNPPipeline(VanillaPipeline):
    """See `VNPPipelineConfig`."""

    config: VNPPipelineConfig
    datamanager: VNPDataManager

    def __init__(
        self,
        config: VNPPipelineConfig,
        device: str,
        test_mode: Literal["test", "val", "inference"] = "val",
        world_size: int = 1,
        local_rank: int = 0,
        grad_scaler: GradScaler | None = None,
    ) -> None:
        # A world of one for the parent: its own data-parallel wrapping works on CUDA alone.
        super().__init__(
            config, device, test_mode, world_size=1, local_rank=local_rank, grad_scaler=grad_scaler
        )
        self.world_size = world_size
        self.scenes_in_step: list[str] = []
        self._monitor = FieldMonitor()
        self._levels = LevelMonitor()
        self.vnp.set_context(self.datamanager.focus_context)
        self.viewer_controls = ViewerControls(self.datamanager.dataparser, self.vnp)
        for name, element in self.viewer_controls.elements.items():
            setattr(self, name, element)  # the viewer finds public attributes of its kinds by itself
        if world_size > 1:
            devices = [local_rank] if torch.device(device).type == "cuda" else None
            self._model = cast(
                Any, DistributedDataParallel(self._model, devices, find_unused_parameters=True)
            )
            dist.barrier(device_ids=devices)

    @property
    def vnp(self) -> VNPModel:
        """The model, free of its data-parallel wrapper."""
        return cast(VNPModel, self.model)

    def get_train_loss_dict(self, step: int) -> tuple[Any, dict[str, Tensor], dict[str, Tensor]]:
        """Outputs, losses and metrics of the next training batch. Raises `DivergenceError`."""
        rays, batch = self.datamanager.next_train(step)
        self.vnp.step, self.scenes_in_step = step, batch.scene_names
        outputs = self._model(rays, batch)  # through the wrapper, so that gradients are shared
        scored = self._scored(outputs, batch)
        check_losses(scored[1])
        news = self._monitor.update(outputs, batch.rgba)
        if news is not None and comms.is_main_process():
            CONSOLE.print(f"step {step + 1}: {news}", style="bold yellow")
        self._watch_levels(step, batch)
        return scored

    def _watch_levels(self, step: int, batch: TrainBatch) -> None:
        """Every now and then names the levels of the latents that have died."""
        model = self.vnp.radiance
        watched = isinstance(model, RadianceModel) and model.config.train_draws > 0
        if not watched or step % _LEVELS_EVERY or not comms.is_main_process():
            return
        spreads = level_spreads(model, batch, torch.Generator(self.device).manual_seed(step))
        if news := self._levels.update(spreads):
            CONSOLE.print(f"step {step + 1}: {news}", style="bold yellow")

    @torch.no_grad()
    def get_eval_loss_dict(self, step: int) -> tuple[Any, dict[str, Tensor], dict[str, Tensor]]:
        """The same of a batch of scenes that are not trained on."""
        rays, batch = self.datamanager.next_eval(step)
        self.eval()
        result = self._scored(self.vnp(rays, batch), batch)
        self.train()
        return result

    def get_eval_image_metrics_and_images(self, step: int) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Scores and pictures of one view of the focus scene, whatever a visitor of the viewer looks at."""
        with self.vnp.looking_at(self.datamanager.focus_context()):
            return super().get_eval_image_metrics_and_images(step)

    def _scored(self, outputs: Any, batch: Any) -> tuple[Any, dict[str, Tensor], dict[str, Tensor]]:
        metrics = self.vnp.get_metrics_dict(outputs, batch)
        return outputs, self.vnp.get_loss_dict(outputs, batch, metrics), metrics

    def get_average_eval_image_metrics(
        self, step: int | None = None, output_path: Path | None = None, get_std: bool = False
    ) -> dict[str, Any]:
        """PSNR and SSIM, of full pictures and of the foreground, over unseen views of several scenes; without
        a step also the scores of `vnp_nerf.uncertainty_scores`, where the model draws and has noise.

        With a step (in training) few scenes and views are enough, and the result is flat; without one (`ns-
        eval`) all that the configuration allows, and scores of each scene under `per_scene`.
        """
        if step is not None and not comms.is_main_process():
            return {}
        self.eval()
        limit = None if step is None else _TRAINING_EVAL_SCENES
        per_scene: dict[str, list[dict[str, float]]] = {}
        with torch.no_grad():
            scenes = list(self.datamanager.iterate_eval_scenes(limit))
            quiet = not CONSOLE.is_terminal
            for scene, context, views in track(
                scenes, "Evaluating", transient=True, console=CONSOLE, disable=quiet
            ):
                chosen = views if step is None else views[:_TRAINING_EVAL_VIEWS]
                per_scene[scene.name] = self._score_scene(scene, context, chosen, output_path, step is None)
        self.train()
        rows = [row for scores in per_scene.values() for row in scores]
        result: dict[str, Any] = _averaged(rows, get_std)
        if step is None:
            result["scenes"], result["pictures"] = len(per_scene), len(rows)
            result["per_scene"] = {name: _averaged(scores, get_std) for name, scores in per_scene.items()}
        return result

    def _score_scene(
        self,
        scene: Scene,
        context: tuple[int, ...],
        views: tuple[int, ...],
        output_path: Path | None,
        uncertainty: bool,
    ) -> list[dict[str, float]]:
        rows: list[dict[str, float]] = []
        with self.vnp.looking_at(Views.from_scene(scene, context)):
            for view in views:
                truth = Views.from_scene(scene, [view]).to(self.device)
                start = time.perf_counter()
                seen = self._look(self.vnp.field(), truth).rgb
                seconds = time.perf_counter() - start
                white = over_white(truth.rgba[0, 0])
                scores = picture_scores(seen, white, foreground(truth.rgba[0, 0]))
                rows.append(
                    {
                        **scores,
                        **(self._uncertainty(truth, white) if uncertainty else {}),
                        "fps": 1 / seconds,
                        "num_rays_per_sec": seen.shape[0] * seen.shape[1] / seconds,
                    }
                )
                if output_path is not None:
                    output_path.mkdir(parents=True, exist_ok=True)
                    pair = rearrange([white, seen.clamp(0, 1)], "side H W rgb -> rgb H (side W)")
                    save_image(pair.cpu(), output_path / f"{scene.name.replace('/', '_')}_{view:04d}.png")
        return rows

    def _uncertainty(self, truth: Views, white: Tensor) -> dict[str, float]:
        """How well the model's draws tell how far off they are; nothing where it has no draws or no noise."""
        drawn = self.vnp.drawn_fields()
        if drawn is None or not drawn.model.config.noise:
            return {}
        told = Distribution.of_draws(self._look(drawn, truth).map(lambda part: part.cpu()))
        ties = torch.Generator().manual_seed(0)
        mask = foreground(truth.rgba[0, 0]).cpu()
        return uncertainty_scores(told.means, told.scales, white.cpu(), mask, ties, dof=told.dof)

    def _look(self, field: RayRenderer, view: Views) -> Rendering:
        height, width = view.sizes[0, 0].tolist()
        chunk = self.config.model.eval_num_rays_per_chunk
        pose, lens = view.camera_to_world[0, 0], view.intrinsics[0, 0]
        return render_picture(field, pose, lens, height, width, chunk=chunk)

    def load_pipeline(self, loaded_state: dict[str, Any], step: int) -> None:
        """Loads a checkpoint of the same architecture, made with or without data-parallel training; all or
        nothing.
        """
        with exit_on_error():
            load_into(self.vnp, model_state(loaded_state))
        self.vnp.update_to_step(step)
        self.vnp.invalidate()


def _averaged(rows: list[dict[str, float]], with_std: bool) -> dict[str, float]:
    """Means, and standard deviations if wanted; pictures without a foreground do not count for its scores."""
    result: dict[str, float] = {}
    for name in rows[0] if rows else ():
        values = torch.tensor([row[name] for row in rows], dtype=torch.float64)
        values = values[~values.isnan()]
        if len(values):
            result[name] = float(values.mean())
            if with_std:
                result[f"{name}_std"] = float(values.std(unbiased=False))
    return result
