"""Files that are written whole or not at all, and never over another."""

from collections.abc import Mapping
from pathlib import Path

from vnp_core.errors import ConfigError, OutputExistsError, StorageError
from vnp_core.whole_files import write_whole


def refuse_existing(*paths: Path) -> None:
    """Raises `OutputExistsError` if one of the paths is there already, `ConfigError` if one cannot be."""
    for path in paths:
        try:
            there = path.exists()
        except OSError as error:
            raise ConfigError(f"{path} cannot be written: {error.strerror}; give another name") from error
        if there:
            raise OutputExistsError(f"{path} exists already, and nothing is overwritten: give another name")


def write_new(contents: Mapping[Path, bytes]) -> None:
    """Writes files that belong together, and their folders.

    Raises `OutputExistsError` if one of them is there already, `StorageError` on a full disk, and
    `ConfigError` where no file can be.
    """
    refuse_existing(*contents)
    written: list[Path] = []
    try:
        for path, content in contents.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, content)
            written.append(path)
    except OSError as error:
        for earlier in written:
            earlier.unlink()
        if isinstance(error, StorageError):
            raise
        raise ConfigError(f"{path} cannot be written: {error.strerror}; give another name") from error
