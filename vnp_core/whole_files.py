"""Files that are written whole or not at all, and read only up to a size that they may have."""

import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from vnp_core.errors import StorageError, no_room

MEBIBYTE = 2**20


@contextmanager
def whole_file(path: Path, workspace: Path | None = None) -> Generator[BinaryIO, None, None]:
    """Opens a file to write that takes its name only once it is complete and on the disk.

    Whatever had the name is replaced in one move. After an error, or when the process dies, it is still there
    as it was. workspace: another folder of the same file system to write in. Raises `StorageError` on a full
    disk, and any other `OSError`.
    """
    # Hidden, so that no pattern takes it for a result; the process id keeps two writers of one name apart.
    temporary = (workspace or path.parent) / f".{path.name}.{os.getpid()}.part"
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if isinstance(error, StorageError) or not no_room(error):
            raise
        raise StorageError(
            f"{path} cannot be written ({error.strerror}): make room on the disk, and start again; what had "
            "that name is unchanged"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    _sync(path.parent)


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file in one move; see `whole_file`."""
    with whole_file(path) as file:
        file.write(content)


def move_whole(unfinished: Path, folder: Path) -> None:
    """Gives a finished folder its name in one move, once all that is in it is on the disk.

    Raises `OSError`, as where there is a folder of that name which is not empty.
    """
    for path in sorted(unfinished.rglob("*"), reverse=True):
        _sync(path)
    _sync(unfinished)
    os.replace(unfinished, folder)
    _sync(folder.parent)


def read_bounded(path: Path, mebibytes: int) -> bytes:
    """A file's content. Raises `OSError`, and `ValueError` for one of more than so many MiB.

    What never ends, such as a device behind a link, is read no further than that.
    """
    content = bytearray()
    with path.open("rb") as file:
        # Piece by piece: a single read would ask for memory of the greatest size, whatever the file's.
        while len(content) <= mebibytes * MEBIBYTE and (piece := file.read(MEBIBYTE)):
            content += piece
    if len(content) > mebibytes * MEBIBYTE:
        raise ValueError(f"it has more than {mebibytes} MiB, which no such file needs")
    return bytes(content)


def _sync(path: Path) -> None:
    """Makes a file's content, or a folder's list of names, outlive a power cut where the file system can."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
