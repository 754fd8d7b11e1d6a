"""What is compared: each system is a model, how it is trained and how it is asked, under one short name."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vnp_core.bench.outside import ConvGNP, ConvGNPConfig
from vnp_core.checkpoints import fitting, load_into, load_weights, save_weights
from vnp_core.config import from_dict, nearest, to_dict
from vnp_core.errors import ConfigError
from vnp_core.model import ProcessConfig, VersatileNeuralProcess
from vnp_core.optimisers import OptimiserConfig
from vnp_core.peers import ANP, CNP, NP, TNP, ANPConfig, CNPConfig, NPConfig, TNPConfig
from vnp_core.process_objectives import ObjectiveConfig
from vnp_core.tokenizers import PatchTokenizerConfig

ModelConfig = ProcessConfig | CNPConfig | NPConfig | ANPConfig | TNPConfig | ConvGNPConfig

KINDS: dict[str, tuple[type[ModelConfig], type[nn.Module]]] = {
    "vnp": (ProcessConfig, VersatileNeuralProcess),
    "cnp": (CNPConfig, CNP),
    "np": (NPConfig, NP),
    "anp": (ANPConfig, ANP),
    "tnp": (TNPConfig, TNP),
    "convgnp": (ConvGNPConfig, ConvGNP),
}
"""The model classes by the name that a card of weights gives them."""


@dataclass(frozen=True)
class System:
    """One line of a table."""

    name: str
    """What results call it."""
    kind: str
    """Which of `KINDS` the model is."""
    model: ModelConfig
    """Its sizes."""
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    """What training maximises."""
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    """How its weights move."""
    draws: int = 1
    """Latent draws K when it is scored."""

    def sized(self, x_dim: int, y_dim: int) -> "System":
        """The same for functions of so many inputs and outputs."""
        return replace(self, model=replace(self.model, x_dim=x_dim, y_dim=y_dim))

    def build(self, seed: int) -> nn.Module:
        """A model with fresh weights, a function of the seed alone."""
        random: Any = torch.random
        with random.fork_rng():
            random.manual_seed(seed)
            return KINDS[self.kind][1](self.model)

    @property
    def sigma_floor(self) -> float:
        """Smallest standard deviation that the model can predict."""
        return getattr(self.model, "sigma_floor", 0.0)

    @property
    def reads_grids(self) -> bool:
        """Whether what it is told comes as a partly observed grid, and not as points."""
        return isinstance(self.model, ProcessConfig) and isinstance(
            self.model.tokenizer, PatchTokenizerConfig
        )


def describe(system: System) -> dict[str, Any]:
    """The system as JSON values; `system_of` leads back."""
    return to_dict(system)


def system_of(values: Mapping[str, Any], where: str = "The system") -> System:
    """The system that a dictionary describes. Raises `ConfigError` for an unknown kind or key."""
    kind = str(values.get("kind"))
    if kind not in KINDS:
        raise ConfigError(f"{where} is of kind {kind!r}. {nearest(kind, list(KINDS))}")
    model = from_dict(KINDS[kind][0], dict(values.get("model", {})))
    return from_dict(System, {**values, "model": model})


def save_system(
    path: Path, system: System, model: nn.Module, metadata: Mapping[str, Any], *, half: bool = False
) -> Path:
    """Writes weights with all that is needed to use them; `half` rounds them to bfloat16."""
    return save_weights(path, model, describe(system), metadata, bfloat16=half)


def load_system(path: Path) -> tuple[System, nn.Module, dict[str, Any]]:
    """A system, its model in evaluation mode, and the metadata beside them.

    Raises `CheckpointError` or `ConfigError`, before memory is taken for a model that is not the file's.
    """
    checkpoint = load_weights(path)
    system = fitting(
        checkpoint,
        lambda values: system_of(values, str(path)),
        lambda system: KINDS[system.kind][1](system.model),
        str(path),
    )
    model = system.build(0)
    load_into(model, checkpoint.state_dict, str(path))
    return system, model.eval(), checkpoint.metadata


def find_system(name: str, systems: Mapping[str, System]) -> System:
    """The system of this name. Raises `ConfigError`, naming the nearest, where there is none."""
    if name not in systems:
        raise ConfigError(f"There is no system '{name}'. {nearest(name, list(systems))}")
    return systems[name]
