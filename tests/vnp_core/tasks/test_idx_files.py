"""IDX files: what was written comes back; what is no such file, or half of one, is told apart."""

import gzip
import tracemalloc
from pathlib import Path

import pytest
import torch

from vnp_core.errors import DataError
from vnp_core.tasks.idx_files import find_idx, read_idx


def content(sizes: tuple[int, ...], body: bytes, magic: int | None = None) -> bytes:
    words = (0x800 + len(sizes) if magic is None else magic, *sizes)
    return b"".join(word.to_bytes(4, "big") for word in words) + body


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_plain_and_gzipped_files_hold_the_same_bytes_in_row_order(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x-images-idx3-ubyte{suffix}"
    written = content((2, 2, 3), bytes(range(12)))
    path.write_bytes(gzip.compress(written) if suffix else written)
    found = read_idx(find_idx(tmp_path, "x-images-idx3-ubyte"), 3)
    assert torch.equal(found, torch.arange(12, dtype=torch.uint8).reshape(2, 2, 3))


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        (content((2, 2, 3), bytes(12), magic=0x801), "starts with 00000801, expected was 00000803"),
        (b"PK\x03\x04", "starts with 504b0304"),
        (content((2, 2, 3), bytes(11)), "cut short: 2 x 2 x 3 bytes were announced, and 11"),
        (content((2, 2, 3), bytes(13)), "too long: 2 x 2 x 3 bytes were announced, and there are more"),
        (content((0, 2**32 - 1, 2**32 - 1), b""), "has 1 byte to 1024 MiB"),
        (content((2**32 - 1, 2**32 - 1, 2**32 - 1), bytes(12)), "has 1 byte to 1024 MiB"),
        (content((1024, 1024, 1024), bytes(12)), "cut short: 1024 x 1024 x 1024 bytes were announced, and"),
    ],
)
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_what_is_no_such_file_is_refused(tmp_path: Path, written: bytes, complaint: str, suffix: str) -> None:
    path = tmp_path / f"images{suffix}"
    path.write_bytes(gzip.compress(written) if suffix else written)
    with pytest.raises(DataError, match=complaint):
        read_idx(path, 3)


@pytest.mark.parametrize("announced", [1000, 2**30])
def test_a_gzipped_bomb_is_read_to_the_announced_size_and_no_further(tmp_path: Path, announced: int) -> None:
    path = tmp_path / "labels.gz"
    bomb = gzip.compress(content((announced,), bytes(2**26)))
    path.write_bytes(bomb)
    tracemalloc.start()
    with pytest.raises(DataError, match="too long" if announced == 1000 else "the most it can hold"):
        read_idx(path, 1)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(bomb) < 2**17
    assert most < 2**20


def test_gzip_cut_short_and_missing_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(content((40,), bytes(range(40))))[:-12])
    with pytest.raises(DataError, match="images.gz cannot be read, or is cut short"):
        read_idx(path, 1)
    with pytest.raises(DataError, match="no file"):
        read_idx(tmp_path / "absent", 1)
    with pytest.raises(DataError, match=r"labels or labels\.gz"):
        find_idx(tmp_path, "labels")
