"""Checkpoints of nerfstudio runs: finding, writing and reading them, and whether they fit a model."""

import pickletools
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vnp_core.checkpoints import Checkpoint
from vnp_core.config import to_dict
from vnp_core.errors import CheckpointError
from vnp_core.whole_files import whole_file
from vnp_nerf.library import ModelConfig, fitting_config

SCENE_MODEL = "radiance."
"""Where the scene model's tensors are among those of the nerfstudio model."""
_IN_PIPELINE = "_model."
_STORAGES = ("Double", "Float", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")
_REBUILDERS = {
    "collections OrderedDict",
    "torch._utils _rebuild_tensor_v2",
    *(f"torch {kind}Storage" for kind in _STORAGES),
}
"""What a checkpoint's pickle may name."""


def latest_checkpoint(folder: Path, step: int | None = None) -> Path:
    """The checkpoint of a step, or the latest, in a run's nerfstudio_models. Raises `CheckpointError`."""
    return _checkpoints(folder, step)[-1]


def read_latest_checkpoint(folder: Path, step: int | None = None) -> tuple[Path, dict[str, Any]]:
    """The checkpoint of a step, or the latest that is whole, and its file.

    A damaged one is told of on stderr before the one before it is tried. Raises `CheckpointError` where none
    is whole, or the one that was asked for is not.
    """
    *earlier, newest = _checkpoints(folder, step)
    try:
        return newest, read_checkpoint(newest)
    except CheckpointError as error:
        damage = error
    for path in reversed(earlier):
        try:
            state = read_checkpoint(path)
        except CheckpointError:
            continue
        print(
            f"WARNING: {damage}\nWARNING: going back to the checkpoint before it, {path}, of step "
            f"{state['step']}.",
            file=sys.stderr,
            flush=True,
        )
        return path, state
    raise damage


def _checkpoints(folder: Path, step: int | None) -> list[Path]:
    """Those of a folder, the latest last, or that of a step alone; never none."""
    found = sorted(folder.glob("step-*.ckpt"))
    if step is not None:
        found = [path for path in found if path.name == f"step-{step:09d}.ckpt"]
    if not found:
        what = "checkpoint" if step is None else f"checkpoint of step {step}"
        raise CheckpointError(
            f"no {what} in {folder}: give the nerfstudio_models folder of a run that saved one"
        )
    return found


def write_checkpoint(path: Path, state: Mapping[str, Any], workspace: Path) -> None:
    """Writes tensors and plain values in one move: the file is there complete, or not at all.

    workspace: a folder of the same file system to write in, since nerfstudio takes every file among the
    checkpoints for one. Raises `CheckpointError`, as on a full disk; other checkpoints stay as they are.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path, workspace) as file:
            torch.save(dict(state), file)
    # torch's writer tells of a full disk by a RuntimeError.
    except (OSError, RuntimeError) as error:
        raise CheckpointError(
            f"{path} could not be written ({str(error).splitlines()[0]}): make room on the disk; earlier "
            "checkpoints are intact"
        ) from error


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A run's checkpoint; only tensors and plain values are unpickled. Raises `CheckpointError`.

    Every byte is compared with its checksum first, which torch leaves to the reader.
    """
    try:
        _check_archive(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"no checkpoint at {path}") from error
    except Exception as error:  # torch raises many kinds for a damaged file
        raise CheckpointError(f"{path} cannot be read: it is damaged, or none of ours") from error
    if not isinstance(state, dict) or not {"pipeline", "step"} <= set(state):
        raise CheckpointError(f"{path} is no checkpoint of a nerfstudio run")
    tensors = state["pipeline"]
    sound = isinstance(tensors, dict) and all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in tensors.items()
    )
    if not sound or type(state["step"]) is not int:
        raise CheckpointError(f"{path} is no checkpoint of a nerfstudio run: its pipeline holds no tensors")
    return state


def _check_archive(path: Path) -> None:
    """Raises unless the file is a zip archive as torch writes it: nothing compressed, every checksum right.

    Uncompressed entries cannot unfold to more than the file's size, and what is pickled may name nothing but
    what rebuilds tensors from them: torch's own list also has what makes as large a thing as it is told.
    """
    with zipfile.ZipFile(path) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise zipfile.BadZipFile("entries are compressed, which torch never does")
        if (damaged := archive.testzip()) is not None:
            raise zipfile.BadZipFile(f"the checksum of {damaged} is wrong")
        (pickled,) = (name for name in archive.namelist() if name.rpartition("/")[2] == "data.pkl")
        for opcode, argument, _ in pickletools.genops(archive.read(pickled)):
            named = opcode.name in ("GLOBAL", "STACK_GLOBAL", "INST")
            if named and argument not in _REBUILDERS:
                raise zipfile.BadZipFile(f"it names {argument!r:.80}, which no checkpoint of ours does")


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
    fitting_config(Checkpoint(to_dict(config), {}, own), source)
    return own
