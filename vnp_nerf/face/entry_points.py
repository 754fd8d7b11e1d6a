"""What nerfstudio loads of this package: three methods and a dataparser, or the reason why one is missing.

nerfstudio lets an error in any plug-in end all of its programs, whatever method they run. So nothing here
raises: what cannot be loaded is handed over as an `Unavailable`, which nerfstudio names in a warning before
it goes on without it. Each name is looked up when it is asked for, since nerfstudio loads the dataparser
while its own modules are half imported.
"""

import importlib
import importlib.metadata
import re
from dataclasses import dataclass
from typing import Any

from rich.markup import escape

from vnp_core.errors import MissingDependencyError

PLACES = {
    "vnp_nerf": "vnp_nerf.face.config",
    "vnp_nerf_tiny": "vnp_nerf.face.config",
    "vnp_nerf_paper": "vnp_nerf.face.config",
    "vnp_scene": "vnp_nerf.face.dataparser",
}
"""Module of each entry point."""
OLDEST, TOO_NEW = (1, 1, 5), (1, 2)
"""The versions of nerfstudio that this package works with: from the first, up to and without the second."""


@dataclass(frozen=True)
class Unavailable:
    """Takes the place of an entry point that cannot be loaded. As text, it says why and what to do."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name} ({escape(self.reason)})"  # nerfstudio prints it by rich, as markup


def check_nerfstudio() -> None:
    """Raises `MissingDependencyError` unless a nerfstudio is there that this package works with."""
    wanted = f"{_dotted(OLDEST)} or later, before {_dotted(TOO_NEW)}"
    advice = f"pip install 'nerfstudio>={_dotted(OLDEST)},<{_dotted(TOO_NEW)}'"
    try:
        version = importlib.metadata.version("nerfstudio")
    except importlib.metadata.PackageNotFoundError as error:
        raise MissingDependencyError(
            f"vnp-nerf needs nerfstudio {wanted}, and there is none: {advice}"
        ) from error
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:3])
    if not OLDEST <= numbers < TOO_NEW:
        raise MissingDependencyError(
            f"vnp-nerf works with nerfstudio {wanted}; {version} is installed, whose inner parts may be "
            f"others: {advice}"
        )


def __getattr__(name: str) -> Any:
    """The entry point of that name, or an `Unavailable`."""
    if name not in PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        check_nerfstudio()
        return getattr(importlib.import_module(PLACES[name]), name)
    except MissingDependencyError as error:
        return Unavailable(name, str(error))
    except Exception as error:  # a broken package can raise anything when it is imported
        lines = str(error).splitlines() or ["no more is known"]
        return Unavailable(
            name,
            f"it cannot be imported, {type(error).__name__}: {lines[0]}; install what it needs anew",
        )


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
