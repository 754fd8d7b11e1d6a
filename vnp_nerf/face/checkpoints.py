"""Checkpoints of nerfstudio runs: finding them, reading them, and whether they fit a model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vnp_core.checkpoints import check_tensors
from vnp_core.errors import CheckpointError
from vnp_nerf.library import ModelConfig, build_model

SCENE_MODEL = "radiance."
"""Where the scene model's tensors are among those of the nerfstudio model."""
_IN_PIPELINE = "_model."


def latest_checkpoint(folder: Path, step: int | None = None) -> Path:
    """The checkpoint of a step, or the latest, in a run's nerfstudio_models. Raises `CheckpointError`."""
    found = sorted(folder.glob("step-*.ckpt"))
    if step is not None:
        found = [path for path in found if path.name == f"step-{step:09d}.ckpt"]
    if not found:
        what = "checkpoint" if step is None else f"checkpoint of step {step}"
        raise CheckpointError(
            f"no {what} in {folder}: give the nerfstudio_models folder of a run that saved one"
        )
    return found[-1]


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A run's checkpoint; only tensors and plain values are unpickled. Raises `CheckpointError`."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"no checkpoint at {path}") from error
    except Exception as error:  # torch raises many kinds for a damaged file
        raise CheckpointError(f"{path} cannot be read: it is damaged, or none of ours") from error
    if not isinstance(state, dict) or not {"pipeline", "step"} <= set(state):
        raise CheckpointError(f"{path} is no checkpoint of a nerfstudio run")
    return state


def model_state(pipeline_state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A pipeline's tensors by their names in the nerfstudio model, with or without data-parallel wrappers."""
    return {
        name.removeprefix("module.").removeprefix(_IN_PIPELINE).removeprefix("module."): tensor
        for name, tensor in pipeline_state.items()
    }


def pipeline_state(scene_model: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A scene model's tensors as a pipeline's, complete for `load_pipeline`."""
    state = {f"{_IN_PIPELINE}{SCENE_MODEL}{name}": tensor for name, tensor in scene_model.items()}
    return {**state, f"{_IN_PIPELINE}device_indicator_param": torch.empty(0)}


def scene_model_state(checkpoint: Mapping[str, Any], config: ModelConfig, source: str) -> dict[str, Tensor]:
    """The scene model's tensors from a run's checkpoint. Raises `CheckpointError` if they do not fit."""
    state = model_state(checkpoint["pipeline"])
    own = {name.removeprefix(SCENE_MODEL): t for name, t in state.items() if name.startswith(SCENE_MODEL)}
    with torch.device("meta"):
        shapes = build_model(config).state_dict()
    check_tensors(own, {name: tuple(tensor.shape) for name, tensor in shapes.items()}, source)
    return own
