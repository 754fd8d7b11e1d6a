"""Weights as NAME.safetensors with NAME.json beside it. Nothing is ever unpickled.

The JSON holds the configuration, free metadata, a table of every tensor (shape, dtype) and the SHA-256 of the
weights. Loading checks them all, sizes first: what a stranger's file claims is compared with what is there
before memory is taken for it.
"""

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor, nn

from vnp_core.config import ConfigType
from vnp_core.errors import CheckpointError, VNPError
from vnp_core.json_text import json_text
from vnp_core.whole_files import MEBIBYTE, read_bounded, write_whole

FORMAT = "vnp-weights-1"
SUFFIXES = (".safetensors", ".json")
MAX_MEBIBYTES = 4096
"""Larger weights are refused: our models have a few MiB, and loading takes twice the file's size."""

_MAX_CARD_MEBIBYTES = 16
_CARD_KEYS = {"format", "config", "metadata", "sha256", "tensors"}
_STORED_AS = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint8": "U8",
    "bool": "BOOL",
}
"""Types of tensors that a card may name, and how safetensors calls them."""


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
    text = json_text(card)
    weights_path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(weights_path, blob)
    write_whole(card_path, text.encode())
    return weights_path


def write_metadata(path: str | Path, metadata: Mapping[str, Any]) -> None:
    """Exchanges the free metadata of weights that are there; all else of the card stays as it is.

    Raises `CheckpointError` where the card is missing or damaged.
    """
    card_path = checkpoint_paths(path)[1]
    if not card_path.is_file():
        raise CheckpointError(
            f"No file {card_path}. Weights are a pair of files: NAME.safetensors and NAME.json."
        )
    card = _read_card(card_path)
    write_whole(card_path, json_text({**card, "metadata": dict(metadata)}).encode())


def read_metadata(path: str | Path) -> dict[str, Any]:
    """A card's free metadata. Raises `CheckpointError` where the card is missing or damaged."""
    return _read_card(checkpoint_paths(path)[1])["metadata"]


def weights_digest(path: str | Path) -> str:
    """The SHA-256 that a card tells of its weights. Raises `CheckpointError` where the card is missing or
    damaged.
    """
    return _read_card(checkpoint_paths(path)[1])["sha256"]


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
    entries: dict[str, dict[str, Any]] = card["tensors"]
    _check_header(weights_path, entries)
    try:
        blob = read_bounded(weights_path, MAX_MEBIBYTES)
        digest = hashlib.sha256(blob).hexdigest()
        stored = load(blob)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"{weights_path} is truncated or no safetensors file ({error}). Fetch it again."
        ) from error
    if digest != card["sha256"]:
        raise CheckpointError(
            f"{weights_path} is not what {card_path.name} describes: its SHA-256 is {digest}, expected was "
            f"{card['sha256']}. Fetch both files again."
        )
    state = {name: stored[name].to(getattr(torch, entry["dtype"])) for name, entry in entries.items()}
    return Checkpoint(card["config"], card["metadata"], state)


def load_into(module: nn.Module, state_dict: Mapping[str, Tensor], source: str = "The checkpoint") -> None:
    """Loads strictly: every tensor of the module, no other, each of its own shape; else `CheckpointError`."""
    check_tensors(state_dict, {name: tuple(t.shape) for name, t in module.state_dict().items()}, source)
    module.load_state_dict(dict(state_dict))


def check_tensors(state: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]], source: str) -> None:
    """Raises `CheckpointError` unless `state` has exactly these names and shapes."""
    _check_shapes({name: tuple(tensor.shape) for name, tensor in state.items()}, shapes, source)


def fitting(
    checkpoint: Checkpoint,
    read: Callable[[dict[str, Any]], ConfigType],
    build: Callable[[ConfigType], nn.Module],
    source: str,
) -> ConfigType:
    """What `read` makes of the configuration, once the tensors are found to be those of what `build` builds.

    That is built without memory for its weights, so that a stranger's card cannot ask for more than is
    there. Raises `CheckpointError`, and what `read` and `build` raise of our errors.
    """
    _check_depths(checkpoint.config, len(checkpoint.state_dict), source)
    try:
        config = read(checkpoint.config)
        with torch.device("meta"):
            shapes = {name: tuple(tensor.shape) for name, tensor in build(config).state_dict().items()}
    except VNPError:
        raise
    except (ArithmeticError, RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(f"{source} describes a model that cannot be built: {error}") from error
    check_tensors(checkpoint.state_dict, shapes, source)
    return config


def _check_depths(values: Mapping[str, Any], tensors: int, source: str) -> None:
    """Every layer has tensors of its own, so that a file with few of them cannot ask for many layers."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            _check_depths(cast("Mapping[str, Any]", value), tensors, source)
        elif name.endswith(("layers", "levels")) and isinstance(value, int) and value > tensors:
            raise CheckpointError(
                f"{source} says {name} {value}, and has {tensors} tensors: these do not fit"
            )


def _check_shapes(
    given: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]], source: str
) -> None:
    unfit = f"{source} is of another architecture"
    if unknown := sorted(given.keys() - expected.keys()):
        raise CheckpointError(f"{unfit}: {len(unknown)} tensors are not known, the first is '{unknown[0]}'.")
    if missing := sorted(expected.keys() - given.keys()):
        raise CheckpointError(f"{unfit}: {len(missing)} tensors are missing, the first is '{missing[0]}'.")
    for name, shape in expected.items():
        if given[name] != shape:
            raise CheckpointError(f"{unfit}: '{name}' has shape {given[name]}, expected was {shape}.")


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


def _check_header(weights_path: Path, entries: Mapping[str, Mapping[str, Any]]) -> None:
    """Compares what the weights' header says with the card. No tensor is read.

    The library has checked by then that the header's sizes are those of the file.
    """
    size = weights_path.stat().st_size
    if size > MAX_MEBIBYTES * MEBIBYTE:
        raise CheckpointError(
            f"{weights_path} has {size // MEBIBYTE} MiB; more than {MAX_MEBIBYTES} MiB are refused."
        )
    try:
        with cast("Any", safe_open(str(weights_path), framework="pt")) as file:
            slices: dict[str, Any] = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            shapes: dict[str, tuple[int, ...]] = {n: tuple(part.get_shape()) for n, part in slices.items()}
            kinds = {name: str(part.get_dtype()) for name, part in slices.items()}
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{weights_path} is truncated or no safetensors file ({error}). Fetch it again."
        ) from error
    _check_shapes(shapes, {name: tuple(entry["shape"]) for name, entry in entries.items()}, str(weights_path))
    for name, entry in entries.items():
        # Halving weights for the road is the one change of type that saving makes.
        allowed = {_STORED_AS[entry["dtype"]], *(["BF16"] if "float" in entry["dtype"] else [])}
        if kinds[name] not in allowed:
            raise CheckpointError(
                f"{weights_path} is not what its card describes: '{name}' is of type {kinds[name]}, expected "
                f"was {entry['dtype']}."
            )


def _read_card(card_path: Path) -> dict[str, Any]:
    try:
        card = json.loads(read_bounded(card_path, _MAX_CARD_MEBIBYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{card_path} is no JSON ({error}). Fetch it again.") from error
    if not isinstance(card, dict) or cast("dict[str, Any]", card).get("format") != FORMAT:
        raise CheckpointError(f"{card_path} is no card of weights in the format '{FORMAT}'.")
    card = cast("dict[str, Any]", card)
    tables = [card.get(key) for key in ("config", "metadata", "tensors")]
    digest = card.get("sha256")
    if not (all(isinstance(table, dict) for table in tables) and isinstance(digest, str)):
        raise CheckpointError(f"{card_path} lacks one of config, metadata, sha256, tensors. Fetch it again.")
    if unknown := sorted(card.keys() - _CARD_KEYS):
        raise CheckpointError(f"{card_path} has an unknown key '{unknown[0]}'. Fetch it again.")
    for name, entry in cast("dict[str, Any]", card["tensors"]).items():
        _check_entry(name, entry, card_path)
    if not re.fullmatch("[0-9a-f]{64}", digest):
        raise CheckpointError(f"{card_path} gives a SHA-256 that is none: {digest!r:.80}.")
    return card


def _check_entry(name: str, entry: Any, card_path: Path) -> None:
    if not isinstance(entry, dict) or cast("dict[str, Any]", entry).keys() != {"shape", "dtype"}:
        raise CheckpointError(f"{card_path} lacks one of shape, dtype for '{name}', or says more of it.")
    shape, dtype = cast("dict[str, Any]", entry)["shape"], cast("dict[str, Any]", entry)["dtype"]
    if not isinstance(dtype, str) or dtype not in _STORED_AS:
        raise CheckpointError(f"{card_path} names an unknown tensor type {dtype!r:.80}.")
    sides = cast("list[Any]", shape) if isinstance(shape, list) else [-1]
    if not all(type(side) is int and side >= 0 for side in sides) or math.prod(sides) >= 2**63:
        raise CheckpointError(f"{card_path} names an impossible shape {shape!r:.80} for '{name}'.")
