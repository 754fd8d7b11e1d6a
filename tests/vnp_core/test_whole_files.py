"""A file is there as a whole or as it was before, whatever interrupts its writing."""

import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from vnp_core.whole_files import read_bounded, whole_file, write_whole


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_a_file_is_written_and_nothing_lies_beside_it(tmp_path: Path) -> None:
    write_whole(tmp_path / "a.bin", b"first")
    write_whole(tmp_path / "a.bin", b"second")
    assert (tmp_path / "a.bin").read_bytes() == b"second"
    assert names(tmp_path) == ["a.bin"]


def test_an_error_on_the_way_leaves_the_old_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    write_whole(path, b"old")
    with pytest.raises(TypeError), whole_file(path) as file:
        file.writelines([b"new", "no bytes"])  # type: ignore[list-item]
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.bin"]


def test_a_disk_that_takes_no_more_leaves_the_old_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    write_whole(path, b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            write_whole(path, b"n" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.bin"]


def test_a_workspace_keeps_unfinished_files_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    with whole_file(tmp_path / "results" / "a.bin", workspace=tmp_path) as file:
        file.write(b"new")
        assert names(tmp_path / "results") == []
    assert names(tmp_path / "results") == ["a.bin"]
    assert names(tmp_path) == ["results"]


def test_a_killed_writer_leaves_the_old_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    write_whole(path, b"old")
    script = (
        "import pathlib, sys\n"
        "from vnp_core.whole_files import whole_file\n"
        "with whole_file(pathlib.Path(sys.argv[1])) as file:\n"
        "    file.write(b'n' * 100000)\n"
        "    file.flush()\n"
        "    print('written', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"written\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert path.read_bytes() == b"old"
    assert [name for name in names(tmp_path) if not name.startswith(".")] == ["a.bin"]


def test_a_file_is_read_up_to_its_bound(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(2**20))
    assert len(read_bounded(path, 1)) == 2**20
    path.write_bytes(bytes(2**20 + 1))
    with pytest.raises(ValueError, match="more than 1 MiB"):
        read_bounded(path, 1)
    with pytest.raises(ValueError, match="more than 1 MiB"):
        read_bounded(Path("/dev/zero"), 1)
