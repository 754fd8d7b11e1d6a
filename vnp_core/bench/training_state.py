"""A training run on disk: everything that goes on from where it stopped, as safetensors and JSON.

A state is a pair of files named by its step. The JSON is written last and makes the pair valid; older pairs
but one go only after that. So whenever a process is killed one whole state is there, and where the newest is
damaged, the one before it.
"""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from torch import Tensor

from vnp_core.checkpoints import checkpoint_paths, load_weights, save_weights
from vnp_core.errors import CheckpointError, ConfigError

_NAME = re.compile(r"step-(\d+)\.json")


@dataclass(frozen=True)
class HistoryRow:
    """Means over the steps since the row before."""

    step: int
    """Steps done by then."""
    values: dict[str, float]
    """Loss, learning rate, and whatever the objective logs."""
    kl: list[float]
    """KL of each latent level in nats, top level first; empty where no posterior is drawn."""

    def brief(self) -> list[Any]:
        """The row as JSON values of five digits, for a card; `HistoryRow(*brief)` leads back."""
        values = {name: float(f"{value:.5g}") for name, value in self.values.items()}
        return [self.step, values, [float(f"{value:.5g}") for value in self.kl]]


@dataclass
class TrainingState:
    """What a run is made of besides its configuration."""

    step: int = 0
    """Steps done."""
    seconds: float = 0.0
    """Wall-clock time that they took, over all sittings."""
    history: list[HistoryRow] = field(default_factory=list[HistoryRow])
    """How training went."""
    pending: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    """What was logged since the last row of the history, not averaged yet."""
    tensors: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    """Weights, their average, and the optimisers' moments."""
    skipped: int = 0
    """Steps that moved no weight, since their numbers were not finite."""

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names start with `prefix`, without it."""
        return {
            name.removeprefix(prefix): tensor
            for name, tensor in self.tensors.items()
            if name.startswith(prefix)
        }


def write_state(folder: Path, state: TrainingState, config: Mapping[str, Any]) -> Path:
    """Writes the state beside the one before, and removes older ones. Returns the path of its weights."""
    metadata = {
        "step": state.step,
        "seconds": state.seconds,
        "history": [[row.step, row.values, row.kl] for row in state.history],
        "pending": state.pending,
        "skipped": state.skipped,
    }
    path = save_weights(folder / f"step-{state.step:08d}", state.tensors, config, metadata)
    for _, card in sorted(_cards(folder))[:-2]:
        _remove(card)
    return path


def read_state(folder: Path, config: Mapping[str, Any]) -> TrainingState | None:
    """The newest whole state of a folder, or None where there is none. Damaged ones are told of on stderr.

    Raises `ConfigError`, naming the first key that differs, if the run has another configuration than
    `config`; `CheckpointError` if there are states and all of them are damaged.
    """
    damaged: list[CheckpointError] = []
    for _, card in sorted(_cards(folder), reverse=True):
        try:
            checkpoint = load_weights(card)
        except CheckpointError as error:
            damaged.append(error)
            continue
        if difference := first_difference(checkpoint.config, config):
            raise ConfigError(
                f"The run in {folder} has another configuration: {difference}. Give the same one to go on "
                "with it, or start another run elsewhere."
            )
        metadata = checkpoint.metadata
        for error in damaged:
            print(
                f"WARNING: {error}\nWARNING: going back to the state before it, {card}, of step "
                f"{metadata['step']}.",
                file=sys.stderr,
                flush=True,
            )
        return TrainingState(
            step=metadata["step"],
            seconds=metadata["seconds"],
            history=[HistoryRow(*row) for row in metadata["history"]],
            pending=metadata["pending"],
            tensors=checkpoint.state_dict,
            skipped=metadata.get("skipped", 0),  # runs of before it was counted had none
        )
    if damaged:
        raise damaged[0]
    return None


def remove_states(folder: Path) -> None:
    """Forgets the run of a folder."""
    for _, card in _cards(folder):
        _remove(card)


def first_difference(old: Any, new: Any, where: str = "") -> str | None:
    """The first key, in the order of `new`, whose value differs: 'a.b was 1, given is 2'."""
    if isinstance(old, dict) and isinstance(new, Mapping):
        old, new = cast("dict[str, Any]", old), cast("Mapping[str, Any]", new)
        for key in [*new, *(key for key in old if key not in new)]:
            place = f"{where}.{key}" if where else key
            if key not in old or key not in new:
                return f"{place} is {'given now only' if key in new else 'not given any more'}"
            if found := first_difference(old[key], new[key], place):
                return found
        return None
    return None if old == new else f"{where} was {old!r}, given is {new!r}"


def _remove(card: Path) -> None:
    for path in reversed(checkpoint_paths(card)):  # the card first: without it, the pair is none
        path.unlink(missing_ok=True)


def _cards(folder: Path) -> list[tuple[int, Path]]:
    found = ((_NAME.fullmatch(path.name), path) for path in folder.glob("step-*.json"))
    return [(int(match[1]), path) for match, path in found if match]
