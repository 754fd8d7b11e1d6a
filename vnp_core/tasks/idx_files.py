"""The IDX files of MNIST and its kin: big-endian sizes, then bytes; plain or gzipped."""

import gzip
import math
import zlib
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from vnp_core.errors import DataError
from vnp_core.whole_files import MEBIBYTE

_UNSIGNED_BYTES = 8
"""The one type of entry that pictures and labels have."""
_MAX_MEBIBYTES = 2048


def read_idx(path: Path, dimensions: int) -> UInt8[Tensor, "*sizes"]:
    """The bytes of an IDX file with so many dimensions: 3 for pictures [P, H, W], 1 for labels [P].

    Raises `DataError` for a missing file, a wrong magic number, and one that is cut short or too long.
    """
    content = _content(path)
    wanted = _UNSIGNED_BYTES * 256 + dimensions
    magic = int.from_bytes(content[:4], "big")
    if len(content) < 4 + 4 * dimensions or magic != wanted:
        raise DataError(
            f"{path} is no IDX file of bytes with {dimensions} dimensions: it starts with "
            f"{content[:4].hex()}, expected was {wanted:08x}. Give the file as it was published."
        )
    sizes = [int.from_bytes(content[4 + 4 * place : 8 + 4 * place], "big") for place in range(dimensions)]
    expected, given = math.prod(sizes), len(content) - 4 - 4 * dimensions
    if given != expected:
        state = "cut short" if given < expected else "too long"
        raise DataError(
            f"{path} is {state}: {' x '.join(map(str, sizes))} bytes were announced, and {given} are there. "
            "Fetch it again."
        )
    body = np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * dimensions).reshape(sizes)
    return cast(Any, torch).from_numpy(body.copy())


def find_idx(folder: Path, name: str) -> Path:
    """The file of this name, gzipped or not. Raises `DataError` where there is neither."""
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise DataError(f"{folder} has no file {name} or {name}.gz.")


def _content(path: Path) -> bytes:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(_MAX_MEBIBYTES * MEBIBYTE + 1)
    except FileNotFoundError as error:
        raise DataError(f"There is no file {path}.") from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read, or is cut short ({error}). Fetch it again.") from error
    if len(content) > _MAX_MEBIBYTES * MEBIBYTE:
        raise DataError(f"{path} holds more than {_MAX_MEBIBYTES} MiB, which no such file needs.")
    return content
