"""A baked field as one safetensors file, which opens without the model that it came from.

Beside the grid it holds where the field lies in the user's world, which draw of the latents it is, and a hash
of what it was made from. Everything is checked before it is believed, and sizes before anything is allocated.
"""

import dataclasses
import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from vnp_core.errors import CheckpointError, OutputExistsError, SceneError
from vnp_core.whole_files import write_whole
from vnp_nerf.baked_field import RESOLUTIONS, BakedGrid
from vnp_nerf.frames import Similarity
from vnp_nerf.radiance import RadianceModel
from vnp_nerf.views import Views

FORMAT = "vnp-baked-1"
_DTYPES = {"filled": "U8", "density": "F16", "rgb": "U8"}
_HEAD = "baked"
_KINDS: dict[str, tuple[type, ...]] = {
    "format": (str,),
    "scene": (str,),
    "draw": (int, type(None)),
    "source": (str,),
    "frame": (dict,),
    "resolution": (int,),
    "radius": (float, int),
    "sha256": (str,),
}


@dataclass(frozen=True)
class BakedCard:
    """Where a baked field comes from."""

    scene: str
    """Name of the scene."""
    draw: int | None
    """Seed of the draw of the latents; None for their mean."""
    source: str
    """`source_hash` of what it was baked from."""
    frame: Similarity
    """World to model."""


def source_hash(model: RadianceModel, views: Views, draw: int | None) -> str:
    """SHA-256 of all that decides a field: configuration, weights, context views and draw.

    Of the configuration, what differs from the defaults: settings that come later leave it as it is.
    """
    return _digest({**model.state_dict(), **vars(views)}, f"{settings_made(model.config)} {draw}")


def settings_made(config: Any) -> dict[str, Any]:
    """The fields of a dataclass that differ from their defaults; those of dataclasses in it likewise."""
    made: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        if value != default:
            made[field.name] = settings_made(value) if dataclasses.is_dataclass(value) else value
    return made


def save_baked(path: Path, grid: BakedGrid, card: BakedCard) -> None:
    """Writes the file whole or not at all. Raises `OutputExistsError` where there is one."""
    if path.exists():
        raise OutputExistsError(f"{path} exists, and nothing is overwritten: give another name")
    tensors = {
        "filled": torch.from_numpy(np.packbits(grid.filled.cpu().numpy())),
        "density": grid.density.cpu().contiguous(),
        "rgb": grid.rgb.cpu().contiguous(),
    }
    head = {
        "format": FORMAT,
        "scene": card.scene,
        "draw": card.draw,
        "source": card.source,
        "frame": card.frame.to_json(),
        "resolution": grid.resolution,
        "radius": grid.radius,
        "sha256": _digest(tensors, ""),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    # One entry: safetensors writes several in an order of its own, another each time.
    write_whole(path, save(tensors, metadata={_HEAD: json.dumps(head)}))


def open_baked(path: Path) -> tuple[BakedGrid, BakedCard]:
    """What `save_baked` wrote, on the CPU. Raises `CheckpointError` for anything else."""
    if not path.is_file():
        raise CheckpointError(f"no baked field at {path}: vnp-infer --bake writes one")
    try:
        with safe_open(path, framework="pt") as file:
            notes = file.metadata() or {}
            if notes.keys() - {_HEAD}:
                raise CheckpointError(f"{path} has notes in its header that no baked field has: {set(notes)}")
            resolution, radius, card, digest = _read_head(notes.get(_HEAD), path)
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            dtypes = {name: file.get_slice(name).get_dtype() for name in shapes}
            count = min(shapes.get("density", (0,))[0], resolution**3)
            expected = {"filled": (-(-(resolution**3) // 8),), "density": (count,), "rgb": (count, 3)}
            if shapes != expected or dtypes != _DTYPES:
                raise CheckpointError(
                    f"{path} is no baked field of {resolution} a side: it holds {shapes} of {dtypes}, "
                    f"expected were {expected} of {_DTYPES}"
                )
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in shapes}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is truncated or no safetensors file ({error})") from error
    bits = np.unpackbits(tensors["filled"].numpy(), count=resolution**3).astype(bool)
    density = tensors["density"]
    sound = int(bits.sum()) == count and bool(density.isfinite().all() & (density >= 0).all())
    if not sound or _digest(tensors, "") != digest:
        raise CheckpointError(f"{path} is damaged: its contents are not what its header says. Bake it again.")
    filled = torch.from_numpy(bits).reshape(resolution, resolution, resolution)
    return BakedGrid(radius, filled, density, tensors["rgb"]), card


def _read_head(text: str | None, path: Path) -> tuple[int, float, BakedCard, str]:
    """(resolution, radius, card, SHA-256 of the tensors)."""
    try:
        head: Any = json.loads(text or "null")
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} has a header that is no JSON: {error}") from error
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise CheckpointError(f"{path} is no baked field in the format '{FORMAT}'")
    if unfit := head.keys() ^ _KINDS.keys():
        raise CheckpointError(f"{path}: its header lacks {min(unfit)!r}, or should not have it")
    for name, kinds in _KINDS.items():
        if type(head[name]) not in kinds:
            raise CheckpointError(f"{path}: its header says {name} {head[name]!r}, which it cannot be")
    resolution, radius = head["resolution"], head["radius"]
    if not (RESOLUTIONS[0] <= resolution <= RESOLUTIONS[1] and 0 < radius <= sys.float_info.max):
        raise CheckpointError(f"{path} says resolution {resolution} and radius {radius}: no grid has these")
    try:
        frame = Similarity.from_json(head["frame"])
    except SceneError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return (
        resolution,
        float(radius),
        BakedCard(head["scene"], head["draw"], head["source"], frame),
        head["sha256"],
    )


def _digest(tensors: Mapping[str, Tensor], more: str) -> str:
    digest = hashlib.sha256(more.encode())
    for name, tensor in sorted(tensors.items()):
        flat = tensor.detach().cpu().contiguous().flatten()
        digest.update(f"{name} {list(tensor.shape)} {tensor.dtype}".encode())
        digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
