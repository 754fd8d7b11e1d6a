"""A run opened without nerfstudio's pipeline: its weights, and the fields that they give of its scene."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vnp_nerf.face.checkpoints import read_latest_checkpoint, scene_model_state
from vnp_nerf.face.run_file import read_run_config, say_where_it_is_from
from vnp_nerf.face.trainer import VNPTrainerConfig
from vnp_nerf.library import Model, ModelConfig, build_model
from vnp_nerf.protocol import Field
from vnp_nerf.scene import Scene
from vnp_nerf.views import Views


@dataclass(frozen=True, eq=False)
class RunWeights:
    """The latest weights of a run, and the step that they are from.

    seconds, hardware: how long it was trained, interruptions left out, and on what; None where the run is of
    a time when that was not kept.
    """

    config: VNPTrainerConfig
    architecture: ModelConfig
    state: dict[str, Tensor]
    step: int
    seconds: float | None
    hardware: str | None


@dataclass(frozen=True, eq=False)
class OpenedRun:
    """A run's model, and its scene's context views, encoded. draw: the seed that the run is set to, or None
    for the mean.
    """

    model: Model
    encoded: Any
    scene: Scene
    context: tuple[int, ...]
    draw: int | None
    step: int

    def field(self, seed: int | None) -> Field:
        """The field at the latents' mean, or at the draw of a seed, as nerfstudio's tools see it."""
        # A generator of the CPU's, as in `ActiveField`: the same latents on every device.
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        with torch.no_grad():
            return self.model.infer_field(self.encoded, generator=generator)


def run_weights(load_config: Path) -> RunWeights:
    """Reads a run's config.yml and its latest checkpoint, wherever the run was moved.

    Raises `CheckpointError` for what is no run of ours, or a checkpoint of another architecture.
    """
    config = read_run_config(load_config)
    say_where_it_is_from(load_config, config)
    # The weights lie beside the config, or elsewhere by an absolute path.
    path, checkpoint = read_latest_checkpoint(load_config.absolute().parent / config.relative_model_dir)
    architecture = config.pipeline.model.radiance
    state = scene_model_state(checkpoint, architecture, str(path))
    spent = checkpoint.get("spent", {})
    step = int(checkpoint["step"])
    return RunWeights(config, architecture, state, step, spent.get("seconds"), spent.get("hardware"))


def open_run(load_config: Path, device: torch.device | str = "cpu") -> OpenedRun:
    """Loads a run's model and encodes the context views of its focus scene.

    Raises `CheckpointError`, and a `SceneError` where the scene's files cannot be read.
    """
    weights = run_weights(load_config)
    parser: Any = weights.config.pipeline.datamanager.dataparser.setup()
    views = Views.from_scene(parser.scene, parser.context)
    model = build_model(weights.architecture)
    model.load_state_dict(weights.state)
    model.to(device).eval()
    with torch.no_grad():
        encoded = model.encode(views.to(device))
    return OpenedRun(
        model, encoded, parser.scene, parser.context, weights.config.pipeline.model.draw, weights.step
    )
