"""What has to be on the machine besides Python packages, and Debian's names for it.

`scripts/check_system.py` asks before anything is installed, so this module needs Python's standard library
alone.
"""

import ctypes
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"


@dataclass(frozen=True)
class Need:
    """One thing that has to be on the machine: its name, Debian's package for it, and who asks for it."""

    name: str
    package: str
    purpose: str
    is_present: Callable[[], bool]


def has_library(name: str) -> bool:
    """Whether the dynamic linker finds the shared library `name`."""
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def has_module(*names: str) -> bool:
    """Whether this Python can import all of `names`; Debian keeps some standard modules in packages apart."""
    return all(
        subprocess.run([sys.executable, "-c", f"import {name}"], capture_output=True).returncode == 0
        for name in names
    )


def has_headers() -> bool:
    """Whether this Python's C headers are installed."""
    return (Path(sysconfig.get_path("include")) / "Python.h").is_file()


def library(name: str, package: str, purpose: str) -> Need:
    """The need for a shared library."""
    return Need(name, package, purpose, lambda: has_library(name))


VENV = Need("python3 -m venv", f"{PYTHON}-venv", "to make .venv", lambda: has_module("venv", "ensurepip"))
COMPILER = (
    Need(
        "a C++ compiler (g++)",
        "g++",
        "for torch.compile, and to build pyliblzfse, which viser asks for",
        lambda: shutil.which("g++") is not None,
    ),
    Need("Python.h", f"{PYTHON}-dev", "for torch.compile, and to build pyliblzfse", has_headers),
)
LIBRARIES = (
    library("libusb-1.0.so.0", "libusb-1.0-0", "for open3d: ns-export, and making scenes"),
    library("libGL.so.1", "libgl1", "for open3d: ns-export, and making scenes"),
    library("libEGL.so.1", "libegl1", "for open3d: ns-export, and making scenes"),
    library("libgomp.so.1", "libgomp1", "for open3d: ns-export, and making scenes"),
    library("libOpenGL.so.0", "libopengl0", "for pymeshlab: ns-export"),
)
NEEDS = (VENV, *COMPILER, *LIBRARIES)
"""All that the package cannot do without."""
BROWSER = Need(
    "chromium",
    "chromium",
    "for the test of ns-viewer in a browser",
    lambda: shutil.which("chromium") is not None,
)
TEST_NEEDS = (BROWSER,)
"""What slow tests are left out without."""


def find_missing(needs: Sequence[Need]) -> list[Need]:
    """Those of `needs` that this machine does not meet."""
    return [need for need in needs if not need.is_present()]


def packages_of(needs: Sequence[Need]) -> str:
    """Debian's packages for them, each once, as apt-get takes them."""
    return " ".join(dict.fromkeys(need.package for need in needs))
