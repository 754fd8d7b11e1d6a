"""Names what this machine lacks before vnp-nerf can be installed and run, and says how to get it.

It runs before anything is installed, so it needs Python's standard library alone:

    python3 scripts/check_system.py             # says what is missing; exits with 20 if anything is
    python3 scripts/check_system.py --install   # as root on Debian or Ubuntu, installs what is missing first
"""

import ctypes
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

EXIT_MISSING = 20
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


NEEDS = (
    Need("python3 -m venv", f"{PYTHON}-venv", "to make .venv", lambda: has_module("venv", "ensurepip")),
    Need(
        "a C++ compiler (g++)",
        "g++",
        "for torch.compile, and to build pyliblzfse, which viser asks for",
        lambda: shutil.which("g++") is not None,
    ),
    Need("Python.h", f"{PYTHON}-dev", "for torch.compile, and to build pyliblzfse", has_headers),
    library("libusb-1.0.so.0", "libusb-1.0-0", "for open3d: ns-export, and making scenes"),
    library("libGL.so.1", "libgl1", "for open3d: ns-export, and making scenes"),
    library("libEGL.so.1", "libegl1", "for open3d: ns-export, and making scenes"),
    library("libgomp.so.1", "libgomp1", "for open3d: ns-export, and making scenes"),
    library("libOpenGL.so.0", "libopengl0", "for pymeshlab: ns-export"),
)


def find_missing(needs: Sequence[Need]) -> list[Need]:
    """Those of `needs` that this machine does not meet."""
    return [need for need in needs if not need.is_present()]


def describe(missing: Sequence[Need]) -> str:
    """Says in plain words what is missing, what for, and the one command that brings all of it."""
    lines = ["This machine lacks:"]
    lines += [f"  {need.name}  (Debian package {need.package}), {need.purpose}" for need in missing]
    packages = " ".join(dict.fromkeys(need.package for need in missing))
    lines += ["Get it with:", f"  sudo apt-get install {packages}", "and run make again."]
    return "\n".join(lines)


def install(missing: Sequence[Need]) -> None:
    """Installs the packages of `missing` with apt-get; needs root. The caller checks whether it helped."""
    packages = list(dict.fromkeys(need.package for need in missing))
    print(f"Installing with apt-get, as we are root: {' '.join(packages)}", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-qq"], ["install", "-qq", "--no-install-recommends", *packages]):
        subprocess.run(["apt-get", *command, "-y"], env=environment, stdin=subprocess.DEVNULL, check=False)


def main(arguments: Sequence[str], needs: Sequence[Need] = NEEDS) -> int:
    """Checks `needs`, installing what is missing first if told to and able to; returns the exit code."""
    if not (3, 10) <= sys.version_info[:2] <= (3, 12):
        print(f"This is Python {sys.version.split()[0]}; vnp-nerf needs 3.10, 3.11 or 3.12.")
        print("Name one with: make PYTHON=/path/to/python3.12")
        return EXIT_MISSING
    missing = find_missing(needs)
    if missing and "--install" in arguments and os.geteuid() == 0 and shutil.which("apt-get"):
        install(missing)
        missing = find_missing(needs)
    if missing:
        print(describe(missing))
        return EXIT_MISSING
    if shutil.which("ffmpeg") is None:
        print("ffmpeg is not on the PATH: setup links the one that imageio-ffmpeg brings into .venv/bin.")
        print("To have the system's: sudo apt-get install ffmpeg")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
