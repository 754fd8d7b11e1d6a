"""The IDX files of MNIST and its kin: big-endian sizes, then bytes; plain or gzipped."""

import gzip
import math
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch
from jaxtyping import UInt8
from torch import Tensor

from vnp_core.errors import DataError
from vnp_core.whole_files import MEBIBYTE

_UNSIGNED_BYTES = 8
"""The one type of entry that pictures and labels have."""
_MAX_MEBIBYTES = 1024
"""The largest such file that is published, EMNIST by class, has half of this."""
_MOST_INFLATION = 1032
"""Bytes that one byte of a gzipped file can stand for at the most."""


def read_idx(path: Path, dimensions: int) -> UInt8[Tensor, "*sizes"]:
    """The bytes of an IDX file with so many dimensions: 3 for pictures [P, H, W], 1 for labels [P].

    It takes the memory of what it returns, and takes none for more than the file can hold. Raises `DataError`
    for a missing file, a wrong magic number, no bytes or more than 1 GiB, and a file that is cut short or
    too long.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            return _read(cast(BinaryIO, file), path, dimensions)
    except FileNotFoundError as error:
        raise DataError(f"There is no file {path}.") from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read, or is cut short ({error}). Fetch it again.") from error


def find_idx(folder: Path, name: str) -> Path:
    """The file of this name, gzipped or not. Raises `DataError` where there is neither."""
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise DataError(f"{folder} has no file {name} or {name}.gz.")


def _read(file: BinaryIO, path: Path, dimensions: int) -> Tensor:
    sizes = _sizes(file.read(4 + 4 * dimensions), path, dimensions)
    announced, expected = f"{' x '.join(map(str, sizes))} bytes were announced", math.prod(sizes)
    if not 0 < expected <= _MAX_MEBIBYTES * MEBIBYTE:
        raise DataError(f"{path}: {announced}; such a file has 1 byte to {_MAX_MEBIBYTES} MiB.")
    compressed = os.fstat(file.fileno()).st_size
    room = compressed * _MOST_INFLATION if path.suffix == ".gz" else compressed - 4 - 4 * dimensions
    if expected > room:
        raise DataError(f"{path} is cut short: {announced}, and {room} are the most it can hold.")
    body = torch.empty(expected, dtype=torch.uint8)
    window, given = memoryview(cast(Any, body).numpy()), 0
    # Piece by piece: what a gzipped file unfolds to is never in memory twice.
    while given < expected and (read := cast(Any, file).readinto(window[given : given + MEBIBYTE])):
        given += read
    if given < expected:
        raise DataError(f"{path} is cut short: {announced}, and {given} are there. Fetch it again.")
    if file.read(1):
        raise DataError(f"{path} is too long: {announced}, and there are more. Fetch it again.")
    return body.reshape(*sizes)


def _sizes(head: bytes, path: Path, dimensions: int) -> Sequence[int]:
    wanted = _UNSIGNED_BYTES * 256 + dimensions
    if len(head) < 4 + 4 * dimensions or int.from_bytes(head[:4], "big") != wanted:
        raise DataError(
            f"{path} is no IDX file of bytes with {dimensions} dimensions: it starts with "
            f"{head[:4].hex()}, expected was {wanted:08x}. Give the file as it was published."
        )
    return [int.from_bytes(head[at : at + 4], "big") for at in range(4, len(head), 4)]
