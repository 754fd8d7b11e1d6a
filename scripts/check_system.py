"""Names what this machine lacks before vnp-nerf can be installed and run, and says how to get it.

It runs before anything is installed, so it needs Python's standard library alone; afterwards, `vnp-doctor`
looks at more:

    python3 scripts/check_system.py             # says what is missing; exits with 20 if anything is
    python3 scripts/check_system.py --install   # as root on Debian or Ubuntu, installs what is missing first
    python3 scripts/check_system.py --tests     # also looks for what some slow tests are left out without
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from vnp_nerf.system_needs import NEEDS, TEST_NEEDS, Need, find_missing, packages_of

EXIT_MISSING = 20


def describe(missing: Sequence[Need]) -> str:
    """Says in plain words what is missing, what for, and the one command that brings all of it."""
    lines = ["This machine lacks:"]
    lines += [f"  {need.name}  (Debian package {need.package}), {need.purpose}" for need in missing]
    lines += ["Get it with:", f"  sudo apt-get install {packages_of(missing)}", "and run make again."]
    return "\n".join(lines)


def install(missing: Sequence[Need]) -> None:
    """Installs the packages of `missing` with apt-get; needs root. The caller checks whether it helped."""
    packages = packages_of(missing).split()
    print(f"Installing with apt-get, as we are root: {' '.join(packages)}", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-qq"], ["install", "-qq", "--no-install-recommends", *packages]):
        subprocess.run(["apt-get", *command, "-y"], env=environment, stdin=subprocess.DEVNULL, check=False)


def still_missing(needs: Sequence[Need], arguments: Sequence[str]) -> list[Need]:
    """Those that this machine lacks, once it was tried to install them, if told to and able to."""
    missing = find_missing(needs)
    if missing and "--install" in arguments and os.geteuid() == 0 and shutil.which("apt-get"):
        install(missing)
        missing = find_missing(needs)
    return missing


def main(
    arguments: Sequence[str], needs: Sequence[Need] = NEEDS, test_needs: Sequence[Need] = TEST_NEEDS
) -> int:
    """Checks `needs`, and under --tests `test_needs`, without which one can go on; returns the exit code."""
    if not (3, 10) <= sys.version_info[:2] <= (3, 12):
        print(f"This is Python {sys.version.split()[0]}; vnp-nerf needs 3.10, 3.11 or 3.12.")
        print("Name one with: make PYTHON=/path/to/python3.12")
        return EXIT_MISSING
    missing = still_missing(needs, arguments)
    if missing:
        print(describe(missing))
        return EXIT_MISSING
    for need in still_missing(test_needs, arguments) if "--tests" in arguments else ():
        print(f"{need.name}, {need.purpose}, is not here: it is left out.")
        print(f"To have it: sudo apt-get install {need.package}")
    if shutil.which("ffmpeg") is None:
        print("ffmpeg is not on the PATH: setup links the one that imageio-ffmpeg brings into .venv/bin.")
        print("To have the system's: sudo apt-get install ffmpeg")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
