"""Where weights that ship are found by name.

They lie in data/weights of a clone, next to the packages. A wheel brings none: there the environment variable
VNP_NERF_WEIGHTS names such a folder, or weights are given by the path of their file.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from vnp_core.config import nearest
from vnp_core.errors import CheckpointError

VARIABLE = "VNP_NERF_WEIGHTS"
"""Of the environment: a folder that takes the place of the clone's."""

CLONE = Path(__file__).resolve().parents[1] / "data" / "weights"
"""Of the repository, if this package is used from there. Holds the folders 1d and 2d, too."""


def weights_folder() -> Path:
    """Where names of weights are looked up; it need not exist."""
    named = os.environ.get(VARIABLE)
    return Path(named).expanduser() if named else CLONE


def shipped_names(rooms: Sequence[str] = (".",)) -> list[str]:
    """Names of the weights that are found, in these folders of the `weights_folder`."""
    return sorted(path.stem for room in rooms for path in (weights_folder() / room).glob("*.safetensors"))


def find_weights(name_or_path: str | Path, prefix: str, rooms: Sequence[str] = (".",)) -> Path:
    """The .safetensors file that a path, a name, or a name without its prefix stands for.

    Raises `CheckpointError`, which says what there is and how to name it.
    """
    path = Path(name_or_path)
    if path.is_file():
        return path
    if path.suffix != ".safetensors":
        for stem in (str(name_or_path), f"{prefix}{name_or_path}"):
            for room in rooms:
                found = weights_folder() / room / f"{stem}.safetensors"
                if found.is_file():
                    return found
    raise CheckpointError(_unknown(str(name_or_path), shipped_names(rooms)))


def _unknown(name: str, known: list[str]) -> str:
    wrong = f"no weights at {name}" if name.endswith(".safetensors") else f"no weights are called {name!r}"
    if known:
        return f"{wrong}: give a .safetensors file that exists, or a name. {nearest(name, known)}"
    return (
        f"{wrong}: give a .safetensors file that exists, or set {VARIABLE} to a folder of weights, such as "
        f"data/weights of a clone of the repository. {weights_folder()} has none; a wheel brings none"
    )
