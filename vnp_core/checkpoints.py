"""Weights as NAME.safetensors with NAME.json beside it. Nothing is ever unpickled.

The JSON holds the configuration, free metadata, a table of every tensor (shape, dtype) and the SHA-256 of the
weights. Loading checks them all.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from vnp_core.errors import CheckpointError

FORMAT = "vnp-weights-1"
SUFFIXES = (".safetensors", ".json")


class Checkpoint(NamedTuple):
    """What a pair of files holds."""

    config: dict[str, Any]
    metadata: dict[str, Any]
    state_dict: dict[str, Tensor]


def save_weights(
    path: str | Path,
    weights: nn.Module | Mapping[str, Tensor],
    config: Mapping[str, Any],
    metadata: Mapping[str, Any] | None = None,
    *,
    bfloat16: bool = False,
) -> Path:
    """Writes both files, each whole or not at all, and returns the weights' path.

    `path` may end in .safetensors, .json or neither. With `bfloat16` floating-point tensors are stored in
    half the size; loading gives them back in their own type, rounded to 8 bits of precision.
    """
    weights_path, card_path = checkpoint_paths(path)
    state = weights.state_dict() if isinstance(weights, nn.Module) else dict(weights)
    stored = {name: _stored(tensor, bfloat16) for name, tensor in state.items()}
    blob = save(stored)
    card = {
        "format": FORMAT,
        "config": dict(config),
        "metadata": dict(metadata or {}),
        "sha256": hashlib.sha256(blob).hexdigest(),
        "tensors": {name: {"shape": list(t.shape), "dtype": _dtype_name(t)} for name, t in state.items()},
    }
    text = json.dumps(card, indent=1) + "\n"
    weights_path.parent.mkdir(parents=True, exist_ok=True)
    _write_whole(weights_path, blob)
    _write_whole(card_path, text.encode())
    return weights_path


def load_weights(path: str | Path) -> Checkpoint:
    """What a pair of files holds, on the CPU, after checking that nothing is missing, damaged or exchanged.

    Raises `CheckpointError` otherwise.
    """
    weights_path, card_path = checkpoint_paths(path)
    for needed in (weights_path, card_path):
        if not needed.is_file():
            raise CheckpointError(
                f"No file {needed}. Weights are a pair of files: NAME.safetensors and NAME.json."
            )
    card = _read_card(card_path)
    blob = weights_path.read_bytes()
    digest = hashlib.sha256(blob).hexdigest()
    try:
        stored = load(blob)
    except (SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"{weights_path} is truncated or no safetensors file ({error}). Fetch it again."
        ) from error
    if digest != card["sha256"]:
        raise CheckpointError(
            f"{weights_path} is not what {card_path.name} describes: its SHA-256 is {digest}, expected was "
            f"{card['sha256']}. Fetch both files again."
        )
    shapes = {name: tuple(entry["shape"]) for name, entry in card["tensors"].items()}
    check_tensors(stored, shapes, str(weights_path))
    state = {
        name: stored[name].to(_dtype_of(entry["dtype"], card_path)) for name, entry in card["tensors"].items()
    }
    return Checkpoint(card["config"], card["metadata"], state)


def load_into(module: nn.Module, state_dict: Mapping[str, Tensor], source: str = "The checkpoint") -> None:
    """Loads strictly: every tensor of the module, no other, each of its own shape; else `CheckpointError`."""
    check_tensors(state_dict, {name: tuple(t.shape) for name, t in module.state_dict().items()}, source)
    module.load_state_dict(dict(state_dict))


def check_tensors(state: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]], source: str) -> None:
    """Raises `CheckpointError` unless `state` has exactly these names and shapes."""
    unfit = f"{source} is of another architecture"
    if unknown := sorted(state.keys() - shapes.keys()):
        raise CheckpointError(f"{unfit}: {len(unknown)} tensors are not known, the first is '{unknown[0]}'.")
    if missing := sorted(shapes.keys() - state.keys()):
        raise CheckpointError(f"{unfit}: {len(missing)} tensors are missing, the first is '{missing[0]}'.")
    for name, shape in shapes.items():
        if (given := tuple(state[name].shape)) != shape:
            raise CheckpointError(f"{unfit}: '{name}' has shape {given}, expected was {shape}.")


def checkpoint_paths(path: str | Path) -> tuple[Path, Path]:
    """(weights, card) for a name given with or without one of the two suffixes."""
    path = Path(path)
    stem = path.name.removesuffix(path.suffix) if path.suffix in SUFFIXES else path.name
    return path.with_name(stem + SUFFIXES[0]), path.with_name(stem + SUFFIXES[1])


def _stored(tensor: Tensor, bfloat16: bool) -> Tensor:
    dtype = torch.bfloat16 if bfloat16 and tensor.is_floating_point() else tensor.dtype
    # A clone, because safetensors refuses tensors that share memory.
    return tensor.detach().to(device="cpu", dtype=dtype).contiguous().clone()


def _dtype_name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _dtype_of(name: str, card_path: Path) -> torch.dtype:
    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype):
        raise CheckpointError(f"{card_path} names an unknown tensor type '{name}'.")
    return dtype


def _read_card(card_path: Path) -> dict[str, Any]:
    try:
        card = json.loads(card_path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{card_path} is no JSON ({error}). Fetch it again.") from error
    if not isinstance(card, dict) or cast("dict[str, Any]", card).get("format") != FORMAT:
        raise CheckpointError(f"{card_path} is no card of weights in the format '{FORMAT}'.")
    card = cast("dict[str, Any]", card)
    tensors = card.get("tensors")
    entries = list(cast("dict[str, Any]", tensors).values()) if isinstance(tensors, dict) else [None]
    complete = all(
        isinstance(entry, dict) and {"shape", "dtype"} <= entry.keys() for entry in cast("list[Any]", entries)
    )
    if not complete or not {"config", "metadata", "sha256"} <= card.keys():
        raise CheckpointError(f"{card_path} lacks one of config, metadata, sha256, tensors. Fetch it again.")
    return card


def _write_whole(path: Path, content: bytes) -> None:
    # The process id keeps two writers of one name apart.
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
