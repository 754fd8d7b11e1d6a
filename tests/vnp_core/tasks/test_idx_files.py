"""IDX files: what was written comes back; what is no such file, or half of one, is told apart."""

import gzip
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
        (content((2, 2, 3), bytes(13)), "too long"),
    ],
)
def test_what_is_no_such_file_is_refused(tmp_path: Path, written: bytes, complaint: str) -> None:
    path = tmp_path / "images"
    path.write_bytes(written)
    with pytest.raises(DataError, match=complaint):
        read_idx(path, 3)


def test_gzip_cut_short_and_missing_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(content((40,), bytes(range(40))))[:-12])
    with pytest.raises(DataError, match="images.gz cannot be read, or is cut short"):
        read_idx(path, 1)
    with pytest.raises(DataError, match="no file"):
        read_idx(tmp_path / "absent", 1)
    with pytest.raises(DataError, match=r"labels or labels\.gz"):
        find_idx(tmp_path, "labels")
