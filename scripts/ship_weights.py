"""Turns a trained run into weights that ship: NAME.safetensors, and NAME.json with configuration and card."""

from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

from vnp_core.checkpoints import save_weights
from vnp_core.config import to_dict
from vnp_core.errors import ConfigError, OutputExistsError, exit_on_error, with_exit_codes
from vnp_core.shipped import CLONE
from vnp_nerf.face.opened_run import run_weights


@dataclass
class Ship:
    """Write a run's latest weights, stored in bfloat16, with a card."""

    load_config: Path
    """The run's config.yml."""
    name: str
    """Name of the weights, such as vnp-nerf-furniture."""
    data: str
    """What they were trained on, with its licence."""
    credits: str
    """Whose works are in that data, or where that is told."""
    command: str
    """The command that made the run."""
    limits: str
    """What they are not good for."""
    licence: str = "CC-BY 4.0"
    """That of the weights."""
    hours: float | None = None
    """Wall-clock hours of training; what the run has kept of them if not given."""
    hardware: str | None = None
    """What it was trained on; what the run has kept of it if not given."""
    earlier_steps: int = 0
    """Steps of the weights that the run began from."""
    output_dir: Path = CLONE
    """Where to write."""
    replace: bool = False
    """Replace weights of this name."""


def ship(options: Ship) -> Path:
    """Writes both files and returns the weights' path."""
    target = options.output_dir / f"{options.name}.safetensors"
    if target.exists() and not options.replace:
        raise OutputExistsError(f"{target} exists already: give another --name, or --replace")
    weights = run_weights(options.load_config)
    hours, hardware = options.hours, options.hardware or weights.hardware
    if hours is None and weights.seconds is not None:
        hours = round(weights.seconds / 3600, 2)
    if hours is None or hardware is None:
        raise ConfigError(
            f"{options.load_config} is of a run that kept neither how long it took nor on what: give --hours "
            "and --hardware"
        )
    card = {
        "steps": options.earlier_steps + weights.step + 1,
        "hours": hours,
        "hardware": hardware,
        "torch": torch.__version__,
        "seed": weights.config.machine.seed,
        "data": options.data,
        "licence": options.licence,
        "credits": options.credits,
        "command": options.command,
        "limits": options.limits,
    }
    return save_weights(target, weights.state, to_dict(weights.architecture), card, bfloat16=True)


if __name__ == "__main__":
    with exit_on_error():
        print(ship(tyro.cli(Ship, description=with_exit_codes(Ship.__doc__))))
